"""`SLDA` and `NearestMean` beside scikit-learn's, on all rows at once; in any order, split and merge."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as tries
from hypothesis import strategies as st

import retain as rt
from retain import state
from retain.errors import PoisonError, SettingError


@pytest.fixture(scope="module")
def rows():
    """Four classes in six columns of sizes 0.1 to 10 and a mean of 30; class 2 comes in row 200, class 3 in 350."""
    rng = np.random.default_rng(0)
    y = np.r_[np.arange(200) % 2, np.arange(150) % 3, np.arange(50) % 4]
    centres = rng.normal(size=(4, 6))
    x = 30 + (centres[y] + rng.normal(size=(400, 6)) @ rng.normal(size=(6, 6)) / 2) * np.logspace(-1, 1, 6)
    return x.astype(np.float32), y


def taught(make, x, y, weight=None):
    learner = make()
    learner.learn(rt.Batch(x, y=y, weight=weight))
    learner.settle()
    return learner


MAKE = {
    "slda": lambda: rt.SLDA(batch_size=32),
    "slda, shares": lambda: rt.SLDA(batch_size=32, balanced=False, shrinkage=0.3),
    "nearest mean": lambda: rt.NearestMean(batch_size=32),
}


@pytest.mark.parametrize("shrinkage", [0.0, 1e-4, 0.3, 1.0])
@pytest.mark.parametrize("balanced", [False, True])
def test_scikit_learn_says_the_same_of_shared_covariance(rows, shrinkage, balanced):
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    x, y = rows
    share = np.bincount(y) / len(y)
    peer = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(x.astype(float), y)
    # Its covariance is a mean over classes weighted by their priors, so balance is a change of the scores alone.
    score = peer.decision_function(x.astype(float)) - (np.log(share) if balanced else 0)
    expected = np.exp(score - score.max(axis=1, keepdims=True))
    learner = taught(lambda: rt.SLDA(shrinkage=shrinkage, balanced=balanced, batch_size=32), x, y)
    np.testing.assert_allclose(learner.predict(x), expected / expected.sum(axis=1, keepdims=True), atol=1e-6)


def test_scikit_learn_finds_the_same_means_nearest(rows):
    from sklearn.neighbors import NearestCentroid

    x, y = rows
    learner = taught(MAKE["nearest mean"], x, y)
    peer = NearestCentroid().fit(x.astype(float), y)
    assert np.array_equal(learner.predict(x).argmax(axis=1), peer.predict(x.astype(float)))
    assert 0.3 < (learner.predict(x).argmax(axis=1) == y).mean() < 0.99


def test_probabilities_of_the_nearest_mean_are_those_of_one_variance(rows):
    x, y = rows
    wide = x.astype(float)
    mean = np.array([wide[y == c].mean(axis=0) for c in range(4)])
    variance = ((wide - mean[y]) ** 2).mean()
    score = -((wide[:, None] - mean) ** 2).sum(axis=2) / 2 / variance
    expected = np.exp(score - score.max(axis=1, keepdims=True))
    said = taught(MAKE["nearest mean"], x, y).predict(x)
    np.testing.assert_allclose(said, expected / expected.sum(axis=1, keepdims=True), atol=1e-9)


def test_novelty_is_the_distance_to_a_class_less_most_of_that_to_all_rows(rows):
    x, y = rows
    wide = x.astype(float)
    mean = np.array([wide[y == c].mean(axis=0) for c in range(4)])

    def square(away, covariance):
        return np.einsum("nd,de,ne->n", away, np.linalg.inv(covariance), away)

    def shrunk(covariance):
        return 0.7 * covariance + 0.3 * np.trace(covariance) / 6 * np.eye(6)

    def expected(within, around):
        nearest = np.min([square(wide - m, within) for m in mean], axis=0)
        return nearest - 0.9 * square(wide - wide.mean(axis=0), around)

    within, around = (np.cov(away.T, bias=True) for away in (wide - mean[y], wide))
    for balanced in (False, True):  # how frequent classes are is no matter of how new a row looks
        learner = taught(lambda b=balanced: rt.SLDA(shrinkage=0.3, balanced=b, batch_size=32), x, y)
        np.testing.assert_allclose(
            rt.novelty(learner, x), expected(shrunk(within), shrunk(around)), rtol=1e-6, atol=1e-6
        )
    within, around = (np.trace(covariance) / 6 * np.eye(6) for covariance in (within, around))
    found = rt.novelty(taught(MAKE["nearest mean"], x, y), x)
    np.testing.assert_allclose(found, expected(within, around), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", MAKE)
@tries(max_examples=30)
@given(order=st.permutations(range(400)), cuts=st.lists(st.integers(0, 400), max_size=4).map(sorted))
def test_any_order_split_and_merge_ends_the_same(rows, name, order, cuts):
    x, y = rows
    weight = 0.5 + (np.arange(400) % 7)
    learners = []
    for part in np.split(np.array(order), cuts):
        learners.append(MAKE[name]())
        for half in np.array_split(part, 2):
            learners[-1].learn(rt.Batch(x[half], y=y[half], weight=weight[half]))
    whole, *others = learners
    for other in others:
        whole.merge(other)
    whole.settle()
    np.testing.assert_allclose(whole.predict(x), taught(MAKE[name], x, y, weight).predict(x), atol=1e-8)


@pytest.mark.parametrize("name", MAKE)
def test_rows_unlearnt_are_as_if_never_seen(rows, name):
    x, y = rows
    gone = (np.arange(400) % 3 == 1) | (y == 3)  # a class among them
    learner = taught(MAKE[name], x, y)
    learner.unlearn(rt.Batch(x[gone], y=y[gone]))
    said, expected = learner.predict(x), taught(MAKE[name], x[~gone], y[~gone]).predict(x)
    assert said.shape == (400, 4)
    assert not said[:, 3].any()
    np.testing.assert_allclose(said[:, :3], expected, atol=1e-8)
    before = state.encode(learner.state_dict())
    with pytest.raises(PoisonError, match="were learnt"):
        learner.unlearn(rt.Batch(x[gone & (y == 3)], y=y[gone & (y == 3)]))
    assert state.encode(learner.state_dict()) == before


@pytest.mark.parametrize("name", MAKE)
def test_kinds_do_not_merge(rows, name):
    x, y = rows
    learner = taught(MAKE[name], x, y)
    with pytest.raises(SettingError, match="cannot merge"):
        learner.merge(taught(rt.Ridge, x, y))


@pytest.mark.parametrize("name", MAKE)
def test_one_row_of_each_class_is_enough_to_begin_with(name):
    learner = taught(MAKE[name], np.float32([[0, 0], [4, 0]]), np.array([0, 1]))
    said = learner.predict(np.float32([[1, 0], [3, 0]]))
    assert np.isfinite(said).all()
    if name == "nearest mean":  # a covariance knows nothing yet
        assert said.argmax(axis=1).tolist() == [0, 1]


def test_the_nearest_mean_keeps_no_products(rows):
    x, y = rows
    assert len(state.encode(taught(MAKE["nearest mean"], np.tile(x, 50), y).state_dict())) < 20_000


def test_what_makes_no_sense_is_refused(rows):
    x, y = rows
    with pytest.raises(SettingError, match="SLDA got shrinkage"):
        rt.SLDA(shrinkage=1.1)
    for make in (rt.SLDA, rt.NearestMean):
        with pytest.raises(PoisonError, match="whole class codes"):
            make().learn(rt.Batch(x, y=y.astype(float)))
