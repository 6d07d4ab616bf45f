"""Fewer bits: the table of a hash is folded, and the weights of features that fall together become one."""

from __future__ import annotations

from dataclasses import replace
from typing import final

from retain.compose import within
from retain.compression.draft import Draft, Lessons, end, ending, swapped, transforms
from retain.errors import SettingError
from retain.features.hash import Hash
from retain.learners.linear import Linear

__all__ = ["FewerBits"]


@final
class FewerBits:
    """A step: `rt.Hash` in front of an `rt.Linear` puts out rows of 2^bits slots from then on.

    A name keeps its sign, and slot i becomes slot i mod 2^bits. What weights that fall together become is told in
    `retain.learners.linear.smaller`; then the learner learns the lessons. A table of fewer slots takes less memory
    while it runs, and fewer bytes as weights lie closer together; what it costs grows with how full the table is.

    Args:
        bits: fewer than the hash has.
        passes: how often the lessons are learnt afterwards.

    >>> import numpy as np, pyarrow as pa, retain as rt
    >>> from retain.compression import Draft, FewerBits, Lessons
    >>> rows = rt.Batch(pa.record_batch({"word": ["good", "bad", "fine", "poor"]}), y=np.array([1, 0, 1, 0]))
    >>> learner = rt.Hash(bits=18) | rt.Linear(loss=rt.Logistic())
    >>> said = learner.learn(rows)
    >>> small = FewerBits(8)(Draft(learner), Lessons([rows], teacher=learner)).learner
    >>> small.learner.weights.shape, small.predict(rows.x).argmax(axis=1)
    ((256,), array([1, 0, 1, 0]))

    Raises:
        SettingError: numbers out of range, a chain that does not end with `rt.Hash` and `rt.Linear`.
    """

    def __init__(self, bits: int, *, passes: int = 1) -> None:
        if bits < 1 or passes < 0:
            raise SettingError(f"FewerBits got bits={bits}, passes={passes}; expected bits >= 1 and passes >= 0")
        self._bits, self._passes = bits, passes

    @property
    def name(self) -> str:
        return f"{self._bits} bits"

    def __call__(self, draft: Draft, lessons: Lessons, /) -> Draft:
        needs = "FewerBits folds the table of an rt.Linear right behind an rt.Hash"
        learner = end(draft.learner, Linear, needs=needs)
        *_, hashing = (None, *transforms(draft.learner))
        if not isinstance(hashing, Hash):
            raise SettingError(f"{needs}; got {type(hashing).__name__} in front of it")
        fewer = hashing.folded(self._bits)
        small = learner.folded(1 << self._bits)
        chain = ending(swapped(draft.learner, hashing, fewer), small)
        blocks = list(within(chain, lessons.batches))
        for _ in range(self._passes):
            for block in blocks:
                small.learn(block)
        return replace(draft, learner=chain)
