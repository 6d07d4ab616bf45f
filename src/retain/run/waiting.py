"""The rows that wait for their labels, and the labels that find them by id.

Shapes: m rows that wait, k labels that are heard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, final

import numpy as np
import numpy.typing as npt

from retain.blocks import concat_arrays, labelled
from retain.compose import Kept
from retain.core import Answers, Array, Batch, Ints, State

__all__ = ["MODEL", "Found", "Pending", "Waiting", "join", "nothing"]

MODEL = "model"  # what a learner's answers are called beside those of baselines
_LARGE = 65_536  # rows; larger chunks are not made one, so that no block has to wait for that
_NONE = np.empty(0, dtype=np.int64)

Times = npt.NDArray[np.float64]


@dataclass(slots=True)
class Waiting:
    """Rows that wait until their labels land, or are given up where they have not been heard."""

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
        k = len(answers)
        if not k:
            return self, _NONE
        names, code = np.unique(answers.id, return_inverse=True)
        order = np.argsort(code, kind="stable")  # by id, then by time
        since = 0 if arrival is None else np.searchsorted(answers.time, arrival)
        place = np.searchsorted(code[order] * k + order, np.searchsorted(names, self.id) * k + since)
        found = order[np.minimum(place, k - 1)]
        time = answers.time[found]
        fits = (answers.id[found] == self.id) & ~labelled(self.y, len(self)) & (time <= self.landing)
        if arrival is not None:
            fits &= arrival <= time
        rows = np.flatnonzero(fits)
        return self.told(answers, rows, found[rows]), found[rows]

    def told(self, answers: Answers, rows: Ints, found: Ints) -> Waiting:
        """The same rows, some of them with labels that were heard."""
        y, landing = self.y.copy(), self.landing.copy()
        y[rows], landing[rows] = answers.y[found], np.nextafter(answers.time[found], np.inf)
        return replace(self, y=y, landing=landing)

    def sorted(self) -> Waiting:
        """In the order in which their labels will land."""
        return self.take(np.lexsort((self.row, self.landing)))

    def __len__(self) -> int:
        return len(self.landing)


class Found(NamedTuple):
    """Labels that were heard and the rows of a `Pending` that they are of."""

    answers: Answers
    rows: tuple[Ints, ...]  # of each chunk
    places: tuple[Ints, ...]  # of their labels

    @property
    def all(self) -> Ints:
        """Which labels have found a row."""
        return np.concatenate([_NONE, *self.places])


@final
@dataclass(slots=True)
class _Chunk:
    """Rows in the order in which their labels land, never changed, and which of them still wait."""

    rows: Waiting
    waits: Array  # (m,) booleans
    count: int
    ids: tuple[Array, Ints] | None = None  # in order, and whose they are; once they have been asked for

    @classmethod
    def of(cls, rows: Waiting) -> _Chunk:
        return cls(rows, np.ones(len(rows), dtype=bool), len(rows))

    def left(self) -> Waiting:
        """The rows that wait."""
        return self.rows if self.count == len(self.rows) else self.rows.take(np.flatnonzero(self.waits))

    def due(self, until: float) -> Ints:
        """Which rows land at or before `until`."""
        return np.flatnonzero(self.waits[: int(np.searchsorted(self.rows.landing, until, side="right"))])

    def without(self, gone: Ints) -> _Chunk:
        """The same but some rows, copied when half of them have gone: what is done once takes no longer than once."""
        if not len(gone):
            return self
        waits = self.waits.copy()
        waits[gone] = False
        count = int(waits.sum())
        if count > len(waits) // 2:
            return _Chunk(self.rows, waits, count, self.ids)
        return _Chunk.of(self.rows.take(np.flatnonzero(waits)))

    def find(self, names: Array, first: Ints, answers: Answers) -> tuple[Ints, Ints]:
        """Rows that wait for labels of these ids, the first label of each; and which labels these are."""
        if self.ids is None:
            order = np.argsort(self.rows.id, kind="stable")
            self.ids = self.rows.id[order], order
        ids, order = self.ids
        start, stop = (np.searchsorted(ids, names, side=side) for side in ("left", "right"))
        many = stop - start
        rows = order[np.repeat(start - (np.cumsum(many) - many), many) + np.arange(int(many.sum()))]
        places = np.repeat(first, many)
        mute = ~labelled(self.rows.y[rows], len(rows))
        fits = self.waits[rows] & mute & (answers.time[places] <= self.rows.landing[rows])
        return rows[fits], places[fits]


@final
class Pending:
    """Rows whose labels are still to come, in chunks: work per block grows with the rows that land in it.

    Chunks are made one when a later one is as large as half of that before it, so that there are few of them, and each
    row is copied a few times in all.
    """

    def __init__(self) -> None:
        self._chunks: list[_Chunk] = []

    def __len__(self) -> int:
        return sum(chunk.count for chunk in self._chunks)

    def add(self, rows: Waiting) -> None:
        """Remember rows of one block."""
        if not len(rows):
            return
        self._chunks.append(_Chunk.of(rows.sorted()))
        while len(self._chunks) > 1:
            before, last = self._chunks[-2:]
            if before.count >= min(2 * last.count, _LARGE):
                break
            self._chunks[-2:] = [_Chunk.of(join([before.left(), last.left()]).sorted())]

    def find(self, answers: Answers) -> Found:
        """The rows whose labels have been heard. Nothing changes."""
        names, first = np.unique(answers.id, return_index=True)
        found = [chunk.find(names, first, answers) for chunk in self._chunks]
        return Found(answers, tuple(rows for rows, _ in found), tuple(places for _, places in found))

    def plus(self, rows: Waiting | None) -> Pending:
        """The same rows and some more."""
        result = Pending()
        result._chunks = list(self._chunks)
        if rows is not None:
            result.add(rows)
        return result

    def due(self, until: float, found: Found | None = None) -> Waiting | None:
        """The rows whose labels land at or before `until`, and those found; None where there are none.

        They wait until `drop`.
        """
        out: list[Waiting] = []
        for i, chunk in enumerate(self._chunks):
            rows = chunk.due(until)
            if found is not None and len(found.rows[i]):
                told = chunk.rows.take(found.rows[i])
                out.append(told.told(found.answers, np.arange(len(told)), found.places[i]))
                rows = np.setdiff1d(rows, found.rows[i], assume_unique=True)
            if len(rows):
                out.append(chunk.rows.take(rows))
        return join(out) if out else None

    def drop(self, until: float, found: Found | None = None) -> None:
        """Forget the rows whose labels landed at or before `until`, and those found."""
        more = (_NONE,) * len(self._chunks) if found is None else found.rows
        left = [c.without(np.union1d(c.due(until), rows)) for c, rows in zip(self._chunks, more, strict=True)]
        self._chunks = [chunk for chunk in left if chunk.count]

    def bare(self) -> Pending:
        """The same rows, with nothing kept for a learner."""
        result = Pending()
        for chunk in self._chunks:
            rows = chunk.left()
            result._chunks.append(_Chunk.of(replace(rows, kept=nothing(len(rows)))))
        return result

    def rows(self) -> Ints:
        """Numbers of the rows that wait."""
        return np.concatenate([_NONE, *(chunk.rows.row[chunk.waits] for chunk in self._chunks)])

    def state_dict(self) -> State:
        return {str(i): _chunk_state(chunk.left()) for i, chunk in enumerate(self._chunks)}

    def load_state_dict(self, state: State) -> None:
        self._chunks = [_Chunk.of(_chunk(state[str(i)])) for i in range(len(state))]


def nothing(n: int, /) -> Kept:
    """What is kept of n rows for a learner that does not want to see them again."""
    return Kept((Batch(np.empty((n, 0), dtype=np.float32)),))


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
        {name: concat_arrays([part.prediction[name] for part in parts]) for name in parts[0].prediction},
    )


def _chunk_state(rows: Waiting) -> dict[str, Any]:
    return {
        "kept": rows.kept.to_state(),
        "landing": rows.landing.copy(),
        "row": rows.row.copy(),
        "id": rows.id.copy(),
        "y": rows.y.copy(),
        "prediction": {name: value.copy() for name, value in rows.prediction.items()},
    }


def _chunk(state: State) -> Waiting:
    columns = {name: state[name] for name in ("landing", "row", "id", "y")}
    return Waiting(Kept.from_state(state["kept"]), **columns, prediction=dict(state["prediction"]))
