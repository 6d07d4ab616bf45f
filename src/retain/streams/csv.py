"""Comma-separated values, parsed by Arrow in pieces whose bounds we choose, so that a position is an offset."""

from __future__ import annotations

import csv as stdlib_csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from retain import buffers
from retain.core import Kind, State
from retain.errors import SchemaError, SettingError, SourceError
from retain.streams import files
from retain.streams.bad_rows import BadRows, Refused, Stop
from retain.streams.columns import fault
from retain.streams.files import Paths
from retain.streams.infer import ARROW, HEAD_ROWS, MISSING, Head, Layout, Roles, check_columns, is_number
from retain.streams.quotes import count, fields, last_row_end, row_pattern, split
from retain.streams.tabular import BLOCK, Origin, Piece, Tabular, picked
from retain.streams.text import Chunk, Text, TextFiles, is_text, not_text, show

__all__ = ["csv"]

_AT_ROW, _AT_COLUMN = re.compile(r"Row #(\d+): "), re.compile(r"In CSV column #(\d+): ")
_DELIMITERS = ",;\t| "
_TRUE = ["true", "True", "TRUE", "1"]
_FALSE = ["false", "False", "FALSE", "0"]


def csv(
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
    missing: Sequence[str] = (),
    delimiter: str | None = None,
    names: Sequence[str] | None = None,
    block: int = BLOCK,
    on_bad_rows: BadRows = Stop(),  # noqa: B008 - immutable
) -> Tabular:
    r"""A stream over CSV files (plain, gzip or zstd), read one after the other and never held in memory.

    >>> import tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "pay.csv").write_text("amount,country,fraud\n10.5,DE,no\n,FR,yes\n7,DE,no\n")
    >>> stream = csv(folder / "*.csv", target="fraud", block=2)
    >>> [(column.name, column.kind.value) for column in stream.schema().columns]
    [('amount', 'numeric'), ('country', 'categorical')]
    >>> for batch, position in stream.read():
    ...     print(batch.x.to_pydict(), batch.y, position["rows"])
    {'amount': [10.5, None], 'country': ['DE', 'FR']} [0 1] 2
    {'amount': [7.0], 'country': ['DE']} [0] 3

    Args:
        paths: a path, a glob, `-` for standard input, or several of these. Every file has a header with the same
            columns, in any order; a column that is new in a later file, or gone, is an error unless ignored.
        target: the column to predict; strings, booleans and at most 20 distinct whole numbers are classes. An empty
            target is a row without a label.
        time: when a row arrives (ISO 8601, or numbers of any clock); it also stays a feature.
        label_time: when its label becomes known; missing: never.
        key: the entity a row belongs to; a feature only where `kinds` names it.
        id: by which a late label finds its row.
        weight: of the row; a finite number >= 0.
        kinds: what a column holds, where the head of the source (10,000 rows or 1 MiB) does not tell.
        ignore: columns to leave out; they may come and go, but one file at least has each. The column `time` may be
            among them: then it is no feature.
        task: 'classification' or 'regression', where the target does not tell, or tells of times or ids.
        missing: what stands for a missing value besides an empty field (and, for numbers and times, NA, NaN, null, ?).
        delimiter: one character; by default a comma, or a tab where the name ends in .tsv.
        names: of the columns, where the files have no header.
        block: rows in a block.
        on_bad_rows: `Stop()`, `Skip()` or `Quarantine(path)`: ragged rows, values that are not of their column's kind,
            infinite ones and those beyond float32.

    Raises:
        SourceError: a file is missing, empty, damaged, not text, or not separated by `delimiter`; or (Stop) a row is.
        SchemaError: a column that was named is not there, or one has no value at all.
        PoisonError: (Stop) a value is not of its column's kind.
    """
    if delimiter is not None and (len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n'):
        raise SettingError(f"delimiter={delimiter!r}; expected one character such as ',' or ';'")
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
        missing=missing,
    )
    reader = _Reader(files.resolve(paths), delimiter, None if names is None else tuple(names), roles)
    return Tabular(reader, roles, block=block, on_bad_rows=on_bad_rows, texts=reader)


# --- reading ----------------------------------------------------------------------------------------------------------


@final
class _Reader:
    def __init__(
        self, names: Sequence[str], delimiter: str | None, header: tuple[str, ...] | None, roles: Roles
    ) -> None:
        self._names, self._delimiter, self._header, self._ignore = names, delimiter, header, roles.ignore
        self._files = TextFiles()
        self._head: Head | None = None
        self._shapes: dict[str, _Shape] = {}  # by file, of those whose header was read

    def head(self) -> Head:
        if self._head is None:
            self._head = self._read_head()
        return self._head

    def columns(self) -> Sequence[str]:
        head = self.head()
        found = dict.fromkeys(head.table.column_names)
        for number, name in enumerate(self._names):
            if name != head.source:
                text = self._files.open(name, number)
                try:
                    found |= dict.fromkeys(self._shape(text).columns)
                finally:
                    text.close()
        return list(found)

    def pieces(self, layout: Layout, place: State | None, /) -> Iterator[Piece]:
        for number in range(files.resume_at(self._names, place), len(self._names)):
            text = self._files.open(self._names[number], number)
            try:
                shape = self._shape(text)
                check_columns(text.name, shape.columns, layout, self._ignore)
                consumed = text.seek(place)
                for chunk in text.pieces(lambda data, d=shape.delimiter: last_row_end(data, d)):
                    piece = _Chunk(text.name, shape, chunk, layout).piece(consumed)
                    consumed = max(consumed - piece.total, 0)
                    yield piece
            finally:
                text.close()
            place = None

    def header(self) -> bytes:
        return self._shape_of(self.head().source).header

    def retry(self, texts: Sequence[str], file: str, layout: Layout, /) -> tuple[Piece, list[bytes]]:
        shape, wanted = self._shape_of(file), self._shape_of(self.head().source)
        rows = [text.encode(errors="surrogatepass") for text in texts]
        wrong = {number: why for number, row in enumerate(rows) if (why := _not_one(row, shape.delimiter))}
        kept = [number for number in range(len(rows)) if number not in wrong]
        refused = [Refused(number, file, 0, why, texts[number], poison=False) for number, why in wrong.items()]
        data = b"".join(rows[number].strip(b"\r\n") + b"\n" for number in kept)
        piece = _Chunk(file, shape, Chunk(data, {"line": 1}, last=True), layout).piece(0)
        lines = [_rewritten(row, shape, wanted, layout.missing) for row in rows]
        return picked(piece, kept, refused, texts), lines

    def _shape_of(self, file: str) -> _Shape:
        """The columns of a file, or of the first one with rows where the source has no such file."""
        known = next((name for name in self._names if Path(name).name == Path(file).name), self.head().source)
        if known not in self._shapes:
            text = self._files.open(known, 0)
            try:
                self._shapes[known] = self._shape(text)
            finally:
                text.close()
        return self._shapes[known]

    def _shape(self, text: Text) -> _Shape:
        """Read the header."""
        delimiter = ord(self._delimiter or ("\t" if re.search(r"\.(tsv|tab)(\.|$)", text.name) else ","))
        blank = len(text.rest) - len(text.rest.lstrip(b"\r\n"))
        text.drop(blank)
        if self._header is not None:
            return _Shape(self._header, delimiter)
        found = row_pattern(delimiter).match(text.rest)
        if found is None:
            raise SourceError(f"{text.name}, line 1: a quote in the header never closes; correct the header")
        row = text.rest[: found.end()]
        if not is_text(row):
            not_text(text.name, row, 1)
        names = [field.strip() for field in fields(row, delimiter)]
        if len(names) > 1:
            # Tables saved with their row numbers begin with a column without a name.
            names = [name or f"column_{i}" for i, name in enumerate(names)]
        text.drop(len(row))
        if all(map(is_number, names)):
            raise SourceError(
                f"{text.name} has no header, it seems: its first line holds only numbers, e.g. {names[0]!r}; "
                "put names of the columns into the first line, or say names=[...]"
            )
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            times = names.count(twice)
            raise SchemaError(
                f"{text.name}: column {twice!r} is named {times} times; expected distinct names: rename one"
            )
        return _Shape(tuple(names), delimiter, row.rstrip(b"\r\n") + b"\n")

    def _read_head(self) -> Head:
        for number, name in enumerate(self._names):
            text = self._files.open(name, number)
            try:
                shape = self._shape(text)
                _check_delimiter(text, shape, given=self._delimiter is not None)
                table = _head_rows(text, shape)
            finally:
                text.close()
            if table.num_rows:
                return Head(table, name, text=True)
        raise SourceError(f"{self._names[0]} has a header and no rows; expected at least one row")


@dataclass(frozen=True, slots=True)
class _Shape:
    columns: tuple[str, ...]
    delimiter: int
    header: bytes = b""  # as it stands


def _check_delimiter(text: Text, shape: _Shape, *, given: bool) -> None:
    """A single column, whose rows all have several fields by another delimiter, is a file read with the wrong one."""
    columns = list(shape.columns)
    if len(columns) != 1:
        return
    data = text.rest[:4096]
    rows = [data[a:b] for a, b, closed in split(data, shape.delimiter)[:20] if closed]
    whole = rows[: max(len(rows) - 1, 1)]  # the last may be cut off
    other = _other_delimiter([columns[0].encode(), *whole], shape.delimiter)
    if other is not None and not (given and other == " "):
        raise SourceError(
            f"{text.name} has one column, {columns[0]!r}, with delimiter {chr(shape.delimiter)!r}; "
            f"it looks separated by {other!r}: say delimiter={other!r}"
        )


def _other_delimiter(rows: Sequence[bytes], delimiter: int) -> str | None:
    """A delimiter by which all rows have the same number of fields, and more than one."""
    for other in _DELIMITERS:
        counts = {count(row, ord(other)) for row in rows}
        if ord(other) != delimiter and len(counts) == 1 and counts != {1}:
            return other
    return None


def _head_rows(text: Text, shape: _Shape) -> pa.Table:
    """The first rows as strings; rows that do not fit the header are left out here and judged when they are read."""
    data, whole = text.head()
    spans = split(data, shape.delimiter)
    if not whole and len(spans) > 1:
        spans.pop()  # may be cut off
    spans = spans[:HEAD_ROWS]
    rows = [data[a:b].rstrip(b"\r\n") + b"\n" for a, b, closed in spans if closed]
    good = [row for row in rows if is_text(row)]
    if 2 * len(good) < len(rows):
        not_text(text.name, b"".join(rows), 2)
    ragged = 0

    def leave_out(_: Any) -> str:
        nonlocal ragged
        ragged += 1
        return "skip"

    strings = dict.fromkeys(shape.columns, "string")
    table = _parse(b"".join(good), shape, strings, (), leave_out)
    if 2 * ragged > len(good):
        other = _other_delimiter(good[:100], shape.delimiter) or "..."
        raise SourceError(
            f"{text.name}: most rows do not have the header's {len(shape.columns)} fields (the first has "
            f"{count(good[0], shape.delimiter)}) with delimiter {chr(shape.delimiter)!r}; "
            f"say delimiter={other!r}, or names=[...] if there is no header"
        )
    return table


@final
class _Chunk:
    """Some rows of a file, as bytes."""

    def __init__(self, name: str, shape: _Shape, chunk: Chunk, layout: Layout) -> None:
        self._name, self._shape, self._layout = name, shape, layout
        self._data, self._line, self._last = chunk.data, chunk.line, chunk.last
        self._place = chunk.place
        self._delimiter = shape.delimiter
        self._spans: list[tuple[int, int, bool]] | None = None
        self._newlines: np.ndarray[Any, Any] | None = None

    def piece(self, consumed: int) -> Piece:
        try:
            if self._last and self._is_open():
                raise pa.ArrowInvalid("a quote does not close")
            rows = self._parse(self._data)
            numbers, refused, total = np.arange(rows.num_rows), list[Refused](), rows.num_rows
        except (pa.ArrowInvalid, UnicodeDecodeError):
            rows, numbers, refused = self._singly()
            total = len(self._rows())
        return Piece(
            rows,
            numbers,
            refused,
            total,
            self._place,
            self.origin,
            start=min(consumed, total),
        )

    def origin(self, number: int) -> Origin:
        start, end, _ = self._rows()[number]
        if self._newlines is None:
            self._newlines = np.flatnonzero(np.frombuffer(self._data, dtype=np.uint8) == 0x0A)
        line = self._line + int(np.searchsorted(self._newlines, start))
        return Origin(self._name, line, show(self._data[start:end]))

    def _is_open(self) -> bool:
        """Whether the last row's quotes do not close: Arrow would not mind."""
        return b'"' in self._data and not all(closed for _, _, closed in self._rows())

    def _rows(self) -> list[tuple[int, int, bool]]:
        if self._spans is None:
            self._spans = split(self._data, self._delimiter)
        return self._spans

    def _parse(self, data: bytes) -> pa.RecordBatch:
        table = _parse(data, self._shape, self._layout.types, self._layout.missing)
        return _joined(table, self._layout)

    def _singly(self) -> tuple[pa.RecordBatch, np.ndarray[Any, np.dtype[np.int64]], list[Refused]]:
        """The rows that parse; the others are refused.

        Rows of another width are told by counting. Of the rest, Arrow names the first row at which it fails, and rows
        before and after it are tried again. Where many rows are bad, that would parse the rest of the piece once for
        each, so that ranges are halved first.
        """
        wrong = [number for number in range(len(self._rows())) if not self._has_width(number)]
        refused = [self._refused(number, self._misshapen(number)) for number in wrong]
        bad = set(wrong)
        kept = [number for number in range(len(self._rows())) if number not in bad]
        lines = [self._data[start:end] for start, end, _ in map(self._rows().__getitem__, kept)]
        bounds = list(accumulate(map(len, lines), initial=0))
        data = b"".join(lines)
        good: list[pa.RecordBatch] = []
        numbers: list[int] = []
        stack = [(0, len(kept))]
        while stack:
            a, b = stack.pop()
            if a == b:
                continue
            rows, at = self._attempt(data[bounds[a] : bounds[b]], b - a)
            if rows is not None:
                good.append(rows)
                numbers.extend(kept[a:b])
            elif b - a == 1:
                refused.append(self._refuse(kept[a]))
            elif at is None or (b - a > 64 and len(refused) - len(wrong) > 3):
                stack += [((a + b) // 2, b), (a, (a + b) // 2)]
            else:
                stack += [(a + at + 1, b), (a + at, a + at + 1), (a, a + at)]
        refused.sort(key=lambda row: row.number)
        if not good:
            empty = pa.table({name: pa.nulls(0, ARROW[kind]) for name, kind in self._layout.types.items()})
            return _joined(empty, self._layout), np.array([], dtype=np.int64), refused
        return _joined(pa.Table.from_batches(good), self._layout), np.array(numbers), refused

    def _attempt(self, data: bytes, count: int) -> tuple[pa.RecordBatch | None, int | None]:
        """The rows in `data`, if all of them parse; if not, the number of one that does not, where that is known."""
        try:
            rows = self._parse(data)
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            named = _AT_ROW.search(str(error))
            at = int(named[1]) - 1 if named else -1
            return None, at if 0 <= at < count else None
        return (rows, None) if rows.num_rows == count else (None, None)

    def _has_width(self, number: int) -> bool:
        """Whether the quotes of a row close and it has as many fields as the header."""
        start, end, closed = self._rows()[number]
        if not closed:
            return False
        if self._data.find(b'"', start, end) < 0:
            return self._data.count(self._delimiter, start, end) + 1 == len(self._shape.columns)
        return count(self._data[start:end], self._delimiter) == len(self._shape.columns)

    def _misshapen(self, number: int) -> str:
        """Why `_has_width` says no."""
        start, end, closed = self._rows()[number]
        if not closed:
            return "a quote opens and never closes"
        seen = count(self._data[start:end].rstrip(b"\r\n"), self._delimiter)
        return f"the row has {seen} fields; expected {len(self._shape.columns)} as in the header"

    def _refuse(self, number: int) -> Refused:
        """Why a row of the right width does not parse."""
        start, end, _ = self._rows()[number]
        row = self._data[start:end].rstrip(b"\r\n")
        try:
            self._parse(row)
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            named = _AT_COLUMN.search(str(error))
            if named is None:
                return self._refused(number, "the row cannot be parsed")
            name, value = self._shape.columns[int(named[1])], fields(row, self._delimiter)[int(named[1])]
            if "UTF8" in str(error):
                return self._refused(number, f"column {name!r} holds {value!r}, which is not UTF-8", "convert the file")
            found = fault(number, name, value, self._layout)
            return self._refused(number, found.reason, found.cure, poison=True)
        return self._refused(number, "the row cannot be parsed")

    def _refused(self, number: int, reason: str, cure: str = "", *, poison: bool = False) -> Refused:
        where = self.origin(number)
        return Refused(number, where.file, where.line, reason, where.text, poison=poison, cure=cure)


def _not_one(row: bytes, delimiter: int) -> str:
    """Why a text is not one row, if it is not."""
    rows = split(row, delimiter)
    if len(rows) != 1:
        return f"the text holds {len(rows) or 'no'} rows; expected one"
    return "" if rows[0][2] else "a quote opens and never closes"


def _rewritten(row: bytes, shape: _Shape, wanted: _Shape, missing: Sequence[str]) -> bytes:
    """A row as a line of a file whose columns are those of `wanted`: as it stands, where nothing is in the way.

    What stands for a missing value is left out, so that who knows nothing of it can read the row too.
    """
    values = dict(zip(shape.columns, fields(row, shape.delimiter), strict=False))
    if shape.columns == wanted.columns and not set(values.values()) & set(missing):
        return row.strip(b"\r\n") + b"\n"
    text = io.StringIO()
    found = [values.get(name, "") for name in wanted.columns]
    writer = stdlib_csv.writer(text, delimiter=chr(wanted.delimiter), lineterminator="\n")
    writer.writerow(["" if value in missing else value for value in found])
    return text.getvalue().encode(errors="surrogatepass")


def _parse(
    data: bytes,
    shape: _Shape,
    types: Mapping[str, str],
    missing: Sequence[str],
    on_ragged: Any = None,
) -> pa.Table:
    """Rows without a header as a table of the columns in `types`. Raises ArrowInvalid where a value does not fit."""
    if not data.strip(b"\r\n"):
        return pa.table({name: pa.nulls(0, ARROW[kind]) for name, kind in types.items()})
    return arrow_csv.read_csv(
        pa.BufferReader(data),
        # One thread: two cost 0-20 % more CPU and save nothing at pieces of this size (measured).
        read_options=arrow_csv.ReadOptions(
            column_names=list(shape.columns), use_threads=False, block_size=len(data) + 1
        ),
        parse_options=arrow_csv.ParseOptions(
            delimiter=chr(shape.delimiter), newlines_in_values=b'"' in data, invalid_row_handler=on_ragged
        ),
        convert_options=arrow_csv.ConvertOptions(
            column_types={name: ARROW[kind] for name, kind in types.items()},
            include_columns=list(types),
            null_values=[*MISSING, *missing],
            true_values=_TRUE,
            false_values=_FALSE,
            strings_can_be_null=False,  # 'NA' may well be a category; what is empty is made null below
        ),
    )


def _joined(table: pa.Table, layout: Layout) -> pa.RecordBatch:
    """One record batch; empty strings are missing."""
    absent = buffers.text(["", *layout.missing])
    arrays: list[pa.Array] = []
    for name, kind in layout.types.items():
        column = table.column(name)
        array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
        if kind == "string":
            if layout.missing:
                there = pc.invert(pc.is_in(array, value_set=absent))
            else:
                there = pc.binary_length(array).cast(pa.bool_())
            if not pc.all(there).as_py():
                array = pc.if_else(there, array, buffers.null(array.type))
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, names=list(layout.types))
