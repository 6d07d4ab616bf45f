# pyright: reportMissingParameterType=false
# numba infers the types of arguments, for each that a kernel is called with.
"""The row loop of `EFDT`: nodes that have split go on looking at features, and split again where another is better.

Shapes as in `kernels`: n rows, d features, m features looked at, C nodes, K classes.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from retain.learners.trees.kernels import (
    CLASSES,
    answer,
    best_splits,
    bound,
    cramped,
    deepen,
    discard,
    gather,
    look,
    measure,
    merit,
    room,
    side,
    take_in,
)
from retain.learners.uncounted import uncounted

__all__ = ["efdt_rows"]


@njit(cache=True, nogil=True, error_model="numpy")
def _fell(tree, node, stack_C):
    """All below a node are given back; it is a leaf again."""
    depth = 0
    if tree.test[node] >= 0:
        stack_C[0], stack_C[1] = tree.child[node, 0], tree.child[node, 1]
        depth = 2
    while depth:
        depth -= 1
        at = stack_C[depth]
        if tree.test[at] >= 0:
            stack_C[depth], stack_C[depth + 1] = tree.child[at, 0], tree.child[at, 1]
            depth += 2
        discard(tree, at)
    tree.test[node] = -1


@njit(cache=True, nogil=True, error_model="numpy")
def _think(tree, forms, node, stack_C, room_3K, out_5):
    """Split a leaf whose best split is better than none; split a node anew, or no more, where that is better.

    Returns whether what was below the node is gone.
    """
    tree.weight[node, 1] = tree.weight[node, 0]
    if tree.slot[node] < 0:
        look(tree, forms, node)
        return False
    there = 0
    for c in range(tree.size[CLASSES]):
        there += tree.counts[node, c] > 0.0
    if there < 2:
        return False
    best_splits(tree, forms, node, room_3K, out_5)
    slack = bound(tree, node, forms.delta)
    best, value, place = int(out_5[2]), out_5[3], int(out_5[4])
    now = 0.0
    if tree.test[node] >= 0:
        now = merit(tree, forms, node, tree.test[node], tree.value[node], room_3K)
        if best < 0:  # no split is any good
            if -now > slack:
                _fell(tree, node, stack_C)
                return True
            return False
    elif best < 0 or tree.depth[node] >= forms.deepest or room(tree)[0] < 2:
        return False
    gain = out_5[0] - now
    # A leaf has nothing to lose; a node that has split would lose what grew below it.
    least = 0.5 * forms.tie if tree.test[node] >= 0 else 0.0
    if not (gain > slack or (slack < forms.tie and gain > least)):
        return False
    if tree.test[node] == best and forms.place[best] < 0:
        tree.value[node] = value  # another threshold: what grows below it stays
        return False
    _fell(tree, node, stack_C)
    deepen(tree, forms, node, best, value, place, room_3K, True)
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def efdt_rows(tree, forms, x_nd, y_n, w_n, out_nK, start):
    """Answer and learn rows from `start` on; returns the row that there may be no room for, or n."""
    tree, forms = uncounted(tree), uncounted(forms)
    x_nd, y_n, w_n, out_nK = uncounted((x_nd, y_n, w_n, out_nK))
    x_m = np.empty(tree.pick.shape[1])
    said_2 = np.empty(2, dtype=np.int64)
    room_3K, out_5 = np.empty((3, tree.counts.shape[1])), np.empty(5)
    stack_C, path_C = np.empty(len(tree.test) + 2, dtype=np.int64), np.empty(len(tree.test), dtype=np.int64)
    for i in range(start, len(x_nd)):
        x_d, y, w = x_nd[i], y_n[i], w_n[i]
        learns = y >= 0 and w > 0.0
        if learns and cramped(tree, y, 2, 2):
            return i
        node, steps = 0, 0
        while True:
            path_C[steps] = node
            steps += 1
            if tree.test[node] < 0:
                break
            node = tree.child[node, side(tree, forms, node, x_d)]
        answer(tree, forms, node, x_d, x_m, out_nK[i], said_2)
        if not learns:
            continue
        tree.size[CLASSES] = max(tree.size[CLASSES], y + 1)
        tree.right[node, 0] += w * (said_2[0] == y)
        tree.right[node, 1] += w * (said_2[1] == y)
        measure(tree.scale, x_d, w)
        for k in range(steps):
            at = path_C[k]
            tree.weight[at, 0] += w
            if tree.slot[at] >= 0:
                gather(tree, forms, tree.slot[at], x_d, x_m)
            take_in(tree, forms, at, x_d, x_m, y, w)
        for k in range(steps):
            at = path_C[k]
            thinks = tree.weight[at, 0] - tree.weight[at, 1] >= forms.grace
            if thinks and _think(tree, forms, at, stack_C, room_3K, out_5):
                break
    return len(x_nd)
