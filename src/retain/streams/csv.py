"""Comma-separated values, parsed by Arrow in pieces of a MiB whose bounds we choose, so that a position is an offset.

A piece ends after a row. Quotes make that a question: a newline within quotes ends nothing. Where a piece has quotes,
they are first taken to be well-formed (each opens after a delimiter or a newline and closes before one), which is
checked in a few vector operations; where they are not, rows are found one by one as Arrow's parser finds them.
"""

from __future__ import annotations

import csv as stdlib_csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from typing import Any, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from retain.core import Kind, State
from retain.errors import SchemaError, SettingError, SourceError
from retain.streams import files
from retain.streams.bad_rows import BadRows, Refused, Stop
from retain.streams.columns import fault
from retain.streams.files import Paths
from retain.streams.infer import ARROW, HEAD_ROWS, MISSING, Head, Layout, Roles, check_columns, is_number
from retain.streams.tabular import BLOCK, Origin, Piece, Tabular
from retain.streams.text import Text, TextFiles, is_text, not_text, show

__all__ = ["csv"]

_DELIMITERS = ",;\t|"
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
        ignore: columns to leave out; they may come and go. The column `time` may be among them: then it is no feature.
        task: 'classification' or 'regression', where the target does not tell.
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
    return Tabular(reader, roles, block=block, on_bad_rows=on_bad_rows)


# --- where rows end ---------------------------------------------------------------------------------------------------


def last_row_end(data: bytes, delimiter: int, /) -> int:
    """Offset after the last row that ends with a newline in `data`, which begins with a row; 0 where none does."""
    if b'"' not in data:
        return data.rfind(b"\n") + 1
    quotes = _even_quotes(data, delimiter)
    if quotes is None:
        # Behind a quote that does not close yet nothing is known: it may close in what follows.
        whole = takewhile(lambda span: span[2], split(data, delimiter))
        return max((end for _, end, _ in whole if data[end - 1] == 0x0A), default=0)
    at = data.rfind(b"\n")
    while at >= 0 and (before := int(np.searchsorted(quotes, at))) % 2:
        at = data.rfind(b"\n", 0, int(quotes[before - 1]))
    return at + 1


def _even_quotes(data: bytes, delimiter: int) -> np.ndarray[Any, Any] | None:
    """Offsets of the quotes if all are well-formed: then those of even index open, or follow a doubled one."""
    text = np.frombuffer(data, dtype=np.uint8)
    quotes = np.flatnonzero(text == 0x22)
    allowed = np.zeros(256, dtype=bool)
    allowed[[delimiter, 0x0A, 0x0D, 0x22]] = True
    opening, closing = quotes[0::2], quotes[1::2]
    before = text[opening - 1][opening > 0]
    after = text[np.minimum(closing + 1, len(text) - 1)][closing + 1 < len(text)]
    return quotes if allowed[before].all() and allowed[after].all() else None


@lru_cache(maxsize=8)
def _row_pattern(delimiter: int) -> re.Pattern[bytes]:
    """A row as Arrow's parser sees it: a quote opens at the start of a field only; after it closes, text may follow."""
    d = re.escape(bytes([delimiter]))
    name = b'(?:"[^"]*(?:""[^"]*)*"(?!")[^D\\r\\n]*|[^"D\\r\\n][^D\\r\\n]*|)'.replace(b"D", d)
    return re.compile(name + b"(?:" + d + name + b")*(?:\\r\\n|\\n|\\r|\\Z)")


def split(data: bytes, delimiter: int, /) -> list[tuple[int, int, bool]]:
    """Start and end of each row, and whether its quotes close; one whose quotes do not ends with its first line.

    Empty lines are no rows.
    """
    match = _row_pattern(delimiter).match
    rows: list[tuple[int, int, bool]] = []
    at = 0
    while at < len(data):
        found = match(data, at)
        end = found.end() if found else data.find(b"\n", at) + 1 or len(data)
        if data[at:end].strip(b"\r\n"):
            rows.append((at, end, found is not None))
        at = end
    return rows


def fields(row: bytes, delimiter: int, /) -> list[str]:
    """The fields of one row, for messages and headers."""
    text = show(row)
    try:
        return next(stdlib_csv.reader(io.StringIO(text, newline=""), delimiter=chr(delimiter)), [])
    except stdlib_csv.Error:  # a field of more than 128 KiB
        return text.split(chr(delimiter))


# --- reading ----------------------------------------------------------------------------------------------------------


@final
class _Reader:
    def __init__(
        self, names: Sequence[str], delimiter: str | None, header: tuple[str, ...] | None, roles: Roles
    ) -> None:
        self._names, self._delimiter, self._header, self._ignore = names, delimiter, header, roles.ignore
        self._files = TextFiles()
        self._head: Head | None = None

    def head(self) -> Head:
        if self._head is None:
            self._head = self._read_head()
        return self._head

    def pieces(self, layout: Layout, place: State | None, /) -> Iterator[Piece]:
        for number in range(files.resume_at(self._names, place), len(self._names)):
            text = self._files.open(self._names[number], number)
            try:
                shape = self._shape(text)
                check_columns(text.name, shape.columns, layout, self._ignore)
                consumed = text.seek(place)
                for data, offset, line in text.pieces(lambda data, d=shape.delimiter: last_row_end(data, d)):
                    piece = _Chunk(text, shape, data, offset, line, layout).piece(consumed)
                    consumed = max(consumed - piece.total, 0)
                    yield piece
            finally:
                text.close()
            place = None

    def _shape(self, text: Text) -> _Shape:
        """Read the header."""
        delimiter = ord(self._delimiter or ("\t" if re.search(r"\.(tsv|tab)(\.|$)", text.name) else ","))
        blank = len(text.rest) - len(text.rest.lstrip(b"\r\n"))
        text.drop(blank)
        if self._header is not None:
            return _Shape(self._header, delimiter)
        row = _row_pattern(delimiter).match(text.rest)
        if row is None:
            raise SourceError(f"{text.name}, line 1: a quote in the header never closes; correct the header")
        if not is_text(row[0]):
            not_text(text.name, row[0], 1)
        names = [field.strip() for field in fields(row[0], delimiter)]
        if len(names) > 1:
            # Tables saved with their row numbers begin with a column without a name.
            names = [name or f"column_{i}" for i, name in enumerate(names)]
        text.drop(row.end())
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
        return _Shape(tuple(names), delimiter)

    def _read_head(self) -> Head:
        for number, name in enumerate(self._names):
            text = self._files.open(name, number)
            try:
                shape = self._shape(text)
                _check_delimiter(name, shape)
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


def _check_delimiter(name: str, shape: _Shape) -> None:
    """A single column whose name holds other delimiters is a file read with the wrong one."""
    if len(shape.columns) == 1 and (other := _other_delimiter([shape.columns[0].encode()], shape.delimiter)):
        raise SourceError(
            f"{name} has one column, {shape.columns[0]!r}, with delimiter {chr(shape.delimiter)!r}; "
            f"it looks separated by {other!r}: say delimiter={other!r}"
        )


def _other_delimiter(rows: Sequence[bytes], delimiter: int) -> str | None:
    """A delimiter by which all rows have the same number of fields, and more than one."""
    for other in _DELIMITERS:
        counts = {_count(row, ord(other)) for row in rows}
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
            f"{_count(good[0], shape.delimiter)}) with delimiter {chr(shape.delimiter)!r}; "
            f"say delimiter={other!r}, or names=[...] if there is no header"
        )
    return table


@final
class _Chunk:
    """Some rows of a file, as bytes."""

    def __init__(self, text: Text, shape: _Shape, data: bytes, offset: int, line: int, layout: Layout) -> None:
        self._text, self._shape, self._layout = text, shape, layout
        self._data, self._offset, self._line = data, offset, line
        self._delimiter = shape.delimiter
        self._spans: list[tuple[int, int, bool]] | None = None

    def piece(self, consumed: int) -> Piece:
        try:
            if self._is_open():
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
            lambda number: self._text.place(self._offset, self._line, number),
            self.origin,
            start=min(consumed, total),
        )

    def origin(self, number: int) -> Origin:
        start, end, _ = self._rows()[number]
        return Origin(self._text.name, self._line + self._data.count(b"\n", 0, start), show(self._data[start:end]))

    def _is_open(self) -> bool:
        """Whether the chunk ends within quotes: only the last of a file can, or the line of one that never closes."""
        if b'"' not in self._data:
            return False
        ended = self._data if self._data.endswith(b"\n") else self._data + b"\n"
        return last_row_end(ended, self._delimiter) < len(ended)

    def _rows(self) -> list[tuple[int, int, bool]]:
        if self._spans is None:
            self._spans = split(self._data, self._delimiter)
        return self._spans

    def _parse(self, data: bytes) -> pa.RecordBatch:
        table = _parse(data, self._shape, self._layout.types, self._layout.missing)
        return _joined(table, self._layout)

    def _singly(self) -> tuple[pa.RecordBatch, np.ndarray[Any, np.dtype[np.int64]], list[Refused]]:
        """The rows that parse, found by halving; the others are refused."""
        spans = self._rows()
        good: list[pa.RecordBatch] = []
        numbers: list[int] = []
        refused: list[Refused] = []
        stack = [(0, len(spans))]
        while stack:
            a, b = stack.pop()
            part = spans[a:b]
            if not part:
                continue
            if all(closed for _, _, closed in part):
                try:
                    # Rows are joined anew: one of them may end without a newline.
                    rows = self._parse(b"".join(self._data[s:e].rstrip(b"\r\n") + b"\n" for s, e, _ in part))
                    if rows.num_rows == b - a:
                        good.append(rows)
                        numbers.extend(range(a, b))
                        continue
                except (pa.ArrowInvalid, UnicodeDecodeError):
                    pass
            if b - a == 1:
                refused.append(self._refuse(a))
            else:
                middle = (a + b) // 2
                stack += [(middle, b), (a, middle)]
        if not good:
            empty = pa.table({name: pa.array([], ARROW[kind]) for name, kind in self._layout.types.items()})
            return _joined(empty, self._layout), np.array([], dtype=np.int64), refused
        return _joined(pa.Table.from_batches(good), self._layout), np.array(numbers), refused

    def _refuse(self, number: int) -> Refused:
        """Why a row does not parse."""
        start, end, closed = self._rows()[number]
        where = self.origin(number)
        row = self._data[start:end].rstrip(b"\r\n") + b"\n"

        def refused(reason: str, *, poison: bool = False, cure: str = "") -> Refused:
            return Refused(number, where.file, where.line, reason, where.text, poison=poison, cure=cure)

        if not closed:
            return refused("a quote opens and never closes")
        seen, expected = _count(row, self._delimiter), len(self._shape.columns)
        if seen != expected:
            return refused(f"the row has {seen} fields; expected {expected} as in the header")
        values = fields(row, self._delimiter)
        for name, kind in self._layout.types.items():
            try:
                _parse(row, self._shape, {name: kind}, self._layout.missing)
            except (pa.ArrowInvalid, UnicodeDecodeError):
                value = values[self._shape.columns.index(name)]
                if not is_text(row):
                    return refused(f"column {name!r} holds {value!r}, which is not UTF-8", cure="convert the file")
                found = fault(number, name, value, self._layout)
                return refused(found.reason, poison=True, cure=found.cure)
        return refused("the row cannot be parsed")


def _count(row: bytes, delimiter: int) -> int:
    """How many fields a row has, as Arrow counts."""
    d = re.escape(bytes([delimiter]))
    field = b'"[^"]*(?:""[^"]*)*"(?!")[^D\\r\\n]*|[^"D\\r\\n][^D\\r\\n]*|'.replace(b"D", d)
    pattern, at, count = re.compile(field), 0, 0
    while True:
        found = pattern.match(row, at)
        at = found.end() if found else len(row)
        count += 1
        if at >= len(row) or row[at] != delimiter:
            return count
        at += 1


def _parse(
    data: bytes,
    shape: _Shape,
    types: Mapping[str, str],
    missing: Sequence[str],
    on_ragged: Any = None,
) -> pa.Table:
    """Rows without a header as a table of the columns in `types`. Raises ArrowInvalid where a value does not fit."""
    if not data.strip(b"\r\n"):
        return pa.table({name: pa.array([], ARROW[kind]) for name, kind in types.items()})
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
    absent = pa.array(["", *layout.missing])
    arrays: list[pa.Array] = []
    for name, kind in layout.types.items():
        column = table.column(name)
        array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
        if kind == "string":
            gone = pc.is_in(array, value_set=absent) if layout.missing else pc.equal(pc.binary_length(array), 0)
            if pc.any(gone).as_py():
                array = pc.if_else(gone, None, array)
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, names=list(layout.types))
