"""Arrow columns as NumPy arrays and back, over the buffers that they lie in.

What pyarrow has for this (`to_numpy`, `pa.array`, `pa.scalar`) imports pandas wherever that is installed, only to see
whether it got something of it: half a CPU-second in each process, which learns a million rows in that time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from retain.core import Array

__all__ = ["column", "null", "scalar", "stored", "text", "valid", "values"]


def stored(column: pa.Array, /) -> Array:
    """The numbers or booleans of a column as they are stored, read-only; where one is missing, anything may stand."""
    n, first, buffer = len(column), column.offset, column.buffers()[1]
    if pa.types.is_boolean(column.type):
        found = _bits(buffer, first, n)
    elif buffer is None:
        found = np.empty(0, dtype=column.type.to_pandas_dtype())
    else:
        found = np.frombuffer(buffer, dtype=column.type.to_pandas_dtype())[first : first + n]
    found.flags.writeable = False
    return found


def valid(column: pa.Array, /) -> npt.NDArray[np.bool_]:
    """Which rows of a column are not missing: (n,) booleans."""
    if not column.null_count:
        return np.ones(len(column), dtype=bool)
    if pa.types.is_null(column.type):
        return np.zeros(len(column), dtype=bool)
    return _bits(column.buffers()[0], column.offset, len(column))


def values(column: pa.Array, /) -> Array:
    """The numbers of a column, NaN where missing; a read-only view where none is.

    >>> import pyarrow as pa
    >>> values(pa.array([7, None, 9])), values(pa.array([7, None, 9])[2:])
    (array([ 7., nan,  9.]), array([9]))
    """
    found = stored(column)
    return np.where(valid(column), found, np.nan) if column.null_count else found


def column(values: Array, absent: npt.NDArray[np.bool_] | None = None, /) -> pa.Array:
    """(n,) numbers or booleans as a column, null where `absent`; numbers that lie in a row in memory are not copied.

    >>> column(np.array([1, 2]), np.array([False, True])).to_pylist()
    [1, None]
    """
    data = np.packbits(values, bitorder="little") if values.dtype == bool else np.ascontiguousarray(values)
    there = None if absent is None else pa.py_buffer(np.packbits(~absent, bitorder="little"))
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [there, pa.py_buffer(data)])


def text(words: Sequence[str], /) -> pa.Array:
    """Strings as a column.

    >>> text(["", "né"]).to_pylist()
    ['', 'né']
    """
    coded = [word.encode() for word in words]
    ends = np.cumsum([0, *map(len, coded)], dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), len(coded), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(coded))])


def scalar(value: float, /) -> Any:
    """A number as Arrow's functions take it beside a column."""
    return column(np.array([value]))[0]


def null(type_: Any, /) -> Any:
    """The missing value of an Arrow type, as Arrow's functions take it beside a column."""
    return pa.nulls(1, type_)[0]


def _bits(buffer: Any, first: int, n: int) -> npt.NDArray[np.bool_]:
    """Bits `first` to `first + n` of a buffer."""
    if not n:
        return np.empty(0, dtype=bool)
    whole = np.frombuffer(buffer, dtype=np.uint8)[first // 8 : (first + n + 7) // 8]
    return np.unpackbits(whole, count=first % 8 + n, bitorder="little")[first % 8 :].view(bool)
