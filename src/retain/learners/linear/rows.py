"""Rows of input as the kernels of `Linear` read them, checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np
import numpy.typing as npt

from retain import blocks
from retain.core import CSR, Array, Features, Floats, Ints

__all__ = ["Rows", "arrivals", "on_lines", "ones", "plain", "rows_of"]

_NO_POINTERS = np.zeros(1, dtype=np.int64)
_NO_INDICES = np.zeros(0, dtype=np.uint32)


@final
@dataclass(frozen=True, slots=True)
class Rows:
    """n rows of `width` features: dense where d >= 0 (then d = width), else sparse."""

    values: npt.NDArray[np.float32]
    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.uint32]
    d: int
    width: int
    n: int

    def part(self, start: int, stop: int) -> Rows:
        """Rows start to stop, without copying."""
        if self.d >= 0:
            return replace(self, values=self.values[start * self.d : stop * self.d], n=stop - start)
        return replace(self, indptr=self.indptr[start : stop + 1], n=stop - start)

    def within(self, width: int) -> Rows:
        """The rows less the features from `width` on."""
        if self.width <= width:
            return self
        if self.d >= 0:
            values = np.ascontiguousarray(self.values.reshape(self.n, self.d)[:, :width]).reshape(-1)
            return replace(self, values=values, d=width, width=width)
        keep = self.indices < width
        counts = np.concatenate([[0], np.cumsum(keep)])
        return Rows(self.values[keep], counts[self.indptr], self.indices[keep], -1, width, self.n)

    def dense(self, width: int) -> Rows:
        """Sparse rows as dense ones of the given width."""
        x = blocks.dense(CSR(self.indptr, self.indices.view(np.int32), self.values, self.width), width)
        return Rows(x.reshape(-1), _NO_POINTERS, _NO_INDICES, width, width, self.n)

    def sparse(self) -> Rows:
        """Dense rows as sparse ones, zeros and all."""
        if self.d < 0:
            return self
        pointers = np.arange(self.n + 1, dtype=np.int64) * self.d
        return replace(self, indptr=pointers, indices=np.tile(np.arange(self.d, dtype=np.uint32), self.n), d=-1)


def rows_of(x: Features, width: int | None, /, *, reader: str = "Linear") -> Rows:
    """x as rows, for `reader`. `width`, where given, is the number of features that it must have.

    Raises:
        PoisonError: NaN, Inf, text, another width, or sparse rows that contradict themselves.
    """
    if isinstance(x, CSR):
        checked = blocks.matrix(x, reader=reader)
        assert isinstance(checked, CSR)  # noqa: S101 - for the type checker: matrix keeps the form
        return Rows(
            plain(checked.values, np.float32),
            plain(checked.indptr, np.int64),
            plain(checked.indices, np.int32).view(np.uint32),
            -1,
            checked.width,
            len(checked),
        )
    matrix = blocks.matrix(x, reader=reader, columns=width)
    assert isinstance(matrix, np.ndarray)  # noqa: S101
    n, d = matrix.shape
    return Rows(plain(matrix.reshape(-1), np.float32), _NO_POINTERS, _NO_INDICES, d, d, n)


def arrivals(known: Ints, classes: int, /) -> list[int]:
    """Rows at which a class beyond all before it is learnt; known (n,): the codes of rows that are learnt, else -1."""
    before = np.maximum.accumulate(np.concatenate([[classes - 1], known[:-1]]))
    return [int(i) for i in np.flatnonzero(known > before)]


def plain(values: Array, dtype: type, /) -> Array:
    """Contiguous and writeable: to numba anything else is another type, compiled once more."""
    flags = values.flags
    if values.dtype == dtype and flags.c_contiguous and flags.writeable:
        return values
    return np.require(values, dtype, ["C", "W"])


def on_lines(values: Floats, /) -> Floats:
    """A C-contiguous copy that begins on a cache line: the 32 bytes of a sparse feature then never lie on two."""
    room = np.empty(values.size + 8)
    start = -room.ctypes.data % 64 // 8
    copy = room[start : start + values.size].reshape(values.shape)
    copy[...] = values
    return copy


def ones(n: int, /) -> Floats:
    """(n,) ones, not to be written to: those of the last call where they suffice."""
    global _ones  # noqa: PLW0603 - a constant that grows
    if len(_ones) < n:
        _ones = np.ones(n)
    return _ones[:n]


_ones = np.ones(1024)
