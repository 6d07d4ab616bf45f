"""What a graph is made of: a neural net, weights and a link, or trees.

Shapes: n rows, d features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, final

import numpy as np

from retain.branches import Branches
from retain.compose import Branching, Scoring, learns
from retain.compression.branched import tree_graph
from retain.compression.draft import neural
from retain.compression.graph import drawn, exported
from retain.compression.weighted import constants, graph
from retain.core import Array, Learner
from retain.errors import SettingError
from retain.learners.trees.answering import middle
from retain.scores import Scores

if TYPE_CHECKING:
    import onnx

    from retain.learners.neural import Neural

__all__ = ["APART", "TRIED", "Source", "branched", "branching", "refuse_apart", "scored", "source"]

TRIED = 64  # rows to compare on, where none are given
APART = 1e-4  # of answers, in float32: sums in another order
_APART_HALF = 3e-2  # of a module in sixteen bits


class Source(Protocol):
    """A learner as a graph is made of it."""

    @property
    def learner(self) -> Learner: ...

    @property
    def classes(self) -> int:
        """How many are known; 0 where answers are numbers."""
        ...

    @property
    def apart(self) -> float:
        """How far the answers of a graph in float32 may be from the learner's."""
        ...

    def exported(self) -> onnx.ModelProto:
        """The graph in float32. Raises SettingError where none can be made."""
        ...

    def drawn(self) -> dict[str, Array]:
        """The weights, by the names that they have in the graph."""
        ...

    def some(self) -> Array:
        """Rows to compare on, where none are given."""
        ...


def source(learner: Learner, /) -> Source:
    """What a graph is made of. Raises SettingError for a learner that has no weights to ship."""
    last = learns(learner)
    if neural(last):
        return _Net(last)
    return _Trees(last, branched(last)) if branching(last) else _Weights(last, scored(last))


def branching(learner: Learner, /) -> bool:
    """Whether what is at the end of a chain is a tree or a forest that can be described."""
    return isinstance(learns(learner), Branching)


def branched(learner: Learner, /) -> Branches:
    """The trees that the learner at the end of a chain answers with. Raises SettingError where it has none."""
    last = learns(learner)
    if not isinstance(last, Branching):
        raise SettingError(f"{type(last).__name__} has no trees that could be described; expected one such as rt.ARF")
    return last.branches()


def scored(learner: Learner, /) -> Scores:
    """What the learner at the end of a chain answers with. Raises SettingError where that is no weighted sum."""
    last = learns(learner)
    if not isinstance(last, Scoring):
        raise SettingError(
            "compression knows neural nets, learners with one weight for each feature (Linear, Ridge, RLS, SLDA, "
            "NearestMean), and Hoeffding trees and forests of them (HoeffdingTree, ARF, SRP), alone or at the end of a "
            f"chain; got {type(last).__name__}: compress one of these instead"
        )
    return last.scores()


def refuse_apart(said: Array, wanted: Array, /, *, bound: float) -> None:
    """Refuse answers in float32 that are not the learner's. Raises SettingError."""
    said = said.reshape(len(wanted), -1)
    # Classes of rows that wait to be learnt have a column in the learner's answers, and nothing in it.
    narrow = wanted.reshape(len(wanted), -1)[:, : said.shape[1]]
    apart = float(np.abs(said - narrow).max(initial=0.0)) if narrow.shape == said.shape else np.inf
    if not apart <= bound * max(1.0, float(np.abs(narrow).max(initial=0.0))):
        raise SettingError(
            f"what would run answers otherwise than the learner (by {apart:.2g}), so that it cannot run so: look for "
            "branches on values in its forward, for layers that are not those of which the graph was made, or for "
            "features that float32 is too short for: put rt.Scale() in front"
        )


@final
class _Net:
    """A neural net, exported by torch."""

    def __init__(self, net: Neural) -> None:
        self._net = net

    @property
    def learner(self) -> Learner:
        return self._net

    @property
    def classes(self) -> int:
        return self._net.model.classes

    @property
    def apart(self) -> float:
        return APART if self._net.model.weights.dtype.itemsize > 2 else _APART_HALF

    def exported(self) -> onnx.ModelProto:
        return exported(self._net)

    def drawn(self) -> dict[str, Array]:
        return drawn(self._net)

    def some(self) -> Array:
        example = self._net.example(TRIED).cpu()
        if not example.is_floating_point():
            return example.numpy()
        return np.random.default_rng(0).normal(size=tuple(example.shape)).astype(np.float32)


@final
class _Weights:
    """Weights and a link, as they are now."""

    apart = APART

    def __init__(self, learner: Learner, scores: Scores) -> None:
        self._learner, self._scores = learner, scores

    @property
    def learner(self) -> Learner:
        return self._learner

    @property
    def classes(self) -> int:
        return self._scores.classes

    def exported(self) -> onnx.ModelProto:
        return graph(self._scores)

    def drawn(self) -> dict[str, Array]:
        return constants(self._scores)

    def some(self) -> Array:
        reach = 1.0 if self._scores.reach is None else self._scores.reach
        rows = np.random.default_rng(0).normal(size=(TRIED, self._scores.weights.shape[1]))
        return (rows * reach).astype(np.float32)


@final
class _Trees:
    """Trees, as they are now."""

    apart = APART

    def __init__(self, learner: Learner, branches: Branches) -> None:
        self._learner, self._branches = learner, branches

    @property
    def learner(self) -> Learner:
        return self._learner

    @property
    def classes(self) -> int:
        return self._branches.classes

    def exported(self) -> onnx.ModelProto:
        return tree_graph(self._branches)

    def drawn(self) -> dict[str, Array]:
        return {}  # they are attributes of the graph, which is made anew

    def some(self) -> Array:
        """About the thresholds and the means."""
        rng = np.random.default_rng(0)
        rows = rng.normal(size=(TRIED, self._branches.width))
        for of_means in (True, False):
            at, half = middle(self._branches, of_means=of_means)
            rows = np.where(at != 0, at + half * rng.normal(size=rows.shape), rows)
        return rows.astype(np.float32)
