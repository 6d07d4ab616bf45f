"""Room for trees: made, doubled, widened, put into a state and taken out of it.

A tree's arrays are longer than what is used of them, so that growing costs little; a state holds what is used. How long
they may become follows from a budget in bytes, and from nothing but the rows learnt so far: see `kernels.Tree`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from retain.core import CSR, Array, Batch, State
from retain.errors import SettingError
from retain.learners.draws import seeded
from retain.learners.trees.kernels import NODES, SLOTS, SPARE_SLOTS, Forms, Tree

__all__ = [
    "Growth",
    "Layout",
    "grown",
    "longer",
    "memory",
    "nominal_places",
    "padded",
    "plant",
    "restored",
    "room",
    "saved",
    "widened",
]

_PER_NODE = ("test", "value", "child", "slot", "depth", "weight", "right", "counts", "spare_node")
_PER_SLOT = ("pick", "stats", "span", "fit", "values", "spare_slot")
_LEAST = 4  # nodes to begin with
_NODES_TO_A_SLOT = 4  # at the limit: every other leaf looks at features


@final
@dataclass(frozen=True, slots=True)
class Growth:
    """How trees grow: the settings of `HoeffdingTree`, where they are explained, checked."""

    grace: float
    delta: float
    tie: float
    leaf: int
    branch: float
    deepest: int
    nominal: tuple[str | int, ...]
    values: int
    max_bytes: int

    def forms(self, place: Array, subset: Array) -> Forms:
        """As kernels read it."""
        return Forms(self.leaf, self.grace, self.delta, self.tie, self.branch, self.deepest, place, subset)

    def layout(self, features: int, looked: int | None = None, *, beside: int = 0) -> Layout:
        """Of trees of rows of so many features, of which leaves look at all, or at so many."""
        looked = features if looked is None else looked
        return Layout(features, looked, len(self.nominal), self.values, self.max_bytes, beside)


@final
@dataclass(frozen=True, slots=True)
class Layout:
    """How large a row of each array is."""

    features: int  # d
    looked: int  # m of them that a leaf looks at
    nominal: int  # Q
    values: int  # V
    max_bytes: int
    beside: int = 0  # bytes that are kept of each node elsewhere

    def node_bytes(self, classes: int) -> int:
        """Of a node, at so many classes."""
        return 4 + 8 + 8 + 4 + 4 + 16 + 16 + 4 + 8 * classes + self.beside

    def slot_bytes(self, classes: int) -> int:
        """Of a slot."""
        return 4 + 4 * self.looked + classes * (40 * self.looked + 16 + 8 * self.nominal * self.values)

    def admit(self, *, reader: str) -> None:
        """Refuse rows of which not even one leaf has room."""
        least = self.slot_bytes(2) + _LEAST * self.node_bytes(2)
        if least > self.max_bytes:
            raise SettingError(
                f"{reader} may use {self.max_bytes:,} bytes for a tree, and got rows of {self.features} features, "
                f"of which one leaf takes {least:,}; expected a larger max_bytes, or fewer columns"
            )

    def limits(self, classes: int, nodes: int = 0) -> Array:
        """How many nodes and slots fit into the budget, of which there are so many nodes already: (2,)."""
        node, slot = self.node_bytes(classes), self.slot_bytes(classes)
        slots = max(self.max_bytes // (slot + _NODES_TO_A_SLOT * node), 1)
        if nodes > _NODES_TO_A_SLOT * slots:
            slots = max((self.max_bytes - nodes * node) // slot, 1)
            return np.array([nodes, slots], dtype=np.int64)
        return np.array([_NODES_TO_A_SLOT * slots, slots], dtype=np.int64)


def plant(layout: Layout, *, seed: int | Array) -> Tree:
    """Room for a tree that has learnt nothing; `kernels.replant` makes a leaf of it."""
    m, q, v, k = layout.looked, layout.nominal, layout.values, 2
    c, s = _LEAST, 1
    return Tree(
        size=np.zeros(5, dtype=np.int64),
        limit=layout.limits(k),
        test=np.full(c, -1, dtype=np.int32),
        value=np.zeros(c),
        child=np.zeros((c, 2), dtype=np.int32),
        slot=np.full(c, -1, dtype=np.int32),
        depth=np.zeros(c, dtype=np.int32),
        weight=np.zeros((c, 2)),
        right=np.zeros((c, 2)),
        counts=np.zeros((c, k)),
        pick=np.zeros((s, m), dtype=np.int32),
        stats=np.zeros((s, k, 4, m)),
        span=np.zeros((s, k, 2, m), dtype=np.float32),
        fit=np.zeros((s, k, 2)),
        values=np.zeros((s, q, v, k)),
        spare_node=np.zeros(c, dtype=np.int32),
        spare_slot=np.zeros(s, dtype=np.int32),
        scale=np.zeros((4, layout.features)),
        seed=seeded(seed) if isinstance(seed, int) else seed,
    )


def grown(tree: Tree, layout: Layout, y: int, /, *, wanted: int = 2) -> Tree:
    """Twice the room, where there is none left for the next row, of class y, which may want so many nodes and slots."""
    k = tree.counts.shape[1]
    if y >= k:
        return _with_classes(tree, layout, 1 << int(y).bit_length())
    nodes = room(len(tree.test), int(tree.size[NODES]) + wanted, int(tree.limit[0]))
    slots = room(len(tree.pick), int(tree.size[SLOTS]) + wanted, int(tree.limit[1]))
    return tree._replace(
        **{name: longer(getattr(tree, name), nodes) for name in _PER_NODE},
        **{name: longer(getattr(tree, name), slots) for name in _PER_SLOT},
    )


def widened(tree: Tree, layout: Layout, /) -> Tree:
    """Rows have more features to the right, and leaves look at them where they look at all."""
    tree = tree._replace(scale=padded(tree.scale, 1, layout.features - tree.scale.shape[1]))
    more = layout.looked - tree.pick.shape[1]
    if more <= 0:
        return tree
    used = int(tree.size[SLOTS])
    pick = np.tile(np.arange(layout.looked, dtype=np.int32), (len(tree.pick), 1))
    span = padded(tree.span, 3, more)
    span[:used, :, 0, -more:], span[:used, :, 1, -more:] = np.inf, -np.inf
    tree = tree._replace(pick=pick, stats=padded(tree.stats, 3, more), span=span)
    return _within(tree._replace(limit=layout.limits(tree.counts.shape[1], int(tree.size[NODES]))))


def memory(tree: Tree, layout: Layout, /) -> int:
    """Bytes of what is used."""
    k = tree.counts.shape[1]
    return int(tree.size[NODES]) * layout.node_bytes(k) + int(tree.size[SLOTS]) * layout.slot_bytes(k)


def saved(tree: Tree, /) -> State:
    """What is used of a tree."""
    nodes, slots = int(tree.size[NODES]), int(tree.size[SLOTS])
    state = {name: getattr(tree, name)[:nodes].copy() for name in _PER_NODE}
    state |= {name: getattr(tree, name)[:slots].copy() for name in _PER_SLOT}
    return state | {
        "size": tree.size.copy(),
        "limit": tree.limit.copy(),
        "scale": tree.scale.copy(),
        "seed": tree.seed.copy(),
    }


def restored(state: State, /) -> Tree:
    """The tree that `saved` put down."""
    return Tree(**{name: array.copy() for name, array in state.items()})


def nominal_places(nominal: Sequence[str | int], batch: Batch, width: int, /, *, reader: str) -> Array:
    """(d,) the number of each feature among the nominal ones; -1 for numbers."""
    place = np.full(width, -1, dtype=np.int32)
    named = batch.schema.names if batch.schema is not None else ()
    names = list(named if isinstance(batch.x, (np.ndarray, CSR)) else batch.x.schema.names)
    for q, which in enumerate(nominal):
        if isinstance(which, str) and which not in names:
            raise SettingError(
                f"{reader} got nominal={which!r}, and the columns are {', '.join(names) or 'without names'}; expected "
                "one of them, or the number of a column"
            )
        at = names.index(which) if isinstance(which, str) else which
        if not 0 <= at < width:
            raise SettingError(f"{reader} got nominal={which}; expected a column, 0 to {width - 1}")
        place[at] = q
    return place


def _with_classes(tree: Tree, layout: Layout, classes: int) -> Tree:
    more = classes - tree.counts.shape[1]
    used = int(tree.size[SLOTS])
    span = padded(tree.span, 1, more)
    span[:used, -more:, 0], span[:used, -more:, 1] = np.inf, -np.inf
    tree = tree._replace(
        counts=padded(tree.counts, 1, more),
        stats=padded(tree.stats, 1, more),
        span=span,
        fit=padded(tree.fit, 1, more),
        values=padded(tree.values, 3, more),
        limit=layout.limits(classes, int(tree.size[NODES])),
    )
    return _within(tree)


def _within(tree: Tree) -> Tree:
    """No more slots than the limit: leaves that get least wrong lose theirs."""
    used, most = int(tree.size[SLOTS]), int(tree.limit[1])
    if used <= most:
        return tree
    leaves = np.flatnonzero(tree.slot[: tree.size[NODES]] >= 0)
    wrong = tree.counts[leaves].sum(axis=1) - tree.counts[leaves].max(axis=1)
    kept = np.sort(leaves[np.argsort(-wrong, kind="stable")[:most]])
    slots = tree.slot[kept].copy()
    tree.slot[leaves] = -1
    tree.slot[kept] = np.arange(len(kept))
    tree.size[SLOTS], tree.size[SPARE_SLOTS] = len(kept), 0
    return tree._replace(**{name: getattr(tree, name)[slots].copy() for name in _PER_SLOT})


def room(now: int, needed: int, most: int, /) -> int:
    """How long an array shall be: as now, or twice as long where so much is needed, up to a limit."""
    return now if needed <= now or now >= most else min(max(2 * now, needed), max(most, now))


def longer(array: Array, length: int, /) -> Array:
    """The same, with zeros behind."""
    if len(array) == length:
        return array
    more = np.zeros((length, *array.shape[1:]), dtype=array.dtype)
    more[: len(array)] = array
    return more


def padded(array: Array, axis: int, more: int, /) -> Array:
    """The same, with so many more zeros along an axis."""
    return np.pad(array, [(0, more if i == axis else 0) for i in range(array.ndim)])
