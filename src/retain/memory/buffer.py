"""What every memory is: slots, a generator, and a rule that says which row goes to which slot.

Shapes: n rows, m slots.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import numpy as np

from retain.core import Ints, Model, Rows, State
from retain.errors import SettingError
from retain.memory.slots import Slots

__all__ = ["Buffer"]


class Buffer(ABC):
    """A memory made of slots; every memory of this room descends from it.

    To write one, say where rows go (`_place`), what the rule remembers (`_rule` and `_load_rule`) and, where it is not
    just any of them, which rows stay when there is less room (`_stay`).
    """

    _slots: Slots
    _rng: np.random.Generator

    @property
    def wants(self) -> frozenset[str]:
        return frozenset()

    def __len__(self) -> int:
        return len(self._slots)

    def add(self, rows: Rows, /) -> None:
        room = self._slots.check(rows, wants=self.wants)
        self._refuse(rows, room)
        if not len(rows):
            return
        if room < len(self):  # the budget is in bytes, and rows have become wider
            self._slots.keep(self._stay(room))
        self._slots.admit(rows, room=room)
        self._slots.write(self._place(rows), rows)

    def sample(self, n: int, /) -> Rows:
        if n < 1:
            raise SettingError(f"a sample of {n} rows; expected at least 1")
        if n >= len(self):
            return self.rows()
        # Its cost grows with n only; a permutation of all slots takes 13 times as long at 5,000 of them, and so on.
        return self._slots.read(self._rng.choice(len(self), n, replace=False))

    def rows(self) -> Rows:
        if not len(self):
            raise SettingError("the memory is empty; add rows before you sample")
        return self._slots.read(self._order())

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:  # noqa: B027 - most know no experiences
        """Nothing, unless a memory says otherwise."""

    def state_dict(self) -> State:
        return {"generator": self._rng.bit_generator.state, "slots": self._slots.state_dict(), "rule": self._rule()}

    def load_state_dict(self, state: State, /) -> None:
        self._slots.load_state_dict(state["slots"])
        self._rng.bit_generator.state = state["generator"]
        self._load_rule(state["rule"])

    def _refuse(self, rows: Rows, room: int) -> None:  # noqa: B027 - most take what the slots take
        """Raise PoisonError or SettingError for rows that the rule cannot take."""

    @abstractmethod
    def _place(self, rows: Rows) -> Ints:
        """Slots (n,) for rows that come one after the other, -1 where one is not kept; follow them."""

    def _stay(self, room: int) -> Ints:
        """Slots (room,) of the rows that stay where there is no room for all; follow them."""
        return np.sort(self._rng.choice(len(self), room, replace=False))

    def _order(self) -> Ints:
        """All slots that hold a row, in the order in which `rows` gives them."""
        return np.arange(len(self))

    @abstractmethod
    def _rule(self) -> dict[str, Any]:
        """What the rule remembers."""

    @abstractmethod
    def _load_rule(self, rule: State) -> None:
        """What `_rule` gave."""
