"""The area under the ROC curve in bounded memory: scores are counted in bins that are narrow where it matters.

Shapes: n rows, k classes, B bins.
"""

from __future__ import annotations

from typing import final

import numpy as np
from numba import njit

from retain.core import Array, State
from retain.errors import PoisonError, SettingError
from retain.metrics.running import Rows, Running, classes, kept_sums

__all__ = ["ROCAUC", "roc_area"]

# Bins have equal widths in the middle and equal ratios in the tails, as on a logit scale: by q = min(p, 1 - p),
#   q in [2^-5, 1/2): 2^-11 wide;   q in [2^-33, 2^-5): 64 to each halving, so 2^-11 wide where the two meet;
# below that one bin. The exponent and the first bits of the mantissa of q number those of the tails: no logarithm.
_MANTISSA, _OCTAVES, _MIDDLE = 6, 28, 2.0**-5
_SHIFT = 52 - _MANTISSA
_LOWEST = (1023 - 5 - _OCTAVES) << _MANTISSA
_TAIL = _OCTAVES << _MANTISSA
_HALF = _TAIL + 960
_BINS = 2 * _HALF


@final
class ROCAUC(Running):
    """The probability that a row of a class gets a higher score than a row of another class; ties count half.

    With two classes the score is the probability of class 1. With more it is one class against the rest, averaged over
    the classes that have occurred (and are not all there is).

    Scores are counted in 5,504 bins per class, none wider than 2^-11 or, near 0 and 1, than 1/64 of the distance to
    them, and rows of the same bin count as ties. The exact area therefore lies within `bound()` of the value: half the
    share of the pairs (a row of the class, a row of another) that share a bin. Scores that all lie within 0.02 of each
    other have a bound of about 0.01 and errors up to 4e-4; spread scores have bounds below 1e-3 and errors below 1e-5.

    Args:
        classes: how many classes to follow at most, 86 KiB each; those with higher codes count as part of the rest.

    >>> import numpy as np
    >>> metric = ROCAUC()
    >>> p = np.array([0.1, 0.4, 0.35, 0.8])
    >>> metric.update(np.array([0, 0, 1, 1]), np.column_stack([1 - p, p]))
    >>> metric.value()
    0.75

    Hand and Till 2001 average over pairs of classes; we average one class against the rest, as Provost and Domingos
    2000 do, but without weighting by frequency.
    """

    name = "auc"
    higher_is_better = True
    form = staticmethod(classes)

    def __init__(self, *, classes: int = 64) -> None:
        if classes < 2:
            raise SettingError(f"classes={classes}; expected at least 2")
        self._most = classes
        self._sums = np.zeros((0, 2, _BINS))  # per class the weight of other rows and of its own, by score
        self._total = np.zeros(1)  # weight

    def fold(self, rows: Rows, /) -> None:
        if not len(rows.y):
            return
        k = min(max(int(rows.y.max()) + 1, rows.said.shape[1], 2), self._most)
        if k > len(self._sums):
            more = np.zeros((k - len(self._sums), 2, _BINS))
            more[:, 0, 0] = self._total  # all rows so far gave a class that was not known yet the score 0
            self._sums = np.concatenate([self._sums, more])
        _count_scores(self._sums, self._total, *rows)

    def value(self) -> float:
        return _mean_area(self._sums)[0]

    def bound(self) -> float:
        """How far the value can be from the area under the exact curve."""
        return _mean_area(self._sums)[1]

    def scale(self, factor: float, /) -> None:
        self._sums *= factor
        self._total *= factor

    def state_dict(self) -> State:
        return {"sums": self._sums.copy(), "total": float(self._total[0])}

    def load_state_dict(self, state: State, /) -> None:
        self._sums = kept_sums(state, 3, self.name)
        self._total = np.array([float(state["total"])])


def roc_area(positive: Array, score: Array, /) -> float:
    """The probability that a positive row has a higher score than another, exactly; ties count half.

    NaN where all rows are of one kind. For scores in memory, of any size; infinite ones are fine. For rows that keep
    coming there is `ROCAUC`.

    Args:
        positive: (n,) whether a row is, e.g. of no known class.
        score: (n,) the larger, the rather, e.g. `retain.novelty`.

    >>> roc_area(np.array([False, False, True, True]), np.array([0.1, 0.4, 0.35, 8.0]))
    0.75
    """
    if positive.shape != score.shape or score.ndim != 1 or np.isnan(score).any():
        raise PoisonError(
            f"roc_area got rows of shape {positive.shape} and scores of shape {score.shape}, of which "
            f"{int(np.isnan(score).sum())} are NaN; expected one number for each row"
        )
    mine = positive.astype(bool)
    pairs = float(mine.sum()) * float((~mine).sum())
    if not pairs:
        return float("nan")
    others = np.sort(score[~mine])
    below, not_above = (np.searchsorted(others, score[mine], side=side).sum() for side in ("left", "right"))
    return float(below + not_above) / 2 / pairs


@njit(cache=True, nogil=True)
def _count_scores(sums: Array, total: Array, y: Array, said: Array, weight: Array) -> None:
    k = said.shape[1]
    near = np.empty(1)
    bits = near.view(np.int64)
    flat = sums.reshape(-1)
    so_far = total[0]
    for i in range(len(y)):
        for c in range(len(sums)):
            p = said[i, c] if c < k else 0.0
            q = min(p, 1.0 - p)
            near[0] = q
            tail = max((bits[0] >> _SHIFT) - _LOWEST, 0)  # negative numbers too are below the lowest
            middle = _TAIL + min(int((q - _MIDDLE) * 2048.0), 959)
            # Choices and sums instead of branches: where a score lies is what no processor can guess.
            step = middle if q >= _MIDDLE else tail
            b = step + (p >= 0.5) * (_BINS - 1 - 2 * step)
            mine = y[i] == c
            flat[np.uint64((2 * c + mine) * _BINS + b)] += weight[i]  # unsigned: no look whether it counts from the end
        so_far += weight[i]
    total[0] = so_far


@njit(cache=True, nogil=True)
def _area(histogram: Array) -> tuple[float, float]:
    """The area under the curve of one class (2, B), and half the share of the pairs that a bin cannot tell apart."""
    below = area = ties = own = 0.0
    for start in range(0, histogram.shape[1], 16):
        # Sums within 16 bins do not wait for those before them: one long chain of additions would.
        inner_below = inner_area = inner_own = 0.0
        for b in range(start, start + 16):
            others, mine = histogram[0, b], histogram[1, b]
            inner_area += mine * (inner_below + 0.5 * others)
            ties += mine * others
            inner_own += mine
            inner_below += others
        area += inner_area + inner_own * below
        own += inner_own
        below += inner_below
    pairs = own * below
    if pairs > 0.0:
        return area / pairs, 0.5 * ties / pairs
    return np.nan, np.nan


@njit(cache=True, nogil=True)
def _mean_area(sums: Array) -> tuple[float, float]:
    """The area and its bound: of class 1 where no other has occurred but 0, else averaged over the classes."""
    many = False
    for c in range(2, len(sums)):
        for mine in sums[c, 1]:
            many = many or mine > 0.0
    area = bound = 0.0
    count = 0
    for c in range(0 if many else 1, len(sums) if many else min(len(sums), 2)):
        one = _area(sums[c])
        if not np.isnan(one[0]):
            area += one[0]
            bound += one[1]
            count += 1
    if count == 0:
        return np.nan, np.nan
    return area / count, bound / count
