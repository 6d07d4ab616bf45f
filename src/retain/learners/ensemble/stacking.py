"""`Stacking`: a learner on top of others learns what to make of what they say.

Shapes: n rows, M members, k classes (or outputs).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import numpy as np

from retain import blocks
from retain.compose import Kept, LateLearner, late
from retain.core import CSR, Array, Batch, Features, Ints, Learner, State
from retain.errors import SettingError
from retain.learners.analytic import RLS
from retain.learners.ensemble.hedge import Hedge
from retain.learners.ensemble.members import Accepted, all_or_none, in_order, stacked
from retain.learners.linear import Linear, Multinomial

__all__ = ["Stacking"]

_LEAST = 1e-3  # a probability below it is as good as none
_LARGEST = 1e18  # a member that diverges says no more than that


@final
class Stacking(LateLearner):
    """Members side by side, and a learner on top whose features are what they say of a row before they learn it.

    For classes the features are ln(max(p, 0.001) / 0.001) of every probability p that a member gives a class: a linear
    learner of these is a product of the members' opinions, each to a power that is learnt. A class that is not known
    yet has the feature 0. For numbers the features are the numbers. `Hedge` trusts the best; this finds out who is
    right about what, which takes rows to learn: so the default top is a hedge, of such a linear learner and of the
    members themselves.

    The top never learns from what a member says of a row it has learnt: a label that comes late finds what was said
    when the row arrived. Granularity: the coarsest of the members' and the top's.

    Args:
        members: learners of the same task.
        over: the learner on top, of sparse rows; None: for classes a `Hedge` of Linear(loss=Multinomial()) and of what
            each member says; for numbers one of Linear() and RLS(forgetting=0.999).

    Raises:
        SettingError: no members.

    >>> import numpy as np, retain as rt
    >>> rng = np.random.default_rng(0)
    >>> x = rng.integers(0, 3, size=(6000, 2)).astype(np.float32)
    >>> y = ((x[:, 0] > 0) & (x[:, 1] > 0)).astype(int)  # neither column tells alone
    >>> members = [rt.Select(column) | rt.HoeffdingTree() for column in (0, 1)]
    >>> said = rt.Stacking(*members).learn(rt.Batch(x, y=y))
    >>> bool((said.argmax(axis=1) == y).mean() > 0.98)
    True

    References:
        Wolpert 1992, Stacked generalization, Neural Networks. On a stream each row is unseen once, which is what
        cross-validation is for elsewhere.
    """

    def __init__(self, *members: Learner, over: Learner | None = None) -> None:
        if not members:
            raise SettingError("Stacking got no members; expected at least one learner")
        self.members = members
        opinions = (_Opinion(m, len(members)) for m in range(len(members)))
        of_numbers = Hedge(Linear(), RLS(forgetting=0.999))
        of_classes = Hedge(Linear(loss=Multinomial()), *opinions)
        self._tops = (over or of_numbers, over or of_classes)
        self._of_classes: bool | None = None
        self._accepted = Accepted()

    @property
    def over(self) -> Learner:
        """The learner on top."""
        return self._tops[bool(self._of_classes)]

    def learn(self, batch: Batch, /) -> Array:
        """Learn the rows in order; see `retain.core.Learner`."""
        n = len(batch)
        self._check(batch, batch.y, n)
        said = self._all_or_none(batch, lambda member, _: member.learn(batch))
        self._know(batch.y)
        if self._of_classes is None:
            return np.zeros((n, 0))
        return self.over.learn(Batch(self._features(said), y=batch.y, weight=batch.weight))

    def predict(self, x: Features, /) -> Array:
        """As the top does; (n, 0) while the kind of labels is not known. Changes nothing."""
        said = stacked([member.predict(x) for member in self.members])
        return np.zeros((said.shape[1], 0)) if self._of_classes is None else self.over.predict(self._features(said))

    def flow(self, arrivals: Batch, due: Kept | None, due_y: Array, order: Ints, /) -> tuple[Array, Kept]:
        """As `retain.compose.LateLearner.flow`: the top sees what members said when the row arrived."""
        self._check(arrivals, due_y, len(due_y))

        def flow(member: Learner, m: int) -> tuple[Array, Kept]:
            return late(member).flow(arrivals, None if due is None else due.parts[m], due_y, order)

        said, parts = self._all(arrivals, flow, due_y)
        self._know(due_y)
        rows = Batch(self._features(said), weight=arrivals.weight)
        answer, kept = late(self.over).flow(rows, None if due is None else due.parts[-1], due_y, order)
        return answer, Kept((), (*parts, kept))

    def meet(self, arrivals: Batch, /) -> tuple[Array, Kept]:
        met = [late(member).meet(arrivals) for member in self.members]
        rows = Batch(self._features(stacked([said for said, _ in met])), weight=arrivals.weight)
        answer, kept = late(self.over).meet(rows)
        return answer, Kept((), (*(part for _, part in met), kept))

    def state_dict(self) -> State:
        members = {str(i): member.state_dict() for i, member in enumerate(self.members)}
        return {"members": members, "of_classes": self._of_classes, "over": self.over.state_dict()}

    def load_state_dict(self, state: State, /) -> None:
        for i, member in enumerate(self.members):
            member.load_state_dict(state["members"][str(i)])
        self._of_classes = state["of_classes"]
        self.over.load_state_dict(state["over"])

    def _all(
        self, arrivals: Batch, call: Callable[[Learner, int], tuple[Array, Kept]], y: Array
    ) -> tuple[Array, list[Kept]]:
        parts: dict[int, Kept] = {}

        def ask(member: Learner, m: int) -> Array:
            said, parts[m] = call(member, m)
            return said

        return self._all_or_none(arrivals, ask, y), [parts[m] for m in range(len(self.members))]

    def _all_or_none(self, batch: Batch, call: Callable[[Learner, int], Array], y: Array | None = None) -> Array:
        return stacked(all_or_none(self.members, batch, call, accepted=self._accepted, y=y))

    def _check(self, batch: Batch, y: Array | None, n: int) -> None:
        blocks.check_labels(y, n, reader="Stacking")
        blocks.weights(batch.weight, len(batch), reader="Stacking")

    def _know(self, y: Array | None) -> None:
        if self._of_classes is None and y is not None:
            self._of_classes = y.dtype.kind in "iub"

    def _features(self, said: Array) -> CSR:
        """What members say of each row, as a row: class by class, so that a new class is a column further right."""
        flat = said[:, :, None] if said.ndim == 2 else said
        members, n, k = flat.shape
        rows = np.moveaxis(flat, 0, -1).reshape(n, k * members)
        if self._of_classes:
            rows = np.log(np.maximum(rows, _LEAST) / _LEAST)
        else:
            rows = np.clip(np.nan_to_num(rows), -_LARGEST, _LARGEST)
        row, column = np.nonzero(rows)
        starts = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=n))]).astype(np.int64)
        return CSR(starts, column.astype(np.int32), rows[row, column].astype(np.float32), k * members)


@final
class _Opinion:
    """What one of the members said, read from the features of the top."""

    def __init__(self, member: int, members: int) -> None:
        self._member, self._members = member, members

    def learn(self, batch: Batch, /) -> Array:
        return self.predict(batch.x)

    def predict(self, x: Features, /) -> Array:
        rows = blocks.dense(blocks.matrix(x, reader="Stacking"), blocks.width(x))[:, self._member :: self._members]
        p = np.where(rows > 0, _LEAST * np.exp(rows.astype(np.float64)), 0.0)
        total = in_order(p)
        return np.divide(p, total, out=p, where=total > 0)

    def state_dict(self) -> State:
        return {}

    def load_state_dict(self, state: State, /) -> None:
        pass
