"""The rows of each class whose mean is nearest to the mean of the class, as the model sees them.

Shapes: n rows, d features, m slots, k classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from retain.core import Ints, Model, Rows, State
from retain.errors import SettingError
from retain.memory.balanced import codes
from retain.memory.buffer import Buffer
from retain.memory.slots import Bytes, Slots
from retain.memory.stores import PLAIN, Store
from retain.rows import join, take

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Herding", "herd", "shares"]


def herd(features: Tensor, mean: Tensor, count: int, /) -> Ints:
    """Numbers of `count` different rows of features (n, d), each bringing the mean of those so far nearest to `mean`.

    Row k is argmin_i |mean - (s + f_i) / k|, with s the sum of the rows before: argmin_i |f_i|^2 - 2 f_i (k mean - s).
    """
    import torch

    norms = features.square().sum(1)
    chosen = torch.empty(count, dtype=torch.int64, device=features.device)
    lacking = torch.zeros_like(mean)  # k mean - s
    for k in range(count):
        lacking += mean
        chosen[k] = (norms - 2 * features @ lacking).argmin()
        lacking -= features[chosen[k]]
        norms[chosen[k]] = torch.inf  # chosen once
    return chosen.cpu().numpy()


def shares(m: int, classes: Ints, /) -> dict[int, int]:
    """How many of m rows each class may have: equal shares, what is left over to the lowest codes."""
    base, over = divmod(m, len(classes))
    return {int(code): base + (i < over) for i, code in enumerate(classes)}


@final
class Herding(Buffer):
    """For each class the rows that stand for it best: chosen one by one so that their mean is nearest to that of all.

    When an experience ends, every class seen so far gets an equal share of the budget. Of the classes of the experience
    rows are chosen by `model.features`; of older ones the first chosen stay. Rows of the running experience are *not*
    in it before, so nothing waits outside the budget; during the first experience it is empty.

    Args:
        budget: how many rows it holds (m), or `Bytes`; at least one for each class.
        seed: of its generator, which only `sample` uses.
        store: how inputs are put down: `Plain()`, or a smaller one.
        at: a folder in which the rows lie in files that are mapped into memory, where they are too many for it.

    The features of the whole experience are held while it chooses. Extra columns must be in the experience, too.

    >>> import torch
    >>> from retain.memory.herding import herd
    >>> features = torch.tensor([[0.0, 9.0], [1.0, 0.0], [-1.0, 0.2], [5.0, 5.0]])
    >>> herd(features, features[:3].mean(0), 2)  # the two whose mean is nearest to that of the first three
    array([2, 0])

    Raises PoisonError for rows that are not like those before and for labels that are numbers, and SettingError for
    more classes than rows in the budget and for a sample of an empty memory.

    Rebuffi, Kolesnikov, Sperl and Lampert 2017, "iCaRL: incremental classifier and representation learning". Features
    are brought to length 1 as there; means of them are not, so that what is brought near is the mean itself. There a
    class comes once; one that comes again is chosen anew here, from its new rows and those held, which stand in the
    mean for all that it had before.
    """

    def __init__(self, budget: int | Bytes, /, *, seed: int = 0, store: Store = PLAIN, at: Path | None = None) -> None:
        self._slots = Slots(budget, store=store, at=at)
        self._rng = np.random.default_rng(seed)
        self._class = np.empty(0, dtype=np.int64)  # (count,) of the row in each slot
        self._rank = np.empty(0, dtype=np.int64)  # (count,) when it was chosen within its class, from 0
        self._seen: dict[int, int] = {}  # rows of each class that went by

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:
        room, group, features = self._look(model, experience)
        if not len(group):
            return
        share = shares(room, np.union1d(list(self._seen), group).astype(np.int64))
        old, new = self._choose(model, group, features, share)
        rows = _gather(experience, np.array(sorted(new), dtype=np.int64))
        for code, count in zip(*np.unique(group, return_counts=True), strict=True):
            self._seen[int(code)] = self._seen.get(int(code), 0) + int(count)
        kept = np.array(sorted(old), dtype=np.int64)
        order = sorted(new)
        self._class = np.concatenate([self._class[kept], group[order]])
        self._rank = np.array([*(old[i] for i in kept), *(new[i] for i in order)], dtype=np.int64)
        self._slots.keep(kept)
        if order:
            self._slots.admit(rows, room=room)
            self._slots.write(len(kept) + np.arange(len(order)), rows)

    def _look(self, model: Model, experience: Iterable[Rows]) -> tuple[int, Ints, list[Tensor]]:
        """How many slots there will be, and class (n,) and features of all rows of the experience."""
        room, features = self._slots.room, list[Any]()
        groups: list[Ints] = [np.empty(0, dtype=np.int64)]
        for rows in experience:
            room = self._slots.check(rows)
            self._refuse(rows, room)
            groups.append(codes(rows, reader="Herding"))
            features.append(_unit(model, rows))
        group = np.concatenate(groups)
        _enough(np.union1d(list(self._seen), group), room)
        return room, group, features

    def _choose(
        self, model: Model, group: Ints, features: list[Tensor], share: Mapping[int, int]
    ) -> tuple[dict[int, int], dict[int, int]]:
        """Which slots and which rows of the experience are held from now on, each with its rank."""
        import torch

        fresh = torch.cat(features)
        old = {int(i): int(self._rank[i]) for i in range(len(self)) if self._rank[i] < share[int(self._class[i])]}
        new: dict[int, int] = {}
        for code in np.unique(group):
            rows, slots = np.flatnonzero(group == code), np.flatnonzero(self._class == code)
            of_it = fresh[torch.from_numpy(rows).to(fresh.device)].double()
            total = of_it.sum(0)
            if len(slots):
                held = _unit(model, self._slots.read(slots)).double()
                total += self._seen[int(code)] * held.mean(0)
                of_it = torch.cat([held, of_it])
            mean = total / (self._seen.get(int(code), 0) + len(rows))
            for slot in slots:
                old.pop(int(slot), None)
            for rank, i in enumerate(herd(of_it, mean, min(share[int(code)], len(of_it)))):
                if i < len(slots):
                    old[int(slots[i])] = rank
                else:
                    new[int(rows[i - len(slots)])] = rank
        return old, new

    def _refuse(self, rows: Rows, room: int) -> None:
        _enough(np.union1d(list(self._seen), codes(rows, reader="Herding")), room)

    def _place(self, rows: Rows) -> Ints:
        return np.full(len(rows), -1)  # they are chosen when the experience ends

    def _stay(self, room: int) -> Ints:
        share = shares(room, np.unique(self._class))
        stay = np.flatnonzero(self._rank < np.array([share[int(code)] for code in self._class]))
        self._class, self._rank = self._class[stay], self._rank[stay]
        return stay

    def _rule(self) -> dict[str, Any]:
        seen = {str(code): count for code, count in sorted(self._seen.items())}
        return {"class": self._class.copy(), "rank": self._rank.copy(), "seen": seen}

    def _load_rule(self, rule: State) -> None:
        self._class = np.array(rule["class"], dtype=np.int64)
        self._rank = np.array(rule["rank"], dtype=np.int64)
        self._seen = {int(code): int(count) for code, count in rule["seen"].items()}


def _enough(classes: Ints, room: int) -> None:
    if len(classes) > room:
        raise SettingError(
            f"there are {len(classes)} classes and the budget holds {room} rows; give at least one row for each class, "
            "or take a Reservoir"
        )


def _unit(model: Model, rows: Rows) -> Tensor:
    """Features (n, d) of rows, of length 1 each."""
    import torch

    return torch.nn.functional.normalize(model.features(rows.x).flatten(1), dim=1)


def _gather(experience: Iterable[Rows], index: Ints) -> Rows:
    """The rows of the given numbers, which ascend, out of all blocks of an experience."""
    import torch

    parts: list[Rows] = []
    start = 0
    for rows in experience:
        a, b = np.searchsorted(index, [start, start + len(rows)])
        parts.append(take(rows, torch.from_numpy(index[a:b] - start).to(rows.y.device)))
        start += len(rows)
    return join(parts)
