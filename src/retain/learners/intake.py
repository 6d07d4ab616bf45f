"""What learners of dense rows are given, checked before anything changes: rows of one width, labels of one kind.

Shapes: n rows, d features, k outputs or classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from retain import blocks
from retain.core import CSR, Batch, Features, Floats, Ints, State
from retain.errors import PoisonError, SettingError

__all__ = ["Given", "Intake", "check_kept"]

_LARGEST = float(np.finfo(np.float32).max)


@final
@dataclass(frozen=True, slots=True)
class Given:
    """Rows of a block, and what is known of the task once they are learnt."""

    x: Floats  # (n, d) float32
    y: Floats | Ints  # (n,) class codes, or (n, k) numbers
    weight: Floats  # (n,) 0 where there is nothing to learn
    classes: int | None  # None where targets are numbers, or nothing is known
    flat: bool | None  # numbers: whether they are (n,)
    growing: bool
    known: int  # classes known before the block

    def take(self, rows: slice | Ints, /) -> Given:
        """The given rows."""
        x, y, weight = self.x[rows], self.y[rows], self.weight[rows]
        return Given(x, y, weight, self.classes, self.flat, self.growing, self.known)


@final
class Intake:
    """Knows the width of rows and the kind of labels, and refuses others.

    The width of bare dense arrays is fixed by the first block; that of sparse rows, record batches and rows with a
    schema may grow to the right.

    Args:
        reader: who asks, for errors.
        widest: the most features; a learner that keeps d^2 numbers has an end.
        classifies: whether labels may be class codes.
        regresses: whether targets may be numbers.
        missing: whether NaN is a value like others.
    """

    def __init__(
        self,
        reader: str,
        *,
        widest: int | None = None,
        classifies: bool = True,
        regresses: bool = True,
        missing: bool = False,
    ) -> None:
        self._reader, self._widest, self._missing = reader, widest, missing
        self._classifies, self._regresses = classifies, regresses
        self.classes: int | None = None
        self.flat: bool | None = None
        self.outputs = 0  # classes, or numbers to a row; 0 while nothing is known
        self.width: int | None = None
        self._growing = False

    def read(self, batch: Batch, /) -> Given:
        """The rows of a block. Changes nothing; raises PoisonError for what makes no sense after what came before."""
        n = len(batch)
        growing = self._growing or batch.schema is not None or not isinstance(batch.x, np.ndarray)
        x = self._matrix(batch.x, growing=growing)
        weight = blocks.bounded(blocks.weights(batch.weight, n, reader=self._reader), "weight", reader=self._reader)
        whole = batch.y is not None and batch.y.dtype.kind in "iub"
        is_codes = self._classifies and (whole or not self._regresses)
        knows = self.classes is not None or self.flat is not None
        if batch.y is not None and knows and is_codes != (self.classes is not None):
            before = "numbers" if self.classes is None else "class codes"
            raise PoisonError(
                f"{self._reader} got labels of type {batch.y.dtype} after {before}; expected the same kind for the "
                "whole stream: start a new learner"
            )
        known = self.classes or 0
        if is_codes:
            codes = blocks.codes(batch.y, n, reader=self._reader)
            weight = np.where(codes >= 0, weight, 0.0)
            classes = max(known, int(np.where(weight > 0, codes, -1).max(initial=-1)) + 1)
            return Given(x, codes, weight, classes, None, growing, known)
        y = blocks.bounded(blocks.numbers(batch.y, n, reader=self._reader), "target", reader=self._reader)
        weight = np.where(blocks.labelled(batch.y, n), weight, 0.0)
        if batch.y is None:
            return Given(x, np.full((n, self.outputs), np.nan), weight, self.classes, self.flat, growing, known)
        expected = () if self.flat else (self.outputs,) if self.outputs else y.shape[1:]
        if y.ndim > 2 or y.shape[1:] != expected:
            raise PoisonError(
                f"{self._reader} got targets of shape {y.shape}; expected {(n, *expected)}: keep the number of outputs"
            )
        return Given(x, y if y.ndim == 2 else y[:, None], weight, None, y.ndim == 1, growing, 0)

    def keep(self, given: Given, /) -> None:
        """Know from now on what these rows have shown."""
        self.classes, self.flat, self._growing = given.classes, given.flat, given.growing
        self.width = given.x.shape[1]
        if self.classes is not None:
            self.outputs = self.classes
        elif self.flat is not None:
            self.outputs = given.y.shape[1]

    def merge(self, other: Intake, /) -> None:
        """Know what either knows. Raises PoisonError, and knows what it knew, where the two do not fit."""
        mine, theirs = ((one.classes is None, one.flat, one.classes is None and one.outputs) for one in (self, other))
        if self.outputs and other.outputs and mine != theirs:
            raise PoisonError(
                f"{self._reader} of {self._labels()} cannot take in one of {other._labels()}; expected the same in both"
            )
        fixed = not (self._growing or other._growing)
        if fixed and self.width is not None and other.width is not None and self.width != other.width:
            raise PoisonError(
                f"{self._reader} of rows of {self.width} features cannot take in one of {other.width}; expected the "
                "same columns in both"
            )
        if self.classes is not None or other.classes is not None:
            self.classes = max(self.classes or 0, other.classes or 0)
        self.flat = other.flat if self.flat is None else self.flat
        self.outputs = max(self.outputs, other.outputs)
        if other.width is not None:
            self.width = max(self.width or 0, other.width)
        self._growing |= other._growing

    def rows(self, x: Features, /) -> Floats:
        """Rows to predict, as wide as those learnt."""
        matrix = self._matrix(x, growing=self._growing)
        return matrix if self.width is None else matrix[:, : self.width]

    def state_dict(self) -> State:
        return {
            "classes": self.classes,
            "flat": self.flat,
            "outputs": self.outputs,
            "width": self.width,
            "growing": self._growing,
        }

    def load_state_dict(self, state: State, /) -> None:
        self.classes, self.flat, self.outputs = state["classes"], state["flat"], state["outputs"]
        self.width, self._growing = state["width"], state["growing"]

    def _matrix(self, x: Features, *, growing: bool) -> Floats:
        """Dense finite rows, at least as wide as those before."""
        columns = None if growing else self.width
        rows = blocks.matrix(x, reader=self._reader, columns=columns, missing=self._missing)
        width = blocks.width(rows)
        if self._widest is not None and width > self._widest:
            raise SettingError(
                f"{self._reader} got rows of {width} features; it keeps width^2 numbers: use Linear, or hash to fewer"
            )
        with np.errstate(over="ignore"):  # is told below
            filled = blocks.dense(rows, max(width, self.width or 0))
        # Entries of a sparse row that have the same column add up, and finite numbers may do so to infinity.
        # Below this sum none can; a NaN in it, which may be a value like others, does not hide them.
        if isinstance(rows, CSR) and not np.abs(rows.values).sum(dtype=np.float64) <= _LARGEST:
            self._refuse_infinite(filled)
        return filled

    def _refuse_infinite(self, rows: Floats) -> None:
        bad = np.isinf(rows)
        if bad.any():
            row, column = (int(i) for i in np.argwhere(bad)[0])
            raise PoisonError(
                f"{self._reader} got entries of row {row}, column {column} that add up to {rows[row, column]}; "
                "expected a finite number within float32: give each column of a sparse row once, or drop the row"
            )

    def _labels(self) -> str:
        return "class codes" if self.classes is not None else f"{self.outputs} numbers to a row"


def check_kept(kept: Ints, width: int, /, *, reader: str) -> None:
    """Refuse features to keep that are none, out of order, or beyond those there are."""
    if not len(kept) or (np.diff(kept) <= 0).any() or kept[0] < 0 or kept[-1] >= width:
        raise SettingError(
            f"{reader} got {len(kept)} features to keep of {width}; expected their numbers, at least one, ascending "
            f"and below {width}"
        )
