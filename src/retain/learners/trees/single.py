# ruff: noqa: SLF001
"""What learners that are one tree of classes share: checks of rows, room, answers and state."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Literal, TypeAlias

import numpy as np

from retain.branches import Branches
from retain.compose import Branching
from retain.core import Array, Batch, Features, Floats, Ints, State
from retain.errors import SettingError
from retain.learners.intake import Intake
from retain.learners.trees.arrays import Growth, Layout, grown, memory, nominal_places, plant, restored, saved, widened
from retain.learners.trees.branching import counted, described, pruned, reached
from retain.learners.trees.kernels import BAYES, EITHER, MAJORITY, NODES, SPARE_NODES, Forms, Tree, replant

__all__ = ["Leaf", "SingleTree", "growth", "unlabelled", "widen"]

Leaf: TypeAlias = Literal["majority", "bayes", "either"]
_LEAVES = {"majority": MAJORITY, "bayes": BAYES, "either": EITHER}


class SingleTree(Branching, ABC):
    """A tree of classes; see its kinds, each in the file of its name."""

    def __init__(self, how: Growth, *, beside: int = 0, wanted: int = 2) -> None:
        self.growth = how
        self._beside, self._wanted = beside, wanted
        self._reader = type(self).__name__
        self._intake = Intake(self._reader, regresses=False, missing=True)
        self._place: Array = np.empty(0, dtype=np.int32)  # (d,) see `Forms`
        self._tree: Tree | None = None

    @property
    def nodes(self) -> int:
        """How many nodes it has."""
        return 0 if self._tree is None else int(self._tree.size[NODES] - self._tree.size[SPARE_NODES])

    @property
    def depth(self) -> int:
        """Of its deepest leaf; 0: it is one leaf."""
        return 0 if self._tree is None else int(self._tree.depth[: self._tree.size[NODES]].max())

    @property
    def memory(self) -> int:
        """Bytes of what it has learnt."""
        return 0 if self._tree is None else memory(self._tree, self._layout())

    def learn(self, batch: Batch, /) -> Array:
        """Learn the rows in order; see `retain.core.Learner`."""
        given = self._intake.read(batch)
        place = widen(self._place, self.growth, batch, given.x.shape[1], reader=self._reader)
        self.growth.layout(len(place), beside=self._beside).admit(reader=self._reader)
        self._place = place
        self._intake.keep(given)
        layout, forms = self._layout(), self._forms()
        if self._tree is None:
            self._tree = plant(layout, seed=0)
            replant(self._tree, forms)
        self._tree = widened(self._tree, layout)
        out = np.zeros((len(batch), given.classes or 0))
        start, said = 0, dict[int, Array]()
        while (start := self._rows(self._tree, forms, given.x, given.y, given.weight, out, start)) < len(batch):
            if (
                given.y[start] >= self._tree.counts.shape[1]
            ):  # room for a class may be taken from a leaf: it is asked first
                said[start] = np.zeros((1, out.shape[1]))
                self._rows(self._tree, forms, given.x[start : start + 1], *unlabelled(1), said[start], 0)
            self._tree = grown(self._tree, layout, int(given.y[start]), wanted=self._wanted)
        for row, answer in said.items():
            out[row] = answer[0]
        return out

    def predict(self, x: Features, /) -> Array:
        """Probabilities (n, classes). Changes nothing."""
        rows = self._intake.rows(x)
        out = np.zeros((len(rows), self._intake.classes or 0))
        if self._tree is not None and out.size:
            self._rows(self._tree, self._forms(), rows, *unlabelled(len(rows)), out, 0)
        return out

    def branches(self) -> Branches:
        """As `retain.compose.Branching.branches`."""
        return described(self._grown(), self._forms(), classes=self._intake.classes or 0)

    def thinned(self, kept: Ints, /) -> SingleTree:
        """As `retain.compose.Branching.thinned`; refused, since it is one tree."""
        raise SettingError(f"{self._reader} is one tree and got {len(kept)} to keep; prune its branches instead")

    def pruned(self, nodes: Ints, /) -> SingleTree:
        """As `retain.compose.Branching.pruned`."""
        other, tree = deepcopy(self), self._grown()
        other._tree, kept = pruned(tree, reached(tree)[nodes])
        other._renumber(kept)
        return other

    def counting(self, more: Floats, /) -> SingleTree:
        """As `retain.compose.Branching.counting`."""
        other = deepcopy(self)
        other._tree = counted(self._grown(), more)
        other.growth = replace(self.growth, leaf=MAJORITY)
        return other

    def state_dict(self) -> State:
        tree = None if self._tree is None else saved(self._tree)
        state = {"intake": self._intake.state_dict(), "place": self._place.copy(), "tree": tree}
        return state | {"leaf": self.growth.leaf}

    def load_state_dict(self, state: State, /) -> None:
        self.growth = replace(self.growth, leaf=int(state["leaf"]))
        self._intake.load_state_dict(state["intake"])
        self._place = state["place"].copy()
        self._tree = None if state["tree"] is None else restored(state["tree"])

    @abstractmethod
    def _rows(self, tree: Tree, forms: Forms, x: Floats, y: Array, weight: Array, out: Array, start: int, /) -> int:
        """Answer and learn rows from `start` on; the row that there may be no room for, or their number."""

    def _renumber(self, kept: Ints, /) -> None:
        """Nodes have other numbers: the i-th was kept[i]."""

    def _grown(self) -> Tree:
        if self._tree is None:
            raise SettingError(f"{self._reader} has learnt nothing yet, so that it has no branches")
        return self._tree

    def _layout(self) -> Layout:
        return self.growth.layout(len(self._place), beside=self._beside)

    def _forms(self) -> Forms:
        return self.growth.forms(self._place, np.arange(len(self._place), dtype=np.int32))


def growth(
    reader: str,
    /,
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
            raise SettingError(f"{reader} got {name}={value!r}; expected {expected}")
    deepest = (1 << 30) if max_depth is None else max_depth
    return Growth(float(grace), delta, float(tie), leaves[leaf], branch, deepest, tuple(nominal), max_values, max_bytes)


def widen(place: Array, how: Growth, batch: Batch, width: int, /, *, reader: str) -> Array:
    """(d,) which features are nominal, once rows are so wide."""
    if not len(place):
        return nominal_places(how.nominal, batch, width, reader=reader)
    return np.pad(place, (0, width - len(place)), constant_values=-1)


def unlabelled(n: int) -> tuple[Array, Array]:
    """Codes and weights of rows without a label."""
    return np.full(n, -1, dtype=np.int64), np.zeros(n)
