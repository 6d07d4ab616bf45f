"""When labels land: the clock, and the order of events within a block.

Shapes: n arrivals in a block, m rows that wait and whose labels land during the block.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from retain.blocks import cut, labelled
from retain.core import Array, Batch, Ints
from retain.errors import PoisonError, SettingError

__all__ = [
    "Arrival",
    "Delay",
    "Events",
    "Silence",
    "Terms",
    "apart",
    "clocks",
    "events",
]

Times = npt.NDArray[np.float64]
_FOREVER = float(np.finfo(np.float64).max)  # a time that never comes, and yet is waited for


@dataclass(frozen=True, slots=True)
class Delay:
    """How long after its row a label arrives: after so many more rows, or after so many seconds of event time.

    >>> Delay(rows=100)
    Delay(rows=100, seconds=None)

    A label that arrives after k rows is learnt just before row i + k + 1 is predicted; k = 0 is no delay.
    """

    rows: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if (self.rows is None) == (self.seconds is None):
            raise SettingError(f"{self} makes no sense; expected either rows= or seconds=")
        length = self.rows if self.rows is not None else self.seconds
        if length is None or not np.isfinite(length) or length < 0:
            raise SettingError(f"{self} makes no sense; expected a finite length >= 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """A row whose label has not been heard after a while is taken for one of a class: fraud nobody reports is none.

    Args:
        after: so long (seconds, on the rows' own clock) a row waits for its label; then it is learnt as `means`.
        means: that class, by its code or its name.
        until: so long after its row a label is still listened to. One that says otherwise is then learnt beside what
            silence taught, with the weight 1 / p, p what the model gave to `means` when the row arrived (at most 10).
            For the log-loss of two classes the slopes of both add up to that of the true label alone.

    Rows are scored once, by what silence says of them. Classes only, and not with `Delay`.

    >>> Silence(after=7 * 86_400, means="no", until=90 * 86_400).until
    7776000

    References:
        Chapelle 2014, Modeling delayed feedback in display advertising, KDD. Ktena et al. 2019, Addressing delayed
        feedback for continuous training with neural networks in CTR prediction, RecSys (there every row is a negative
        at once, and weights make up for it).
    """

    after: float
    means: int | str
    until: float | None = None

    def __post_init__(self) -> None:
        until = self.after if self.until is None else self.until
        if not 0 < self.after <= until < np.inf or (isinstance(self.means, int) and self.means < 0):
            raise SettingError(f"{self} makes no sense; expected 0 < after <= until, and a class as means")

    def code(self, batch: Batch, /) -> int:
        """The code of the class."""
        if batch.y is not None and batch.y.dtype.kind == "f":
            raise SettingError(f"silence means {self.means!r}, and these labels are numbers; expected classes")
        classes = () if batch.schema is None or batch.schema.classes is None else batch.schema.classes
        if isinstance(self.means, int) and (not classes or self.means < len(classes)):
            return self.means
        if not isinstance(self.means, str) or self.means not in classes:
            raise SettingError(
                f"silence means {self.means!r}, which is no class; expected one of {', '.join(classes) or 'none yet'}"
            )
        return classes.index(self.means)


class Arrival(NamedTuple):
    """What is known of n rows when they arrive."""

    time: Times  # when they do, never running backwards
    landing: Times  # when the label lands, or until when it is waited for; infinity: it is lost
    y: Array  # the label; missing where it is not heard in time
    late: Times  # when one is heard that comes after silence has spoken; infinity: none


@dataclass(frozen=True, slots=True)
class Terms:
    """When labels land, after how long they are lost, and from when on rows are scored."""

    delay: Delay | None = None
    expire: float | Silence | None = None
    warm: int = 0

    def __post_init__(self) -> None:
        if self.warm < 0 or (isinstance(self.expire, (int, float)) and not self.expire >= 0):
            raise SettingError(f"warm={self.warm}, expire={self.expire}: expected numbers >= 0")
        if self.silence is not None and self.delay is not None:
            raise SettingError(f"{self.silence} and {self.delay} make no sense together; expected one of them")

    @property
    def silence(self) -> Silence | None:
        """What it means when no label is heard."""
        return self.expire if isinstance(self.expire, Silence) else None

    def late(self, batch: Batch, /) -> bool:
        """Whether labels come later than their rows."""
        brought = batch.label_time is not None or batch.answers is not None
        return brought or self.delay is not None or self.silence is not None

    def arrive(self, batch: Batch, first: int, now: float, /) -> Arrival:
        """What is known of rows, the first of which has that number, after the clock `now`."""
        n = len(batch)
        time, known = clocks(batch, first, now, self.delay)
        y = batch.y if batch.y is not None else np.full(n, np.nan)
        never = np.full(n, np.inf)
        after = self.expire.after if isinstance(self.expire, Silence) else self.expire
        # A label that is heard just when it is given up is in time, and lands before the next row that comes later.
        last = np.full(n, _FOREVER) if after is None else np.nextafter(time + after, np.inf)
        landing = known if after is None else np.where(known > last, np.inf, known)
        if batch.answers is None and self.silence is None:
            return Arrival(time, landing, y, never)
        waits = np.isinf(landing)
        if batch.label_time is not None:
            waits &= ~np.isneginf(batch.label_time)
        y = y.astype(np.float64 if y.dtype.kind == "f" else np.int64)  # a copy, that can hold what is missing
        landing = np.where(waits, last, landing)
        heard = waits & (known <= np.nextafter(time + self.until, np.inf))
        late = never if self.silence is None else np.where(heard, known, np.inf)
        y[waits] = -1 if y.dtype.kind == "i" else np.nan
        return Arrival(time, landing, y, late)

    @property
    def until(self) -> float:
        """So long after its row a label is listened to."""
        if isinstance(self.expire, Silence):
            return self.expire.after if self.expire.until is None else self.expire.until
        return np.inf if self.expire is None else self.expire


def clocks(batch: Batch, first: int, now: float, delay: Delay | None) -> tuple[Times, Times]:
    """When each of the n rows arrives, never running backwards, and when its label lands; infinity for never.

    Args:
        batch: rows that arrive.
        first: the number of the first of them in the whole stream.
        now: the clock after the row before it.
        delay: overrides the batch's own `label_time`.
    """
    n = len(batch)
    if delay is not None and batch.answers is not None:
        raise SettingError(f"labels come apart from their rows, each at its own time; leave out {delay}")
    if delay is not None and delay.rows is not None:
        arrival = np.arange(first, first + n, dtype=np.float64)
        landing = arrival + (delay.rows + 0.5)  # between two rows, so that no tie needs a rule
    else:
        if batch.time is None:
            raise SettingError(
                "labels are delayed in time, but the rows have no time; name the time column, or delay by rows"
            )
        time = batch.time.astype(np.float64)
        if not np.isfinite(time).all():
            row = int(np.flatnonzero(~np.isfinite(time))[0])
            raise PoisonError(
                f"row {first + row} arrives at time {time[row]}; expected a time for every row: drop the row"
            )
        arrival = np.maximum.accumulate(np.concatenate([[now], time]))[1:]
        if delay is not None and delay.seconds is not None:
            landing = time + delay.seconds
        elif batch.label_time is not None:
            landing = batch.label_time.astype(np.float64)
        elif batch.answers is not None:
            landing = np.full(n, np.inf)
        else:
            raise SettingError("labels are delayed, but the rows have no label_time; name its column, or give a Delay")
    known = labelled(batch.y, n) & ~np.isnan(landing)
    return arrival, np.where(known, landing, np.inf)


class Events(NamedTuple):
    """What happens during a block, in order (see `retain.compose.Chain.flow`)."""

    order: Ints  # (n + landed,): i for an arrival, ~j for the landing of row j of (due rows, then arrivals)
    landed: Ints  # (landed,): those j, in the order in which they land
    waits: Ints  # arrivals whose labels are still to come


def events(arrival: Times, landing: Times, due_landing: Times, due_row: Ints, first: int) -> Events:
    """Merge arrivals and landings into one order that does not depend on where the stream is cut into blocks.

    A label lands before the first arrival at or after its time, and never before its own row has been predicted; labels
    that land between the same two rows do so by time, then by row.
    """
    n, m = len(arrival), len(due_landing)
    time = np.concatenate([due_landing, landing])
    row = np.concatenate([due_row, np.arange(first, first + n)])
    earliest = np.concatenate([np.zeros(m, dtype=np.int64), np.arange(1, n + 1)])
    before = np.maximum(np.searchsorted(arrival, time, side="left"), earliest)
    pool = np.flatnonzero(before < n)
    pool = pool[np.lexsort((row[pool], time[pool], before[pool]))]
    before = before[pool]
    order = np.empty(n + len(pool), dtype=np.int64)
    order[before + np.arange(len(pool))] = ~pool
    order[np.arange(n) + np.searchsorted(before, np.arange(n), side="right")] = np.arange(n)
    waits = np.ones(n, dtype=bool)
    waits[pool[pool >= m] - m] = False
    return Events(order, pool, np.flatnonzero(waits & np.isfinite(landing)))


def apart(batch: Batch, after: float, clock: float) -> list[Batch]:
    """The rows in parts in which none has waited for so long."""
    if batch.time is None or not len(batch) or not np.isfinite(batch.time).all():  # what is wrong is told elsewhere
        return [batch]
    time = np.maximum.accumulate(np.maximum(batch.time, clock))
    bounds = [0]
    while (stop := max(int(np.searchsorted(time, time[bounds[-1]] + after)), bounds[-1] + 1)) < len(time):
        bounds.append(stop)
    parts: list[Batch] = []
    given = 0
    for start, stop in pairwise([*bounds, len(batch)]):
        part, given = cut(batch, start, stop, given)
        parts.append(part)
    return parts
