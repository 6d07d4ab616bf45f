"""Baselines against the obvious loop."""

import time

import numpy as np
import pytest

import retain as rt
from retain.errors import PoisonError


@pytest.fixture
def labels():
    rng = np.random.default_rng(0)
    y = np.where(
        rng.random(200) < 0.2, -1, rng.integers(0, 2, size=200) + (np.arange(200) > 99) * rng.integers(0, 3, size=200)
    )
    return y, rng.uniform(0, 2, size=200) * (rng.random(200) < 0.9)


def blank(n):
    return np.zeros((n, 0))


def test_no_change_says_the_last_label_learnt(labels):
    y, weight = labels
    got = rt.NoChange().learn(rt.Batch(blank(200), y=y, weight=weight))
    last = None
    for i in range(200):
        expected = np.zeros(got.shape[1])
        if last is not None:
            expected[last] = 1
        np.testing.assert_array_equal(got[i], expected)
        if y[i] >= 0 and weight[i] > 0:
            last = y[i]


def test_prior_says_the_frequencies_so_far(labels):
    y, weight = labels
    got = rt.Prior().learn(rt.Batch(blank(200), y=y, weight=weight))
    counts = np.zeros(got.shape[1])
    for i in range(200):
        expected = counts / counts.sum() if counts.sum() else counts
        np.testing.assert_allclose(got[i], expected, rtol=1e-12)
        if y[i] >= 0:
            counts[y[i]] += weight[i]


@pytest.mark.parametrize("make", [rt.Prior, rt.Mean])
@pytest.mark.parametrize("shape", [(200,), (200, 3)])
def test_means_of_numbers(make, shape):
    rng = np.random.default_rng(1)
    y = rng.normal(size=shape) + 100
    y[rng.random(200) < 0.2] = np.nan
    weight = rng.uniform(0, 2, size=200)
    learner = make()
    got = learner.learn(rt.Batch(blank(200), y=y, weight=weight))
    known = ~np.isnan(y.reshape(200, -1)).any(axis=1)
    for i in (0, 1, 7, 199):
        before = np.flatnonzero(known[:i])
        expected = np.average(y[before], axis=0, weights=weight[before]) if len(before) else np.zeros(shape[1:])
        np.testing.assert_allclose(got[i], expected, rtol=1e-12)
    np.testing.assert_allclose(learner.predict(blank(2))[1], np.average(y[known], axis=0, weights=weight[known]))


def test_no_change_of_numbers():
    y = np.array([np.nan, 3.0, np.nan, 5.0, 2.0])
    learner = rt.NoChange()
    np.testing.assert_array_equal(learner.learn(rt.Batch(blank(5), y=y)), [0, 0, 3, 3, 5])
    np.testing.assert_array_equal(learner.predict(blank(2)), [2, 2])


@pytest.mark.parametrize("make", [rt.NoChange, rt.Prior])
def test_kinds_of_labels_do_not_mix(make):
    learner = make()
    learner.learn(rt.Batch(blank(2), y=np.array([0, 1])))
    with pytest.raises(PoisonError, match="same kind"):
        learner.learn(rt.Batch(blank(2), y=np.array([0.5, 1.5])))
    other = make()
    other.learn(rt.Batch(blank(2), y=np.zeros((2, 2))))
    with pytest.raises(PoisonError, match="number of outputs"):
        other.learn(rt.Batch(blank(2), y=np.zeros(2)))


def test_whole_numbers_are_numbers_to_the_mean():
    np.testing.assert_array_equal(rt.Mean().learn(rt.Batch(blank(3), y=np.array([2, 4, 6]))), [0, 2, 3])


@pytest.mark.parametrize("make", [rt.NoChange, rt.Prior])
def test_baselines_cost_next_to_nothing_beside_a_learner(make):
    y = np.random.default_rng(0).integers(0, 2, size=1000)
    learner, batch = make(), rt.Batch(blank(1000), y=y)
    rates = []
    for _ in range(5):
        start = time.process_time()
        for _ in range(100):
            learner.learn(batch)
        rates.append(1e5 / (time.process_time() - start))
    assert max(rates) > 10e6  # measured 60 to 80 M rows/s; a busy machine is no failure
