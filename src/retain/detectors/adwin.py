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

__all__ = ["ADWIN"]

# Shapes: L ladders of at most M + 1 buckets; the buckets of ladder l hold 2^l values each, oldest first.
# window: 0 number of values, 1 their sum, 2 their sum of squared deviations, 3 values since the start.
_LADDERS = 62


@njit(cache=True, nogil=True, error_model="numpy")
def _insert(
    value: float, total_LM: Array, spread_LM: Array, used_L: Array, window: Array, most: int
) -> None:  # pragma: no cover - compiled
    """A bucket of one value; where a ladder is too full, its two oldest buckets become one of the next ladder."""
    if window[0] > 0.0:
        gap = value - window[1] / window[0]
        window[2] += window[0] * gap * gap / (window[0] + 1.0)
    window[0] += 1.0
    window[1] += value
    total_LM[0, used_L[0]], spread_LM[0, used_L[0]] = value, 0.0
    used_L[0] += 1
    level, size = 0, 1.0
    while used_L[level] > most:
        a, b = total_LM[level, 0], total_LM[level, 1]
        gap = a / size - b / size
        k = used_L[level + 1]
        total_LM[level + 1, k] = a + b
        spread_LM[level + 1, k] = spread_LM[level, 0] + spread_LM[level, 1] + size * size * gap * gap / (size + size)
        used_L[level + 1] += 1
        _drop(total_LM, spread_LM, used_L, level, 2)
        level, size = level + 1, 2.0 * size


@njit(cache=True, nogil=True, error_model="numpy")
def _drop(
    total_LM: Array, spread_LM: Array, used_L: Array, level: int, count: int
) -> None:  # pragma: no cover - compiled
    """Forget the oldest buckets of a ladder."""
    for k in range(count, used_L[level]):
        total_LM[level, k - count], spread_LM[level, k - count] = total_LM[level, k], spread_LM[level, k]
    used_L[level] -= count


@njit(cache=True, nogil=True, error_model="numpy")
def _forget(
    total_LM: Array, spread_LM: Array, used_L: Array, window: Array, top: int
) -> None:  # pragma: no cover - compiled
    """Take the oldest bucket, which is in ladder `top`, out of the window."""
    n, u, v = float(1 << top), total_LM[top, 0], spread_LM[top, 0]
    window[0] -= n
    window[1] -= u
    gap = u / n - window[1] / window[0]
    window[2] -= v + n * window[0] * gap * gap / (n + window[0])
    _drop(total_LM, spread_LM, used_L, top, 1)


@njit(cache=True, nogil=True, error_model="numpy")
def _differs(
    total_LM: Array, used_L: Array, window: Array, top: int, least: float, delta: float
) -> bool:  # pragma: no cover - compiled
    """Whether the window can be cut in two whose means differ by more than chance explains."""
    confidence = math.log(2.0 * math.log(window[0]) / delta)
    variance = window[2] / window[0]
    n0, u0 = 0.0, 0.0
    n1, u1 = window[0], window[1]
    for level in range(top, -1, -1):
        size = float(1 << level)
        for k in range(used_L[level]):
            n0 += size
            n1 -= size
            u0 += total_LM[level, k]
            u1 -= total_LM[level, k]
            if n1 < least:
                return False
            if n0 < least:
                continue
            m = 1.0 / (n0 - least + 1.0) + 1.0 / (n1 - least + 1.0)
            bound = math.sqrt(2.0 * m * variance * confidence) + 2.0 / 3.0 * confidence * m
            if abs(u0 / n0 - u1 / n1) > bound:
                return True
    return False


@njit(cache=True, nogil=True, error_model="numpy")
def _run(
    values: Array,
    levels: Array,
    total_LM: Array,
    spread_LM: Array,
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
        _insert(values[i], total_LM, spread_LM, used_L, window, most)
        window[3] += 1.0
        if window[3] % clock != 0.0 or window[0] <= grace:
            continue
        while window[0] > least:
            top = len(used_L) - 1
            while used_L[top] == 0:
                top -= 1
            if not _differs(total_LM, used_L, window, top, least, delta):
                break
            levels[i] = DRIFT
            _forget(total_LM, spread_LM, used_L, window, top)
        if restart and levels[i] == DRIFT:
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
        clock: int = 32,
        buckets: int = 5,
        least: int = 5,
        grace: int = 10,
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
        most = self._settings[2] + 2
        return {
            "total": np.zeros((_LADDERS, most)),
            "spread": np.zeros((_LADDERS, most)),
            "used": np.zeros(_LADDERS, dtype=np.int64),
            "window": np.zeros(4),
        }

    def _run(self, values: Floats, levels: npt.NDArray[np.int8]) -> None:
        memory = self._memory
        arrays = memory["total"], memory["spread"], memory["used"], memory["window"]
        _run(values, levels, *arrays, *self._settings)
