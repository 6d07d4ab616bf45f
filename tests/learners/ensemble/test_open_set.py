"""`OpenSet` keeps the rate of false alarms it is given, on streams whose classes keep coming, and finds new classes."""

import math

import numpy as np
import pytest

import retain as rt
from retain import state
from retain.compose import Chain, consolidate, learns
from retain.errors import SettingError


@pytest.fixture(scope="module")
def rows():
    """Twelve classes in eight columns: two to begin with, and a new one every 500 rows."""
    rng = np.random.default_rng(0)
    y = np.concatenate([rng.integers(0, min(k + 2, 12), size=500) for k in range(12)])
    centres = 4 * rng.normal(size=(12, 8))
    return (centres[y] + rng.normal(size=(6000, 8))).astype(np.float32), y


def known(y):
    """Whether a row's class has come before."""
    return np.arange(len(y)) > np.array([np.flatnonzero(y == c)[0] for c in y])


MAKE = {
    "slda": lambda: rt.SLDA(batch_size=20),
    "nearest mean": lambda: rt.NearestMean(batch_size=20),
    "ridge": lambda: rt.Ridge(batch_size=20),
    "rls": rt.RLS,
    "linear": lambda: rt.Scale() | rt.Linear(loss=rt.Multinomial()),
    "hedge": lambda: rt.Hedge(rt.Linear(loss=rt.Multinomial()), rt.Prior()),
}


@pytest.mark.parametrize("rate", [0.02, 0.05, 0.2])
@pytest.mark.parametrize("name", MAKE)
def test_the_share_of_known_rows_called_unknown_is_the_chosen_one(rows, name, rate):
    x, y = rows
    learner = rt.OpenSet(MAKE[name](), false_alarms=rate)
    called = []
    for start in range(0, 6000, 700):
        block = slice(start, start + 700)
        called.extend(~learner.learn(rt.Batch(x[block], y=y[block])).any(axis=1))
    # The bound is 100 / T = .017. What is seen is below .008, most of it from the rows before the first threshold.
    assert abs(np.array(called)[known(y)].mean() - rate) < 0.01


@pytest.mark.parametrize("name", ["slda", "linear"])
def test_the_rate_holds_where_the_world_moves(rows, name):
    """Rows scatter ever more widely: the scores in the window lag behind, which alone would cost a point."""
    _, y = rows
    rng = np.random.default_rng(1)
    y = y % 2
    x = np.linspace(1, 30, 6000)[:, None] * rng.normal(size=(6000, 8)) + 9 * y[:, None]
    learner = rt.OpenSet(MAKE[name](), false_alarms=0.05)
    unknown = ~learner.learn(rt.Batch(x.astype(np.float32), y=y)).any(axis=1)
    assert abs(unknown[known(y)].mean() - 0.05) < 0.006


@pytest.mark.parametrize(("name", "least"), [("slda", 0.9), ("nearest mean", 0.9)])
def test_the_first_rows_of_a_class_are_unknown_and_later_ones_are_not(rows, name, least):
    x, y = rows
    old = y < 9
    learner = rt.OpenSet(MAKE[name](), false_alarms=0.05)
    learner.learn(rt.Batch(x[old], y=y[old]))
    assert learner.unknown(x[~old]).mean() > least
    assert learner.unknown(x[old]).mean() < 0.1
    learner.learn(rt.Batch(x[~old], y=y[~old]))
    assert learner.unknown(x[~old]).mean() < 0.1


@pytest.mark.parametrize("name", MAKE)
def test_unknown_rows_have_no_class_and_others_are_answered_as_ever(rows, name):
    x, y = rows
    plain, learner = MAKE[name](), rt.OpenSet(MAKE[name](), false_alarms=0.1)
    plain.learn(rt.Batch(x, y=y))
    learner.learn(rt.Batch(x, y=y))
    said, unknown = learner.predict(x), learner.unknown(x)
    assert 0 < unknown.mean() < 1
    assert not said[unknown].any()
    assert np.array_equal(said[~unknown], plain.predict(x)[~unknown])
    assert np.array_equal(unknown, rt.novelty(learner, x) > learner.threshold)
    assert np.array_equal(rt.novelty(learner, x), rt.novelty(plain, x))


def slowly(novelty, y, *, rate, window):
    """Who is unknown, by the text of the docstring and nothing else."""
    level, scores, seen, unknown = rate, [], set(), []
    for score, label in zip(novelty, y, strict=True):
        recent = sorted(scores[-window:])
        rank = math.ceil((len(recent) + 1) * (1 - level))
        alarm = rank <= len(recent) and score > recent[rank - 1]
        unknown.append(alarm)
        if label in seen and score < np.inf:
            level = min(level + 0.005 * (rate - alarm), 0.5)
            scores.append(score)
        seen.add(label)
    return np.array(unknown)


@pytest.mark.parametrize("name", ["slda", "linear"])
def test_the_threshold_is_what_the_text_says(rows, name):
    x, y = rows
    learner = rt.OpenSet(MAKE[name](), false_alarms=0.05, window=150)
    said, novelty = learner.learn_novelty(rt.Batch(x, y=y))
    unknown = slowly(novelty, y, rate=0.05, window=150)
    assert unknown.any()
    assert np.array_equal(~said[1:].any(axis=1), unknown[1:])  # of the first row nothing can be said


@pytest.mark.parametrize("name", ["slda", "linear", "hedge"])
def test_labels_that_land_at_once_are_learnt_as_if_they_came_with_their_rows(rows, name):
    x, y = (column[:900] for column in rows)
    now, late = (rt.OpenSet(MAKE[name](), false_alarms=0.1) for _ in range(2))
    order = np.column_stack([np.arange(900), ~np.arange(900)]).ravel()
    said, _ = late.flow(rt.Batch(x), None, y, order)
    assert np.array_equal(said, now.learn(rt.Batch(x, y=y)))
    assert state.encode(late.state_dict()) == state.encode(now.state_dict())


@pytest.mark.parametrize("name", ["slda", "hedge"])
def test_the_rate_holds_where_labels_are_late(rows, name):
    x, y = rows
    learner = rt.OpenSet(MAKE[name](), false_alarms=0.05)
    reports = rt.Prequential(rt.streams.arrays(x, y, block=250), learner, delay=rt.Delay(rows=100))
    unknown, mask = [], []
    first = np.array([np.flatnonzero(y == c)[0] for c in range(12)])
    for report in reports:
        unknown.extend(~report.prediction.any(axis=1))
        mask.extend(report.row > first[report.y] + 100)  # its class had been learnt when it arrived
    assert len(mask) > 5800
    assert abs(np.array(unknown)[np.array(mask)].mean() - 0.05) < 0.006


def test_a_chain_may_be_inside_or_in_front(rows):
    x, y = rows
    inside = rt.OpenSet(rt.Scale() | rt.SLDA(batch_size=20))
    front = rt.Scale() | rt.OpenSet(rt.SLDA(batch_size=20))
    assert np.array_equal(inside.learn(rt.Batch(x, y=y)), front.learn(rt.Batch(x, y=y)))
    assert np.array_equal(rt.novelty(inside, x), rt.novelty(front, x))
    assert inside.threshold == front.learner.threshold
    assert isinstance(learns(inside), rt.SLDA)


def test_scores_that_are_all_equal_are_no_news(rows):
    x, y = rows
    learner = rt.OpenSet(rt.NoChange(), false_alarms=0.05)
    said = learner.learn(rt.Batch(x, y=y))
    assert said[1:].any(axis=1).all()


def test_who_has_answered_nothing_yet_gives_no_scores(rows):
    x, y = rows
    learner = rt.OpenSet(rt.SLDA(batch_size=400), false_alarms=0.1)
    learner.learn(rt.Batch(x[:500], y=y[:500] % 2))
    assert np.isfinite(learner.threshold)


def test_the_end_of_an_experience_reaches_the_learner_inside(rows):
    x, y = rows
    learner = rt.OpenSet(Chain((), rt.SLDA(batch_size=1000)))
    learner.learn(rt.Batch(x[:500], y=y[:500] % 2))
    assert np.isinf(rt.novelty(learner, x)).all()
    consolidate(learner, [])
    assert np.isfinite(rt.novelty(learner, x)).all()


def test_what_makes_no_sense_is_refused(rows):
    x, y = rows
    for settings in ({"false_alarms": 0}, {"false_alarms": 0.5}, {"false_alarms": 0.01, "window": 50}):
        with pytest.raises(SettingError, match="OpenSet got"):
            rt.OpenSet(rt.SLDA(), **settings)
    with pytest.raises(SettingError, match="class codes"):
        rt.OpenSet(rt.Ridge()).learn(rt.Batch(x, y=y.astype(float)))
    numbers = rt.Ridge()
    numbers.learn(rt.Batch(x, y=y.astype(float)))
    with pytest.raises(SettingError, match="novelty"):
        rt.novelty(numbers, x)


def test_a_learner_of_numbers_inside_is_refused_before_it_learns(rows):
    x, _ = rows
    learner = rt.OpenSet(rt.Linear())
    before = state.encode(learner.state_dict())
    with pytest.raises(SettingError, match="numbers"):
        learner.learn(rt.Batch(x[:20], y=np.arange(20) % 2))
    assert state.encode(learner.state_dict()) == before
