"""Gates that look once, after so many pairs: at calibration, at answers, at cost, at what was learnt before.

Shapes: m rows, k classes.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from statistics import NormalDist
from typing import ClassVar, final

import numpy as np

from retain.core import Array, Decision, Evidence, Floats, Ints, State, Verdict
from retain.errors import SettingError
from retain.update.gates import losses, some, verdict_from, verdict_state

__all__ = ["Bootstrap", "Calibrated", "Near", "NoLarger", "NoSlower", "NotForgotten", "Once"]

_LEAST = 1e-12  # a probability is not taken for less


class Once(ABC):
    """A gate that looks once, when it has seen so many pairs: exactly these, however the evidence was cut."""

    moment: ClassVar[bool] = False
    """Whether it looks at how things are then, and not at the pairs."""

    def __init__(self, *, least: int) -> None:
        if least < 1:
            raise SettingError(f"{type(self).__name__} got least={least}; expected a number of pairs >= 1")
        self._least, self._pairs = least, 0
        self._verdict: Verdict | None = None

    @property
    def wants(self) -> frozenset[str]:
        return frozenset()

    def __call__(self, evidence: Evidence, /) -> Verdict:
        if self._verdict is not None:
            return self._verdict
        pair = ~np.isnan(np.add(*losses(evidence, reader=type(self).__name__)))
        part = some(evidence, pair & (np.cumsum(pair) <= self._least - self._pairs))
        self._take(part)
        self._pairs += len(part.champion)
        if self._pairs < self._least:
            return Verdict(Decision.UNDECIDED, self._pairs)
        good, why, told = self._look(part)
        decision = Decision.PROMOTE if good else Decision.REFUSE
        self._verdict = Verdict(decision, self._pairs, told, "" if good else why)
        return self._verdict

    def state_dict(self) -> State:
        return {"pairs": self._pairs, "verdict": verdict_state(self._verdict), "seen": self._seen()}

    def load_state_dict(self, state: State, /) -> None:
        self._pairs, self._verdict = state["pairs"], verdict_from(state["verdict"])
        self._see(state["seen"])

    def _take(self, evidence: Evidence) -> None:  # noqa: B027 - some look at nothing but the moment
        """Remember what will be looked at."""

    @abstractmethod
    def _look(self, evidence: Evidence) -> tuple[bool, str, dict[str, float]]:
        """Whether the candidate passes; why not; on what evidence."""

    def _seen(self) -> State:
        """What was remembered."""
        return {}

    def _see(self, state: State) -> None:  # noqa: B027 - as above
        """Remember what `_seen` gave."""


@final
class Bootstrap(Once):
    """Promotes when the gain over a fixed number of pairs is above `worse` below zero, by a paired bootstrap.

    For whoever wants one look after so many rows, and no bound on losses; a sequential gate finds the same sooner.

    Args:
        least: pairs.
        worse: how much larger the candidate's mean loss may be; 0: it must be smaller.
        alpha: of all means over rows drawn anew, so many may lie beyond `worse`.
        draws: how often rows are drawn anew.
        seed: of the draws.

    >>> import numpy as np, retain as rt
    >>> rng = np.random.default_rng(0)
    >>> rt.update.Bootstrap(least=500)(rt.Evidence(rng.exponential(2, 500), rng.exponential(1, 500))).decision.value
    'promote'

    References:
        Efron, Tibshirani 1993, An Introduction to the Bootstrap.
    """

    def __init__(
        self, *, least: int = 2_000, worse: float = 0.0, alpha: float = 0.05, draws: int = 2_000, seed: int = 0
    ) -> None:
        super().__init__(least=least)
        if not (worse >= 0 and 0 < alpha < 1 and draws >= 100):
            raise SettingError(
                f"Bootstrap got worse={worse}, alpha={alpha}, draws={draws}; expected worse >= 0, 0 < alpha < 1 and at "
                "least 100 draws"
            )
        self._worse, self._alpha, self._count, self._seed = worse, alpha, draws, seed
        self._gain: Floats = np.empty(0)

    def _take(self, evidence: Evidence) -> None:
        own, other = losses(evidence, reader="Bootstrap")
        self._gain = np.concatenate([self._gain, own - other])

    def _look(self, evidence: Evidence) -> tuple[bool, str, dict[str, float]]:  # noqa: ARG002 - it looks at all pairs
        means = [self._gain[rows].mean() for rows in _draws(len(self._gain), self._count, self._seed)]
        low = float(np.quantile(means, self._alpha))
        told = {"gain": float(self._gain.mean()), "gain_at_least": low}
        return low > -self._worse, f"the gain may be as small as {low:.4g}", told

    def _seen(self) -> State:
        return {"gain": self._gain.copy()}

    def _see(self, state: State) -> None:
        self._gain = state["gain"].copy()


@final
class Calibrated(Once):
    """Promotes when the candidate's probabilities are as well calibrated as the champion's, within a margin.

    The calibration error is the mean over ten bins of the confidence of |accuracy - confidence|, weighted by the rows
    in each. Classes only.

    Args:
        margin: how much larger the candidate's error may be.
        least: pairs.
        alpha: of all differences over rows drawn anew, so many may lie beyond the margin.
        seed: of the draws.

    >>> import numpy as np, retain as rt
    >>> rng = np.random.default_rng(0)
    >>> y = (rng.random(2000) < 0.7).astype(int)
    >>> honest, vain = np.tile([0.3, 0.7], (2000, 1)), np.tile([0.01, 0.99], (2000, 1))
    >>> errors = (y != 1).astype(float)
    >>> rt.update.Calibrated()(rt.Evidence(errors, errors, y, honest, vain)).decision.value
    'refuse'

    References:
        Naeini, Cooper, Hauskrecht 2015, Obtaining Well Calibrated Probabilities Using Bayesian Binning.
    """

    def __init__(self, *, margin: float = 0.02, least: int = 2_000, alpha: float = 0.05, seed: int = 0) -> None:
        super().__init__(least=least)
        if not (margin >= 0 and 0 < alpha < 1):
            raise SettingError(f"Calibrated got margin={margin}, alpha={alpha}; expected margin >= 0 and 0 < alpha < 1")
        self._margin, self._alpha, self._seed = margin, alpha, seed
        self._table: Floats = np.empty((0, 4))  # confidence and whether it was right, of both

    def _take(self, evidence: Evidence) -> None:
        y, own, other = _answers(evidence, "Calibrated")
        columns = [column for said in (own, other) for column in (said.max(axis=1), said.argmax(axis=1) == y)]
        self._table = np.concatenate([self._table, np.column_stack(columns)])

    def _look(self, evidence: Evidence) -> tuple[bool, str, dict[str, float]]:  # noqa: ARG002 - it looks at all pairs
        rises = [_rise(self._table[rows]) for rows in _draws(len(self._table), 200, self._seed)]
        high = float(np.quantile(rises, 1 - self._alpha))
        told = {"calibration_error_rise": _rise(self._table), "calibration_error_rise_at_most": high}
        return high < self._margin, f"the calibration error may have risen by {high:.4g}", told

    def _seen(self) -> State:
        return {"table": self._table.copy()}

    def _see(self, state: State) -> None:
        self._table = state["table"].copy()


@final
class Near(Once):
    """Promotes when the candidate's answers are near those of the champion.

    For classes the mean Kullback-Leibler divergence, sum p log(p / q) in nats with p the champion's probabilities; for
    numbers the mean squared distance in units of the variance of the champion's answers.

    Args:
        within: the largest mean that passes.
        least: pairs.

    >>> import numpy as np, retain as rt
    >>> p, q = np.tile([0.5, 0.5], (500, 1)), np.tile([0.45, 0.55], (500, 1))
    >>> y = np.zeros(500, dtype=int)
    >>> rt.update.Near(within=0.01)(rt.Evidence(y, y, y, p, q)).decision.value
    'promote'
    """

    def __init__(self, *, within: float, least: int = 500) -> None:
        super().__init__(least=least)
        if not within > 0:
            raise SettingError(f"Near got within={within}; expected a number > 0")
        self._within = within
        self._sums = np.zeros(4)  # distances, answers, their squares, rows

    def _take(self, evidence: Evidence) -> None:
        y, own, other = _answers(evidence, "Near")
        if y.dtype.kind in "iub":
            p, q = np.maximum(own, _LEAST), np.maximum(other, _LEAST)
            rows = np.column_stack([(p * np.log(p / q)).sum(axis=1), np.zeros((len(y), 2)), np.ones(len(y))])
        else:
            flat, others = own.reshape(-1), other.reshape(-1)
            rows = np.column_stack([(flat - others) ** 2, flat, flat**2, np.ones(flat.size)])
        # One after the other: sums must not depend on how the evidence was cut.
        self._sums = np.add.accumulate(np.concatenate([self._sums[None], rows]))[-1]

    def _look(self, evidence: Evidence) -> tuple[bool, str, dict[str, float]]:  # noqa: ARG002 - it looks at all pairs
        distance, total, squares, rows = (float(value) for value in self._sums)
        variance = squares / rows - (total / rows) ** 2
        far = distance / rows / (variance if variance > 0 else 1.0)
        return far <= self._within, f"its answers are {far:.4g} away", {"distance": far}

    def _seen(self) -> State:
        return {"sums": self._sums.copy()}

    def _see(self, state: State) -> None:
        self._sums = state["sums"].copy()


@final
class NoSlower(Once):
    """Promotes when the candidate answers about as fast as the champion, both timed here and now on the same rows.

    Args:
        times: so many times the champion's seconds are allowed.
        least: pairs after which it looks.

    >>> import numpy as np, retain as rt
    >>> evidence = rt.Evidence(np.zeros(1), np.zeros(1), costs=lambda: {"seconds": (1e-6, 3e-6)})
    >>> rt.update.NoSlower(times=2)(evidence).why
    'seconds grew from 1e-06 to 3e-06, at most 2 times are allowed'
    """

    moment = True
    clocked: ClassVar[bool] = True

    def __init__(self, times: float = 1.1, *, least: int = 1) -> None:
        super().__init__(least=least)
        self._times = _factor(times, "NoSlower")

    def _look(self, evidence: Evidence) -> tuple[bool, str, dict[str, float]]:
        return _cheaper(evidence, "seconds", self._times, "NoSlower")


@final
class NoLarger(Once):
    """Promotes when the candidate's state takes about as many bytes as the champion's.

    Args:
        times: so many times the champion's bytes are allowed.
        least: pairs after which it looks.

    >>> import numpy as np, retain as rt
    >>> evidence = rt.Evidence(np.zeros(1), np.zeros(1), costs=lambda: {"bytes": (9e6, 2e6)})
    >>> rt.update.NoLarger(times=0.5)(evidence).decision.value
    'promote'
    """

    moment = True

    def __init__(self, times: float = 1.1, *, least: int = 1) -> None:
        super().__init__(least=least)
        self._times = _factor(times, "NoLarger")

    def _look(self, evidence: Evidence) -> tuple[bool, str, dict[str, float]]:
        return _cheaper(evidence, "bytes", self._times, "NoLarger")


@final
class NotForgotten(Once):
    """Refuses who has become worse on a past experience: no silent forgetting.

    Both models are asked, when it looks, about remembered rows of every past experience that neither has learnt (see
    `retain.Exam`). An experience counts as forgotten when the candidate's mean loss there is larger by more than the
    margin and chance does not explain it: the mean of the differences less the margin is above z standard errors, z
    for `alpha` shared among the experiences (Bonferroni). Put it behind the gate that decides:
    `rt.Unanimous(rt.Better(), rt.NotForgotten())`.

    Args:
        margin: how much larger the loss may be on an experience.
        alpha: how probable it may be that one that is worse nowhere is refused.
        least: pairs after which it looks.

    >>> import numpy as np, retain as rt
    >>> new, old = np.zeros(200), np.random.default_rng(0).random((2, 200)) < [[0.1], [0.4]]
    >>> exam = lambda: {"2024": (old[0].astype(float), old[1].astype(float)), "2025": (new, new)}
    >>> rt.NotForgotten()(rt.Evidence(new, new, past=exam)).why
    'experience 2024: the loss rose from 0.105 to 0.365'
    """

    moment = True

    def __init__(self, margin: float = 0.02, *, alpha: float = 0.05, least: int = 1) -> None:
        super().__init__(least=least)
        if not (margin >= 0 and 0 < alpha < 1):
            raise SettingError(
                f"NotForgotten got margin={margin}, alpha={alpha}; expected margin >= 0 and 0 < alpha < 1"
            )
        self._margin, self._alpha = margin, alpha

    def _look(self, evidence: Evidence) -> tuple[bool, str, dict[str, float]]:
        if evidence.past is None:
            raise SettingError("NotForgotten asks about past experiences; give the pipeline an exam: exam=rt.Exam()")
        past = evidence.past()
        told: dict[str, float] = {}
        worst, why = 0.0, ""
        for name, (own, other) in past.items():
            rise = other - own
            told[f"{name}.rise"] = float(rise.mean()) if len(rise) else math.nan
            if len(rise) < 2:
                continue
            error = max(float(rise.std(ddof=1)), _LEAST) / math.sqrt(len(rise))
            z = (float(rise.mean()) - self._margin) / error
            if z > max(NormalDist().inv_cdf(1 - self._alpha / len(past)), worst):
                worst, why = z, f"experience {name}: the loss rose from {own.mean():.3g} to {other.mean():.3g}"
        return not why, why, told


def _answers(evidence: Evidence, reader: str) -> tuple[Array, Array, Array]:
    """Labels and what both said; probabilities of as many classes."""
    y, own, other = evidence.y, evidence.champion_said, evidence.candidate_said
    if y is None or own is None or other is None:
        raise SettingError(f"{reader} looks at answers and labels; expected evidence that brings them")
    if own.ndim == 1 or other.ndim == 1:
        if reader == "Calibrated":
            raise SettingError(
                "Calibrated looks at probabilities of classes, and these answers are numbers; leave it out"
            )
        return y, own, other
    k = max(own.shape[1], other.shape[1])
    own, other = (np.pad(said, ((0, 0), (0, k - said.shape[1]))) for said in (own, other))
    return y, own, other


def _rise(table_m4: Floats) -> float:
    """The calibration error of the candidate less that of the champion."""
    errors: list[float] = []
    for confidence, right in ((table_m4[:, 0], table_m4[:, 1]), (table_m4[:, 2], table_m4[:, 3])):
        bins = np.minimum((confidence * 10).astype(np.int64), 9)
        gap = np.bincount(bins, right, 10) - np.bincount(bins, confidence, 10)
        errors.append(float(np.abs(gap).sum()) / len(table_m4))
    return errors[1] - errors[0]


def _draws(n: int, draws: int, seed: int) -> Iterator[Ints]:
    """Rows drawn anew, n of n with replacement."""
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        yield rng.integers(0, n, n)


def _cheaper(evidence: Evidence, what: str, times: float, part: str) -> tuple[bool, str, dict[str, float]]:
    if evidence.costs is None:
        raise SettingError(f"{part} looks at costs; expected evidence that brings them")
    own, other = evidence.costs()[what]
    shown = "{:,.0f}" if what == "bytes" else "{:.3g}"
    why = f"{what} grew from {shown} to {shown}, at most {{:g}} times are allowed".format(own, other, times)
    return other <= times * own, why, {f"champion_{what}": own, f"candidate_{what}": other}


def _factor(times: float, part: str) -> float:
    if not 0 < times < math.inf:
        raise SettingError(f"{part} got times={times}; expected a finite number > 0")
    return float(times)
