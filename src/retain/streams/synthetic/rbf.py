"""Random radial basis functions: blobs with a class each, which may drift through the unit cube."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt

from retain.core import Array, Schema, State
from retain.streams.synthetic.generator import (
    CHUNK,
    Synthetic,
    flip,
    model_random,
    numeric,
    require,
    row_random,
    share,
    table,
)

__all__ = ["RandomRBF"]


class _Blobs(NamedTuple):
    """c centroids in d dimensions."""

    centre: npt.NDArray[np.float64]  # (c, d)
    velocity: npt.NDArray[np.float64]  # (c, d) per row
    deviation: npt.NDArray[np.float64]  # (c,)
    label: npt.NDArray[np.int64]  # (c,)
    chance: npt.NDArray[np.float64]  # (c,) cumulative


@final
@dataclass(frozen=True, kw_only=True)
class RandomRBF(Synthetic):
    """Rows lie around one of `centroids` points and have its class.

    A centroid has a centre uniform in the unit cube, a class, a standard deviation uniform on [0, 1) and a weight
    uniform on [0, 1). A row chooses one by weight and lies from its centre in a random direction, at a normal distance
    times the deviation. With `speed` > 0 the first `moving` centres travel in straight lines and are reflected at the
    walls, so that the concept drifts at every row.

    Args:
        seed: rows and centroids are a function of it.
        classes: k.
        features: columns d.
        centroids: how many.
        speed: how far a moving centre goes per row.
        moving: how many centres move; None for all.
        noise: probability that a label is replaced by another.
        n: rows in all; None for an endless stream.
        block: rows per block.

    Raises:
        SettingError: a setting is out of range.

    >>> stream = RandomRBF(seed=1, classes=3, features=2, centroids=3, speed=0.0001)
    >>> stream.centres(0).round(2)
    array([[0.48, 0.6 ],
           [0.25, 0.23],
           [0.61, 0.21]])
    >>> stream.centres(10_000).round(2)
    array([[0.87, 0.48],
           [0.62, 0.85],
           [0.65, 0.89]])

    Bifet et al., "New ensemble methods for evolving data streams", KDD 2009 (and MOA, where a centre that would leave
    the cube waits at the wall for a row before it turns; here it is reflected, so that its path has a closed form).
    """

    classes: int = 2
    features: int = 10
    centroids: int = 50
    speed: float = 0.0
    moving: int | None = None
    noise: float = 0.0

    def _check(self) -> None:
        require(self.classes >= 2, f"classes={self.classes}", "at least two")
        require(self.features >= 1, f"features={self.features}", "at least one")
        require(self.centroids >= 1, f"centroids={self.centroids}", "at least one")
        require(0 <= self.speed < np.inf, f"speed={self.speed}", "a finite number of at least 0")
        most = f"0 to centroids={self.centroids}, or None for all"
        require(self.moving is None or 0 <= self.moving <= self.centroids, f"moving={self.moving}", most)
        share(self.noise, "noise")

    def schema(self) -> Schema:
        names = [f"x{i + 1}" for i in range(self.features)]
        return table(numeric(names), classes=tuple(map(str, range(self.classes))))

    def centres(self, row: int, /) -> npt.NDArray[np.float64]:
        """Where the centroids are when row number `row` is made: (centroids, d)."""
        blobs = self._blobs()
        return _reflect(blobs.centre + blobs.velocity * row)

    def _blobs(self) -> _Blobs:
        rng = model_random(self.seed)
        centre = rng.random((self.centroids, self.features))
        label = rng.integers(0, self.classes, self.centroids)
        deviation = rng.random(self.centroids)
        weight = rng.random(self.centroids)
        heading = rng.random((self.centroids, self.features))
        velocity = self.speed * heading / np.linalg.norm(heading, axis=1, keepdims=True)
        if self.moving is not None:
            velocity[self.moving :] = 0
        return _Blobs(centre, velocity, deviation, label, np.cumsum(weight) / weight.sum())

    def _chunk(self, number: int, concept: State, /) -> tuple[Array, Array, State]:
        blobs = self._blobs()
        rng = row_random(self.seed, number)
        # The last cumulative share may round to less than a draw.
        which = np.minimum(np.searchsorted(blobs.chance, rng.random(CHUNK), side="right"), self.centroids - 1)
        direction = rng.uniform(-1, 1, (CHUNK, self.features))
        distance = rng.standard_normal(CHUNK) * blobs.deviation[which]
        offset = direction * (distance / np.linalg.norm(direction, axis=1))[:, None]
        row = number * CHUNK + np.arange(CHUNK)
        centre = _reflect(blobs.centre[which] + blobs.velocity[which] * row[:, None])
        y = flip(rng, blobs.label[which], noise=self.noise, classes=self.classes)
        return (centre + offset).astype(np.float32), y, concept


def _reflect(path: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Fold straight lines into the unit cube."""
    return 1 - np.abs(1 - path % 2)
