"""Rows of a source as a `Batch`: cast to the layout, checked value by value, labels coded, roles taken apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from retain import buffers
from retain.core import Array, Batch, Floats, Kind, Schema
from retain.streams.infer import ARROW, MISSING, NO_LABEL, Layout

__all__ = ["Coder", "Fault", "conform", "screen"]

_LARGEST = float(np.finfo(np.float32).max)  # learners compute in float32
_TEMPORARY = {"whole", "seconds", "bool"}
_EXPECTED = {
    "float64": "a number",
    "float32": "a number",
    "int64": "a whole number",
    "bool": "true or false",
    "string": "text",
    "dictionary": "text",
    "timestamp": "an ISO 8601 time without a zone",
    "zoned": "an ISO 8601 time with a zone, such as 2013-01-31T23:59:00Z",
    "seconds": "seconds since the epoch",
    "whole": "a whole number that names a class",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a row: the first column that holds what it must not."""

    row: int
    column: str
    value: Any
    expected: str
    cure: str = ""

    @property
    def reason(self) -> str:
        shown = repr(self.value)
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        return f"column {self.column!r} holds {shown}; expected {self.expected}"


def fault(row: int, column: str, value: Any, layout: Layout) -> Fault:
    """A value that does not parse as its column's kind."""
    storage = layout.types[column]
    if column == layout.schema.target:
        other = "categorical" if storage == "float64" or isinstance(value, str) else "numeric"
        cure = f"say kinds={{{column!r}: '{other}'}}" if storage in ("float64", "whole") else ""
        return Fault(row, column, value, _EXPECTED[storage], cure)
    if storage in ("float64", "float32", "bool", "timestamp", "zoned"):
        cure = f"say missing=[{value!r}] if it stands for a missing value, or kinds={{{column!r}: 'categorical'}}"
        return Fault(row, column, value, _EXPECTED[storage], cure)
    return Fault(row, column, value, _EXPECTED[storage])


def conform(batch: pa.RecordBatch, layout: Layout, /) -> tuple[pa.RecordBatch, list[Fault]]:
    """The columns of a typed source, each stored as its layout says, and the rows where that cannot be.

    Where a value cannot be stored so, the row is at fault and the value null; nothing is copied that need not be.
    """
    arrays: list[pa.Array] = []
    faults: dict[int, Fault] = {}
    for name, storage in layout.types.items():
        column = batch.column(name)
        try:
            arrays.append(_cast(column, storage, layout.missing))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
            good, rows = _cast_singly(column, storage, layout.missing)
            arrays.append(good)
            for row in rows:
                faults.setdefault(row, fault(row, name, column[row].as_py(), layout))
    table = pa.RecordBatch.from_arrays(arrays, names=list(layout.types))
    return table, [faults[row] for row in sorted(faults)]


def _cast(column: pa.Array, storage: str, missing: Sequence[str]) -> pa.Array:
    """Raises where a value does not fit."""
    is_, kind, to = pa.types, column.type, ARROW[storage]
    if kind == to:
        return column
    if is_.is_null(kind):
        return pa.nulls(len(column), to)
    if is_.is_dictionary(kind):
        if storage == "dictionary":
            return column.cast(to)
        return _cast(column.dictionary_decode(), storage, missing)
    strings = is_.is_string(kind) or is_.is_large_string(kind) or is_.is_string_view(kind)
    if strings and storage not in ("string", "dictionary"):
        column = pc.utf8_trim_whitespace(column.cast(pa.string()))
        absent = pc.is_in(column, value_set=buffers.text([*MISSING, *missing]))
        return pc.if_else(absent, buffers.null(column.type), column).cast(to)
    if storage == "dictionary":
        return column.cast(pa.string()).dictionary_encode()
    if storage in ("timestamp", "zoned"):
        if is_.is_integer(kind) or is_.is_floating(kind):
            raise pa.ArrowInvalid("a number where a time was")
        if is_.is_date(kind):
            column = (
                column.cast(pa.timestamp("s"), safe=False) if is_.is_date32(kind) else column.cast(pa.timestamp("ms"))
            )
        return column.cast(pa.timestamp("us", column.type.tz), safe=False).cast(to)
    if is_.is_boolean(kind) and to == pa.float64():
        return column.cast(pa.uint8()).cast(to)
    if is_.is_decimal(kind) or is_.is_integer(kind) or is_.is_floating(kind):
        # Only rounding is lost: whole numbers above 2**53, fractions beyond float32.
        return column.cast(to, safe=is_.is_integer(to))
    return column.cast(to)


def _cast_singly(column: pa.Array, storage: str, missing: Sequence[str]) -> tuple[pa.Array, list[int]]:
    """Cast by halving: what cannot be cast becomes null, and its rows are returned."""
    if len(column) == 1:
        try:
            return _cast(column, storage, missing), []
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
            return pa.nulls(1, ARROW[storage]), [0]
    middle = len(column) // 2
    parts: list[pa.Array] = []
    rows: list[int] = []
    for start, part in ((0, column.slice(0, middle)), (middle, column.slice(middle))):
        try:
            parts.append(_cast(part, storage, missing))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
            good, bad = _cast_singly(part, storage, missing)
            parts.append(good)
            rows.extend(start + row for row in bad)
    joined = pa.chunked_array(parts).combine_chunks()
    return (joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined), rows


def screen(batch: pa.RecordBatch, layout: Layout, /) -> list[Fault]:
    """Rows whose values would damage a model: infinite or beyond float32, a missing time, a negative weight."""
    schema, faults = layout.schema, dict[int, Fault]()
    for name, storage in layout.types.items():
        column = batch.column(name)
        if name == schema.id and pa.types.is_string(column.type):
            for row in np.flatnonzero([not value for value in column.to_pylist()]).tolist():
                faults.setdefault(row, Fault(row, name, None, "a value in every row"))
        if storage not in ("float64", "float32", "whole", "seconds", "int64", "timestamp", "zoned"):
            continue
        needed = name in (schema.time, schema.weight) or (storage == "int64" and name in (schema.key, schema.id))
        if needed and column.null_count:
            for row in np.flatnonzero(~buffers.valid(column)).tolist():
                faults.setdefault(row, Fault(row, name, None, "a value in every row"))
        if pa.types.is_floating(column.type):
            limit = (
                _LARGEST
                if storage in ("float64", "float32") and name not in (schema.time, schema.label_time)
                else 2.0**63
            )
            _screen_range(column, name, storage, limit, needed, name == schema.weight, faults, layout)
    return [faults[row] for row in sorted(faults)]


def _screen_range(
    column: pa.Array,
    name: str,
    storage: str,
    limit: float,
    needed: bool,  # noqa: FBT001 - private
    positive: bool,  # noqa: FBT001 - private
    faults: dict[int, Fault],
    layout: Layout,
) -> None:
    floor = 0.0 if positive else -limit
    if storage != "whole" and len(column):
        # The common case in two passes, thirty times as fast as Arrow's min_max. What is missing may hide anything:
        # where that, or NaN, is in the way, all values are looked at below.
        raw = buffers.stored(column)
        if floor <= raw.min() and raw.max() <= limit:
            return
    values = buffers.values(column)
    with np.errstate(invalid="ignore"):
        bad = (values < floor) | (values > limit)
        if needed:
            bad |= np.isnan(values)
        if storage == "whole":
            bad |= (values != np.floor(values)) & ~np.isnan(values)
    for row in np.flatnonzero(bad).tolist():
        value = column[row].as_py()
        if storage == "whole":
            faults.setdefault(row, fault(row, name, value, layout))
        elif positive:
            faults.setdefault(row, Fault(row, name, value, "a finite weight >= 0"))
        else:
            faults.setdefault(row, Fault(row, name, value, "a finite number within float32 (up to 3.4e38)"))


@final
class Coder:
    """Turns clean rows into batches; knows the classes so far, which grow in order of appearance."""

    def __init__(self, layout: Layout, /) -> None:
        self.layout = layout
        self._codes = {label: code for code, label in enumerate(layout.schema.classes or ())}
        self._features = [c for c in layout.schema.columns if c.kind is not Kind.IGNORED]
        self._plain = all(self.layout.types[c.name] not in _TEMPORARY | {"zoned"} for c in self._features)
        self._names = [c.name for c in self._features]
        # More classes may be coded than the schema of a block in hand tells of: it only tells of those that came.
        self._schemas: dict[int, Schema] = {len(self._codes): layout.schema}

    def batch(self, rows: pa.RecordBatch, /) -> Batch:
        """Rows stored as the layout says, as a Batch without a schema (see `schema`)."""
        schema = self.layout.schema
        if self._plain:
            x = rows.select(self._names)
        else:
            x = pa.RecordBatch.from_arrays([self._feature(rows, c.name) for c in self._features], names=self._names)
        return Batch(
            x,
            y=None if schema.target is None else self._labels(rows.column(schema.target)),
            weight=None if schema.weight is None else _numbers(rows.column(schema.weight)),
            time=None if schema.time is None else _seconds(rows.column(schema.time)),
            label_time=None if schema.label_time is None else _seconds(rows.column(schema.label_time)),
            key=None if schema.key is None else _names(rows.column(schema.key)),
            id=None if schema.id is None else _names(rows.column(schema.id)),
        )

    def schema(self, y: Array | None, before: Schema, /) -> Schema:
        """The schema after a block: the classes before it and those that came in it."""
        if before.classes is None or y is None or not len(y):
            return before
        known = max(len(before.classes), int(y.max()) + 1)
        if known == len(before.classes):
            return before
        if known not in self._schemas:
            self._schemas[known] = replace(before, classes=tuple(self._codes)[:known])
        return self._schemas[known]

    def _feature(self, rows: pa.RecordBatch, name: str) -> pa.Array:
        column, storage = rows.column(name), self.layout.types[name]
        if storage == "bool":
            return column.cast(pa.uint8())
        if storage == "zoned":
            return column.cast(ARROW["timestamp"])
        if storage == "seconds":
            micro = pc.round(pc.multiply(column, buffers.scalar(1e6)))
            return micro.cast(pa.int64(), safe=False).cast(ARROW["timestamp"])
        return column

    def _labels(self, column: pa.Array) -> Array:
        if self.layout.schema.classes is None:
            return _numbers(column)
        storage = self.layout.types[self.layout.schema.target or ""]
        if storage == "whole":
            column = pc.if_else(pc.is_nan(column), buffers.null(column.type), column).cast(pa.int64())
        elif self.layout.text:
            column = pc.utf8_trim_whitespace(column)
            absent = pc.is_in(column, value_set=buffers.text([*NO_LABEL, *self.layout.missing]))
            column = pc.if_else(absent, buffers.null(column.type), column)
        encoded = column.dictionary_encode()
        labels = [str(label) for label in encoded.dictionary.to_pylist()]
        code = np.array([self._codes.setdefault(label, len(self._codes)) for label in labels] + [-1], dtype=np.int64)
        return code[np.where(buffers.valid(encoded.indices), buffers.stored(encoded.indices), len(labels))]


def _numbers(column: pa.Array) -> Floats:
    """(n,) float64, NaN where missing; a copy: read-only arrays would cost compiled kernels another compilation."""
    return np.array(buffers.values(column), dtype=np.float64)


def _seconds(column: pa.Array) -> Floats:
    """(n,) float64 seconds since the epoch, NaN where missing."""
    if not pa.types.is_timestamp(column.type):
        return _numbers(column)
    return buffers.values(column.cast(pa.int64())) / 1e6


def _names(column: pa.Array) -> npt.NDArray[Any]:
    """(n,) int64 or fixed-width strings; a missing string is ''."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not pa.types.is_string(column.type):
        return np.array(buffers.stored(column))
    return np.array([name or "" for name in column.to_pylist()], dtype=np.str_)
