"""Room for trees of numbers: as `arrays` for trees of classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from retain.core import Array, State
from retain.learners.draws import seeded
from retain.learners.trees.arrays import Growth, longer, padded, room
from retain.learners.trees.regression_kernels import BINS, FULL, MEAN, NODES, SLOTS, Tree

__all__ = ["Layout", "grown", "layout", "memory", "plant", "restored", "saved", "widened"]

_PER_NODE = ("test", "value", "child", "slot", "depth", "weight", "target", "error")
_PER_SLOT = ("pick", "bins", "grid", "centre", "values", "middle", "slope", "inverse")
_LEAST = 4  # nodes to begin with
_NODES_TO_A_SLOT = 4  # at the limit: every other leaf looks at features
_NODE_BYTES = 4 + 8 + 8 + 4 + 4 + 16 + 24 + 16


@final
@dataclass(frozen=True, slots=True)
class Layout:
    """How large a row of each array is."""

    features: int  # d
    looked: int  # m of them that a leaf looks at
    lined: int  # L of them that its line is of
    nominal: int  # Q
    values: int  # V
    max_bytes: int

    @property
    def across(self) -> int:
        """Numbers that a line keeps of how each feature varies: with all of them, or with itself."""
        return self.lined if self.lined <= FULL else 1

    @property
    def slot_bytes(self) -> int:
        """Of a slot."""
        looked = self.looked * (4 + 8 * (2 * BINS + 3))
        return looked + 8 * (3 + self.lined * (2 + self.across) + 2 * self.nominal * self.values)

    def limits(self, nodes: int = 0) -> Array:
        """How many nodes and slots fit into the budget, of which there are so many nodes already: (2,)."""
        slots = max(self.max_bytes // (self.slot_bytes + _NODES_TO_A_SLOT * _NODE_BYTES), 1)
        if nodes > _NODES_TO_A_SLOT * slots:
            slots = max((self.max_bytes - nodes * _NODE_BYTES) // self.slot_bytes, 1)
            return np.array([nodes, slots], dtype=np.int64)
        return np.array([_NODES_TO_A_SLOT * slots, slots], dtype=np.int64)


def layout(growth: Growth, features: int, looked: int | None = None, *, by_leaf: bool = False) -> Layout:
    """Of trees of so many features, of which leaves look at all, or at so many: each at its own, or all alike."""
    looked = features if looked is None else looked
    lined = 0 if growth.leaf == MEAN else features if by_leaf else looked
    return Layout(features, looked, lined, len(growth.nominal), growth.values, growth.max_bytes)


def plant(how: Layout, *, seed: int | Array) -> Tree:
    """Room for a tree that has learnt nothing; `regression_kernels.replant` makes a leaf of it."""
    m, q, v, lined = how.looked, how.nominal, how.values, how.lined
    c, s = _LEAST, 1
    return Tree(
        size=np.zeros(2, dtype=np.int64),
        limit=how.limits(),
        test=np.full(c, -1, dtype=np.int32),
        value=np.zeros(c),
        child=np.zeros((c, 2), dtype=np.int32),
        slot=np.full(c, -1, dtype=np.int32),
        depth=np.zeros(c, dtype=np.int32),
        weight=np.zeros((c, 2)),
        target=np.zeros((c, 3)),
        error=np.zeros((c, 2)),
        pick=np.zeros((s, m), dtype=np.int32),
        bins=np.zeros((s, m, BINS, 2)),
        grid=np.zeros((s, m, 3)),
        centre=np.zeros(s),
        values=np.zeros((s, q, v, 2)),
        middle=np.zeros((s, 2 + lined)),
        slope=np.zeros((s, lined)),
        inverse=np.zeros((s, lined, how.across)),
        scale=np.zeros((4, how.features)),
        span=np.array([np.inf, -np.inf]),
        seed=seeded(seed) if isinstance(seed, int) else seed,
    )


def grown(tree: Tree, _how: Layout, _y: float, /) -> Tree:
    """Twice the room, where there is none left for the next row."""
    nodes = room(len(tree.test), int(tree.size[NODES]) + 2, int(tree.limit[0]))
    slots = room(len(tree.pick), int(tree.size[SLOTS]) + 1, int(tree.limit[1]))
    return tree._replace(
        **{name: longer(getattr(tree, name), nodes) for name in _PER_NODE},
        **{name: longer(getattr(tree, name), slots) for name in _PER_SLOT},
    )


def widened(tree: Tree, how: Layout, /) -> Tree:
    """Rows have more features to the right, and leaves look at them where they look at all."""
    if how.features == tree.scale.shape[1]:
        return tree
    scale = padded(tree.scale, 1, how.features - tree.scale.shape[1])
    tree = tree._replace(scale=scale, limit=how.limits(int(tree.size[NODES])))
    more = how.looked - tree.pick.shape[1]
    if more > 0:
        grid = padded(tree.grid, 1, more)
        grid[:, -more:, 1] = -1.0  # no value yet
        pick = np.tile(np.arange(how.looked, dtype=np.int32), (len(tree.pick), 1))
        tree = tree._replace(pick=pick, grid=grid, bins=padded(tree.bins, 1, more))
    more = how.lined - tree.slope.shape[1]
    if more > 0:
        inverse = tree.inverse
        if how.across < inverse.shape[2]:  # too many by now to know how they vary together
            inverse = np.diagonal(inverse, axis1=1, axis2=2)[:, :, None].copy()
        inverse = padded(padded(inverse, 1, more), 2, how.across - inverse.shape[2])
        tree = tree._replace(slope=padded(tree.slope, 1, more), middle=padded(tree.middle, 1, more), inverse=inverse)
    return _within(tree)


def memory(tree: Tree, how: Layout, /) -> int:
    """Bytes of what is used."""
    return int(tree.size[NODES]) * _NODE_BYTES + int(tree.size[SLOTS]) * how.slot_bytes


def saved(tree: Tree, /) -> State:
    """What is used of a tree."""
    nodes, slots = int(tree.size[NODES]), int(tree.size[SLOTS])
    state = {name: getattr(tree, name)[:nodes].copy() for name in _PER_NODE}
    state |= {name: getattr(tree, name)[:slots].copy() for name in _PER_SLOT}
    return state | {name: getattr(tree, name).copy() for name in ("size", "limit", "scale", "span", "seed")}


def restored(state: State, /) -> Tree:
    """The tree that `saved` put down."""
    return Tree(**{name: array.copy() for name, array in state.items()})


def _within(tree: Tree) -> Tree:
    """No more slots than the limit: leaves whose targets vary least lose theirs."""
    used, most = int(tree.size[SLOTS]), int(tree.limit[1])
    if used <= most:
        return tree
    nodes = int(tree.size[NODES])
    leaves = np.flatnonzero((tree.test[:nodes] < 0) & (tree.slot[:nodes] >= 0))
    kept = np.sort(leaves[np.argsort(-tree.target[leaves, 2], kind="stable")[:most]])
    slots = tree.slot[kept].copy()
    tree.slot[leaves] = -1
    tree.slot[kept] = np.arange(len(kept))
    tree.size[SLOTS] = len(kept)
    return tree._replace(**{name: getattr(tree, name)[slots].copy() for name in _PER_SLOT})
