"""Truncation: the weights of a linear learner that move least become zero."""

from __future__ import annotations

from dataclasses import replace
from typing import final

import numpy as np

from retain.compression.draft import Draft, Lessons, end, ending
from retain.core import Array, Floats
from retain.errors import SettingError
from retain.learners.linear import Linear

__all__ = ["Truncate"]


@final
class Truncate:
    """A step: of the weights of each output of an `rt.Linear` that are not 0, those become 0 that move least.

    What a weight w moves is |w| times the root of the sum of g^2 x^2 of its feature, g the slopes of the rows that
    `Adaptive` and `FTRL` have learnt, so that a weight counts by how often and how strongly its feature comes; where
    an update knows nothing of that, it is |w|. In a table fewer weights are fewer bytes; nothing runs faster for them.
    The learner goes on: a feature whose weight is gone may earn another.

    Args:
        share: the part of the weights that goes, or
        least: those go that move less than such a part of what the first of their output does.

    >>> import numpy as np, retain as rt
    >>> from retain.compression import Draft, Lessons, Truncate
    >>> x = np.random.default_rng(0).normal(size=(500, 20)).astype(np.float32)
    >>> learner = rt.Linear(loss=rt.Logistic())
    >>> said = learner.learn(rt.Batch(x, y=(x[:, 3] + x[:, 7] > 0).astype(int)))
    >>> small = Truncate(0.9)(Draft(learner), Lessons([], teacher=learner)).learner
    >>> np.flatnonzero(small.weights)
    array([3, 7])

    Raises:
        SettingError: numbers out of range, a learner that is no `rt.Linear`, or one whose update is `Coin`.

    References:
        Langford, Li and Zhang 2009, Sparse online learning via truncated gradient (there while it learns, and by |w|).
    """

    def __init__(self, share: float | None = None, *, least: float | None = None) -> None:
        given = [value for value in (share, least) if value is not None]
        if len(given) != 1 or not 0 < given[0] < 1:
            raise SettingError(f"Truncate got share={share}, least={least}; expected one of them, between 0 and 1")
        self._share, self._least = share, least

    @property
    def name(self) -> str:
        return f"truncate {self._share:.0%}" if self._least is None else f"truncate below {self._least:g}"

    def __call__(self, draft: Draft, lessons: Lessons, /) -> Draft:
        learner = end(draft.learner, Linear, needs="Truncate takes weights of an rt.Linear")
        effects = learner.effects()
        there = np.atleast_2d(learner.weights) != 0
        gone = np.stack([self._gone(effect, some) for effect, some in zip(effects, there, strict=True)])
        return replace(draft, learner=ending(draft.learner, learner.truncated(gone)))

    def _gone(self, effect: Floats, there: Array) -> Array:
        """(d,) which weights of an output go, of those that are there."""
        if self._least is not None:
            return there & (effect < self._least * effect.max(initial=0.0))
        places = np.flatnonzero(there)
        gone = np.zeros(len(effect), dtype=np.bool_)
        least = np.argsort(effect[places], kind="stable")
        gone[places[least[: round((self._share or 0.0) * len(places))]]] = True
        return gone
