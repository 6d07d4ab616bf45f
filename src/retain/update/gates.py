"""Gates: is the candidate better, or at least not worse, than the champion on the same rows?

Shapes: m pairs of losses, J bets.
"""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, final

import numpy as np
from numba import njit

from retain.core import Array, Decision, Evidence, Floats, Ints, State, Verdict
from retain.errors import PoisonError, SettingError

__all__ = ["Better", "NotWorse", "Sequential", "losses", "pairs", "some", "verdict_from", "verdict_state"]

_UNDECIDED, _PROMOTE, _REFUSE = 0, 1, 2
_DECISIONS = (Decision.UNDECIDED, Decision.PROMOTE, Decision.REFUSE)
# Shares of the wealth that are bet: small ones find small differences in many pairs, large ones large ones in few.
_BETS = 0.5 ** np.arange(1.0, 11.0)
# sums: 0 pairs, 1 gains, 2 squared gains, 3 decision, 4 pairs when it fell, 5 sum of both losses, 6 their number
_SUMS = 7


@njit(cache=True, nogil=True, error_model="numpy")
def _run(
    gain_M: Array,  # loss of the champion less that of the candidate, with what it may be worse added; NaN: no pair
    size_M: Array,  # mean of both losses
    bets_J: Array,
    wealth_2J: Array,  # logarithms, of the bets for the candidate and of those against it
    sums: Array,
    unit: float,  # the largest loss; 0 where nobody knows
    least: float,
    most: float,
    promote: float,
    refuse: float,
) -> None:  # pragma: no cover - compiled
    bets = len(bets_J)
    for i in range(len(gain_M)):
        if sums[3] != _UNDECIDED:
            return
        if np.isnan(gain_M[i]):
            continue
        # Losses without a bound are measured by those before, and cut: what one row can win or lose has a bound.
        scale = unit if unit > 0.0 else (8.0 * sums[5] / sums[6] if sums[5] > 0.0 else 0.0)
        sums[5] += size_M[i]
        sums[6] += 1.0
        gain = min(max(gain_M[i] / scale, -1.0), 1.0) if scale > 0.0 else 0.0
        sums[0] += 1.0
        sums[1] += gain
        sums[2] += gain * gain
        top_for = top_against = -np.inf
        for j in range(bets):
            wealth_2J[0, j] += math.log1p(bets_J[j] * gain)
            wealth_2J[1, j] += math.log1p(-bets_J[j] * gain)
            top_for, top_against = max(top_for, wealth_2J[0, j]), max(top_against, wealth_2J[1, j])
        if sums[0] < least:
            continue
        # The mean of the wealths: never more than the largest, which is looked at first.
        if top_for >= promote and _mean(wealth_2J[0], top_for) >= promote:
            sums[3] = _PROMOTE
        elif (top_against >= refuse and _mean(wealth_2J[1], top_against) >= refuse) or sums[0] >= most:
            sums[3] = _REFUSE
        sums[4] = sums[0]


@njit(cache=True, nogil=True, error_model="numpy")
def _mean(log_J: Array, top: float) -> float:  # pragma: no cover - compiled
    """The logarithm of the mean."""
    total = 0.0
    for j in range(len(log_J)):
        total += math.exp(log_J[j] - top)
    return top + math.log(total / len(log_J))


class Sequential(ABC):
    """A paired test that may be looked at after every pair: two players bet, for the candidate and against it.

    With x the champion's loss less the candidate's plus what it may be worse, in units of the largest loss, each player
    holds J = 10 purses; purse j bets the share b_j = 2^-j of itself on every pair:

        for: W_j <- W_j (1 + b_j x),   against: V_j <- V_j (1 - b_j x),   promote where mean W >= 1 / alpha

    Where x is not positive in the mean, whatever came before, mean W is a nonnegative supermartingale that begins at 1,
    and reaches 1 / alpha with a probability of at most alpha however long it is watched (Ville 1939). Rows may depend
    on each other as they like.
    """

    _allowed: float

    def __init__(self, *, alpha: float, beta: float, least: int, most: int, largest: float | None) -> None:
        part = type(self).__name__
        if not (0 < alpha < 1 and 0 < beta < 1 and 1 <= least <= most):
            raise SettingError(
                f"{part} got alpha={alpha}, beta={beta}, least={least}, most={most}; expected probabilities between 0 "
                "and 1, and 1 <= least <= most"
            )
        if largest is not None and not 0 < largest < math.inf:
            raise SettingError(
                f"{part} got largest={largest}; expected a finite number > 0, or None where nobody knows"
            )
        self._limits = float(least), float(most), -math.log(alpha), -math.log(beta)
        self._unit = 0.0 if largest is None else float(largest)
        self._wealth = np.zeros((2, len(_BETS)))
        self._sums = np.zeros(_SUMS)

    @property
    def wants(self) -> frozenset[str]:
        return frozenset()

    def __call__(self, evidence: Evidence, /) -> Verdict:
        own, other = losses(evidence, reader=type(self).__name__)
        unit, allowed = self._unit, self._allowed
        worst = float(np.fmax(own, other).max(initial=0.0, where=~np.isnan(own + other)))
        if unit and worst > unit:
            raise PoisonError(
                f"{type(self).__name__} got a loss of {worst}; expected at most {unit}: say largest=None where losses "
                "have no bound"
            )
        _run(own - other + allowed, (own + other) / 2, _BETS, self._wealth, self._sums, unit + allowed, *self._limits)
        return self._verdict()

    def _verdict(self) -> Verdict:
        pairs, gain, squares, decision, fell, *_ = (float(value) for value in self._sums)
        mean = gain / pairs if pairs else math.nan
        spread = math.sqrt(max(squares / pairs - mean * mean, 0.0) / pairs) if pairs else math.nan
        evidence = {
            "gain": mean,
            "gain_standard_error": spread,
            "log_e_for": _log_mean(self._wealth[0]),
            "log_e_against": _log_mean(self._wealth[1]),
        }
        return Verdict(_DECISIONS[int(decision)], int(fell), evidence)

    def state_dict(self) -> State:
        return {"wealth": self._wealth.copy(), "sums": self._sums.copy()}

    def load_state_dict(self, state: State, /) -> None:
        self._wealth, self._sums = state["wealth"].copy(), state["sums"].copy()


@final
class Better(Sequential):
    """Promotes a candidate whose loss is smaller; see `Sequential` for the test.

    Args:
        alpha: how probable it may be that one that is no better is promoted, at any time.
        beta: how probable it may be that one that is no worse is refused before `most` pairs.
        least: no decision before so many pairs.
        most: whoever is not better by then is refused.
        largest: the largest loss there is; 1 for errors of 0 and 1. None where there is no bound: gains are then in
            units of eight times the mean loss before, and cut at 1.

    Raises:
        SettingError: a setting out of range.

    >>> import numpy as np, retain as rt
    >>> rng = np.random.default_rng(0)
    >>> champion, candidate = rng.random(5000) < 0.20, rng.random(5000) < 0.15
    >>> verdict = Better()(rt.Evidence(champion.astype(float), candidate.astype(float)))
    >>> verdict.decision.value, verdict.pairs < 2000
    ('promote', True)

    References:
        Waudby-Smith, Ramdas 2024, Estimating means of bounded random variables by betting, JRSS B 86; Ville 1939.
    """

    _allowed = 0.0

    def __init__(
        self,
        *,
        alpha: float = 0.05,
        beta: float = 0.05,
        least: int = 100,
        most: int = 100_000,
        largest: float | None = 1.0,
    ) -> None:
        super().__init__(alpha=alpha, beta=beta, least=least, most=most, largest=largest)


@final
class NotWorse(Sequential):
    """Promotes a candidate whose loss is larger by less than a margin; see `Sequential` for the test.

    For what is cheaper, smaller or newer at the same quality. The smaller the margin, the more pairs it takes: some
    (2 ln(1 / alpha)) v / margin^2 of them, v the variance of the difference, for one that is exactly as good.

    Args:
        margin: how much worse it may be, in units of the loss.
        alpha: how probable it may be that one that is worse by the margin is promoted, at any time.
        beta: how probable it may be that one that is worse by less is refused before `most` pairs.
        least, most, largest: as for `Better`.

    Raises:
        SettingError: a setting out of range.

    >>> import numpy as np, retain as rt
    >>> rng = np.random.default_rng(0)
    >>> same = (rng.random(20_000) < 0.2).astype(float)
    >>> quick = np.where(rng.random(20_000) < 0.01, 1 - same, same)  # answers otherwise in one row of a hundred
    >>> NotWorse(margin=0.02)(rt.Evidence(same, quick)).decision.value
    'promote'

    References:
        As for `Better`.
    """

    def __init__(
        self,
        margin: float = 0.002,
        *,
        alpha: float = 0.05,
        beta: float = 0.05,
        least: int = 100,
        most: int = 100_000,
        largest: float | None = 1.0,
    ) -> None:
        if not 0 < margin < math.inf:
            raise SettingError(f"NotWorse got margin={margin}; expected a number > 0, or take Better")
        self._allowed = float(margin)
        super().__init__(alpha=alpha, beta=beta, least=least, most=most, largest=largest)


def losses(evidence: Evidence, /, *, reader: str) -> tuple[Floats, Floats]:
    """Losses of champion and candidate (m,), checked; NaN: no pair. Raises PoisonError."""
    champion, candidate = evidence.champion, evidence.candidate
    if champion.ndim != 1 or champion.shape != candidate.shape:
        raise PoisonError(
            f"{reader} got losses of shape {champion.shape} and {candidate.shape}; expected one for each row, of both"
        )
    for given in (champion, candidate):
        if given.dtype.kind not in "fiub":
            raise PoisonError(f"{reader} got losses of type {given.dtype}; expected numbers")
    own, other = champion.astype(np.float64), candidate.astype(np.float64)
    bad = np.isinf(own) | np.isinf(other) | (own < 0) | (other < 0)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise PoisonError(
            f"{reader} got the losses {own[row]} and {other[row]} in row {row}; expected numbers >= 0, NaN for no pair"
        )
    return own, other


def _log_mean(log: Floats) -> float:
    top = float(log.max())
    return top + math.log(float(np.exp(log - top).mean()))


def verdict_state(verdict: Verdict | None, /) -> dict[str, Any] | None:
    """A verdict as a `State`."""
    if verdict is None:
        return None
    return {
        "decision": verdict.decision.value,
        "pairs": verdict.pairs,
        "evidence": dict(verdict.evidence),
        "why": verdict.why,
    }


def verdict_from(state: Mapping[str, Any] | None, /) -> Verdict | None:
    """The verdict that `verdict_state` kept."""
    if state is None:
        return None
    return Verdict(Decision(state["decision"]), state["pairs"], state["evidence"], state["why"])


def pairs(evidence: Evidence, /) -> Ints:
    """How many pairs there are up to each row (m,)."""
    return np.cumsum(~np.isnan(np.add(*losses(evidence, reader="the gate"))))


def some(evidence: Evidence, which: Array, /) -> Evidence:
    """Some rows of the evidence."""
    optional = {
        name: None if column is None else column[which]
        for name in ("y", "champion_said", "candidate_said")
        for column in [getattr(evidence, name)]
    }
    columns = {name: column[which] for name, column in evidence.columns.items()}
    return replace(
        evidence, champion=evidence.champion[which], candidate=evidence.candidate[which], columns=columns, **optional
    )
