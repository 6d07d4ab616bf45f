"""`Hedge`: several learners side by side, trusted by how well each has done lately.

Shapes: n rows, M members, k classes (or outputs).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import final

import numpy as np
from numba import njit

from retain import blocks
from retain.compose import Kept, LateLearner, late
from retain.core import CSR, Array, Batch, Features, Floats, Ints, Learner, State
from retain.errors import RetainError, SettingError

__all__ = ["Hedge"]

_LEAST = 1e-6  # a probability is never taken for less: one confident mistake must not silence a member for good


@njit(cache=True, nogil=True)
def _mix(
    said_NKM: Array,  # of the n arrivals, when they arrived
    due_DKM: Array,  # of D rows that arrived before
    code_P: Array,  # labels of due rows and arrivals, P = D + n: codes, or -1 where y_PK holds numbers
    y_PK: Array,
    weight_P: Array,
    order: Array,
    trust_M: Array,
    scale: Array,  # (squared error of the mixture so far, its weight)
    rate: float,
    share: float,
    out_NK: Array,
) -> None:  # pragma: no cover - compiled
    due, members, k = len(due_DKM), len(trust_M), out_NK.shape[1]
    loss_M = np.empty(members)
    for event in order:
        if event >= 0:
            for c in range(k):
                out_NK[event, c] = _mean(said_NKM[event, c], trust_M)
            continue
        row = ~event
        said_KM = due_DKM[row] if row < due else said_NKM[row - due]
        if weight_P[row] == 0.0:
            continue
        if code_P[row] >= 0:
            for m in range(members):
                p = said_KM[code_P[row], m] if code_P[row] < k else 0.0
                loss_M[m] = -np.log(max(p, _LEAST))
        elif not _errors(said_KM, y_PK[row], float(weight_P[row]), trust_M, scale, loss_M):
            continue
        for m in range(members):
            trust_M[m] = np.log(trust_M[m]) - rate * weight_P[row] * loss_M[m]
        _share(trust_M, 1.0 - (1.0 - share) ** float(weight_P[row]))


@njit(cache=True, nogil=True)
def _errors(
    said_KM: Array, y_K: Array, weight: float, trust_M: Array, scale: Array, loss_M: Array
) -> bool:  # pragma: no cover - compiled
    """Squared errors in units of twice the mixture's mean squared error; False where the label is missing."""
    own = 0.0
    loss_M[:] = 0.0
    for c in range(len(y_K)):
        if np.isnan(y_K[c]):
            return False
        own += (y_K[c] - _mean(said_KM[c], trust_M)) ** 2
        for m in range(len(trust_M)):
            loss_M[m] += (y_K[c] - said_KM[c, m]) ** 2
    scale[0] += weight * own
    scale[1] += weight
    loss_M /= 2.0 * scale[0] / scale[1] if scale[0] > 0.0 else 1.0
    return True


@njit(cache=True, nogil=True)
def _mean(said_M: Array, trust_M: Array) -> float:  # pragma: no cover - compiled
    total = 0.0
    for m in range(len(trust_M)):
        total += trust_M[m] * said_M[m]
    return total


@njit(cache=True, nogil=True)
def _share(trust_M: Array, share: float) -> None:  # pragma: no cover - compiled
    """From logarithms to weights that add up to 1, a share of which is dealt out anew."""
    most = trust_M.max()
    total = 0.0
    for m in range(len(trust_M)):
        trust_M[m] = np.exp(trust_M[m] - most)
        total += trust_M[m]
    for m in range(len(trust_M)):
        trust_M[m] = (1.0 - share) * trust_M[m] / total + share / len(trust_M)


@final
class Hedge(LateLearner):
    """Predicts with the mean of its members, weighted by how well each predicted lately; all of them go on learning.

    After every label, with l_m the loss of member m (log-loss; for numbers the squared error over twice the mean
    squared error of the mixture, which is the same for a Gaussian):

        w_m <- w_m exp(-rate l_m),  w <- w / sum w,  w_m <- (1 - share) w_m + share / M

    With `rate` 1 and `share` 0 the log-loss of the mixture exceeds that of the best member by at most log M over the
    whole stream. The share bounds how long a member that was bad for long needs to come back, so that the mixture
    follows drift: about log(M / share) nats.

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
        self._trust = np.full(len(members), 1.0 / len(members))
        self._scale = np.zeros(2)

    @property
    def trust(self) -> Floats:
        """The weights of the members, (M,), adding up to 1."""
        return self._trust.copy()

    def learn(self, batch: Batch, /) -> Array:
        n = len(batch)
        self._check(batch, batch.y, n)
        known = np.flatnonzero(blocks.labelled(batch.y, n))
        order = np.concatenate([np.arange(n), ~known])[np.argsort(np.concatenate([2 * np.arange(n), 2 * known + 1]))]
        said = self._all_or_none(batch.x, lambda member, _: member.learn(batch))
        return self._mixed(_stack(said), None, batch.y, batch.weight, order)

    def predict(self, x: Features, /) -> Array:
        said = _stack([member.predict(x) for member in self.members])
        return self._mixed(said, None, None, None, np.arange(len(said)))

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

        said = _stack(self._all_or_none(arrivals.x, flow))
        flat = said.reshape(len(said), math.prod(said.shape[1:]))
        weight = blocks.weights(arrivals.weight, len(said), reader="Hedge")
        kept = Kept((Batch(flat, weight=weight),), tuple(parts))
        before = None if due is None else due.views[0]
        if before is not None and before.weight is not None:
            weight = np.concatenate([before.weight, weight])
        return self._mixed(said, before, due_y, weight, order), kept

    def state_dict(self) -> State:
        members = {str(i): member.state_dict() for i, member in enumerate(self.members)}
        return {"members": members, "trust": self._trust.copy(), "scale": self._scale.copy()}

    def load_state_dict(self, state: State, /) -> None:
        for i, member in enumerate(self.members):
            member.load_state_dict(state["members"][str(i)])
        self._trust, self._scale = state["trust"].copy(), state["scale"].copy()

    def _check(self, batch: Batch, y: Array | None, n: int) -> None:
        blocks.check_labels(y, n, reader="Hedge")
        blocks.weights(batch.weight, len(batch), reader="Hedge")

    def _mixed(self, said: Array, due: Batch | None, y: Array | None, weight: Array | None, order: Ints) -> Array:
        """Mix what members said of the arrivals (n, k, M) or (n, M), moving trust whenever a label lands."""
        flat = said.ndim == 2
        said_NKM = said[:, None, :] if flat else said
        n, k, members = said_NKM.shape
        due_DKM = np.zeros((0, k, members))
        if due is not None:
            # Fewer classes may have been known by then; the rest had probability 0.
            before = np.asarray(due.x).reshape(len(due), blocks.width(due.x) // members, members)
            due_DKM = np.pad(before, ((0, 0), (0, k - before.shape[1]), (0, 0)))
        rows = n + len(due_DKM)
        code, numbers = np.full(rows, -1), np.full((rows, k), np.nan)
        if y is not None and y.dtype.kind in "iub":
            code = blocks.codes(y, rows, reader="Hedge")
        elif y is not None:
            numbers = blocks.numbers(y, rows, reader="Hedge").reshape(rows, k)
        out = np.empty((n, k))
        w = blocks.weights(weight, rows, reader="Hedge")
        state = self._trust, self._scale, self._rate, self._share
        _mix(said_NKM, due_DKM, code, np.ascontiguousarray(numbers), w, order, *state, out)
        return out[:, 0] if flat else out

    def _all_or_none(self, x: Features, call: Callable[[Learner, int], Array]) -> list[Array]:
        """All members learn, or none: what one refuses another may have learnt already."""
        before: list[State] = []
        if not _finite(x):  # the one input that members may disagree about; else the first of them refuses it
            before = [member.state_dict() for member in self.members]
        try:
            return [call(member, m) for m, member in enumerate(self.members)]
        except RetainError:
            for member, state in zip(self.members, before, strict=False):
                member.load_state_dict(state)
            raise


def _finite(x: Features) -> bool:
    if isinstance(x, CSR):
        return bool(np.isfinite(x.values).all())
    # Tables are given to members that read tables; whether nulls are missing values is for each of them to say.
    return isinstance(x, np.ndarray) and x.dtype.kind in "fiub" and bool(np.isfinite(x).all())


def _stack(said: Sequence[Array]) -> Array:
    """(n, M) or (n, k, M); a class that only some members know of has probability 0 from the others."""
    n = len(said[0])
    if any(answer.ndim == 1 for answer in said):
        # A baseline that has seen no label does not know yet that labels are numbers: it says nothing, which is 0.
        return np.stack([answer if answer.ndim == 1 else np.zeros(n) for answer in said], axis=1, dtype=np.float64)
    out = np.zeros((n, max(answer.shape[1] for answer in said), len(said)))
    for m, answer in enumerate(said):
        out[:, : answer.shape[1], m] = answer
    return out
