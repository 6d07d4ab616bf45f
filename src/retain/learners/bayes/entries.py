"""What learners of counts are given: entries of sparse rows, and labels that are class codes.

Shapes: n rows, nnz entries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from retain import blocks
from retain.core import CSR, Batch, Features, Floats, Ints, State
from retain.errors import PoisonError

__all__ = ["Entries", "Given", "Reader"]


@final
@dataclass(frozen=True, slots=True)
class Entries:
    """Rows by what is in them; `indices` are unsigned, since numba looks at the sign of every other index."""

    indptr: npt.NDArray[np.int64]  # (n + 1,)
    indices: npt.NDArray[np.uint32]  # (nnz,)
    values: npt.NDArray[np.float32]  # (nnz,)
    width: int

    def __len__(self) -> int:
        return len(self.indptr) - 1


@final
@dataclass(frozen=True, slots=True)
class Given:
    """Rows of a block, and what is known of the task once they are learnt."""

    rows: Entries
    y: Ints  # (n,) class codes
    weight: Floats  # (n,) 0 where there is nothing to learn
    classes: int
    growing: bool


@final
class Reader:
    """Knows the width of rows and how many classes there are, and refuses what does not fit.

    The width of bare dense arrays is fixed by the first block; that of sparse rows, record batches and rows with a
    schema may grow to the right.

    Args:
        name: who asks, for errors.
        counts: whether values must be counts, >= 0.
    """

    def __init__(self, name: str, *, counts: bool) -> None:
        self._name, self._counts = name, counts
        self.classes = 0
        self.width: int | None = None
        self._growing = False

    def read(self, batch: Batch, /) -> Given:
        """The rows of a block. Changes nothing; raises PoisonError for what makes no sense after what came before."""
        n = len(batch)
        growing = self._growing or batch.schema is not None or not isinstance(batch.x, np.ndarray)
        rows = self._entries(batch.x, growing=growing)
        weight = blocks.bounded(blocks.weights(batch.weight, n, reader=self._name), "weight", reader=self._name)
        y = blocks.codes(batch.y, n, reader=self._name)
        weight = np.where(y >= 0, weight, 0.0)
        classes = max(self.classes, int(np.where(weight > 0, y, -1).max(initial=-1)) + 1)
        return Given(rows, y, weight, classes, growing)

    def keep(self, given: Given, /) -> None:
        """Know from now on what these rows have shown."""
        self.classes, self._growing = given.classes, given.growing
        self.width = max(self.width or 0, given.rows.width)

    def rows(self, x: Features, /) -> Entries:
        """Rows to predict; what is beyond the features known is left out."""
        rows, known = self._entries(x, growing=self._growing), self.width or 0
        if rows.width <= known:
            return rows
        stays = rows.indices < known
        pointers = np.concatenate([[0], np.cumsum(stays)])[rows.indptr]
        return Entries(pointers, rows.indices[stays], rows.values[stays], known)

    def state_dict(self) -> State:
        return {"classes": self.classes, "width": self.width, "growing": self._growing}

    def load_state_dict(self, state: State, /) -> None:
        self.classes, self.width, self._growing = state["classes"], state["width"], state["growing"]

    def _entries(self, x: Features, *, growing: bool) -> Entries:
        rows = blocks.matrix(x, reader=self._name, columns=None if growing else self.width)
        if isinstance(rows, np.ndarray):
            n, width = rows.shape
            flat = rows.reshape(-1)
            places = np.flatnonzero(flat)
            indptr = np.searchsorted(places, np.arange(n + 1) * width).astype(np.int64)
            rows = CSR(indptr, (places % max(width, 1)).astype(np.int32), flat[places], width)
        if self._counts and len(rows.values) and rows.values.min() < 0:
            entry = int(np.argmin(rows.values))
            row = int(np.searchsorted(rows.indptr, entry, side="right")) - 1
            raise PoisonError(
                f"{self._name} got {rows.values[entry]} in row {row}, column {rows.indices[entry]}; expected counts "
                ">= 0: use GaussianNB for numbers"
            )
        return Entries(
            np.require(rows.indptr, np.int64, ["C", "W"]),
            np.require(rows.indices, np.int32, ["C", "W"]).view(np.uint32),
            np.require(rows.values, np.float32, ["C", "W"]),
            rows.width,
        )
