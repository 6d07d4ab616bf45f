"""CSV: what is read equals what was written, wherever pieces and blocks end; whatever is wrong is told."""

import csv as stdlib
import gzip
import io
import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retain import blocks, state, streams
from retain.core import Kind
from retain.errors import PoisonError, RetainError, SchemaError, SettingError, SourceError
from retain.streams import text

TEXTS = {"a": Kind.CATEGORICAL, "b": Kind.TEXT}


@pytest.fixture
def write(tmp_path):
    def make(content, name="x.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return make


def rows_of(stream, position=None):
    found = [batch for batch, _ in stream.read(position)]
    return [row for batch in found for row in batch.x.to_pylist()]


def labels_of(stream):
    return np.concatenate([batch.y for batch in stream])


# --- what is read ---------------------------------------------------------------------------------------------------

FIELD = st.text(alphabet='ab ,"\n\r\té', max_size=6)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(FIELD, FIELD, st.booleans()), min_size=1, max_size=12),
    st.integers(8, 60),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_any_well_formed_file_is_read_as_it_was_written(rows, piece, newline, ends):
    def spell(value, always):
        return '"' + value.replace('"', '""') + '"' if always or set(value) & set(',"\r\n') else value

    rows = [row for row in rows if row[0] or row[1]] or [("a", "b", False)]
    lines = ["a,b", *(f"{spell(a, always)},{spell(b, always)}" for a, b, always in rows)]
    content = newline.join(lines) + (newline if ends else "")
    expected = [(a or None, b or None) for a, b, _ in rows]
    found = _read_bytes(content.encode(), piece)
    assert [(row["a"], row["b"]) for row in found] == expected
    python = list(stdlib.reader(io.StringIO(content, newline="")))[1:]
    assert [(a or None, b or None) for a, b in python] == expected


def _read_bytes(content, piece, **options):
    with tempfile.NamedTemporaryFile(suffix=".csv") as file, pytest.MonkeyPatch.context() as patch:
        file.write(content)
        file.flush()
        patch.setattr(text, "PIECE", piece)
        return rows_of(streams.csv(file.name, kinds=TEXTS, block=3, **options))


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet='ab,"\n1', max_size=40), st.integers(8, 30), st.integers(1, 4))
def test_no_file_breaks_the_count_of_rows(content, piece, block):
    """Junk: every row is accepted or refused, wherever pieces end, and resuming changes nothing."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = folder + "/x.csv"
        Path(path).write_bytes(b"a,b\nx,y\n" + content.encode())

        def read(size, position=None):
            patch.setattr(text, "PIECE", size)
            stream = streams.csv(path, kinds=TEXTS, block=block, on_bad_rows=streams.Quarantine(path + ".bad"))
            try:
                found = list(stream.read(position))
            except RetainError as error:
                return str(error), None, None
            kept = Path(path + ".bad").read_text()
            return [row for batch, _ in found for row in batch.x.to_pylist()], found[-1][1], (kept, found)

        rows, end, whole = read(1 << 20)
        small, small_end, small_whole = read(piece)
        assert small == rows
        if end is None:
            return
        assert (small_end["rows"], small_end["quarantined"]) == (end["rows"], end["quarantined"])
        assert small_whole[0] == whole[0]
        assert whole[0].count("\n") == end["quarantined"]
        assert end["rows"] == len(rows)
        for batch, position in small_whole[1][:-1]:
            done = position["rows"]
            rest, rest_end, rest_whole = read(piece, state.decode(state.encode(position)))
            assert rest == rows[done:]
            assert rest_whole[0] == whole[0]
            assert rest_end["quarantined"] == end["quarantined"]
            assert len(batch) == block


def test_quotes_newlines_and_stray_quotes(write):
    content = 'a,b\n"x, y","two\nlines"\n5" pipe,"said ""hi"""\nplain,"a" and b\n'
    expected = [{"a": "x, y", "b": "two\nlines"}, {"a": '5" pipe', "b": 'said "hi"'}, {"a": "plain", "b": "a and b"}]
    for piece in (8, 20, 1000):
        assert _read_bytes(content.encode(), piece) == expected


def test_byte_order_mark_blank_lines_and_no_last_newline(write):
    path = write(b"\xef\xbb\xbf\r\nx, y\r\n1,a\r\n\r\n2,b\r\n\n3,a")
    stream = streams.csv(path, target="y", block=2)
    assert rows_of(stream) == [{"x": 1.0}, {"x": 2.0}, {"x": 3.0}]
    assert labels_of(stream).tolist() == [0, 1, 0]


def test_kinds(write):
    lines = ["n,i,b,c,zip,t,d,z,text,s"]
    lines += [
        f"{i}.5,{i},{'True' if i % 2 else 'false'},{'xyz'[i % 3]},0{i}234,2013-01-{i + 1:02} 05:00,2013-01-{i + 1:02},"
        f"2013-01-{i + 1:02}T00:00:00Z,this is number {i} of them,{i}"
        for i in range(20)
    ]
    stream = streams.csv(write("\n".join(lines)), kinds={"s": "categorical"})
    assert {c.name: c.kind.value for c in stream.schema().columns} == {
        "n": "numeric",
        "i": "numeric",
        "b": "numeric",
        "c": "categorical",
        "zip": "numeric",
        "t": "time",
        "d": "time",
        "z": "time",
        "text": "text",
        "s": "categorical",
    }
    x = next(iter(stream)).x
    types = {name: str(kind) for name, kind in zip(x.schema.names, x.schema.types, strict=True)}
    assert types["t"] == types["d"] == types["z"] == "timestamp[us]"
    assert (types["n"], types["b"], types["c"], types["s"]) == ("double", "uint8", "string", "string")
    assert x["b"].to_pylist()[:2] == [0, 1]


def test_missing_values(write):
    path = write("n,c,t,y\nNA,NA,NA,a\n?,,2013-01-01,\n1,?,,b\n-,x,2013-01-02,NaN\n2,x,2013-01-02,a\n")
    batch = next(iter(streams.csv(path, target="y", missing=["-"])))
    assert batch.x["n"].to_pylist() == [None, None, 1.0, None, 2.0]
    assert batch.x["c"].to_pylist() == ["NA", None, "?", "x", "x"]
    assert [t is None for t in batch.x["t"].to_pylist()] == [True, False, True, False, False]
    assert batch.y.tolist() == [0, -1, 1, -1, 0]


@pytest.mark.parametrize(
    ("labels", "task", "classes", "codes"),
    [
        (["b", "a", "b"], None, ("a", "b"), [1, 0, 1]),
        (["10", "9", "10"], None, ("9", "10"), [1, 0, 1]),
        (["1.0", "0", "1"], None, ("0", "1"), [1, 0, 1]),
        (["True", "False", "True"], None, ("False", "True"), [1, 0, 1]),
        (["0.5", "1", "0.5"], None, None, [0.5, 1.0, 0.5]),
        (["1", "0", "1"], "regression", None, [1.0, 0.0, 1.0]),
        (["0.5", "0.25", "0.5"], "classification", ("0.25", "0.5"), [1, 0, 1]),
        ([str(i) for i in range(21)], None, None, [float(i) for i in range(21)]),
        ([str(i) for i in range(21)], "classification", tuple(str(i) for i in range(21)), list(range(21))),
    ],
)
def test_targets(write, labels, task, classes, codes):
    stream = streams.csv(write("x,y\n" + "".join(f"1,{label}\n" for label in labels)), target="y", task=task)
    assert stream.schema().classes == classes
    assert labels_of(stream).tolist() == codes


def test_a_class_must_be_a_whole_number_where_the_head_has_such(write, monkeypatch):
    monkeypatch.setattr(text, "HEAD_BYTES", 40)
    path = write("x,y\n" + "1,0\n2,1\n" * 20 + "3,0.5\n")
    with pytest.raises(
        PoisonError, match=r"line 42: column 'y' holds 0\.5; expected a whole number that names a class"
    ):
        list(streams.csv(path, target="y"))
    stream = streams.csv(path, target="y", kinds={"y": Kind.CATEGORICAL})
    assert labels_of(stream).tolist()[-2:] == [1, 2]
    assert labels_of(streams.csv(path, target="y", kinds={"y": Kind.NUMERIC})).tolist()[-2:] == [1.0, 0.5]


def test_late_classes_are_appended_and_known_only_when_seen(write, monkeypatch):
    monkeypatch.setattr(text, "HEAD_BYTES", 40)
    lines = ["x,y"] + [f"{i},{'b' if i % 2 else 'a'}" for i in range(20)] + ["1,z", "2,c", "3,z", "4,a"]
    stream = streams.csv(write("\n".join(lines)), target="y", block=7)
    assert stream.schema().classes == ("a", "b")
    found = list(stream.read())
    assert [batch.schema.classes for batch, _ in found][2:] == [("a", "b", "z"), ("a", "b", "z", "c")]
    assert found[-1][0].y.tolist() == [3, 2, 0]
    again = list(stream.read(found[2][1]))
    assert again[0][0].schema == found[3][0].schema


def test_roles(write):
    content = "at,known,card,id,w,x,y\n2013-01-01,2013-01-02,c1,007,2,5,1\n2013-01-01 00:00:01.5,,c2,8,0.5,6,\n"
    roles = {"time": "at", "label_time": "known", "key": "card", "id": "id", "weight": "w"}
    batch = next(iter(streams.csv(write(content), target="y", **roles)))
    assert batch.x.schema.names == ["at", "x"]
    assert batch.time.tolist() == [1356998400.0, 1356998401.5]
    assert batch.label_time[0] == 1357084800.0
    assert np.isnan(batch.label_time[1])
    assert batch.key.tolist() == ["c1", "c2"]
    assert batch.id.tolist() == ["007", "8"]
    assert batch.weight.tolist() == [2.0, 0.5]
    assert batch.schema.key == "card"
    kept = blocks.from_state(state.decode(state.encode(blocks.to_state(batch))))
    assert kept.key.tolist() == ["c1", "c2"]
    both = next(
        iter(streams.csv(write(content), target="y", key="card", kinds={"card": Kind.CATEGORICAL}, ignore=["at"]))
    )
    assert "card" in both.x.schema.names
    assert "at" not in both.x.schema.names


def test_time_of_numbers(write):
    path = write("t,x,y\n0.5,1,a\n1.5,2,b\n")
    batch = next(iter(streams.csv(path, target="y", time="t")))
    assert batch.time.tolist() == [0.5, 1.5]
    assert batch.x.schema.names == ["t", "x"]
    batch = next(iter(streams.csv(path, target="y", time="t", ignore=["t"])))
    assert (batch.x.schema.names, batch.time.tolist()) == (["x"], [0.5, 1.5])
    batch = next(iter(streams.csv(path, target="y", time="t", kinds={"t": Kind.TIME})))
    assert str(batch.x["t"].type) == "timestamp[us]"
    assert batch.time.tolist() == [0.5, 1.5]


def test_without_target_and_without_header(write):
    stream = streams.csv(write("1,a\n2,b\n"), names=["n", "c"])
    assert [c.name for c in stream.schema().columns] == ["n", "c"]
    assert next(iter(stream)).y is None
    assert len(rows_of(stream)) == 2


def test_files_of_a_glob_in_order(write, tmp_path):
    write("x,y\n1,a\n2,b\n", "p1.csv")
    write(gzip.compress(b"y,x,z\na,3,\n"), "p2.csv.gz")
    write("x,y\n", "p3.csv")
    write("x,y\n4,b", "p4.csv")
    stream = streams.csv(tmp_path / "p*", target="y", ignore=["z"], block=3)
    assert [row["x"] for row in rows_of(stream)] == [1, 2, 3, 4]
    (tmp_path / "p5.csv").write_text("x,y\n5,c\n")
    positions = [position for _, position in stream.read()]
    more = streams.csv(tmp_path / "p*", target="y", ignore=["z"], block=3)
    assert [row["x"] for row in rows_of(more, positions[-1])] == [5]
    (tmp_path / "p6.csv").write_text("x,y\n6,c\n")
    assert [row["x"] for row in rows_of(streams.csv(tmp_path / "p*", target="y", ignore=["z"]), positions[-1])] == [
        5,
        6,
    ]


def test_a_file_that_grows_goes_on(write):
    path = write("x,y\n1,a\n2,b\n3,a")
    stream = streams.csv(path, target="y", block=2)
    end = list(stream.read())[-1][1]
    with Path(path).open("a") as file:
        file.write("\n4,b\n5,a\n")
    assert [row["x"] for row in rows_of(streams.csv(path, target="y", block=2), end)] == [4, 5]


def test_stdin(monkeypatch, write):
    class Stdin:
        buffer = io.BytesIO(b"x,y\n" + b"".join(b"%d,%d\n" % (i, i % 2) for i in range(400_000)))

    monkeypatch.setattr(sys, "stdin", Stdin)
    stream = streams.csv("-", target="y", block=1000)
    assert stream.schema().classes == ("0", "1")
    found = list(stream.read())
    assert found[-1][1]["rows"] == 400_000
    assert found[0][0].x["x"][7].as_py() == 7
    with pytest.raises(SourceError, match="only once"):
        list(stream.read())
    with pytest.raises(SourceError, match="cannot be resumed"):
        list(stream.read(found[0][1]))


def test_numbers_come_out_without_copies(write):
    path = write("x,y\n" + "".join(f"{i}.5,{i % 2}\n" for i in range(100)))
    batches = list(streams.csv(path, target="y", block=40))
    first, second = (np.asarray(batch.x["x"].to_numpy(zero_copy_only=True)) for batch in batches[:2])
    assert first.ctypes.data + 40 * 8 == second.ctypes.data


# --- bad rows -------------------------------------------------------------------------------------------------------

GOOD = [f"{i},{i % 3}.5,{'red' if i % 2 else 'blue'},{i % 2}" for i in range(50)]
BAD = {
    "too few": ("1,2", "the row has 2 fields; expected 4", SourceError),
    "too many": ("1,2,3,1,5", "the row has 5 fields; expected 4", SourceError),
    "text for a number": ("1,oops,red,1", "column 'v' holds 'oops'; expected a number", PoisonError),
    "infinite": ("1,inf,red,1", "column 'v' holds inf; expected a finite number", PoisonError),
    "minus infinite": ("1,-Infinity,red,1", "column 'v' holds -inf", PoisonError),
    "beyond float32": ("1,1e39,red,1", "column 'v' holds 1e+39", PoisonError),
    "beyond float64": ("1,1e999,red,1", "column 'v' holds inf", PoisonError),
    "not UTF-8": (b"1,2,r\xe9d,1", "column 'c' holds 'r\\\\\\\\xe9d', which is not UTF-8", SourceError),
    "text for a class": ("1,2,red,no", "column 'y' holds 'no'; expected a whole number", PoisonError),
    "open quote": ('1,2,"red,1', "a quote opens and never closes", SourceError),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("at", [0, 17, 50])
@pytest.mark.parametrize("piece", [64, 1 << 20])
def test_a_bad_row(write, tmp_path, monkeypatch, name, at, piece):
    monkeypatch.setattr(text, "PIECE", piece)
    line, reason, error = BAD[name]
    raw = line if isinstance(line, bytes) else line.encode()
    lines = [row.encode() for row in GOOD]
    path = write(b"\n".join([b"i,v,c,y", *lines[:at], raw, *lines[at:]]))
    stream = streams.csv(path, target="y", block=8)
    read = []
    with pytest.raises(error) as told:
        read.extend(batch for batch, _ in stream.read())
    message = str(told.value)
    assert f"x.csv, line {at + 2}: " in message
    assert reason.replace("\\\\\\\\", "\\\\") in message
    assert "\n" not in message
    # Whole blocks before the bad row were handed out, wherever pieces end.
    assert sum(map(len, read)) == at // 8 * 8

    skipped = list(streams.csv(path, target="y", block=8, on_bad_rows=streams.Skip()).read())
    assert [row["i"] for batch, _ in skipped for row in batch.x.to_pylist()] == list(range(50))
    assert (skipped[-1][1]["rows"], skipped[-1][1]["quarantined"]) == (50, 1)

    bad = tmp_path / "bad.jsonl"
    stream = streams.csv(path, target="y", block=8, on_bad_rows=streams.Quarantine(bad))
    found = list(stream.read())
    kept = bad.read_text()
    entry = json.loads(kept)
    assert entry["line"] == at + 2
    assert entry["file"] == path
    assert reason.replace("\\\\\\\\", "\\\\") in entry["reason"]
    assert entry["text"] == raw.decode(errors="backslashreplace")
    for _, position in found:
        with bad.open("a") as file:
            file.write("torn")
        list(stream.read(position))
        assert bad.read_text() == kept


def test_many_bad_rows_are_all_counted(write, tmp_path):
    lines = [f"{i},{i}" if i % 3 else f"{i},x{i}" for i in range(3000)]
    lines[1000] = '5,"open'
    path = write("a,b\n" + "\n".join(f"{i},1" for i in range(20_000)) + "\n" + "\n".join(lines))
    stream = streams.csv(path, on_bad_rows=streams.Quarantine(tmp_path / "bad"), block=1000)
    end = list(stream.read())[-1][1]
    refused = (tmp_path / "bad").read_text().count("\n")
    assert end["quarantined"] == refused == 1001
    assert end["rows"] == 23_000 - 1001


def test_a_bad_time_weight_and_unknown_label_time(write):
    rows = [f"2013-01-01 00:00:{i:02},1,{i % 2}" for i in range(30)]
    for line, reason in [
        (",1,0", "column 't' holds None; expected a value in every row"),
        ("2013-13-01,1,0", "column 't' holds '2013-13-01'; expected an ISO 8601 time"),
        ("2013-01-01,-1,0", "column 'w' holds -1.0; expected a finite weight >= 0"),
        ("2013-01-01,nan,0", "column 'w' holds None; expected a value in every row"),
        ("2013-01-01,inf,0", "column 'w' holds inf"),
    ]:
        path = write("t,w,y\n" + "\n".join([*rows, line]))
        with pytest.raises(PoisonError) as told:
            list(streams.csv(path, target="y", time="t", weight="w"))
        assert reason in str(told.value)
        assert "line 32" in str(told.value)


def test_a_quarantine_never_overwrites_data(write, tmp_path):
    path = write("x,y\n1,0\n2,1\n")
    with pytest.raises(SettingError, match="is not one"):
        list(streams.csv(path, target="y", on_bad_rows=streams.Quarantine(path)))
    with pytest.raises(SourceError, match="cannot write the quarantine file"):
        list(streams.csv(path, target="y", on_bad_rows=streams.Quarantine(tmp_path / "no" / "bad")))
    assert Path(path).read_text() == "x,y\n1,0\n2,1\n"


def test_rows_all_refused(write):
    path = write("x,y\n1,0\n2,1\n3,0\n")
    stream = streams.csv(path, target="y", weight="x", on_bad_rows=streams.Skip())
    write("x,y\n-1,0\n-2,1\n")
    with pytest.raises(SchemaError, match="no column left"):
        list(stream)
    write("x,y,z\n-1,0,1\n-2,1,1\n")
    stream = streams.csv(path, target="y", weight="x", on_bad_rows=streams.Skip())
    with pytest.raises(SourceError, match="none of the 2 rows can be used"):
        list(stream)


# --- bad sources ----------------------------------------------------------------------------------------------------

MANY = "".join(f"{i},a\n" for i in range(30))
IDS = "".join(f"{i},o{i}\n" for i in range(200))


@pytest.mark.parametrize(
    ("content", "options", "error", "match"),
    [
        ("", {}, SourceError, "x.csv is empty"),
        ("\n\n", {}, SourceError, "x.csv is empty"),
        ("x,y\n", {}, SourceError, "has a header and no rows"),
        ("x,y", {}, SourceError, "has a header and no rows"),
        ("x;y\n1;a\n", {}, SourceError, "looks separated by ';': say delimiter=';'"),
        ("x\ty\n1\ta\n", {}, SourceError, r"looks separated by '\\t'"),
        ("x,y\n1;a\n2;b\n", {}, SourceError, "most rows do not have the header's 2 fields"),
        ("x,y\n1,a\n", {"target": "z"}, SchemaError, "no column 'z' .*the columns are: x, y"),
        ("fraud,y\n1,a\n", {"target": "fruad"}, SchemaError, "did you mean 'fraud'"),
        ("x,y\n1,\n2,\n", {}, SchemaError, "target 'y' .* has no label"),
        ("x,z,y\n1,,a\n2,NA,b\n", {}, SchemaError, "column 'z' .* has no value .*ignore=\\['z'\\]"),
        ("x,x,y\n1,2,a\n", {}, SchemaError, "column 'x' is named 2 times"),
        ("1,2\n3,4\n", {"target": None}, SourceError, "has no header, it seems"),
        (b"PAR1" + bytes(50), {}, SourceError, "Parquet"),
        (b"x,y\n1,\0\n", {}, SourceError, "is binary"),
        ("x,y\n1,a\n".encode("utf-16"), {}, SourceError, "UTF-16"),
        (b"x,caf\xe9\n1,a\n", {"target": "x"}, SourceError, "byte 0xe9 is not UTF-8.*iconv"),
        (b"x,y\n" + b"1,\xe9\n" * 30, {}, SourceError, "byte 0xe9 is not UTF-8"),
        ("x,y\r1,a\r2,b", {}, SourceError, "bare carriage return"),
        ('"x,y\n1,a\n', {}, SourceError, "quote in the header never closes"),
        (gzip.compress(b"x,y\n" + MANY.encode())[:-20], {}, SourceError, "cut off"),
        (gzip.compress(b"x,y\n" + MANY.encode()) + b"junk", {}, SourceError, "damaged"),
        ("y\na\nb\n", {}, SchemaError, "no column left to learn from"),
        ("x,y\na,1\nb,2\n", {"time": "x"}, SchemaError, "holds 'a' where a time is needed"),
        ("x,y\na,1\nb,2\n", {"weight": "x"}, SchemaError, "weight column 'x' .* is categorical"),
        ("x,y\n1,a\n", {"kinds": {"q": Kind.TEXT}}, SchemaError, "no column 'q'"),
        ("x,y\n1,a\n", {"kinds": {"x": "nmeric"}}, SettingError, "'nmeric'; expected one of numeric"),
        ("x,y\n1,a\n", {"task": "classify"}, SettingError, "task='classify'"),
        ("x,y\n1,a\n", {"task": "regression"}, SchemaError, "task='regression' needs numbers"),
        ("x,y\n1,2024-01-01\n2,2024-01-02\n", {}, SchemaError, "'2024-01-01'; expected .*task='classification'"),
        ("x,y\n" + IDS, {}, SchemaError, "'y' .*has 200 values in 200 rows: is it an id.*task='classification'"),
        ("x,y\n1,a\n", {"delimiter": ",,"}, SettingError, "expected one character"),
        ("x,y\n1,a\n", {"ignore": "x"}, SettingError, r"ignore=\['x'\]"),
        ("x,note,y\n1,u,a\n", {"ignore": ["notes"]}, SchemaError, "no column 'notes' .*did you mean 'note'"),
        ("x,y\n1,a\n", {"ignore": ["q"]}, SchemaError, "no column 'q' .*the columns are: x, y"),
        ("x,y\n1,a\n", {"weight": "y"}, SettingError, "two roles"),
        ("x,y\n1,a\n", {"block": 0}, SettingError, "at least one row"),
    ],
)
def test_a_bad_source(write, content, options, error, match):
    with pytest.raises(error, match=match) as told:
        list(streams.csv(write(content), **{"target": "y", **options}))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("said", [{"task": "classification"}, {"kinds": {"y": Kind.CATEGORICAL}}])
def test_times_and_ids_are_classes_where_the_caller_insists(write, said):
    for labels in (IDS, "1,2024-01-01\n2,2024-01-02\n"):
        rows = labels.splitlines()
        assert len(streams.csv(write("x,y\n" + labels), target="y", **said).schema().classes) == len(rows)
    few = "".join(f"{i},o{i // 2}\n" for i in range(300))  # half of the labels are distinct
    assert len(streams.csv(write("x,y\n" + few), target="y").schema().classes) == 150


def test_bad_paths(tmp_path, write):
    for path, match in [
        (tmp_path / "no.csv", "there is no file"),
        (tmp_path, "is a folder; .*a glob"),
        (tmp_path / "*.tsv", "no file matches"),
        ([], "no file was given"),
        (["-", write("x\n1\n")], "give it alone"),
    ]:
        with pytest.raises(RetainError, match=match):
            streams.csv(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file(write):
    path = write("x,y\n1,a\n")
    Path(path).chmod(0)
    with pytest.raises(SourceError, match="permission denied"):
        streams.csv(path)


def test_a_column_that_comes_or_goes(write, tmp_path):
    write("x,c,y\n1,k,a\n2,k,b\n", "p1.csv")
    write("x,y\n1,a\n", "p2.csv")
    with pytest.raises(SchemaError, match=r"column 'c' has vanished from .*p2\.csv"):
        list(streams.csv(tmp_path / "p*.csv", target="y"))
    assert len(rows_of(streams.csv(tmp_path / "p*.csv", target="y", ignore=["c"]))) == 3
    write("x,c,y,new\n1,k,a,0\n", "p2.csv")
    with pytest.raises(SchemaError, match=r"p2.csv has a column 'new' .*ignore=\['new'\]"):
        list(streams.csv(tmp_path / "p*.csv", target="y"))
    assert len(rows_of(streams.csv(tmp_path / "p*.csv", target="y", ignore=["new"]))) == 3


def test_a_whole_block_before_trouble_is_handed_out(write, tmp_path):
    write("x,c,y\n1,k,a\n2,k,b\n3,k,a\n4,k,b\n", "p1.csv")
    write("x,y\n1,a\n", "p2.csv")
    read = []
    with pytest.raises(SchemaError, match="has vanished"):
        read.extend(streams.csv(tmp_path / "p*.csv", target="y", block=2).read())
    assert [position["rows"] for _, position in read] == [2, 4]
    # Once the trouble is gone, reading goes on from there.
    write("x,c,y\n5,k,a\n", "p2.csv")
    assert [row["x"] for row in rows_of(streams.csv(tmp_path / "p*.csv", target="y", block=2), read[-1][1])] == [5]


def test_a_truncated_file_gives_its_whole_blocks_first(write, monkeypatch):
    monkeypatch.setattr(text, "HEAD_BYTES", 1000)
    rng = np.random.default_rng(0)
    content = "x,y\n" + "".join(f"{v},{i % 2}\n" for i, v in enumerate(rng.random(50_000)))
    for suffix, data in (
        ("gz", gzip.compress(content.encode())),
        ("zst", pa.compress(content.encode(), "zstd", asbytes=True)),
    ):
        path = write(data[: len(data) // 2], f"x.csv.{suffix}")
        read = []
        with pytest.raises(SourceError, match="cut off") as told:
            read.extend(iter(streams.csv(path, target="y", block=10)))
        assert len(read) > 100
        assert {len(batch) for batch in read} == {10}
        assert path in str(told.value)


def test_a_changed_file_is_noticed(write, tmp_path):
    path = write("x,y\n1,a\n2,b\n3,a\n4,b\n")
    first = next(streams.csv(path, target="y", block=2).read())[1]
    for change, match in [
        ("x,y\n9,a\n2,b\n3,a\n4,b\n", "has changed since the position was taken"),
        ("x,y\n1,a\n", "has changed"),
    ]:
        write(change)
        with pytest.raises(SourceError, match=match):
            list(streams.csv(path, target="y", block=2).read(first))
    write("x,y\n1,a\n2,b\n3,a\n4,b\n")
    with pytest.raises(SettingError, match="target='y', this stream has 'x'"):
        list(streams.csv(path, target="x", block=2).read(first))
    other = write("x,y\n1,a\n2,b\n3,a\n4,b\n", "other.csv")
    with pytest.raises(SourceError, match=r"the position is in 'x\.csv'"):
        list(streams.csv(other, target="y", block=2).read(first))
    # A data set may move as a whole.
    (tmp_path / "moved").mkdir()
    moved = write("x,y\n1,a\n2,b\n3,a\n4,b\n", "moved/x.csv")
    assert len(rows_of(streams.csv(moved, target="y", block=2), first)) == 2


@pytest.mark.parametrize("policy", [streams.Skip, lambda most: streams.Quarantine("bad.jsonl", most)])
def test_too_many_bad_rows_break_the_circuit(write, tmp_path, monkeypatch, policy):
    monkeypatch.chdir(tmp_path)
    lines = [f"{'broken' if i > 900 and i % 3 == 0 else i},{i % 2}" for i in range(3_000)]
    path = write("a,y\n" + "\n".join(["1,0"] * 20 + lines) + "\n")
    kinds = {"a": Kind.NUMERIC}
    found = []
    source = streams.csv(path, target="y", kinds=kinds, block=100, on_bad_rows=policy(0.05))
    with pytest.raises(SourceError, match=r"rows were bad, more than the 5 % that are borne.*'a' holds 'broken'"):
        found.extend(len(batch) for batch in source)
    assert 800 <= sum(found) < 1_500
    kept = sum(len(batch) for batch in streams.csv(path, target="y", kinds=kinds, on_bad_rows=policy(0.5)))
    assert kept == 3_020 - 699
    with pytest.raises(SettingError, match=r"most=1\.5"):
        policy(1.5)
