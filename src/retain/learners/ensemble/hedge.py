"""`Hedge`: several learners side by side, trusted by how well each has done lately.

Shapes: n rows, M members, k classes (or outputs).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, final

import numpy as np
from numba import njit

from retain import blocks
from retain.compose import Kept, LateLearner, Paced, Renewing, late, learns
from retain.core import Array, Batch, Features, Floats, Ints, Learner, State
from retain.errors import SettingError
from retain.learners.ensemble.members import all_or_none, kind, stacked
from retain.learners.linear import Linear

__all__ = ["Hedge"]

_LEAST = 1e-6  # a probability is never taken for less: one confident mistake must not silence a member for good


@njit(cache=True, nogil=True, error_model="numpy")
def _mix(
    said_MNK: Array,  # of the n arrivals, when they arrived
    due_MDK: Array,  # of D rows that arrived before
    code_P: Array,  # labels of due rows and arrivals, P = D + n: codes, or -1 where there is none
    y_PK: Array,  # or numbers, NaN where there is none; of no rows where labels are codes
    weight_P: Array,
    order: Array,
    trust_M: Array,
    scale: Array,  # (squared error of the mixture so far, its weight)
    span_K2: Array,  # the least and the largest number learnt; of no outputs where labels are codes
    rate: float,
    share: float,
    out_NK: Array,
) -> None:  # pragma: no cover - compiled
    due, members, k = due_MDK.shape[1], len(trust_M), out_NK.shape[1]
    loss_M = np.empty(members)
    for event in order:
        if event >= 0:
            for c in range(k):
                total = 0.0
                for m in range(members):
                    total += trust_M[m] * _vote(said_MNK[m, event, c], c, span_K2)
                out_NK[event, c] = total
            continue
        row, weight = ~event, float(weight_P[~event])
        code, at = code_P[row], row - due  # of the arrivals; at + due of the due rows
        if weight == 0.0 or (code < 0 and not len(y_PK)):
            continue
        if code >= 0:
            for m in range(members):
                p = 0.0
                if code < k:
                    p = said_MNK[m, at, code] if at >= 0 else due_MDK[m, row, code]
                loss_M[m] = max(p, _LEAST)
            if rate * weight == 1.0:  # the usual case: w exp(log p) = w p
                for m in range(members):
                    trust_M[m] *= loss_M[m]
            else:
                _lower(trust_M, -np.log(loss_M), rate * weight)
        else:
            before, place = (said_MNK, at) if at >= 0 else (due_MDK, row)
            if not _errors(before, place, y_PK[row], weight, trust_M, scale, span_K2, loss_M):
                continue
            _lower(trust_M, loss_M, rate * weight)
        dealt = share if weight == 1.0 else 1.0 - (1.0 - share) ** weight
        total = 0.0
        for m in range(members):
            total += trust_M[m]
        for m in range(members):  # weights that add up to 1, a share of which is dealt out anew
            trust_M[m] = (1.0 - dealt) / total * trust_M[m] + dealt / members


@njit(cache=True, nogil=True, error_model="numpy")
def _vote(said: float, c: int, span_K2: Array) -> float:  # pragma: no cover - compiled
    """What a member said of output c, no farther from the labels learnt than these lie apart."""
    if c >= len(span_K2) or span_K2[c, 0] > span_K2[c, 1]:
        return said
    low, high = span_K2[c]
    return min(max(said, low - (high - low)), high + (high - low))


@njit(cache=True, nogil=True, error_model="numpy")
def _errors(
    said_MPK: Array, row: int, y_K: Array, weight: float, trust_M: Array, scale: Array, span_K2: Array, loss_M: Array
) -> bool:  # pragma: no cover - compiled
    """Squared errors in units of twice the mixture's mean squared error; False where the label is missing."""
    own = 0.0
    loss_M[:] = 0.0
    for c in range(len(y_K)):
        if np.isnan(y_K[c]):
            return False
        mean = 0.0
        for m in range(len(trust_M)):
            vote = _vote(said_MPK[m, row, c], c, span_K2)
            mean += trust_M[m] * vote
            loss_M[m] += (y_K[c] - vote) ** 2
        own += (y_K[c] - mean) ** 2
    for c in range(len(y_K)):
        span_K2[c, 0], span_K2[c, 1] = min(span_K2[c, 0], y_K[c]), max(span_K2[c, 1], y_K[c])
    scale[0] += weight * own
    scale[1] += weight
    loss_M /= 2.0 * scale[0] / scale[1] if scale[0] > 0.0 else 1.0
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def _lower(trust_M: Array, loss_M: Array, rate: float) -> None:  # pragma: no cover - compiled
    """w exp(-rate l), up to a factor: that of the best of those trusted at all is 1, so that they cannot all vanish."""
    least = np.inf
    for m in range(len(trust_M)):
        if trust_M[m] > 0.0:
            least = min(least, loss_M[m])
    for m in range(len(trust_M)):
        trust_M[m] *= np.exp(-rate * max(loss_M[m] - least, 0.0))


@final
class Hedge(LateLearner, Paced, Renewing):
    """Predicts with the mean of its members, weighted by how well each predicted lately; all of them go on learning.

    After every label, with l_m the loss of member m (log-loss; for numbers the squared error over twice the mean
    squared error of the mixture, which is the same for a Gaussian):

        w_m <- w_m exp(-rate l_m),  w <- w / sum w,  w_m <- (1 - share) w_m + share / M

    With `rate` 1 and `share` 0 the log-loss of the mixture exceeds that of the best member by at most log M over the
    whole stream. The share bounds how long a member that was bad for long needs to come back, so that the mixture
    follows drift: about log(M / share) nats.

    Numbers that members say are taken to lie no farther from the labels learnt than these lie apart: a member that
    diverges does not take the mixture along, and one that follows a trend may go ahead of it.

    Late labels judge a member by what it said when the row arrived. A row of weight v counts as v rows. Granularity:
    the coarsest of the members'.

    Args:
        members: learners of the same task.
        rate: how fast trust moves.
        share: of the trust, dealt out evenly after every label; 0 <= share < 1.

    Raises:
        SettingError: no members, or a rate or share out of range.

    >>> import numpy as np, retain as rt
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(2000, 2))
    >>> hedge = rt.Hedge(rt.Linear(loss=rt.Logistic()), rt.Prior())
    >>> said = hedge.learn(rt.Batch(x, y=(x[:, 0] > 0).astype(int)))
    >>> hedge.trust.round(2)
    array([0.99, 0.01])

    References:
        Freund, Schapire 1997 (Hedge); Herbster, Warmuth 1998 (fixed share); Vovk 1998 (log-loss, rate 1).
    """

    def __init__(self, *members: Learner, rate: float = 1.0, share: float = 0.01) -> None:
        if not members:
            raise SettingError("Hedge got no members; expected at least one learner")
        if not (rate > 0 and 0 <= share < 1):
            raise SettingError(f"Hedge got rate={rate}, share={share}; expected rate > 0 and 0 <= share < 1")
        self.members = members
        self._rate, self._share = float(rate), float(share)
        self._linear = Linear.alike(members)
        self._learnt: Any = ()  # of a table learnt, its Arrow schema; None: rows were no table
        self._trust = np.full(len(members), 1.0 / len(members))
        self._scale = np.zeros(2)
        self._span = np.empty((0, 2))  # (k, 2) the least and the largest label of each output, where they are numbers

    @property
    def trust(self) -> Floats:
        """The weights of the members, (M,), adding up to 1."""
        return self._trust.copy()

    def learn(self, batch: Batch, /) -> Array:
        n = len(batch)
        if self._linear is not None:
            said = Linear.abreast(self._linear, batch)
        else:
            self._check(batch, batch.y, n)
            said = self._all_or_none(batch.x, lambda member, _: member.learn(batch))
        order = np.empty(2 * n, dtype=np.int64)  # every row lands right after it has arrived, if it has a label
        order[0::2] = np.arange(n)
        order[1::2] = ~order[0::2]
        return self._mixed(said, None, batch.y, batch.weight, order)

    def predict(self, x: Features, /) -> Array:
        said = stacked([member.predict(x) for member in self.members])
        return self._mixed(said, None, None, None, np.arange(said.shape[1]))

    def flow(self, arrivals: Batch, due: Kept | None, due_y: Array, order: Ints, /) -> tuple[Array, Kept]:
        """As `retain.compose.LateLearner.flow`: members are judged by what they said when the row arrived.

        When its label lands, hours later, rows like it have been learnt; what members would say of it by then is no
        measure of what they say of rows whose labels are still far.
        """
        self._check(arrivals, due_y, len(due_y))
        parts: list[Kept] = []

        def flow(member: Learner, m: int) -> Array:
            said, part = late(member).flow(arrivals, None if due is None else due.parts[m], due_y, order)
            parts.append(part)
            return said

        said = self._all_or_none(arrivals.x, flow)
        kept = self._kept(said, arrivals.weight, tuple(parts))
        weight = kept.views[0].weight
        before = None if due is None else due.views[0]
        if before is not None and before.weight is not None and weight is not None:
            weight = np.concatenate([before.weight, weight])
        return self._mixed(said, before, due_y, weight, order), kept

    def pace(self, factor: float, /) -> None:
        """Multiply the learning rates of the members that have one that can be multiplied."""
        paced = [end for member in self.members if isinstance(end := learns(member), Paced)]
        changed = 0
        for member in paced:
            try:
                member.pace(factor)
                changed += 1
            except SettingError:  # an update without a rate
                continue
        if not changed:
            raise SettingError("no member of this Hedge has a learning rate that can be multiplied")

    def renew(self, blank: Learner, /) -> int:
        """The least trusted member begins anew, with an even share of the trust."""
        if not isinstance(blank, Hedge) or len(blank.members) != len(self.members):
            raise SettingError("Hedge can be renewed from a Hedge of the same members only")
        worst = int(self._trust.argmin())
        self.members[worst].load_state_dict(blank.members[worst].state_dict())
        self._trust[worst] = 1.0 / len(self.members)
        self._trust /= self._trust.sum()
        return worst

    def meet(self, arrivals: Batch, /) -> tuple[Array, Kept]:
        met = [late(member).meet(arrivals) for member in self.members]
        said = stacked([answer for answer, _ in met])
        mixed = self._mixed(said, None, None, None, np.arange(said.shape[1]))
        return mixed, self._kept(said, arrivals.weight, tuple(part for _, part in met))

    def state_dict(self) -> State:
        members = {str(i): member.state_dict() for i, member in enumerate(self.members)}
        return {"members": members, "trust": self._trust.copy(), "scale": self._scale.copy(), "span": self._span.copy()}

    def load_state_dict(self, state: State, /) -> None:
        for i, member in enumerate(self.members):
            member.load_state_dict(state["members"][str(i)])
        self._trust, self._scale, self._span = (state[name].copy() for name in ("trust", "scale", "span"))

    def _kept(self, said: Array, weight: Array | None, parts: tuple[Kept, ...]) -> Kept:
        """What every member said of each row, and what it wants to see again."""
        n = said.shape[1]
        flat = np.moveaxis(said, 0, -1).reshape(n, len(said) * math.prod(said.shape[2:]))
        return Kept((Batch(flat, weight=blocks.weights(weight, n, reader="Hedge")),), parts)

    def _check(self, batch: Batch, y: Array | None, n: int) -> None:
        blocks.check_labels(y, n, reader="Hedge")
        blocks.weights(batch.weight, len(batch), reader="Hedge")

    def _mixed(self, said: Array, due: Batch | None, y: Array | None, weight: Array | None, order: Ints) -> Array:
        """Mix what members said of the arrivals, (M, n, k) or (M, n), moving trust whenever a label lands."""
        flat = said.ndim == 2
        said_MNK = np.ascontiguousarray(said[:, :, None] if flat else said)
        members, n, k = said_MNK.shape
        due_MDK = np.zeros((members, 0, k))
        if due is not None:
            # Fewer classes may have been known by then; the rest had probability 0.
            before = np.asarray(due.x).reshape(len(due), blocks.width(due.x) // members, members)
            due_MDK = np.zeros((members, len(due), k))
            due_MDK[:, :, : before.shape[1]] = np.moveaxis(before, -1, 0)
        rows = n + due_MDK.shape[1]
        code, numbers = np.full(rows, -1), np.empty((0, k))
        if y is not None and y.dtype.kind in "iub":
            code = blocks.codes(y, rows, reader="Hedge")
        elif y is not None:
            numbers = np.ascontiguousarray(blocks.numbers(y, rows, reader="Hedge").reshape(rows, k))
            if not len(self._span):
                self._span = np.tile([np.inf, -np.inf], (k, 1))
        out = np.empty((n, k))
        w = blocks.weights(weight, rows, reader="Hedge")
        moved = self._trust, self._scale, self._span
        _mix(said_MNK, due_MDK, code, numbers, w, order, *moved, self._rate, self._share, out)
        return out[:, 0] if flat else out

    def _all_or_none(self, x: Features, call: Callable[[Learner, int], Array]) -> Array:
        said = stacked(all_or_none(self.members, x, call, learnt=self._learnt))
        self._learnt = kind(x)
        return said
