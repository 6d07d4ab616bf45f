"""A candidate on trial: its lane, and the evidence of it and the champion on the same rows.

Shapes: m rows whose labels landed, k classes (or outputs).
"""

from __future__ import annotations

import time
from functools import cache
from typing import final

import numpy as np

from retain.blocks import take_batch
from retain.core import Array, Batch, Evidence, Features, Gate, Ints, Learner, Report, State
from retain.metrics import state_bytes
from retain.run.exam import Exam
from retain.run.lane import Lane
from retain.update.watched import columns_of

__all__ = ["Trial"]

_TIMED = 1_000  # rows on which both are timed, at most


@final
class Trial:
    """A candidate that answers and learns the same rows as the champion.

    Args:
        lane: the candidate's.
        rule: the number of the rule that made it.
        opened: the first row that it answers unseen; earlier ones were waiting when it was made, and are no pairs.
    """

    def __init__(self, lane: Lane, rule: int, opened: int) -> None:
        self.lane, self.rule, self.opened = lane, rule, opened
        self._base = opened
        self._columns: dict[str, Array] = {}  # what the gate asks for of the rows from `base` on

    def evidence(
        self, batch: Batch, own: Report, shadow: Report, /, *, champion: Lane, gate: Gate | None, exam: Exam | None
    ) -> Evidence:
        """What the gate may look at after a step in which `batch` arrived, reported by both lanes."""
        row, mine, theirs = _paired(own, shadow)
        unseen = row >= self.opened
        if gate is not None and gate.wants:
            for name, values in columns_of(batch, tuple(sorted(gate.wants))).items():
                before = self._columns.get(name)
                self._columns[name] = values if before is None else np.concatenate([before, values])
        columns = {name: values[np.where(unseen, row - self._base, 0)] for name, values in self._columns.items()}
        oldest = int(champion.waiting.min(initial=champion.rows))
        if oldest > self._base:
            self._columns = {name: values[oldest - self._base :] for name, values in self._columns.items()}
            self._base = oldest
        serving, proposed = champion.learner, self.lane.learner
        sample = take_batch(batch, slice(0, _TIMED)).x
        return Evidence(
            _masked(own.loss, mine, unseen),
            _masked(shadow.loss, theirs, unseen),
            y=_taken(own.y, mine),
            champion_said=_taken(own.prediction, mine),
            candidate_said=_taken(shadow.prediction, theirs),
            columns=columns,
            past=None if exam is None else cache(lambda: exam.ask(serving, proposed)),
            costs=cache(lambda: _costs(serving, proposed, sample)),
        )

    def state_dict(self) -> State:
        return {
            "lane": self.lane.state_dict(),
            "rule": self.rule,
            "opened": self.opened,
            "base": self._base,
            "columns": {name: values.copy() for name, values in self._columns.items()},
        }

    def load_columns(self, state: State, /) -> None:
        """The rest of what `state_dict` saved, when it has been built anew with its lane."""
        self._base, self._columns = state["base"], dict(state["columns"])


def _paired(own: Report, shadow: Report) -> tuple[Ints, Ints, Ints]:
    """Rows that landed in both lanes: their numbers, and where they are in each."""
    mine, theirs = own.row, shadow.row
    if mine is None or theirs is None or np.array_equal(mine, theirs):
        row = np.empty(0, dtype=np.int64) if mine is None else mine
        place = np.arange(len(row))
        return row, place, place
    row, in_mine, in_theirs = np.intersect1d(mine, theirs, return_indices=True)
    order = np.argsort(in_mine)
    return row[order], in_mine[order], in_theirs[order]


def _masked(loss: Array | None, place: Ints, unseen: Array) -> Array:
    return np.where(unseen, np.empty(0) if loss is None else loss[place].astype(np.float64), np.nan)


def _taken(column: Array | None, place: Ints) -> Array | None:
    return None if column is None else column[place]


def _costs(champion: Learner, candidate: Learner, sample: Features) -> dict[str, tuple[float, float]]:
    """Seconds to answer a row, the best of five, in turns; bytes of the state."""
    seconds = [float("inf"), float("inf")]
    for _ in range(5):
        for i, learner in enumerate((champion, candidate)):
            start = time.perf_counter()
            learner.predict(sample)
            seconds[i] = min(seconds[i], time.perf_counter() - start)
    n = max(len(Batch(sample)), 1)
    sizes = state_bytes(champion.state_dict()), state_bytes(candidate.state_dict())
    return {"seconds": (seconds[0] / n, seconds[1] / n), "bytes": (float(sizes[0]), float(sizes[1]))}
