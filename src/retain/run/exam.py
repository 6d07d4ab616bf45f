"""Rows that nobody learns, kept by experience: what a candidate is asked about to see whether it has forgotten.

Shapes: n rows of a block, r rows kept of an experience.
"""

from __future__ import annotations

from dataclasses import replace
from typing import final

import numpy as np
import numpy.typing as npt

from retain.blocks import concat_batches, from_state, labelled, take_answers, take_batch, to_state
from retain.core import Array, Batch, Ints, Learner, Report, State
from retain.errors import SettingError
from retain.run.lane import losses
from retain.update.watched import columns_of

__all__ = ["Exam", "drawn", "without_labels"]


@final
class Exam:
    """Keeps a share of all rows out of learning, and remembers some of them for every past experience.

    Which rows these are is drawn by their number, the same in every run. They are predicted and scored like all others.
    An experience is what a column says, or a stretch of the stream; where there are too many stretches, neighbours
    become one.

    Args:
        share: of the rows, 0 < share < 1.
        rows: remembered of each experience, at most; drawn evenly from those that were kept out.
        by: the column that names the experience (`task` and `key` of the rows count as columns); None: stretches.
        every: rows of a stretch.
        most: experiences; with `by`, those that come after so many are not remembered.
        seed: of the drawing.

    >>> Exam(share=0.02, rows=100).share
    0.02
    """

    def __init__(
        self,
        *,
        share: float = 0.01,
        rows: int = 200,
        by: str | None = None,
        every: int = 20_000,
        most: int = 20,
        seed: int = 0,
    ) -> None:
        if not 0 < share < 1 or min(rows, every) < 1 or most < 2:
            raise SettingError(
                f"Exam got share={share}, rows={rows}, every={every}, most={most}; expected a share between 0 and 1, "
                "rows >= 1 and at least 2 experiences"
            )
        self.share, self._rows, self._by, self._every, self._most, self._seed = share, rows, by, every, most, seed
        self._waiting: dict[int, tuple[str, Batch]] = {}  # by number of the row: its experience and itself
        self._kept: dict[str, tuple[Ints, Batch]] = {}  # by experience: numbers (r,) and rows, labels among them

    def hidden(self, first: int, n: int, /) -> npt.NDArray[np.bool_]:
        """Which of n rows, the first of which has that number, nobody is to learn."""
        return drawn(np.arange(first, first + n), self._seed) < self.share

    def hide(self, batch: Batch, first: int, /) -> Batch:
        """The rows as a learner may see them: without the labels that nobody is to learn."""
        hidden = self.hidden(first, len(batch))
        if batch.answers is not None and len(batch.answers) and batch.id is not None:
            kept = [row.id for _, row in self._waiting.values() if row.id is not None]
            secret = np.isin(batch.answers.id, np.concatenate([batch.id[hidden], *kept]))
            batch = replace(batch, answers=take_answers(batch.answers, ~secret))
        return without_labels(batch, hidden)

    def arrive(self, batch: Batch, first: int, /) -> None:
        """Remember rows that were kept out, until their labels land."""
        to_come = labelled(batch.y, len(batch)) | (batch.answers is not None)
        out = np.flatnonzero(self.hidden(first, len(batch)) & to_come)
        if not len(out):
            return
        rows = take_batch(replace(batch, y=None, weight=None), out)
        names = [str(v) for v in columns_of(rows, (self._by,))[self._by]] if self._by is not None else None
        for i, row in enumerate(out):
            number = first + int(row)
            name = str(number // self._every) if names is None else names[i]
            self._waiting[number] = name, take_batch(rows, slice(i, i + 1))

    def land(self, report: Report, waiting: Ints, /) -> None:
        """Keep rows whose labels have landed, as many of each experience as there is room for; forget the lost.

        `waiting`: numbers of the rows whose labels are still to come.
        """
        if not self._waiting or report.row is None or report.y is None:
            return
        for place in np.flatnonzero(np.isin(report.row, list(self._waiting))):
            number = int(report.row[place])
            name, row = self._waiting.pop(number)
            if name not in self._kept and self._by is not None and len(self._kept) >= self._most:
                continue
            self._add(name, number, replace(row, y=report.y[place : place + 1]))
        lost = set(self._waiting).difference(waiting.tolist())
        for number in lost:
            del self._waiting[number]
        while self._by is None and len(self._kept) > self._most:
            self._merge()

    def check(self, batch: Batch, /) -> None:
        """Raise SettingError where the rows do not have the column that names the experience."""
        if self._by is not None:
            columns_of(batch, (self._by,))

    def ask(self, champion: Learner, candidate: Learner, /) -> dict[str, tuple[Array, Array]]:
        """The losses of both, as they are now, on what is remembered of every experience."""
        told: dict[str, tuple[Array, Array]] = {}
        for name, (_, batch) in self._kept.items():
            if batch.y is not None:
                told[name] = losses(batch.y, champion.predict(batch.x)), losses(batch.y, candidate.predict(batch.x))
        return told

    def state_dict(self) -> State:
        numbers = list(self._waiting)
        names = list(self._kept)
        return {
            "every": self._every,
            "waiting": [[number, self._waiting[number][0]] for number in numbers],
            "waiting_rows": to_state(concat_batches([self._waiting[n][1] for n in numbers])) if numbers else None,
            "names": names,
            "kept": {str(i): self._kept[name][0].copy() for i, name in enumerate(names)},
            "kept_rows": {str(i): to_state(self._kept[name][1]) for i, name in enumerate(names)},
        }

    def load_state_dict(self, state: State, /) -> None:
        self._every = state["every"]
        self._waiting = {}
        if state["waiting"]:
            rows = from_state(state["waiting_rows"])
            for i, (number, name) in enumerate(state["waiting"]):
                self._waiting[number] = name, take_batch(rows, slice(i, i + 1))
        self._kept = {
            name: (state["kept"][str(i)], from_state(state["kept_rows"][str(i)]))
            for i, name in enumerate(state["names"])
        }

    def _add(self, name: str, number: int, row: Batch) -> None:
        if name not in self._kept:
            self._kept[name] = np.array([number]), row
            return
        numbers, rows = self._kept[name]
        self._kept[name] = self._fewer(np.append(numbers, number), concat_batches([rows, row]))

    def _fewer(self, numbers: Ints, rows: Batch) -> tuple[Ints, Batch]:
        """As many as there is room for: those with the least draws, which is an even choice whatever came first."""
        if len(numbers) <= self._rows:
            return numbers, rows
        best = np.sort(np.argsort(drawn(numbers, self._seed + 1), kind="stable")[: self._rows])
        return numbers[best], take_batch(rows, best)

    def _merge(self) -> None:
        """Stretches twice as long."""
        self._every *= 2
        merged: dict[str, tuple[Ints, Batch]] = {}
        for name, (numbers, rows) in self._kept.items():
            half = str(int(name) // 2)
            before = merged.get(half)
            merged[half] = (
                (numbers, rows)
                if before is None
                else self._fewer(np.append(before[0], numbers), concat_batches([before[1], rows]))
            )
        self._kept = merged
        self._waiting = {number: (str(int(name) // 2), row) for number, (name, row) in self._waiting.items()}


def without_labels(batch: Batch, which: npt.NDArray[np.bool_], /) -> Batch:
    """The rows, without some of the labels, which nobody is to wait for."""
    if batch.answers is not None or batch.label_time is not None:
        to_come = np.full(len(batch), np.inf) if batch.label_time is None else batch.label_time
        batch = replace(batch, label_time=np.where(which, -np.inf, to_come))
    if batch.y is None or not which.any():
        return batch
    kind = np.int64 if batch.y.dtype.kind in "iub" else np.float64
    y = batch.y.astype(kind)  # a copy
    y[which] = -1 if kind is np.int64 else np.nan
    return replace(batch, y=y)


def drawn(numbers: Ints, seed: int, /) -> npt.NDArray[np.float64]:
    """A number between 0 and 1 for each number, as good as drawn (SplitMix64; Steele, Lea, Flood 2014)."""
    with np.errstate(over="ignore"):
        z = numbers.astype(np.uint64) + np.uint64(seed) * np.uint64(0xD1342543DE82EF95)
        z = (z + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
