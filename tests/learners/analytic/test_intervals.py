"""Intervals of `Ridge` and `RLS`: those of ordinary least squares, and as calibrated as they say."""

import numpy as np
import pytest
from scipy import stats

import retain as rt
from retain.errors import SettingError
from retain.learners.analytic.intervals import student

MAKE = {"ridge": lambda **settings: rt.Ridge(batch_size=10, **settings), "rls": rt.RLS}


def taught(name, x, y, weight=None, **settings):
    learner = MAKE[name](**settings)
    learner.learn(rt.Batch(x, y=y, weight=weight))
    if name == "ridge":
        learner.settle()
    return learner


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(60, 4)) * [1, 2, 3, 0.1] + [0, 0, 9, 0]).astype(np.float32)
    return x, x @ rng.normal(size=(4, 2)) + [1, 100] + rng.normal(size=(60, 2)) * [1, 10]


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("bias", [True, False])
def test_without_a_penalty_they_are_the_textbooks_prediction_intervals(rows, name, bias):
    x, y = rows
    z = np.c_[np.ones(60), x][:, 0 if bias else 1 :].astype(float)
    w, squares, rank, _ = np.linalg.lstsq(z, y, rcond=None)
    left = 60 - rank
    half = stats.t(left).ppf(0.95) * np.sqrt(
        squares / left * (1 + np.einsum("nd,de,ne->n", z, np.linalg.inv(z.T @ z), z)[:, None])
    )
    found = rt.interval(taught(name, x, y, l2=0.0, bias=bias), x, coverage=0.9)
    assert found.shape == (60, 2, 2)
    np.testing.assert_allclose(found[..., 0], z @ w - half, rtol=1e-5)
    np.testing.assert_allclose(found[..., 1], z @ w + half, rtol=1e-5)


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("coverage", [0.5, 0.9, 0.99])
def test_they_hold_the_share_of_labels_that_they_promise(name, coverage):
    rng = np.random.default_rng(1)
    metric = rt.metrics.Coverage()
    for _ in range(60):  # models of 15 weights from 30 rows: without the posterior of the weights, 77 % instead of 90
        w = rng.normal(size=14)
        x = rng.normal(size=(130, 14)).astype(np.float32)
        y = x @ w + 3 + 2 * rng.normal(size=130)
        learner = taught(name, x[:30], y[:30], l2=4.0)  # noise over weights, squared: the prior that is true
        metric.update(y[30:], rt.interval(learner, x[30:], coverage=coverage))
    # 6,000 labels, 100 of them to a model: a standard error of .005 or so, and of .013 at .5
    assert metric.value() == pytest.approx(coverage, abs=0.03)


def test_both_learners_say_the_same(rows):
    x, y = rows
    weight = 0.5 + np.arange(60) % 3
    a, b = (rt.interval(taught(name, x, y[:, 0], weight, l2=2.0), x) for name in MAKE)
    assert a.shape == (60, 2)
    np.testing.assert_allclose(a, b, rtol=1e-6)


def test_rows_come_through_a_chain_and_are_less_sure_far_away(rows):
    x, y = rows
    learner = rt.Scale() | rt.RLS()
    learner.learn(rt.Batch(x, y=y[:, 0]))
    near, far = np.diff(rt.interval(learner, np.float32([[0, 0, 9, 0], [0, 0, 900, 0]])), axis=1)[:, 0]
    assert far > 10 * near


@pytest.mark.parametrize("name", MAKE)
def test_with_too_few_rows_nothing_is_sure(rows, name):
    x, y = rows
    learner = taught(name, x[:4], y[:4, 0], l2=0.0)
    assert np.isinf(rt.interval(learner, x)).all()


@pytest.mark.parametrize("freedom", [5, 10, 100, 1e9])
def test_quantiles_are_students(freedom):
    for q in (0.6, 0.9, 0.95, 0.975):
        assert student(q, freedom) == pytest.approx(stats.t(freedom).ppf(q), rel=2e-3)


def test_what_makes_no_sense_is_refused(rows):
    x, y = rows
    for name in MAKE:
        with pytest.raises(SettingError, match="numbers as labels"):
            rt.interval(taught(name, x, np.arange(60) % 2), x)
        for coverage in (0, 1, 90):
            with pytest.raises(SettingError, match="share of labels"):
                rt.interval(taught(name, x, y), x, coverage=coverage)
    with pytest.raises(SettingError, match="says no intervals"):
        rt.interval(rt.Linear(), x)
