"""Metrics of probabilities: how sure, and how rightly so.

Shapes: n rows, k classes known so far; a class that was not known yet had probability 0. A row of which nothing was
said, since no class was known when it was answered, counts as if all classes seen by now, two at least, had been held
for equally likely.
"""

from __future__ import annotations

import math
from typing import final

import numpy as np
from numba import njit

from retain.core import Array
from retain.errors import SettingError
from retain.metrics.running import Rows, Running, classes, likeliest, ratio

__all__ = ["Brier", "CalibrationError", "LogLoss"]


@final
class LogLoss(Running):
    """The mean of -log p(label), in nats.

    Args:
        eps: probabilities are clipped to [eps, 1 - eps], so that a label held for impossible, or not known yet, costs
            -log(eps) (34.5 nats at 1e-15) and not infinity. Where nothing was said of any class, log(k).

    >>> import numpy as np
    >>> metric = LogLoss()
    >>> metric.update(np.array([0, 1]), np.array([[0.5, 0.5], [0.75, 0.25]]))
    >>> round(metric.value(), 4)
    1.0397
    """

    name = "log_loss"
    higher_is_better = False
    form = staticmethod(classes)

    def __init__(self, *, eps: float = 1e-15) -> None:
        if not 1e-20 <= eps < 0.5:
            raise SettingError(f"eps={eps}; expected a small number, at least 1e-20, as 1e-15")
        self._eps = eps
        # Weighted loss, weight, the product of the probabilities whose logarithm has not been taken yet (one logarithm
        # of a product of hundreds costs less than one for each row, and is as exact), and how many classes were seen.
        self._sums = np.array([0.0, 0.0, 1.0, 2.0])

    def fold(self, rows: Rows, /) -> None:
        _log_loss(self._sums, self._eps, *rows)

    def value(self) -> float:
        loss, weight, product, _ = self._sums
        return ratio(loss - math.log(product), weight)

    def scale(self, factor: float, /) -> None:
        loss, weight, product, _ = self._sums
        self._sums[:3] = factor * (loss - math.log(product)), factor * weight, 1.0


@final
class Brier(Running):
    """The mean of half the squared distance between the probabilities and the label: sum_j (p_j - [y = j])^2 / 2.

    With two classes this is the usual (p - y)^2; between 0 and 1 always. Where nothing was said of any class, what k
    equal probabilities cost: (1 - 1 / k) / 2.

    >>> import numpy as np
    >>> metric = Brier()
    >>> metric.update(np.array([0, 1]), np.array([[0.5, 0.5], [0.75, 0.25]]))
    >>> metric.value()
    0.40625

    Brier 1950, "Verification of forecasts expressed in terms of probability"; his sum is not halved.
    """

    name = "brier"
    higher_is_better = False
    form = staticmethod(classes)

    def __init__(self) -> None:
        self._sums = np.array([0.0, 0.0, 2.0])  # weighted loss, weight, how many classes were seen

    def fold(self, rows: Rows, /) -> None:
        _brier(self._sums, *rows)

    def value(self) -> float:
        return ratio(*self._sums[:2])

    def scale(self, factor: float, /) -> None:
        self._sums[:2] *= factor


@final
class CalibrationError(Running):
    """The expected calibration error: how far confidence is from accuracy, on average over bins of confidence.

    Confidence is the probability of the class decided for; bin b holds those in (b / bins, (b + 1) / bins], and the
    error is sum_b weight_b |accuracy_b - confidence_b| / weight.

    Args:
        bins: how many of equal width.

    >>> import numpy as np
    >>> metric = CalibrationError()
    >>> metric.update(np.array([0, 1, 0, 0]), np.tile([0.9, 0.1], (4, 1)))
    >>> round(metric.value(), 3)
    0.15

    Guo et al. 2017, "On calibration of modern neural networks".
    """

    name = "calibration_error"
    higher_is_better = False
    form = staticmethod(classes)

    def __init__(self, *, bins: int = 15) -> None:
        if bins < 1:
            raise SettingError(f"bins={bins}; expected at least 1, usually 10 to 15")
        self._sums = np.zeros((bins, 3))  # weight, weighted confidence, weight right

    def fold(self, rows: Rows, /) -> None:
        _calibration(self._sums, *rows)

    def value(self) -> float:
        weight, confidence, right = self._sums.T
        return ratio(np.abs(right - confidence).sum(), weight.sum())


@njit(cache=True, nogil=True, inline="always")
def _silent(said: Array, i: int) -> bool:
    """Whether nothing was said of any class."""
    for j in range(said.shape[1]):  # noqa: SIM110 - compiled
        if said[i, j] != 0.0:
            return False
    return True


@njit(cache=True, nogil=True)
def _log_loss(sums: Array, eps: float, y: Array, said: Array, weight: Array) -> None:
    k = said.shape[1]
    loss, total, product, seen = sums
    for i in range(len(y)):
        seen = max(seen, y[i] + 1.0)
        p = said[i, y[i]] if y[i] < k else 0.0
        if p == 0.0 and _silent(said, i):
            p = 1.0 / seen
        p = min(max(p, eps), 1.0 - eps)
        if weight[i] == 1.0:
            product *= p
            if product < 1e-280:
                loss -= math.log(product)
                product = 1.0
        else:
            loss -= weight[i] * math.log(p)
        total += weight[i]
    sums[0], sums[1], sums[2], sums[3] = loss, total, product, seen


@njit(cache=True, nogil=True)
def _brier(sums: Array, y: Array, said: Array, weight: Array) -> None:
    k = said.shape[1]
    loss, total, seen = sums
    for i in range(len(y)):
        seen = max(seen, y[i] + 1.0)
        square = 0.0
        for j in range(k):
            miss = said[i, j] - (1.0 if j == y[i] else 0.0)
            square += miss * miss
        if y[i] >= k:
            square += 1.0
        if square == 1.0 and _silent(said, i):
            square = 1.0 - 1.0 / seen
        loss += weight[i] * (0.5 * square)
        total += weight[i]
    sums[0], sums[1], sums[2] = loss, total, seen


@njit(cache=True, nogil=True)
def _calibration(sums: Array, y: Array, said: Array, weight: Array) -> None:
    bins = len(sums)
    for i in range(len(y)):
        code = likeliest(said, i)
        confidence = said[i, code] if code >= 0 else 0.0
        b = min(max(math.ceil(confidence * bins) - 1, 0), bins - 1)
        sums[b, 0] += weight[i]
        sums[b, 1] += weight[i] * confidence
        if code == y[i]:
            sums[b, 2] += weight[i]
