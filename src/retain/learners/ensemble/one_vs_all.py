"""`OneVsAll`: any learner of two classes, for many.

Shapes: n rows, k classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import final

import numpy as np

from retain import blocks
from retain.core import Array, Batch, Features, Floats, Ints, Learner, State
from retain.errors import RetainError
from retain.learners.ensemble.members import in_order

__all__ = ["OneVsAll"]

_READER = "OneVsAll"


@final
class OneVsAll:
    """A learner for each class, of its rows against all others; their odds, divided by their sum, are the answer.

    Class c gets a fresh learner when its first row is learnt, which knows nothing of the rows before: what was learnt
    of the others does not move. Every learner learns every row from then on, so that k classes cost k times one.

    Granularity: that of the learners. Rows without a label, or of weight 0, are predicted and not learnt.

    Args:
        make: a new learner of two classes, the same each time.

    Raises:
        PoisonError: labels that are no class codes, and what the learners refuse.

    A tree of two classes, or as here a line, becomes one of three:

    >>> import numpy as np, retain as rt
    >>> x = np.random.default_rng(0).normal(size=(3000, 3))
    >>> learner = rt.OneVsAll(lambda: rt.Linear(loss=rt.Hinge(), update=rt.AROW()))
    >>> said = learner.learn(rt.Batch(x, y=x.argmax(axis=1)))
    >>> said.shape, bool(np.mean(said.argmax(axis=1) == x.argmax(axis=1)) > 0.93)
    ((3000, 3), True)

    Reference: Rifkin & Klautau 2004, In defense of one-vs-all classification, JMLR 5.
    """

    def __init__(self, make: Callable[[], Learner], /) -> None:
        self._make = make
        self._members: dict[int, Learner] = {}
        self._blank = make()  # refuses what the members would, before there is one

    @property
    def members(self) -> dict[int, Learner]:
        """The learner of each class that is known."""
        return dict(self._members)

    def learn(self, batch: Batch, /) -> Array:
        """Learn the rows in order; see `retain.core.Learner`."""
        n = len(batch)
        codes = blocks.codes(batch.y, n, reader=_READER)
        weight = blocks.bounded(blocks.weights(batch.weight, n, reader=_READER), "weight", reader=_READER)
        if not self._members:
            self._blank.predict(batch.x)
        known = np.where(weight > 0, codes, -1)
        new = [c for c in np.unique(known).tolist() if c >= 0 and c not in self._members]
        votes = np.zeros((n, max([*self._members, *new], default=-1) + 1))
        if not new:
            self._learn(batch, codes, votes, 0, n)
            return _shares(votes)
        # Rows before a newcomer are learnt by then: where one after it is refused, they are unlearnt.
        before = {c: member.state_dict() for c, member in self._members.items()}
        try:
            start = 0
            for row, c in sorted((int(np.argmax(known == c)), c) for c in new):
                self._learn(batch, codes, votes, start, row)
                self._members[c] = self._make()
                self._learn(batch, codes, votes, row, row + 1, beside=c)
                start = row + 1
            self._learn(batch, codes, votes, start, n)
        except RetainError:
            self._members = {c: self._members[c] for c in before}
            for c, state in before.items():
                self._members[c].load_state_dict(state)
            raise
        return _shares(votes)

    def predict(self, x: Features, /) -> Array:
        """Probabilities (n, k); (n, 0) before the first labels. Changes nothing."""
        if not self._members:
            return np.zeros((len(self._blank.predict(x)), 0))
        said = {c: _positive(member.predict(x)) for c, member in self._members.items()}
        votes = np.zeros((len(next(iter(said.values()))), max(said) + 1))
        for c, own in said.items():
            votes[:, c] = own
        return _shares(votes)

    def state_dict(self) -> State:
        return {"members": {str(c): member.state_dict() for c, member in self._members.items()}}

    def load_state_dict(self, state: State, /) -> None:
        self._members = {}
        for c, own in state["members"].items():
            self._members[int(c)] = self._make()
            self._members[int(c)].load_state_dict(own)

    def _learn(
        self, batch: Batch, codes: Ints, votes: Floats, start: int, stop: int, *, beside: int | None = None
    ) -> None:
        """Every member learns these rows; what all but `beside` say of them before goes to votes.

        Members are of one kind and have seen rows of one kind, the first of them the most: what it takes the others do.
        """
        if start == stop:
            return
        part = blocks.take_batch(batch, slice(start, stop))
        own = codes[start:stop]
        for c, member in self._members.items():
            said = member.learn(replace(part, y=np.where(own < 0, -1, own == c).astype(np.int64)))
            if c != beside:
                votes[start:stop, c] = _positive(said)


def _positive(said: Array) -> Floats:
    """The probability of the second class."""
    return said[:, 1] if said.shape[1] > 1 else np.zeros(len(said))


def _shares(votes: Floats) -> Floats:
    total = in_order(votes)
    return np.divide(votes, total, out=votes, where=total > 0)
