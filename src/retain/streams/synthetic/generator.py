"""What all generators share: rows made in chunks, each from its own random numbers.

Chunk c holds the rows [4096 c, 4096 (c + 1)) and is a function of (seed, c) alone, so that reading from row 10^9 costs
one chunk and blocks may be cut anywhere. A generator whose concept wanders at random (the hyperplane) also hands a
small state from chunk to chunk, which a position carries along.

Shapes: m rows of a chunk (always 4096), d columns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from retain import state as states
from retain.blocks import schema_to_state
from retain.core import Array, Batch, Column, Kind, Schema, State
from retain.errors import SettingError, StateError

__all__ = [
    "CHUNK",
    "Chunk",
    "Continuous",
    "Synthetic",
    "chunks_to_blocks",
    "flip",
    "model_random",
    "numeric",
    "require",
    "row_random",
    "share",
    "table",
]

CHUNK = 4096
Chunk: TypeAlias = "Callable[[int, State], tuple[Array, Array, State]]"
"""(number, concept at its start) -> x (m, d) float32, y (m,), concept at its end."""

_ROWS, _MODEL = 0, 1  # what random numbers are for: rows never share theirs with the concept


def row_random(seed: int, chunk: int, /) -> np.random.Generator:
    """The random numbers of one chunk of rows."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(_ROWS, chunk))))


def model_random(seed: int, /) -> np.random.Generator:
    """The random numbers of what stays: centres, trees, weights."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(_MODEL,))))


def chunks_to_blocks(
    chunk: Chunk, position: State | None, /, *, schema: Schema, concept: State, n: int | None, block: int
) -> Iterator[tuple[Batch, State]]:
    """Cut chunks into blocks of `block` rows, from `position` on, each with the position after it."""
    row = 0
    if position is not None:
        row, concept = _place(position, schema)
    made, x, y, after = -1, np.empty((0, 0)), np.empty(0), concept
    while n is None or row < n:
        stop = row + block if n is None else min(row + block, n)
        xs: list[Array] = []
        ys: list[Array] = []
        while row < stop:
            if row // CHUNK != made:
                concept = after
                made = row // CHUNK
                x, y, after = chunk(made, concept)
            first, last = row - made * CHUNK, min(stop - made * CHUNK, CHUNK)
            xs.append(x[first:last])
            ys.append(y[first:last])
            row = made * CHUNK + last
        # Where the next row opens a new chunk, the concept there is that of the last one's end.
        kept = after if row % CHUNK == 0 else concept
        joined = (xs[0], ys[0]) if len(xs) == 1 else (np.concatenate(xs), np.concatenate(ys))
        place = {"rows": row, "quarantined": 0, "schema": schema_to_state(schema), "concept": states.copy(kept)}
        yield Batch(joined[0], y=joined[1], schema=schema), place


def _place(position: State, schema: Schema) -> tuple[int, State]:
    row = position.get("rows")
    if not isinstance(row, int) or row < 0 or position.get("schema") != schema_to_state(schema):
        raise StateError(
            f"a position at row {row!r} does not belong to this stream; expected one that it, or one with the same "
            "settings, gave: read from the beginning, or with the settings of then"
        )
    return row, states.copy(position["concept"])


@dataclass(frozen=True, kw_only=True)
class Synthetic(ABC):
    """A stream made of random numbers: a function of the seed and the row number.

    Args:
        seed: rows and concept are a function of it; concepts that are given by a parameter are not, so that the same
            seed with another parameter gives the same inputs with other labels.
        n: rows in all; None for an endless stream.
        block: rows per block.
    """

    seed: int
    n: int | None = None
    block: int = 1000

    def __post_init__(self) -> None:
        require(self.seed >= 0, f"seed={self.seed}", "a whole number of at least 0")
        require(self.n is None or self.n >= 0, f"n={self.n}", "a number of rows, or None for an endless stream")
        require(self.block >= 1, f"block={self.block}", "at least one row")
        self._check()

    def __iter__(self) -> Iterator[Batch]:
        for batch, _ in self.read():
            yield batch

    def read(self, position: State | None = None, /) -> Iterator[tuple[Batch, State]]:
        return chunks_to_blocks(
            self._chunk, position, schema=self.schema(), concept=self._concept(), n=self.n, block=self.block
        )

    @property
    def drifts(self) -> tuple[int, ...]:
        """Rows at which the concept changes abruptly: none in a generator by itself, see `retain.streams.drift`."""
        return ()

    @abstractmethod
    def schema(self) -> Schema:
        """Names and kinds of the columns, and the classes."""

    @abstractmethod
    def _check(self) -> None:
        """Raise SettingError for a setting that makes no sense."""

    @abstractmethod
    def _chunk(self, number: int, concept: State, /) -> tuple[Array, Array, State]:
        """See `Chunk`."""

    def _concept(self) -> State:
        """What chunk 0 is handed; empty unless the concept wanders."""
        return {}


class Continuous(Synthetic, ABC):
    """A generator whose label follows from a score that can be blended with another: see `drift.Incremental`."""

    @abstractmethod
    def inputs(self, rng: np.random.Generator, /) -> Array:
        """The inputs of a chunk: (m, d) float32."""

    @abstractmethod
    def score(self, x: Array, /) -> npt.NDArray[np.float64]:
        """What decides the label, (m,): the target itself, or a number whose sign is the class."""

    @abstractmethod
    def outcome(self, rng: np.random.Generator, score: npt.NDArray[np.float64], /) -> Array:
        """Labels (m,) for scores, with noise."""

    @property
    def wanders(self) -> bool:
        """Whether the concept moves by itself, so that it cannot be blended with another."""
        return False

    def _chunk(self, number: int, concept: State, /) -> tuple[Array, Array, State]:
        rng = row_random(self.seed, number)
        x = self.inputs(rng)
        return x, self.outcome(rng, self.score(x)), concept


def flip(rng: np.random.Generator, y: Array, /, *, noise: float, classes: int = 2) -> Array:
    """Replace each class, with probability `noise`, by one of the others."""
    if noise == 0:
        return y
    hit = rng.random(len(y)) < noise
    return np.where(hit, (y + rng.integers(1, classes, size=len(y))) % classes, y)


def table(columns: tuple[Column, ...], *, classes: tuple[str, ...] | None, target: str = "y") -> Schema:
    """The schema of a generator."""
    return Schema(columns=columns, target=target, classes=classes)


def numeric(names: list[str], /) -> tuple[Column, ...]:
    """Columns of numbers."""
    return tuple(Column(name, Kind.NUMERIC) for name in names)


def require(holds: bool, met: str, expected: str, /) -> None:  # noqa: FBT001 - a condition is what it takes
    """Raise SettingError unless a setting makes sense."""
    if not holds:
        raise SettingError(f"{met}; expected {expected}")


def share(value: float, name: str, /) -> None:
    """Raise SettingError unless `value` is a probability."""
    require(0 <= value <= 1, f"{name}={value}", "a probability between 0 and 1")
