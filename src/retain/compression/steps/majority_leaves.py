"""Leaves that say shares: what naive Bayes needs is most of a forest's bytes, and of its time."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import final

import numpy as np

from retain.compression.draft import Draft, Lessons, ending
from retain.compression.steps.recent import Recent, forest
from retain.errors import SettingError

__all__ = ["MajorityLeaves"]


@final
class MajorityLeaves:
    """A step: leaves of trees say the shares of the classes that came to them, and no more what naive Bayes finds.

    A share of a leaf is of the weights it has counted, to which the rows of the lessons are added: n_c + a m_c, of m_c
    recent rows of class c. A Gaussian for each class and feature is no longer needed to answer. The learner goes on so:
    its leaves count, and look for splits as before.

    Args:
        weight: a, how often a recent row counts. A member of `rt.ARF` learns each row six times in the mean, so that
            with 6 they would count as if they had been learnt; 0: counts stay as they are.

    >>> import numpy as np, retain as rt
    >>> from retain.compression import Draft, Lessons
    >>> x = np.random.default_rng(0).normal(size=(4000, 3)).astype(np.float32)
    >>> rows = rt.Batch(x, y=(x[:, 0] * x[:, 1] > 0).astype(int))
    >>> learner = rt.ARF(5)
    >>> said = learner.learn(rows)
    >>> small = MajorityLeaves()(Draft(learner), Lessons([rows], teacher=learner)).learner
    >>> [len(one.branches().says) > 0 for one in (learner, small)]
    [True, False]
    >>> bool((small.predict(x).argmax(1) == rows.y).mean() > 0.9)
    True

    Raises:
        SettingError: a weight < 0, a learner that has no trees, or whose leaves say shares as it is; lessons without
            rows.
    """

    def __init__(self, weight: float = 6.0) -> None:
        if not 0 <= weight < math.inf:
            raise SettingError(f"MajorityLeaves got weight={weight}; expected a number >= 0, as a row counts")
        self._weight = float(weight)

    @property
    def name(self) -> str:
        return "majority leaves"

    def __call__(self, draft: Draft, lessons: Lessons, /) -> Draft:
        learner, branches = forest(draft, needs="MajorityLeaves takes naive Bayes out of the leaves of trees")
        if not len(branches.says):
            raise SettingError("all leaves say the shares of their classes already")
        more = np.zeros((len(branches.test), branches.classes))
        if self._weight:
            recent = Recent.of(draft, lessons, branches)
            each = self._weight * recent.weight[:, None] * recent.truth(branches.classes)
            more = recent.landed(branches, np.repeat(each[:, None], branches.trees, axis=1))
        return replace(draft, learner=ending(draft.learner, learner.counting(more)))
