"""`FeCAM` beside the formulas of the paper, written out row by row; in any order, split and merge."""

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
    """Four classes of other shapes in five columns; class 3 comes in row 350."""
    rng = np.random.default_rng(0)
    y = np.r_[np.arange(350) % 3, np.arange(50) % 4]
    shape = rng.normal(size=(4, 5, 5))
    x = rng.normal(size=(4, 5))[y] + np.einsum("nd,nde->ne", rng.normal(size=(400, 5)), shape[y])
    return x.astype(np.float32), y


def by_the_paper(x, y, rows, *, shrinkage, power):
    """Squared distances (n, k) by the equations of Goswami et al., class by class and entry by entry."""

    def tukey(values):
        values = values.astype(np.float64)
        return np.sign(values) * np.abs(values) ** power

    out = np.full((len(rows), y.max() + 1), np.inf)
    for c in np.unique(y):
        mine = tukey(x[y == c])
        mean = mine.mean(axis=0)
        cov = np.cov(mine.T, bias=True)
        d = len(cov)
        off = ~np.eye(d, dtype=bool)
        shrunk = cov + shrinkage * cov[~off].mean() * np.eye(d) + shrinkage * cov[off].mean() * off
        deviation = np.sqrt(np.diag(shrunk))
        inverse = np.linalg.pinv(shrunk / np.outer(deviation, deviation))
        for i, row in enumerate(tukey(rows)):
            away = row / np.linalg.norm(row) - mean / np.linalg.norm(mean)
            out[i, c] = away @ inverse @ away
    return out


def taught(x, y, weight=None, **settings):
    learner = rt.FeCAM(**{"batch_size": 32, **settings})
    learner.learn(rt.Batch(x, y=y, weight=weight))
    learner.settle()
    return learner


@pytest.mark.parametrize("shrinkage", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("power", [0.5, 1.0])
def test_distances_are_those_of_the_paper(rows, shrinkage, power):
    x, y = rows
    learner = taught(x, y, shrinkage=shrinkage, power=power)
    distance = 5 * by_the_paper(x, y, x, shrinkage=shrinkage, power=power)
    # Features are bent in float32: 6e-8 of each, which the inverse of the correlations makes larger.
    np.testing.assert_allclose(rt.novelty(learner, x), distance.min(axis=1), rtol=1e-4, atol=1e-5)
    expected = np.exp((distance.min(axis=1, keepdims=True) - distance) / 2)
    np.testing.assert_allclose(learner.predict(x), expected / expected.sum(axis=1, keepdims=True), atol=1e-4)


@tries(max_examples=30)
@given(order=st.permutations(range(400)), cuts=st.lists(st.integers(0, 400), max_size=4).map(sorted))
def test_any_order_split_and_merge_ends_the_same(rows, order, cuts):
    x, y = rows
    weight = 0.5 + (np.arange(400) % 7)
    learners = []
    for part in np.split(np.array(order), cuts):
        learners.append(rt.FeCAM(batch_size=32))
        for half in np.array_split(part, 2):
            learners[-1].learn(rt.Batch(x[half], y=y[half], weight=weight[half]))
    whole, *others = learners
    for other in others:
        whole.merge(other)
    whole.settle()
    np.testing.assert_allclose(whole.predict(x), taught(x, y, weight).predict(x), atol=1e-8)


def test_rows_unlearnt_are_as_if_never_seen(rows):
    x, y = rows
    gone = (np.arange(400) % 3 == 1) | (y == 3)  # a class among them
    learner = taught(x, y)
    learner.unlearn(rt.Batch(x[gone], y=y[gone]))
    said, expected = learner.predict(x), taught(x[~gone], y[~gone]).predict(x)
    assert said.shape == (400, 4)
    assert not said[:, 3].any()
    np.testing.assert_allclose(said[:, :3], expected, atol=1e-8)
    before = state.encode(learner.state_dict())
    for bad in (rt.Batch(x[:1], y=np.array([3])), rt.Batch(x[:1], y=np.array([7]))):
        with pytest.raises(PoisonError, match="were learnt"):
            learner.unlearn(bad)
        assert state.encode(learner.state_dict()) == before


def test_a_new_class_leaves_the_distances_of_others_exactly_as_they_were(rows):
    x, y = rows
    learner = taught(x, y)
    before = learner.predict(x)
    rt.add_examples(learner, x[:5] + 3, label=4)
    after = learner.predict(x)[:, :4]
    np.testing.assert_allclose(after / after.sum(axis=1, keepdims=True), before, rtol=1e-12)


def test_a_class_without_spread_is_a_point(rows):
    learner = taught(np.float32([[1, 0, 0], [0, 1, 0]]), np.array([0, 2]))
    said = learner.predict(np.float32([[2, 0.1, 0], [0, 3, 0], [0, 0, 0]]))
    assert np.isfinite(said).all()
    assert said.argmax(axis=1).tolist() == [0, 2, 0]
    assert not said[:, 1].any()


def test_what_makes_no_sense_is_refused(rows):
    x, y = rows
    for settings in ({"shrinkage": -1}, {"power": 0}, {"power": 1.5}):
        with pytest.raises(SettingError, match="FeCAM got"):
            rt.FeCAM(**settings)
    with pytest.raises(SettingError, match="cannot merge"):
        taught(x, y).merge(rt.SLDA())
    with pytest.raises(PoisonError, match="whole class codes"):
        rt.FeCAM().learn(rt.Batch(x, y=y.astype(float)))
