"""Parquet, Arrow IPC and tables in memory: types, positions, and what is told of values that cannot be used."""

import datetime as dt
import decimal
import gzip
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet as pq

from retain import state, streams
from retain.core import Kind
from retain.errors import PoisonError, SchemaError, SettingError, SourceError

EVERYTHING = pa.table(
    {
        "f64": [0.5, None, 2.0],
        "f32": pa.array([0.5, None, 2.0], pa.float32()),
        "f16": pa.array(np.array([0.5, 1, 2], np.float16)),
        "i8": pa.array([1, None, 3], pa.int8()),
        "u64": pa.array([1, 2, 2**60], pa.uint64()),
        "dec": pa.array([decimal.Decimal("1.50"), None, decimal.Decimal("2.25")]),
        "bool": [True, None, False],
        "str": ["a", None, "b"],
        "large": pa.array(["a", None, "b"], pa.large_string()),
        "view": pa.array(["a", None, "b"], pa.string_view()),
        "dict": pa.array(["a", None, "b"]).dictionary_encode(),
        "date": pa.array([dt.date(2013, 1, 1), None, dt.date(1969, 12, 31)]),
        "date64": pa.array([dt.date(2013, 1, 1), None, dt.date(1969, 12, 31)], pa.date64()),
        "nano": pa.array([1, None, 1_500_000_999], pa.timestamp("ns")),
        "zone": pa.array([0, None, 5], pa.timestamp("s", "Europe/Berlin")),
        "iso": ["2013-01-01 05:00", None, "2013-01-02"],
        "postcode": ["01234", "02345", "03456"],
        "y": [1, None, 0],
    }
)
at = dt.datetime.fromisoformat
DAY = at("2013-01-01")
EXPECTED = {
    "f64": ("numeric", "double", [0.5, None, 2.0]),
    "f32": ("numeric", "float", [0.5, None, 2.0]),
    "f16": ("numeric", "float", [0.5, 1.0, 2.0]),
    "i8": ("numeric", "double", [1.0, None, 3.0]),
    "u64": ("numeric", "double", [1.0, 2.0, 2.0**60]),
    "dec": ("numeric", "double", [1.5, None, 2.25]),
    "bool": ("numeric", "uint8", [1, None, 0]),
    "str": ("categorical", "string", ["a", None, "b"]),
    "large": ("categorical", "string", ["a", None, "b"]),
    "view": ("categorical", "string", ["a", None, "b"]),
    "dict": ("categorical", "dictionary<values=string, indices=int32, ordered=0>", ["a", None, "b"]),
    "date": ("time", "timestamp[us]", [DAY, None, at("1969-12-31")]),
    "date64": ("time", "timestamp[us]", [DAY, None, at("1969-12-31")]),
    "nano": ("time", "timestamp[us]", [at("1970-01-01"), None, at("1970-01-01 00:00:01.500000")]),
    "zone": ("time", "timestamp[us]", [at("1970-01-01"), None, at("1970-01-01 00:00:05")]),
    "iso": ("time", "timestamp[us]", [at("2013-01-01 05:00"), None, at("2013-01-02")]),
    "postcode": ("categorical", "string", ["01234", "02345", "03456"]),
}


def saved(table, folder, kind):
    path = folder / f"x.{kind}"
    if kind == "parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)
    return str(path)


def streams_of(table, folder, **options):
    """The same rows from everywhere."""
    yield streams.table(table, **options)
    yield streams.table(table.to_batches()[0], **options)
    yield streams.arrow(saved(table, folder, "arrow"), **options)
    if "f16" not in table.column_names or table["f16"].type != pa.float16():
        yield streams.parquet(saved(table, folder, "parquet"), **options)


def test_every_type(tmp_path):
    for stream in streams_of(EVERYTHING, tmp_path, target="y"):
        (batch,) = stream
        assert batch.y.tolist() == [1, -1, 0]
        got = {
            c.name: (c.kind.value, str(batch.x[c.name].type), batch.x[c.name].to_pylist())
            for c in stream.schema().columns
        }
        assert got == EXPECTED
    (batch,) = streams.parquet(saved(EVERYTHING.drop_columns(["f16"]), tmp_path, "parquet"), target="y")
    assert batch.x.num_columns == len(EXPECTED) - 1


def test_pandas_and_polars():
    frame = EVERYTHING.select(["f64", "str", "bool", "nano", "y"]).to_pandas()
    (batch,) = streams.table(frame, target="y")
    assert batch.x["f64"].to_pylist() == [0.5, None, 2.0]
    assert batch.y.tolist() == [1, -1, 0]
    (batch,) = streams.table(pd.DataFrame({"c": pd.Categorical(["u", "v", "u"]), 3: [1, 2, 3]}))
    assert batch.x.to_pydict() == {"c": ["u", "v", "u"], "3": [1.0, 2.0, 3.0]}
    frame = pl.DataFrame(
        {"n": [1, None, 3], "s": ["a", "b", None], "c": pl.Series(["x", "y", "x"], dtype=pl.Categorical)}
    )
    (batch,) = streams.table(frame)
    assert batch.x.to_pydict() == {"n": [1.0, None, 3.0], "s": ["a", "b", None], "c": ["x", "y", "x"]}


def test_floats_of_a_table_are_not_copied():
    x = np.arange(10.0)
    frame = pd.DataFrame({"x": x, "y": x}, copy=False)
    for data in (pa.table({"x": x, "y": x}), frame, pl.DataFrame({"x": x, "y": x}, strict=False)):
        batches = list(streams.table(data, target="y", task="regression", block=4))
        column = batches[1].x["x"].to_numpy(zero_copy_only=True)
        assert column.tolist() == [4.0, 5.0, 6.0, 7.0]
        if not isinstance(data, pl.DataFrame):
            assert np.shares_memory(column, x)


@pytest.mark.parametrize(
    ("data", "error", "match"),
    [
        ({"x": [], "y": []}, SourceError, "no rows"),
        ({"x": [1.0]}, SchemaError, "no column 'y' .*the columns are: x"),
        ({"x": [[1.0]], "y": [1]}, SchemaError, r"column 'x' .* holds list<.*ignore=\['x'\]"),
        ({"x": [None], "y": [1]}, SchemaError, "column 'x' .* has no value"),
        ({"x": [1.0], "y": [None]}, SchemaError, "has no label"),
        ({"x": [1.0], "y": [dt.date(2013, 1, 1)]}, SchemaError, "holds date32"),
        ({"x": [1.0, 2.0], "y": [1]}, SchemaError, "do not make a table"),
        ({"x": [1.0, "a"], "y": [1, 0]}, SchemaError, "do not make a table"),
        ([1, 2], SettingError, "builtins.list is no table"),
        (np.zeros((2, 2)), SettingError, "for arrays see streams.arrays"),
        (pd.DataFrame([[1, 2, 0]], columns=["x", "x", "y"]), SchemaError, "column 'x' is there 2 times"),
        (pd.DataFrame({"x": [1, "a"], "y": [0, 1]}), SchemaError, "mixed types"),
    ],
)
def test_a_bad_table(data, error, match):
    with pytest.raises(error, match=match):
        list(streams.table(data, target="y"))


def test_what_is_ignored_is_a_column_of_one_of_the_files(tmp_path):
    first = pa.table({"x": [1.0, 2.0], "y": [0, 1]})
    second = first.append_column("note", pa.array(["a", "b"]))
    for number, table in enumerate((first, second)):
        pq.write_table(table, tmp_path / f"{number}.parquet")
        with pa.ipc.new_file(tmp_path / f"{number}.arrow", table.schema) as file:
            file.write_table(table)
    for stream, ending in ((streams.parquet, "parquet"), (streams.arrow, "arrow")):
        assert len(list(stream(tmp_path / f"*.{ending}", target="y", ignore=["note"], block=2))) == 2
        with pytest.raises(SchemaError, match=r"no column 'notes' .*did you mean 'note'"):
            stream(tmp_path / f"*.{ending}", target="y", ignore=["notes"]).schema()
    with pytest.raises(SchemaError, match=r"no column 'notes' .*did you mean 'note'"):
        streams.table(second, target="y", ignore=["notes"]).schema()


def test_a_bad_row_is_named(tmp_path):
    table = pa.table({"x": [1.0, 2.0, np.inf, 3.0, -1e39, np.nan], "c": list("abcdef"), "y": [0, 1, 0, 1, 0, 1]})
    for stream in streams_of(table, tmp_path, target="y"):
        with pytest.raises(PoisonError, match=r"row 2: column 'x' holds inf; expected a finite number within float32"):
            list(stream)
    bad = tmp_path / "bad"
    for stream in streams_of(table, tmp_path, target="y", on_bad_rows=streams.Quarantine(bad), block=2):
        found = list(stream.read())
        assert [c for batch, _ in found for c in batch.x["c"].to_pylist()] == list("abdf")
        assert [p["quarantined"] for _, p in found] == [1, 2]
        kept = bad.read_text()
        assert [json.loads(line)["row"] for line in kept.splitlines()] == [2, 4]
        assert json.loads(kept.splitlines()[0])["text"] == '{"x": Infinity, "c": "c", "y": 0}'
        list(stream.read(found[0][1]))
        assert bad.read_text() == kept


def test_kinds_that_the_values_do_not_bear_out(tmp_path):
    table = pa.table(
        {"x": ["1", " 2.5", "NA", "x", "4"], "t": ["2013-01-01", "", None, "2013-01-02", "soon"], "y": list("ababa")}
    )
    kinds = {"x": Kind.NUMERIC, "t": Kind.TIME}
    for stream in streams_of(table, tmp_path, target="y", kinds=kinds):
        with pytest.raises(PoisonError, match="row 3: column 'x' holds 'x'; expected a number"):
            list(stream)
    stream = streams.table(table, target="y", kinds=kinds, on_bad_rows=streams.Skip())
    ((batch, position),) = stream.read()
    assert batch.x["x"].to_pylist() == [1.0, 2.5, None]
    assert position["quarantined"] == 2
    numbers = streams.table(
        {"a": [1, 2, 10], "y": [0.5, 1.5, 2.5]}, target="y", kinds={"a": Kind.CATEGORICAL, "y": Kind.CATEGORICAL}
    )
    (batch,) = numbers
    assert batch.x["a"].to_pylist() == ["1", "2", "10"]
    assert numbers.schema().classes == ("0.5", "1.5", "2.5")


def test_types_may_differ_between_files(tmp_path):
    pq.write_table(pa.table({"n": [1, 2], "c": ["a", "b"], "y": [0, 1]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"y": [1.0], "n": [2.5], "c": pa.array(["c"]).dictionary_encode()}), tmp_path / "2.parquet")
    stream = streams.parquet(tmp_path / "*.parquet", target="y", block=2)
    assert [row for batch in stream for row in batch.x.to_pylist()] == [
        {"n": 1.0, "c": "a"},
        {"n": 2.0, "c": "b"},
        {"n": 2.5, "c": "c"},
    ]
    (batch,) = streams.parquet(tmp_path / "*.parquet", target="y")
    assert batch.y.tolist() == [0, 1, 1]
    pq.write_table(pa.table({"n": [1], "y": [0]}), tmp_path / "2.parquet")
    with pytest.raises(SchemaError, match=r"column 'c' has vanished from .*2\.parquet"):
        list(stream)
    pq.write_table(pa.table({"n": [1], "c": ["a"], "new": [1], "y": [0]}), tmp_path / "2.parquet")
    with pytest.raises(SchemaError, match="has a column 'new'"):
        list(stream)


def test_a_dictionary_that_changes_within_a_block():
    parts = [
        pa.table({"c": pa.array(list(letters)).dictionary_encode(), "y": [0, 1]}) for letters in ("ab", "ca", "db")
    ]
    (batch,) = streams.table(pa.concat_tables(parts), target="y")
    assert batch.x["c"].to_pylist() == list("abcadb")
    assert pa.types.is_dictionary(batch.x["c"].type)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 25), st.integers(1, 9), st.data())
def test_positions_of_any_grouping(n, group, block, piece, data):
    """Row groups, record batches, pieces and blocks of any size: reading on from any position gives the rest."""
    rng = np.random.default_rng(n)
    x = np.arange(float(n))
    x[rng.random(n) < 0.15] = np.inf
    x[0] = 0.0
    table = pa.table({"x": x, "y": np.arange(n) % 2})
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for module in (streams.parquet, streams.arrow, streams.table):
            patch.setattr(sys.modules[module.__module__], "PIECE", piece)
        pq.write_table(table, Path(folder, "x.parquet"), row_group_size=group)
        with pa.ipc.new_stream(str(Path(folder, "x.ipc")), table.schema) as writer:
            writer.write_table(table, max_chunksize=group)
        Path(folder, "x.ipc.gz").write_bytes(gzip.compress(Path(folder, "x.ipc").read_bytes()))
        policy = streams.Quarantine(Path(folder, "bad"))
        options = {"target": "y", "block": block, "on_bad_rows": policy, "task": "classification"}
        for stream in (
            streams.table(table, **options),
            streams.parquet(Path(folder, "x.parquet"), **options),
            streams.arrow(Path(folder, "x.ipc"), **options),
            streams.arrow(Path(folder, "x.ipc.gz"), **options),
        ):
            found = list(stream.read())
            good = x[np.isfinite(x)]
            assert np.concatenate([b.x["x"] for b, _ in found]).tolist() == good.tolist()
            assert [len(b) for b, _ in found[:-1]] == [block] * (len(found) - 1)
            assert found[-1][1]["rows"] + found[-1][1]["quarantined"] == n
            kept = Path(folder, "bad").read_text()
            assert kept.count("\n") == n - len(good)
            at = data.draw(st.integers(0, len(found) - 1))
            position = state.decode(state.encode(found[at][1]))
            rest = list(stream.read(position))
            assert [v for b, _ in rest for v in b.x["x"].to_pylist()] == good[position["rows"] :].tolist()
            assert Path(folder, "bad").read_text() == kept
            if rest:
                assert state.equal(rest[-1][1], found[-1][1])


def test_damaged_files(tmp_path):
    table = pa.table({"x": np.arange(1000.0), "y": np.arange(1000) % 2})
    for kind, read in (("parquet", streams.parquet), ("arrow", streams.arrow)):
        path = tmp_path / f"x.{kind}"
        saved(table, tmp_path, kind)
        whole = path.read_bytes()
        for content in (b"", b"junk" * 10, whole[: len(whole) // 2]):
            path.write_bytes(content)
            with pytest.raises(SourceError, match=f"x.{kind}") as told:
                list(read(path, target="y"))
            assert "\n" not in str(told.value)
        saved(table.slice(0, 0), tmp_path, kind)
        with pytest.raises(SourceError, match="has no rows"):
            list(read(path, target="y"))
        with pytest.raises(SettingError, match="standard input"):
            read("-")


def test_a_position_beyond_the_table():
    stream = streams.table({"x": [1.0, 2.0], "y": [0, 1]}, target="y", block=1)
    position = list(stream.read())[1][1]
    with pytest.raises(SourceError, match="the position is at row 2 of a table with 1"):
        list(streams.table({"x": [1.0], "y": [0]}, target="y").read(position))
