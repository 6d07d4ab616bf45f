"""A learner of fewer features is the learner that had only ever had these."""

import numpy as np
import pytest

import retain as rt
from retain.errors import SettingError
from retain.testing.compare import same_state

KEPT = np.array([0, 2, 3, 7])
CLASSES = {
    "ridge": lambda: rt.Ridge(batch_size=32),
    "ridge, no bias": lambda: rt.Ridge(batch_size=32, bias=False, l2=0.1),
    "ridge, balanced": lambda: rt.Ridge(batch_size=32, balanced=True),
    "ridge, forgetting": lambda: rt.Ridge(batch_size=32, forgetting=0.99),
    "ridge, window": lambda: rt.Ridge(batch_size=32, window=100),
    "slda": lambda: rt.SLDA(batch_size=32),
    "nearest mean": lambda: rt.NearestMean(batch_size=32),
    "rls": rt.RLS,
    "rls, forgetting": lambda: rt.RLS(l2=0.0, forgetting=0.99),
}


def rows(n=300, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 8)).astype(np.float32)
    return rt.Batch(x, y=x[:, :3].argmax(1), weight=rng.uniform(0.5, 2, size=n))


def only(batch):
    return rt.Batch(batch.x[:, KEPT], y=batch.y, weight=batch.weight)


@pytest.mark.parametrize("name", CLASSES)
def test_it_answers_and_goes_on_as_if_it_had_never_had_the_others(name):
    learner, other = CLASSES[name](), CLASSES[name]()
    learner.learn(rows())
    other.learn(only(rows()))
    before = learner.state_dict()
    small = learner.narrowed(KEPT)
    same_state(learner.state_dict(), before, 0.0, "its state")
    asked = rows(seed=2).x[:, KEPT]
    np.testing.assert_allclose(small.predict(asked), other.predict(asked), rtol=1e-9, atol=1e-9)
    more = only(rows(seed=1))
    np.testing.assert_allclose(small.learn(more), other.learn(more), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(small.predict(asked), other.predict(asked), rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(learner.predict(rows().x), _again(name).predict(rows().x))


def _again(name):
    learner = CLASSES[name]()
    learner.learn(rows())
    return learner


@pytest.mark.parametrize("make", [rt.RLS, lambda: rt.Ridge(batch_size=30)])
def test_intervals_are_those_of_the_fewer_features(make):
    batch = rows()
    y = batch.x @ np.arange(8.0) + np.random.default_rng(5).normal(size=300)
    learner, other = make(), make()
    learner.learn(rt.Batch(batch.x, y=y))
    other.learn(rt.Batch(batch.x[:, KEPT], y=y))
    asked = batch.x[:10, KEPT]
    np.testing.assert_allclose(learner.narrowed(KEPT).interval(asked), other.interval(asked), rtol=1e-9)


@pytest.mark.parametrize(
    "make",
    [lambda: rt.RLS(l2=0.5), lambda: rt.Ridge(batch_size=300, l2=0.5), lambda: rt.Ridge(batch_size=300, bias=False)],
)
def test_the_worth_of_a_feature_is_what_is_lost_without_it(make):
    """By how much the penalised squared error of the best weights grows: solved anew without each feature in turn."""
    batch = rows()
    y = (batch.x @ np.arange(8.0))[:, None] + np.random.default_rng(5).normal(size=(300, 2)) * 3
    learner = make()
    learner.learn(rt.Batch(batch.x, y=y, weight=batch.weight))
    bias, l2 = bool(learner.intercept.any()), 0.5 if isinstance(learner, rt.RLS) or learner.l2 == 0.5 else 1.0

    def least(kept):
        root = np.sqrt(batch.weight)[:, None]
        x = np.c_[np.ones(300), batch.x[:, kept].astype(float)] if bias else batch.x[:, kept].astype(float)
        penalty = np.sqrt(l2) * np.eye(x.shape[1])
        penalty[0, 0] = 0.0 if bias else penalty[0, 0]
        a, b = np.vstack([root * x, penalty]), np.vstack([root * y, np.zeros((x.shape[1], 2))])
        return ((b - a @ np.linalg.lstsq(a, b, rcond=None)[0]) ** 2).sum()

    every = list(range(8))
    expected = [least([i for i in every if i != j]) - least(every) for j in every]
    np.testing.assert_allclose(learner.worth(), expected, rtol=1e-6)


def test_what_tells_no_class_from_another_is_worth_least():
    for make in (CLASSES["slda"], CLASSES["nearest mean"]):
        learner = make()
        learner.learn(rows(3000))
        assert set(np.argsort(learner.worth())[-3:]) == {0, 1, 2}


def test_features_that_came_late_and_wait():
    """Sparse rows may grow wider: the new features are in no sum yet."""
    learner = rt.Ridge(batch_size=32)
    batch = rows(64)
    narrow = rt.CSR(np.arange(0, 64 * 6 + 1, 6), np.tile(np.arange(6, dtype=np.int32), 64), batch.x[:, :6].ravel(), 6)
    learner.learn(rt.Batch(narrow, y=batch.y))
    learner.learn(rt.Batch(batch.x[:5], y=batch.y[:5], schema=rt.Schema()))
    assert learner.worth().shape == (8,)
    small = learner.narrowed(KEPT)
    small.settle()
    learner.settle()
    assert small.weights.shape == (4, 3)


@pytest.mark.parametrize("kept", [[], [3, 1], [1, 1], [-1, 2], [5, 8]])
def test_what_to_keep_is_checked(kept):
    for make in (CLASSES["ridge"], CLASSES["rls"]):
        learner = make()
        learner.learn(rows())
        with pytest.raises(SettingError, match="features to keep of 8; expected their numbers"):
            learner.narrowed(np.array(kept, dtype=np.int64))
    layer = rt.RandomFeatures(8)
    with pytest.raises(SettingError, match="features to keep of 8; expected their numbers"):
        layer.narrowed(np.array(kept, dtype=np.int64))
