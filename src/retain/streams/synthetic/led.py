"""LED: read a digit from a display some of whose seven segments are wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from retain.core import Array, Column, Kind, Schema, State
from retain.streams.synthetic.generator import CHUNK, Synthetic, model_random, require, row_random, share, table

__all__ = ["LED"]

_SEGMENTS = ("top", "upper_left", "upper_right", "middle", "lower_left", "lower_right", "bottom")
_IRRELEVANT = 17
_DIGITS = np.array(
    [
        [1, 1, 1, 0, 1, 1, 1],
        [0, 0, 1, 0, 0, 1, 0],
        [1, 0, 1, 1, 1, 0, 1],
        [1, 0, 1, 1, 0, 1, 1],
        [0, 1, 1, 1, 0, 1, 0],
        [1, 1, 0, 1, 0, 1, 1],
        [1, 1, 0, 1, 1, 1, 1],
        [1, 0, 1, 0, 0, 1, 0],
        [1, 1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 0, 1, 1],
    ],
    dtype=np.int64,
)


@final
@dataclass(frozen=True, kw_only=True)
class LED(Synthetic):
    """Ten digits, equally likely, as seven segments (1 = lit), each inverted with probability `noise`.

    With noise 0.1 no classifier is right more often than 74% of the time. 17 more columns are coin flips. Drift is the
    concept in which some segments have changed places with some of those: see `swapped`.

    Args:
        seed: rows, and which columns are swapped, are a function of it.
        noise: probability that a segment is inverted; 0.1 in the book and in MOA.
        irrelevant: whether there are 17 irrelevant columns.
        swapped: how many segments, 0 ... 7, have changed places with irrelevant columns.
        n: rows in all; None for an endless stream.
        block: rows per block.

    Raises:
        SettingError: a setting is out of range, or columns are to be swapped with irrelevant ones that are not there.

    >>> batch = next(iter(LED(seed=1, irrelevant=False)))
    >>> names = batch.schema.names
    >>> print(batch.y[0], [name for name, lit in zip(names, batch.x[0]) if lit])
    6 ['top', 'upper_left', 'middle', 'lower_left', 'lower_right', 'bottom']

    Breiman et al., "Classification and regression trees", 1984; drift as MOA's LEDGeneratorDrift.
    """

    noise: float = 0.0
    irrelevant: bool = True
    swapped: int = 0

    def _check(self) -> None:
        share(self.noise, "noise")
        require(0 <= self.swapped <= 7, f"swapped={self.swapped}", "0 to 7 segments")
        require(self.irrelevant or not self.swapped, f"swapped={self.swapped} with irrelevant=False", "irrelevant=True")

    def schema(self) -> Schema:
        extra = [f"irrelevant_{i + 1}" for i in range(_IRRELEVANT)] if self.irrelevant else []
        columns = tuple(Column(name, Kind.CATEGORICAL) for name in (*_SEGMENTS, *extra))
        return table(columns, classes=tuple(map(str, range(10))), target="digit")

    @property
    def places(self) -> tuple[int, ...]:
        """Which column each of the columns' contents has gone to; (0, 1, 2, ...) without drift."""
        places = list(range(len(_SEGMENTS) + _IRRELEVANT * self.irrelevant))
        rng = model_random(self.seed)
        first, other = int(rng.integers(7)), int(rng.integers(_IRRELEVANT))
        for i in range(self.swapped):
            a, b = (first + i) % 7, 7 + (other + i) % _IRRELEVANT
            places[a], places[b] = b, a
        return tuple(places)

    def _chunk(self, number: int, concept: State, /) -> tuple[Array, Array, State]:
        rng = row_random(self.seed, number)
        y = rng.integers(0, 10, CHUNK)
        lit = _DIGITS[y] ^ (rng.random((CHUNK, 7)) < self.noise)
        if self.irrelevant:
            lit = np.concatenate([lit, rng.integers(0, 2, (CHUNK, _IRRELEVANT))], axis=1)
        x = np.empty(lit.shape, dtype=np.float32)
        x[:, self.places] = lit
        return x, y, concept
