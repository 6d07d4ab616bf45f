"""SEA: two numbers and a threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import numpy.typing as npt

from retain.core import Array, Schema
from retain.streams.synthetic.generator import CHUNK, Continuous, flip, numeric, require, share, table

__all__ = ["SEA"]


@final
@dataclass(frozen=True, kw_only=True)
class SEA(Continuous):
    """Class 1 where f1 + f2 > theta; f3 plays no part. All three are uniform on [0, 10).

    Args:
        seed: rows are a function of it.
        theta: the threshold; the paper's four concepts are `SEA.THETAS`, 8, 9, 7 and 9.5 in this order.
        noise: probability that a label is flipped; 0.1 in the paper.
        n: rows in all; None for an endless stream.
        block: rows per block.

    Raises:
        SettingError: a setting is out of range.

    >>> batch = next(iter(SEA(seed=1, theta=8.0)))
    >>> batch.x[:3].round(1)
    array([[6.8, 8.8, 0.4],
           [8.9, 0.3, 2. ],
           [2.3, 3.9, 7.2]], dtype=float32)
    >>> batch.y[:3]
    array([1, 1, 0])

    Street and Kim, "A streaming ensemble algorithm (SEA) for large-scale classification", KDD 2001. The paper does not
    say which side is class 1; as in MOA it is the one above the threshold.
    """

    THETAS: ClassVar[tuple[float, ...]] = (8.0, 9.0, 7.0, 9.5)

    theta: float = 8.0
    noise: float = 0.0

    def _check(self) -> None:
        require(np.isfinite(self.theta).item(), f"theta={self.theta}", "a finite number, e.g. one of SEA.THETAS")
        share(self.noise, "noise")

    def schema(self) -> Schema:
        return table(numeric(["f1", "f2", "f3"]), classes=("0", "1"))

    def labels(self, x: Array, /) -> npt.NDArray[np.int64]:
        """What the concept says of x (n, 3), without noise: (n,) codes."""
        return (self.score(x) > 0).astype(np.int64)

    def inputs(self, rng: np.random.Generator, /) -> Array:
        return rng.random((CHUNK, 3), dtype=np.float32) * np.float32(10)

    def score(self, x: Array, /) -> npt.NDArray[np.float64]:
        return x[:, 0].astype(np.float64) + x[:, 1] - self.theta

    def outcome(self, rng: np.random.Generator, score: npt.NDArray[np.float64], /) -> Array:
        return flip(rng, (score > 0).astype(np.int64), noise=self.noise)
