"""`BayesianLinear` against the closed form, scikit-learn and River, and whether its intervals hold what they say."""

import numpy as np
import pytest
from river import linear_model as rivers
from scipy import stats
from sklearn.linear_model import BayesianRidge

import retain as rt
from retain.errors import SettingError


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(5)
    x = (rng.normal(size=(300, 5)) * [1, 100, 0.01, 1, 3] + [0, 50, 1, 0, -3]).astype(np.float32)
    return x, x @ [1.0, 0.02, 30.0, 0.0, 0.0] + 4 + rng.normal(size=300)


def closed(x, y, weight, prior):
    """Weights, bias and what is left, of all rows at once."""
    x = x.astype(float)
    mean = np.average(x, axis=0, weights=weight)
    y_mean = np.average(y, weights=weight)
    away = x - mean
    square = away.T @ (weight[:, None] * away)
    penalty = prior * np.diag(square.diagonal() / weight.sum())
    product = away.T @ (weight * (y - y_mean))
    w = np.linalg.solve(square + penalty, product)
    return w, y_mean - mean @ w, (weight * (y - y_mean) ** 2).sum() - w @ product, np.linalg.inv(square + penalty), mean


def test_it_is_the_closed_form_on_all_rows(rows):
    x, y = rows
    weight = np.random.default_rng(0).uniform(0.5, 2, size=300)
    learner = rt.BayesianLinear()
    learner.learn(rt.Batch(x, y=y, weight=weight))
    w, bias, left, inverse, mean = closed(x, y, weight, learner.prior)
    # Between choices the prior is in the unit of the variances as they were then, up to a quarter of the rows ago.
    np.testing.assert_allclose(learner.weights, w, rtol=1e-3, atol=1e-4)
    learner._choose()
    w, bias, left, inverse, mean = closed(x, y, weight, learner.prior)
    np.testing.assert_allclose(learner.weights, w, rtol=1e-7)
    np.testing.assert_allclose(learner.intercept, bias, rtol=1e-7)
    low, high = learner.interval(x[:5], coverage=0.9).T
    total = weight.sum()
    away = x[:5] - mean
    scale = np.sqrt(left / (total - 1) * (1 + 1 / total + np.einsum("nd,de,ne->n", away, inverse, away)))
    np.testing.assert_allclose(high - low, 2 * stats.t.ppf(0.95, total - 1) * scale, rtol=1e-4)


def test_row_by_row_it_stays_the_closed_form(rows):
    """Sherman and Morrison's formula from one choice of the prior to the next."""
    x, y = rows
    learner = rt.BayesianLinear(prior=2.0)
    learner.learn(rt.Batch(x[:240], y=y[:240]))
    learner._choose()
    learner._next = 10**9
    then = np.diag(x[:240].astype(float).var(axis=0))
    learner.learn(rt.Batch(x[240:], y=y[240:]))
    away = x.astype(float) - x.astype(float).mean(axis=0)
    product = away.T @ (y - y.mean())
    expected = np.linalg.solve(away.T @ away + 2.0 * then, product)
    np.testing.assert_allclose(learner.weights, expected, rtol=1e-7)
    left = ((y - y.mean()) ** 2).sum() - expected @ product
    np.testing.assert_allclose(learner.noise, np.sqrt(left / 299), rtol=1e-7)


def test_the_prior_is_where_the_evidence_is_greatest():
    """Against the marginal density of the labels, Student's, written down."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(40, 6)).astype(np.float32)
    y = 0.4 * x[:, 0] + rng.normal(size=40)
    learner = rt.BayesianLinear()
    learner.learn(rt.Batch(x, y=y))
    learner._choose()
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    q, _ = np.linalg.qr(np.c_[np.ones(40), np.eye(40)[:, 1:]])
    basis = q[:, 1:]  # the rows without their mean

    def evidence(prior):
        cover = basis.T @ (np.eye(40) + z @ z.T / prior) @ basis
        left = (basis.T @ y) @ np.linalg.solve(cover, basis.T @ y)
        hyper = stats.norm(scale=2 * np.log(10)).logpdf(np.log(prior))
        return -np.linalg.slogdet(cover)[1] / 2 - 39 / 2 * np.log(left) + hyper

    at = learner.prior
    assert evidence(at) > max(evidence(at * 10**0.25), evidence(at / 10**0.25))


def test_it_is_near_scikit_learns_bayesian_ridge(rows):
    x, y = rows
    learner = rt.BayesianLinear()
    learner.learn(rt.Batch(x, y=y))
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    model = BayesianRidge().fit(z, y)
    np.testing.assert_allclose(learner.weights * x.std(axis=0), model.coef_, atol=0.01)
    np.testing.assert_allclose(learner.noise, 1 / np.sqrt(model.alpha_), rtol=0.02)


def test_beside_river_on_scaled_rows(rows):
    """River's has a fixed prior and noise; where these are right and the mean is 0 the two learn the same line."""
    x, y = rows
    z = ((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float32)
    target = y - y.mean()
    model = rivers.BayesianLinearRegression(alpha=1.0, beta=1.0)
    for row, label in zip(z, target, strict=True):
        model.learn_one(dict(enumerate(row.tolist())), float(label))
    learner = rt.BayesianLinear(prior=1.0)
    learner.learn(rt.Batch(z, y=target))
    expected = [model.predict_one(dict(enumerate(row.tolist()))) for row in z]
    np.testing.assert_allclose(learner.predict(z), expected, atol=0.01)


@pytest.mark.parametrize("rows_seen", [4, 8, 30])
def test_intervals_hold_what_they_say(rows_seen):
    """Ten features, labels from the prior assumed: nine in ten next labels lie within, on few rows too."""
    inside = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(rows_seen + 1, 10)).astype(np.float32)
        y = x @ rng.normal(size=10) + rng.normal(size=rows_seen + 1)
        learner = rt.BayesianLinear(prior=1.0)
        learner.learn(rt.Batch(x[:-1], y=y[:-1]))
        low, high = rt.interval(learner, x[-1:], coverage=0.9)[0]
        inside += low < y[-1] < high
    assert 0.84 < inside / 300 < 0.96


def test_forgetting_follows_a_line_that_changes():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 3)).astype(np.float32)
    y = np.where(np.arange(2000) < 1000, x[:, 0], -x[:, 0]) + 0.1 * rng.normal(size=2000)
    keeps, forgets = rt.BayesianLinear(), rt.BayesianLinear(forgetting=0.98)
    keeps.learn(rt.Batch(x, y=y))
    forgets.learn(rt.Batch(x, y=y))
    assert abs(keeps.weights[0]) < 0.1
    np.testing.assert_allclose(forgets.weights, [-1, 0, 0], atol=0.05)


def test_it_is_the_weights_that_its_scores_answer_with(rows):
    x, y = rows
    learner = rt.BayesianLinear()
    learner.learn(rt.Batch(x, y=y))
    scores = learner.scores()
    np.testing.assert_allclose(x @ scores.weights[0] + scores.bias[0], learner.predict(x), rtol=1e-6)


def test_several_outputs_share_the_prior_and_not_the_noise(rows):
    x, y = rows
    learner = rt.BayesianLinear(prior=1.0)
    learner.learn(rt.Batch(x, y=np.c_[y, 10 * y]))
    one = rt.BayesianLinear(prior=1.0)
    one.learn(rt.Batch(x, y=y))
    np.testing.assert_allclose(learner.weights, np.c_[one.weights, 10 * one.weights], rtol=1e-7)
    np.testing.assert_allclose(learner.noise, [one.noise[0], 10 * one.noise[0]], rtol=1e-7)


@pytest.mark.parametrize("forgetting", [1.0, 0.9])
def test_numbers_and_weights_stay_finite(forgetting):
    rng = np.random.default_rng(4)
    x = rng.choice(np.float32([0, 0, 1, -1, 3e38, -3e38, 1e-45, 1e20]), size=(400, 6))
    x[:, 5] = 7.0  # constant
    y = rng.choice([0.0, 1.0, 1e-300, 3e38], size=400)
    for few in ([0.0, 1e-300, 1.0, 3e38], [1e-9, 1.0, 1e6]):
        learner = rt.BayesianLinear(forgetting=forgetting)
        assert np.isfinite(learner.learn(rt.Batch(x, y=y, weight=rng.choice(few, size=400)))).all()
        assert np.isfinite(learner.predict(x)).all()


def test_bad_settings_are_refused():
    for setting in ({"forgetting": 0.0}, {"prior": 0.0}, {"prior": -1.0}):
        with pytest.raises(SettingError):
            rt.BayesianLinear(**setting)
    with pytest.raises(SettingError, match="coverage"):
        rt.BayesianLinear().interval(np.ones((1, 2)), coverage=1.0)
