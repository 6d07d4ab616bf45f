"""What every running metric is: sums over rows that are linear in the weights of the rows.

From this one property the rest follows. A running metric adds rows up, one after the other and never pairwise, so that
how they are split into blocks cannot matter. A fading one adds them with weights that grow (`Fading`). A windowed one
adds the last rows up again (`Windowed`).

Shapes: n rows, k classes (or outputs).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from retain.blocks import codes, labelled, numbers, weights
from retain.core import Array, State
from retain.errors import PoisonError, StateError

__all__ = ["Rows", "Running", "decisions", "probabilities", "ratio", "targets"]

_SLACK = 1e-6  # how far outside [0, 1] a float32 probability may stray
_HUGE = float(np.finfo(np.float64).max)


class Rows(NamedTuple):
    """Labelled rows, checked, in the form the compiled loops take: contiguous, writeable, of one dtype each."""

    y: Array  # (n,) int64 codes; for numbers (n, k) float64
    said: Array  # (n,) int64 codes, or (n, k) float64
    weight: Array  # (n,) float64

    def part(self, start: int, stop: int, /) -> Rows:
        """Rows start..stop - 1."""
        return Rows(self.y[start:stop], self.said[start:stop], self.weight[start:stop])


class Running(ABC):
    """A metric made of sums that are linear in the weights of the rows; every metric of predictions descends from it.

    To write one, say how rows are checked (`check`, usually `decisions`, `probabilities` or `targets`), how they are
    added to `_sums` (`fold`) and what the sums mean (`value`).
    """

    name: str
    higher_is_better: bool
    _sums: Array

    @abstractmethod
    def check(self, y: Array, prediction: Array, weight: Array | None, /) -> Rows:
        """The labelled rows in the form that `fold` takes. Raises PoisonError naming row, value and cure."""

    @abstractmethod
    def fold(self, rows: Rows, /) -> None:
        """Add checked rows to the sums, one after the other."""

    @abstractmethod
    def value(self) -> float: ...

    def update(self, y: Array, prediction: Array, weight: Array | None = None, /) -> None:
        """Take in n labels and the predictions made of them; rows without a label do not count.

        Raises PoisonError for a wrong shape, type or value; the metric is then as before.
        """
        self.fold(self.check(y, prediction, weight))

    def scale(self, factor: float, /) -> None:
        """Multiply the weights of all rows so far; no value changes, only how much later rows count beside them."""
        self._sums *= factor

    def state_dict(self) -> State:
        return {"sums": self._sums.copy()}

    def load_state_dict(self, state: State, /) -> None:
        self._sums = kept_sums(state, self._sums.ndim, self.name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name}={self.value():.6g})"


def kept_sums(state: State, ndim: int, name: str, /) -> Array:
    """The sums in a state. Raises StateError where the state is of something else."""
    sums = state.get("sums")
    if not isinstance(sums, np.ndarray) or sums.ndim != ndim:
        raise StateError(f"this is not a state of the metric {name!r}: it holds {sorted(state)}; load what it saved")
    return np.array(sums, dtype=np.float64)


def ratio(numerator: float, denominator: float, /) -> float:
    """The quotient, NaN where nothing has been counted yet."""
    return float(numerator) / float(denominator) if denominator > 0 else float("nan")


def decisions(y: Array, prediction: Array, weight: Array | None, /, *, reader: str) -> Rows:
    """Rows with the predicted class: of probabilities (n, k) the likeliest, the lowest code among equals.

    A row of zeros (no class was known yet) decides for none, code -1, which is always wrong. Codes (n,) may be given
    instead of probabilities.
    """
    labels, w = codes(y, len(y), reader=reader), _weights(weight, len(y), reader)
    said = _sized(prediction, len(y), reader)
    if said.ndim == 1 and said.dtype.kind in "iub":
        chosen = codes(said, len(y), reader=reader)
    else:
        chosen = np.empty(len(y), dtype=np.int64)
        bad = _decide(_matrix(said, reader), chosen)
        if bad >= 0:
            raise _poison(said, bad, reader, "a finite number")
    return _labelled(_plain(labels, np.int64), _plain(chosen, np.int64), w)


def probabilities(y: Array, prediction: Array, weight: Array | None, /, *, reader: str) -> Rows:
    """Rows with the probabilities (n, k) of all classes known so far; what is not known yet has probability 0."""
    labels, w = codes(y, len(y), reader=reader), _weights(weight, len(y), reader)
    said = _matrix(_sized(prediction, len(y), reader), reader)
    bad = _outside(said, -_SLACK, 1.0 + _SLACK)
    if bad >= 0:
        raise _poison(said, bad, reader, "probabilities between 0 and 1")
    return _labelled(_plain(labels, np.int64), said, w)


def targets(y: Array, prediction: Array, weight: Array | None, /, *, reader: str) -> Rows:
    """Rows of numbers; y and prediction (n, k) have the same shape, where (n,) is (n, 1)."""
    wanted, w = numbers(y, len(y), reader=reader), _weights(weight, len(y), reader)
    said = _sized(prediction, len(y), reader)
    wanted, said = _columns(wanted), _columns(said)
    if said.shape != wanted.shape or said.dtype.kind not in "fiu":
        raise PoisonError(
            f"{reader} got targets of shape {y.shape} and predictions of shape {prediction.shape} and type "
            f"{prediction.dtype}; expected numbers of the same shape: use a learner and a metric of the same task"
        )
    said = _plain(said, np.float64)
    bad = _outside(said, -_HUGE, _HUGE)
    if bad >= 0:
        raise _poison(said, bad, reader, "a finite number")
    return _labelled(_plain(wanted, np.float64), said, w)


def _columns(values: Array) -> Array:
    return values.reshape(-1, 1) if values.ndim == 1 else values


def _weights(weight: Array | None, n: int, reader: str) -> Array:
    return _plain(weights(weight, n, reader=reader), np.float64)


def _sized(prediction: Array, n: int, reader: str) -> Array:
    if prediction.ndim not in (1, 2) or len(prediction) != n:
        raise PoisonError(
            f"{reader} got {n} labels and predictions of shape {prediction.shape}; expected ({n},) or ({n}, classes): "
            "give one prediction for each label"
        )
    return prediction


def _matrix(said: Array, reader: str) -> Array:
    if said.ndim != 2 or said.dtype.kind not in "fiub":
        raise PoisonError(
            f"{reader} got predictions of shape {said.shape} and type {said.dtype}; expected probabilities of shape "
            "(rows, classes): give a column for each class, np.column_stack([1 - p, p]) where there are two"
        )
    return _plain(said, np.float64)


def _labelled(y: Array, said: Array, weight: Array) -> Rows:
    """Leave out the rows that have no label."""
    known = labelled(y, len(y))
    if known.all():
        return Rows(y, said, weight)
    return Rows(y[known], said[known], weight[known])


def _plain(values: Array, dtype: type[Any]) -> Array:
    """Values as the compiled loops take them: each other layout would compile them once more."""
    plain = np.ascontiguousarray(values, dtype=dtype)
    return plain if plain.flags.writeable else plain.copy()


def _poison(said: Array, row: int, reader: str, expected: str) -> PoisonError:
    values = ", ".join(f"{value:.6g}" for value in said[row][:8])
    return PoisonError(
        f"{reader} got the prediction [{values}] in row {row}; expected {expected}: "
        "check the learner, or leave the row out"
    )


@njit(cache=True, nogil=True)
def _decide(said: Array, chosen: Array) -> int:
    """Write the likeliest class of each row; the first row that is not finite, or -1."""
    n, k = said.shape
    for i in range(n):
        best, code = 0.0, -1
        for j in range(k):
            p = said[i, j]
            if not np.isfinite(p):
                return i
            if p > best:
                best, code = p, j
        chosen[i] = code
    return -1


@njit(cache=True, nogil=True)
def _outside(said: Array, low: float, high: float) -> int:
    """The first row with a value that is not within [low, high] (NaN never is), or -1."""
    n, k = said.shape
    for i in range(n):
        for j in range(k):
            if not (low <= said[i, j] <= high):
                return i
    return -1
