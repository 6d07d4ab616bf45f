"""Any running metric made recent: over the last rows, or with weights that fade.

Shapes: n rows in a block, m rows in the window.
"""

from __future__ import annotations

import math
import sys
from typing import final

import numpy as np

from retain import state as states
from retain.core import State
from retain.errors import PoisonError, SettingError
from retain.metrics.running import Rows, Running

__all__ = ["Fading", "Windowed"]

_FULL = 2.0**256  # weights grow so far before all are scaled back, by a power of two and so exactly


@final
class Fading(Running):
    """A metric in which every row counts `decay` times as much as the one after it.

    Args:
        metric: what to measure, new; it belongs to this one from now on.
        decay: above 0 and at most 1; the last 1 / (1 - decay) rows make up most of the value.

    Instead of shrinking all sums at every row, the weights of new rows grow; the value is the same.

    >>> import numpy as np
    >>> from retain.metrics import MAE
    >>> metric = Fading(MAE(), decay=0.5)
    >>> metric.update(np.array([0.0, 0.0, 0.0]), np.array([9.0, 0.0, 2.0]))
    >>> round(metric.value(), 4)  # (9 / 4 + 0 / 2 + 2) / (1 / 4 + 1 / 2 + 1)
    2.4286

    Gama, Sebastiao and Rodrigues 2013, "On evaluating stream learning algorithms".
    """

    def __init__(self, metric: Running, /, *, decay: float) -> None:
        if not 0 < decay <= 1:
            raise SettingError(f"decay={decay}; expected a number above 0 and at most 1, as 0.999")
        self.name = f"{metric.name}_fading_{decay:g}"
        self.higher_is_better = metric.higher_is_better
        self.form = metric.form
        self._metric = metric
        self._growth = 1.0 / decay
        self._stride = 2 + int(256 / -math.log2(decay)) if decay < 1 else sys.maxsize  # rows in which weights fill up
        self._next = 1.0  # weight of the next row

    def fold(self, rows: Rows, /) -> None:
        n = len(rows.y)
        start = 0
        while start < n:
            grown = np.full(min(n - start, self._stride) + 1, self._growth)
            grown[0] = self._next
            np.multiply.accumulate(grown, out=grown)  # one product after the other: splits change nothing
            count = min(int(np.searchsorted(grown[:-1], _FULL)) + 1, len(grown) - 1)
            part = rows.part(start, start + count)
            self._metric.fold(part._replace(weight=part.weight * grown[:count]))
            self._next = float(grown[count])
            if self._next > _FULL:
                self._next /= _FULL
                self._metric.scale(1.0 / _FULL)
            start += count

    def value(self) -> float:
        return self._metric.value()

    def scale(self, factor: float, /) -> None:
        self._metric.scale(factor)

    def state_dict(self) -> State:
        return {"metric": self._metric.state_dict(), "next": self._next}

    def load_state_dict(self, state: State, /) -> None:
        self._metric.load_state_dict(state["metric"])
        self._next = float(state["next"])


@final
class Windowed(Running):
    """A metric over the last rows only, as if the stream had begun with the first of them.

    Args:
        metric: what to measure, new; it belongs to this one from now on.
        rows: how many labelled rows the window holds, m.

    Keeps the m rows and adds them up again when asked, so the value is exactly that of a new metric fed with them;
    `value` takes time in proportion to m.

    >>> import numpy as np
    >>> from retain.metrics import Accuracy
    >>> metric = Windowed(Accuracy(), rows=2)
    >>> metric.update(np.array([0, 0, 1, 1]), np.array([1, 1, 1, 0]))
    >>> metric.name, metric.value()
    ('accuracy_last_2', 0.5)
    """

    def __init__(self, metric: Running, /, *, rows: int) -> None:
        if rows < 1:
            raise SettingError(f"rows={rows}; expected at least 1")
        self.name = f"{metric.name}_last_{rows}"
        self.higher_is_better = metric.higher_is_better
        self.form = metric.form
        self._metric = metric
        self._fresh = states.copy(metric.state_dict())
        self._most = rows
        self._ring: Rows | None = None  # m rows, of which the oldest is at _count % m once it is full
        self._count = 0
        self._stale = False

    def fold(self, rows: Rows, /) -> None:
        n = len(rows.y)
        if not n:
            return
        ring = self._room(rows)
        part = rows.part(max(n - self._most, 0), n)
        at = (self._count + n - len(part.y) + np.arange(len(part.y))) % self._most
        ring.y[at] = part.y
        ring.said[at, : part.said.shape[1]] = part.said
        ring.said[at, part.said.shape[1] :] = 0.0  # of classes that these rows did not know
        ring.weight[at] = part.weight
        self._count += n
        self._stale = True

    def value(self) -> float:
        if self._stale:
            self._metric.load_state_dict(self._fresh)
            if self._ring is not None:
                self._metric.fold(self._rows(self._ring))
            self._stale = False
        return self._metric.value()

    def scale(self, factor: float, /) -> None:
        if self._ring is not None:
            self._ring.weight[:] *= factor
            self._stale = True

    def state_dict(self) -> State:
        rows = None if self._ring is None else self._rows(self._ring)._asdict()
        return {"count": self._count, "rows": rows}

    def load_state_dict(self, state: State, /) -> None:
        self._count, self._ring, self._stale = 0, None, True
        self._metric.load_state_dict(self._fresh)
        if state["rows"] is not None:
            rows = Rows(**state["rows"])
            self._count = int(state["count"]) - len(rows.y)  # so that they come to lie where they lay
            self.fold(rows)

    def _rows(self, ring: Rows) -> Rows:
        """The rows in the window, oldest first, copied."""
        held = min(self._count, self._most)
        order = (self._count - held + np.arange(held)) % self._most
        return Rows(*(column[order] for column in ring))

    def _room(self, rows: Rows) -> Rows:
        """The ring, made wide enough for the classes known by now."""
        k = rows.said.shape[1]
        if self._ring is None:
            shape = (self._most, *rows.y.shape[1:])
            self._ring = Rows(np.zeros(shape, rows.y.dtype), np.zeros((self._most, k)), np.zeros(self._most))
        elif rows.y.shape[1:] != self._ring.y.shape[1:]:
            raise PoisonError(
                f"{self.name} got targets of {rows.y.shape[1]} outputs; expected {self._ring.y.shape[1]} as before: "
                "give the same outputs, or start a new metric"
            )
        elif k > self._ring.said.shape[1]:
            wider = np.zeros((self._most, k))
            wider[:, : self._ring.said.shape[1]] = self._ring.said
            self._ring = self._ring._replace(said=wider)
        return self._ring
