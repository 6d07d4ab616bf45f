"""Columns and arrays, there and back, against what pyarrow itself makes of them."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from retain import buffers

NUMBERS = [pa.int8(), pa.uint16(), pa.int32(), pa.int64(), pa.uint64(), pa.float32(), pa.float64()]


@pytest.mark.parametrize("type_", NUMBERS, ids=str)
@pytest.mark.parametrize("holes", [False, True])
def test_values_are_those_of_pyarrow_from_any_row_on(type_: Any, holes: bool) -> None:
    whole = pa.array([None if holes and i % 3 == 1 else i for i in range(40)], type_)
    for start, length in ((0, 40), (1, 20), (9, 31), (13, 0)):
        part = whole.slice(start, length)
        theirs = part.to_numpy(zero_copy_only=False)
        ours = buffers.values(part)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(buffers.valid(part), part.is_valid().to_numpy(zero_copy_only=False))


def test_a_column_without_buffers_has_no_values() -> None:
    assert buffers.values(pa.nulls(0, pa.float64())).tolist() == []
    assert buffers.valid(pa.nulls(2)).tolist() == [False, False]


@pytest.mark.parametrize("start", [0, 3, 8, 11])
def test_booleans_come_out_of_their_bits(start: int) -> None:
    part = pa.array([i % 3 == 0 for i in range(30)]).slice(start, 12)
    assert buffers.stored(part).tolist() == part.to_pylist()


def test_what_is_stored_cannot_be_written_to() -> None:
    # of a buffer that somebody else fills, too: kernels would be compiled once more for arrays that can
    column = pa.Array.from_buffers(pa.int64(), 2, [None, pa.py_buffer(np.array([1, 2]))])
    assert not buffers.stored(column).flags.writeable


@pytest.mark.parametrize("values", [np.arange(9), np.arange(9, dtype=np.float32), np.arange(9) % 2 == 0], ids=str)
def test_arrays_become_columns(values: Any) -> None:
    absent = np.arange(9) % 4 == 1
    assert buffers.column(values).equals(pa.array(values))
    assert buffers.column(values[::2]).equals(pa.array(values[::2]))
    assert buffers.column(values, absent).equals(pa.array(values, mask=absent))


def test_text_and_single_values_are_those_of_pyarrow() -> None:
    words = ["", "é", "long " * 9]
    assert buffers.text(words).equals(pa.array(words))
    assert buffers.text([]).equals(pa.array([], pa.string()))
    assert buffers.scalar(2.5).equals(pa.scalar(2.5))
    assert buffers.null(pa.int64()).equals(pa.scalar(None, pa.int64()))
