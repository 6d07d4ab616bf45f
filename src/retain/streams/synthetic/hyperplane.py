"""A hyperplane through the unit cube that may turn as the stream goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from retain.core import Array, Schema, State
from retain.streams.synthetic.generator import (
    CHUNK,
    Continuous,
    flip,
    model_random,
    numeric,
    require,
    row_random,
    share,
    table,
)

__all__ = ["Hyperplane"]


@final
@dataclass(frozen=True, kw_only=True)
class Hyperplane(Continuous):
    """Class 1 where w . x >= sum(w) / 2, for x uniform on the unit cube, so that the classes are balanced.

    After each row the first `moving` weights go `magnitude` further in their direction, which is upward at first, and
    each direction turns around with probability `turn`. The weights at the start are uniform on [0, 1), from the seed.

    Args:
        seed: rows and weights are a function of it.
        features: columns d.
        moving: how many weights move.
        magnitude: by how much, per row; 0 for a hyperplane that stays.
        turn: probability that a direction turns around after a row.
        noise: probability that a label is flipped; 0.05 in MOA.
        n: rows in all; None for an endless stream.
        block: rows per block.

    Raises:
        SettingError: a setting is out of range.

    >>> stays = Hyperplane(seed=1, features=4, n=7000)
    >>> turns = Hyperplane(seed=1, features=4, magnitude=0.001, n=7000)
    >>> [float((a.y != b.y).mean()) for a, b in zip(stays, turns)]  # the same inputs: how far the two have parted
    [0.033, 0.029, 0.019, 0.021, 0.02, 0.097, 0.13]

    Hulten, Spencer and Domingos, "Mining time-changing data streams", KDD 2001. The walk of the weights is MOA's;
    River's noise and turns are each .01 less likely than asked for.
    """

    features: int = 10
    moving: int = 2
    magnitude: float = 0.0
    turn: float = 0.1
    noise: float = 0.0

    def _check(self) -> None:
        require(self.features >= 1, f"features={self.features}", "at least one")
        require(0 <= self.moving <= self.features, f"moving={self.moving}", f"0 to features={self.features}")
        require(0 <= self.magnitude < np.inf, f"magnitude={self.magnitude}", "a finite number of at least 0")
        share(self.turn, "turn")
        share(self.noise, "noise")

    def schema(self) -> Schema:
        return table(numeric([f"x{i + 1}" for i in range(self.features)]), classes=("0", "1"))

    @property
    def weights(self) -> npt.NDArray[np.float64]:
        """The weights w (d,) at the start."""
        return model_random(self.seed).random(self.features)

    @property
    def wanders(self) -> bool:
        """Whether the weights move."""
        return self.magnitude > 0 and self.moving > 0

    def labels(self, x: Array, /) -> npt.NDArray[np.int64]:
        """What the weights at the start say of x (n, d), without noise: (n,) codes."""
        return (self.score(x) >= 0).astype(np.int64)

    def inputs(self, rng: np.random.Generator, /) -> Array:
        return rng.random((CHUNK, self.features), dtype=np.float32)

    def score(self, x: Array, /) -> npt.NDArray[np.float64]:
        return _score(x, self.weights)

    def outcome(self, rng: np.random.Generator, score: npt.NDArray[np.float64], /) -> Array:
        return flip(rng, (score >= 0).astype(np.int64), noise=self.noise)

    def _concept(self) -> State:
        return {"weights": self.weights, "direction": np.ones(self.moving)}

    def _chunk(self, number: int, concept: State, /) -> tuple[Array, Array, State]:
        rng = row_random(self.seed, number)
        x = self.inputs(rng)
        if not self.wanders:
            return x, self.outcome(rng, _score(x, concept["weights"])), concept
        path, direction = _walk(rng, concept["direction"], turn=self.turn)
        weights = np.tile(concept["weights"], (CHUNK + 1, 1))
        weights[:, : self.moving] += self.magnitude * path
        y = self.outcome(rng, _score(x, weights[:-1]))
        return x, y, {"weights": weights[-1], "direction": direction}


def _score(x: Array, weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """w . (x - 1/2), row by row; einsum adds in the same order however many rows there are, matmul may not."""
    centred = x.astype(np.float64) - 0.5
    return np.einsum("nd,d->n" if weights.ndim == 1 else "nd,nd->n", centred, weights)


def _walk(rng: np.random.Generator, direction: Array, /, *, turn: float) -> tuple[Array, Array]:
    """Steps of +1 and -1 added up, (m + 1, moving) from 0 on, and the direction after the last of them."""
    turned = np.where(rng.random((CHUNK, len(direction))) < turn, -1.0, 1.0)
    path = np.zeros((CHUNK + 1, len(direction)))
    ahead = direction * np.cumprod(turned, axis=0)
    steps = np.concatenate([direction[None], ahead[:-1]])
    np.cumsum(steps, axis=0, out=path[1:])
    return path, ahead[-1]
