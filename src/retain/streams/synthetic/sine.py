"""Sine: above or below a curve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from retain.core import Array, Schema
from retain.streams.synthetic.generator import CHUNK, Continuous, flip, numeric, require, share, table

__all__ = ["Sine"]


@final
@dataclass(frozen=True, kw_only=True)
class Sine(Continuous):
    """Two uniform numbers and a curve; class 1 on one side of it.

    1. SINE1: x1 < sin(x2); 2. its reverse; 3. SINE2: x1 < 1/2 + 3/10 sin(3 pi x2); 4. its reverse. Exactly on the
    curve a row has class 0 in 1 and 3, class 1 in the reverses.

    Args:
        seed: rows are a function of it.
        function: which, 1 ... 4.
        noise: probability that a label is flipped; 0 in the paper.
        irrelevant: uniform columns that play no part; 2 in SIRREL2.
        n: rows in all; None for an endless stream.
        block: rows per block.

    Raises:
        SettingError: a setting is out of range.

    >>> batch = next(iter(Sine(seed=1, function=1)))
    >>> batch.x[:3].round(2), batch.y[:3]
    (array([[0.68, 0.88],
           [0.04, 0.89],
           [0.03, 0.2 ]], dtype=float32), array([1, 1, 1]))

    Gama, Medas, Castillo and Rodrigues, "Learning with drift detection", SBIA 2004. Rows are not balanced as in MOA's
    option: 46% of them lie below the curve of SINE1, 56% below that of SINE2.
    """

    function: int = 1
    noise: float = 0.0
    irrelevant: int = 0

    def _check(self) -> None:
        require(self.function in (1, 2, 3, 4), f"function={self.function}", "1, 2, 3 or 4")
        require(self.irrelevant >= 0, f"irrelevant={self.irrelevant}", "a number of columns")
        share(self.noise, "noise")

    def schema(self) -> Schema:
        return table(numeric([f"x{i + 1}" for i in range(2 + self.irrelevant)]), classes=("0", "1"))

    def labels(self, x: Array, /) -> npt.NDArray[np.int64]:
        """What the function says of x (n, d), without noise: (n,) codes."""
        return self._side(self.score(x))

    def inputs(self, rng: np.random.Generator, /) -> Array:
        return rng.random((CHUNK, 2 + self.irrelevant), dtype=np.float32)

    def score(self, x: Array, /) -> npt.NDArray[np.float64]:
        first, second = x[:, 0].astype(np.float64), x[:, 1].astype(np.float64)
        curve = np.sin(second) if self.function <= 2 else 0.5 + 0.3 * np.sin(3 * np.pi * second)
        return curve - first if self.function in (1, 3) else first - curve

    def outcome(self, rng: np.random.Generator, score: npt.NDArray[np.float64], /) -> Array:
        return flip(rng, self._side(score), noise=self.noise)

    def _side(self, score: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        return (score > 0 if self.function in (1, 3) else score >= 0).astype(np.int64)
