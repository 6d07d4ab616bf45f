"""Where a loop stands in its stream, and the blocks from there on."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import final

from retain import state as states
from retain.blocks import concat_batches, cut, take_answers
from retain.core import Answers, Batch, State, Stream, Trailing
from retain.errors import RetainError

__all__ = ["Clock", "Mark", "blocks", "rest"]

_SHORT = 32  # rows of the first blocks; a block costs milliseconds, as much as hundreds of rows


@dataclass(frozen=True, slots=True)
class Mark:
    """A place between two rows of a stream."""

    rows: int = 0  # before it
    position: State | None = None  # of the block that it is in or before
    skip: int = 0  # rows of that block that are before it
    heard: int = 0  # labels of that block that came apart and have been heard
    quarantined: int = 0

    def to_state(self) -> State:
        """As a `State`."""
        position = None if self.position is None else states.copy(self.position)
        places = {"rows": self.rows, "skip": self.skip, "heard": self.heard}
        return {**places, "position": position, "quarantined": self.quarantined}

    @staticmethod
    def from_state(state: State, /) -> Mark:
        """What `to_state` saved."""
        position = None if state["position"] is None else states.copy(state["position"])
        return Mark(state["rows"], position, state["skip"], state["heard"], state["quarantined"])


def blocks(
    stream: Stream, mark: Mark, /, *, step: int | None = None, until: int | None = None
) -> Generator[tuple[Batch, Mark]]:
    """Blocks from a mark on, each with the mark behind it.

    Args:
        stream: read from the mark's position.
        mark: where to begin.
        step: blocks end where the number of rows is a multiple of this, and at the end; None: as the stream cuts them,
            but none is longer than a fifth of what came before it, so that a short stream too gives many reports.
        until: end after so many rows, counted from the beginning of the stream.
    """
    if until is not None and mark.rows >= until:
        return
    held: list[Batch] = []
    at = mark  # behind the rows that are held
    last = mark  # behind the rows that were given away

    def whole() -> tuple[Batch, Mark]:
        nonlocal held, last
        batch, held, last = concat_batches(held), [], at
        return batch, at

    try:
        for block, after in stream.read(mark.position):
            start, given, counted = at.skip, at.heard, int(after.get("quarantined", 0))
            while True:
                room = len(block) - start
                room = min(room, max(_SHORT, at.rows // 5) if step is None else step - at.rows % step)
                if until is not None:
                    room = min(room, until - at.rows)
                stop = start + room
                part, given = (block, 0) if room == len(block) else cut(block, start, stop, given)
                held.append(part)
                done = stop == len(block)
                place = (after, 0, 0) if done else (at.position, stop, given)
                at = Mark(at.rows + room, *place, counted)
                start = stop
                if at.rows == until:
                    yield whole()
                    return
                if step is None or (room and at.rows % step == 0):
                    yield whole()
                if done:
                    break
    except RetainError:
        if at.rows > last.rows:  # the source fails: what was read before is whole
            yield whole()
        raise
    if at.rows > last.rows or at.quarantined > last.quarantined:
        yield whole()


def rest(stream: Stream, mark: Mark, /) -> tuple[Answers | None, int]:
    """Labels that come apart and behind a mark, and how many rows and labels in all could not be read by their end."""
    if not isinstance(stream, Trailing):
        return None, mark.quarantined
    answers, quarantined = stream.rest(mark.position)
    return take_answers(answers, slice(mark.heard, None)), max(quarantined, mark.quarantined)


@final
class Clock:
    """Wall and CPU seconds that a loop has taken, over all its lives; what its consumer does in between counts too."""

    def __init__(self) -> None:
        self.seconds = self.cpu_seconds = 0.0
        self.start()

    def start(self) -> None:
        """Do not count what has passed since the last lap."""
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def lap(self) -> dict[str, float]:
        """Count what has passed; return both sums, as fields of a report."""
        wall, cpu = time.perf_counter(), time.process_time()
        self.seconds += wall - self._wall
        self.cpu_seconds += cpu - self._cpu
        self._wall, self._cpu = wall, cpu
        return {"seconds": self.seconds, "cpu_seconds": self.cpu_seconds}
