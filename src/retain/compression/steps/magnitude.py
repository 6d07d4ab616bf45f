"""Magnitude pruning: the smallest weights become zero. What it saves is room, not time."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import final

import torch

from retain.compression.draft import Draft, Lessons, Step, end, ending
from retain.errors import SettingError
from retain.learners.neural import Neural
from retain.strategies.sparse import Sparse, chosen, matrices

__all__ = ["Magnitude"]


@final
class Magnitude:
    """A step: of the weights of every layer but the last, a share, the smallest, become zero.

    They compress well on disk and on the way. No processor here runs faster for them, so it is never sold as speed. A
    learner that goes on learning fills them again, unless it has `retain.strategies.Sparse`, which lets the mask move;
    while `recover` teaches it they stay zero.

    Args:
        share: of the weights of each layer.
        recover: a step that teaches the learner what this cost it, such as `Distil`.

    >>> import numpy as np, retain as rt
    >>> from retain.compression import Draft, Lessons
    >>> learner = rt.Neural(rt.neural.MLP(4, 8, 2))
    >>> batch = rt.Batch(np.zeros((1, 4)), y=np.zeros(1, dtype=int))
    >>> small = Magnitude(0.75)(Draft(learner), Lessons([batch], teacher=learner)).learner
    >>> int((small.module[1].weight == 0).sum()), int((learner.module[1].weight == 0).sum())
    (24, 0)

    Raises:
        SettingError: a share out of range, a learner that is no `rt.Neural`, a module with no layer before the last.

    References:
        Han et al. 2015, Learning both weights and connections for efficient neural networks.
    """

    def __init__(self, share: float, *, recover: Step | None = None) -> None:
        if not 0 < share < 1:
            raise SettingError(
                f"Magnitude got share={share}; expected 0 < share < 1, the part of the weights that goes"
            )
        self._share, self._recover = float(share), recover

    @property
    def name(self) -> str:
        return f"magnitude {self._share:.0%}"

    def __call__(self, draft: Draft, lessons: Lessons, /) -> Draft:
        learner = end(draft.learner, Neural, needs="Magnitude prunes the module of an rt.Neural")
        same = torch.arange(len(learner.model.weights))
        other = learner.reshaped(deepcopy(learner.module), kept=same)
        places = [place for place, _ in matrices(other.model)]
        if not places:
            raise SettingError("the module has no layer before the last to prune; compress its numbers instead")
        with torch.no_grad():
            for place in places:
                weight = other.model.weights[place]
                keep = max(round((1 - self._share) * len(weight)), 1)
                weight.masked_fill_(chosen(weight.abs()[None], keep)[0], 0.0)
        if self._recover is not None:
            mask = Sparse(self._share, moving=False, name="magnitude")
            held = other.like(other.module, strategies=[*other.strategies, mask])
            taught = self._recover(replace(draft, learner=ending(draft.learner, held)), lessons)
            module = end(taught.learner, Neural, needs="what recovers must leave an rt.Neural").module
            draft, other = taught, learner.reshaped(module, kept=same)
        return replace(draft, learner=ending(draft.learner, other))
