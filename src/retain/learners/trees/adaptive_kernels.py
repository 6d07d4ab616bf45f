# pyright: reportMissingParameterType=false
# numba infers the types of arguments, for each that a kernel is called with.
"""The row loop of `HoeffdingAdaptiveTree`: nodes that watch their errors, and trees that grow beside those that fail.

Shapes as in `kernels`: n rows, d features, m features looked at, C nodes, K classes; L ladders of P places (ADWIN's).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from retain.core import Array
from retain.detectors.adwin import rose
from retain.learners.draws import poisson
from retain.learners.trees.kernels import (
    CLASSES,
    SPARE_SLOTS,
    answer,
    cramped,
    discard,
    learn,
    look,
    room,
    side,
    sprout,
)
from retain.learners.uncounted import uncounted

__all__ = ["DEEPEST", "WANTED", "Errors", "adaptive_rows"]

DEEPEST = 200  # nodes on the way of a row, at most
_WALKS, _BORN = 16, 30  # leaves that a row may come to, and trees that may begin at one row
WANTED = 2 * _WALKS + _BORN  # nodes and slots that it may want


class Errors(NamedTuple):
    """What nodes remember beside what `Tree` does."""

    beside: Array  # (C,) int32 the root of the tree that grows beside a node; -1: none
    total: Array  # (C, L, P) ADWIN's, of the errors of rows that came by
    spread: Array  # (C, L, P)
    first: Array  # (C, L)
    used: Array  # (C, L)
    window: Array  # (C, 4)
    seed: Array  # (1,) uint64


@njit(cache=True, nogil=True, error_model="numpy")
def _wake(errors, node):
    """A new node has seen no error."""
    errors.beside[node] = -1
    errors.used[node] = 0
    errors.first[node] = 0
    errors.window[node] = 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _failed(errors, node, delta, wrong):
    """Take in whether a row was wrong; whether there are more errors than there were."""
    ladders = errors.total[node], errors.spread[node], errors.first[node], errors.used[node]
    return rose(wrong, *ladders, errors.window[node], delta)


@njit(cache=True, nogil=True, error_model="numpy")
def _fell(tree, errors, node, stack_C):
    """A node and all below and beside it are given back."""
    stack_C[0] = node
    depth = 1
    while depth:
        depth -= 1
        at = stack_C[depth]
        if errors.beside[at] >= 0:
            stack_C[depth] = errors.beside[at]
            depth += 1
            errors.beside[at] = -1
        if tree.test[at] >= 0:
            stack_C[depth], stack_C[depth + 1] = tree.child[at, 0], tree.child[at, 1]
            depth += 2
        discard(tree, at)


@njit(cache=True, nogil=True, error_model="numpy")
def _move(tree, errors, source, target):
    """A node takes another's place, and all that hangs on it."""
    tree.test[target], tree.value[target] = tree.test[source], tree.value[source]
    tree.child[target] = tree.child[source]
    tree.slot[target] = tree.slot[source]
    tree.weight[target] = tree.weight[source]
    tree.right[target] = tree.right[source]
    tree.counts[target] = tree.counts[source]
    errors.beside[target] = errors.beside[source]
    errors.total[target], errors.spread[target] = errors.total[source], errors.spread[source]
    errors.first[target], errors.used[target] = errors.first[source], errors.used[source]
    errors.window[target] = errors.window[source]
    tree.slot[source] = -1
    errors.beside[source] = -1
    tree.test[source] = -1
    discard(tree, source)


@njit(cache=True, nogil=True, error_model="numpy")
def _rival(tree, errors, node, least, chance, stack_C):
    """Compare a node with the tree beside it: 1: that takes its place, -1: that is dropped, 0: not certain yet."""
    other = errors.beside[node]
    n, m = errors.window[node, 0], errors.window[other, 0]
    if n <= least or m <= least:
        return 0
    mine, theirs = errors.window[node, 1] / n, errors.window[other, 1] / m
    slack = math.sqrt(2.0 * mine * (1.0 - mine) * math.log(2.0 / chance) * (1.0 / n + 1.0 / m))
    if mine - theirs > slack:
        errors.beside[node] = -1
        if tree.test[node] >= 0:
            left, right = tree.child[node, 0], tree.child[node, 1]
            _fell(tree, errors, left, stack_C)
            _fell(tree, errors, right, stack_C)
        elif tree.slot[node] >= 0:
            tree.spare_slot[tree.size[SPARE_SLOTS]] = tree.slot[node]
            tree.size[SPARE_SLOTS] += 1
        _move(tree, errors, other, node)
        return 1
    if theirs - mine > slack:
        _fell(tree, errors, other, stack_C)
        errors.beside[node] = -1
        return -1
    return 0


@njit(cache=True, nogil=True, error_model="numpy")
def adaptive_rows(tree, errors, forms, delta, least, chance, x_nd, y_n, w_n, out_nK, start):
    """Answer and learn rows from `start` on; returns the row that there may be no room for, or n.

    A row walks down from the root, and, where it learns, from every tree that grows beside a node on its way.
    """
    tree, forms, errors = uncounted(tree), uncounted(forms), uncounted(errors)
    x_nd, y_n, w_n, out_nK = uncounted((x_nd, y_n, w_n, out_nK))
    x_m = np.empty(tree.pick.shape[1])
    said_2 = np.empty(2, dtype=np.int64)
    room_3K, out_5 = np.empty((3, tree.counts.shape[1])), np.empty(5)
    other_K = np.empty(out_nK.shape[1])
    stack_C = np.empty(len(tree.test) + 4, dtype=np.int64)
    roots, path = np.empty(len(tree.test) + 1, dtype=np.int64), np.empty(DEEPEST + 2, dtype=np.int64)
    for i in range(start, len(x_nd)):
        x_d, y, w = x_nd[i], y_n[i], w_n[i]
        learns = y >= 0 and w > 0.0
        if learns and cramped(tree, y, WANTED, WANTED):
            return i
        roots[0] = 0
        waiting, walks, born = 1, 0, 0
        main = True
        while waiting and walks < _WALKS:
            waiting -= 1
            walks += 1
            node, steps = roots[waiting], 0
            times = poisson(errors.seed, 1.0) if learns else 0
            v = 0.0 if not learns else w * max(times, 1)
            while True:
                path[steps] = node
                steps += 1
                tree.weight[node, 0] += v
                if tree.test[node] < 0:
                    break
                node = tree.child[node, side(tree, forms, node, x_d)]
            said_K = out_nK[i] if main else other_K
            answer(tree, forms, node, x_d, x_m, said_K, said_2)
            main = False
            if not learns:
                break
            best = -1
            for c in range(tree.size[CLASSES]):
                if said_K[c] > 0.0 and (best < 0 or said_K[c] > said_K[best]):
                    best = c
            wrong = 0.0 if best == y else 1.0
            stays = True
            for k in range(steps):
                at = path[k]
                failed = _failed(errors, at, delta, wrong)
                if errors.beside[at] >= 0:
                    verdict = _rival(tree, errors, at, least, chance, stack_C)
                    if verdict == 0:
                        roots[waiting] = errors.beside[at]
                        waiting += 1
                    elif verdict == 1:
                        roots[waiting] = at  # it learns the row in its new place
                        waiting += 1
                        stays = False
                        break
                elif failed and tree.test[at] >= 0:
                    nodes, slots = room(tree)
                    if born < _BORN and nodes > 2 and slots > 0:
                        born += 1
                        new = sprout(tree, tree.depth[at])
                        _wake(errors, new)
                        look(tree, forms, new)
                        errors.beside[at] = new
            if not stays:
                continue
            learn(tree, forms, x_d, y, v, said_2, node, x_m, room_3K, out_5)
            if tree.test[node] >= 0:
                _wake(errors, tree.child[node, 0])
                _wake(errors, tree.child[node, 1])
    return len(x_nd)
