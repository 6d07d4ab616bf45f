"""`GaussianNB` against scikit-learn and River, each on the same rows, after every row."""

import warnings

import numpy as np
import pytest
from river import naive_bayes
from sklearn import naive_bayes as theirs

import retain as rt
from retain.errors import PoisonError, SettingError


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(3)
    y = rng.choice(3, size=300, p=[0.5, 0.3, 0.2])
    x = rng.normal(size=(300, 4)) * (1 + y[:, None]) + rng.normal(size=(3, 4))[y]
    return x.astype(np.float32), y


@pytest.mark.parametrize("balanced", [False, True])
def test_without_smoothing_it_is_scikit_learns_after_every_row(rows, balanced):
    x, y = rows
    weight = np.random.default_rng(0).uniform(0.5, 2, size=300)
    ours = rt.GaussianNB(smoothing=0, balanced=balanced)
    said = ours.learn(rt.Batch(x, y=y, weight=weight))
    for i in range(40, 300, 7):  # before, some class may have no variance
        model = theirs.GaussianNB(var_smoothing=0, priors=np.full(3, 1 / 3) if balanced else None)
        model.fit(x[:i].astype(float), y[:i], weight[:i])
        np.testing.assert_allclose(said[i], model.predict_proba(x[i : i + 1].astype(float))[0], atol=1e-6)


def test_it_is_rivers_but_for_how_the_variance_is_divided(rows):
    x, y = rows
    model = naive_bayes.GaussianNB()
    for row, label in zip(x[:200], y[:200], strict=True):
        model.learn_one(dict(enumerate(row.tolist())), int(label))
    ours = rt.GaussianNB(smoothing=0)
    ours.learn(rt.Batch(x[:200], y=y[:200]))
    got = ours.predict(x[200:])
    expected = np.array(
        [[p[c] for c in range(3)] for p in (model.predict_proba_one(dict(enumerate(r))) for r in x[200:])]
    )
    np.testing.assert_allclose(got, expected, atol=0.02)  # River divides by n - 1
    assert (got.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.98


def test_smoothing_is_rows_of_the_spread_of_all(rows):
    x, y = rows
    ours = rt.GaussianNB(smoothing=3.0)
    ours.learn(rt.Batch(x, y=y))
    score = np.empty((300, 3))
    spread = x.astype(float).var(axis=0)
    for c in range(3):
        own = x[y == c].astype(float)
        variance = (len(own) * own.var(axis=0) + 3 * spread) / (len(own) + 3)
        score[:, c] = np.log(len(own)) - ((x - own.mean(axis=0)) ** 2 / variance + np.log(variance)).sum(axis=1) / 2
    score = np.exp(score - score.max(axis=1, keepdims=True))
    np.testing.assert_allclose(ours.predict(x), score / score.sum(axis=1, keepdims=True), atol=1e-9)


def test_forgetting_is_a_weight_that_fades(rows):
    x, y = rows
    ours, weighted = rt.GaussianNB(forgetting=0.97), rt.GaussianNB()
    ours.learn(rt.Batch(x, y=y))
    weighted.learn(rt.Batch(x, y=y, weight=0.97 ** np.arange(299, -1, -1.0)))
    np.testing.assert_allclose(ours.predict(x), weighted.predict(x), atol=1e-9)


def test_what_is_missing_tells_nothing(rows):
    x, y = rows
    holes = np.c_[x, np.where(np.arange(300) % 3 == 0, np.nan, x[:, 0] + y)].astype(np.float32)
    ours, without = rt.GaussianNB(), rt.GaussianNB()
    ours.learn(rt.Batch(holes, y=y))
    without.learn(rt.Batch(x, y=y))
    asked = np.c_[x, np.full(300, np.nan)].astype(np.float32)
    np.testing.assert_allclose(ours.predict(asked), without.predict(x), atol=1e-12)
    assert np.abs(ours.predict(holes) - without.predict(x)).max() > 0.1


def test_units_make_no_difference(rows):
    x, y = rows
    plain, other = rt.GaussianNB(), rt.GaussianNB()
    unit = np.float32([2**20, 2**-20, 1, 2**10])
    np.testing.assert_allclose(
        plain.learn(rt.Batch(x, y=y)), other.learn(rt.Batch(x * unit, y=y)), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("smoothing", [1.0, 0.0])
def test_numbers_and_weights_stay_finite(smoothing):
    rng = np.random.default_rng(4)
    x = rng.choice(np.float32([0, 0, 1, -1, 3e38, -3e38, 1e-45, 1e20, np.nan]), size=(400, 6))
    x[:, 5] = 7.0  # constant
    for few in ([0.0, 1e-300, 1.0, 3e38], [1e-9, 1.0, 1e6]):
        learner = rt.GaussianNB(smoothing=smoothing, forgetting=0.9)
        y, weight = rng.integers(0, 3, size=400), rng.choice(few, size=400)
        assert np.isfinite(learner.learn(rt.Batch(x, y=y, weight=weight))).all()
        assert np.isfinite(learner.predict(x)).all()


def test_bad_settings_and_rows_are_refused():
    for setting in ({"smoothing": -1.0}, {"forgetting": 0.0}, {"forgetting": 1.5}):
        with pytest.raises(SettingError):
            rt.GaussianNB(**setting)
    with warnings.catch_warnings(), pytest.raises(PoisonError):
        rt.GaussianNB().learn(rt.Batch(np.ones((2, 1)), y=np.array([0.5, 1.5])))
