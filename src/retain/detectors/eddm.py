"""EDDM: errors that come closer to each other."""

from __future__ import annotations

import math
from typing import final

import numpy as np
import numpy.typing as npt
from numba import njit

from retain.core import Array, Floats
from retain.detectors.watch import DRIFT, WARNING, Watch, between
from retain.errors import SettingError

__all__ = ["EDDM"]

# memory: 0 number of rows, 1 row of the last error, 2 number of errors, 3 mean distance between them, 4 sum of squared
# deviations of distances, 5 the greatest p + 2 s so far, 6 the level of the last error
_FRESH = (0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0)


@njit(cache=True, nogil=True, error_model="numpy")
def _run(
    values: Array, levels: Array, memory: Array, fresh: Array, least: float, warning: float, drift: float
) -> None:  # pragma: no cover - compiled
    for i in range(len(values)):
        memory[0] += 1.0
        if values[i] != 1.0:
            levels[i] = memory[6]
            continue
        memory[2] += 1.0
        distance = memory[0] - memory[1]
        before = memory[3]
        memory[3] += 1.0 / memory[2] * (distance - before)
        memory[4] += (distance - before) * (distance - memory[3])
        memory[1] = memory[0]
        if memory[0] > least:
            variance = memory[4] / (memory[2] - 1.0) if memory[2] > 1.0 else 0.0
            spread = memory[3] + 2.0 * math.sqrt(variance)
            if spread > memory[5]:
                memory[5] = spread
            elif memory[2] > least:
                if spread / memory[5] < drift:
                    levels[i] = DRIFT
                    memory[:] = fresh
                    continue
                memory[6] = WARNING if spread / memory[5] < warning else 0.0
        levels[i] = memory[6]


@final
class EDDM(Watch):
    """Tells when the distance between two errors has become shorter than it was; made for gradual changes.

    With p the mean distance (in rows) between two errors and s its standard deviation:

        warning where (p + 2 s) / max (p + 2 s) < 0.95,   drift where it is < 0.9

    After a drift it begins anew. It alarms often where errors are frequent: lower both for fewer alarms.

    Args:
        warning, drift: shares of the greatest distance.
        least: no level before more than so many errors.

    Raises:
        SettingError: a setting out of range.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> rate = np.concatenate([np.full(2000, 0.1), np.linspace(0.1, 0.4, 1000)])
    >>> levels = EDDM(warning=0.8, drift=0.7).update(rng.random(3000) < rate).levels
    >>> int((levels == 1).argmax()), int((levels == 2).argmax())
    (2130, 2646)

    References:
        Baena-Garcia et al. 2006, Early drift detection method, Knowledge discovery from data streams.
    """

    unit = True

    def __init__(self, *, warning: float = 0.95, drift: float = 0.9, least: int = 30) -> None:
        between("EDDM", "warning", warning)
        between("EDDM", "drift", drift)
        if not (drift <= warning and least >= 1):
            raise SettingError(
                f"EDDM got warning={warning}, drift={drift}, least={least}; expected drift <= warning, and least >= 1"
            )
        self._settings = float(least), warning, drift
        super().__init__()

    def _fresh(self) -> dict[str, Array]:
        return {"distances": np.array(_FRESH)}

    def _run(self, values: Floats, levels: npt.NDArray[np.int8]) -> None:
        _run(values, levels, self._memory["distances"], np.array(_FRESH), *self._settings)
