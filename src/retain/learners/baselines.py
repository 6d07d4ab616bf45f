"""Learners that ignore their input: what every model must beat.

They run beside every learner, so their row loops are compiled: some 20 ns a row. Integer labels are class codes, floats
are numbers; before the first labels show which, there is nothing to say and predictions are (n, 0). Rows without a
label, or of weight 0, are answered and not learnt.
"""

from __future__ import annotations

from typing import final

import numpy as np
from numba import njit

from retain import blocks
from retain.core import Array, Batch, Features, Floats, Ints, State
from retain.errors import PoisonError

__all__ = ["Mean", "NoChange", "Prior"]


@njit(cache=True, nogil=True)
def _range(code_N: Ints, weight_N: Floats) -> tuple[int, int]:
    """The lowest code, and the highest of those that are learnt; 0 and -1 where there are none."""
    least, most = 0, -1
    for i in range(len(code_N)):
        least = min(least, code_N[i])
        most = max(most, code_N[i] if weight_N[i] > 0.0 else -1)
    return least, most


@njit(cache=True, nogil=True)
def _last_class(code_N: Ints, weight_N: Floats, last_1: Ints, out_NK: Floats) -> None:
    """Put a 1 at the last class learnt, row by row; -1 stands for none."""
    for i in range(len(code_N)):
        if last_1[0] >= 0:
            out_NK[i, last_1[0]] = 1.0
        if code_N[i] >= 0 and weight_N[i] > 0.0:
            last_1[0] = code_N[i]


@njit(cache=True, nogil=True)
def _last_number(y_NQ: Floats, weight_N: Floats, last_Q: Floats, out_NQ: Floats) -> None:
    """Say the last numbers learnt, row by row."""
    for i in range(len(y_NQ)):
        out_NQ[i] = last_Q
        if weight_N[i] > 0.0 and not np.isnan(y_NQ[i]).any():
            last_Q[:] = y_NQ[i]


@njit(cache=True, nogil=True, error_model="numpy")
def _frequency(code_N: Ints, weight_N: Floats, count_K: Floats, out_NK: Floats) -> None:
    """Say the share of each class in the weight learnt, row by row."""
    for i in range(len(code_N)):
        total = 0.0
        for c in range(len(count_K)):
            total += count_K[c]
        if total > 0.0:
            for c in range(len(count_K)):
                out_NK[i, c] = count_K[c] / total
        if code_N[i] >= 0 and weight_N[i] > 0.0:
            count_K[code_N[i]] += weight_N[i]


@njit(cache=True, nogil=True)
def _mean(y_NQ: Floats, weight_N: Floats, sums_2Q: Floats, out_NQ: Floats) -> None:
    """Say the means of the numbers learnt, row by row; sums are of weights and of weighted numbers."""
    for i in range(len(y_NQ)):
        for q in range(y_NQ.shape[1]):
            if sums_2Q[0, q] > 0.0:
                out_NQ[i, q] = sums_2Q[1, q] / sums_2Q[0, q]
        if weight_N[i] > 0.0 and not np.isnan(y_NQ[i]).any():
            for q in range(y_NQ.shape[1]):
                sums_2Q[0, q] += weight_N[i]
                sums_2Q[1, q] += weight_N[i] * y_NQ[i, q]


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
        codes, numbers, weight = _labels(batch, "NoChange", self._classes, self._last)
        if codes is not None:
            self._classes = max(self._classes or 0, _range(codes, weight)[1] + 1)
            last = np.full(1, -1) if self._last is None else self._last.reshape(1).copy()
            out = np.zeros((len(codes), self._classes))
            _last_class(codes, weight, last, out)
            self._last = last.reshape(())
            return out
        if numbers is None:
            return self._say(len(batch))
        _check_shape(numbers, self._last, "NoChange")
        row = np.zeros(numbers.shape[1:]) if self._last is None else self._last.copy()
        out = np.empty(numbers.shape)
        _last_number(_columns(numbers), weight, row.reshape(-1), _columns(out))
        self._last = row
        return out

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
        codes, numbers, weight = _labels(batch, "Prior", self._classes, self._sums)
        if codes is not None:
            before = self._classes or 0
            self._classes = max(before, _range(codes, weight)[1] + 1)
            counts = np.zeros(self._classes)
            counts[:before] = 0.0 if self._sums is None else self._sums
            out = np.zeros((len(codes), self._classes))
            _frequency(codes, weight, counts, out)
            self._sums = counts
            return out
        if numbers is None:
            return self._say(len(batch))
        _check_shape(numbers, None if self._sums is None else self._sums[0], "Prior")
        self._sums, means = _means(self._sums, numbers, weight)
        return means

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
        if batch.y is not None and batch.y.dtype.kind == "i":
            y = np.where(batch.y >= 0, y, np.nan)  # codes: -1 is no number
        weight = blocks.weights(batch.weight, n, reader="Mean")
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
) -> tuple[Ints | None, Floats | None, Floats]:
    """Labels as codes, or as numbers, or neither where nothing shows which; and the weights."""
    n, y = len(batch), batch.y
    weight = np.ones(n) if batch.weight is None else _plain(blocks.weights(batch.weight, n, reader=reader))
    if y is None:
        return None, None, weight
    is_codes = y.dtype.kind in "iub"
    if memory is not None and is_codes != (classes is not None):
        raise PoisonError(
            f"{reader} got labels of type {y.dtype} after {'numbers' if classes is None else 'class codes'}; expected "
            "the same kind for the whole stream: start a new learner"
        )
    if is_codes:
        # Codes of the usual form are looked at by a compiled loop, at a tenth of the cost.
        if y.dtype == np.int64 and y.shape == (n,) and _range(codes := _plain(y), weight)[0] >= -1:
            return codes, None, weight
        return _plain(blocks.codes(y, n, reader=reader)), None, weight
    return None, blocks.numbers(y, n, reader=reader), weight


def _columns(y: Floats) -> Floats:
    """Numbers (n,) or (n, outputs) as the compiled loops take them: (n, outputs), contiguous and writeable."""
    return _plain(y if y.ndim == 2 else y[:, None])


def _plain(values: Array) -> Array:
    """Contiguous and writeable: to compiled loops anything else is another type, compiled once more."""
    flags = values.flags
    return values if flags.c_contiguous and flags.writeable else np.require(values, requirements=["C", "W"])


def _check_shape(y: Array, known: Array | None, reader: str) -> None:
    if known is not None and y.shape[1:] != known.shape:
        raise PoisonError(
            f"{reader} got targets of shape {y.shape}; expected {(len(y), *known.shape)}: keep the number of outputs"
        )


def _means(sums: Floats | None, y: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Weight and weighted sum after all rows, and the mean before each: (n,) or (n, outputs)."""
    after = np.zeros((2, *y.shape[1:])) if sums is None else sums.copy()
    means = np.zeros(y.shape)
    _mean(_columns(y), weight, after.reshape(2, -1), _columns(means))
    return after, means


def _shares(counts: Floats) -> Floats:
    return _divide(counts, counts.sum(axis=1, keepdims=True))


def _divide(a: Floats, b: Floats) -> Floats:
    """a / b, and 0 where b is."""
    return np.divide(a, b, out=np.zeros(a.shape), where=b > 0)


def _one_hot(codes: Ints, classes: int) -> Floats:
    """(n, classes) with a 1 at the code of each row; no 1 where the code is -1."""
    return (codes[:, None] == np.arange(classes)).astype(np.float64)
