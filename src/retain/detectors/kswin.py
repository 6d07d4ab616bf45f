"""KSWIN: the latest values against a sample of those before them, by the Kolmogorov-Smirnov test."""

from __future__ import annotations

import random
from fractions import Fraction
from functools import cache
from math import comb
from typing import final

import numpy as np
import numpy.typing as npt
from numba import njit

from retain.core import Array, Floats
from retain.detectors.watch import DRIFT, Watch, between
from retain.errors import SettingError

__all__ = ["KSWIN"]

# Shapes: w values in the window, r of them the latest, r drawn from the others.
# window (w,) the values, oldest first; used (1,) how many there are; twister (625,) the state of a Mersenne Twister.
_LEAST_DISTANCE = Fraction(1, 10)  # the reference implementation's; binds only where r is above some 740


@njit(cache=True, nogil=True, error_model="numpy")
def _bits(twister: Array, count: int) -> int:  # pragma: no cover - compiled
    """That many random bits, as `random.Random.getrandbits`; Matsumoto, Nishimura 1998."""
    if twister[624] >= 624:
        for i in range(624):
            y = (twister[i] & 0x80000000) | (twister[(i + 1) % 624] & 0x7FFFFFFF)
            twister[i] = twister[(i + 397) % 624] ^ (y >> 1) ^ (0x9908B0DF if y & 1 else 0)
        twister[624] = 0
    y = int(twister[twister[624]])
    twister[624] += 1
    y ^= y >> 11
    y ^= (y << 7) & 0x9D2C5680
    y ^= (y << 15) & 0xEFC60000
    y ^= y >> 18
    return y >> (32 - count)


@njit(cache=True, nogil=True, error_model="numpy")
def _below(twister: Array, n: int) -> int:  # pragma: no cover - compiled
    """A random number below n."""
    count = 0
    while n >> count:
        count += 1
    drawn = _bits(twister, count)
    while drawn >= n:
        drawn = _bits(twister, count)
    return drawn


@njit(cache=True, nogil=True, error_model="numpy")
def _draw(window: Array, twister: Array, pool: Array, out: Array) -> None:  # pragma: no cover - compiled
    """Different places among the older values, drawn as `random.sample` does; their values, in rising order."""
    older, r = len(pool), len(out)
    room, power = 21, 1
    if r > 5:
        while power < 3 * r:
            power *= 4
        room += power
    pool[:] = np.arange(older)
    for i in range(r):
        if older <= room:
            j = _below(twister, older - i)
            place, pool[j] = pool[j], pool[older - i - 1]
        else:
            place = _below(twister, older)
            while pool[place] < 0:
                place = _below(twister, older)
            pool[place] = -1
        out[i] = window[place]
    out.sort()


@njit(cache=True, nogil=True, error_model="numpy")
def _distance(a: Array, b: Array) -> int:  # pragma: no cover - compiled
    """r times the greatest distance between the distributions of two samples of r values in rising order."""
    r = len(a)
    i = j = most = 0
    while i < r and j < r:
        value = min(a[i], b[j])
        while i < r and a[i] == value:
            i += 1
        while j < r and b[j] == value:
            j += 1
        most = max(most, abs(i - j))
    return most


@njit(cache=True, nogil=True, error_model="numpy")
def _run(
    values: Array,
    levels: Array,
    window: Array,
    used: Array,
    twister: Array,
    fresh: Array,
    r: int,
    critical: int,
    restart: bool,  # noqa: FBT001
) -> None:  # pragma: no cover - compiled
    w = len(window)
    pool, drawn = np.empty(w - r, dtype=np.int64), np.empty(r)
    for i in range(len(values)):
        if used[0] == w:
            window[:-1] = window[1:]
            window[-1] = values[i]
        else:
            window[used[0]] = values[i]
            used[0] += 1
        if used[0] < w:
            continue
        _draw(window, twister, pool, drawn)
        if _distance(drawn, np.sort(window[w - r :])) < critical:
            continue
        levels[i] = DRIFT
        if restart:
            used[0] = 0
            twister[:] = fresh
        else:
            window[:r] = window[w - r :].copy()
            used[0] = r


@cache
def _critical(r: int, alpha: float) -> int:
    """The least r times distance of two samples of r values that chance exceeds with a probability of at most alpha.

    P(r D >= h) = 2 sum_(k >= 1) (-1)^(k - 1) C(2r, r - k h) / C(2r, r), exactly (Gnedenko, Korolyuk 1951).
    """
    most = comb(2 * r, r)
    for h in range(1, r + 1):
        ways = 2 * sum((-1) ** (k - 1) * comb(2 * r, r - k * h) for k in range(1, r // h + 1))
        if Fraction(ways, most) <= Fraction(alpha) and Fraction(h, r) > _LEAST_DISTANCE:
            return h
    return r + 1


@final
class KSWIN(Watch):
    """Compares the latest r values of a window with r drawn from the others; sees changes of shape, not of means only.

    At every row the two samples are put to the two-sided Kolmogorov-Smirnov test: drift where a distance between their
    distributions as large as that seen has a probability of at most alpha. The latest values are then all that is left
    of the window. With a test at every row, alpha is not the rate of false alarms: choose it small.

    Args:
        alpha: of one test.
        window: values looked at.
        latest: r, those that may be new.
        seed: of the draws.
        restart: forget the latest values too, and begin the draws anew, as River's `KSWIN` does; the paper keeps them.

    Raises:
        SettingError: a setting out of range.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> watch = KSWIN(0.0001, window=300, latest=100)
    >>> levels = watch.update(np.concatenate([rng.normal(0, 1, 1000), rng.normal(0, 5, 300)])).levels
    >>> int((levels == 2).argmax())
    1077

    References:
        Raab, Heusinger, Schleif 2020, Reactive soft prototype computing for concept drift streams, Neurocomputing 416.
        The exact distribution for small samples is used, not the paper's sqrt(-ln(alpha) / r), its limit.
    """

    def __init__(
        self, alpha: float = 0.005, *, window: int = 100, latest: int = 30, seed: int = 0, restart: bool = False
    ) -> None:
        between("KSWIN", "alpha", alpha)
        if not (latest >= 1 and window >= 2 * latest):
            raise SettingError(
                f"KSWIN got window={window}, latest={latest}; expected a window of at least twice the latest values"
            )
        self._size, self._seed = window, seed
        self._settings = latest, _critical(latest, alpha), restart
        super().__init__()

    def _fresh(self) -> dict[str, Array]:
        return {"window": np.zeros(self._size), "used": np.zeros(1, dtype=np.int64), "twister": self._twister()}

    def _twister(self) -> npt.NDArray[np.int64]:
        return np.array(random.Random(self._seed).getstate()[1], dtype=np.int64)  # noqa: S311 - no secrets here

    def _run(self, values: Floats, levels: npt.NDArray[np.int8]) -> None:
        memory = self._memory
        _run(values, levels, memory["window"], memory["used"], memory["twister"], self._twister(), *self._settings)
