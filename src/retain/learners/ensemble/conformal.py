"""`Conformal`: bounds for what any learner says, which hold a chosen share of labels whatever the stream does.

Shapes: n rows that arrive, P rows in all (those due, then those that arrive), k classes or outputs, Q trackers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib import import_module
from typing import Any, final

import numpy as np

from retain import blocks
from retain.compose import Bounding, Kept, LateLearner, Wrapper, late
from retain.core import Array, Batch, Features, Floats, Ints, Learner, State
from retain.errors import PoisonError, SettingError

__all__ = ["ACI", "Conformal", "DtACI"]

_ARRAYS = ("recent", "ranked", "counts", "level", "trust", "own", "tally")


@final
@dataclass(frozen=True, slots=True)
class ACI:
    """Adaptive conformal inference (Gibbs & Candes 2021): the level steps by rate (left out - missed) after each label.

    Args:
        rate: the larger, the sooner it follows, and the more bounds jump about.

    >>> ACI().rate
    0.005
    """

    rate: float = 0.005

    def __post_init__(self) -> None:
        if not 0 < self.rate < math.inf:
            raise SettingError(f"ACI got rate={self.rate}; expected a number > 0, e.g. 0.005")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class DtACI:
    """Dynamically tuned adaptive conformal inference (Gibbs & Candes 2024): no rate need be chosen.

    A level for each of several rates, and trust in it by exponential weights over its pinball loss, for the best of
    every stretch of `horizon` rows. To the mean of the levels one more is added, which steps by `pace` (left out -
    missed): what the mean owes over the whole stream is paid back, and labels that land late, and were given bounds
    by an older window, count by what these held.

    Args:
        rates: of the levels.
        horizon: rows over which the best rate may change.
        pace: of what is added. The paper has no such term, and chooses a level by lot or takes the mean.

    >>> len(DtACI().rates)
    8
    """

    rates: tuple[float, ...] = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128)
    horizon: int = 500
    pace: float = 0.005

    def __post_init__(self) -> None:
        if not (self.rates and min(self.rates) > 0 and self.horizon >= 1 and self.pace >= 0):
            raise SettingError(
                f"DtACI got rates={self.rates}, horizon={self.horizon}, pace={self.pace}; expected rates > 0, a "
                "horizon of at least 1 row, and pace >= 0"
            )


@final
class Conformal(LateLearner, Wrapper, Bounding):
    """A learner with bounds around what it says: intervals for numbers, sets of classes; of a chosen coverage.

    Whatever is inside, and however wrong it is. The score of a row is how far its label lay from what was said when it
    arrived, |y - said|, or 1 - p(y) for classes; a row's bounds hold all labels of a score up to a quantile of the last
    `window` scores,

        C(x) = {y: score(x, y) <= s_(r)},   r = ceil((m + 1) (1 - a)),

    the r-th smallest of m. Were rows exchangeable, a = 1 - coverage would do. Since they are not, a follows what came
    of it (`update`): bounds that missed too often get wider. The share of labels within them over T rows comes to
    `coverage` within a constant / (T pace), whatever the stream does, for scores that are bounded.

    While there are fewer than 1 / (1 - coverage) scores, intervals are infinite and sets hold all classes. Where a has
    fallen so far that r > m, the largest score is taken 1 + r - m times. Each of k numbers has bounds of its own, each
    of that coverage. A class that was not known when the row arrived had p = 0.

    `predict` and `learn` say what the learner inside says. Late labels are judged by the bounds that their row was
    given. A row of weight v steps v times as far, and counts v times in `coverage`; in the window it is one score.
    Granularity: that of the learner inside.

    Args:
        learner: of numbers, or of classes with probabilities; a chain is fine.
        coverage: share of labels to lie within the bounds, 0 < coverage < 1.
        update: how the level follows: `DtACI()`, which needs no tuning, or `ACI()`.
        window: scores that are remembered.

    Raises:
        SettingError: a setting out of its range; a window too short for the coverage; when learning, class codes as
            labels and a learner inside that says no probabilities; intervals of classes, sets of numbers.

    >>> import numpy as np, retain as rt
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(4000, 3))
    >>> noise = np.where(np.arange(4000) < 2000, 1, 5)  # half way the world gets five times as noisy
    >>> learner = rt.Conformal(rt.RLS(), coverage=0.9)
    >>> said = learner.learn(rt.Batch(x, y=x.sum(axis=1) + noise * rng.normal(size=4000)))
    >>> round(learner.coverage, 2), np.diff(learner.interval(x[:1])).round().tolist()  # 2 * 1.645 * 5 is 16
    (0.9, [[15.0]])

    References:
        Vovk, Gammerman & Shafer 2005, Algorithmic learning in a random world; Gibbs & Candes 2021, Adaptive conformal
        inference under distribution shift, and 2024, Conformal inference for online prediction with arbitrary
        distribution shifts; Angelopoulos, Candes & Tibshirani 2023, Conformal PID control (that bounds may go beyond
        all scores seen, instead of to infinity).
    """

    def __init__(
        self,
        learner: Learner,
        /,
        *,
        coverage: float = 0.9,
        update: ACI | DtACI = DtACI(),
        window: int = 500,
    ) -> None:
        if not 0 < coverage < 1:
            raise SettingError(f"Conformal got coverage={coverage}; expected a share, 0 < coverage < 1, as 0.9")
        if (window + 1) * (1 - coverage) < 1:
            raise SettingError(
                f"Conformal got window={window} at coverage={coverage}; expected at least {1 / (1 - coverage):.0f} "
                "scores to tell so small a rest from"
            )
        self.learner = learner
        self._left_out, self._window = 1.0 - coverage, int(window)
        self._asked = coverage
        self._rates = np.array(update.rates if isinstance(update, DtACI) else ())
        self._pace = update.pace if isinstance(update, DtACI) else update.rate
        self._speed, self._share = _tuned(update, self._left_out) if isinstance(update, DtACI) else (0.0, 0.0)
        self._classes: bool | None = None  # None before the first labels
        self._flat = True
        self._parts: dict[str, Array] = {}
        self._begin(1)

    @property
    def coverage(self) -> Any:
        """Share of labels so far within the bounds of their rows, NaN before the first; (k,) of k numbers."""
        return self._told(self._parts["tally"][:, 1], self._parts["tally"][:, 0])

    @property
    def size(self) -> Any:
        """Mean width of the finite intervals so far, or mean number of classes of p > 0 in a set; (k,) of k numbers."""
        return self._told(self._parts["tally"][:, 3], self._parts["tally"][:, 2])

    def learn(self, batch: Batch, /) -> Array:
        """Learn the rows in order; return what the learner inside says of each before its update."""
        n = len(batch)
        self._check(batch, batch.y, n)
        said = self.learner.learn(batch)
        order = np.empty(2 * n, dtype=np.int64)  # every row lands right after it has arrived, if it has a label
        order[0::2] = np.arange(n)
        order[1::2] = ~order[0::2]
        self._judged(said, None, batch.y, batch.weight, order)
        return said

    def predict(self, x: Features, /) -> Array:
        """What the learner inside says. Changes nothing."""
        return self.learner.predict(x)

    def interval(self, x: Features, /, *, coverage: float | None = None) -> Array:
        """Lower and upper bounds: (n, 2), or (n, k, 2) for k numbers. Changes nothing."""
        if coverage is not None and abs(coverage - self._asked) > 1e-12:
            raise SettingError(
                f"Conformal(coverage={self._asked}) was asked for coverage={coverage}; expected the one that it keeps"
            )
        if self._classes:
            raise SettingError("Conformal of classes was asked for intervals; expected numbers as labels: ask for sets")
        said = self.learner.predict(x)
        if said.ndim == 2 and said.shape[1] == 0:  # nothing is known yet
            said = np.zeros(len(said))
        half = self._thresholds()
        half = half[0] if len(half) == 1 else half  # one for each number
        return np.stack([said - half, said + half], axis=-1)

    def sets(self, x: Features, /) -> Array:
        """(n, k) which classes are in the set of each row. Changes nothing."""
        if self._classes is False:
            raise SettingError("Conformal of numbers was asked for sets; expected classes: ask for intervals")
        said = self.learner.predict(x)
        if said.ndim != 2:
            raise SettingError(f"the learner inside says numbers of shape {said.shape}; expected probabilities (n, k)")
        return 1.0 - said <= self._thresholds()[0]

    def flow(self, arrivals: Batch, due: Kept | None, due_y: Array, order: Ints, /) -> tuple[Array, Kept]:
        """As `retain.compose.LateLearner.flow`: the bounds that a row was given on arrival are what counts."""
        self._check(arrivals, due_y, len(due_y))
        said, part = late(self.learner).flow(arrivals, None if due is None else due.parts[0], due_y, order)
        given = self._judged(said, None if due is None else due.views[0], due_y, arrivals.weight, order)
        return said, Kept((Batch(given, weight=arrivals.weight),), (part,))

    def meet(self, arrivals: Batch, /) -> tuple[Array, Kept]:
        said, part = late(self.learner).meet(arrivals)
        given = self._judged(said, None, None, arrivals.weight, np.arange(len(said)))
        return said, Kept((Batch(given, weight=arrivals.weight),), (part,))

    def state_dict(self) -> State:
        return {
            "learner": self.learner.state_dict(),
            "classes": self._classes,
            "flat": self._flat,
            **{name: self._parts[name].copy() for name in _ARRAYS if name != "ranked"},
        }

    def load_state_dict(self, state: State, /) -> None:
        self.learner.load_state_dict(state["learner"])
        self._classes, self._flat = state["classes"], state["flat"]
        self._parts = {name: state[name].copy() for name in _ARRAYS if name != "ranked"}
        filled = int(self._parts["counts"][0])
        self._parts["ranked"] = np.full(self._parts["recent"].shape, np.inf)
        self._parts["ranked"][:, :filled] = np.sort(self._parts["recent"][:, :filled], axis=1)

    def _told(self, parts_Q: Floats, of_Q: Floats) -> Any:
        share = np.divide(parts_Q, of_Q, out=np.full(len(of_Q), np.nan), where=of_Q > 0)
        return float(share[0]) if self._flat else share

    def _begin(self, trackers: int) -> None:
        rates = len(self._rates)
        self._parts = {
            "recent": np.zeros((trackers, self._window)),
            "ranked": np.full((trackers, self._window), np.inf),
            "counts": np.zeros(2, dtype=np.int64),
            "level": np.full((trackers, rates), self._left_out),
            "trust": np.full((trackers, rates), 1.0 / max(rates, 1)),
            "own": np.zeros(trackers),
            "tally": np.zeros((trackers, 4)),
        }

    def _thresholds(self) -> Floats:
        p = self._parts
        out = np.empty(len(p["own"]))
        arrays = (p["ranked"], p["counts"], p["level"], p["trust"], p["own"])
        _kernels().thresholds(*arrays, self._left_out, out)
        return out

    def _check(self, batch: Batch, y: Array | None, n: int) -> None:
        """Before anything is learnt: refuse labels that do not go with those before, or with what is said inside."""
        blocks.check_labels(y, n, reader="Conformal")
        blocks.weights(batch.weight, len(batch), reader="Conformal")
        coded = _coded(y)
        if coded is not None and self._classes is not None and coded != self._classes:
            before, now = ("class codes", "numbers") if self._classes else ("numbers", "class codes")
            raise PoisonError(
                f"Conformal got {now} as labels after {before}; expected the same kind for the whole stream"
            )
        if (
            self._classes is None
            and coded
            and len(batch)
            and self.learner.predict(blocks.take(batch.x, slice(0, 1))).ndim != 2
        ):
            raise SettingError(
                f"Conformal got class codes, and {type(self.learner).__name__} inside says no probabilities; expected "
                "a learner of classes, or floats as labels"
            )

    def _judged(self, said: Array, due: Batch | None, y: Array | None, weight: Array | None, order: Ints) -> Array:
        """Give bounds to the arrivals and learn from the labels that land; return what is kept of the arrivals.

        That is, for each row: 1, thresholds (Q), sizes (Q), what was said (k). Where rows kept earlier are narrower
        they are filled up with zeros on the right: of classes that came later p was 0, and zeros alone had no bounds.
        """
        n = len(said)
        if self._classes is None and y is not None and (coded := _coded(y)) is not None:
            self._classes, self._flat = coded, coded or y.ndim == 1
            if not self._flat:
                self._begin(y.shape[1])
        p, trackers = self._parts, len(self._parts["own"])
        said = said if said.ndim == 2 else said[:, None]
        rows, start = n, 0
        kept = np.zeros((0, 0))
        if due is not None:
            kept = np.asarray(due.x, dtype=np.float64)
            rows, start = n + len(kept), len(kept)
        k = max(said.shape[1], kept.shape[1] - 1 - 2 * trackers, 0)
        told = np.zeros((rows, k))
        threshold = np.full((rows, trackers), np.inf)
        size = np.full((rows, trackers), 0.0 if self._classes else np.inf)  # of rows from before anything was known
        if start and kept.shape[1] > 2 * trackers:
            given = kept[:, 0] > 0
            threshold[:start][given] = kept[given, 1 : 1 + trackers]
            size[:start][given] = kept[given, 1 + trackers : 1 + 2 * trackers]
            told[:start, : kept.shape[1] - 1 - 2 * trackers] = kept[:, 1 + 2 * trackers :]
        told[start:, : said.shape[1]] = said
        score, doubt = self._scores(told, y, rows)
        w = np.ones(rows)
        w[start:] = blocks.weights(weight, n, reader="Conformal")
        if due is not None:
            w[:start] = blocks.weights(due.weight, start, reader="Conformal")
        follows = (self._rates, self._left_out, self._speed, self._share, self._pace)
        _kernels().cover(
            score, threshold, size, doubt, bool(self._classes), w, order, *(p[name] for name in _ARRAYS), *follows
        )
        if self._classes is None:
            return np.zeros((n, 0))
        return np.column_stack([np.ones(n), threshold[start:], size[start:], told[start:, : said.shape[1]]])

    def _scores(self, told: Floats, y: Array | None, rows: int) -> tuple[Floats, Floats]:
        """How far each label lies from what was said (P, Q), and of classes every class (P, k)."""
        doubt = 1.0 - told if self._classes else np.zeros((rows, 0))
        score = np.full((rows, len(self._parts["own"])), np.nan)
        if y is None or _coded(y) is None:
            return score, doubt
        if self._classes:
            codes = blocks.codes(y, rows, reader="Conformal")
            there = codes >= 0
            score[there] = 1.0  # of a class that was not known
            known = there & (codes < told.shape[1])
            score[known, 0] = doubt[known, codes[known]]
            return score, doubt
        numbers = blocks.numbers(y, rows, reader="Conformal").reshape(rows, -1)
        with np.errstate(invalid="ignore"):
            score[:] = np.abs(numbers - (told if told.shape[1] == numbers.shape[1] else 0.0))
        return score, doubt


def _coded(y: Array | None) -> bool | None:
    """Whether labels are class codes; None where there are none that would tell."""
    if y is None or not len(y):
        return None
    if y.dtype.kind in "iub":
        return True
    return None if y.dtype.kind == "f" and np.isnan(y).all() else False


def _tuned(update: DtACI, left_out: float) -> tuple[float, float]:
    """Speed and share of the trust for the best regret over stretches of `horizon` rows, as the paper has them."""
    a, rows, rates = left_out, update.horizon, len(update.rates)
    loss = (1 - a) ** 2 * a**3 + a**2 * (1 - a) ** 3
    return math.sqrt(3 / rows) * math.sqrt((math.log(rows * rates) + 2) / loss), 1 / (2 * rows)


def _kernels() -> Any:
    """The compiled loops; numba is loaded when the first row arrives."""
    return import_module("retain.learners.ensemble.conformal_kernels")
