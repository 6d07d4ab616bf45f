"""`OpenSet`: a learner of classes that may answer *unknown*, at a chosen rate of false alarms.

Shapes: n rows that arrive, P rows in all (those due, then those that arrive), k classes, W scores in the window.
"""

from __future__ import annotations

from typing import final

import numpy as np
from numba import njit

from retain import blocks
from retain.compose import Chain, Kept, LateLearner, Wary, Wrapper, doubt, late, novelty
from retain.core import Array, Batch, Features, Floats, Ints, Learner, State
from retain.errors import SettingError

__all__ = ["OpenSet"]

_RATE = 0.005  # of the level, as in the paper
_MOST = 0.5  # of the level: a score that is always the same must not be taken for strange in the end
_FILLED, _NEXT, _LANDED = 0, 1, 2  # in counts: scores in the window, place of the next one, labels learnt


@njit(cache=True, nogil=True, error_model="numpy")
def _threshold(ranked_W: Floats, filled: int, level: float) -> float:  # pragma: no cover - compiled
    """The score that a share `level` of rows like those in the window is to exceed; infinite while that cannot be told.

    Of m exchangeable scores and one more, the last is above the r-th smallest with probability 1 - r / (m + 1).
    """
    rank = int(np.ceil((filled + 1) * (1.0 - level)))
    return ranked_W[rank - 1] if rank <= filled else np.inf


@njit(cache=True, nogil=True, error_model="numpy")
def _remember(score: float, recent_W: Floats, ranked_W: Floats, counts: Ints) -> None:  # pragma: no cover - compiled
    """Put a score into the window, in order of arrival and of size; the oldest goes where it is full."""
    filled, place = counts[_FILLED], counts[_NEXT]
    if filled == len(recent_W):
        gone = np.searchsorted(ranked_W, recent_W[place])
        ranked_W[gone:-1] = ranked_W[gone + 1 :].copy()
        filled -= 1
    at = np.searchsorted(ranked_W[:filled], score)
    ranked_W[at + 1 : filled + 1] = ranked_W[at:filled].copy()
    ranked_W[at] = score
    recent_W[place] = score
    counts[_FILLED], counts[_NEXT] = filled + 1, (place + 1) % len(recent_W)


@njit(cache=True, nogil=True, error_model="numpy")
def _judge(
    novelty_P: Floats,
    landed_P: Ints,  # labels learnt when the row arrived
    unknown_P: Array,  # whether it was called unknown then; that of arrivals is found here
    code_P: Ints,  # -1 where there is no label
    weight_P: Floats,
    order: Ints,
    recent_W: Floats,
    ranked_W: Floats,
    counts: Ints,
    first_k: Ints,  # the number of the label by which a class became known, counted from 1; 0 for none
    level: Floats,
    false_alarms: float,
) -> None:  # pragma: no cover - compiled
    due = len(novelty_P) - (order >= 0).sum()
    for event in order:
        if event >= 0:
            row = due + event
            landed_P[row] = counts[_LANDED]
            unknown_P[row] = novelty_P[row] > _threshold(ranked_W, counts[_FILLED], level[0])
            continue
        row = ~event
        code = code_P[row]
        if code < 0 or weight_P[row] == 0.0:
            continue
        counts[_LANDED] += 1
        if first_k[code] == 0:
            first_k[code] = counts[_LANDED]
        if first_k[code] <= landed_P[row] and novelty_P[row] < np.inf:
            # It may fall below 0, and there is no alarm then: where labels are late those of many rows have been told.
            level[0] = min(level[0] + _RATE * (false_alarms - (1.0 if unknown_P[row] else 0.0)), _MOST)
            _remember(float(novelty_P[row]), recent_W, ranked_W, counts)


@final
class OpenSet(LateLearner, Wary, Wrapper):
    """A learner of classes that may answer *unknown*: of all rows whose class is known, a chosen share is called so.

    A row is unknown when its novelty (`retain.novelty`: the learner's own measure, or 1 less the largest probability)
    is above a threshold. Its answer is then a row of zeros: none of the known classes, which metrics take for
    undecided, as of rows answered before any class was known. `unknown` gives the mask, `novelty` the score.

    The threshold is the quantile at 1 - level of the novelty that the last `window` rows of known classes had before
    they were learnt. A class is known to a row when a label of it was learnt before the row arrived. The level follows
    what comes of it, by level += .005 (false_alarms - alarm) after every such row, up to 1/2, so that the share of
    false alarms over T rows is `false_alarms` within about 100 / T in the worst case, whatever the stream does: more
    where alarms are too few, since novelty falls while the learner learns; fewer where they are too many, since new
    classes come. Where all scores are equal there are none.

    Other rows go through as they are: laws, late labels and granularity are those of the learner inside.

    Args:
        learner: of classes; a chain is fine.
        false_alarms: share of rows of known classes to be called unknown, 0 < share < 1/2.
        window: how many scores the threshold is read from. There is none before 1 / false_alarms of them.

    Raises:
        SettingError: a setting out of its range; when learning, targets that are numbers.

    >>> import numpy as np, retain as rt
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 3, size=4000)
    >>> x = (rng.normal(size=(4000, 2)) + np.array([[0, 0], [9, 0], [0, 9]])[y]).astype(np.float32)
    >>> learner = rt.OpenSet(rt.SLDA(batch_size=100), false_alarms=0.02)
    >>> said = learner.learn(rt.Batch(x, y=y))
    >>> float((~said[1000:].any(axis=1)).mean().round(3))
    0.02
    >>> learner.unknown(np.float32([[0, 0], [9, 9]]))
    array([False,  True])

    References:
        Gibbs & Candes 2021, Adaptive conformal inference under distribution shift; Hendrycks & Gimpel 2017, A baseline
        for detecting misclassified and out-of-distribution examples (the probability).
    """

    def __init__(self, learner: Learner, /, *, false_alarms: float = 0.05, window: int = 1000) -> None:
        if not 0 < false_alarms < _MOST:
            raise SettingError(f"OpenSet got false_alarms={false_alarms}; expected a share, 0 < share < 1/2")
        if window * false_alarms < 1:
            raise SettingError(
                f"OpenSet got window={window} at false_alarms={false_alarms}; expected at least {1 / false_alarms:.0f} "
                "scores to tell so small a share from"
            )
        self.learner = learner
        self._false_alarms = false_alarms
        self._inside = _measured(learner)
        self._recent, self._ranked = np.zeros(window), np.full(window, np.inf)
        self._counts = np.zeros(3, dtype=np.int64)
        self._first = np.zeros(0, dtype=np.int64)
        self._level = np.full(1, false_alarms)

    @property
    def threshold(self) -> float:
        """The novelty above which a row is unknown now; infinite while there are too few scores to tell."""
        return float(_threshold(self._ranked, int(self._counts[_FILLED]), float(self._level[0])))

    def learn(self, batch: Batch, /) -> Array:
        """Learn the rows in order; see `retain.core.Learner`."""
        return self.learn_novelty(batch)[0]

    def learn_novelty(self, batch: Batch, /) -> tuple[Array, Floats]:
        n = len(batch)
        code = self._codes(batch.y, n)
        self._check(batch)
        said, score = self._apart(self._inside.learn(batch))
        order = np.empty(2 * n, dtype=np.int64)  # every row lands right after it has arrived, if it has a label
        order[0::2] = np.arange(n)
        order[1::2] = ~order[0::2]
        unknown, _ = self._judged(score, None, code, batch.weight, order)
        return _masked(said, unknown), score

    def predict(self, x: Features, /) -> Array:
        """Probabilities (n, classes), zeros where a row is unknown. Changes nothing."""
        said, score = self._apart(self._inside.predict(x))
        return _masked(said, score > self.threshold)

    def novelty(self, x: Features, /) -> Floats:
        """(n,) how new each row looks; see `retain.novelty`. Changes nothing."""
        return novelty(self.learner, x)

    def unknown(self, x: Features, /) -> Array:
        """(n,) which rows are unknown. Changes nothing."""
        return self.novelty(x) > self.threshold

    def know(self, code: int, /) -> None:
        """Take a class for known from now on, whose rows were taught to the learner inside and are no measure."""
        self._room(code)
        if not self._first[code]:
            self._counts[_LANDED] += 1
            self._first[code] = self._counts[_LANDED]

    def flow(self, arrivals: Batch, due: Kept | None, due_y: Array, order: Ints, /) -> tuple[Array, Kept]:
        """As `retain.compose.LateLearner.flow`: what a row looked like, and was called, on arrival is what counts."""
        code = self._codes(due_y, len(due_y))
        self._check(arrivals)
        answer, part = late(self._inside).flow(arrivals, None if due is None else due.parts[0], due_y, order)
        said, score = self._apart(answer)
        before = None if due is None else due.views[0]
        unknown, landed = self._judged(score, before, code, arrivals.weight, order)
        return _masked(said, unknown), _kept(score, landed, unknown, arrivals.weight, part)

    def meet(self, arrivals: Batch, /) -> tuple[Array, Kept]:
        answer, part = late(self._inside).meet(arrivals)
        said, score = self._apart(answer)
        unknown = score > self.threshold
        landed = np.full(len(score), self._counts[_LANDED])
        return _masked(said, unknown), _kept(score, landed, unknown, arrivals.weight, part)

    def state_dict(self) -> State:
        return {
            "learner": self.learner.state_dict(),
            "recent": self._recent.copy(),
            "counts": self._counts.copy(),
            "first": self._first.copy(),
            "level": float(self._level[0]),
        }

    def load_state_dict(self, state: State, /) -> None:
        self.learner.load_state_dict(state["learner"])
        self._recent, self._counts, self._first = (state[name].copy() for name in ("recent", "counts", "first"))
        self._level = np.full(1, state["level"])
        filled = int(self._counts[_FILLED])
        self._ranked = np.full(len(self._recent), np.inf)
        self._ranked[:filled] = np.sort(self._recent[:filled])

    def _codes(self, y: Array | None, n: int) -> Ints:
        if y is not None and y.dtype.kind == "f" and not np.isnan(y).all():
            raise SettingError("OpenSet got numbers as targets; expected class codes: no number is unknown")
        return blocks.codes(None if y is None or y.dtype.kind == "f" else y, n, reader="OpenSet")

    def _check(self, batch: Batch) -> None:
        """Before anything is learnt: refuse a learner of numbers inside, by what it says of a row."""
        if not self._counts[_LANDED] and len(batch):
            self._apart(self._inside.predict(blocks.take(batch.x, slice(0, 1))))

    def _apart(self, answer: Array) -> tuple[Array, Floats]:
        """What was said (n, k), and the novelty (n,)."""
        if self._inside is self.learner:
            return answer, doubt(answer)
        return answer[:, 1:], np.ascontiguousarray(answer[:, 0])

    def _room(self, code: int) -> None:
        self._first = np.pad(self._first, (0, max(code + 1 - len(self._first), 0)))

    def _judged(
        self, score: Floats, due: Batch | None, code: Ints, weight: Array | None, order: Ints
    ) -> tuple[Array, Ints]:
        """Which arrivals are unknown, and how many labels had been learnt when they came, both (n,)."""
        n = len(score)
        w = blocks.weights(weight, n, reader="OpenSet")
        landed, unknown = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=bool)
        if due is not None:
            kept = np.asarray(due.x)
            score = np.concatenate([kept[:, 0], score])
            landed = np.concatenate([kept[:, 1].astype(np.int64), landed])
            unknown = np.concatenate([kept[:, 2] > 0, unknown])
            w = np.concatenate([blocks.weights(due.weight, len(due), reader="OpenSet"), w])
        self._room(int(code.max(initial=-1)))
        state = (self._recent, self._ranked, self._counts, self._first, self._level)
        w, code = np.require(w, np.float64, ["C", "W"]), np.require(code, np.int64, ["C", "W"])
        _judge(score, landed, unknown, code, w, order, *state, self._false_alarms)
        return unknown[len(unknown) - n :], landed[len(landed) - n :]


@final
class _Measured(Learner):
    """A wary learner whose answers have its novelty in front of them, as one more column."""

    def __init__(self, learner: Learner, wary: Wary) -> None:
        self.learner, self._wary = learner, wary

    def learn(self, batch: Batch, /) -> Array:
        said, score = self._wary.learn_novelty(batch)
        return np.column_stack([score, said])

    def predict(self, x: Features, /) -> Array:
        return np.column_stack([self._wary.novelty(x), self.learner.predict(x)])

    def state_dict(self) -> State:
        return self.learner.state_dict()

    def load_state_dict(self, state: State, /) -> None:
        self.learner.load_state_dict(state)


def _measured(learner: Learner) -> Learner:
    """A learner whose answers have its novelty in front of them, where it has a measure; others as they are."""
    if isinstance(learner, Chain):
        inside = _measured(learner.learner)
        return learner if inside is learner.learner else Chain(learner.transforms, inside)
    return _Measured(learner, learner) if isinstance(learner, Wary) else learner


def _masked(said: Array, unknown: Array) -> Array:
    """Zeros where a row is unknown."""
    return np.where(unknown[:, None], 0.0, said)


def _kept(score: Floats, landed: Ints, unknown: Array, weight: Array | None, part: Kept) -> Kept:
    """What was found of each row on arrival, and what the learner inside wants to see again."""
    return Kept((Batch(np.column_stack([score, landed, unknown]), weight=weight),), (part,))
