"""Rows of experiences that have ended, and of none that is under way."""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

from retain.core import Memory, Model, Rows, State
from retain.errors import SettingError
from retain.memory.slots import Slots
from retain.memory.stores import PLAIN

__all__ = ["Past"]


@final
class Past:
    """Offers rows to another memory only when their experience ends, each once, however often it was gone through.

    A memory that takes rows as they come holds many of the experience under way: in the second of two classes half of
    what is replayed is not old at all, and half of the budget holds what is at hand anyway. Where the ends of
    experiences are told this is how papers on class-incremental learning fill their memories. Where they are not, it
    stays empty.

    Args:
        memory: what keeps the rows, and by which rule.

    Extra columns that a strategy makes while it steps (the outputs of DER, the losses of `LossAware`) are gone when the
    experience ends: such strategies need a memory that takes rows as they come.

    >>> import torch
    >>> from retain.core import Rows
    >>> from retain.memory import Reservoir
    >>> memory = Past(Reservoir(100))
    >>> rows = Rows(torch.randn(1000, 2), torch.zeros(1000, dtype=torch.int64), torch.ones(1000))
    >>> memory.add(rows)
    >>> before = len(memory)
    >>> memory.consolidate(None, [rows])  # a reservoir does not look at the model
    >>> before, len(memory)
    (0, 100)

    Raises PoisonError for rows that are not like those before, and SettingError for extra columns that the rows of the
    experience do not have, and for a sample of an empty memory.

    Hsu et al. 2018, "Re-evaluating continual learning scenarios", fill theirs so.
    """

    def __init__(self, memory: Memory, /) -> None:
        self._memory = memory
        self._seen = Slots(1, store=PLAIN, at=None)  # nothing is ever written there: it knows what rows look like
        self._names: frozenset[str] = frozenset()  # extra columns of the rows that were added

    @property
    def wants(self) -> frozenset[str]:
        return self._memory.wants

    def __len__(self) -> int:
        return len(self._memory)

    def add(self, rows: Rows, /) -> None:
        room = self._seen.check(rows, wants=self.wants)
        if len(rows):
            self._seen.admit(rows, room=room)
            self._names = frozenset(rows.extra)

    def sample(self, n: int, /) -> Rows:
        return self._memory.sample(n)

    def rows(self) -> Rows:
        return self._memory.rows()

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:
        for rows in experience:
            if gone := sorted(self._names - rows.extra.keys()):
                raise SettingError(
                    f"Past was offered rows with the extra columns {gone}, which rows have no more when their "
                    "experience ends; give this strategy the memory itself"
                )
            self._memory.add(rows)
        self._memory.consolidate(model, experience)

    def state_dict(self) -> State:
        return {
            "memory": self._memory.state_dict(),
            "seen": self._seen.state_dict(),
            "names": sorted(self._names),
        }

    def load_state_dict(self, state: State, /) -> None:
        self._memory.load_state_dict(state["memory"])
        self._seen.load_state_dict(state["seen"])
        self._names = frozenset(state["names"])
