"""Equal shares of the budget for classes, and for experiences.

Shapes: n rows, m slots, k classes or experiences.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, final

import numpy as np

from retain.core import Ints, Model, Rows, State
from retain.errors import PoisonError, SettingError
from retain.memory.buffer import Buffer
from retain.memory.shares import Shares
from retain.memory.slots import Bytes, Slots
from retain.memory.stores import PLAIN, Store

__all__ = ["ClassBalanced", "ExperienceBalanced", "codes"]


def codes(rows: Rows, /, *, reader: str) -> Ints:
    """The labels of rows as codes of classes (n,). Raises PoisonError where they are numbers."""
    if rows.y.ndim != 1 or rows.y.is_floating_point():
        raise PoisonError(
            f"{reader} got labels of {rows.y.dtype} and shape {tuple(rows.y.shape)}; expected codes of classes: for "
            "numbers take a Reservoir"
        )
    return rows.y.cpu().numpy().astype(np.int64, copy=False)


@final
class ClassBalanced(Buffer):
    """Every class seen so far has an equal share of the budget, and within a class every row is as likely as another.

    With k classes that have each had m / k rows or more, each holds m // k or one more. A class that has not had so
    many holds all its rows, and lends the rest of its share; as new classes arrive, the shares of old ones shrink.

    Args:
        budget: how many rows it holds (m), or `Bytes`; at least one for each class.
        seed: of its generator.
        store: how inputs are put down: `Plain()`, or a smaller one.
        at: a folder in which the rows lie in files that are mapped into memory, where they are too many for it.

    Ties between largest classes are resolved in favour of the higher code, where the paper draws.

    >>> import torch
    >>> from retain.core import Rows
    >>> memory = ClassBalanced(10)
    >>> y = torch.tensor([0] * 900 + [1] * 97 + [2] * 3)
    >>> memory.add(Rows(torch.randn(1000, 2), y, torch.ones(1000)))
    >>> memory.rows().y.bincount().tolist()
    [3, 4, 3]

    Raises PoisonError for rows that are not like those before and for labels that are numbers, and SettingError for
    more classes than rows in the budget and for a sample of an empty memory.

    Chrysakis and Moens 2020, "Online continual learning from imbalanced data".
    """

    def __init__(self, budget: int | Bytes, /, *, seed: int = 0, store: Store = PLAIN, at: Path | None = None) -> None:
        self._slots = Slots(budget, store=store, at=at)
        self._rng = np.random.default_rng(seed)
        self._shares = Shares()

    def _refuse(self, rows: Rows, room: int) -> None:
        classes = self._shares.with_these(codes(rows, reader="ClassBalanced"))
        if classes > room:
            raise SettingError(
                f"there are {classes} classes and the budget holds {room} rows; give at least one row for each class, "
                "or take a Reservoir"
            )

    def _place(self, rows: Rows) -> Ints:
        return self._shares.place(codes(rows, reader="ClassBalanced"), room=self._slots.room, rng=self._rng)

    def _stay(self, room: int) -> Ints:
        return self._shares.stay(room, rng=self._rng)

    def _rule(self) -> dict[str, Any]:
        return self._shares.state_dict()

    def _load_rule(self, rule: State) -> None:
        self._shares.load_state_dict(rule)


@final
class ExperienceBalanced(Buffer):
    """Every experience has an equal share of the budget, and within one every row is as likely as another.

    A new share begins at `consolidate`. The running experience takes from the largest until its share is as large; it
    may be short, and then the others keep the rest. Of more experiences than rows the oldest are given up.

    Args:
        budget: how many rows it holds (m), or `Bytes`.
        seed: of its generator.
        store: how inputs are put down: `Plain()`, or a smaller one.
        at: a folder in which the rows lie in files that are mapped into memory, where they are too many for it.

    >>> import torch
    >>> from retain.core import Rows
    >>> memory = ExperienceBalanced(9)
    >>> for rows in (500, 50, 5):
    ...     x = torch.full((rows, 1), float(rows))
    ...     memory.add(Rows(x, torch.zeros(rows, dtype=torch.int64), torch.ones(rows)))
    ...     memory.consolidate(None, [])  # it does not look at the model
    >>> memory.rows().x.unique(return_counts=True)
    (tensor([  5.,  50., 500.]), tensor([3, 3, 3]))

    Raises PoisonError for rows that are not like those before, and SettingError for a sample of an empty memory.

    The shares are those of Chrysakis and Moens 2020, with experiences in the place of classes.
    """

    def __init__(self, budget: int | Bytes, /, *, seed: int = 0, store: Store = PLAIN, at: Path | None = None) -> None:
        self._slots = Slots(budget, store=store, at=at)
        self._rng = np.random.default_rng(seed)
        self._shares = Shares()
        self._experience = 0  # number of the running one, among those of which there are rows

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:  # noqa: ARG002 - that it ended is enough
        self._experience = self._shares.renumber()

    def _place(self, rows: Rows) -> Ints:
        running = np.full(len(rows), self._experience)
        return self._shares.place(running, room=self._slots.room, rng=self._rng)

    def _stay(self, room: int) -> Ints:
        return self._shares.stay(room, rng=self._rng)

    def _rule(self) -> dict[str, Any]:
        return {"experience": self._experience, "shares": self._shares.state_dict()}

    def _load_rule(self, rule: State) -> None:
        self._experience = int(rule["experience"])
        self._shares.load_state_dict(rule["shares"])
