"""When labels land: the clock, the order of events within a block, and the rows that wait.

Shapes: n arrivals in a block, m rows that wait and whose labels land during the block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple, final

import numpy as np
import numpy.typing as npt

from retain.blocks import cut, labelled
from retain.compose import Kept
from retain.core import Answers, Array, Batch, Ints, State
from retain.errors import PoisonError, SettingError

__all__ = [
    "MODEL",
    "Arrival",
    "Delay",
    "Events",
    "Pending",
    "Silence",
    "Terms",
    "Waiting",
    "apart",
    "clocks",
    "events",
    "join",
    "nothing",
    "pad",
]

Times = npt.NDArray[np.float64]
MODEL = "model"  # what a learner's answers are called beside those of baselines
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

    def hear(self, answers: Answers, arrival: Times | None = None) -> tuple[Waiting, Ints]:
        """The same rows with the labels that were heard in time, and which of these have found their row.

        Of several for one row the first counts that is heard after its arrival (None: long ago). It lands before the
        first row that arrives after it was heard.
        """
        m = len(answers)
        if not m:
            return self, np.empty(0, dtype=np.int64)
        names, code = np.unique(answers.id, return_inverse=True)
        order = np.argsort(code, kind="stable")  # by id, then by time
        since = 0 if arrival is None else np.searchsorted(answers.time, arrival)
        place = np.searchsorted(code[order] * m + order, np.searchsorted(names, self.id) * m + since)
        found = order[np.minimum(place, m - 1)]
        time = answers.time[found]
        fits = (answers.id[found] == self.id) & ~labelled(self.y, len(self)) & (time <= self.landing)
        if arrival is not None:
            fits &= arrival <= time
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
            both = join(self._chunks[-2:])
            self._chunks[-2:] = [both.take(np.lexsort((both.row, both.landing)))]

    def hear(self, answers: Answers) -> tuple[Pending, Ints]:
        """The same rows with the labels that were heard, and which of these have found one."""
        result, found = Pending(), list[Ints]()
        for chunk in self._chunks:
            heard, places = chunk.hear(answers)
            result._chunks.append(heard.take(np.lexsort((heard.row, heard.landing))) if len(places) else chunk)
            found.append(places)
        return result, np.concatenate([np.empty(0, dtype=np.int64), *found])

    def plus(self, rows: Waiting | None) -> Pending:
        """The same rows and some more."""
        result = Pending()
        result._chunks = list(self._chunks)
        if rows is not None:
            result.add(rows)
        return result

    def due(self, until: float) -> Waiting | None:
        """The rows whose labels land at or before `until`; None where there are none. They wait until `drop`."""
        out = [chunk.take(slice(0, stop)) for chunk in self._chunks if (stop := _due(chunk, until))]
        return join(out) if out else None

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


def join(parts: Sequence[Waiting]) -> Waiting:
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
