"""Rows that are easy or of a crowded class give way first.

Shapes: n rows, m slots, k classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, final

import numpy as np

from retain.core import Floats, Forward, Ints, Model, Rows, State
from retain.errors import PoisonError, SettingError
from retain.memory.buffer import Buffer
from retain.memory.slots import Bytes, Slots
from retain.memory.stores import PLAIN, Store

__all__ = ["LossAware", "ease"]

_AT_ONCE = 256  # rows whose losses are computed at once


def ease(loss: Floats, group: Ints, /, *, balance: float) -> Floats:
    """How readily each held row (m,) gives way: (1 - b) (max l - l_i) / (max l - min l) + b n_i / max n.

    n_i is how many rows are of the class of row i. Not all are 0.
    """
    spread = np.ptp(loss)
    low = (loss.max() - loss) / spread if spread > 0 else np.ones_like(loss)
    crowd = np.bincount(group)
    return (1 - balance) * low + balance * (crowd / crowd.max())[group]


@final
class LossAware(Buffer):
    """A reservoir in which the rows give way that the model finds easy, and those of classes of which there are many.

    A new row is kept with probability m / t, as in a `Reservoir`. The row whose place it takes is drawn with a
    probability in proportion to

        (1 - balance) · (max l - l_i) / (max l - min l) + balance · n_i / max n

    with l_i its loss and n_i how many of the rows held are of its class.

    Args:
        budget: how many rows it holds (m), or `Bytes`.
        balance: from 0, where only losses count, to 1, where only classes do.
        seed: of its generator.
        store: how inputs are put down: `Plain()`, or a smaller one.
        at: a folder in which the rows lie in files that are mapped into memory, where they are too many for it.

    Rows bring their loss on arrival in the extra column "loss" (n,). It is computed anew for all rows held when an
    experience ends; in between it ages. (The paper refreshes the losses of replayed rows at every step, which needs
    nothing but the order of magnitude that this gives.) A row that is kept costs time in proportion to m; only
    m · log(t / m) of t rows are. Where labels are numbers there are no classes, and only losses count.

    A wrong label has a high loss for ever: where labels are noisy this keeps the noise, and a `Reservoir` is better.

    >>> import torch
    >>> from retain.core import Rows
    >>> memory = LossAware(20, balance=0.0)
    >>> loss = torch.arange(200.0) % 10
    >>> memory.add(Rows(torch.zeros(200, 1), torch.zeros(200, dtype=torch.int64), torch.ones(200), {"loss": loss}))
    >>> bool(memory.rows().extra["loss"].mean() > loss.mean())
    True

    Raises PoisonError for rows that are not like those before or bring no loss, and SettingError for a sample of an
    empty memory.

    Buzzega, Boschini, Porrello and Calderara 2021, "Rethinking experience replay: a bag of tricks for continual
    learning". There both terms are brought to one scale by their sums; here each lies between 0 and 1.
    """

    def __init__(
        self,
        budget: int | Bytes,
        /,
        *,
        balance: float = 0.5,
        seed: int = 0,
        store: Store = PLAIN,
        at: Path | None = None,
    ) -> None:
        if not 0 <= balance <= 1:
            raise SettingError(f"balance={balance}; expected a number from 0 to 1")
        self._slots = Slots(budget, store=store, at=at)
        self._rng = np.random.default_rng(seed)
        self._balance = balance
        self._seen = 0
        self._loss = np.empty(0)  # (count,) of the row in each slot
        self._class = np.empty(0, dtype=np.int64)  # (count,) of the row in each slot

    @property
    def wants(self) -> frozenset[str]:
        return frozenset(["loss"])

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:  # noqa: ARG002 - what is held counts
        for start in range(0, len(self), _AT_ONCE):
            at = np.arange(start, min(start + _AT_ONCE, len(self)))
            rows = self._slots.read(at)
            loss = model.losses(Forward(rows, model.outputs(rows.x))).detach().double().cpu().numpy()
            self._loss[at] = np.where(np.isfinite(loss), loss, self._loss[at])

    def _refuse(self, rows: Rows, room: int) -> None:  # noqa: ARG002 - of any number of rows
        loss = rows.extra["loss"]
        if loss.ndim != 1 or not loss.is_floating_point():
            raise PoisonError(
                f"the extra column 'loss' is {loss.dtype} of shape {tuple(loss.shape)}; expected one floating-point "
                "number for each row"
            )

    def _place(self, rows: Rows) -> Ints:
        m, n = self._slots.room, len(rows)
        loss = rows.extra["loss"].detach().double().cpu().numpy()
        group = _classes(rows)
        free = min(m - len(self._loss), n)
        self._loss = np.concatenate([self._loss, loss[:free]])
        self._class = np.concatenate([self._class, group[:free]])
        row = self._seen + np.arange(n)
        slots = np.where(np.arange(n) < free, len(self._loss) - free + np.arange(n), -1)
        # Two draws for each row that does not find a slot free: how rows are split into calls changes nothing.
        u = self._rng.random((n - free, 2))
        kept = free + np.flatnonzero(u[:, 0] * (row[free:] + 1) < m)
        for i in kept:
            slots[i] = self._victim(float(u[i - free, 1]))
            self._loss[slots[i]], self._class[slots[i]] = loss[i], group[i]
        self._seen += n
        return slots

    def _victim(self, u: float) -> int:
        """The slot that gives way, drawn by u in [0, 1)."""
        total = np.cumsum(ease(self._loss, self._class, balance=self._balance))
        return int(np.searchsorted(total, u * total[-1], side="right"))

    def _stay(self, room: int) -> Ints:
        stay = np.sort(self._rng.choice(len(self), room, replace=False))
        self._loss, self._class = self._loss[stay], self._class[stay]
        return stay

    def _rule(self) -> dict[str, Any]:
        return {"seen": self._seen, "loss": self._loss.copy(), "class": self._class.copy()}

    def _load_rule(self, rule: State) -> None:
        self._seen = int(rule["seen"])
        self._loss = np.array(rule["loss"])
        self._class = np.array(rule["class"])


def _classes(rows: Rows) -> Ints:
    """Codes of classes (n,), or one for all where labels are numbers."""
    if rows.y.ndim != 1 or rows.y.is_floating_point():
        return np.zeros(len(rows), dtype=np.int64)
    return rows.y.cpu().numpy().astype(np.int64, copy=False)
