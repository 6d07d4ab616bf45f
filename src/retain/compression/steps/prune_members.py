"""Fewer members: trees of a forest that the others can do without.

Shapes: n rows, T trees, K classes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import final

import numpy as np

from retain.compression.draft import Draft, Lessons, ending
from retain.compression.steps.recent import Recent, forest
from retain.core import Floats, Ints
from retain.errors import SettingError

__all__ = ["PruneMembers"]


@final
class PruneMembers:
    """A step: of the trees of a forest a share goes, one after the other that which the others miss least.

    That is the tree without which the forest's squared error of the classes of recent rows is the least; it is asked
    anew after each that went. The forest goes on learning with those that are left.

    Args:
        share: of the trees, that goes; one at least goes, and one stays.

    >>> import numpy as np, retain as rt
    >>> from retain.compression import Draft, Lessons
    >>> x = np.random.default_rng(0).normal(size=(4000, 3)).astype(np.float32)
    >>> rows = rt.Batch(x, y=(x[:, 0] * x[:, 1] > 0).astype(int))
    >>> learner = rt.ARF(6)
    >>> said = learner.learn(rows)
    >>> small = PruneMembers(0.5)(Draft(learner), Lessons([rows], teacher=learner)).learner
    >>> small.branches().trees, bool((small.predict(x).argmax(1) == rows.y).mean() > 0.9)
    (3, True)

    Raises:
        SettingError: a share out of range, a learner that is no forest, or one of a single tree; lessons without rows.

    References:
        Margineantu, Dietterich 1997, Pruning adaptive boosting, ICML. Banfield et al. 2005, Ensemble diversity measures
        and their application to thinning, Information Fusion 6 (one by one from behind).
    """

    def __init__(self, share: float) -> None:
        if not 0 < share < 1:
            raise SettingError(
                f"PruneMembers got share={share}; expected 0 < share < 1, the part of the trees that goes"
            )
        self._share = float(share)

    @property
    def name(self) -> str:
        return f"prune members {self._share:.0%}"

    def __call__(self, draft: Draft, lessons: Lessons, /) -> Draft:
        learner, branches = forest(draft, needs="PruneMembers takes trees out of a forest")
        if branches.trees < 2:
            raise SettingError("there is one tree only, which cannot go")
        recent = Recent.of(draft, lessons, branches)
        votes = branches.said(recent.x) * branches.trust[:, None]
        wanted = max(min(round((1 - self._share) * branches.trees), branches.trees - 1), 1)
        kept = _kept(votes, recent, wanted)
        return replace(draft, learner=ending(draft.learner, learner.thinned(kept)))


def _kept(votes: Floats, recent: Recent, wanted: int) -> Ints:
    """The trees that stay, ascending; votes are (n, T, K)."""
    truth, kept = recent.truth(votes.shape[2]), list(range(votes.shape[1]))
    total = votes.sum(axis=1)
    while len(kept) > wanted:
        found: list[float] = []
        for tree in kept:
            others = total - votes[:, tree]
            sums = others.sum(axis=1, keepdims=True)
            said = np.divide(others, sums, out=np.zeros_like(others), where=sums > 0)
            found.append(float((recent.weight * ((said - truth) ** 2).sum(axis=1)).sum()))
        total = total - votes[:, kept.pop(int(np.argmin(found)))]
    return np.array(kept)
