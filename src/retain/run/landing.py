"""When labels land: the clock, the order of events within a block, and the rows that wait.

Shapes: n arrivals in a block, m rows that wait and whose labels land during the block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, final

import numpy as np
import numpy.typing as npt

from retain.blocks import labelled, take_answers
from retain.compose import Kept
from retain.core import Answers, Array, Batch, Ints, State
from retain.errors import PoisonError, SettingError

__all__ = ["Delay", "Events", "Pending", "Terms", "Waiting", "clocks", "events", "nothing", "pad", "timely"]

Times = npt.NDArray[np.float64]
_SMALL = 256  # rows; smaller chunks are made one, since looking into each costs the same
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


@dataclass(frozen=True, slots=True)
class Terms:
    """When labels land, after how long they are lost, and from when on rows are scored."""

    delay: Delay | None = None
    expire: float | None = None
    warm: int = 0

    def __post_init__(self) -> None:
        if self.warm < 0 or (self.expire is not None and not self.expire >= 0):
            raise SettingError(f"warm={self.warm}, expire={self.expire}: expected numbers >= 0")

    def late(self, batch: Batch, /) -> bool:
        """Whether labels come later than their rows."""
        return self.delay is not None or batch.label_time is not None or batch.answers is not None

    def clocks(self, batch: Batch, first: int, now: float, /) -> tuple[Times, Times]:
        """As `clocks`; infinity also for labels that come too late.

        Where labels come apart, those that have not been heard: until when they are waited for.
        """
        arrival, landing = clocks(batch, first, now, self.delay)
        if self.expire is not None:
            landing = np.where(landing - arrival > self.expire, np.inf, landing)
        if batch.answers is not None:
            waits = ~labelled(batch.y, len(batch))
            if batch.label_time is not None:
                waits &= ~np.isnan(batch.label_time)
            landing = np.where(waits, _FOREVER if self.expire is None else arrival + self.expire, landing)
        return arrival, landing


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


def timely(answers: Answers, id: Array, arrival: Times) -> Answers:  # noqa: A002 - the field's name
    """The labels but those that were heard before their row arrived, among these rows."""
    if not len(id):
        return answers
    order = np.argsort(id, kind="stable")
    row = order[np.minimum(np.searchsorted(id[order], answers.id), len(id) - 1)]
    return take_answers(answers, (id[row] != answers.id) | (arrival[row] <= answers.time))


@dataclass(slots=True)
class Waiting:
    """Rows in the order in which their labels will land, or be given up where they have not been heard."""

    kept: Kept
    landing: Times
    row: Ints  # number in the stream
    id: Array
    y: Array
    prediction: dict[str, Array]  # of the learner and of each baseline

    def take(self, rows: slice | Ints) -> Waiting:
        """The given rows."""
        said = {name: value[rows] for name, value in self.prediction.items()}
        return Waiting(self.kept.take(rows), self.landing[rows], self.row[rows], self.id[rows], self.y[rows], said)

    def hear(self, answers: Answers) -> tuple[Waiting, Ints]:
        """The same rows with the labels that were heard in time, and which of these have found their row.

        A label lands before the first row that arrives after it was heard.
        """
        if not len(answers):
            return self, np.empty(0, dtype=np.int64)
        order = np.argsort(answers.id, kind="stable")  # of two for one row the first counts
        place = np.searchsorted(answers.id[order], self.id)
        found = order[np.minimum(place, len(order) - 1)]
        time = answers.time[found]
        fits = (answers.id[found] == self.id) & ~labelled(self.y, len(self)) & (time <= self.landing)
        rows, found = np.flatnonzero(fits), found[fits]
        y, landing = self.y.copy(), self.landing.copy()
        y[rows], landing[rows] = answers.y[found], np.nextafter(time[rows], np.inf)
        return replace(self, y=y, landing=landing), found

    def __len__(self) -> int:
        return len(self.landing)


@final
class Pending:
    """Rows whose labels are still to come, in chunks as they arrived: work per block grows with chunks, not rows."""

    def __init__(self) -> None:
        self._chunks: list[Waiting] = []

    def __len__(self) -> int:
        return sum(map(len, self._chunks))

    def add(self, rows: Waiting) -> None:
        """Remember rows of one block."""
        if not len(rows):
            return
        self._chunks.append(rows.take(np.lexsort((rows.row, rows.landing))))
        while len(self._chunks) > 1 and max(len(chunk) for chunk in self._chunks[-2:]) < _SMALL:
            both = _join(self._chunks[-2:])
            self._chunks[-2:] = [both.take(np.lexsort((both.row, both.landing)))]

    def hear(self, answers: Answers) -> tuple[Pending, Ints]:
        """The same rows with the labels that were heard, and which of these have found one."""
        result, found = Pending(), list[Ints]()
        for chunk in self._chunks:
            heard, places = chunk.hear(answers)
            result._chunks.append(heard.take(np.lexsort((heard.row, heard.landing))) if len(places) else chunk)
            found.append(places)
        return result, np.concatenate([np.empty(0, dtype=np.int64), *found])

    def due(self, until: float) -> Waiting | None:
        """The rows whose labels land at or before `until`; None where there are none. They wait until `drop`."""
        out = [chunk.take(slice(0, stop)) for chunk in self._chunks if (stop := _due(chunk, until))]
        return _join(out) if out else None

    def drop(self, until: float) -> None:
        """Forget the rows whose labels landed at or before `until`."""
        left: list[Waiting] = []
        for chunk in self._chunks:
            stop = _due(chunk, until)
            if stop < len(chunk):
                # Half-landed chunks are copied, so that a slice does not keep the whole block in memory.
                left.append(chunk.take(np.arange(stop, len(chunk))) if stop else chunk)
        self._chunks = left

    def bare(self) -> Pending:
        """The same rows, with nothing kept for a learner."""
        result = Pending()
        result._chunks = [replace(chunk, kept=nothing(len(chunk))) for chunk in self._chunks]
        return result

    def rows(self) -> Ints:
        """Numbers of the rows that wait."""
        return np.concatenate([np.empty(0, dtype=np.int64), *(chunk.row for chunk in self._chunks)])

    def state_dict(self) -> State:
        return {str(i): _chunk_state(chunk) for i, chunk in enumerate(self._chunks)}

    def load_state_dict(self, state: State) -> None:
        self._chunks = [_chunk(state[str(i)]) for i in range(len(state))]


def nothing(n: int, /) -> Kept:
    """What is kept of n rows for a learner that does not want to see them again."""
    return Kept((Batch(np.empty((n, 0), dtype=np.float32)),))


def pad(predictions: Sequence[Array]) -> Array:
    """Predictions one after the other; where classes arrived on the way, narrower ones hold 0 for them."""
    if predictions[0].ndim == 1:
        return np.concatenate(predictions)
    k = max(part.shape[1] for part in predictions)
    return np.concatenate([np.pad(part, ((0, 0), (0, k - part.shape[1]))) for part in predictions])


def _join(parts: Sequence[Waiting]) -> Waiting:
    """Waiting rows of several chunks, one after the other."""
    if len(parts) == 1:
        return parts[0]
    return Waiting(
        Kept.join([part.kept for part in parts]),
        np.concatenate([part.landing for part in parts]),
        np.concatenate([part.row for part in parts]),
        np.concatenate([part.id for part in parts]),
        np.concatenate([part.y for part in parts]),
        {name: pad([part.prediction[name] for part in parts]) for name in parts[0].prediction},
    )


def _due(chunk: Waiting, until: float) -> int:
    return int(np.searchsorted(chunk.landing, until, side="right"))


def _chunk_state(chunk: Waiting) -> dict[str, Any]:
    return {
        "kept": chunk.kept.to_state(),
        "landing": chunk.landing.copy(),
        "row": chunk.row.copy(),
        "id": chunk.id.copy(),
        "y": chunk.y.copy(),
        "prediction": {name: value.copy() for name, value in chunk.prediction.items()},
    }


def _chunk(state: State) -> Waiting:
    columns = {name: state[name] for name in ("landing", "row", "id", "y")}
    return Waiting(Kept.from_state(state["kept"]), **columns, prediction=dict(state["prediction"]))
