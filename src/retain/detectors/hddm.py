"""HDDM: bounds on how far means of bounded values stray by chance, for plain and for fading means."""

from __future__ import annotations

import math
from typing import final

import numpy as np
import numpy.typing as npt
from numba import njit

from retain.core import Array, Floats
from retain.detectors.watch import DRIFT, WARNING, Watch, between
from retain.errors import SettingError

__all__ = ["HDDMA", "HDDMW"]


@njit(cache=True, nogil=True, error_model="numpy")
def _level(
    rises: bool,  # noqa: FBT001
    rises_somewhat: bool,  # noqa: FBT001
    falls: bool,  # noqa: FBT001
    falls_somewhat: bool,  # noqa: FBT001
) -> int:  # pragma: no cover - compiled
    if rises or falls:
        return DRIFT
    return WARNING if rises_somewhat or falls_somewhat else 0


# --- plain means ------------------------------------------------------------------------------------------------------
# memory: number of values and mean, of all (0, 1), of the first part for rises (2, 3) and for falls (4, 5)


@njit(cache=True, nogil=True, error_model="numpy")
def _hoeffding(n: float, confidence: float) -> float:  # pragma: no cover - compiled
    return math.sqrt(1.0 / (2.0 * n) * math.log(1.0 / confidence))


@njit(cache=True, nogil=True, error_model="numpy")
def _apart(part: float, whole: float, gap: float, confidence: float) -> bool:  # pragma: no cover - compiled
    """Whether a mean of `whole` values lies further than chance explains from that of its first `part`."""
    if part == whole:
        return False
    m = (whole - part) / part * (1.0 / whole)
    return gap >= math.sqrt(m / 2.0 * math.log(2.0 / confidence))


@njit(cache=True, nogil=True, error_model="numpy")
def _run_a(
    values: Array,
    levels: Array,
    memory: Array,
    drift: float,
    warning: float,
    falls: bool,  # noqa: FBT001
) -> None:  # pragma: no cover - compiled
    for i in range(len(values)):
        memory[0] += 1.0
        memory[1] += 1.0 / memory[0] * (values[i] - memory[1])
        n, mean = memory[0], memory[1]
        own = _hoeffding(n, drift)
        if memory[2] == 0.0 or memory[3] + _hoeffding(memory[2], drift) >= mean + own:
            memory[2], memory[3] = n, mean
        if memory[4] == 0.0 or memory[5] - _hoeffding(memory[4], drift) <= mean - own:
            memory[4], memory[5] = n, mean
        levels[i] = _level(
            _apart(memory[2], n, mean - memory[3], drift),
            _apart(memory[2], n, mean - memory[3], warning),
            falls and _apart(memory[4], n, memory[5] - mean, drift),
            falls and _apart(memory[4], n, memory[5] - mean, warning),
        )
        if levels[i] == DRIFT:
            memory[:] = 0.0


@final
class HDDMA(Watch):
    """Compares the mean error of all rows with that of their first part, by Hoeffding's bound; for abrupt changes.

    The first part, of n0 rows with mean m0, ends where m0 + sqrt(ln(1 / drift) / (2 n0)) was lowest. Of n rows with
    mean m:

        drift where m - m0 >= sqrt((n - n0) / (2 n0 n) ln(2 / drift)),   warning with `warning` in its place

    After a drift it begins anew. No distribution of errors is assumed.

    Args:
        drift, warning: how probable a false alarm may be.
        falls: whether a mean that falls is a change too.

    Raises:
        SettingError: a setting out of range.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> levels = HDDMA().update(np.concatenate([rng.random(1000) < 0.1, rng.random(500) < 0.4])).levels
    >>> int((levels == 1).argmax()), int((levels == 2).argmax())
    (1014, 1017)

    References:
        Frias-Blanco et al. 2015, Online and non-parametric drift detection methods based on Hoeffding's bounds, IEEE
        Transactions on Knowledge and Data Engineering 27 (the A-test).
    """

    unit = True

    def __init__(self, *, drift: float = 0.001, warning: float = 0.005, falls: bool = False) -> None:
        _check("HDDMA", drift, warning)
        self._settings = drift, warning, falls
        super().__init__()

    def _fresh(self) -> dict[str, Array]:
        return {"means": np.zeros(6)}

    def _run(self, values: Floats, levels: npt.NDArray[np.int8]) -> None:
        _run_a(values, levels, self._memory["means"], *self._settings)


# --- fading means -----------------------------------------------------------------------------------------------------
# memory (5, 3): a row of fading mean, sum of squared weights, whether there is any, for: all values; values before and
# after the cut for rises; before and after the cut for falls. cuts (2,): the lowest upper and highest lower bound.

_NO_CUTS = (np.inf, -np.inf)
_NOTHING = (0.0, 1.0, 0.0)


@njit(cache=True, nogil=True, error_model="numpy")
def _fade(part: Array, value: float, share: float) -> None:  # pragma: no cover - compiled
    part[0] = part[0] + share * (value - part[0]) if part[2] else value
    part[1] = share * share + (1.0 - share) * (1.0 - share) * part[1]
    part[2] = 1.0


@njit(cache=True, nogil=True, error_model="numpy")
def _mcdiarmid(squares: float, confidence: float) -> float:  # pragma: no cover - compiled
    return math.sqrt(squares * math.log(1.0 / confidence) / 2.0)


@njit(cache=True, nogil=True, error_model="numpy")
def _above(low: Array, high: Array, confidence: float) -> bool:  # pragma: no cover - compiled
    if low[2] == 0.0 or high[2] == 0.0:
        return False
    return high[0] - low[0] > _mcdiarmid(low[1] + high[1], confidence)


@njit(cache=True, nogil=True, error_model="numpy")
def _run_w(
    values: Array,
    levels: Array,
    memory: Array,
    cuts: Array,
    nothing: Array,
    drift: float,
    warning: float,
    share: float,
    falls: bool,  # noqa: FBT001
) -> None:  # pragma: no cover - compiled
    every = memory[0]
    for i in range(len(values)):
        _fade(every, values[i], share)
        own = _mcdiarmid(every[1], drift)
        if every[0] + own < cuts[0]:
            cuts[0] = every[0] + own
            memory[1], memory[2] = every, nothing
        else:
            _fade(memory[2], values[i], share)
        if every[0] - own > cuts[1]:
            cuts[1] = every[0] - own
            memory[3], memory[4] = every, nothing
        else:
            _fade(memory[4], values[i], share)
        levels[i] = _level(
            _above(memory[1], memory[2], drift),
            _above(memory[1], memory[2], warning),
            falls and _above(memory[4], memory[3], drift),
            falls and _above(memory[4], memory[3], warning),
        )
        if levels[i] == DRIFT:
            for r in range(5):
                memory[r] = nothing
            cuts[0], cuts[1] = np.inf, -np.inf


@final
class HDDMW(Watch):
    """Compares fading means of the errors before and after a cut, by McDiarmid's bound; for gradual changes.

    A fading mean is e <- (1 - share) e + share x, with v <- share^2 + (1 - share)^2 v. The cut is where
    e + sqrt(v ln(1 / drift) / 2) was lowest. With e0, v0 before and e1, v1 after it:

        drift where e1 - e0 > sqrt((v0 + v1) ln(1 / drift) / 2),   warning with `warning` in its place

    After a drift it begins anew.

    Args:
        drift, warning: how probable a false alarm may be.
        share: of the latest value in a fading mean, in (0, 1); small for slow changes.
        falls: whether a mean that falls is a change too.

    Raises:
        SettingError: a setting out of range.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> rate = np.concatenate([np.full(2000, 0.1), np.linspace(0.1, 0.6, 1000)])
    >>> levels = HDDMW().update(rng.random(3000) < rate).levels
    >>> int((levels == 1).argmax()), int((levels == 2).argmax())
    (2345, 2509)

    References:
        Frias-Blanco et al. 2015 (the W-test), as for `HDDMA`.
    """

    unit = True

    def __init__(
        self, *, drift: float = 0.001, warning: float = 0.005, share: float = 0.05, falls: bool = False
    ) -> None:
        _check("HDDMW", drift, warning)
        between("HDDMW", "share", share)
        self._settings = drift, warning, share, falls
        super().__init__()

    def _fresh(self) -> dict[str, Array]:
        return {"means": np.tile(_NOTHING, (5, 1)), "cuts": np.array(_NO_CUTS)}

    def _run(self, values: Floats, levels: npt.NDArray[np.int8]) -> None:
        _run_w(values, levels, self._memory["means"], self._memory["cuts"], np.array(_NOTHING), *self._settings)


def _check(part: str, drift: float, warning: float) -> None:
    between(part, "drift", drift)
    between(part, "warning", warning)
    if drift > warning:
        raise SettingError(f"{part} got drift={drift}, warning={warning}; expected drift <= warning: a rarer alarm")
