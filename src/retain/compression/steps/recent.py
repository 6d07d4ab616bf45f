"""Recent rows as the trees at the end of a chain see them, and what comes of them at each node.

Shapes: n rows, d features, N nodes, T trees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from retain import blocks
from retain.branches import Branches
from retain.compose import Branching, within
from retain.compression.draft import Draft, Lessons, end
from retain.core import Array, Floats, Ints
from retain.errors import SettingError

__all__ = ["Recent", "forest"]


@final
@dataclass(frozen=True, slots=True)
class Recent:
    """Labelled rows."""

    x: Floats  # (n, d) float32
    y: Ints  # (n,) class codes
    weight: Floats  # (n,)

    @staticmethod
    def of(draft: Draft, lessons: Lessons, branches: Branches, /) -> Recent:
        """The lessons' rows of classes that the trees know. Raises SettingError where there are none."""
        xs, ys, ws = [np.zeros((0, branches.width), dtype=np.float32)], [np.zeros(0, dtype=np.int64)], [np.zeros(0)]
        for batch in within(draft.learner, lessons.batches):
            y = blocks.codes(batch.y, len(batch), reader="compression")
            weight = blocks.weights(batch.weight, len(batch), reader="compression")
            known = np.flatnonzero((y >= 0) & (y < branches.classes) & (weight > 0))
            x = blocks.matrix(batch.x, reader="compression", missing=True)
            x = blocks.dense(x, max(blocks.width(x), branches.width))[:, : branches.width]
            xs, ys, ws = [*xs, x[known]], [*ys, y[known]], [*ws, weight[known]]
        found = Recent(np.concatenate(xs), np.concatenate(ys), np.concatenate(ws))
        if not len(found.y):
            raise SettingError(
                "the lessons hold no labelled rows of classes that the trees know; give some recent ones"
            )
        return found

    def truth(self, classes: int, /) -> Floats:
        """(n, K) 1 at the class of each row."""
        return np.eye(classes)[self.y]

    def landed(self, branches: Branches, amounts: Array, /) -> Array:
        """(N, ...) sums of amounts (n, T, ...) over the rows that end at each node."""
        at = branches.reached(self.x)
        out = np.zeros((len(branches.test), *amounts.shape[2:]))
        np.add.at(out, at.reshape(-1), amounts.reshape(-1, *amounts.shape[2:]))
        return out


def forest(draft: Draft, /, *, needs: str) -> tuple[Branching, Branches]:
    """The trees at the end of a chain. Raises SettingError, which begins with `needs`."""
    learner = end(draft.learner, Branching, needs=needs)  # pyright: ignore[reportAbstractUsage] - it is only asked for
    return learner, learner.branches()
