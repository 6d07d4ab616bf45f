"""Metrics of numbers.

Shapes: n rows, k outputs; (n,) counts as (n, 1).
"""

from __future__ import annotations

import math
from typing import final

import numpy as np
from numba import njit

from retain.core import Array, State
from retain.errors import PoisonError, SettingError, StateError
from retain.metrics.running import Rows, Running, intervals, kept_sums, ratio, targets

__all__ = ["MAE", "R2", "RMSE", "Coverage", "QuantileLoss"]


@final
class MAE(Running):
    """The mean absolute error, over rows and outputs.

    >>> import numpy as np
    >>> metric = MAE()
    >>> metric.update(np.array([3.0, -0.5, 2.0, 7.0]), np.array([2.5, 0.0, 2.0, 8.0]))
    >>> metric.value()
    0.5
    """

    name = "mae"
    higher_is_better = False
    form = staticmethod(targets)

    def __init__(self) -> None:
        self._sums = np.zeros(2)  # weighted error, weight

    def fold(self, rows: Rows, /) -> None:
        _absolute(self._sums, *rows)

    def value(self) -> float:
        return ratio(*self._sums)


@final
class RMSE(Running):
    """The root of the mean squared error, over rows and outputs.

    >>> import numpy as np
    >>> metric = RMSE()
    >>> metric.update(np.array([3.0, -0.5, 2.0, 7.0]), np.array([2.5, 0.0, 2.0, 8.0]))
    >>> round(metric.value(), 4)
    0.6124
    """

    name = "rmse"
    higher_is_better = False
    form = staticmethod(targets)

    def __init__(self) -> None:
        self._sums = np.zeros(2)  # weighted squared error, weight

    def fold(self, rows: Rows, /) -> None:
        _squared(self._sums, *rows)

    def value(self) -> float:
        return math.sqrt(ratio(*self._sums))


@final
class R2(Running):
    """The share of the variance that is explained, 1 - sum (y - p)^2 / sum (y - mean)^2, averaged over outputs.

    The mean is that of all labels so far, so that the value is the one of a single pass over all rows. NaN while the
    labels do not vary.

    >>> import numpy as np
    >>> metric = R2()
    >>> metric.update(np.array([3.0, -0.5, 2.0, 7.0]), np.array([2.5, 0.0, 2.0, 8.0]))
    >>> round(metric.value(), 4)
    0.9486
    """

    name = "r2"
    higher_is_better = True
    form = staticmethod(targets)

    def __init__(self) -> None:
        self._sums = np.zeros((0, 4))  # per output: weight, label, label squared, error squared; labels less `_origin`
        self._origin = np.zeros(0)  # the first label: near it squares do not cancel

    def fold(self, rows: Rows, /) -> None:
        if not len(rows.y):
            return
        if not len(self._sums):
            self._sums = np.zeros((rows.y.shape[1], 4))
            self._origin = rows.y[0].copy()
        if rows.y.shape[1] != len(self._sums):
            raise PoisonError(
                f"{self.name} got targets of {rows.y.shape[1]} outputs; expected {len(self._sums)} as before: "
                "give the same outputs, or start a new metric"
            )
        _variance(self._sums, self._origin, *rows)

    def value(self) -> float:
        if not len(self._sums):
            return float("nan")
        weight, label, square, error = self._sums.T
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = square - label * label / weight
            # What rounding leaves of labels that are all equal is not variance.
            shares = np.where(spread > 1e-12 * square, 1 - error / spread, np.nan)
        return float(shares.mean())

    def state_dict(self) -> State:
        return {"sums": self._sums.copy(), "origin": self._origin.copy()}

    def load_state_dict(self, state: State, /) -> None:
        self._sums = kept_sums(state, 2, self.name)
        if "origin" not in state:
            raise StateError(f"this is not a state of the metric {self.name!r}: it has no origin; load what it saved")
        self._origin = np.array(state["origin"], dtype=np.float64)


@final
class QuantileLoss(Running):
    """The mean pinball loss: q u where the label lies u above what was said, (1 - q) u where it lies u below.

    Args:
        q: which quantile was said, between 0 and 1; 0.5 gives half the mean absolute error.

    >>> import numpy as np
    >>> metric = QuantileLoss(0.9)
    >>> metric.update(np.array([1.0, 3.0]), np.array([2.0, 2.0]))
    >>> metric.name, metric.value()
    ('quantile_loss_0.9', 0.5)

    Koenker and Bassett 1978, "Regression quantiles".
    """

    higher_is_better = False
    form = staticmethod(targets)

    def __init__(self, q: float = 0.5, /) -> None:
        if not 0 < q < 1:
            raise SettingError(f"q={q}; expected a quantile between 0 and 1, as 0.9")
        self.name = f"quantile_loss_{q:g}"
        self._q = q
        self._sums = np.zeros(2)  # weighted loss, weight

    def fold(self, rows: Rows, /) -> None:
        _pinball(self._sums, self._q, *rows)

    def value(self) -> float:
        return ratio(*self._sums)


@final
class Coverage(Running):
    """The share of labels within the intervals (n, 2) that were said: lower and upper bound, both included.

    Good is what the intervals promise, 0.9 for those of 90 %: more only says that they are too wide.

    >>> import numpy as np
    >>> metric = Coverage()
    >>> metric.update(np.array([1.0, 5.0]), np.array([[0.0, 2.0], [0.0, 2.0]]))
    >>> metric.value()
    0.5
    """

    name = "coverage"
    higher_is_better = True
    form = staticmethod(intervals)

    def __init__(self) -> None:
        self._sums = np.zeros(2)  # weight inside, weight

    def fold(self, rows: Rows, /) -> None:
        _inside(self._sums, *rows)

    def value(self) -> float:
        return ratio(*self._sums)


@njit(cache=True, nogil=True)
def _absolute(sums: Array, y: Array, said: Array, weight: Array) -> None:
    n, k = y.shape
    for i in range(n):
        for j in range(k):
            sums[0] += weight[i] * abs(y[i, j] - said[i, j])
            sums[1] += weight[i]


@njit(cache=True, nogil=True)
def _squared(sums: Array, y: Array, said: Array, weight: Array) -> None:
    n, k = y.shape
    for i in range(n):
        for j in range(k):
            error = y[i, j] - said[i, j]
            sums[0] += weight[i] * (error * error)
            sums[1] += weight[i]


@njit(cache=True, nogil=True)
def _pinball(sums: Array, q: float, y: Array, said: Array, weight: Array) -> None:
    n, k = y.shape
    for i in range(n):
        for j in range(k):
            above = y[i, j] - said[i, j]
            sums[0] += weight[i] * (q * above if above > 0 else (q - 1.0) * above)
            sums[1] += weight[i]


@njit(cache=True, nogil=True)
def _inside(sums: Array, y: Array, said: Array, weight: Array) -> None:
    for i in range(len(y)):
        if said[i, 0] <= y[i, 0] <= said[i, 1]:
            sums[0] += weight[i]
        sums[1] += weight[i]


@njit(cache=True, nogil=True)
def _variance(sums: Array, origin: Array, y: Array, said: Array, weight: Array) -> None:
    n, k = y.shape
    for i in range(n):
        for j in range(k):
            label, error = y[i, j] - origin[j], y[i, j] - said[i, j]
            sums[j, 0] += weight[i]
            sums[j, 1] += weight[i] * label
            sums[j, 2] += weight[i] * (label * label)
            sums[j, 3] += weight[i] * (error * error)
