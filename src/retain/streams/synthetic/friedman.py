"""Friedman's function: regression with five columns that matter and five that do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from retain.core import Array, Schema
from retain.streams.synthetic.generator import CHUNK, Continuous, numeric, require, table

__all__ = ["Friedman"]


@final
@dataclass(frozen=True, kw_only=True)
class Friedman(Continuous):
    """y = 10 sin(pi x1 x2) + 20 (x3 - 1/2)^2 + 10 x4 + 5 x5 + noise e, with e standard normal and x1 ... x10 uniform.

    Args:
        seed: rows are a function of it.
        roles: the columns, counted from 1, that play the parts of x1 ... x5; drift is the concept in which others do.
        noise: standard deviation of what is added; 1 in the paper.
        n: rows in all; None for an endless stream.
        block: rows per block.

    Raises:
        SettingError: a setting is out of range.

    >>> batch = next(iter(Friedman(seed=1)))
    >>> batch.y[:3].round(1)
    array([23. ,  9.4, 23.5])
    >>> Friedman(seed=1).labels(batch.x[:3]).round(1)  # without the noise
    array([22.9, 10.2, 23.2])

    Friedman, "Multivariate adaptive regression splines", Annals of Statistics 19, 1991. Global drift as in Ikonomovska,
    Gama and Džeroski, "Learning model trees from evolving data streams", DMKD 2011, swaps roles: (4, 6, 2, 1, 3).
    """

    roles: tuple[int, int, int, int, int] = (1, 2, 3, 4, 5)
    noise: float = 1.0

    def _check(self) -> None:
        known = len(self.roles) == 5 and all(role in range(1, 11) for role in self.roles)
        require(known, f"roles={self.roles}", "five columns from 1 to 10")
        require(0 <= self.noise < np.inf, f"noise={self.noise}", "a standard deviation of at least 0")

    def schema(self) -> Schema:
        return table(numeric([f"x{i + 1}" for i in range(10)]), classes=None)

    def labels(self, x: Array, /) -> npt.NDArray[np.float64]:
        """The function of x (n, 10), without noise: (n,)."""
        return self.score(x)

    def inputs(self, rng: np.random.Generator, /) -> Array:
        return rng.random((CHUNK, 10), dtype=np.float32)

    def score(self, x: Array, /) -> npt.NDArray[np.float64]:
        a, b, c, d, e = (x[:, role - 1].astype(np.float64) for role in self.roles)
        return 10 * np.sin(np.pi * a * b) + 20 * (c - 0.5) ** 2 + 10 * d + 5 * e

    def outcome(self, rng: np.random.Generator, score: npt.NDArray[np.float64], /) -> Array:
        return score + self.noise * rng.standard_normal(len(score))
