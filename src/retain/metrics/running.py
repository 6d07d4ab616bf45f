"""What every running metric is: sums over rows that are linear in the weights of the rows.

From this one property the rest follows. A running metric adds rows up, one after the other and never pairwise, so that
how they are split into blocks cannot matter. A fading one adds them with weights that grow (`Fading`). A windowed one
adds the last rows up again (`Windowed`).

Shapes: n rows, k classes (or outputs).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numba import njit

from retain.blocks import codes, labelled, numbers, weights
from retain.core import Array, Metric, State
from retain.errors import PoisonError, StateError

__all__ = ["Form", "Rows", "Running", "classes", "intervals", "kept_sums", "likeliest", "ratio", "targets", "update"]

_MISSING, _FAULT = 1, 2  # what `_look` may find
_SLACK = 1e-6  # how far outside [0, 1] a float32 probability may stray
_HUGE = float(np.finfo(np.float64).max)
_NO_LABELS = np.empty(0, dtype=np.int64)


class Rows(NamedTuple):
    """Labelled rows, checked, in the form the compiled loops take: contiguous, writeable, of one dtype each."""

    y: Array  # (n,) int64 codes; for numbers (n, k) float64
    said: Array  # (n, k) float64
    weight: Array  # (n,) float64

    def part(self, start: int, stop: int, /) -> Rows:
        """Rows start to stop - 1."""
        return Rows(self.y[start:stop], self.said[start:stop], self.weight[start:stop])


class Form(Protocol):
    """What predictions a metric measures: checks them and brings them into the form its loop takes."""

    def __call__(self, y: Array, prediction: Array, weight: Array | None, /, *, reader: str) -> Rows:
        """The rows that have a label. Raises PoisonError naming row, value and cure; `reader` is who asks."""
        ...


class Running(ABC):
    """A metric made of sums that are linear in the weights of the rows; every metric of predictions descends from it.

    To write one, say what predictions it measures (`form`: `classes` or `targets`), how checked rows are added to
    `_sums` (`fold`) and what the sums mean (`value`).
    """

    name: str
    higher_is_better: bool
    form: Form
    _sums: Array

    @abstractmethod
    def fold(self, rows: Rows, /) -> None:
        """Add checked rows to the sums, one after the other."""

    @abstractmethod
    def value(self) -> float: ...

    def update(self, y: Array, prediction: Array, weight: Array | None = None, /) -> None:
        """Take in n labels and the predictions made of them; rows without a label do not count.

        Raises PoisonError for a wrong shape, type or value; the metric is then as before.
        """
        self.fold(self.form(y, prediction, weight, reader=self.name))

    def scale(self, factor: float, /) -> None:
        """Multiply the weights of all rows so far: no value changes, only how much later rows count beside them."""
        self._sums *= factor

    def state_dict(self) -> State:
        return {"sums": self._sums.copy()}

    def load_state_dict(self, state: State, /) -> None:
        self._sums = kept_sums(state, self._sums.ndim, self.name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name}={self.value():.6g})"


def update(metrics: Sequence[Metric], y: Array, prediction: Array, weight: Array | None = None, /) -> None:
    """Take a block into several metrics; the same as updating each, but rows are checked once and not by each.

    >>> import numpy as np
    >>> from retain.metrics import Accuracy, LogLoss
    >>> metrics = [Accuracy(), LogLoss()]
    >>> update(metrics, np.array([0, 1]), np.array([[0.5, 0.5], [0.5, 0.5]]))
    >>> metrics
    [Accuracy(accuracy=0.5), LogLoss(log_loss=0.693147)]
    """
    checked: dict[Form, Rows] = {}
    for metric in metrics:
        if not isinstance(metric, Running):
            metric.update(y, prediction, weight)
            continue
        if metric.form not in checked:
            checked[metric.form] = metric.form(y, prediction, weight, reader=metric.name)
        metric.fold(checked[metric.form])


def kept_sums(state: State, ndim: int, name: str, /) -> Array:
    """The sums in a state. Raises StateError where the state is of something else."""
    sums = state.get("sums")
    if not isinstance(sums, np.ndarray) or sums.ndim != ndim:
        raise StateError(f"this is not a state of the metric {name!r}: it holds {sorted(state)}; load what it saved")
    return np.array(sums, dtype=np.float64)


def ratio(numerator: float, denominator: float, /) -> float:
    """The quotient, NaN where nothing has been counted yet."""
    return float(numerator) / float(denominator) if denominator > 0 else float("nan")


def classes(y: Array, prediction: Array, weight: Array | None, /, *, reader: str) -> Rows:
    """Rows with the probabilities (n, k) of the classes known so far; a class not known yet has probability 0.

    Codes (n,) may be given instead: decisions, held for certain.
    """
    n = len(y)
    # Labels of the usual type are looked at in the same pass as all else.
    labels = _plain(y if y.dtype == np.int64 and y.ndim == 1 else codes(y, n, reader=reader), np.int64)
    said, w = _probabilities(_sized(prediction, n, reader), reader), _weights(weight, n, reader)
    found = _look(labels, said, w, -_SLACK, 1.0 + _SLACK)
    if found == _FAULT:
        codes(labels, n, reader=reader)
        raise _poison(said, w, -_SLACK, 1.0 + _SLACK, expected="probabilities between 0 and 1", reader=reader)
    return _labelled(labels, said, w) if found else Rows(labels, said, w)


def targets(y: Array, prediction: Array, weight: Array | None, /, *, reader: str) -> Rows:
    """Rows of numbers; y and prediction (n, k) have the same shape, where (n,) is (n, 1)."""
    n = len(y)
    wanted = numbers(y, n, reader=reader)
    wanted, said = (a.reshape(n, 1) if a.ndim == 1 else a for a in (wanted, _sized(prediction, n, reader)))
    if said.shape != wanted.shape or said.dtype.kind not in "fiu":
        raise PoisonError(
            f"{reader} got targets of shape {y.shape} and predictions of shape {prediction.shape} and type "
            f"{prediction.dtype}; expected numbers of the same shape: use a learner and a metric of the same task"
        )
    wanted, said, w = _plain(wanted, np.float64), _plain(said, np.float64), _weights(weight, n, reader)
    if _look(_NO_LABELS, said, w, -_HUGE, _HUGE) == _FAULT:
        raise _poison(said, w, -_HUGE, _HUGE, expected="finite numbers", reader=reader)
    return _labelled(wanted, said, w)


def intervals(y: Array, prediction: Array, weight: Array | None, /, *, reader: str) -> Rows:
    """Rows of a number and the bounds (n, 2) that were said."""
    if y.ndim != 1 or prediction.shape != (len(y), 2):
        raise PoisonError(
            f"{reader} got targets of shape {y.shape} and predictions of shape {prediction.shape}; expected "
            f"({len(y)},) and ({len(y)}, 2): give the lower and the upper bound of each row"
        )
    return targets(np.column_stack([y, y]), prediction, weight, reader=reader)


def _sized(prediction: Array, n: int, reader: str) -> Array:
    if prediction.ndim not in (1, 2) or len(prediction) != n:
        raise PoisonError(
            f"{reader} got {n} labels and predictions of shape {prediction.shape}; expected ({n},) or ({n}, classes): "
            "give one prediction for each label"
        )
    return prediction


def _probabilities(said: Array, reader: str) -> Array:
    if said.ndim == 1 and said.dtype.kind in "iu":
        decided = codes(said, len(said), reader=reader)
        return (decided[:, None] == np.arange(decided.max(initial=-1) + 1)).astype(np.float64)
    if said.ndim != 2 or said.dtype.kind not in "fiub":
        raise PoisonError(
            f"{reader} got predictions of shape {said.shape} and type {said.dtype}; expected probabilities of shape "
            "(rows, classes): give a column for each class, np.column_stack([1 - p, p]) where there are two"
        )
    return _plain(said, np.float64)


def _weights(weight: Array | None, n: int, reader: str) -> Array:
    if weight is None:
        return np.ones(n)
    if weight.shape != (n,) or weight.dtype.kind not in "fiub":
        raise PoisonError(
            f"{reader} got {n} labels and weights of shape {weight.shape} and type {weight.dtype}; expected ({n},) "
            "numbers: give one weight for each row, or none"
        )
    return _plain(weight, np.float64)


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


def _poison(said: Array, weight: Array, low: float, high: float, /, *, expected: str, reader: str) -> PoisonError:
    """What is wrong, once something is: a weight, or else the first prediction that is not within [low, high]."""
    weights(weight, len(weight), reader=reader)
    row = int(np.flatnonzero(~((said >= low) & (said <= high)).all(axis=1))[0])
    values = ", ".join(f"{value:.6g}" for value in said[row][:8])
    return PoisonError(
        f"{reader} got the prediction [{values}] in row {row}; expected {expected}: "
        "check the learner, or leave the row out"
    )


@njit(cache=True, nogil=True)
def _look(labels: Array, said: Array, weight: Array, low: float, high: float) -> int:
    """_FAULT where a value cannot be, else _MISSING where a label is missing, else 0. Comparisons catch NaN.

    It does not stop at the first fault, so that it becomes a few vector instructions.
    """
    least = 0
    for label in labels:
        least = min(least, label)
    bad = 0
    for w in weight:
        bad |= not (0.0 <= w <= _HUGE)
    for p in said.reshape(-1):
        bad |= not (low <= p <= high)
    if bad or least < -1:
        return _FAULT
    return _MISSING if least < 0 else 0


@njit(cache=True, nogil=True, inline="always")
def likeliest(said: Array, i: int) -> int:
    """The class that row i decides for: the lowest code among equals, -1 where no class was known yet.

    Two classes, the usual case, have no loop: which of them is likelier is what no processor can guess.
    """
    if said.shape[1] == 2:
        a, b = said[i, 0], said[i, 1]
        code = 1 if b > a else 0
        return code if max(a, b) > 0.0 else -1
    best, code = 0.0, -1
    for j in range(said.shape[1]):
        if said[i, j] > best:
            best, code = said[i, j], j
    return code
