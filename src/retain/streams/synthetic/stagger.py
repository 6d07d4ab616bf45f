"""STAGGER: three categories and a Boolean rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import numpy.typing as npt

from retain.core import Array, Column, Kind, Schema, State
from retain.streams.synthetic.generator import CHUNK, Synthetic, flip, require, row_random, share, table

__all__ = ["STAGGER"]


@final
@dataclass(frozen=True, kw_only=True)
class STAGGER(Synthetic):
    """Things of a size, a colour and a shape, each uniform over three values, and one of three rules.

    1. size is small and colour is red; 2. colour is green or shape is circle; 3. size is medium or large.

    x holds codes: `SIZES`, `COLOURS` and `SHAPES` name them in order.

    Args:
        seed: rows are a function of it.
        concept: which rule says class 1: 1, 2 or 3, true of 1/9, 5/9 and 2/3 of the rows.
        noise: probability that a label is flipped.
        n: rows in all; None for an endless stream.
        block: rows per block.

    Raises:
        SettingError: a setting is out of range.

    >>> batch = next(iter(STAGGER(seed=1, concept=2)))
    >>> [
    ...     (STAGGER.COLOURS[int(colour)], STAGGER.SHAPES[int(shape)], int(y))
    ...     for (_, colour, shape), y in zip(batch.x[:3], batch.y)
    ... ]
    [('green', 'circle', 1), ('red', 'circle', 1), ('blue', 'triangle', 0)]

    Schlimmer and Granger, "Incremental learning from noisy data", Machine Learning 1, 1986. The codes are MOA's.
    """

    SIZES: ClassVar[tuple[str, ...]] = ("small", "medium", "large")
    COLOURS: ClassVar[tuple[str, ...]] = ("red", "blue", "green")
    SHAPES: ClassVar[tuple[str, ...]] = ("circle", "square", "triangle")

    concept: int = 1
    noise: float = 0.0

    def _check(self) -> None:
        require(self.concept in (1, 2, 3), f"concept={self.concept}", "1, 2 or 3")
        share(self.noise, "noise")

    def schema(self) -> Schema:
        columns = tuple(Column(name, Kind.CATEGORICAL) for name in ("size", "colour", "shape"))
        return table(columns, classes=("0", "1"))

    def labels(self, x: Array, /) -> npt.NDArray[np.int64]:
        """What the rule says of x (n, 3), without noise: (n,) codes."""
        size, colour, shape = x.T
        if self.concept == 1:
            rule = (size == 0) & (colour == 0)
        elif self.concept == 2:
            rule = (colour == 2) | (shape == 0)
        else:
            rule = (size == 1) | (size == 2)
        return rule.astype(np.int64)

    def _chunk(self, number: int, concept: State, /) -> tuple[Array, Array, State]:
        rng = row_random(self.seed, number)
        x = rng.integers(0, 3, size=(CHUNK, 3)).astype(np.float32)
        return x, flip(rng, self.labels(x), noise=self.noise), concept
