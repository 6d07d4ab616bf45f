"""JSON Lines: what is read equals what Python's json reads; bad lines are told or kept."""

import gzip
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retain import state, streams
from retain.core import Kind
from retain.errors import PoisonError, SchemaError, SourceError
from retain.streams import text


@pytest.fixture
def write(tmp_path):
    def make(content, name="x.jsonl"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return make


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def rows_of(stream):
    return [row for batch in stream for row in batch.x.to_pylist()]


def test_kinds_and_missing_fields(write):
    rows = [
        {"n": 1, "f": 0.5, "b": True, "c": "x", "t": "2013-01-01T05:00:00", "zip": "01234", "y": "no"},
        {"n": None, "b": False, "y": "yes"},
        {"n": 3.5, "f": 1, "b": None, "c": "", "t": None, "zip": "5", "y": None},
    ]
    stream = streams.jsonl(write(lines(*rows)), target="y")
    kinds = {c.name: c.kind.value for c in stream.schema().columns}
    assert kinds == {
        "n": "numeric",
        "f": "numeric",
        "b": "numeric",
        "c": "categorical",
        "t": "time",
        "zip": "categorical",
    }
    (batch,) = stream
    assert batch.x["n"].to_pylist() == [1.0, None, 3.5]
    assert batch.x["b"].to_pylist() == [1, 0, None]
    assert batch.x["c"].to_pylist() == ["x", None, ""]
    assert batch.y.tolist() == [0, 1, -1]


@pytest.mark.parametrize(
    ("labels", "classes", "codes"),
    [
        ([True, False, True], ("false", "true"), [1, 0, 1]),
        ([3, 1, 3], ("1", "3"), [1, 0, 1]),
        ([0.5, 1, 2], None, [0.5, 1.0, 2.0]),
        (["2013-W01", "2013-W02", "2013-W01"], ("2013-W01", "2013-W02"), [0, 1, 0]),
    ],
)
def test_targets(write, labels, classes, codes):
    stream = streams.jsonl(write(lines(*({"x": 1, "y": label} for label in labels))), target="y")
    assert stream.schema().classes == classes
    assert next(iter(stream)).y.tolist() == codes


def test_roles(write):
    rows = [
        {"at": "2013-01-01T00:00:01", "id": 7, "k": "a", "w": 2, "x": 1},
        {"at": "2013-01-01T00:00:02", "id": 8, "k": "b", "w": 1, "x": 2},
    ]
    (batch,) = streams.jsonl(write(lines(*rows)), time="at", id="id", key="k", weight="w")
    assert batch.time.tolist() == [1356998401.0, 1356998402.0]
    assert batch.id.tolist() == [7, 8]
    assert batch.key.tolist() == ["a", "b"]
    assert batch.x.schema.names == ["at", "x"]


GOOD = [{"i": i, "c": "red", "t": "2013-01-01", "y": i % 2} for i in range(20)]


@pytest.mark.parametrize(
    ("line", "reason", "error"),
    [
        ("{", "the line is no JSON object", SourceError),
        ("[1]", "the line is no JSON object", SourceError),
        ('{"i": 1}{"i": 2}', "the line is no JSON object", SourceError),
        (b'{"c": "\xe9"}', "the line is not UTF-8", SourceError),
        ('{"i": "a"}', "column 'i' holds 'a'; expected a number", PoisonError),
        ('{"i": true}', "column 'i' holds True; expected a number", PoisonError),
        ('{"i": Infinity}', "column 'i' holds inf", PoisonError),
        ('{"i": 1e400}', "column 'i' holds inf", PoisonError),
        ('{"i": 1' + "0" * 400 + "}", "column 'i' holds inf", PoisonError),
        ('{"c": {"d": 1}}', "column 'c' holds {'d': 1}; expected text", PoisonError),
        ('{"t": "soon"}', "column 't' holds 'soon'; expected an ISO 8601 time", PoisonError),
        ('{"y": 0.5}', "column 'y' holds 0.5; expected a whole number", PoisonError),
        ('{"new": 1}', "there is a field 'new' that the source did not have before", SourceError),
    ],
)
@pytest.mark.parametrize("piece", [60, 1 << 20])
def test_a_bad_line(write, tmp_path, monkeypatch, line, reason, error, piece):
    monkeypatch.setattr(text, "HEAD_BYTES", 500)
    monkeypatch.setattr(text, "PIECE", piece)
    raw = line if isinstance(line, bytes) else line.encode()
    path = write(lines(*GOOD).encode() + b"\n" + raw + b"\n" + lines(*GOOD[:5]).encode())
    with pytest.raises(error, match=r"x\.jsonl, line 22: ") as told:
        list(streams.jsonl(path, target="y"))
    assert reason in str(told.value)
    bad = tmp_path / "bad"
    stream = streams.jsonl(path, target="y", block=4, on_bad_rows=streams.Quarantine(bad))
    found = list(stream.read())
    assert found[-1][1]["rows"] == 25
    kept = json.loads(bad.read_text())
    assert kept["line"] == 22
    assert kept["text"] == raw.decode(errors="backslashreplace")
    assert reason in kept["reason"]


def test_a_number_among_categories_is_a_category(write):
    rows = rows_of(streams.jsonl(write(lines({"c": "a"}, {"c": "b"}, {"c": 5}, {"c": True}))))
    assert [row["c"] for row in rows] == ["a", "b", "5", "true"]


@pytest.mark.parametrize(
    ("content", "options", "error", "match"),
    [
        ("", {}, SourceError, "is empty"),
        ("a,b\n1,2\n", {}, SourceError, "most lines are no JSON objects, e.g. 'a,b'"),
        ('{"x": {"z": 1}, "y": 1}\n', {}, SchemaError, r"column 'x' .*ignore=\['x'\]"),
        ('{"x": 1}\n', {}, SchemaError, "no column 'y' .*the columns are: x"),
        ('{"note": 1, "y": 1}\n', {"ignore": ["notes"]}, SchemaError, "'notes' .*did you mean 'note'"),
        ('{"x": null, "y": 1}\n', {}, SchemaError, "column 'x' .* has no value"),
        (b'{"x": "\xe9", "y": 1}\n' * 3, {}, SourceError, "not UTF-8"),
        (gzip.compress(b'{"x": 1, "y": 1}\n' * 30)[:-9], {}, SourceError, "cut off"),
    ],
)
def test_a_bad_source(write, content, options, error, match):
    with pytest.raises(error, match=match):
        list(streams.jsonl(write(content), target="y", **options))


def test_ignored_fields_may_hold_anything(write):
    path = write(lines({"x": 1, "z": {"q": [1]}}, {"x": 2, "z": 5}, {"x": 3, "other": None}))
    assert len(rows_of(streams.jsonl(path, ignore=["z", "other"]))) == 3
    assert len(rows_of(streams.jsonl(path, ignore=["z", "other", "late"]))) == 3
    assert len(rows_of(streams.jsonl(path, kinds={"z": Kind.IGNORED, "other": Kind.IGNORED}))) == 3


SCALARS = st.none() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False, width=32)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries({}, optional={"n": SCALARS, "s": st.text(max_size=5) | st.none()}),
        min_size=1,
        max_size=20,
    ),
    st.integers(10, 80),
    st.integers(1, 7),
    st.booleans(),
)
def test_any_file_is_read_as_python_reads_it(rows, piece, block, ends):
    rows = [{"n": 1, "s": "a"}, *rows]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "PIECE", piece)
        path = Path(folder, "x.jsonl")
        content = lines(*rows)
        path.write_text(content if ends else content.rstrip("\n"))
        stream = streams.jsonl(path, block=block, kinds={"s": Kind.CATEGORICAL})
        found = list(stream.read())
        got = [row for batch, _ in found for row in batch.x.to_pylist()]
        assert got == [{"n": row.get("n"), "s": row.get("s")} for row in rows]
        for _, position in found:
            again = [r for batch, _ in stream.read(state.decode(state.encode(position))) for r in batch.x.to_pylist()]
            assert again == got[position["rows"] :]
