"""The Page-Hinkley test: how far a cumulated deviation has come from its extreme."""

from __future__ import annotations

from enum import Enum
from typing import final

import numpy as np
import numpy.typing as npt
from numba import njit

from retain.core import Array, Floats
from retain.detectors.watch import DRIFT, Watch, positive
from retain.errors import SettingError

__all__ = ["Direction", "PageHinkley"]

# memory: 0 number of values, 1 their mean, 2 cumulated rise, 3 cumulated fall, 4 least rise, 5 greatest fall
_FRESH = (0.0, 0.0, 0.0, 0.0, np.inf, -1.0)


class Direction(Enum):
    """Which changes of a mean count."""

    UP = "up"
    DOWN = "down"
    BOTH = "both"


@njit(cache=True, nogil=True, error_model="numpy")
def _run(
    values: Array,
    levels: Array,
    memory: Array,
    fresh: Array,
    least: float,
    slack: float,
    threshold: float,
    decay: float,
    up: bool,  # noqa: FBT001
    down: bool,  # noqa: FBT001
) -> None:  # pragma: no cover - compiled
    for i in range(len(values)):
        memory[0] += 1.0
        memory[1] += 1.0 / memory[0] * (values[i] - memory[1])
        gap = values[i] - memory[1]
        memory[2] = decay * memory[2] + gap - slack
        memory[3] = decay * memory[3] + gap + slack
        memory[4] = min(memory[4], memory[2])
        memory[5] = max(memory[5], memory[3])
        if memory[0] < least:
            continue
        if (up and memory[2] - memory[4] > threshold) or (down and memory[5] - memory[3] > threshold):
            levels[i] = DRIFT
            memory[:] = fresh


@final
class PageHinkley(Watch):
    """Adds up how far values lie above their running mean, and tells when the sum has risen far above its lowest.

        m_t = alpha m_(t-1) + x_t - mean_t - delta,   drift where  m_t - min m > threshold

    and the same downwards. After a drift it begins anew. `threshold` and `delta` are in units of the values: for errors
    of 0 and 1 the default threshold means fifty more errors than there should have been.

    Args:
        threshold: how far the sum may come.
        delta: changes of the mean smaller than this do not count.
        alpha: what is kept of the sum from one value to the next, in (0, 1].
        least: no drift before so many values.
        direction: which changes count.

    Raises:
        SettingError: a setting out of range.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> watch = PageHinkley(threshold=20)
    >>> levels = watch.update(np.concatenate([rng.random(1000) < 0.1, rng.random(500) < 0.4]).astype(float)).levels
    >>> int((levels == 2).argmax())
    1043

    References:
        Page 1954, Continuous inspection schemes, Biometrika 41; Gama, Sebastiao, Rodrigues 2013, Machine Learning 90
        (with the forgetting factor).
    """

    def __init__(
        self,
        threshold: float = 50.0,
        *,
        delta: float = 0.005,
        alpha: float = 1 - 0.0001,
        least: int = 30,
        direction: Direction = Direction.BOTH,
    ) -> None:
        positive("PageHinkley", "threshold", threshold)
        if not (0 <= delta < float("inf") and 0 < alpha <= 1 and least >= 1):
            raise SettingError(
                f"PageHinkley got delta={delta}, alpha={alpha}, least={least}; expected >= 0, in (0, 1], and >= 1"
            )
        up, down = direction is not Direction.DOWN, direction is not Direction.UP
        self._settings = float(least), delta, threshold, alpha, up, down
        super().__init__()

    def _fresh(self) -> dict[str, Array]:
        return {"sums": np.array(_FRESH)}

    def _run(self, values: Floats, levels: npt.NDArray[np.int8]) -> None:
        _run(values, levels, self._memory["sums"], np.array(_FRESH), *self._settings)
