"""Fewer branches: subtrees that do little for recent rows become leaves.

Shapes: N nodes, L leaves, K classes, n rows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import final

import numpy as np

from retain.branches import Branches
from retain.compression.draft import Draft, Lessons, ending
from retain.compression.steps.recent import Recent, forest
from retain.core import Array, Floats, Ints
from retain.errors import SettingError

__all__ = ["PruneBranches"]

_COUNTED = 0.1  # of the weight that leaves have counted, beside recent rows: many leaves have seen none of these
_HALVINGS = 60


@final
class PruneBranches:
    """A step: of the leaves of all trees a share goes, where subtrees that help least become leaves themselves.

    Cost-complexity pruning: of all prunings that one has the least R + a L, R the squared error of what leaves say of
    the classes, L how many there are, in all trees together, with the a by which as many leaves are left as are wanted.
    R is of the recent rows, each at the leaf that it comes to, and a tenth of that of all that leaves have counted. A
    new leaf says the shares of all that came to those below it. It goes on learning, and may split again.

    Args:
        share: of the leaves, that goes.

    >>> import numpy as np, retain as rt
    >>> from retain.compression import Draft, Lessons
    >>> x = np.random.default_rng(0).normal(size=(4000, 3)).astype(np.float32)
    >>> rows = rt.Batch(x, y=(x[:, 0] * x[:, 1] > 0).astype(int))
    >>> learner = rt.ARF(5)
    >>> said = learner.learn(rows)
    >>> small = PruneBranches(0.5)(Draft(learner), Lessons([rows], teacher=learner)).learner
    >>> leaves = [len(one.branches().shares) for one in (learner, small)]
    >>> leaves[1] <= leaves[0] / 2, bool((small.predict(x).argmax(1) == rows.y).mean() > 0.9)
    (True, True)

    Raises:
        SettingError: a share out of range, a learner that has no trees, trees that are leaves already, lessons without
            rows.

    References:
        Breiman, Friedman, Olshen, Stone 1984, Classification and regression trees (pruning by cost and complexity;
        there of one tree, by the rows that it was grown with).
    """

    def __init__(self, share: float) -> None:
        if not 0 < share < 1:
            raise SettingError(f"PruneBranches got share={share}; expected 0 < share < 1, the part of leaves that goes")
        self._share = float(share)

    @property
    def name(self) -> str:
        return f"prune branches {self._share:.0%}"

    def __call__(self, draft: Draft, lessons: Lessons, /) -> Draft:
        learner, branches = forest(draft, needs="PruneBranches makes trees smaller")
        if not (branches.test >= 0).any():
            raise SettingError("all trees are single leaves already")
        recent = Recent.of(draft, lessons, branches)
        wanted = max(int((1 - self._share) * len(branches.shares)), branches.trees)
        nodes = least(branches, *errors(branches, recent), wanted=wanted)
        return replace(draft, learner=ending(draft.learner, learner.pruned(nodes)))


def errors(branches: Branches, recent: Recent, /) -> tuple[Floats, Floats]:
    """(N,) each: R of a node as a leaf, and R of the leaf as it is; 0 of nodes that are none."""
    leaves = branches.test < 0
    counts = np.zeros((len(leaves), branches.classes))
    counts[leaves] = branches.weight[:, None] * branches.shares
    counts = _below(branches, counts)
    total = counts.sum(axis=1)
    shares = counts / np.maximum(total, 1e-300)[:, None]
    square = (shares**2).sum(axis=1)
    counted = _COUNTED * total * (1.0 - square)
    truth = recent.truth(branches.classes)
    each = np.repeat((recent.weight[:, None] * truth)[:, None], branches.trees, axis=1)
    came = _below(branches, recent.landed(branches, each))
    as_leaf = came.sum(axis=1) * (1.0 + square) - 2.0 * (came * shares).sum(axis=1)
    wrong = ((branches.said(recent.x) - truth[:, None]) ** 2).sum(axis=2) * recent.weight[:, None]
    as_is = recent.landed(branches, wrong)
    return as_leaf + counted, np.where(leaves, as_is + counted, 0.0)


def least(branches: Branches, as_leaf: Floats, as_is: Floats, /, *, wanted: int) -> Ints:
    """The nodes that become leaves, so that at most so many are left in all."""
    inner = np.flatnonzero(branches.test >= 0)[::-1].tolist()
    child = branches.child.tolist()

    def cut(price: float) -> tuple[Array, int]:
        cost = (as_is + price * (branches.test < 0)).tolist()
        leaves = (branches.test < 0).astype(int).tolist()
        gone = np.zeros(len(cost), dtype=np.bool_)
        own = (as_leaf + price).tolist()
        for node in inner:  # what is below comes first
            left, right = child[node]
            cost[node], leaves[node] = cost[left] + cost[right], leaves[left] + leaves[right]
            if own[node] <= cost[node]:
                cost[node], leaves[node], gone[node] = own[node], 1, True
        return gone, sum(leaves[root] for root in branches.root.tolist())

    # A price below 0 is paid for leaves: where many of them are worse than none, fewer than all of these may go.
    low, high = -1.0, 1.0
    while cut(high)[1] > wanted:
        high *= 4.0
    while cut(low)[1] <= wanted and low > -1e300:
        low *= 4.0
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if cut(middle)[1] > wanted else (low, middle)
    return np.flatnonzero(cut(high)[0])


def _below(branches: Branches, each: Array) -> Array:
    """(N, K) sums over all nodes at or below each node."""
    running = np.concatenate([np.zeros((1, each.shape[1])), np.cumsum(each, axis=0)])
    return running[branches.last()] - running[:-1]
