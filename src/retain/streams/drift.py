"""Streams that drift: one that follows another at once, bit by bit, smoothly, or again and again.

Each is a stream itself, so that they nest. `drifts` holds the rows at which the concept is known to change.

    Abrupt       a a a a a a b b b b b b
    Gradual      a a a b a a b a b b b b      one row is of either concept
    Incremental  a a a . . . . . . b b b      one row is of a concept between them
    Recurring    a a a b b b a a a b b b

Rows of each stream are taken in order, and only when it is its turn, so that no row is lost, wherever the streams come
from. They must have the same columns and classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Protocol, final

import numpy as np
import numpy.typing as npt

from retain import state as states
from retain.blocks import concat_batches, schema_to_state, take_batch
from retain.core import Array, Batch, Schema, State, Stream
from retain.errors import SchemaError, SettingError, StateError
from retain.streams.synthetic.generator import CHUNK, Continuous, Synthetic, chunks_to_blocks, require, row_random

__all__ = ["Abrupt", "Gradual", "Incremental", "Recurring"]


class Source(Stream, Protocol):
    """A stream that knows its schema before it is read."""

    def schema(self) -> Schema: ...


class _Mix(ABC):
    """Rows of several streams, each in its own order, in an order that depends on the row number alone."""

    _sources: tuple[Source, ...]
    n: int | None
    block: int

    def __iter__(self) -> Iterator[Batch]:
        for batch, _ in self.read():
            yield batch

    def schema(self) -> Schema:
        """The schema of the streams."""
        return self._sources[0].schema()

    @property
    @abstractmethod
    def drifts(self) -> tuple[int, ...]:
        """Rows at which the concept changes."""

    @abstractmethod
    def _which(self, start: int, stop: int, /) -> npt.NDArray[np.int64]:
        """Number of the stream that each of the rows [start, stop) is taken from."""

    def read(self, position: State | None = None, /) -> Iterator[tuple[Batch, State]]:
        row, taps = 0, [_Tap(source, None) for source in self._sources]
        if position is not None:
            row, taps = _place(position, self._sources)
        while self.n is None or row < self.n:
            which = self._which(row, row + self.block if self.n is None else min(row + self.block, self.n))
            which = which[: _available(taps, which)]
            if not len(which):
                return
            parts = [(np.flatnonzero(which == i), tap) for i, tap in enumerate(taps)]
            parts = [(rows, tap.take(len(rows))) for rows, tap in parts if len(rows)]
            batch = parts[0][1]
            if len(parts) > 1:
                order = np.argsort(np.concatenate([rows for rows, _ in parts]))
                batch = take_batch(concat_batches([part for _, part in parts]), order)
            row += len(which)
            yield (
                batch,
                {
                    "rows": row,
                    "quarantined": sum(tap.quarantined for tap in taps),
                    "schema": None if batch.schema is None else schema_to_state(batch.schema),
                    "sources": [tap.position() for tap in taps],
                },
            )
            if len(which) < self.block:
                return


@final
class Abrupt(_Mix):
    """The first `at` rows are of `a`, all others of `b`, from its first row on.

    Args:
        a: the stream before the drift.
        b: the stream after it.
        at: the first row of `b`.
        n: rows in all; None until the streams end. It also ends where `a` ends before `at`.
        block: rows per block.

    Raises:
        SettingError: a setting is out of range.
        SchemaError: the streams have other columns or classes.

    >>> from retain.streams.synthetic import STAGGER
    >>> stream = Abrupt(STAGGER(seed=1, concept=1), STAGGER(seed=2, concept=3), at=2000)
    >>> stream.drifts
    (2000,)
    >>> [round(float(batch.y.mean()), 1) for batch, _ in zip(stream, range(4))]
    [0.1, 0.1, 0.7, 0.7]
    """

    def __init__(self, a: Source, b: Source, /, *, at: int, n: int | None = None, block: int = 1000) -> None:
        require(at >= 0, f"at={at}", "a row number")
        self._sources, self.n, self.block = _checked((a, b), n, block)
        self.at = at

    @property
    def drifts(self) -> tuple[int, ...]:
        """Rows at which the concept changes, those of `a` and `b` included."""
        before = (row for row in _drifts(self._sources[0]) if row < self.at)
        after = (row + self.at for row in _drifts(self._sources[1]))
        return _before(self.n, *before, self.at, *after)

    def _which(self, start: int, stop: int, /) -> npt.NDArray[np.int64]:
        return (np.arange(start, stop) >= self.at).astype(np.int64)


@final
class Gradual(_Mix):
    """Row t is of `b` with probability 1 / (1 + exp(-4 (t - at) / width)), else of `a`.

    So half of the rows around `at` are of `b`, 12% at `at - width / 2`, 88% at `at + width / 2`.

    Args:
        a: the stream before the drift.
        b: the stream after it.
        at: the row around which half of the rows are of either.
        width: over how many rows the change takes place.
        seed: which rows are of which is a function of it.
        n: rows in all; None until a stream ends whose turn it is.
        block: rows per block.

    Raises:
        SettingError: a setting is out of range.
        SchemaError: the streams have other columns or classes.

    >>> from retain.streams.synthetic import STAGGER
    >>> stream = Gradual(STAGGER(seed=1, concept=1), STAGGER(seed=2, concept=3), at=2500, width=2000, seed=3)
    >>> [round(float(batch.y.mean()), 1) for batch, _ in zip(stream, range(5))]
    [0.1, 0.2, 0.4, 0.6, 0.7]

    Bifet et al., "New ensemble methods for evolving data streams", KDD 2009 (MOA's ConceptDriftStream).
    """

    def __init__(
        self, a: Source, b: Source, /, *, at: int, width: int, seed: int, n: int | None = None, block: int = 1000
    ) -> None:
        require(at >= 0, f"at={at}", "a row number")
        require(width >= 1, f"width={width}", "at least one row; for a change at once use Abrupt")
        require(seed >= 0, f"seed={seed}", "a whole number of at least 0")
        self._sources, self.n, self.block = _checked((a, b), n, block)
        self.at, self.width, self.seed = at, width, seed

    @property
    def drifts(self) -> tuple[int, ...]:
        """Rows at which the concept changes: `at`, and where the drifts of `a` and `b` have come to lie."""
        return _before(self.n, self.at, *self._places(0), *self._places(1))

    def _places(self, source: int) -> list[int]:
        """The rows at which the drifts of a source come up; what comes up only by a miracle is left out."""
        own = sorted(_drifts(self._sources[source]))
        # Ten widths on, a row of `a` has a chance of e^-40: `a` will not be seen again, `b` on every row.
        settled = self.at + 10 * self.width
        rows = np.flatnonzero(self._which(0, settled) == source) if own else np.empty(0)
        late = settled - len(rows)
        return [int(rows[row]) if row < len(rows) else row + late for row in own if source or row < len(rows)]

    def _which(self, start: int, stop: int, /) -> npt.NDArray[np.int64]:
        numbers = range(start // CHUNK, (stop - 1) // CHUNK + 1)
        coins = np.concatenate([row_random(self.seed, number).random(CHUNK) for number in numbers] or [np.empty(0)])
        first = start // CHUNK * CHUNK
        # Clipped where exp would overflow: there the probability is 0 in floating point anyway.
        slope = np.clip(-4.0 * (np.arange(start, stop) - self.at) / self.width, -700, 700)
        return (coins[start - first : stop - first] < 1 / (1 + np.exp(slope))).astype(np.int64)


@final
class Recurring(_Mix):
    """Streams take turns of `every` rows each; in its next turn a stream goes on where it stopped.

    Args:
        streams: two or more.
        every: rows of a turn.
        n: rows in all; None until a stream ends whose turn it is.
        block: rows per block.

    Raises:
        SettingError: a setting is out of range.
        SchemaError: the streams have other columns or classes.

    >>> from retain.streams.synthetic import STAGGER
    >>> stream = Recurring([STAGGER(seed=1, concept=1), STAGGER(seed=2, concept=3)], every=1000, n=4000)
    >>> stream.drifts
    (1000, 2000, 3000)
    >>> [round(float(batch.y.mean()), 1) for batch in stream]
    [0.1, 0.7, 0.1, 0.7]
    """

    def __init__(self, streams: Sequence[Source], /, *, every: int, n: int | None = None, block: int = 1000) -> None:
        require(len(streams) >= 2, f"{len(streams)} streams", "two or more that take turns")
        require(every >= 1, f"every={every}", "at least one row")
        self._sources, self.n, self.block = _checked(tuple(streams), n, block)
        self.every = every

    @property
    def drifts(self) -> tuple[int, ...]:
        """Rows at which the concept changes, those of the streams included.

        Raises SettingError without `n`: there is no end of them.
        """
        if self.n is None:
            raise SettingError(f"an endless Recurring has no list of drifts: they come every {self.every}; give it n=")
        every, k = self.every, len(self._sources)
        own = [(i, row) for i, source in enumerate(self._sources) for row in _drifts(source)]
        inner = [row // every * every * k + i * every + row % every for i, row in own]
        return _before(self.n, *range(every, self.n, every), *inner)

    def _which(self, start: int, stop: int, /) -> npt.NDArray[np.int64]:
        return np.arange(start, stop) // self.every % len(self._sources)


@final
class Incremental:
    """One concept turns into another by way of all that lie between them.

    The inputs and the noise are those of `a`. What decides the label (the distance from a threshold or plane, the
    target of a regression) is (1 - s) times that of `a` plus s times that of `b`, with s going from 0 at row
    `at - width / 2` straight to 1 at `at + width / 2`. So a threshold, a weight or a function goes straight from one to
    the other.

    Args:
        a: the concept before: a SEA, Hyperplane (with magnitude 0), Sine or Friedman.
        b: the concept after, of the same kind; its seed matters only for the weights of a Hyperplane.
        at: the row at which half of the change has happened.
        width: over how many rows it happens.

    Raises:
        SettingError: a setting is out of range, or there is nothing between these concepts: a rule over categories or
            a tree has no half way, use `Gradual`.
        SchemaError: the streams have other columns.

    >>> from retain.streams.synthetic import SEA
    >>> stream = Incremental(SEA(seed=1, theta=4.0), SEA(seed=1, theta=16.0), at=5000, width=6000)
    >>> [round(float(batch.y.mean()), 1) for batch, _ in zip(stream, range(9))]
    [0.9, 0.9, 0.9, 0.8, 0.6, 0.4, 0.2, 0.1, 0.1]
    """

    def __init__(self, a: Synthetic, b: Synthetic, /, *, at: int, width: int) -> None:
        require(at >= 0, f"at={at}", "a row number")
        require(width >= 1, f"width={width}", "at least one row; for a change at once use Abrupt")
        if (
            not isinstance(a, Continuous)
            or not isinstance(b, Continuous)
            or type(a) is not type(b)
            or a.wanders
            or b.wanders
        ):
            raise SettingError(
                f"there is no concept half way between {a} and {b}; expected two SEA, Hyperplane (magnitude=0), "
                "Sine or Friedman: use Gradual"
            )
        _checked((a, b), a.n, a.block)
        self.a, self.b = a, b
        self.at, self.width = at, width
        self.n, self.block = a.n, a.block

    def __iter__(self) -> Iterator[Batch]:
        for batch, _ in self.read():
            yield batch

    @property
    def drifts(self) -> tuple[int, ...]:
        """The row at which half of the change has happened."""
        return _before(self.n, self.at)

    def schema(self) -> Schema:
        """The schema of the streams."""
        return self.a.schema()

    def read(self, position: State | None = None, /) -> Iterator[tuple[Batch, State]]:
        return chunks_to_blocks(self._chunk, position, schema=self.schema(), concept={}, n=self.n, block=self.block)

    def _chunk(self, number: int, concept: State, /) -> tuple[Array, Array, State]:
        rng = row_random(self.a.seed, number)
        x = self.a.inputs(rng)
        row = number * CHUNK + np.arange(CHUNK)
        share = np.clip((row - self.at) / self.width + 0.5, 0, 1)
        score = (1 - share) * self.a.score(x) + share * self.b.score(x)
        return x, self.a.outcome(rng, score), concept


class _Tap:
    """A stream that is read by the row and knows its position at any of them."""

    def __init__(self, source: Source, position: State | None, /) -> None:
        self._before: State | None = None if position is None else position["at"]  # before the batch in hand
        self._reader = source.read(self._before)
        self._after = self._before
        self._batch: Batch | None = None
        self._done = 0  # rows of the batch in hand that are gone
        self._ahead: list[tuple[Batch, State]] = []
        skip: int = 0 if position is None else position["skip"]
        if skip:
            self.take(skip)

    @property
    def quarantined(self) -> int:
        """Rows that the source refused so far."""
        return 0 if self._after is None else int(self._after["quarantined"])

    def has(self, rows: int, /) -> int:
        """How many of the next `rows` rows there are."""
        found = 0 if self._batch is None else len(self._batch) - self._done
        found += sum(len(batch) for batch, _ in self._ahead)
        while found < rows:
            block = next(self._reader, None)
            if block is None:
                return found
            self._ahead.append(block)
            found += len(block[0])
        return rows

    def take(self, rows: int, /) -> Batch:
        """The next `rows` rows, which must be there."""
        if self.has(rows) < rows:
            raise StateError(f"a position lies {rows} rows ahead in a stream that has ended; has the source changed?")
        parts: list[Batch] = []
        while rows:
            if self._batch is None or self._done == len(self._batch):
                self._before = self._after
                self._batch, self._after = self._ahead.pop(0)
                self._done = 0
            some = min(rows, len(self._batch) - self._done)
            parts.append(take_batch(self._batch, slice(self._done, self._done + some)))
            self._done += some
            rows -= some
        return concat_batches(parts)

    def position(self) -> dict[str, object]:
        """Where `take` goes on: a position of the source and the rows to skip from there."""
        if self._batch is None or self._done == len(self._batch):
            return {"at": None if self._after is None else states.copy(self._after), "skip": 0}
        return {"at": None if self._before is None else states.copy(self._before), "skip": self._done}


def _available(taps: Sequence[_Tap], which: npt.NDArray[np.int64], /) -> int:
    """How many of the rows there are before the first that its stream does not have."""
    end = len(which)
    for i, tap in enumerate(taps):
        rows = np.flatnonzero(which == i)
        found = tap.has(len(rows))
        if found < len(rows):
            end = min(end, int(rows[found]))
    return end


def _place(position: State, sources: Sequence[Source], /) -> tuple[int, list[_Tap]]:
    row, places = position.get("rows"), position.get("sources")
    if not isinstance(row, int) or not isinstance(places, list) or len(places) != len(sources):
        raise StateError(f"a position at row {row!r} does not belong to this mixture of {len(sources)} streams")
    return row, [_Tap(source, place) for source, place in zip(sources, places, strict=True)]


def _checked(sources: tuple[Source, ...], n: int | None, block: int) -> tuple[tuple[Source, ...], int | None, int]:
    require(n is None or n >= 0, f"n={n}", "a number of rows, or None")
    require(block >= 1, f"block={block}", "at least one row")
    first = sources[0].schema()
    for source in sources[1:]:
        other = source.schema()
        if other.columns != first.columns or other.classes != first.classes:
            raise SchemaError(
                f"a stream with the columns {other.names} and classes {other.classes} cannot follow one with "
                f"{first.names} and {first.classes}; expected the same"
            )
    return sources, n, block


def _drifts(source: Source, /) -> tuple[int, ...]:
    """Where a source drifts by itself, if it is one that can tell."""
    return source.drifts if isinstance(source, (_Mix, Incremental, Synthetic)) else ()


def _before(n: int | None, *rows: int) -> tuple[int, ...]:
    return tuple(sorted({row for row in rows if n is None or row < n}))
