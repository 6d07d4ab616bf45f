"""What predictions cost: seconds and bytes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, final

import numpy as np

from retain.core import Array, State
from retain.errors import PoisonError, SettingError

__all__ = ["Latency", "Memory", "resident_bytes", "state_bytes"]

_OCTAVES, _LOWEST, _STEPS = 44, -30, 32  # from a nanosecond to some hours, 32 bins to each doubling


@final
class Latency:
    """Quantiles of durations, in 11 KiB however many there are.

    Durations are counted in bins 1/32 wide relative to the power of two below, so a quantile is within 1.6 % of the
    exact one (between 1 ns and 4 hours; beyond, of those bounds), and never outside of what has been seen.

    >>> import numpy as np
    >>> latency = Latency()
    >>> latency.update(np.linspace(0.001, 0.1, 1000))
    >>> latency.count, round(latency.p50, 3), round(latency.p99, 3)
    (1000, 0.05, 0.099)
    """

    name = "latency"
    higher_is_better = False

    def __init__(self) -> None:
        self._counts = np.zeros(_OCTAVES * _STEPS, dtype=np.int64)
        self._least, self._most = float("inf"), 0.0

    def update(self, seconds: float | Array, /) -> None:
        """Take in one duration or many. Raises PoisonError for one that is negative or not finite."""
        values = np.atleast_1d(np.asarray(seconds, dtype=np.float64))
        bad = ~(np.isfinite(values) & (values >= 0))
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise PoisonError(f"{self.name} got {values[row]} seconds in row {row}; expected a finite number >= 0")
        if not len(values):
            return
        fraction, exponent = np.frexp(values)  # values = fraction * 2^exponent, fraction in [1/2, 1)
        step = (exponent - 1 - _LOWEST) * _STEPS + ((fraction - 0.5) * (2 * _STEPS)).astype(np.int64)
        step = np.where(values > 0, np.clip(step, 0, len(self._counts) - 1), 0)
        self._counts += np.bincount(step, minlength=len(self._counts))
        self._least, self._most = min(self._least, float(values.min())), max(self._most, float(values.max()))

    @property
    def count(self) -> int:
        """How many durations."""
        return int(self._counts.sum())

    @property
    def p50(self) -> float:
        """Half of the durations are at most this, in seconds."""
        return self.quantile(0.5)

    @property
    def p99(self) -> float:
        """99 % of the durations are at most this, in seconds."""
        return self.quantile(0.99)

    def quantile(self, q: float, /) -> float:
        """The duration in seconds that a share q of all does not exceed; NaN while there are none."""
        if not 0 <= q <= 1:
            raise SettingError(f"q={q}; expected a share between 0 and 1, as 0.99")
        total = self.count
        if not total:
            return float("nan")
        step = int(np.searchsorted(np.cumsum(self._counts), max(q * total, 1)))
        octave, inner = divmod(step, _STEPS)
        middle = 2.0 ** (octave + _LOWEST) * (1 + (inner + 0.5) / _STEPS)
        return min(max(middle, self._least), self._most)

    def value(self) -> float:
        """The median."""
        return self.p50

    def state_dict(self) -> State:
        return {"counts": self._counts.copy(), "least": self._least, "most": self._most}

    def load_state_dict(self, state: State, /) -> None:
        self._counts = np.array(state["counts"], dtype=np.int64)
        self._least, self._most = float(state["least"]), float(state["most"])

    def __repr__(self) -> str:
        return f"Latency(count={self.count}, p50={self.p50:.3g} s, p99={self.p99:.3g} s)"


@final
class Memory:
    """How many bytes a part remembers, now and at most so far.

    >>> import numpy as np
    >>> memory = Memory()
    >>> memory.update({"weights": np.zeros(1000)})
    >>> memory.update({"weights": np.zeros(500)})
    >>> memory.value(), memory.peak
    (4007.0, 8007)
    """

    name = "memory"
    higher_is_better = False

    def __init__(self) -> None:
        self._bytes: int | None = None
        self.peak = 0

    def update(self, state: State, /) -> None:
        """Weigh a state."""
        self._bytes = state_bytes(state)
        self.peak = max(self.peak, self._bytes)

    def value(self) -> float:
        """Bytes of the state last weighed."""
        return float("nan") if self._bytes is None else float(self._bytes)

    def state_dict(self) -> State:
        return {"bytes": self._bytes, "peak": self.peak}

    def load_state_dict(self, state: State, /) -> None:
        self._bytes, self.peak = state["bytes"], int(state["peak"])

    def __repr__(self) -> str:
        return f"Memory(bytes={self._bytes}, peak={self.peak})"


def state_bytes(state: Any, /) -> int:
    """Bytes of what a state holds: arrays as they are, strings and keys in UTF-8, numbers 8 each.

    >>> import numpy as np
    >>> state_bytes({"w": np.zeros(4, np.float32), "rows": 7})
    29
    """
    if isinstance(state, np.ndarray):
        return int(cast("Array", state).nbytes)
    if isinstance(state, Mapping):
        items = cast("Mapping[str, Any]", state).items()
        return sum(len(key.encode()) + state_bytes(value) for key, value in items)
    if isinstance(state, (list, tuple)):
        return sum(state_bytes(value) for value in cast("list[Any]", state))
    if isinstance(state, str):
        return len(state.encode())
    return len(state) if isinstance(state, bytes) else 8


def resident_bytes() -> int:
    """Bytes of memory that this process holds now (its resident set); where the system does not say, at most so far.

    >>> resident_bytes() > 1_000_000
    True
    """
    import resource

    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # KiB everywhere else
