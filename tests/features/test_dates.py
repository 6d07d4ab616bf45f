import datetime as dt

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import retain as rt
from retain.errors import PoisonError, SchemaError, SettingError

TIMES = st.lists(st.datetimes(dt.datetime(1600, 1, 1), dt.datetime(2400, 1, 1)), min_size=1, max_size=30)  # noqa: DTZ001


@given(TIMES)
@settings(max_examples=50, deadline=None)
def test_parts_are_those_of_pandas(times):
    x = pa.record_batch({"at": pa.array(times, pa.timestamp("us"))})
    parts = rt.DateParts(
        categories=("hour", "weekday", "day", "month"), waves=("day", "week", "year"), elapsed=True
    ).apply(x)
    oracle = pd.Series(pd.to_datetime(times).astype("datetime64[us]"))
    assert [int(v) for v in parts["at_hour"].to_pylist()] == oracle.dt.hour.tolist()
    assert parts["at_weekday"].to_pylist() == [name[:3] for name in oracle.dt.day_name()]
    assert [int(v) for v in parts["at_day"].to_pylist()] == oracle.dt.day.tolist()
    assert parts["at_month"].to_pylist() == [name[:3] for name in oracle.dt.month_name()]
    within = ((oracle - oracle.dt.normalize()) / pd.Timedelta(days=1)).to_numpy()
    year = (oracle.dt.day_of_year - 1 + within) / (365 + oracle.dt.is_leap_year)
    for name, part in (("day", within), ("week", (oracle.dt.day_of_week + within) / 7), ("year", year)):
        np.testing.assert_allclose(parts[f"at_{name}_sin"], np.sin(2 * np.pi * part), atol=1e-6)
        np.testing.assert_allclose(parts[f"at_{name}_cos"], np.cos(2 * np.pi * part), atol=1e-6)
    years = [(t - dt.datetime(2000, 1, 1)) / dt.timedelta(days=365.25) for t in times]  # noqa: DTZ001
    np.testing.assert_allclose(parts["at_elapsed"], years, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_units_dates_and_zones(unit):
    at = pa.array([1_372_962_600], pa.timestamp("s")).cast(pa.timestamp(unit))  # 2013-07-04 18:30 UTC
    assert rt.DateParts().apply(pa.record_batch({"at": at}))["at_hour"].to_pylist() == ["18"]
    there = at.cast(pa.timestamp(unit, tz="America/New_York"))
    assert rt.DateParts().apply(pa.record_batch({"at": there}))["at_hour"].to_pylist() == ["14"]
    day = pa.array([dt.date(2013, 7, 4)])
    assert rt.DateParts().apply(pa.record_batch({"at": day})).to_pylist() == [
        {"at_hour": "00", "at_weekday": "Thu", "at_month": "Jul"}
    ]


def test_other_columns_stay_and_every_time_is_replaced():
    at = pa.array([0, None], pa.timestamp("us"))
    x = pa.record_batch({"at": at, "n": [1, 2], "done": at})
    assert rt.DateParts("done", categories=("hour",)).apply(x).schema.names == ["at", "n", "done_hour"]
    parts = rt.DateParts(categories=(), waves=("day",)).apply(x)
    assert parts.schema.names == ["n", "at_day_sin", "at_day_cos", "done_day_sin", "done_day_cos"]
    assert parts["at_day_cos"].to_pylist() == [1.0, None]
    plain = x.select(["n"])
    assert rt.DateParts().apply(plain).equals(plain)
    array = np.ones((2, 2))
    assert rt.DateParts().apply(array) is array


def test_in_front_of_the_encoder_hours_become_slots():
    x = pa.record_batch({"at": pa.array([0, 3_600_000_000, 0], pa.timestamp("us"))})
    steps = rt.DateParts(categories=("hour",)) | rt.OneHot()
    assert steps.learn(rt.Batch(x)).x.indices.tolist() == [0, 1, 0]


def test_what_makes_no_sense_is_refused():
    with pytest.raises(SettingError, match="minute"):
        rt.DateParts(categories=("minute",))
    with pytest.raises(SettingError):
        rt.DateParts(waves="day")
    with pytest.raises(PoisonError, match=r"'n' of type int64, e\.g\. 1; expected times"):
        rt.DateParts("n").apply(pa.record_batch({"n": [1]}))
    with pytest.raises(SchemaError, match="no column"):
        rt.DateParts("at").apply(pa.record_batch({"n": [1]}))
    with pytest.raises(SchemaError, match="at_hour"):
        rt.DateParts().apply(pa.record_batch({"at": pa.array([0], pa.timestamp("us")), "at_hour": [1]}))
    with pytest.raises(SchemaError, match="no column at all"):
        rt.DateParts(categories=()).apply(pa.record_batch({"at": pa.array([0], pa.timestamp("us"))}))
