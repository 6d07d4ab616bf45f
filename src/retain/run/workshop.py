"""Where candidates are made: copies, and models taught by the history, which is read again from the source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, final

import numpy as np

from retain.blocks import concat_answers, labelled, take_answers, take_batch
from retain.core import Answers, Batch, Ints, Learner, Rereadable, State, Stream, Trailing
from retain.errors import SettingError
from retain.registry import FileRegistry
from retain.run.cursor import Mark, blocks
from retain.run.exam import Exam, without_labels
from retain.run.landing import Terms, clocks
from retain.run.lane import Lane
from retain.run.waiting import Waiting, nothing

__all__ = ["Bench", "History", "Trail"]

_MARKS = 128


@final
class Trail:
    """Places in the stream from which it can be read again, about evenly far apart, back to where anyone may ask."""

    def __init__(self) -> None:
        self._marks: list[tuple[Mark, float]] = [(Mark(), -np.inf)]  # with the event time before it; the first stays
        self._apart = 1  # rows, at least

    def add(self, mark: Mark, clock: float, /, *, oldest: int) -> None:
        """Remember a place; forget those before row `oldest`, but the last of them and the beginning."""
        if mark.rows - self._marks[-1][0].rows >= self._apart:
            self._marks.append((mark, clock))
        while len(self._marks) > 2 and self._marks[2][0].rows <= oldest:
            del self._marks[1]
        if len(self._marks) > _MARKS:
            del self._marks[2:-1:2]
            self._apart *= 2

    def before(self, row: int, /) -> tuple[Mark, float]:
        """The last place at or before a row, and the event time there."""
        return next(one for one in reversed(self._marks) if one[0].rows <= row)

    def state_dict(self) -> State:
        marks = {str(i): {**mark.to_state(), "clock": clock} for i, (mark, clock) in enumerate(self._marks)}
        return {"marks": marks, "apart": self._apart}

    def load_state_dict(self, state: State, /) -> None:
        found = [state["marks"][str(i)] for i in range(len(state["marks"]))]
        self._marks = [(Mark.from_state(one), one["clock"]) for one in found]
        self._apart = state["apart"]


@final
@dataclass(frozen=True, slots=True)
class History:
    """The rows of a stream up to now, to be read again.

    Args:
        stream, trail: where from.
        rows: how many there are.
        step: rows of a block.
        exam: whose rows nobody learns.
        terms: when labels land.
        clock: event time of the last of them.
        waiting: numbers of the rows whose labels have not landed yet.
        listening: of those of which silence has spoken.
    """

    stream: Stream
    trail: Trail
    rows: int
    step: int
    exam: Exam | None
    terms: Terms
    clock: float
    waiting: Ints
    listening: Ints

    def read(self, since: int) -> Iterator[tuple[Batch, int, float]]:
        """Blocks from row `since` on, each with the number of its first row and the event time before it.

        Labels that nobody is to learn are left out.
        """
        mark, clock = self.trail.before(since)
        stream = self.stream.again() if isinstance(self.stream, Rereadable) else self.stream
        heard = self._heard(stream, mark)
        for block, after in blocks(stream, mark, step=self.step, until=self.rows):
            first = after.rows - len(block)
            if block.answers is not None:
                block = self._joined(block, heard, first, clock)  # noqa: PLW2901 - it is the same block
            batch, before = block, clock
            if block.time is not None and len(block):
                clock = max(clock, float(np.nanmax(block.time)))
            if first < since:
                if after.rows <= since:
                    continue
                batch = take_batch(block, slice(since - first, None))
                if block.time is not None:
                    before = max(before, float(np.nanmax(block.time[: since - first])))
                first = since
            yield (batch if self.exam is None else self.exam.hide(batch, first)), first, before

    def _heard(self, stream: Stream, mark: Mark) -> Answers | None:
        """All labels that came apart from a mark on until now."""
        if not isinstance(stream, Trailing):
            return None
        parts = [block.answers for block, _ in blocks(stream, mark, step=self.step, until=self.rows)]
        return concat_answers([part for part in parts if part is not None])

    def _joined(self, block: Batch, heard: Answers | None, first: int, clock: float) -> Batch:
        """Rows with the labels that came apart and have been heard by now; the others are still waited for."""
        n = len(block)
        if heard is None or block.answers is None:
            return block
        arrival, _ = clocks(block, first, clock, None)
        y = block.y if block.y is not None else np.full(n, np.nan)
        rows = np.arange(first, first + n)
        ids = rows if block.id is None else block.id
        waiting = Waiting(nothing(n), arrival + self.terms.until, rows, ids, y, {})
        known, _ = waiting.hear(heard, arrival)
        when = np.where(labelled(known.y, n), known.landing, np.inf)
        return replace(block, y=known.y, label_time=when, answers=take_answers(block.answers, slice(0, 0)))

    def told(self, batch: Batch, first: int, clock: float) -> Batch:
        """The rows with the labels as they are known by now; those that were lost are missing."""
        terms, n = self.terms, len(batch)
        if not terms.late(batch):
            return batch
        came = terms.arrive(batch, first, clock)
        y = np.where(np.isfinite(came.landing), came.y, -1 if came.y.dtype.kind == "i" else np.nan)
        if terms.silence is not None and batch.y is not None:
            y = np.where(~labelled(y, n) & (came.landing <= self.clock), terms.silence.code(batch), y)
            y = np.where(came.late <= self.clock, batch.y, y)
        return replace(batch, y=y)

    def landed(self, last: int | None) -> Landed:
        """The rows among the last so many whose labels have landed."""
        return Landed(self, 0 if last is None else max(self.rows - last, 0))

    def teach(self, learner: Learner, /, *, since: int) -> Lane:
        """Let a learner see the rows from `since` on as they came, and those before it that still wait, unlearnt.

        It then waits for the same labels as whoever serves.
        """
        begin = min(since, int(self.waiting.min(initial=since)))
        lane: Lane | None = None
        for batch, first, clock in self.read(begin):
            if lane is None:
                lane = Lane(learner, self.terms, metrics=(), baselines={}, row=first, clock=clock)
            numbers = np.arange(first, first + len(batch))
            lane.step(without_labels(batch, (numbers < since) & ~np.isin(numbers, self.waiting)))
        return lane or self._here(learner)

    def introduce(self, learner: Learner, /, *, listening: Ints | None = None) -> Lane:
        """Let a learner answer the rows that wait for their labels, as it is, and learn nothing before these land.

        Of those of which silence has spoken it listens to the given ones, which it has learnt; None: to all.
        """
        lane: Lane | None = None
        listening = self.listening if listening is None else np.intersect1d(self.listening, listening)
        for batch, first, clock in self.read(int(np.union1d(self.waiting, listening).min(initial=self.rows))):
            if lane is None:
                lane = Lane(learner, self.terms, metrics=(), baselines={}, row=first, clock=clock)
            numbers = np.arange(first, first + len(batch))
            lane.meet(batch, np.isin(numbers, self.waiting), np.isin(numbers, listening))
        return lane or self._here(learner)

    def _here(self, learner: Learner) -> Lane:
        return Lane(learner, self.terms, metrics=(), baselines={}, row=self.rows, clock=self.clock)


@final
@dataclass(frozen=True, slots=True)
class Landed:
    """Rows of history with labels, in order of arrival, each time it is gone through."""

    history: History
    since: int

    def __iter__(self) -> Iterator[Batch]:
        past = self.history
        for batch, first, clock in past.read(self.since):
            told = past.told(batch, first, clock)
            known = labelled(told.y, len(told)) & ~np.isin(np.arange(first, first + len(told)), past.waiting)
            if known.any():
                yield take_batch(told, np.flatnonzero(known))


@final
@dataclass(frozen=True, slots=True)
class Bench:
    """A `retain.core.Workshop`: candidates are lanes beside the champion's.

    Args:
        template: a learner that has learnt nothing; copied, never touched.
        champion: the lane that serves.
        past: the rows so far.
        registry: of the versions; None: there are none.
        until: aliases mean what they meant when the registry's log had so many entries; None: what they mean now.
        wants: what is to be done when the action is through: "keep".
        derived: what is to be kept beside the champion then, by alias: a state and a report.
    """

    template: Learner
    champion: Lane
    past: History
    registry: FileRegistry | None
    until: int | None = None
    wants: set[str] = field(default_factory=set[str])
    derived: dict[str, tuple[State, Mapping[str, Any]]] = field(
        default_factory=dict[str, "tuple[State, Mapping[str, Any]]"]
    )

    def fresh(self, *, last: int | None) -> Lane:
        since = 0 if last is None else max(self.past.rows - last, 0)
        return self.past.teach(deepcopy(self.template), since=since)

    def fork(self, *, last: int = 0) -> Lane:
        learner = deepcopy(self.template)
        learner.load_state_dict(self.champion.learner.state_dict())
        if last:
            since = max(self.past.rows - last, 0)
            lane = self.past.teach(learner, since=since)
            lane.inherit(self.champion, before=since)
            return lane
        lane = Lane(learner, self.past.terms, metrics=(), baselines={})
        lane.load_state_dict(self.champion.state_dict())
        return lane

    def taught(self, batches: Iterable[Batch], /) -> Lane:
        learner = deepcopy(self.template)
        for batch in batches:
            learner.learn(batch)
        return self.past.introduce(learner)

    def version(self, ref: str, /) -> Lane:
        if self.registry is None:
            raise SettingError(f"there is no registry to take {ref!r} from; give the pipeline one: registry=...")
        learner, name = deepcopy(self.template), self.registry.name(ref, until=self.until)
        state = self.registry.pull(name)
        try:
            learner.load_state_dict(state["learner"])
        except Exception as error:
            raise SettingError(
                f"the version {name[:12]} is not of this learner ({type(error).__name__}: {error}); expected one that "
                "a pipeline with the same learner kept"
            ) from error
        return self.past.introduce(learner, listening=np.asarray(state.get("listening", []), dtype=np.int64))

    def keep(self) -> None:
        if self.registry is None:
            raise SettingError("there is no registry to keep a version in; give the pipeline one: registry=...")
        self.wants.add("keep")

    def derive(self, alias: str, make: Callable[[], tuple[State, Mapping[str, Any]]], /) -> None:
        if self.registry is None:
            raise SettingError(f"there is no registry to keep {alias} in; give the pipeline one: registry=...")
        self.derived[alias] = make()

    def history(self, last: int | None, /) -> Landed:
        return self.past.landed(last)
