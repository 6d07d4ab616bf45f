"""`Hedge`: several learners side by side, trusted by how well each has done lately.

Shapes: n rows, M members, S shares, k classes (or outputs).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import numpy as np
from numba import njit

from retain import blocks
from retain.compose import Kept, LateLearner, Paced, Renewing, late, learns
from retain.core import Array, Batch, Features, Floats, Ints, Learner, State
from retain.errors import SettingError
from retain.learners.ensemble.members import Accepted, all_or_none, stacked
from retain.learners.linear import Linear

__all__ = ["Hedge"]


_CALM = 0.1  # how fast levels are trusted: late labels come in bursts, in which the fastest would look best
_LEAST = 1e-6  # a probability is never taken for less: one confident mistake must not silence a member for good


@njit(cache=True, nogil=True, error_model="numpy")
def _mix(
    said_VNK: Array,  # V = M + S voices: what members said of the n arrivals; what each level makes of it is put behind
    due_VDK: Array,  # what both said of D rows that arrived before
    code_P: Array,  # labels of due rows and arrivals, P = D + n: codes, or -1 where there is none
    y_PK: Array,  # or numbers, NaN where there is none; of no rows where labels are codes
    weight_P: Array,
    order: Array,
    trust_SM: Array,
    belief_S: Array,
    scale: Array,  # (squared error of the mixture so far, its weight)
    span_K2: Array,  # the least and the largest number learnt; of no outputs where labels are codes
    rate_S: Array,
    share_S: Array,
    calm: float,  # the rate of the belief
    out_NK: Array,
) -> None:  # pragma: no cover - compiled
    due, (levels, members), k = due_VDK.shape[1], trust_SM.shape, out_NK.shape[1]
    loss_V = np.empty(members + levels)
    loss_M, loss_S = loss_V[:members], loss_V[members:]
    least = share_S.min()
    for event in order:
        if event >= 0:
            for c in range(k):
                mixed = 0.0
                for s in range(levels):
                    total = 0.0
                    for m in range(members):
                        total += trust_SM[s, m] * _vote(said_VNK[m, event, c], c, span_K2)
                    said_VNK[members + s, event, c] = total
                    mixed += belief_S[s] * total
                out_NK[event, c] = mixed
            continue
        row, weight = ~event, float(weight_P[~event])
        code, at = code_P[row], row - due  # of the arrivals; at + due of the due rows
        if weight == 0.0 or (code < 0 and not len(y_PK)):
            continue
        before, place = (said_VNK, at) if at >= 0 else (due_VDK, row)
        if code >= 0:
            for v in range(len(loss_V)):
                loss_V[v] = -np.log(max(before[v, place, code] if code < k else 0.0, _LEAST))
        elif not _errors(before, place, y_PK[row], weight, belief_S, scale, span_K2, loss_V):
            continue
        loss_M -= loss_M.min()
        loss_S -= loss_S.min()
        for s in range(levels):
            _deal(trust_SM[s], loss_M, rate_S[s], share_S[s], weight)
        _deal(belief_S, loss_S, calm, least, weight)


@njit(cache=True, nogil=True, error_model="numpy")
def _deal(
    trust_M: Array, loss_M: Array, rate: float, share: float, weight: float
) -> None:  # pragma: no cover - compiled
    """Weights times exp(-rate l), scaled to add up to 1, a share of which is dealt out anew."""
    total = 0.0
    for m in range(len(trust_M)):
        trust_M[m] *= np.exp(-rate * weight * loss_M[m])
        total += trust_M[m]
    dealt = share if weight == 1.0 else 1.0 - (1.0 - share) ** weight
    for m in range(len(trust_M)):
        # All may have vanished that were trusted at all: then nobody knows who is better.
        kept = trust_M[m] / total if total > 0.0 else 1.0 / len(trust_M)
        trust_M[m] = (1.0 - dealt) * kept + dealt / len(trust_M)


@njit(cache=True, nogil=True, error_model="numpy")
def _vote(said: float, c: int, span_K2: Array) -> float:  # pragma: no cover - compiled
    """What a member said of output c, no farther from the labels learnt than these lie apart."""
    if c >= len(span_K2) or span_K2[c, 0] > span_K2[c, 1]:
        return said
    low, high = span_K2[c]
    return min(max(said, low - (high - low)), high + (high - low))


@njit(cache=True, nogil=True, error_model="numpy")
def _errors(
    said_VPK: Array, row: int, y_K: Array, weight: float, belief_S: Array, scale: Array, span_K2: Array, loss_V: Array
) -> bool:  # pragma: no cover - compiled
    """Squared errors in units of twice the mixture's mean squared error; False where the label is missing."""
    for c in range(len(y_K)):
        if np.isnan(y_K[c]):
            return False
    own = 0.0
    loss_V[:] = 0.0
    members = len(loss_V) - len(belief_S)
    for c in range(len(y_K)):
        mean = 0.0
        for v in range(len(loss_V)):
            vote = _vote(said_VPK[v, row, c], c, span_K2)
            loss_V[v] += (y_K[c] - vote) ** 2
            if v >= members:
                mean += belief_S[v - members] * vote
        own += (y_K[c] - mean) ** 2
    for c in range(len(y_K)):
        span_K2[c, 0], span_K2[c, 1] = min(span_K2[c, 0], y_K[c]), max(span_K2[c, 1], y_K[c])
    scale[0] += weight * own
    scale[1] += weight
    loss_V /= 2.0 * scale[0] / scale[1] if scale[0] > 0.0 else 1.0
    return True


@final
class Hedge(LateLearner, Paced, Renewing):
    """Predicts with the mean of its members, weighted by how well each predicted lately; all of them go on learning.

    After every label, with l_m the loss of member m (log-loss; for numbers the squared error over twice the mean
    squared error of the mixture, which is the same for a Gaussian):

        w_m <- w_m exp(-rate l_m),  w <- w / sum w,  w_m <- (1 - share) w_m + share / M

    With `rate` 1 and `share` 0 the log-loss of the mixture exceeds that of the best member by at most log M over the
    whole stream. The share bounds how long a member that was bad for long needs to come back, so that the mixture
    follows drift: about log(M / share) nats; but it costs about that share of a nat with every row. And where labels
    come late, those of an hour tell much the same: trust that moves at rate 1 then follows chance.

    How often the best member changes, and how much one label tells, is not known. So weights are kept for several rates
    and shares side by side, and the mixture is the mean of these levels, each trusted by the losses of what it itself
    said, in the same way, at rate 0.1 and with the least of the shares.

    Numbers that members say are taken to lie no farther from the labels learnt than these lie apart: a member that
    diverges does not take the mixture along, and one that follows a trend may go ahead of it.

    Late labels judge a member by what it said when the row arrived. A row of weight v counts as v rows. Granularity:
    the coarsest of the members'.

    Args:
        members: learners of the same task.
        rate: how fast trust moves; or several rates.
        share: of the trust, dealt out evenly after every label; 0 <= share < 1; or several of them.

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
        Freund, Schapire 1997 (Hedge); Herbster, Warmuth 1998 (fixed share); Vovk 1998 (log-loss, rate 1); Monteleoni,
        Jaakkola 2003, Online learning of non-stationary sequences, NIPS (several shares).
    """

    def __init__(
        self,
        *members: Learner,
        rate: float | Sequence[float] = (1.0, 0.1, 0.01),
        share: float | Sequence[float] = (0.03, 0.003, 0.0003),
    ) -> None:
        if not members:
            raise SettingError("Hedge got no members; expected at least one learner")
        rates, shares = (
            np.array(given if isinstance(given, Sequence) else [given], dtype=np.float64) for given in (rate, share)
        )
        levels = len(rates) * len(shares)
        if not (levels and (rates > 0).all() and ((shares >= 0) & (shares < 1)).all()):
            raise SettingError(f"Hedge got rate={rate}, share={share}; expected rate > 0 and 0 <= share < 1")
        self.members = members
        self._rate, self._share = np.repeat(rates, len(shares)), np.tile(shares, len(rates))
        self._linear = Linear.alike(members)
        self._accepted = Accepted()
        self._trust = np.full((levels, len(members)), 1.0 / len(members))
        self._belief = np.full(levels, 1.0 / levels)
        self._scale = np.zeros(2)
        self._span = np.empty((0, 2))  # (k, 2) the least and the largest label of each output, where they are numbers

    @property
    def trust(self) -> Floats:
        """The weights of the members, (M,), adding up to 1."""
        return self._belief @ self._trust

    def learn(self, batch: Batch, /) -> Array:
        n = len(batch)
        if self._linear is not None:
            said = Linear.abreast(self._linear, batch)
        else:
            self._check(batch, batch.y, n)
            said = self._all_or_none(batch, lambda member, _: member.learn(batch))
        order = np.empty(2 * n, dtype=np.int64)  # every row lands right after it has arrived, if it has a label
        order[0::2] = np.arange(n)
        order[1::2] = ~order[0::2]
        return self._mixed(said, None, batch.y, batch.weight, order)[0]

    def predict(self, x: Features, /) -> Array:
        said = stacked([member.predict(x) for member in self.members])
        return self._mixed(said, None, None, None, np.arange(said.shape[1]))[0]

    def flow(self, arrivals: Batch, due: Kept | None, due_y: Array, order: Ints, /) -> tuple[Array, Kept]:
        """As `retain.compose.LateLearner.flow`: members are judged by what they said when the row arrived.

        When its label lands, hours later, rows like it have been learnt; what members would say of it by then is no
        measure of what they say of rows whose labels are still far.
        """
        self._check(arrivals, due_y, len(due_y))
        parts: dict[int, Kept] = {}

        def flow(member: Learner, m: int) -> Array:
            said, parts[m] = late(member).flow(arrivals, None if due is None else due.parts[m], due_y, order)
            return said

        said = self._all_or_none(arrivals, flow, due_y)
        own = blocks.weights(arrivals.weight, len(arrivals), reader="Hedge")
        before = None if due is None else due.views[0]
        weight = own if before is None or before.weight is None else np.concatenate([before.weight, own])
        mixed, voices = self._mixed(said, before, due_y, weight, order)
        return mixed, Kept((Batch(voices, weight=own),), tuple(parts[m] for m in range(len(self.members))))

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
        worst = int(self.trust.argmin())
        self.members[worst].load_state_dict(blank.members[worst].state_dict())
        self._trust[:, worst] = 1.0 / len(self.members)
        self._trust /= self._trust.sum(axis=1, keepdims=True)
        return worst

    def meet(self, arrivals: Batch, /) -> tuple[Array, Kept]:
        met = [late(member).meet(arrivals) for member in self.members]
        said = stacked([answer for answer, _ in met])
        mixed, voices = self._mixed(said, None, None, None, np.arange(said.shape[1]))
        weight = blocks.weights(arrivals.weight, len(arrivals), reader="Hedge")
        return mixed, Kept((Batch(voices, weight=weight),), tuple(part for _, part in met))

    def state_dict(self) -> State:
        members = {str(i): member.state_dict() for i, member in enumerate(self.members)}
        kept = {name: getattr(self, f"_{name}").copy() for name in ("trust", "belief", "scale", "span")}
        return {"members": members, **kept}

    def load_state_dict(self, state: State, /) -> None:
        for i, member in enumerate(self.members):
            member.load_state_dict(state["members"][str(i)])
        self._trust, self._belief = state["trust"].copy(), state["belief"].copy()
        self._scale, self._span = state["scale"].copy(), state["span"].copy()

    def _check(self, batch: Batch, y: Array | None, n: int) -> None:
        blocks.check_labels(y, n, reader="Hedge")
        blocks.weights(batch.weight, len(batch), reader="Hedge")

    def _mixed(
        self, said: Array, due: Batch | None, y: Array | None, weight: Array | None, order: Ints
    ) -> tuple[Array, Array]:
        """Mix what members said of the arrivals, (M, n, k) or (M, n), moving trust whenever a label lands.

        Returns the mixture, and of each row what all voices said, (n, k V), to be kept until its label lands.
        """
        flat = said.ndim == 2
        said_MNK = said[:, :, None] if flat else said
        _, n, k = said_MNK.shape
        said_VNK = np.concatenate([said_MNK, np.zeros((len(self._belief), n, k))])
        due_VDK = np.zeros((len(said_VNK), 0, k))
        if due is not None:
            # Fewer classes may have been known by then; the rest had probability 0.
            before = np.asarray(due.x).reshape(len(due), blocks.width(due.x) // len(said_VNK), len(said_VNK))
            due_VDK = np.zeros((len(said_VNK), len(due), k))
            due_VDK[:, :, : before.shape[1]] = np.moveaxis(before, -1, 0)
        rows = n + due_VDK.shape[1]
        code, numbers = np.full(rows, -1), np.empty((0, k))
        if y is not None and y.dtype.kind in "iub":
            code = blocks.codes(y, rows, reader="Hedge")
        elif y is not None:
            numbers = np.ascontiguousarray(blocks.numbers(y, rows, reader="Hedge").reshape(rows, k))
            if not len(self._span):
                self._span = np.tile([np.inf, -np.inf], (k, 1))
        out = np.empty((n, k))
        w = blocks.weights(weight, rows, reader="Hedge")
        moved = self._trust, self._belief, self._scale, self._span
        _mix(said_VNK, due_VDK, code, numbers, w, order, *moved, self._rate, self._share, _CALM, out)
        voices = np.moveaxis(said_VNK, 0, -1).reshape(n, k * len(said_VNK))
        return (out[:, 0] if flat else out), voices

    def _all_or_none(self, batch: Batch, call: Callable[[Learner, int], Array], y: Array | None = None) -> Array:
        return stacked(all_or_none(self.members, batch, call, accepted=self._accepted, y=y))
