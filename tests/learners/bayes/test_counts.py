"""Naive Bayes on counts against scikit-learn and River, each on the same rows, after every row."""

from dataclasses import replace

import numpy as np
import pytest
from river import naive_bayes
from sklearn import naive_bayes as theirs

import retain as rt
from retain.errors import PoisonError, SettingError


def csr(x):
    row, column = np.nonzero(x)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(x)))]).astype(np.int64)
    return rt.CSR(indptr, column.astype(np.int32), x[row, column], x.shape[1])


@pytest.fixture(scope="module")
def rows():
    """Counts of 13 features in 3 classes; the first row has them all, so that all are known from then on."""
    rng = np.random.default_rng(4)
    rate = rng.gamma(0.5, size=(3, 13))
    y = rng.choice(3, size=250, p=[0.5, 0.3, 0.2])
    y[:3] = [0, 1, 2]
    x = rng.poisson(rate[y]).astype(np.float32)
    x[0] = 1
    return x, y


PAIRS = {
    "multinomial": (rt.MultinomialNB, theirs.MultinomialNB),
    "complement": (rt.ComplementNB, theirs.ComplementNB),
    "bernoulli": (rt.BernoulliNB, theirs.BernoulliNB),
}


@pytest.mark.parametrize("form", [np.asarray, csr], ids=["dense", "sparse"])
@pytest.mark.parametrize("alpha", [1.0, 0.1])
@pytest.mark.parametrize("name", PAIRS)
def test_it_is_scikit_learns_after_every_row(rows, name, alpha, form):
    x, y = rows
    weight = np.random.default_rng(0).uniform(0.5, 2, size=250)
    ours, model = PAIRS[name][0](alpha=alpha), PAIRS[name][1](alpha=alpha)
    said = ours.learn(rt.Batch(form(x), y=y, weight=weight))
    for i in range(249):
        model.partial_fit(x[i : i + 1].astype(float), y[i : i + 1], classes=[0, 1, 2], sample_weight=weight[i : i + 1])
        if i >= 2:  # scikit-learn knows all classes from the beginning
            expected = model.predict_proba(x[i + 1 : i + 2].astype(float))[0]
            np.testing.assert_allclose(said[i + 1], expected, rtol=1e-9, atol=1e-12)


def test_complement_is_rivers(rows):
    x, y = rows
    ours, model = rt.ComplementNB(), naive_bayes.ComplementNB(alpha=1)
    ours.learn(rt.Batch(x, y=y))
    for row, label in zip(x, y, strict=True):
        model.learn_one({str(j): int(v) for j, v in enumerate(row) if v}, int(label))
    told = [model.joint_log_likelihood({str(j): int(v) for j, v in enumerate(row) if v}) for row in x]
    score = np.array([[t[c] for c in range(3)] for t in told])
    score = np.exp(score - score.max(axis=1, keepdims=True))
    np.testing.assert_allclose(ours.predict(x), score / score.sum(axis=1, keepdims=True), rtol=1e-9)


@pytest.mark.parametrize("name", PAIRS)
def test_forgetting_is_a_weight_that_fades(rows, name):
    x, y = rows
    make = PAIRS[name][0]
    ours, weighted = make(forgetting=0.3), make()  # so little is left that counts are renewed on the way
    ours.learn(rt.Batch(x, y=y))
    fading = 0.3 ** np.arange(249, -1, -1.0)
    weighted.learn(rt.Batch(x[-30:], y=y[-30:], weight=fading[-30:]))
    known = x[-30:].sum(axis=0) > 0
    assert known.all()
    np.testing.assert_allclose(ours.predict(x), weighted.predict(x), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("name", PAIRS)
def test_what_never_came_tells_nothing(rows, name):
    x, y = rows
    x = x.copy()
    x[:, 5] = 0
    make = PAIRS[name][0]
    ours, without = make(), make()
    ours.learn(rt.Batch(csr(x), y=y))
    without.learn(rt.Batch(np.delete(x, 5, axis=1), y=y))
    asked = x.copy()
    asked[:, 5] = 3
    np.testing.assert_allclose(ours.predict(csr(asked)), without.predict(np.delete(x, 5, axis=1)), rtol=1e-12)


@pytest.mark.parametrize("name", PAIRS)
def test_sparse_rows_may_become_wider_in_any_block(rows, name):
    x, y = rows
    whole, parts = PAIRS[name][0](), PAIRS[name][0]()
    x = x.copy()
    x[:100, 9:] = 0
    expected = whole.learn(rt.Batch(csr(x), y=y))
    narrow = replace(csr(x[:100]), width=9)
    got = np.concatenate([parts.learn(rt.Batch(narrow, y=y[:100])), parts.learn(rt.Batch(csr(x[100:]), y=y[100:]))])
    assert (got == expected).all()


def test_balanced_leaves_the_priors_out(rows):
    x, y = rows
    ours, model = rt.MultinomialNB(balanced=True), theirs.MultinomialNB(fit_prior=False)
    ours.learn(rt.Batch(x, y=y))
    np.testing.assert_allclose(ours.predict(x), model.fit(x.astype(float), y).predict_proba(x.astype(float)), rtol=1e-9)


@pytest.mark.parametrize("forgetting", [1.0, 0.5])
@pytest.mark.parametrize("name", PAIRS)
def test_numbers_and_weights_stay_finite(name, forgetting):
    rng = np.random.default_rng(4)
    x = rng.choice(np.float32([0, 0, 1, 3e38, 1e-45, 1e20]), size=(400, 6))
    for few in ([0.0, 1e-300, 1.0, 3e38], [1e-9, 1.0, 1e6]):
        learner = PAIRS[name][0](forgetting=forgetting)
        y, weight = rng.integers(0, 3, size=400), rng.choice(few, size=400)
        assert np.isfinite(learner.learn(rt.Batch(x, y=y, weight=weight))).all()
        assert np.isfinite(learner.predict(x)).all()


def test_bad_settings_and_rows_are_refused():
    for name in PAIRS:
        with pytest.raises(SettingError):
            PAIRS[name][0](alpha=0.0)
        with pytest.raises(SettingError):
            PAIRS[name][0](forgetting=0.0)
    with pytest.raises(SettingError, match="threshold"):
        rt.BernoulliNB(threshold=-1.0)
    for make in (rt.MultinomialNB, rt.ComplementNB):
        with pytest.raises(PoisonError, match=r"-1\.0 in row 1, column 2"):
            make().learn(rt.Batch(np.float32([[0, 1, 1], [1, 0, -1]]), y=np.array([0, 1])))
