"""Equal shares of the slots for groups of rows, with a uniform sample of its rows in each.

A share that its group cannot fill yet is lent to the others: while there is room everything is kept, and then a row of
a group below its share takes the slot of a row of the largest group. So a slot is never empty, and the largest group
is never more than one row above another that has had enough rows.

Shapes: n rows, m slots, k groups.
"""

from __future__ import annotations

from typing import Any, final

import numpy as np

from retain.core import Floats, Ints, State

__all__ = ["Shares"]

_AHEAD = 256  # rows looked at for the next one that wants more share: bounds the work where many in a block do


def _ranks(groups: Ints) -> Ints:
    """How many rows before each row (n,) are of the same group."""
    order = np.argsort(groups, kind="stable")
    sorted_ = groups[order]
    starts = np.flatnonzero(np.r_[True, sorted_[1:] != sorted_[:-1]])
    ranks = np.empty(len(groups), dtype=np.int64)
    ranks[order] = np.arange(len(groups)) - np.repeat(starts, np.diff(np.r_[starts, len(groups)]))
    return ranks


@final
class Shares:
    """Which group each slot belongs to, and how many rows of each group went by; decides the slots of new rows.

    A group is *full* once one of its rows was refused or gave way; from then on it is a reservoir of the size it has,
    which may shrink and never grows. One that is not full holds all its rows.
    """

    def __init__(self) -> None:
        self._group = np.empty(0, dtype=np.int64)  # (count,) of the row in each slot
        self._held = np.empty(0, dtype=np.int64)  # (k,) rows held of each group
        self._seen = np.empty(0, dtype=np.int64)  # (k,) rows of each group that went by

    @property
    def held(self) -> Ints:
        """(k,) rows held of each group."""
        return self._held.copy()

    def with_these(self, groups: Ints, /) -> int:
        """How many groups there will be with these rows (n,)."""
        known = np.flatnonzero(self._seen)
        return len(np.union1d(known, groups))

    def place(self, groups: Ints, /, *, room: int, rng: np.random.Generator) -> Ints:
        """Slots (n,) for rows of these groups that come one after the other, -1 where one is not kept."""
        self._grow(int(groups.max()) + 1)
        count = len(self._group)
        free = min(room - count, len(groups))
        slots = np.arange(count, count + len(groups))
        if free:
            self._group = np.concatenate([self._group, groups[:free]])
            counts = np.bincount(groups[:free], minlength=len(self._seen))
            self._held += counts
            self._seen += counts
        # One draw for each row that does not find a slot free: how rows are split into calls changes nothing.
        u = rng.random(len(groups) - free)
        i = free
        while i < len(groups):
            stop = self._next_below(groups, i)
            if stop > i:
                slots[i:stop] = self._sampled(groups[i:stop], u[i - free : stop - free])
            if stop < len(groups) and self._is_below()[groups[stop]]:
                slots[stop] = self._taken(int(groups[stop]), float(u[stop - free]))
                stop += 1
            i = stop
        return slots

    def stay(self, room: int, /, *, rng: np.random.Generator) -> Ints:
        """Slots (room,) of the rows that stay where there is less room: the largest groups give way first."""
        gone = np.zeros(len(self._group), dtype=bool)
        for u in rng.random(len(self._group) - room):
            slot = self._victim(float(u))
            gone[slot] = True
            self._held[self._group[slot]] -= 1
            self._group[slot] = -1
        self._group = self._group[~gone]
        return np.flatnonzero(~gone)

    def renumber(self) -> int:
        """Forget the groups of which no row is left and number the others anew, in their order; how many they are."""
        left = np.flatnonzero(self._held)
        self._group = np.searchsorted(left, self._group)
        self._held, self._seen = self._held[left], self._seen[left]
        return len(left)

    def state_dict(self) -> dict[str, Any]:
        return {"group": self._group.copy(), "seen": self._seen.copy()}

    def load_state_dict(self, state: State, /) -> None:
        self._group = np.array(state["group"], dtype=np.int64)
        self._seen = np.array(state["seen"], dtype=np.int64)
        self._held = np.bincount(self._group, minlength=len(self._seen))

    def _grow(self, k: int) -> None:
        more = max(k - len(self._seen), 0)
        self._held = np.pad(self._held, (0, more))
        self._seen = np.pad(self._seen, (0, more))

    def _is_below(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """(k,) groups that may grow: all their rows are held, and others hold more."""
        return (self._held == self._seen) & (self._held < self._held.max())

    def _next_below(self, groups: Ints, i: int) -> int:
        """The next row from row i on whose group may grow, or where to look again."""
        wants = self._is_below()[groups[i : i + _AHEAD]]
        return i + (int(wants.argmax()) if wants.any() else len(wants))

    def _sampled(self, groups: Ints, u: Floats) -> Ints:
        """Slots (n,) for rows of groups that do not grow: each group is a reservoir of its own (algorithm R)."""
        row = self._seen[groups] + _ranks(groups)
        drawn = (u * (row + 1)).astype(np.int64)
        self._seen += np.bincount(groups, minlength=len(self._seen))
        slots = np.full(len(groups), -1)
        kept = np.flatnonzero(drawn < self._held[groups])
        for group in np.unique(groups[kept]):
            of_it = kept[groups[kept] == group]
            slots[of_it] = np.flatnonzero(self._group == group)[drawn[of_it]]
        return slots

    def _taken(self, group: int, u: float) -> int:
        """The slot that a row of a group below its share takes from the largest group."""
        slot = self._victim(u)
        self._held[self._group[slot]] -= 1
        self._group[slot] = group
        self._held[group] += 1
        self._seen[group] += 1
        return slot

    def _victim(self, u: float) -> int:
        """A slot of the largest group, of the first where there are several, drawn by u in [0, 1)."""
        of_it = np.flatnonzero(self._group == self._held.argmax())
        return int(of_it[int(u * len(of_it))])
