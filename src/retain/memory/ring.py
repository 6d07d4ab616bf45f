"""The last rows that went by.

Shapes: n rows, m slots.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

import numpy as np

from retain.core import Ints, Rows, State
from retain.memory.buffer import Buffer
from retain.memory.slots import Bytes, Slots
from retain.memory.stores import PLAIN, Store

__all__ = ["Ring"]


@final
class Ring(Buffer):
    """The last m rows, a sliding window: what is older is gone. `rows` gives them oldest first.

    Args:
        budget: how many rows it holds (m), or `Bytes`.
        seed: of its generator, which only `sample` uses.
        store: how inputs are put down: `Plain()`, or a smaller one.
        at: a folder in which the rows lie in files that are mapped into memory, where they are too many for it.

    It forgets what a `Reservoir` remembers: for what changes fast, where old rows would teach what is no longer so.

    >>> import torch
    >>> from retain.core import Rows
    >>> memory = Ring(4)
    >>> x = torch.arange(10.0)[:, None]
    >>> memory.add(Rows(x, torch.zeros(10, dtype=torch.int64), torch.ones(10)))
    >>> memory.rows().x[:, 0].tolist()
    [6.0, 7.0, 8.0, 9.0]

    Raises PoisonError for rows that are not like those before, and SettingError for a sample of an empty memory.
    """

    def __init__(self, budget: int | Bytes, /, *, seed: int = 0, store: Store = PLAIN, at: Path | None = None) -> None:
        self._slots = Slots(budget, store=store, at=at)
        self._rng = np.random.default_rng(seed)
        self._next = 0  # slot of the next row

    def _place(self, rows: Rows) -> Ints:
        m = self._slots.room
        if len(self) < m:
            self._next = len(self)
        slots = (self._next + np.arange(len(rows))) % m
        self._next = int(slots[-1] + 1) % m
        return slots

    def _stay(self, room: int) -> Ints:
        newest = self._order()[len(self) - room :]
        self._next = 0
        return newest

    def _order(self) -> Ints:
        return (self._next + np.arange(len(self))) % len(self)

    def _rule(self) -> dict[str, Any]:
        return {"next": self._next}

    def _load_rule(self, rule: State) -> None:
        self._next = int(rule["next"])
