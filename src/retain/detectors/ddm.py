"""DDM: an error rate that rises above the lowest it has been."""

from __future__ import annotations

import math
from typing import final

import numpy as np
import numpy.typing as npt
from numba import njit

from retain.core import Array, Floats
from retain.detectors.watch import DRIFT, WARNING, Watch, positive
from retain.errors import SettingError

__all__ = ["DDM"]

# memory: 0 number of values n, 1 error rate p, 2 and 3 p and s where p + s was lowest
_FRESH = (0.0, 0.0, np.inf, np.inf)


@njit(cache=True, nogil=True, error_model="numpy")
def _run(
    values: Array, levels: Array, memory: Array, fresh: Array, least: float, warning: float, drift: float
) -> None:  # pragma: no cover - compiled
    for i in range(len(values)):
        memory[0] += 1.0
        memory[1] += 1.0 / memory[0] * (values[i] - memory[1])
        if memory[0] <= least:
            continue
        p = memory[1]
        s = math.sqrt(p * (1.0 - p) / memory[0])
        if p + s <= memory[2] + memory[3]:
            memory[2], memory[3] = p, s
        if p + s > memory[2] + drift * memory[3]:
            levels[i] = DRIFT
            memory[:] = fresh
        elif p + s > memory[2] + warning * memory[3]:
            levels[i] = WARNING


@final
class DDM(Watch):
    """Tells when an error rate has risen too far above the lowest it has been; made for abrupt changes.

    With p the error rate over n rows and s = sqrt(p (1 - p) / n), taken where p + s was lowest as p0 and s0:

        warning where p + s > p0 + 2 s0,   drift where p + s > p0 + 3 s0

    After a drift it begins anew. The longer nothing has changed, the longer a change needs to be seen.

    Args:
        warning, drift: how many deviations above.
        least: no level before more than so many rows.

    Raises:
        SettingError: a setting out of range.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> levels = DDM().update(np.concatenate([rng.random(1000) < 0.1, rng.random(500) < 0.4])).levels
    >>> int((levels == 1).argmax()), int((levels == 2).argmax())
    (117, 1041)

    References:
        Gama, Medas, Castillo, Rodrigues 2004, Learning with drift detection, SBIA.
    """

    unit = True

    def __init__(self, *, warning: float = 2.0, drift: float = 3.0, least: int = 30) -> None:
        positive("DDM", "warning", warning)
        if not (warning <= drift and least >= 1):
            raise SettingError(
                f"DDM got warning={warning}, drift={drift}, least={least}; expected warning <= drift, and least >= 1"
            )
        self._settings = float(least), warning, drift
        super().__init__()

    def _fresh(self) -> dict[str, Array]:
        return {"rates": np.array(_FRESH)}

    def _run(self, values: Floats, levels: npt.NDArray[np.int8]) -> None:
        _run(values, levels, self._memory["rates"], np.array(_FRESH), *self._settings)
