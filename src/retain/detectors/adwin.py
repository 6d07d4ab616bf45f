"""ADWIN: a window that is as long as nothing has changed in it."""

from __future__ import annotations

import math
from typing import final

import numpy as np
import numpy.typing as npt
from numba import njit

from retain.core import Array, Floats
from retain.detectors.watch import DRIFT, Watch, between, positive
from retain.errors import SettingError

__all__ = ["ADWIN", "adwin", "ladders", "rose"]

# Shapes: L ladders of C places; buckets of ladder l hold 2^l values each. A ladder is a ring: its k-th oldest bucket
# is at place (first_L[l] + k) mod C, and C is a power of 2.
# window: 0 number of values, 1 their sum, 2 their sum of squared deviations, 3 values since the last look.
_LADDERS = 62
_CLOCK, _BUCKETS, _LEAST, _GRACE = 32, 5, 5, 10  # as in the paper


@njit(cache=True, nogil=True, error_model="numpy")
def _insert(
    value: float, total_LC: Array, spread_LC: Array, first_L: Array, used_L: Array, most: int
) -> None:  # pragma: no cover - compiled
    """A bucket of one value; where a ladder is too full, its two oldest buckets become one of the next ladder."""
    last = total_LC.shape[1] - 1
    level, half, deviation = 0, 0.5, 0.0
    while True:
        at = (first_L[level] + used_L[level]) & last
        total_LC[level, at], spread_LC[level, at] = value, deviation
        used_L[level] += 1
        if used_L[level] <= most:
            return
        i = first_L[level]
        j = (i + 1) & last
        # With sizes that are powers of 2, (a / s - b / s)^2 s / 2 is (a - b)^2 / 2 s to the last bit.
        gap = total_LC[level, i] - total_LC[level, j]
        value = total_LC[level, i] + total_LC[level, j]
        deviation = spread_LC[level, i] + spread_LC[level, j] + gap * gap * half
        first_L[level] = (i + 2) & last
        used_L[level] -= 2
        level += 1
        half *= 0.5


@njit(cache=True, nogil=True, error_model="numpy")
def _forget(
    total_LC: Array, spread_LC: Array, first_L: Array, used_L: Array, window: Array, top: int
) -> None:  # pragma: no cover - compiled
    """Take the oldest bucket, which is in ladder `top`, out of the window."""
    at = first_L[top]
    n, u, v = float(1 << top), total_LC[top, at], spread_LC[top, at]
    window[0] -= n
    window[1] -= u
    gap = u / n - window[1] / window[0]
    window[2] -= v + n * window[0] * gap * gap / (n + window[0])
    first_L[top] = (at + 1) & (total_LC.shape[1] - 1)
    used_L[top] -= 1


@njit(cache=True, nogil=True, error_model="numpy")
def _differs(
    total_LC: Array, first_L: Array, used_L: Array, window: Array, top: int, least: float, delta: float
) -> bool:  # pragma: no cover - compiled
    """Whether the window can be cut in two whose means differ by more than chance explains."""
    last = total_LC.shape[1] - 1
    confidence = math.log(2.0 * math.log(window[0]) / delta)
    variance = window[2] / window[0]
    # Most cuts are far from the bound. With its smaller term alone, and with n0 and n1 for the shorter lengths in it, a
    # looser bound needs neither root nor division; what passes it, less a margin for rounding, is looked at closely.
    loose = 2.0 * variance * confidence * window[0] * (1.0 - 1e-9)
    n0, u0 = 0.0, 0.0
    n1, u1 = window[0], window[1]
    for level in range(top, -1, -1):
        size = float(1 << level)
        for k in range(used_L[level]):
            u = total_LC[level, (first_L[level] + k) & last]
            n0 += size
            n1 -= size
            u0 += u
            u1 -= u
            if n1 < least:
                return False
            apart = u0 * n1 - u1 * n0
            if n0 < least or apart * apart < loose * n0 * n1:
                continue
            m = 1.0 / (n0 - least + 1.0) + 1.0 / (n1 - least + 1.0)
            bound = math.sqrt(2.0 * m * variance * confidence) + 2.0 / 3.0 * confidence * m
            if abs(u0 / n0 - u1 / n1) > bound:
                return True
    return False


@njit(cache=True, nogil=True, error_model="numpy")
def adwin(
    value: float,
    total_LC: Array,
    spread_LC: Array,
    first_L: Array,
    used_L: Array,
    window: Array,
    delta: float,
    clock: int,
    most: int,
    least: float,
    grace: int,
) -> bool:  # pragma: no cover - compiled
    """Take in a value; whether something has changed, and what came before it is forgotten."""
    if window[0] > 0.0:
        gap = value - window[1] / window[0]
        window[2] += window[0] * gap * gap / (window[0] + 1.0)
    window[0] += 1.0
    window[1] += value
    window[3] += 1.0
    _insert(value, total_LC, spread_LC, first_L, used_L, most)
    if window[3] < clock:
        return False
    window[3] = 0.0
    changed = False
    while window[0] > grace or changed:
        top = len(used_L) - 1
        while used_L[top] == 0:
            top -= 1
        if not _differs(total_LC, first_L, used_L, window, top, least, delta):
            break
        changed = True
        _forget(total_LC, spread_LC, first_L, used_L, window, top)
    return changed


@njit(forceinline=True, cache=True, nogil=True, error_model="numpy")
def rose(
    value: float, total_LC: Array, spread_LC: Array, first_L: Array, used_L: Array, window: Array, delta: float
) -> bool:  # pragma: no cover - compiled
    """Take in a value, with the settings of the paper; whether the mean has become larger."""
    before = window[1] / window[0] if window[0] > 0.0 else 0.0
    changed = adwin(value, total_LC, spread_LC, first_L, used_L, window, delta, _CLOCK, _BUCKETS, float(_LEAST), _GRACE)
    return changed and window[1] / window[0] > before


def ladders(*shape: int, ladders: int = 30, places: int = 8) -> dict[str, Array]:
    """Memory of detectors inside other parts' row loops, for `adwin` and `rose`: arrays of that shape in front.

    30 ladders have room for 2^30 rows, and 8 places for 5 buckets to a ladder.
    """
    return {
        "total": np.zeros((*shape, ladders, places)),
        "spread": np.zeros((*shape, ladders, places)),
        "first": np.zeros((*shape, ladders), dtype=np.int64),
        "used": np.zeros((*shape, ladders), dtype=np.int64),
        "window": np.zeros((*shape, 4)),
    }


@njit(cache=True, nogil=True, error_model="numpy")
def _run(
    values: Array,
    levels: Array,
    total_LC: Array,
    spread_LC: Array,
    first_L: Array,
    used_L: Array,
    window: Array,
    delta: float,
    clock: int,
    most: int,
    least: float,
    grace: int,
    restart: bool,  # noqa: FBT001
) -> None:  # pragma: no cover - compiled
    for i in range(len(values)):
        if adwin(values[i], total_LC, spread_LC, first_L, used_L, window, delta, clock, most, least, grace):
            levels[i] = DRIFT
            if restart:
                used_L[:] = 0
                window[:] = 0.0


@final
class ADWIN(Watch):
    """Keeps a window of the latest values, and shortens it from behind while its two parts have different means.

    The window is cut in two at every bucket's end. Lengths n0 and n1, means m0 and m1, v the variance of the whole
    window of length n, 1/m = 1/n0 + 1/n1, d = ln(2 ln(n) / delta):

        drift where |m0 - m1| > sqrt(2 v d / m) + 2 d / (3 m)

    and the oldest bucket is dropped, until no cut differs. Buckets hold 1, 2, 4, ... values, so that memory and work
    grow with the logarithm of the window. It needs no warning level: what is left is what has not changed.

    Args:
        delta: how probable a false alarm may be, at one look.
        clock: rows between two looks.
        buckets: of each size, at most; more of them look at more cuts.
        least: values in either part, at least. (1/n0 is 1/(n0 - least + 1) in the bound: short parts are trusted less.)
        grace: no look before so many values.
        restart: forget everything at a drift, not only what came before it. River's `ADWIN` does; the paper keeps what
            is left, which is how the mean and the width are known at once after a change.

    Raises:
        SettingError: a setting out of range.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> adwin = ADWIN()
    >>> levels = adwin.update(np.concatenate([rng.normal(0, 1, 1000), rng.normal(1, 1, 500)])).levels
    >>> int((levels == 2).argmax()), adwin.width, round(adwin.mean, 1)
    (1055, 524, 1.0)

    References:
        Bifet, Gavalda 2007, Learning from time-changing data with adaptive windowing, SDM (ADWIN2).
    """

    def __init__(
        self,
        delta: float = 0.002,
        *,
        clock: int = _CLOCK,
        buckets: int = _BUCKETS,
        least: int = _LEAST,
        grace: int = _GRACE,
        restart: bool = False,
    ) -> None:
        between("ADWIN", "delta", delta)
        for name, value in (("clock", clock), ("buckets", buckets), ("least", least)):
            positive("ADWIN", name, value)
        if grace < 0:
            raise SettingError(f"ADWIN got grace={grace}; expected a number >= 0")
        self._settings = (delta, clock, buckets, float(least), grace, restart)
        super().__init__()

    @property
    def width(self) -> int:
        """How many values are in the window."""
        return int(self._memory["window"][0])

    @property
    def mean(self) -> float:
        """Of the values in the window; NaN while there are none."""
        n, total = self._memory["window"][:2]
        return float(total / n) if n else float("nan")

    @property
    def variance(self) -> float:
        """Of the values in the window, divided by their number; NaN while there are none."""
        n, _, spread = self._memory["window"][:3]
        return float(spread / n) if n else float("nan")

    def _fresh(self) -> dict[str, Array]:
        return ladders(ladders=_LADDERS, places=1 << (self._settings[2] + 1).bit_length())

    def _run(self, values: Floats, levels: npt.NDArray[np.int8]) -> None:
        memory = self._memory
        arrays = memory["total"], memory["spread"], memory["first"], memory["used"], memory["window"]
        _run(values, levels, *arrays, *self._settings)
