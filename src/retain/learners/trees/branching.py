"""A tree of classes as plain arrays, and with fewer branches.

Shapes: N nodes that are reached from the root, K classes; else as in `kernels`.
"""

from __future__ import annotations

import numpy as np

from retain.branches import Bayes, Branches, no_bayes
from retain.core import Array, Floats, Ints
from retain.errors import SettingError
from retain.learners.trees.kernels import BAYES, MAJORITY, NODES, SLOTS, SPARE_NODES, SPARE_SLOTS, Forms, Tree

__all__ = ["counted", "described", "pruned", "reached"]

_NONE: Ints = np.empty(0, dtype=np.int64)
_PER_NODE = ("test", "value", "slot", "depth", "weight", "right", "counts")
_PER_SLOT = ("pick", "stats", "span", "fit", "values")


def reached(tree: Tree, /, *, cut: Ints = _NONE, root: int = 0) -> Ints:
    """(N,) the nodes from the root on, each before those below it, left before right; nothing below those `cut`."""
    ends = set(cut.tolist())
    test, child = tree.test.tolist(), tree.child.tolist()
    order, waiting = list[int](), [root]
    while waiting:
        node = waiting.pop()
        order.append(node)
        if test[node] >= 0 and node not in ends:
            waiting += [child[node][1], child[node][0]]
    return np.array(order, dtype=np.int64)


def described(tree: Tree, forms: Forms, /, *, classes: int) -> Branches:
    """What a tree answers with, for so many classes: exactly what `kernels.answer` says of its leaves.

    Raises SettingError for no classes.
    """
    if not classes:
        raise SettingError("no class was learnt yet, so that there is nothing to describe; give labelled rows first")
    order = reached(tree)
    test = tree.test[order]
    inner, leaves = np.flatnonzero(test >= 0), order[test < 0]
    number = np.zeros(len(tree.test), dtype=np.int32)
    number[order] = np.arange(len(order))
    child = np.zeros((len(order), 2), dtype=np.int32)
    child[inner] = number[tree.child[order[inner]]]
    sides = tree.weight[tree.child[order[inner]], 0]
    missing = np.zeros(len(order), dtype=np.int8)
    missing[inner] = sides[:, 0] < sides[:, 1]
    counts = _classes(tree.counts[leaves], 1, classes)
    total = counts.sum(axis=1, keepdims=True)
    says = _says(tree, forms, leaves)
    bayes = np.full(len(leaves), -1, dtype=np.int32)
    bayes[says] = np.arange(len(says))
    return Branches(
        len(forms.place),
        np.zeros(1, dtype=np.int32),
        np.ones(1),
        test.astype(np.int32),
        np.where(test >= 0, tree.value[order], 0.0),
        child,
        missing,
        np.where(test < 0, np.cumsum(test < 0) - 1, -1).astype(np.int32),
        np.divide(counts, total, out=np.zeros_like(counts), where=total > 0),
        total[:, 0],
        bayes,
        _bayes(tree, forms, leaves[says], classes),
        forms.place.copy(),
    )


def pruned(tree: Tree, nodes: Ints, /) -> tuple[Tree, Ints]:
    """A tree in which these of its nodes are leaves, and (N,) which nodes of the old one are left, in their new order.

    A new leaf has counted what those below it had, and looks at no feature yet: it asks for room once it has learnt
    rows of weight `grace`, as one that had lost it would. Nothing that was given back is kept.
    """
    order = reached(tree, cut=nodes)
    counts = tree.counts[order]
    new = np.flatnonzero(np.isin(order, nodes) & (tree.test[order] >= 0))
    for at in new:
        below = reached(tree, root=int(order[at]))
        counts[at] = tree.counts[below[tree.test[below] < 0]].sum(axis=0)
    taken = tree.slot[order]
    taken[new] = -1
    slots = taken[taken >= 0]
    number = np.zeros(len(tree.test), dtype=np.int32)
    number[order] = np.arange(len(order))
    split = tree.test[order] >= 0
    split[new] = False
    child = np.zeros((len(order), 2), dtype=np.int32)  # a leaf's are left of what the node was before
    child[split] = number[tree.child[order[split]]]
    size = tree.size.copy()
    size[NODES], size[SLOTS], size[SPARE_NODES], size[SPARE_SLOTS] = len(order), len(slots), 0, 0
    # Room for one slot at the least: arrays of none cannot be doubled.
    rooms = slots if len(slots) else np.zeros(1, dtype=np.int64)
    smaller = tree._replace(
        size=size,
        limit=tree.limit.copy(),
        child=child,
        spare_node=np.zeros(len(order), dtype=np.int32),
        spare_slot=np.zeros(len(rooms), dtype=np.int32),
        scale=tree.scale.copy(),
        seed=tree.seed.copy(),
        **{name: getattr(tree, name)[order] for name in _PER_NODE},
        **{name: getattr(tree, name)[rooms] for name in _PER_SLOT},
    )
    smaller.counts[:] = counts
    smaller.test[new] = -1
    smaller.right[new] = 0.0
    smaller.weight[new] = counts[new].sum(axis=1)[:, None]
    smaller.slot[:] = np.where(taken >= 0, np.cumsum(taken >= 0) - 1, -1)
    return smaller, order


def counted(tree: Tree, more: Floats, /) -> Tree:
    """A tree whose leaves have counted more: (N, K) of each node that is reached, weights of classes."""
    order = reached(tree)
    counts = tree.counts.copy()
    k = min(more.shape[1], counts.shape[1])
    counts[order[tree.test[order] < 0], :k] += more[tree.test[order] < 0, :k]
    return tree._replace(counts=counts)


def _says(tree: Tree, forms: Forms, leaves: Ints) -> Ints:
    """Which leaves say what naive Bayes does, and not the shares of their classes."""
    slot = tree.slot[leaves]
    if forms.leaf == MAJORITY:
        return np.empty(0, dtype=np.int64)
    knows = ((tree.fit[slot, :, 0] > 0) & (tree.counts[leaves] > 0)).any(axis=1)
    trusts = (forms.leaf == BAYES) | ~(tree.right[leaves, 0] > tree.right[leaves, 1])
    return np.flatnonzero((slot >= 0) & knows & trusts)


def _bayes(tree: Tree, forms: Forms, leaves: Ints, classes: int) -> Bayes:
    """What naive Bayes is in these leaves."""
    q, v = tree.values.shape[1:3]
    if not len(leaves):
        return no_bayes(classes, features=tree.pick.shape[1], nominal=q, values=v if q else 0)
    slot = tree.slot[leaves]
    weight, mean, narrow = (_classes(tree.stats[slot, :, i], 1, classes) for i in (0, 1, 3))
    pick, fit = tree.pick[slot], _classes(tree.fit[slot], 1, classes)
    counts = _classes(tree.counts[leaves], 1, classes)
    seen = (fit[:, :, 0] > 0) & (counts > 0)
    prior = np.where(seen, np.log(np.where(seen, counts, 1.0)) + fit[:, :, 1], -np.inf)
    place = forms.place[pick]
    values = np.zeros((len(leaves), q, v if q else 0, classes))
    for j in range(pick.shape[1] if q else 0):
        at = np.flatnonzero(place[:, j] >= 0)
        there = _classes(tree.values[slot[at], place[at, j]], 2, classes)  # (., V, K)
        values[at, place[at, j]] = np.log((there + 1.0) / (weight[at, :, j] + v)[:, None])
    return Bayes(pick, np.where((place >= 0)[:, None], 0.0, mean), narrow, prior, values)


def _classes(array: Array, axis: int, classes: int) -> Array:
    """So many classes along an axis: there may be room for more, or for fewer."""
    array = np.take(array, np.arange(min(classes, array.shape[axis])), axis=axis)
    more = classes - array.shape[axis]
    return np.pad(array, [(0, more if i == axis else 0) for i in range(array.ndim)])
