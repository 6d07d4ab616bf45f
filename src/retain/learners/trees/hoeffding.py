"""`HoeffdingTree`: a decision tree that splits a leaf once chance no longer explains which feature looks best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, final

import numpy as np

from retain.core import Array, Batch, Features, State
from retain.errors import SettingError
from retain.learners.intake import Intake
from retain.learners.trees.arrays import Growth, grown, memory, nominal_places, plant, restored, saved, widened
from retain.learners.trees.kernels import BAYES, EITHER, MAJORITY, NODES, Forms, Tree, replant, rows

__all__ = ["HoeffdingTree", "Leaf"]

Leaf: TypeAlias = Literal["majority", "bayes", "either"]
_LEAVES = {"majority": MAJORITY, "bayes": BAYES, "either": EITHER}
_NONE = np.empty(0, dtype=np.int32)


@final
class HoeffdingTree:
    """A decision tree of classes that grows row by row and never looks back.

    A leaf keeps, for each class and feature, a Gaussian (for nominal features, counts). When rows of weight `grace`
    have come to it, it asks how much information about the class each feature would give at its best split: g1 for
    the best one, g2 for the second. It splits where

        g1 - g2 > sqrt(R^2 ln(1 / delta) / 2 n),   R = log2(classes),

    Hoeffding's bound for n rows, or where that bound is below `tie`: with many rows it grows much as a tree would that
    had seen all of them at once. No row is kept.

    Granularity 1. NaN is a value like others: it is passed over, and goes where most rows went. A feature that never
    changes is never split on. Memory is bounded: where there is no room, the leaves that get least wrong stop looking
    at features, and go on counting classes; when there is no room for nodes either, the tree stays as it is.

    Args:
        grace: weight of rows between two thoughts of a split.
        delta: probability that a split is not the best one.
        tie: a bound below which two features are as good as each other.
        leaf: what leaves say: the shares of their "majority", what naive "bayes" says, or of the two the one that has
            been right more often there ("either").
        branch: share of the weight that both branches of a split must have.
        max_depth: of the tree; None: any.
        nominal: columns whose numbers are names, by name or number: they are split by one value against the others.
        max_values: of a nominal column; where there are more, several share a place.
        max_bytes: memory that it may take.

    Raises:
        SettingError: a setting out of range, or a nominal column that is not there.
        PoisonError: from `learn` and `predict`: Inf, a wrong width or type.

    >>> import retain as rt
    >>> stream = rt.streams.Sine(seed=1, n=20_000)
    >>> run = rt.Prequential(stream, rt.HoeffdingTree(), metrics=[rt.metrics.Accuracy()])
    >>> report = list(run)[-1]
    >>> report.metrics["accuracy"] > 0.9 > report.baselines["prior"]["accuracy"]
    True

    References:
        Domingos, Hulten 2000, Mining high-speed data streams, KDD (VFDT).
        Holmes, Kirkby, Pfahringer 2005, Stress-testing Hoeffding trees, PKDD (leaves that say either).
        Pfahringer, Holmes, Kirkby 2008, Handling numeric attributes in Hoeffding trees, PAKDD (Gaussians).
    """

    def __init__(
        self,
        *,
        grace: float = 200.0,
        delta: float = 1e-7,
        tie: float = 0.05,
        leaf: Leaf = "either",
        branch: float = 0.01,
        max_depth: int | None = None,
        nominal: Sequence[str | int] = (),
        max_values: int = 32,
        max_bytes: int = 32 << 20,
    ) -> None:
        self.growth = growth(
            grace=grace,
            delta=delta,
            tie=tie,
            leaf=leaf,
            branch=branch,
            max_depth=max_depth,
            nominal=nominal,
            max_values=max_values,
            max_bytes=max_bytes,
        )
        self._intake = Intake("HoeffdingTree", regresses=False, missing=True)
        self._place: Array = _NONE  # (d,) see `Forms`
        self._tree: Tree | None = None

    @property
    def nodes(self) -> int:
        """How many nodes it has."""
        return 0 if self._tree is None else int(self._tree.size[NODES])

    @property
    def depth(self) -> int:
        """Of its deepest leaf; 0: it is one leaf."""
        return 0 if self._tree is None else int(self._tree.depth[: self.nodes].max())

    @property
    def memory(self) -> int:
        """Bytes of what it has learnt."""
        return 0 if self._tree is None else memory(self._tree, self.growth.layout(len(self._place)))

    def learn(self, batch: Batch, /) -> Array:
        """Learn the rows in order; see `retain.core.Learner`."""
        given = self._intake.read(batch)
        place = widen(self._place, self.growth, batch.x, given.x.shape[1], reader="HoeffdingTree")
        self._intake.keep(given)
        layout = self.growth.layout(len(place))
        forms = self.growth.forms(place, np.arange(len(place), dtype=np.int32))
        if self._tree is None:
            self._tree = plant(layout, seed=0)
            replant(self._tree, forms)
        self._tree, self._place = widened(self._tree, layout), place
        out = np.zeros((len(batch), given.classes or 0))
        start = 0
        while (start := rows(self._tree, forms, given.x, given.y, given.weight, out, start)) < len(batch):
            self._tree = grown(self._tree, layout, int(given.y[start]))
        return out

    def predict(self, x: Features, /) -> Array:
        """Probabilities (n, classes). Changes nothing."""
        rows_nd = self._intake.rows(x)
        out = np.zeros((len(rows_nd), self._intake.classes or 0))
        if self._tree is not None and out.size:
            rows(self._tree, self._forms(), rows_nd, *unlabelled(len(rows_nd)), out, 0)
        return out

    def state_dict(self) -> State:
        tree = None if self._tree is None else saved(self._tree)
        return {"intake": self._intake.state_dict(), "place": self._place.copy(), "tree": tree}

    def load_state_dict(self, state: State, /) -> None:
        self._intake.load_state_dict(state["intake"])
        self._place = state["place"].copy()
        layout = self.growth.layout(len(self._place))
        self._tree = None if state["tree"] is None else restored(state["tree"], layout)

    def _forms(self) -> Forms:
        return self.growth.forms(self._place, np.arange(len(self._place), dtype=np.int32))


def growth(
    *,
    grace: float,
    delta: float,
    tie: float,
    leaf: str,
    branch: float,
    max_depth: int | None,
    nominal: Sequence[str | int],
    max_values: int,
    max_bytes: int,
    leaves: Mapping[str, int] = _LEAVES,
) -> Growth:
    """Settings of trees, checked."""
    for name, value, holds, expected in (
        ("grace", grace, 0 < grace < math.inf, "a number > 0"),
        ("delta", delta, 0 < delta < 1, "a number between 0 and 1"),
        ("tie", tie, 0 <= tie < math.inf, "a number >= 0"),
        ("leaf", leaf, leaf in leaves, ", ".join(map(repr, leaves))),
        ("branch", branch, 0 <= branch < 0.5, "a share below 0.5"),
        ("max_depth", max_depth, max_depth is None or max_depth >= 0, "a whole number >= 0, or None"),
        ("max_values", max_values, max_values >= 2, "2 or more"),
        ("max_bytes", max_bytes, max_bytes >= 1 << 12, "4096 or more"),
        ("nominal", nominal, len(set(nominal)) == len(nominal), "every column once"),
    ):
        if not holds:
            raise SettingError(f"trees got {name}={value!r}; expected {expected}")
    deepest = (1 << 30) if max_depth is None else max_depth
    return Growth(float(grace), delta, float(tie), leaves[leaf], branch, deepest, tuple(nominal), max_values, max_bytes)


def widen(place: Array, how: Growth, x: Features, width: int, /, *, reader: str) -> Array:
    """(d,) which features are nominal, once rows are so wide."""
    if not len(place):
        return nominal_places(how.nominal, x, width, reader=reader)
    return np.pad(place, (0, width - len(place)), constant_values=-1)


def unlabelled(n: int) -> tuple[Array, Array]:
    """Codes and weights of rows without a label."""
    return np.full(n, -1, dtype=np.int64), np.zeros(n)
