"""Answers by `Branches`, compiled.

Shapes: n rows, d features, K classes.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, final

import numpy as np

from retain import blocks
from retain.branches import Branches
from retain.core import Array, Features, Floats

__all__ = ["Answering", "floored", "middle"]

_READER = "the artefact"


@final
class Answering:
    """Trees that answer and do not learn, in float32: nodes and leaves, and nothing else of what a learner remembers.

    A row of float32 goes the way that it goes in the learner: thresholds are rounded down to float32, which parts such
    numbers at the same place. Bare rows must be as wide as those learnt; sparse ones and record batches may be wider,
    what is beyond is not looked at, and what is not there is 0.
    """

    def __init__(self, branches: Branches, /) -> None:
        self._width, self._classes = branches.width, branches.classes
        says, leaves = branches.says, branches.test < 0
        centre, _ = middle(branches, of_means=True)
        with np.errstate(over="ignore"):  # a class that a leaf does not know is at -inf all the same
            best = np.max(says.prior, axis=1, keepdims=True, initial=-np.inf)
            parts = {
                "root": branches.root.astype(np.int32),
                "trust": branches.trust.astype(np.float64),
                "test": branches.test.astype(np.int32),
                "value": floored(branches.value),
                "right": np.where(leaves, branches.leaf, branches.child[:, 1]).astype(np.int32),
                "missing": branches.missing.astype(np.int8),
                "place": branches.place.astype(np.int32),
                "shares": branches.shares.astype(np.float32),
                "bayes": branches.bayes.astype(np.int32),
                "pick": says.pick.astype(np.int32),
                "mean": (says.mean - centre[says.pick][:, None]).astype(np.float32),
                "narrow": np.minimum(says.narrow, np.finfo(np.float32).max).astype(np.float32),
                "prior": (says.prior - best).astype(np.float32),
                "values": says.values.astype(np.float32),
                "centre": centre,
            }
        self._parts: tuple[Array, ...] = tuple(np.require(part, requirements=["C", "W"]) for part in parts.values())
        self._kernel: Any = None

    @property
    def memory(self) -> int:
        """Bytes of the arrays."""
        return sum(part.nbytes for part in self._parts)

    def predict(self, x: Features, /) -> Array:
        """As `retain.core.Predictor.predict`."""
        if self._kernel is None:  # compiled code is loaded when the first row arrives
            self._kernel = import_module("retain.learners.trees.answering_kernels").votes
        bare = self._width if isinstance(x, np.ndarray) else None
        rows = blocks.matrix(x, reader=_READER, columns=bare, missing=True)
        rows = blocks.dense(rows, max(blocks.width(rows), self._width))
        out = np.zeros((len(rows), self._classes))
        self._kernel(np.require(rows, np.float32, ["C", "W"]), *self._parts, out)
        return out


def floored(values: Floats, /) -> Floats:
    """The largest float32 that are no larger."""
    near = values.astype(np.float32)
    return np.where(near > values, np.nextafter(near, np.float32(-np.inf)), near).astype(np.float32)


def middle(branches: Branches, /, *, of_means: bool) -> tuple[Floats, Floats]:
    """(d,) between the least and the largest number that each feature is compared with, and half of what lies between.

    These are the means of naive Bayes (`of_means`), or the thresholds. Of no number, 0 and 1. Means that are all the
    same are exactly in the middle: then next to nothing may be lost of them.
    """
    says = branches.says
    low, high = np.full(branches.width, np.inf), np.full(branches.width, -np.inf)
    if of_means:
        pick = np.broadcast_to(says.pick[:, None], says.mean.shape)
        known = (says.narrow > 0) & (branches.place[pick] < 0)
        which, numbers = pick[known], says.mean[known]
    else:
        inner = branches.test >= 0
        which, numbers = branches.test[inner], branches.value[inner]
        number = branches.place[which] < 0
        which, numbers = which[number], numbers[number]
    np.minimum.at(low, which, numbers)
    np.maximum.at(high, which, numbers)
    there = low <= high
    low, high = np.where(there, low, 0.0), np.where(there, high, 0.0)
    half = 0.5 * (high - low)
    return low + half, np.where(half > 0, half, 1.0)
