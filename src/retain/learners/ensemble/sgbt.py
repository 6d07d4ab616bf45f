"""`SGBT`: gradient boosted trees of a stream."""

from __future__ import annotations

from functools import partial
from typing import final

import numpy as np

from retain.core import Array, Batch, Features, Floats, State
from retain.errors import SettingError
from retain.learners.draws import seeded
from retain.learners.ensemble.abreast import abreast, processors
from retain.learners.ensemble.bagged import NUMBERS, Pair, Plan, chances
from retain.learners.ensemble.bagged_kernels import Policy
from retain.learners.ensemble.sgbt_kernels import centres, shares, slopes
from retain.learners.intake import Given, Intake
from retain.learners.trees import RegressionTree
from retain.learners.trees.regression import numbers_only, shaped, target
from retain.learners.trees.single import widen

__all__ = ["SGBT"]

_STREAMS = 3  # generators of a member: see `bagged`
_BYTES = 1 << 20  # to a tree, where nothing is said: there may be hundreds
_WORTH = 20_000  # rows times classes from which on threads pay


@final
class SGBT:
    """Streaming gradient boosted trees: each tree learns what those before it leave of the loss.

    The margin of a class is the sum of what its trees say, each times the learning rate; the softmax of the margins are
    the probabilities. Tree s of class c learns a row's Newton step of the log-loss at the margins that the trees before
    it add up to,

        target (y_c - p_c) / h_c,   weight h_c = p_c (1 - p_c)   (at least 0.05),

    where y_c is 1 for the row's class and 0 for others. With two classes one of them has trees. For numbers the target
    is what is left of them, less their mean so far, and the weight 1. The trees before it have learnt the row by then,
    as they have where all rows are boosted at once; what is answered is what they said before.

    Every tree sees a share of the features, drawn when it begins, and watches its own errors with two ADWIN detectors:
    from a warning on a successor grows behind it, and takes its place at a drift.

    Granularity 1. New classes may come at any time: their trees begin then. A block costs a fixed time for each tree,
    as much as some dozens of rows: give it rows by the hundred, where that can be.

    Args:
        trees: stages; each is one tree (with three classes or more, one for each).
        tree: what members are like; None: RegressionTree(grace=10, delta=0.05, tie=0.5, max_bytes=1 << 20) for classes,
            RegressionTree(max_bytes=1 << 20) for numbers. Its `max_bytes` bounds each of the two trees of a member.
            Where there is much noise, or very many rows, a larger `grace` is better, and cheaper.
        learning_rate: what each tree's answer is multiplied by.
        features: that a tree looks at: a share below 1, or a number; None: all of them.
        warning, drift: how probable a false alarm of either detector may be at one look; 0: no detector.
        seed: of all random choices.

    Raises:
        SettingError: a setting out of range.
        PoisonError: from `learn` and `predict`: Inf, a wrong width or type, several numbers to a row.

    >>> import retain as rt
    >>> stream = rt.streams.Sine(seed=1, n=4_000)
    >>> run = rt.Prequential(stream, rt.SGBT(20), metrics=[rt.metrics.Accuracy()])
    >>> list(run)[-1].metrics["accuracy"] > 0.9
    True

    References:
        Gunasekara, Pfahringer, Gomes, Bifet 2024, Gradient boosted trees for evolving data streams, Machine Learning.
        There all trees are asked before any of them learns a row: then a hundred trees that know nothing yet all learn
        the same, and the first answers are far too large. Our rate is larger (0.0125 there), our leaves have lines.
        The trees that grow behind others are those of Gomes et al. 2017 (`ARF`).
        Friedman, Hastie, Tibshirani 2000, Additive logistic regression, Annals of Statistics (Newton's step as target).
    """

    def __init__(
        self,
        trees: int = 100,
        *,
        tree: RegressionTree | None = None,
        learning_rate: float = 0.15,
        features: float | None = 0.75,
        warning: float = 0.01,
        drift: float = 0.001,
        seed: int = 0,
    ) -> None:
        for name, value, holds, expected in (
            ("trees", trees, trees >= 1, "at least one"),
            ("learning_rate", learning_rate, 0 < learning_rate <= 1, "a number above 0, of at most 1"),
            ("features", features, features is None or features > 0, "a share below 1, or a number"),
        ):
            if not holds:
                raise SettingError(f"SGBT got {name}={value}; expected {expected}")
        of_classes = RegressionTree(grace=10, delta=0.05, tie=0.5, max_bytes=_BYTES)
        of_numbers = RegressionTree(max_bytes=_BYTES)
        self._growths = [(tree or default).growth for default in (of_numbers, of_classes)]
        policy = Policy(*chances("SGBT", warning, drift), weighted=False, boosting=False, once=True)
        self._plan = Plan(policy, 1.0, features=features)
        self._stages, self._rate, self._seed = trees, float(learning_rate), seed
        self._intake = Intake("SGBT", missing=True)
        self._place: Array = np.empty(0, dtype=np.int32)
        self._pairs: list[list[Pair]] = []  # of each class, or of the one number, as many as there are stages
        self._centre = np.zeros(2)

    @property
    def memory(self) -> int:
        """Bytes of what the trees have learnt, and of the detectors that watch them."""
        return sum(pair.memory for pairs in self._pairs for pair in pairs)

    def learn(self, batch: Batch, /) -> Array:
        """Learn the rows in order; see `retain.core.Learner`."""
        of_classes = self._intake.classes is not None or (batch.y is not None and batch.y.dtype.kind in "iub")
        read = self._intake.read if of_classes else partial(_numbers, self._intake)
        given = read(batch)
        place = widen(self._place, self._growths[of_classes], batch, given.x.shape[1], reader="SGBT")
        # Planting may run out of memory: nothing is known of new classes until they have their trees.
        planted = self._planted(given.classes, given.flat, place)
        self._intake.keep(given)
        self._place = place
        for pair in (pair for pairs in self._pairs for pair in pairs):
            pair.widen(place)
        self._pairs += planted
        if given.classes is None:
            return self._sums(given.x, target(given), given.weight)
        y = np.where(given.weight > 0, given.y, -1)
        after = np.maximum.accumulate(np.maximum(y + 1, given.known))
        before = np.concatenate([[given.known], after[:-1]]) if len(y) else after
        return self._odds(given.x, y, given.weight, before, after)

    def predict(self, x: Features, /) -> Array:
        """Probabilities (n, classes), or numbers (n,); (n, 0) before the first label. Changes nothing."""
        rows, none = self._intake.rows(x), self._intake.classes
        nothing = np.zeros(len(rows))
        if none is None:
            return self._sums(rows, np.full(len(rows), np.nan), nothing)
        known = np.full(len(rows), min(none, len(self._pairs)))
        return self._odds(rows, np.full(len(rows), -1), nothing, known, known)

    def state_dict(self) -> State:
        pairs = [[pair.state_dict() for pair in pairs] for pairs in self._pairs]
        return {
            "intake": self._intake.state_dict(),
            "place": self._place.copy(),
            "centre": self._centre.copy(),
            "pairs": pairs,
        }

    def load_state_dict(self, state: State, /) -> None:
        self._intake.load_state_dict(state["intake"])
        self._place, self._centre = state["place"].copy(), state["centre"].copy()
        self._pairs = []
        self._pairs = self._planted(self._intake.classes, self._intake.flat, self._place)
        for pairs, saved in zip(self._pairs, state["pairs"], strict=True):
            for pair, saved_pair in zip(pairs, saved, strict=True):
                pair.load_state_dict(saved_pair)

    def _planted(self, classes: int | None, flat: bool | None, place: Array) -> list[list[Pair]]:  # noqa: FBT001
        """Trees for classes that have none yet, or for numbers. Changes nothing."""
        wanted = 1 if flat is not None else classes or 0
        one, growth = _STREAMS * self._stages, self._growths[classes is not None]
        seeds = seeded(self._seed, one * wanted)
        planted: list[list[Pair]] = []
        for c in range(len(self._pairs), wanted):
            own = seeds[one * c : one * (c + 1)].reshape(self._stages, _STREAMS)
            planted.append([Pair(NUMBERS, growth, self._plan, place=place, seed=seed) for seed in own])
        return planted

    def _odds(self, x: Floats, y: Array, weight: Array, before: Array, after: Array) -> Array:
        """Probabilities of the classes known before each row: (n, K)."""
        n, k = len(x), len(self._pairs)
        # `later` is as `margin`, once each tree has learnt the row.
        margin, later, p = np.zeros((n, k)), np.zeros((n, k)), np.zeros((n, k))
        goal, counts, out = np.zeros((k, n)), np.zeros((k, n)), np.zeros((k, n, 2))
        threads = processors() if n * k >= _WORTH else 1
        first = 1 if k == 2 else 0
        for stage in range(self._stages):
            slopes(later, y, weight, after, p, goal, counts)
            calls = [
                partial(self._pairs[c][stage].learn, self._plan.policy, x, goal[c], counts[c], weight, out[c])
                for c in range(first, k)
            ]
            abreast(calls, threads)
            margin += self._rate * out[:, :, 0].T
            later += self._rate * out[:, :, 1].T
        shares(margin, before, answer := np.zeros((n, k)))
        return answer

    def _sums(self, x: Floats, y: Array, weight: Array) -> Array:
        """Numbers: (n,); (n, 0) while nothing is known of labels."""
        if not self._pairs:
            return np.zeros((len(x), 0))
        said = np.zeros((len(x), 1))
        if len(x):
            centres(y, weight, self._centre, said)
            out, later = np.zeros((len(x), 2)), said[:, 0].copy()
            for pair in self._pairs[0]:
                pair.learn(self._plan.policy, x, y - later, weight, weight, out)
                said[:, 0] += self._rate * out[:, 0]
                later += self._rate * out[:, 1]
        return shaped(said[:, 0], self._intake)


def _numbers(intake: Intake, batch: Batch) -> Given:
    return numbers_only(intake, batch, reader="SGBT", cure="a new SGBT()")
