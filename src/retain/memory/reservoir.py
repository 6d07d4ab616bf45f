"""A uniform sample of all rows that went by.

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

__all__ = ["Reservoir", "reservoir"]


def reservoir(seen: int, n: int, m: int, rng: np.random.Generator, /) -> Ints:
    """Slots (n,) for the rows number seen ... seen + n - 1 of a stream, -1 where one is not kept (algorithm R).

    Row t < m goes to slot t; later ones draw a whole number below t + 1 and are kept where it is a slot.
    """
    row = np.arange(seen, seen + n)
    late = row[max(m - seen, 0) :]
    # One draw for each row, and none for the first m: how rows are split into calls changes nothing.
    drawn = (rng.random(len(late)) * (late + 1)).astype(np.int64)
    row[n - len(late) :] = np.where(drawn < m, drawn, -1)
    return row


@final
class Reservoir(Buffer):
    """Every row that ever went by is in it with the same probability, m / t after t rows.

    Args:
        budget: how many rows it holds (m), or `Bytes`.
        seed: of its generator.
        store: how inputs are put down: `Plain()`, or a smaller one.
        at: a folder in which the rows lie in files that are mapped into memory, where they are too many for it.

    A class or an experience is in it as often as it was in the stream: what was rare stays rare (see `ClassBalanced`).

    >>> import torch
    >>> from retain.core import Rows
    >>> memory = Reservoir(5)
    >>> for day in range(100):
    ...     x = torch.arange(day * 10.0, day * 10.0 + 10)[:, None]
    ...     memory.add(Rows(x, torch.zeros(10, dtype=torch.int64), torch.ones(10)))
    >>> len(memory), sorted(memory.rows().x[:, 0].int().tolist())
    (5, [...])

    Raises PoisonError for rows that are not like those before, and SettingError for a sample of an empty memory.

    Vitter 1985, "Random sampling with a reservoir", algorithm R.
    """

    def __init__(self, budget: int | Bytes, /, *, seed: int = 0, store: Store = PLAIN, at: Path | None = None) -> None:
        self._slots = Slots(budget, store=store, at=at)
        self._rng = np.random.default_rng(seed)
        self._seen = 0

    def _place(self, rows: Rows) -> Ints:
        slots = reservoir(self._seen, len(rows), self._slots.room, self._rng)
        self._seen += len(rows)
        return slots

    def _rule(self) -> dict[str, Any]:
        return {"seen": self._seen}

    def _load_rule(self, rule: State) -> None:
        self._seen = int(rule["seen"])
