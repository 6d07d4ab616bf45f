"""Metrics of decisions: which class was said to be the likeliest.

A row predicted before any class was known decides for none and is wrong. Of equally likely classes the one with the
lowest code is decided for.

Shapes: n rows, k classes seen so far in labels or decisions.
"""

from __future__ import annotations

from typing import final

import numpy as np
from numba import njit

from retain.core import Array, State
from retain.errors import SettingError
from retain.metrics.running import Rows, Running, classes, kept_sums, likeliest, ratio

__all__ = ["F1", "Accuracy", "BalancedAccuracy", "Kappa", "KappaTemporal", "MacroF1", "Unknown", "mistakes"]

_RIGHT, _ACTUAL, _SAID = 0, 1, 2  # columns of a tally


@final
class Accuracy(Running):
    """The share of rows whose class was said right.

    >>> import numpy as np
    >>> metric = Accuracy()
    >>> metric.update(np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]))
    >>> metric.value()
    0.6666666666666666
    """

    name = "accuracy"
    higher_is_better = True
    form = staticmethod(classes)

    def __init__(self) -> None:
        self._sums = np.zeros(2)  # weight wrong, weight right

    def fold(self, rows: Rows, /) -> None:
        _count_right(self._sums, *rows)

    def value(self) -> float:
        wrong, right = self._sums
        return ratio(right, right + wrong)


@final
class BalancedAccuracy(Running):
    """The share said right of each class, averaged over the classes that have occurred; rare ones count as much.

    >>> import numpy as np
    >>> metric = BalancedAccuracy()
    >>> metric.update(np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0]))
    >>> metric.value()
    0.5

    Brodersen et al. 2010, "The balanced accuracy and its posterior distribution".
    """

    name = "balanced_accuracy"
    higher_is_better = True
    form = staticmethod(classes)

    def __init__(self) -> None:
        self._sums = np.zeros((0, 3))

    def fold(self, rows: Rows, /) -> None:
        self._sums = _tallied(self._sums, rows)

    def value(self) -> float:
        seen = self._sums[self._sums[:, _ACTUAL] > 0]
        return float((seen[:, _RIGHT] / seen[:, _ACTUAL]).mean()) if len(seen) else float("nan")


@final
class F1(Running):
    """The harmonic mean of precision and recall of one class: 2 right / (actual + said).

    Args:
        positive: code of the class in question.

    NaN while that class has neither occurred nor been said.

    >>> import numpy as np
    >>> metric = F1()
    >>> metric.update(np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0]))
    >>> metric.value()
    0.6666666666666666
    """

    higher_is_better = True
    form = staticmethod(classes)

    def __init__(self, *, positive: int = 1) -> None:
        if positive < 0:
            raise SettingError(f"positive={positive}; expected a class code 0, 1, ...")
        self.name = "f1" if positive == 1 else f"f1_{positive}"
        self._positive = positive
        self._sums = np.zeros((0, 3))

    def fold(self, rows: Rows, /) -> None:
        self._sums = _tallied(self._sums, rows)

    def value(self) -> float:
        if self._positive >= len(self._sums):
            return float("nan")
        right, actual, said = self._sums[self._positive]
        return ratio(2 * right, actual + said)


@final
class MacroF1(Running):
    """F1 of each class, averaged over the classes that have occurred or been said.

    >>> import numpy as np
    >>> metric = MacroF1()
    >>> metric.update(np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0]))
    >>> round(metric.value(), 3)
    0.733
    """

    name = "macro_f1"
    higher_is_better = True
    form = staticmethod(classes)

    def __init__(self) -> None:
        self._sums = np.zeros((0, 3))

    def fold(self, rows: Rows, /) -> None:
        self._sums = _tallied(self._sums, rows)

    def value(self) -> float:
        met = self._sums[:, _ACTUAL] + self._sums[:, _SAID]
        right = self._sums[met > 0, _RIGHT]
        return float((2 * right / met[met > 0]).mean()) if len(right) else float("nan")


@final
class Kappa(Running):
    """How much better than chance the decisions are: (accuracy - chance) / (1 - chance).

    Chance is the accuracy of decisions drawn at random with the frequencies of the decisions made:
    sum over classes of P(actual) P(said). NaN while chance is 1.

    >>> import numpy as np
    >>> metric = Kappa()
    >>> metric.update(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0]))
    >>> metric.value()
    0.5

    Cohen 1960, "A coefficient of agreement for nominal scales".
    """

    name = "kappa"
    higher_is_better = True
    form = staticmethod(classes)

    def __init__(self) -> None:
        self._sums = np.zeros((0, 3))

    def fold(self, rows: Rows, /) -> None:
        self._sums = _tallied(self._sums, rows)

    def value(self) -> float:
        total = float(self._sums[:, _ACTUAL].sum())
        if not total:
            return float("nan")
        right = float(self._sums[:, _RIGHT].sum()) / total
        chance = float((self._sums[:, _ACTUAL] / total) @ (self._sums[:, _SAID] / total))
        return ratio(right - chance, 1 - chance)


@final
class KappaTemporal(Running):
    """How much better than saying the previous label again: (accuracy - no-change) / (1 - no-change).

    No-change says of each row the label of the row before; of the first one it is wrong. NaN while it is always right.
    Where labels are late, the row before is the one whose label landed before: compare with the report's no-change
    baseline, which knows only what had landed when the row arrived.

    >>> import numpy as np
    >>> metric = KappaTemporal()
    >>> metric.update(np.array([0, 1, 0, 1]), np.array([0, 1, 0, 0]))
    >>> metric.value()
    0.75

    Zliobaite et al. 2015, "Evaluation methods and decision theory for classification of streaming data with temporal
    dependence".
    """

    name = "kappa_temporal"
    higher_is_better = True
    form = staticmethod(classes)

    def __init__(self) -> None:
        self._sums = np.zeros(4)  # weight of: wrong, wrong but unchanged, right though changed, right and unchanged
        self._last = -1

    def fold(self, rows: Rows, /) -> None:
        self._last = int(_count_unchanged(self._sums, self._last, *rows))

    def value(self) -> float:
        neither, unchanged, right, _ = self._sums
        return ratio(right - unchanged, right + neither)

    def state_dict(self) -> State:
        return {"sums": self._sums.copy(), "last": self._last}

    def load_state_dict(self, state: State, /) -> None:
        self._sums = kept_sums(state, 1, self.name)
        self._last = int(state["last"])


@final
class Unknown(Running):
    """The share of rows that were held for none of the known classes, or answered before any class was known.

    >>> import numpy as np
    >>> metric = Unknown()
    >>> metric.update(np.array([0, 1]), np.array([[0.0, 0.0], [0.2, 0.8]]))
    >>> metric.value()
    0.5
    """

    name = "unknown"
    higher_is_better = False
    form = staticmethod(classes)

    def __init__(self) -> None:
        self._sums = np.zeros(2)  # weight decided, weight not

    def fold(self, rows: Rows, /) -> None:
        _count_unknown(self._sums, *rows)

    def value(self) -> float:
        decided, unknown = self._sums
        return ratio(unknown, unknown + decided)


def _tallied(sums: Array, rows: Rows) -> Array:
    """Add rows to a tally (k, 3): for each class the weight said right, the weight that was it, the weight said it."""
    k = max(int(rows.y.max(initial=-1)) + 1, rows.said.shape[1])
    if k > len(sums):
        sums = np.concatenate([sums, np.zeros((k - len(sums), 3))])
    _tally(sums, *rows)
    return sums


def mistakes(y: Array, prediction: Array, /) -> Array:
    """(n,) 0 where the class of a row was said right, 1 where it was not.

    >>> mistakes(np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.0, 0.0]]))
    array([0., 0., 1.])
    """
    out = np.empty(len(y))
    _mark(np.ascontiguousarray(y, dtype=np.int64), np.require(prediction, np.float64, ["C", "W"]), out)
    return out


# Which sum a row belongs to is found by counting and not by branching: whether a label is hit is what no processor can
# guess. The index is unsigned, so that nobody looks whether it counts from the end.


@njit(cache=True, nogil=True)
def _count_right(sums: Array, y: Array, said: Array, weight: Array) -> None:
    for i in range(len(y)):
        sums[np.uint64(y[i] == likeliest(said, i))] += weight[i]


@njit(cache=True, nogil=True)
def _count_unknown(sums: Array, y: Array, said: Array, weight: Array) -> None:
    for i in range(len(y)):
        sums[np.uint64(likeliest(said, i) < 0)] += weight[i]


@njit(cache=True, nogil=True)
def _mark(y: Array, said: Array, out: Array) -> None:
    for i in range(len(y)):
        out[i] = y[i] != likeliest(said, i)


@njit(cache=True, nogil=True)
def _count_unchanged(sums: Array, last: int, y: Array, said: Array, weight: Array) -> int:
    for i in range(len(y)):
        sums[np.uint64(2 * (y[i] == likeliest(said, i)) + (y[i] == last))] += weight[i]
        last = y[i]
    return last


@njit(cache=True, nogil=True)
def _tally(sums: Array, y: Array, said: Array, weight: Array) -> None:
    for i in range(len(y)):
        decided = likeliest(said, i)
        if decided == y[i]:
            sums[decided, _RIGHT] += weight[i]
        if decided >= 0:
            sums[decided, _SAID] += weight[i]
        sums[y[i], _ACTUAL] += weight[i]
