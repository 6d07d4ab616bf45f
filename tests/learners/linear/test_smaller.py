"""Weights that go and features that fall together."""

import numpy as np
import pytest

import retain as rt
from retain.errors import SettingError

UPDATES = {"adaptive": rt.Adaptive(), "sgd": rt.SGD(0.1), "ftrl": rt.FTRL(alpha=0.5)}


def rows(n=600, d=16, seed=0, classes=2):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)).astype(np.float32) * (rng.random((n, d)) < 0.4)
    return rt.Batch(x, y=(x @ np.linspace(-1, 1, d * classes).reshape(d, classes)).argmax(1))


def learnt(name, **settings):
    learner = rt.Linear(loss=rt.Logistic(), update=UPDATES[name], **settings)
    learner.learn(rows())
    return learner


@pytest.mark.parametrize("name", UPDATES)
def test_weights_that_go_are_0_and_the_rest_and_the_learner_stay(name):
    learner = learnt(name)
    before = learner.weights.copy()
    gone = np.zeros((1, 16), dtype=bool)
    gone[0, ::2] = True
    less = learner.truncated(gone)
    np.testing.assert_array_equal(less.weights, np.where(gone[0], 0, before))
    np.testing.assert_array_equal(learner.weights, before)
    less.learn(rows(seed=1))
    assert np.count_nonzero(less.weights) == 16  # they may come back


def test_ftrl_needs_as_much_as_of_a_new_feature_to_bring_a_weight_back():
    learner = learnt("ftrl", l1=2.0)
    first = int(np.abs(learner.weights).argmax())
    less = learner.truncated(np.arange(16)[None] == first)
    assert abs(less.state_dict()["slots"][1, first]) == 2.0
    less.learn(rt.Batch(rows(seed=1).x[:1] * 0, y=np.ones(1, dtype=int)))
    assert less.weights[first] == 0.0


def test_effects_count_how_often_a_feature_came():
    """Two weights of one size: the one whose feature comes ten times as often moves more."""
    rng = np.random.default_rng(0)
    x = (rng.random((4000, 2)) < [0.5, 0.05]).astype(np.float32)
    batch = rt.Batch(x, y=(rng.random(4000) < 1 / (1 + np.exp(1 - 2 * x.sum(1)))).astype(int))
    for update in (rt.Adaptive(), rt.FTRL()):
        learner = rt.Linear(loss=rt.Logistic(), update=update)
        learner.learn(batch)
        effect, weight = learner.effects()[0], learner.weights
        assert effect[0] / effect[1] > 2 * weight[0] / weight[1]
    plain = rt.Linear(loss=rt.Logistic(), update=rt.SGD())
    plain.learn(batch)
    np.testing.assert_array_equal(plain.effects()[0], np.abs(plain.weights))


def test_ftrl_that_falls_together_has_the_sums_of_both():
    learner = learnt("ftrl", l1=0.5, l2=0.3)
    _, z, n = learner.state_dict()["slots"]
    less = learner.folded(4)
    w, zs, ns = less.state_dict()["slots"]
    np.testing.assert_allclose(zs, z.reshape(4, 4).sum(0))
    np.testing.assert_allclose(ns, n.reshape(4, 4).sum(0))
    lead = -(zs - np.sign(zs) * 0.5) / ((1 + np.sqrt(ns)) / 0.5 + 0.3)
    np.testing.assert_allclose(w, np.where(np.abs(zs) <= 0.5, 0, lead))


@pytest.mark.parametrize("name", ["adaptive", "sgd"])
def test_others_become_a_mean_that_lies_between(name):
    learner = learnt(name)
    parts = learner.weights.reshape(4, 4)
    less = learner.folded(4)
    assert (less.weights > parts.min(0)).all()
    assert (less.weights < parts.max(0)).all()
    if name == "sgd":
        np.testing.assert_allclose(less.weights, (parts * np.abs(parts)).sum(0) / np.abs(parts).sum(0))
    else:
        slots, old = less.state_dict()["slots"], learner.state_dict()["slots"]
        np.testing.assert_array_equal(slots[0], old[0].reshape(4, 4).max(0))
        np.testing.assert_allclose(slots[0] * slots[1], 1)
        share = np.sqrt(old[3]).reshape(4, 4)
        np.testing.assert_allclose(less.weights, (parts * share).sum(0) / share.sum(0))


@pytest.mark.parametrize("name", UPDATES)
def test_a_width_that_is_no_multiple_and_many_outputs(name):
    learner = rt.Linear(loss=rt.Multinomial(), update=UPDATES[name])
    learner.learn(rows(classes=3))
    less = learner.folded(5)
    assert less.weights.shape == (3, 5)
    less.learn(rt.Batch(rows().x[:, :5], y=rows(classes=3).y))
    assert np.isfinite(less.predict(rows().x[:, :5])).all()
    np.testing.assert_allclose(learner.folded(16).weights, learner.weights)


def test_bets_are_refused():
    learner = rt.Linear(update=rt.Coin())
    learner.learn(rows())
    for ask in (learner.effects, lambda: learner.folded(4)):
        with pytest.raises(SettingError, match=r"got Coin\(.*whose bets follow from sums; expected Adaptive"):
            ask()
