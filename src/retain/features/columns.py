"""Columns of an Arrow record batch as arrays that kernels can walk, and arrays as columns again.

Strings are handed over as the buffers they lie in: no Python object per row. Every array that goes to a kernel is
read-only and of one type (uint8 bytes, int64 offsets, int32 codes, float64 numbers), so each kernel is compiled once.

Legend: n rows, c columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit

from retain import buffers
from retain.core import CSR, Array, Features, Floats
from retain.errors import PoisonError, SchemaError

__all__ = [
    "NULL",
    "NUMBER",
    "TEXT",
    "TIME",
    "Strings",
    "append",
    "as_numbers",
    "as_text",
    "kind_of",
    "number_arrays",
    "number_column",
    "numbers",
    "only_table",
    "place",
    "places",
    "strings",
    "unfit",
]

NUMBER, TEXT, TIME, NULL, OTHER = range(5)
_INTEGERS = (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())
_FLOATS = (pa.float16(), pa.float32(), pa.float64(), pa.decimal128(1), pa.decimal256(1))
_KINDS: dict[int, int] = {
    **{type_.id: NUMBER for type_ in (pa.bool_(), *_INTEGERS, *_FLOATS)},
    **{type_.id: TEXT for type_ in (pa.string(), pa.large_string(), pa.string_view())},
    **{type_.id: TIME for type_ in (pa.timestamp("us"), pa.date32(), pa.date64())},
    pa.null().id: NULL,
}
_DICTIONARY = pa.dictionary(pa.int32(), pa.string()).id
_PLAIN_FLOATS = (pa.float32().id, pa.float64().id)
_OFFSETS = {pa.string().id: np.int32, pa.large_string().id: np.int64}
_LARGEST = float(np.finfo(np.float32).max)  # what learners can hold


def _frozen(array: Array) -> Array:
    view = array.view()
    view.flags.writeable = False
    return view


_NO_BYTES = _frozen(np.empty(0, dtype=np.uint8))
_NO_CODES = _frozen(np.empty(0, dtype=np.int32))
_ONE_OFFSET = _frozen(np.zeros(1, dtype=np.int64))


@dataclass(slots=True)  # frozen would cost more than reading a row does
class Strings:
    """n strings, some of them missing, as kernels see them.

    String s is `data[offsets[s]:offsets[s + 1]]`. Row i holds string i, or string `index[i]` where `index` is not
    empty. Row i is missing where bit `first + i` of `bits` is 0, `bits` being not empty.
    """

    data: npt.NDArray[np.uint8]  # (bytes,)
    offsets: npt.NDArray[np.int64]  # (strings + 1,)
    index: npt.NDArray[np.int32]  # (n,) or (0,)
    bits: npt.NDArray[np.uint8]  # (>= (first + n) / 8,) or (0,)
    first: int
    rows: int


def kind_of(type_: Any, /) -> int:
    """What a column of this Arrow type is used as: NUMBER (booleans too), TEXT, TIME, NULL (all missing) or OTHER."""
    return _KINDS.get(type_.value_type.id if type_.id == _DICTIONARY else type_.id, OTHER)


def only_table(x: Features, /, *, reader: str, what: str) -> pa.RecordBatch:
    """x, which must be a record batch because `what` asks for named columns."""
    if isinstance(x, (np.ndarray, CSR)):
        form = "sparse rows" if isinstance(x, CSR) else f"an array of shape {x.shape}"
        raise SchemaError(f"{reader} got {form}; expected a record batch with {what}: read the data as a table")
    return x


def place(x: pa.RecordBatch, name: str, /, *, reader: str) -> int:
    """Where the column of this name is. Raises SchemaError naming the columns there are."""
    i = x.schema.get_field_index(name)
    if i < 0:
        names = x.schema.names
        problem = (
            f"there are {names.count(name)} columns named {name!r}" if name in names else f"there is no column {name!r}"
        )
        raise SchemaError(f"{reader}: {problem}; the rows have {', '.join(names) or 'no columns'}: check the name")
    return i


def places(x: pa.RecordBatch, names: Sequence[str], /, *, reader: str) -> list[int]:
    """Where the columns of these names are."""
    return [place(x, name, reader=reader) for name in names]


def numbers(x: pa.RecordBatch, where: Sequence[int], /, *, reader: str, dtype: Any = np.float64) -> tuple[Floats, int]:
    """The given columns as an (n, c) C-contiguous array of floats, and how many values are missing: those are NaN.

    Raises PoisonError, naming row and column, for NaN that is a value, for infinities and for what float32 cannot hold.
    """
    picked = x if len(where) == x.num_columns else x.select(where)
    schema, c = picked.schema, len(where)
    if c and x.num_rows and all(schema.field(j).type.id in _PLAIN_FLOATS for j in range(c)):
        # Arrow lays the columns end to end in one call; one more pass turns them into rows and looks at every value.
        columns = picked.to_tensor(null_to_nan=True, row_major=False).to_numpy().T
        out = np.empty((x.num_rows, c), dtype=dtype)
        bad = _turn(_frozen(columns), out)
        absent = sum(picked.column(j).null_count for j in range(c)) if bad else 0
        if bad != absent:
            _refuse(out, picked, reader=reader)
        return out, absent
    out = np.empty((x.num_rows, c), dtype=dtype)
    absent = 0
    with np.errstate(over="ignore"):  # too large for float32 becomes inf, which is told below
        for j in range(c):
            column = picked.column(j)
            absent += column.null_count
            out[:, j] = as_numbers(column)
    check(out, absent, picked, reader=reader)
    return out, absent


def number_column(x: pa.RecordBatch, name: str, /, *, reader: str) -> npt.NDArray[np.float64]:
    """One column as (n,) float64; missing values are NaN. Raises as `numbers`, and for a column that holds none."""
    i = place(x, name, reader=reader)
    column = x.column(i)
    kind = kind_of(column.type)
    if kind == NULL:
        return np.full(x.num_rows, np.nan)
    if kind != NUMBER:
        refuse_kind(x, i, reader=reader, expected="numbers")
    out = np.asarray(as_numbers(column), dtype=np.float64)
    check(out[:, None], column.null_count, x.select([i]), reader=reader)
    return out


def as_numbers(column: pa.Array, /) -> Array:
    """A numeric Arrow column as an array; missing values are NaN."""
    type_ = column.type
    if type_.id == _DICTIONARY:
        column = column.dictionary_decode()
        type_ = column.type
    if pa.types.is_null(type_):
        return np.full(len(column), np.nan)
    if pa.types.is_boolean(type_):
        column = column.cast(pa.int8())
    elif pa.types.is_decimal(type_):
        column = column.cast(pa.float64())
    return buffers.values(column)


@njit(cache=True, nogil=True)
def unfit(values: Array) -> Any:  # pragma: no cover - compiled
    """How many numbers are NaN, infinite, or beyond float32: one pass, several at a time."""
    count = 0
    for i in range(len(values)):
        count += not abs(values[i]) <= _LARGEST
    return count


@njit(cache=True, nogil=True)
def _turn(columns_CN: Array, out_NC: Array) -> Any:  # pragma: no cover - compiled
    """Columns into rows, in the precision of the rows; returns how many numbers are unfit, as `unfit` does."""
    count = 0
    for i in range(columns_CN.shape[1]):
        for j in range(columns_CN.shape[0]):
            out_NC[i, j] = columns_CN[j, i]
            count += not abs(out_NC[i, j]) <= _LARGEST
    return count


def check(out: Array, absent: int, x: pa.RecordBatch, /, *, reader: str) -> None:
    """Refuse values that are not finite in float32, `absent` of which may be NaN because they are missing."""
    if unfit(_frozen(out.reshape(-1))) != absent:
        _refuse(out, x, reader=reader)


def _refuse(out: Array, x: pa.RecordBatch, *, reader: str) -> None:
    """Name the first value, column by column, that is neither missing nor finite in float32."""
    for j, name in enumerate(x.schema.names):
        present = buffers.valid(x.column(j))
        with np.errstate(invalid="ignore"):
            bad = ~(np.abs(out[:, j]) <= _LARGEST) & present
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise PoisonError(
                f"{reader} got {x.column(j)[row].as_py()} in row {row}, column {name}; expected a finite number within "
                "float32: make it null if it is missing, or drop the row"
            )


def check_array(x: Array, /, *, reader: str, width: int | None, missing: bool = False) -> npt.NDArray[np.float64]:
    """A bare array as (n, d) read-only C-contiguous float64 of finite numbers; with `missing`, NaN is let through."""
    if x.ndim != 2:
        raise PoisonError(f"{reader} got input of shape {x.shape}; expected (rows, features): reshape it")
    if x.dtype.kind not in "fiub":
        raise PoisonError(
            f"{reader} got input of type {x.dtype}; expected numbers: give a table and encode it, e.g. rt.OneHot()"
        )
    if width is not None and x.shape[1] != width:
        raise PoisonError(
            f"{reader} got rows of {x.shape[1]} features; expected {width} as learnt before: "
            "give the same columns, or start anew"
        )
    rows = np.ascontiguousarray(x, dtype=np.float64)
    bad = unfit(_frozen(rows.reshape(-1)))
    if bad and missing:
        bad -= int(np.isnan(rows).sum())
    if bad:
        with np.errstate(invalid="ignore"):
            good = (np.abs(rows) <= _LARGEST) | (missing & np.isnan(rows))
        row, column = (int(i) for i in np.argwhere(~good)[0])
        raise PoisonError(
            f"{reader} got {x[row, column]} in row {row}, column {column}; expected a finite number within float32: "
            "put rt.Impute() in front for missing values, or drop the row"
        )
    return _frozen(rows)


def check_finite(values: Array, column: str, /, *, reader: str) -> None:
    """Refuse infinities, and what float32 cannot hold, in one column; NaN stands for a missing value."""
    with np.errstate(invalid="ignore"):
        bad = np.abs(values) > _LARGEST
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise PoisonError(
            f"{reader} got {values[row]} in row {row}, column {column}; expected a finite number within float32: "
            "drop the row"
        )


def refuse_kind(x: pa.RecordBatch, where: int, /, *, reader: str, expected: str) -> NoReturn:
    """Say that a column holds something else than expected, with its first value and a cure."""
    column, name = x.column(where), x.schema.names[where]
    present = column.drop_null()
    example = f", e.g. {present[0].as_py()!r}" if len(present) else ""
    cure = {
        TIME: f'put rt.DateParts("{name}") in front',
        TEXT: "encode it first, e.g. rt.OneHot(), rt.Ordinal() or rt.Hash()",
        NUMBER: "make it text, or leave it out",
    }.get(kind_of(column.type), f'drop it with rt.Select(drop=("{name}",))')
    raise PoisonError(f"{reader} got the column {name!r} of type {column.type}{example}; expected {expected}: {cure}")


def as_text(column: pa.Array, /) -> pa.Array:
    """A column of any plain type as text, so that 7 and "7" are the same category."""
    if kind_of(column.type) == TEXT:
        return column
    return (column.dictionary_decode() if column.type.id == _DICTIONARY else column).cast(pa.string())


def strings(column: pa.Array, /) -> Strings:
    """A column of text (plain or dictionary) as buffers; nothing is copied but the offsets."""
    type_ = column.type
    index, bits, first = _NO_CODES, _NO_BYTES, column.offset
    n = len(column)
    if type_.id == _DICTIONARY:
        words = column.dictionary
        if words.null_count or words.type.id not in _OFFSETS:
            return strings(column.dictionary_decode())
        codes = column.indices
        first = codes.offset
        if n:
            index = _frozen(buffers.stored(codes).astype(np.int32, copy=False))
        if codes.null_count:
            bits = np.frombuffer(codes.buffers()[0], dtype=np.uint8)
    elif type_.id not in _OFFSETS:
        return strings(column.cast(pa.string()))
    else:
        words = column
        if column.null_count:
            bits = np.frombuffer(column.buffers()[0], dtype=np.uint8)
    _, where, data = words.buffers()
    offsets = _ONE_OFFSET
    if len(words):
        raw = np.frombuffer(where, dtype=_OFFSETS[words.type.id])[words.offset : words.offset + len(words) + 1]
        offsets = _frozen(raw.astype(np.int64, copy=False))
    bytes_ = _NO_BYTES if data is None or data.size == 0 else np.frombuffer(data, dtype=np.uint8)
    return Strings(bytes_, offsets, index, bits, first, n)


def number_arrays(out: Floats, /) -> list[pa.Array]:
    """Each column of out (n, c) as an Arrow column; NaN becomes a null."""
    columns = np.ascontiguousarray(out.T)
    # The least of numbers one of which is NaN is NaN: a fifth of the time that it takes to look at each.
    holed = np.isnan(columns.min(axis=1, initial=np.inf))
    return [buffers.column(columns[j], np.isnan(columns[j]) if holes else None) for j, holes in enumerate(holed)]


def append(x: pa.RecordBatch, names: Sequence[str], columns: Sequence[pa.Array], /, *, reader: str) -> pa.RecordBatch:
    """x with further columns at its right. Raises SchemaError where a name is taken."""
    for name, column in zip(names, columns, strict=True):
        if x.schema.get_field_index(name) >= 0 or name in x.schema.names:
            raise SchemaError(
                f"{reader} would add the column {name!r}, which the rows already have: rename one of them"
            )
        x = x.append_column(name, column)
    return x
