"""`Conformal` keeps its coverage: where the world stands still, where it moves, and where labels are late."""

import math
from dataclasses import replace

import numpy as np
import pytest

import retain as rt
from retain import state
from retain.compose import late, learns
from retain.errors import PoisonError, SettingError


class Slow:
    """Adaptive conformal inference as its papers write it, with a list for the window."""

    def __init__(self, coverage, update, window):
        self.left, self.update, self.window, self.scores = 1 - coverage, update, window, []
        rates = update.rates if isinstance(update, rt.DtACI) else ()
        self.levels, self.trust, self.own = [self.left] * len(rates), [1 / max(len(rates), 1)] * len(rates), 0.0

    def threshold(self):
        m, mean = len(self.scores), self.left
        if math.ceil((m + 1) * (1 - self.left)) > m:
            return math.inf
        if self.levels:
            mean = sum(p * a for p, a in zip(self.trust, self.levels, strict=True))
        rank = math.ceil((m + 1) * (1 - mean - self.own))
        ranked = sorted(self.scores)
        if rank > m:
            return ranked[-1] * (1 + rank - m)
        return ranked[rank - 1] if rank >= 1 else 0.0

    def step(self, score):
        bound, a = self.threshold(), self.left
        missed = score > bound
        beta = 1 - sum(s < score for s in self.scores) / (len(self.scores) + 1)
        if self.levels:
            rows, rates = self.update.horizon, len(self.levels)
            speed = math.sqrt(3 / rows) * math.sqrt(
                (math.log(rows * rates) + 2) / ((1 - a) ** 2 * a**3 + a**2 * (1 - a) ** 3)
            )
            losses = [a * (beta - level) - min(0.0, beta - level) for level in self.levels]
            trust = [p * math.exp(-speed * loss) for p, loss in zip(self.trust, losses, strict=True)]
            self.trust = [(1 - 1 / (2 * rows)) * p / sum(trust) + 1 / (2 * rows) / rates for p in trust]
            self.levels = [
                level + rate * (a - (level >= beta)) for level, rate in zip(self.levels, self.update.rates, strict=True)
            ]
        pace = self.update.pace if self.levels else self.update.rate
        self.own += pace * (a - missed)
        self.scores = [*self.scores, score][-self.window :]
        return bound


@pytest.mark.parametrize("update", [rt.ACI(0.02), rt.DtACI(), rt.DtACI(rates=(0.01, 0.1), horizon=50, pace=0.0)])
def test_bounds_are_those_of_the_papers(update):
    rng = np.random.default_rng(0)
    y = rng.normal(size=600) * np.where(np.arange(600) < 300, 1, 4)
    x = np.zeros((600, 1), dtype=np.float32)
    learner, slow = rt.Conformal(rt.Mean(), coverage=0.9, update=update, window=80), Slow(0.9, update, 80)
    for i in range(600):
        half = float(np.diff(learner.interval(x[:1])[0])[0]) / 2
        said = learner.learn(rt.Batch(x[i : i + 1], y=y[i : i + 1]))[0]
        assert half == pytest.approx(slow.step(abs(y[i] - said)), rel=1e-9)


def moving(n=12_000):
    """A line whose weights and noise wander, and jump now and then."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(n, 3)).astype(np.float32)
    weights = np.cumsum(0.02 * rng.normal(size=(n, 3)), axis=0) + 3 * rng.normal(size=(4, 3))[np.arange(n) * 4 // n]
    noise = np.exp(np.sin(np.arange(n) / 800) + 1.5 * (np.arange(n) * 3 // n))
    return x, (x * weights).sum(axis=1) + noise * rng.standard_t(3, size=n)


def worst(within, coverage, rows=2000):
    total = np.concatenate([[0], np.cumsum(within)])
    return np.abs((total[rows:] - total[:-rows]) / rows - coverage).max()


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_intervals_hold_their_share_in_every_stretch_of_a_world_that_moves(coverage):
    x, y = moving()
    learner = rt.Conformal(rt.Linear(), coverage=coverage)
    within = []
    for i in range(0, len(y), 4):  # intervals of rows whose labels come with the next three
        low, high = learner.interval(x[i : i + 4]).T
        within.extend((low <= y[i : i + 4]) & (y[i : i + 4] <= high))
        learner.learn(rt.Batch(x[i : i + 4], y=y[i : i + 4]))
    assert abs(learner.coverage - coverage) < 0.003
    assert abs(np.mean(within) - coverage) < 0.01
    assert worst(within, coverage) < 0.025
    assert 0 < learner.size < np.inf
    fixed = np.abs(y - rt.Linear().learn(rt.Batch(x, y=y)))
    assert worst(fixed <= np.quantile(fixed[:2000], coverage), coverage) > 0.1  # what happens where nothing follows


def test_sets_hold_their_share_of_classes_and_are_small():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 5, size=6000)
    x = (np.eye(5)[y] * 1.5 + rng.normal(size=(6000, 5))).astype(np.float32)
    learner = rt.Conformal(rt.Linear(loss=rt.Multinomial()), coverage=0.9)
    learner.learn(rt.Batch(x[:5000], y=y[:5000]))
    assert abs(learner.coverage - 0.9) < 0.005
    sets = learner.sets(x[5000:])
    assert sets.dtype == bool
    assert abs(sets[np.arange(1000), y[5000:]].mean() - 0.9) < 0.04
    assert 1.0 < sets.sum(axis=1).mean() < 3.5
    assert learner.size == pytest.approx(sets.sum(axis=1).mean(), abs=0.4)


def test_late_labels_are_judged_by_the_bounds_their_row_was_given():
    x, y = moving(4000)
    run = rt.Prequential(
        rt.streams.arrays(x, y, block=300), rt.Conformal(rt.Linear()), delay=rt.Delay(rows=200), metrics=[]
    )
    list(run)
    assert abs(run.learner.coverage - 0.9) < 0.01
    learner = late(rt.Conformal(rt.Mean(), coverage=0.5, window=10))
    nothing = np.zeros((0,))
    _, kept = learner.flow(rt.Batch(x[:3]), None, np.full(3, np.nan), np.arange(3))
    assert nothing.size == 0
    learner.flow(rt.Batch(x[:0]), kept, y[:3], ~np.arange(3))  # no bounds yet: infinite, and held
    assert learner.coverage == 1.0


def test_every_cut_of_late_labels_gives_the_same():
    x, y = moving(600)
    codes = np.digitize(y, [-3, 0, 3])
    for labels, make in ((y, rt.Linear), (codes, lambda: rt.Linear(loss=rt.Multinomial()))):
        states = []
        for block in (600, 7):
            run = rt.Prequential(
                rt.streams.arrays(x, labels, block=block), rt.Conformal(make(), window=50), delay=rt.Delay(rows=30)
            )
            list(run)
            states.append(state.encode(run.learner.state_dict()))
        assert states[0] == states[1]


def test_several_numbers_have_bounds_of_their_own():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 2)).astype(np.float32)
    y = np.c_[x[:, 0] + rng.normal(size=3000), 10 * x[:, 1] + 5 * rng.normal(size=3000)]
    learner = rt.Conformal(rt.RLS())
    learner.learn(rt.Batch(x, y=y))
    bounds = learner.interval(x[:1])
    assert bounds.shape == (1, 2, 2)
    assert np.diff(bounds[0, 1])[0] > 3 * np.diff(bounds[0, 0])[0]
    assert np.abs(learner.coverage - 0.9).max() < 0.01
    assert learner.size.shape == (2,)


def test_before_the_first_labels_bounds_hold_everything():
    learner = rt.Conformal(rt.Linear())
    assert learner.interval(np.zeros((2, 3))).tolist() == [[-math.inf, math.inf]] * 2
    assert math.isnan(learner.coverage)
    classes = rt.Conformal(rt.Linear(loss=rt.Logistic()))
    classes.learn(rt.Batch(np.zeros((2, 3)), y=np.array([0, 1])))
    assert classes.sets(np.zeros((1, 3))).all()


def test_what_is_said_is_what_the_learner_inside_says():
    x, y = moving(500)
    learner, plain = rt.Scale() | rt.Conformal(rt.Linear()), rt.Scale() | rt.Linear()
    assert np.array_equal(learner.learn(rt.Batch(x, y=y)), plain.learn(rt.Batch(x, y=y)))
    assert np.array_equal(learner.predict(x), plain.predict(x))
    assert isinstance(learns(learner), rt.Linear)
    assert rt.interval(learner, x).shape == (500, 2)


@pytest.mark.parametrize(
    "make",
    [
        lambda: rt.Conformal(rt.Linear(), coverage=1.0),
        lambda: rt.Conformal(rt.Linear(), coverage=0.0),
        lambda: rt.Conformal(rt.Linear(), coverage=0.99, window=50),
        lambda: rt.ACI(0.0),
        lambda: rt.DtACI(rates=()),
        lambda: rt.DtACI(horizon=0),
        lambda: rt.Conformal(rt.Linear(), coverage=0.8).interval(np.zeros((1, 2)), coverage=0.9),
        lambda: rt.Conformal(rt.Linear()).sets(np.zeros((1, 2))),
        lambda: rt.interval(rt.Linear(), np.zeros((1, 2))),
    ],
)
def test_odd_settings_are_refused(make):
    with pytest.raises(SettingError, match=r"expected"):
        make()


def test_the_wrong_kind_of_labels_is_refused_before_anything_is_learnt():
    batch = rt.Batch(np.zeros((4, 2)), y=np.array([0, 1, 0, 1]))
    numbers = rt.Conformal(rt.Linear())
    with pytest.raises(SettingError, match="no probabilities"):
        numbers.learn(batch)
    numbers.learn(replace(batch, y=np.zeros(4)))
    before = state.encode(numbers.state_dict())
    with pytest.raises(PoisonError, match="same kind"):
        numbers.learn(batch)
    assert state.encode(numbers.state_dict()) == before
    with pytest.raises(SettingError, match="intervals"):
        numbers.sets(batch.x)
    classes = rt.Conformal(rt.Linear(loss=rt.Logistic()))
    classes.learn(batch)
    with pytest.raises(SettingError, match="sets"):
        classes.interval(batch.x)
