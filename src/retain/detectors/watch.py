"""What detectors share: values are checked, a compiled loop goes through them, its memory is arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from retain.core import Array, Drift, Floats, State
from retain.errors import PoisonError, SettingError

__all__ = ["DRIFT", "WARNING", "Watch", "between", "positive"]

WARNING, DRIFT = 1, 2  # values of `core.Level`, as constants for kernels


class Watch(ABC):
    """A detector: what it remembers is in arrays, and one compiled loop moves it from row to row."""

    unit: ClassVar[bool] = False
    """Whether values are errors: 0, 1 or something between."""

    def __init__(self) -> None:
        self._memory = self._fresh()

    def update(self, values: Array, /) -> Drift:
        """Take in n values (n,), one after the other.

        Raises PoisonError, and has taken in nothing, for a value that is not finite or not what this detector watches.
        """
        checked = _numbers(values, type(self).__name__, unit=self.unit)
        levels = np.zeros(len(checked), dtype=np.int8)
        if len(checked):
            self._run(checked, levels)
        return Drift(levels)

    def state_dict(self) -> State:
        return {name: column.copy() for name, column in self._memory.items()}

    def load_state_dict(self, state: State, /) -> None:
        self._memory = {name: state[name].copy() for name in self._memory}

    @abstractmethod
    def _fresh(self) -> dict[str, Array]:
        """What is remembered before the first value."""

    @abstractmethod
    def _run(self, values: Floats, levels: npt.NDArray[np.int8]) -> None:
        """Fill in the levels (n,), zeros so far, and move what is remembered."""


def positive(part: str, name: str, value: float, /) -> None:
    """Refuse a setting that is not a finite number above 0."""
    if not 0 < value < float("inf"):
        raise SettingError(f"{part} got {name}={value}; expected a number above 0")


def between(part: str, name: str, value: float, /) -> None:
    """Refuse a setting that is not strictly between 0 and 1."""
    if not 0 < value < 1:
        raise SettingError(f"{part} got {name}={value}; expected a number between 0 and 1")


def _numbers(values: Array, reader: str, *, unit: bool) -> Floats:
    if values.ndim != 1 or values.dtype.kind not in "fiub":
        raise PoisonError(
            f"{reader} got values of type {values.dtype} and shape {values.shape}; expected numbers of shape (n,): "
            "watch one quantity with one detector"
        )
    checked = np.require(values, np.float64, ["C", "W"])
    good = np.isfinite(checked) if not unit else (checked >= 0) & (checked <= 1)
    if not good.all():
        row = int(np.flatnonzero(~good)[0])
        expected = "an error: 0, 1 or between" if unit else "a finite number"
        cure = "watch other quantities with ADWIN, PageHinkley or KSWIN" if unit else "drop the row"
        raise PoisonError(f"{reader} got {checked[row]} in row {row}; expected {expected}: {cure}")
    return checked
