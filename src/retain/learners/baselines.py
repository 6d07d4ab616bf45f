"""Learners that ignore their input: what every model must beat.

They are vectorised over the rows of a block and exact all the same: sums run row after row, so that splitting a block
changes nothing. Integer labels are class codes, floats are numbers; before the first labels show which, there is
nothing to say and predictions are (n, 0). Rows without a label, or of weight 0, are answered and not learnt.
"""

from __future__ import annotations

from typing import cast, final

import numpy as np
import numpy.typing as npt

from retain import blocks
from retain.core import Array, Batch, Features, Floats, Ints, State
from retain.errors import PoisonError

__all__ = ["Mean", "NoChange", "Prior"]


@final
class NoChange:
    """Predicts the last label learnt: a class with probability 1, or a number (0 before the first).

    On streams whose labels come in runs this beats most learners.

    >>> NoChange().learn(Batch(np.zeros((4, 1)), y=np.array([3.0, 5.0, 5.0, 4.0])))
    array([0., 3., 5., 5.])
    """

    def __init__(self) -> None:
        self._classes: int | None = None  # classes known; None where labels are numbers, or nothing is known
        self._last: Array | None = None  # () class code or number, or (outputs,)

    def learn(self, batch: Batch, /) -> Array:
        """Learn the rows in order; see `retain.core.Learner`."""
        learnt, codes, numbers = _labels(batch, "NoChange", self._classes, self._last)
        n = len(learnt)
        y = codes if codes is not None else numbers
        if y is None:
            return self._say(n)
        _check_shape(y, self._last, "NoChange")
        first = np.full(y.shape[1:], -1 if codes is not None else 0, y.dtype) if self._last is None else self._last
        # Entry i + 1 stands for row i, entry 0 for what was last before the block.
        latest = np.maximum.accumulate(np.where(learnt, np.arange(1, n + 1), 0)) if n else np.zeros(0, dtype=np.int64)
        last = np.concatenate([first[None], y])[np.concatenate([[0], latest])]
        self._last = np.array(last[-1])
        if codes is None:
            return last[:-1]
        self._classes = _known(self._classes, codes, learnt)
        return _one_hot(cast("Ints", last[:-1]), self._classes)

    def predict(self, x: Features, /) -> Array:
        """Every row gets the last label learnt. Changes nothing."""
        return self._say(len(Batch(x)))

    def state_dict(self) -> State:
        return {"classes": self._classes, "last": None if self._last is None else self._last.copy()}

    def load_state_dict(self, state: State, /) -> None:
        self._classes = state["classes"]
        self._last = None if state["last"] is None else np.array(state["last"])

    def _say(self, n: int) -> Array:
        if self._last is None:
            return np.zeros((n, 0))
        said = np.repeat(self._last[None], n, axis=0)
        return said if self._classes is None else _one_hot(said, self._classes)


@final
class Prior:
    """Predicts how frequent each class was among the rows learnt, or the mean of the numbers so far.

    >>> Prior().learn(Batch(np.zeros((4, 1)), y=np.array([0, 1, 1, 0])))
    array([[0.        , 0.        ],
           [1.        , 0.        ],
           [0.5       , 0.5       ],
           [0.33333333, 0.66666667]])
    """

    def __init__(self) -> None:
        self._classes: int | None = None
        self._sums: Floats | None = None  # per class: weight; or per output: weight, weighted sum: (2,) or (2, outputs)

    def learn(self, batch: Batch, /) -> Array:
        """Learn the rows in order; see `retain.core.Learner`."""
        learnt, codes, numbers = _labels(batch, "Prior", self._classes, self._sums)
        n = len(learnt)
        if codes is None and numbers is None:
            return self._say(n)
        weight = np.where(learnt, blocks.weights(batch.weight, n, reader="Prior"), 0.0)
        if codes is None:
            numbers = cast("Floats", numbers)
            _check_shape(numbers, None if self._sums is None else self._sums[0], "Prior")
            self._sums, means = _means(self._sums, numbers, weight)
            return means
        self._classes = _known(self._classes, codes, learnt)
        counts = np.zeros((n + 1, self._classes))
        if self._sums is not None:
            counts[0, : len(self._sums)] = self._sums
        if self._classes:
            counts[np.arange(1, n + 1), np.maximum(codes, 0)] = weight
            np.cumsum(counts, axis=0, out=counts)
        self._sums = counts[-1].copy()
        return _shares(counts[:-1])

    def predict(self, x: Features, /) -> Array:
        """Every row gets the same answer. Changes nothing."""
        return self._say(len(Batch(x)))

    def state_dict(self) -> State:
        return {"classes": self._classes, "sums": None if self._sums is None else self._sums.copy()}

    def load_state_dict(self, state: State, /) -> None:
        self._classes = state["classes"]
        self._sums = None if state["sums"] is None else state["sums"].copy()

    def _say(self, n: int) -> Array:
        if self._sums is None:
            return np.zeros((n, 0))
        said = (
            _shares(self._sums[None])
            if self._classes is not None
            else _divide(self._sums[None, 1], self._sums[None, 0])
        )
        return np.repeat(said, n, axis=0)


@final
class Mean:
    """Predicts the mean of the numbers learnt so far, 0 before the first; whole numbers are numbers too.

    >>> Mean().learn(Batch(np.zeros((3, 1)), y=np.array([2.0, 4.0, 6.0])))
    array([0., 2., 3.])
    """

    def __init__(self) -> None:
        self._sums: Floats | None = None  # (2,) or (2, outputs): weight, weighted sum

    def learn(self, batch: Batch, /) -> Array:
        """Learn the rows in order; see `retain.core.Learner`."""
        n = len(batch)
        y = blocks.numbers(batch.y, n, reader="Mean")
        if batch.y is None and self._sums is not None and self._sums.ndim == 2:
            y = np.full((n, self._sums.shape[1]), np.nan)
        _check_shape(y, None if self._sums is None else self._sums[0], "Mean")
        learnt = blocks.labelled(batch.y, n)
        weight = np.where(learnt, blocks.weights(batch.weight, n, reader="Mean"), 0.0)
        self._sums, means = _means(self._sums, y, weight)
        return means

    def predict(self, x: Features, /) -> Array:
        """Every row gets the same number. Changes nothing."""
        n = len(Batch(x))
        if self._sums is None:
            return np.zeros(n)
        return np.repeat(_divide(self._sums[None, 1], self._sums[None, 0]), n, axis=0)

    def state_dict(self) -> State:
        return {"sums": None if self._sums is None else self._sums.copy()}

    def load_state_dict(self, state: State, /) -> None:
        self._sums = None if state["sums"] is None else state["sums"].copy()


def _labels(
    batch: Batch, reader: str, classes: int | None, memory: Array | None
) -> tuple[npt.NDArray[np.bool_], Ints | None, Floats | None]:
    """Which rows are learnt, and their labels: codes, or numbers, or neither where nothing shows which."""
    n, y = len(batch), batch.y
    learnt = blocks.labelled(y, n) & (blocks.weights(batch.weight, n, reader=reader) > 0)
    if y is None:
        return learnt, None, None
    is_codes = y.dtype.kind in "iub"
    if memory is not None and is_codes != (classes is not None):
        raise PoisonError(
            f"{reader} got labels of type {y.dtype} after {'numbers' if classes is None else 'class codes'}; expected "
            "the same kind for the whole stream: start a new learner"
        )
    if is_codes:
        return learnt, blocks.codes(y, n, reader=reader), None
    return learnt, None, blocks.numbers(y, n, reader=reader)


def _check_shape(y: Array, known: Array | None, reader: str) -> None:
    if known is not None and y.shape[1:] != known.shape:
        raise PoisonError(
            f"{reader} got targets of shape {y.shape}; expected {(len(y), *known.shape)}: keep the number of outputs"
        )


def _known(classes: int | None, codes: Ints, learnt: npt.NDArray[np.bool_]) -> int:
    return max(classes or 0, int(np.where(learnt, codes, -1).max(initial=-1)) + 1)


def _means(sums: Floats | None, y: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Weight and weighted sum after all rows, and the mean before each: (n,) or (n, outputs)."""
    steps = np.empty((len(y) + 1, 2, *y.shape[1:]))
    steps[0] = 0.0 if sums is None else sums
    w = weight if y.ndim == 1 else weight[:, None]
    steps[1:, 0] = w
    steps[1:, 1] = np.where(w > 0, y, 0.0) * w
    np.cumsum(steps, axis=0, out=steps)
    return steps[-1].copy(), _divide(steps[:-1, 1], steps[:-1, 0])


def _shares(counts: Floats) -> Floats:
    return _divide(counts, counts.sum(axis=1, keepdims=True))


def _divide(a: Floats, b: Floats) -> Floats:
    """a / b, and 0 where b is."""
    return np.divide(a, b, out=np.zeros(a.shape), where=b > 0)


def _one_hot(codes: Ints, classes: int) -> Floats:
    """(n, classes) with a 1 at the code of each row; no 1 where the code is -1."""
    return (codes[:, None] == np.arange(classes)).astype(np.float64)
