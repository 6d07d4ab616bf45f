"""Rows and their labels from two sources: a label finds its row by its id, whenever it comes.

rows      a . b . c . . d          as they arrive
labels    . . . a . . c . a e      as they are heard: out of order, late, twice, of nobody
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol, final

import numpy as np

from retain.blocks import concat_answers, labelled, schema_to_state, take_answers
from retain.core import Answers, Array, Batch, Rereadable, Schema, State, Stream
from retain.errors import PoisonError, SchemaError

__all__ = ["Joined", "join"]


class Source(Stream, Protocol):
    """A stream that knows its schema before it is read."""

    def schema(self) -> Schema: ...


def join(rows: Source, labels: Source, /, *, classes: Sequence[str] = ()) -> Joined:
    """A stream of rows whose labels come from a source of their own, as they do in production.

    Both have a time and an id. A row waits until its label is heard, which is learnt before the first row that arrives
    after it (not before one that arrives at that very moment); of two labels for one row the first counts, one that
    finds no row among those that have arrived is counted as a stray (`Report.strays`), and after `expire` nobody waits
    any longer. Rows that share an id share their label. Labels that are heard after the last row are learnt
    at the end, and again in their turn when more rows have come and the run is resumed.

    Args:
        rows: in order of time, without a target.
        labels: in order of time, the time at which each was heard; with the target.
        classes: names of classes that there are, whether labels tell of them or not: what `retain.Silence` means.

    Raises:
        SchemaError: one of them has no time or no id, the labels have no target, or the rows have one.

    >>> import numpy as np, retain as rt
    >>> rows = rt.streams.arrays(np.eye(4), time=[0, 10, 20, 30], id=[7, 8, 9, 10])
    >>> labels = rt.streams.arrays(np.zeros((3, 1)), [1, 0, 1], time=[12, 25, 90], id=[8, 7, 10])
    >>> run = rt.Prequential(rt.streams.join(rows, labels), rt.Prior())
    >>> [(report.learnt, report.pending, report.id.tolist()) for report in run]
    [(2, 2, [8, 7]), (3, 1, [10])]
    """
    return Joined(rows, labels, classes)


@final
class Joined:
    """Made by `join`."""

    def __init__(self, rows: Source, labels: Source, classes: Sequence[str], /) -> None:
        self._rows, self._labels, self._classes = rows, labels, tuple(classes)
        self._schema: Schema | None = None

    def __iter__(self) -> Iterator[Batch]:
        for batch, _ in self.read():
            yield batch

    def schema(self) -> Schema:
        """The columns of the rows, and the target of the labels."""
        if self._schema is None:
            self._schema = _together(self._rows.schema(), self._labels.schema(), self._classes)
        return self._schema

    def again(self) -> Joined:
        """The same rows and labels, for a second reader beside the first."""
        rows, labels = (one.again() if isinstance(one, Rereadable) else one for one in (self._rows, self._labels))
        return Joined(rows, labels, self._classes)  # type: ignore[arg-type] - again() gives a source of the same kind

    def read(self, position: State | None = None, /) -> Iterator[tuple[Batch, State]]:
        """Blocks of rows, each with the labels that were heard before its last row, and the position after both."""
        schema = self.schema()
        heard = _Heard(self._labels, schema.classes, None if position is None else position["labels"])
        clock = -np.inf if position is None else float(position["clock"])
        for batch, after in self._rows.read(None if position is None else position["of_rows"]):
            time, ids = _known(batch, "rows")
            clock = float(np.max(time, initial=clock))
            answers = heard.before(clock, ids.dtype.str)
            schema = replace(schema, classes=heard.classes)
            n = len(batch)
            y = np.full(n, np.nan) if schema.classes is None else np.full(n, -1, dtype=np.int64)
            yield (
                replace(batch, y=y, answers=answers, schema=schema),
                {
                    "rows": after["rows"],
                    "quarantined": after["quarantined"] + heard.quarantined,
                    "schema": schema_to_state(schema),
                    "clock": clock,
                    "ids": ids.dtype.str,
                    "of_rows": after,
                    "labels": heard.position(),
                },
            )

    def rest(self, position: State | None, /) -> tuple[Answers, int]:
        """All labels that are heard from a position on, and how many rows and labels in all could not be read."""
        heard = _Heard(self._labels, self.schema().classes, None if position is None else position["labels"])
        answers = heard.before(np.inf, None if position is None else position["ids"])
        return answers, heard.quarantined + (0 if position is None else position["of_rows"]["quarantined"])


@final
class _Heard:
    """The labels as they are heard, from a position on."""

    def __init__(self, labels: Stream, classes: tuple[str, ...] | None, position: State | None) -> None:
        kept = None if position is None else position["classes"]
        self._classes = classes if kept is None else tuple(kept)
        self._at: State | None = None if position is None else position["at"]  # of the block in hand
        self._used: int = 0 if position is None else position["used"]  # labels of it that have been heard
        self._clock: float = -np.inf if position is None else position["clock"]
        self.quarantined: int = 0 if position is None else position["quarantined"]
        self._after = self._at
        self._reader = labels.read(self._at)
        self._block: Answers | None = None

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Those seen by now."""
        return self._classes

    def before(self, time: float, ids: str | None) -> Answers:
        """The next labels, as far as they are heard before a time, of rows whose ids are of that type."""
        parts: list[Answers] = []
        while (block := self._fill()) is not None:
            stop = int(np.searchsorted(block.time, time, side="left"))
            parts.append(take_answers(block, slice(self._used, max(stop, self._used))))
            self._used = max(stop, self._used)
            if stop < len(block):
                break
            self._at, self._used, self._block = self._after, 0, None
            self._clock = float(block.time[-1]) if len(block) else self._clock
        parts = [part for part in parts if len(part)]
        if parts and ids is not None and (parts[0].id.dtype.kind == "U") != (np.dtype(ids).kind == "U"):
            raise SchemaError(
                f"the ids of the rows are {np.dtype(ids)}, those of the labels {parts[0].id.dtype}; expected whole "
                "numbers or words of both: say what the columns hold"
            )
        return concat_answers(parts) if parts else self._none(ids)

    def position(self) -> State:
        return {
            "at": self._at,
            "used": self._used,
            "clock": self._clock,
            "quarantined": self.quarantined,
            "classes": None if self._classes is None else list(self._classes),
        }

    def _fill(self) -> Answers | None:
        """The block in hand, or the next one; None where there is none yet."""
        if self._block is None:
            batch, after = next(self._reader, (None, None))
            if batch is None or after is None or batch.y is None:
                return None
            time, ids = _known(batch, "labels")
            self._after, self.quarantined = after, int(after["quarantined"])
            told = Answers(ids, self._coded(batch), np.maximum.accumulate(np.maximum(time, self._clock)))
            self._block = take_answers(told, labelled(told.y, len(told)))  # no value is no label
        return self._block

    def _coded(self, batch: Batch) -> Array:
        """The labels, classes by the codes that they have here."""
        names = None if batch.schema is None else batch.schema.classes
        if batch.y is not None and batch.y.ndim > 1:
            raise SchemaError(f"labels that come apart are one of each row; these have {batch.y.shape[1]} columns")
        if batch.y is None or names is None or self._classes is None:
            return np.empty(0) if batch.y is None else batch.y
        self._classes = _first(self._classes, names)
        return np.array([*(self._classes.index(name) for name in names), -1], dtype=np.int64)[batch.y]

    def _none(self, ids: str | None) -> Answers:
        y = np.empty(0) if self._classes is None else np.empty(0, dtype=np.int64)
        return Answers(np.empty(0, dtype=np.int64 if ids is None else ids), y, np.empty(0))


def _known(batch: Batch, what: str) -> tuple[Array, Array]:
    """Times and ids."""
    if batch.time is None or batch.id is None:
        role = "time" if batch.time is None else "id"
        raise SchemaError(f"the {what} have no {role}, by which labels find their rows; name its column")
    time = batch.time.astype(np.float64)
    if not np.isfinite(time).all():
        row = int(np.flatnonzero(~np.isfinite(time))[0])
        raise PoisonError(f"the {what} have the time {time[row]} at id {batch.id[row]}; expected a time: drop the row")
    return time, batch.id


def _first(classes: Sequence[str], more: Sequence[str]) -> tuple[str, ...]:
    """Classes, then those that are new."""
    return *classes, *(name for name in more if name not in classes)


def _together(rows: Schema, labels: Schema, classes: Sequence[str]) -> Schema:
    if labels.target is None:
        raise SchemaError("the labels have no target; name its column")
    if rows.target is not None or labels.target in rows.names:
        raise SchemaError(
            f"the rows have a column {rows.target or labels.target!r} of their own; ignore it, or do not join: labels "
            "are to come from one place"
        )
    if labels.classes is None and classes:
        raise SchemaError(f"the labels are numbers, and have no classes such as {classes[0]!r}; leave them out")
    known = None if labels.classes is None else _first(classes, labels.classes)
    return replace(rows, target=labels.target, classes=known)
