"""AROW, SCW, Newton steps and ALMA against plain Python written from the papers, and ALMA against River."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from river.linear_model import ALMAClassifier

import retain as rt
from retain.errors import SettingError


def csr(x):
    row, column = np.nonzero(x)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(x)))]).astype(np.int64)
    return rt.CSR(indptr, column.astype(np.int32), x[row, column], x.shape[1])


FORMS = pytest.mark.parametrize("form", [np.asarray, csr], ids=["dense", "sparse"])


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(3)
    x = (rng.normal(size=(400, 6)) * (rng.random((400, 6)) < 0.7)).astype(np.float32)
    y = (x @ rng.normal(size=6) + 0.3 * rng.normal(size=400) > 0.2).astype(np.int64)
    y[0] = 1
    weight = rng.uniform(0.3, 3, size=400)
    return x, y, weight


class Gaussian:
    """Weights with a variance each, by the paper's formulas of the whole matrix, then cut to the inverse's diagonal."""

    def __init__(self, step, d):
        self.step, self.w, self.cover = step, np.zeros(d), np.eye(d)

    def learn(self, x, y, v):
        x = np.r_[1.0, x.astype(float)]
        m = self.w @ x
        spread = x @ self.cover @ x
        a, surer = self.step(y * m, spread, v)
        if a > 0:
            self.w = self.w + a * y * self.cover @ x
            self.cover = np.diag(1 / np.diag(np.linalg.inv(self.cover) + surer * np.outer(x, x)))
        return m


def arow(r):
    """Crammer, Kulesza, Dredze 2009, figure 1; r / v where a row counts v times."""

    def step(m, spread, v):
        return max(0, 1 - m) / (spread + r / v), v / r if m < 1 else 0.0

    return step


def scw(confidence, c, squared):
    """Wang, Zhao, Hoi 2012, as a search for a: the least change that is worth its price."""
    phi = NormalDist().inv_cdf(confidence)

    def root(a, spread):
        far = a * spread * phi
        return (-far + math.sqrt(far * far + 4 * spread)) / 2

    def shortfall(a, m, spread):
        """After the step a, how much is missing; the margin is m + a V, its deviation root(a)."""
        return phi * root(a, spread) - m - a * spread

    def step(m, spread, v):
        if shortfall(0, m, spread) <= 0:
            return 0.0, 0.0
        low, high = 0.0, 1e6
        for _ in range(200):
            a = (low + high) / 2
            missing = shortfall(a, m, spread)
            # variant I: until nothing is missing, at most C; variant II: a is the price 2 C times what is missing
            low, high = (a, high) if missing > (a / (2 * c * v) if squared else 0) else (low, a)
        a = low if squared else min(low, c * v)
        return a, a * phi / root(a, spread)

    return step


@FORMS
@pytest.mark.parametrize("r", [1.0, 0.2])
def test_arow_is_the_paper(rows, r, form):
    check(rows, rt.AROW(r), Gaussian(arow(r), 7), form)


@FORMS
@pytest.mark.parametrize(("confidence", "c"), [(0.75, 0.1), (0.95, 2.0)])
@pytest.mark.parametrize("squared", [False, True])
def test_scw_is_the_least_change_that_is_worth_its_price(rows, confidence, c, squared, form):
    check(rows, rt.SCW(confidence, c, squared=squared), Gaussian(scw(confidence, c, squared), 7), form)


def check(rows, update, slow, form):
    x, y, weight = rows
    learner = rt.Linear(loss=rt.Hinge(), update=update)
    learner.learn(rt.Batch(form(x[:1]), y=y[:1], weight=np.zeros(1)))
    p = learner.learn(rt.Batch(form(x), y=y, weight=weight))
    expected = [slow.learn(*row) for row in zip(x, 2 * y - 1, weight, strict=True)]
    got = (np.log(p[1:, 1]) - np.log(p[1:, 0])) / 2
    np.testing.assert_allclose(got, expected[1:], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(learner.weights, slow.w[1:], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(learner.intercept, slow.w[:1], rtol=1e-6, atol=1e-9)


@FORMS
def test_newton_steps_are_their_docstring(rows, form):
    x, y, weight = rows
    learner = rt.Linear(loss=rt.Logistic(), update=rt.NewtonStep(0.7, 0.3))
    learner.learn(rt.Batch(form(x), y=y, weight=weight))
    w, curve = np.zeros(7), np.full(7, 0.3)
    for row, label, v in zip(np.c_[np.ones(400), x].astype(float), y, weight, strict=True):
        g = (1 / (1 + np.exp(-w @ row)) - label) * row
        curve += v * g * g
        w -= 0.7 * v * g / curve
    np.testing.assert_allclose(learner.weights, w[1:], rtol=1e-9)
    np.testing.assert_allclose(learner.intercept, w[:1], rtol=1e-9)


@FORMS
@pytest.mark.parametrize(("p", "alpha"), [(2.0, 0.9), (2.0, 0.4), (4.0, 0.8)])
def test_alma_is_the_paper(rows, p, alpha, form):
    x, y, weight = rows
    weight = 20 * weight  # steps so long that the scale is renewed
    learner = rt.Linear(loss=rt.Hinge(), update=rt.ALMA(p, alpha))
    learner.learn(rt.Batch(form(x), y=y, weight=weight))
    t, k, q, grown = np.zeros(7), 1.0, p / (p - 1), 1.0

    def primal(t):
        size = np.linalg.norm(t, p)
        return np.sign(t) * np.abs(t) ** (p - 1) / size ** (p - 2) if size else t

    for row, label, v in zip(np.c_[np.ones(len(x)), x].astype(float), 2 * y - 1, weight, strict=True):
        z = row / np.linalg.norm(row, p)
        if label * (primal(t) @ z) <= (1 - alpha) / alpha * math.sqrt((p - 1) / k):
            t = t + v * math.sqrt(2 / ((p - 1) * k)) * label * z
            grown *= max(1, np.linalg.norm(t, p))
            t /= max(1, np.linalg.norm(t, p))
            k += v
    assert 1 + learner._span[0, 4] < grown / 100
    w = primal(t)
    assert np.linalg.norm(w, q) <= 1 + 1e-9
    np.testing.assert_allclose(learner.weights, w[1:], rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(learner.intercept, w[:1], rtol=1e-7, atol=1e-10)
    scores = learner.scores()
    np.testing.assert_allclose(scores.weights[0], 2 * w[1:], rtol=1e-7, atol=1e-10)


def test_alma_is_rivers_on_rows_of_norm_one():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1000, 4))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    y = (x @ [1.0, -1.0, 0.5, 0.0] + 0.2 * rng.normal(size=1000) > 0).astype(np.int64)
    y[0] = 1
    model = ALMAClassifier()
    for row, label in zip(x.astype(float).tolist(), y.tolist(), strict=True):
        model.learn_one(dict(enumerate(row)), bool(label))
    learner = rt.Linear(loss=rt.Hinge(), update=rt.ALMA(), bias=False)
    learner.learn(rt.Batch(x, y=y))
    np.testing.assert_allclose(learner.weights, [model.w[i] for i in range(4)], rtol=1e-4)  # norms of float32 rows


@pytest.mark.parametrize("update", [rt.AROW(), rt.SCW(), rt.ALMA(), rt.ALMA(4.0)])
def test_more_classes_are_each_against_the_rest(rows, update):
    x, _, _ = rows
    y = np.argmax(x[:, :3], axis=1)
    learner = rt.Linear(loss=rt.Hinge(), update=update)
    first = np.r_[np.flatnonzero(y == 0)[:1], np.flatnonzero(y == 1)[:1], np.flatnonzero(y == 2)[:1]]
    learner.learn(rt.Batch(x[first], y=y[first], weight=np.full(3, 1e-12)))  # all are known from here
    learner.learn(rt.Batch(x, y=y))
    for c in range(3):
        alone = rt.Linear(loss=rt.Hinge(), update=update)
        alone.learn(rt.Batch(x[:1], y=np.array([1]), weight=np.full(1, 1e-12)))
        alone.learn(rt.Batch(x, y=(y == c).astype(np.int64)))
        np.testing.assert_allclose(learner.weights[c], alone.weights, rtol=1e-6, atol=1e-6)


def test_what_does_not_go_together_is_refused():
    for update in (rt.AROW(), rt.SCW(), rt.ALMA()):
        with pytest.raises(SettingError, match="Hinge"):
            rt.Linear(loss=rt.Logistic(), update=update)
        with pytest.raises(SettingError, match="penalties"):
            rt.Linear(loss=rt.Hinge(), update=update, l2=0.1)
    for make in (
        lambda: rt.AROW(0.0),
        lambda: rt.SCW(0.5),
        lambda: rt.SCW(0.9, 0.0),
        lambda: rt.ALMA(1.5),
        lambda: rt.ALMA(alpha=0.0),
        lambda: rt.NewtonStep(epsilon=0.0),
    ):
        with pytest.raises(SettingError):
            make()
