"""JSON Lines: one object a line, parsed by Arrow in pieces that end after a line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, cast, final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import json as arrow_json

from retain import buffers
from retain.core import Kind, State
from retain.errors import SourceError
from retain.streams import files
from retain.streams.bad_rows import BadRows, Refused, Stop
from retain.streams.columns import conform, fault
from retain.streams.files import Paths
from retain.streams.infer import ARROW, HEAD_ROWS, Head, Layout, Roles
from retain.streams.tabular import BLOCK, Origin, Piece, Tabular, picked, refuse
from retain.streams.text import Chunk, TextFiles, is_text, not_text, show

__all__ = ["jsonl"]


def jsonl(
    paths: Paths,
    /,
    *,
    target: str | None = None,
    time: str | None = None,
    label_time: str | None = None,
    key: str | None = None,
    id: str | None = None,  # noqa: A002 - the field's name
    weight: str | None = None,
    kinds: Mapping[str, Kind] | None = None,
    ignore: Sequence[str] = (),
    task: str | None = None,
    block: int = BLOCK,
    on_bad_rows: BadRows = Stop(),  # noqa: B008 - immutable
) -> Tabular:
    r"""A stream over JSON Lines files (plain, gzip or zstd): one flat object a line.

    >>> import tempfile, pathlib
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "mail.jsonl"
    >>> _ = file.write_text('{"words": 7, "spam": true}\n{"spam": false}\n')
    >>> for batch in jsonl(file, target="spam"):
    ...     print(batch.x.to_pydict(), batch.y, batch.schema.classes)
    {'words': [7.0, None]} [1 0] ('false', 'true')

    The columns are the fields seen in the head. A field that is absent, or null, is missing. A field that was not in
    the head makes its row a bad one unless ignored. Numbers in quotes are categories; times are strings in ISO 8601;
    objects and lists must be ignored. What is ignored may come late. Arguments and errors are those of `csv`.
    """
    roles = Roles.of(
        target=target,
        time=time,
        label_time=label_time,
        key=key,
        id=id,
        weight=weight,
        kinds=kinds,
        ignore=ignore,
        task=task,
    )
    reader = _Reader(files.resolve(paths), roles)
    return Tabular(reader, roles, block=block, on_bad_rows=on_bad_rows, texts=reader)


@final
class _Reader:
    def __init__(self, names: Sequence[str], roles: Roles) -> None:
        self._names, self._roles = names, roles
        self._files = TextFiles()
        self._head: Head | None = None

    def head(self) -> Head:
        if self._head is None:
            self._head = self._read_head()
        return self._head

    def columns(self) -> None:
        """Any line may have a field that none had before."""

    def pieces(self, layout: Layout, place: State | None, /) -> Iterator[Piece]:
        known = self._known(layout)
        for number in range(files.resume_at(self._names, place), len(self._names)):
            text = self._files.open(self._names[number], number)
            try:
                consumed = text.seek(place)
                for chunk in text.pieces(lambda data: data.rfind(b"\n") + 1):
                    piece = _Chunk(text.name, chunk, layout, known).piece(consumed)
                    consumed = max(consumed - piece.total, 0)
                    yield piece
            finally:
                text.close()
            place = None

    def header(self) -> bytes:
        return b""

    def retry(self, texts: Sequence[str], file: str, layout: Layout, /) -> tuple[Piece, list[bytes]]:
        rows = [text.strip().encode(errors="surrogatepass") for text in texts]
        kept = [number for number, row in enumerate(rows) if row and b"\n" not in row]
        refused = [
            Refused(number, file, 0, "the text is not one line; expected one JSON object", texts[number], poison=False)
            for number in sorted(set(range(len(rows))) - set(kept))
        ]
        data = b"".join(rows[number] + b"\n" for number in kept)
        piece = _Chunk(file, Chunk(data, {"line": 1}, last=True), layout, self._known(layout)).piece(0)
        return picked(piece, kept, refused, texts), [row + b"\n" for row in rows]

    def _known(self, layout: Layout) -> frozenset[str]:
        return layout.ignored | layout.types.keys() | set(self._roles.ignore)

    def _read_head(self) -> Head:
        name = self._names[0]
        text = self._files.open(name, 0)
        try:
            data, whole = text.head()
        finally:
            text.close()
        lines = [line for line in data.split(b"\n") if line.strip()]
        if not whole and len(lines) > 1:
            lines.pop()  # may be cut off
        lines = lines[:HEAD_ROWS]
        rows = [row for line in lines if (row := _object(line)) is not None]
        if 2 * len(rows) < len(lines):
            if sum(map(is_text, lines)) * 2 < len(lines):
                not_text(name, data, 1)
            raise SourceError(
                f"{name}: most lines are no JSON objects, e.g. {show(lines[0])[:80]!r}; expected one a line"
            )
        columns: dict[str, pa.Array] = {}
        for field in dict.fromkeys(field for row in rows for field in row):
            values = [row.get(field) for row in rows]
            columns[field] = _typed(values, field, self._roles)
        return Head(pa.table(columns), name, text=False)


def _typed(values: list[Any], field: str, roles: Roles) -> pa.Array:
    """A column of the head, in the type that most of its values have; the others are judged when they are read."""
    there = [value for value in values if value is not None]
    if not there:
        return pa.nulls(len(values))
    if any(isinstance(value, (dict, list)) for value in there):
        if field in roles.ignore or roles.kinds.get(field) is Kind.IGNORED:
            return pa.nulls(len(values))
        return pa.array([[]] * len(values), pa.list_(pa.null()))  # which `infer` refuses, with the cure
    numbers = [isinstance(value, (int, float)) and not isinstance(value, bool) for value in there]
    if sum(numbers) >= 0.9 * len(there):
        whole = all(isinstance(value, int) and abs(value) < 2**63 for value in there)
        good = [value if isinstance(value, (int, float)) else None for value in values]
        return pa.array(good, pa.int64()) if whole else pa.array([None if v is None else float(v) for v in good])
    if all(isinstance(value, bool) for value in there):
        return pa.array(values)
    return pa.array([None if value is None else _spelt(value) for value in values], pa.string())


def _spelt(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", row) if isinstance(row, dict) else None


@final
class _Chunk:
    """Some lines of a file."""

    def __init__(self, name: str, chunk: Chunk, layout: Layout, known: AbstractSet[str]) -> None:
        self._name, self._data, self._chunk = name, chunk.data, chunk
        self._layout, self._known = layout, known
        every = chunk.data.split(b"\n")
        self._numbers = [i for i, line in enumerate(every) if line.strip()]  # empty lines are no rows
        self._lines = [every[i] for i in self._numbers]

    def piece(self, consumed: int) -> Piece:
        total = len(self._lines)
        rows = self._fast() if total else _nothing(self._layout)
        numbers, refused = np.arange(total), list[Refused]()
        if rows is None:
            rows, numbers, refused = self._singly()
        return Piece(
            rows,
            numbers,
            refused,
            total,
            self._chunk.place,
            self.origin,
            start=min(consumed, total),
        )

    def origin(self, number: int) -> Origin:
        return Origin(self._name, self._chunk.line + self._numbers[number], show(self._lines[number]))

    def _fast(self) -> pa.RecordBatch | None:
        """All lines at once; None where one of them is not as expected."""
        if not is_text(self._data):
            return None
        # What has a type of its own in JSON is said; the target and times are cast below. Arrow would take strings
        # that look like times for times.
        said = {
            n: ARROW[t] if t in ("float64", "bool", "int64") else pa.string() for n, t in self._layout.types.items()
        }
        target = self._layout.schema.target
        if target is not None and self._layout.types[target] == "string":
            del said[target]
        for name, storage in self._layout.types.items():
            if storage in ("whole", "seconds", "float32"):
                said[name] = pa.float64()
        try:
            table = arrow_json.read_json(
                pa.BufferReader(self._data),
                read_options=arrow_json.ReadOptions(use_threads=False, block_size=len(self._data) + 1),
                parse_options=arrow_json.ParseOptions(
                    explicit_schema=pa.schema(said), unexpected_field_behavior="infer"
                ),
            )
        except (pa.ArrowInvalid, UnicodeDecodeError):
            return None
        if table.num_rows != len(self._lines) or not set(table.column_names) <= self._known:
            return None
        columns = {
            name: table.column(name).combine_chunks() if name in table.column_names else pa.nulls(table.num_rows)
            for name in self._layout.types
        }
        rows, faults = conform(pa.RecordBatch.from_pydict(columns), self._layout)
        if target is not None and target not in said and pa.types.is_timestamp(columns[target].type):
            return None
        return None if faults else rows

    def _singly(self) -> tuple[pa.RecordBatch, npt.NDArray[np.int64], list[Refused]]:
        """Line by line; the rows that do not parse are refused."""
        refused: list[Refused] = []
        good: list[dict[str, Any]] = []
        numbers: list[int] = []
        for number, line in enumerate(self._lines):
            row = _object(line) if is_text(line) else None
            reason, cure, poison = "the line is no JSON object", "", False
            if row is not None:
                new = next((name for name in row if name not in self._known), None)
                if new is None:
                    found = next((n for n, t in self._layout.types.items() if not _fits(row.get(n), t)), None)
                    if found is None:
                        good.append(row)
                        numbers.append(number)
                        continue
                    wrong = fault(number, found, row[found], self._layout)
                    reason, cure, poison = wrong.reason, wrong.cure, True
                else:
                    reason = f"there is a field {new!r} that the source did not have before"
                    cure = f"leave it out with ignore=[{new!r}]"
            elif not is_text(line):
                reason, cure = "the line is not UTF-8", "convert the file"
            where = self.origin(number)
            refused.append(Refused(number, where.file, where.line, reason, where.text, poison=poison, cure=cure))
        columns = {name: _column([row.get(name) for row in good], kind) for name, kind in self._layout.types.items()}
        rows, faults = conform(pa.RecordBatch.from_pydict(columns), self._layout)
        kept = np.array(numbers, dtype=np.int64)
        if faults:  # times that are none
            refused += [refuse(int(kept[f.row]), f, self.origin) for f in faults]
            keep = np.ones(len(kept), dtype=bool)
            keep[[f.row for f in faults]] = False
            rows, kept = rows.filter(buffers.column(keep)), kept[keep]
        return rows, kept, sorted(refused, key=lambda row: row.number)


def _fits(value: Any, storage: str) -> bool:
    """Whether a JSON value can be stored so; strings that should be times are judged later."""
    if value is None:
        return True
    if isinstance(value, (dict, list)):
        return False
    if storage in ("float64", "float32", "whole", "seconds"):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if storage == "int64":
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    if storage == "bool":
        return isinstance(value, bool)
    if storage in ("timestamp", "zoned"):
        return isinstance(value, str)
    return True  # any scalar has a spelling


def _column(values: list[Any], storage: str) -> pa.Array:
    if storage in ("float64", "float32", "whole", "seconds"):
        return pa.array([None if value is None else _float(value) for value in values], pa.float64())
    if storage in ("int64", "bool"):
        return pa.array(values, ARROW[storage])
    return pa.array([None if value is None else _spelt(value) for value in values], pa.string())


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # a whole number beyond float64, which `screen` refuses
        return float("inf")


def _nothing(layout: Layout) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], ARROW[t]) for t in layout.types.values()], names=list(layout.types))
