"""Forests of trees of numbers."""

import numpy as np
import pytest

import retain as rt
from retain.errors import PoisonError, SettingError


def friedman(n, **settings):
    batches = list(rt.streams.Friedman(seed=1, n=n, **settings))
    return np.concatenate([b.x for b in batches]), np.concatenate([b.y for b in batches])


def learnt(made, x, y, *, block=500):
    return np.concatenate([made.learn(rt.Batch(x[i : i + block], y=y[i : i + block])) for i in range(0, len(x), block)])


def rmse(said, y):
    return np.sqrt(np.mean((said - y) ** 2))


@pytest.mark.parametrize(
    "make",
    [
        lambda trees: rt.ARF(trees, tree=rt.RegressionTree()),
        lambda trees: rt.LeveragingBagging(trees, tree=rt.RegressionTree()),
        lambda trees: rt.OnlineBagging(trees, tree=rt.RegressionTree()),
        lambda trees: rt.SRP(trees, tree=rt.RegressionTree(), features=0.99),
    ],
    ids=["arf", "leveraging", "bagging", "srp"],
)
def test_many_trees_are_better_than_one_of_them(make):
    x, y = friedman(6000)
    one, many = (rmse(learnt(make(trees), x, y)[1000:], y[1000:]) for trees in (1, 5))
    assert many < 0.95 * one


def test_what_members_say_counts_by_the_inverse_of_their_fading_squared_error():
    """Beside a slow reference: two forests of one tree each, and their mean by the errors they made."""
    x, y = friedman(800)
    both = rt.SRP(2, tree=rt.RegressionTree(), features=None, warning=0, drift=0)
    kept = [[], []]
    said = []
    for i in range(len(x)):
        pairs = both.state_dict()["pairs"]
        kept[0].append([pair["member"]["score"][0, 0] for pair in pairs] if pairs else [0.0, 0.0])
        kept[1].append([pair["member"]["score"][0, 1] for pair in pairs] if pairs else [0.0, 0.0])
        said.append(both.learn(rt.Batch(x[i : i + 1], y=y[i : i + 1]))[0])
    # Each member alone: a forest whose other member is never listened to.
    alone = []
    for m in range(2):
        forest = rt.SRP(2, tree=rt.RegressionTree(), features=None, warning=0, drift=0)
        numbers = []
        for i in range(len(x)):
            state = forest.state_dict()
            if state["pairs"]:
                state["pairs"][1 - m]["member"]["score"][:] = 0.0  # has not been asked yet
                listener = rt.SRP(2, tree=rt.RegressionTree(), features=None, warning=0, drift=0)
                listener.load_state_dict(state)
                numbers.append(listener.predict(x[i : i + 1])[0])
            else:
                numbers.append(0.0)
            forest.learn(rt.Batch(x[i : i + 1], y=y[i : i + 1]))
        alone.append(np.array(numbers))
    errors, weights = np.zeros(2), np.zeros(2)
    for i in range(2, len(x)):
        if i == 2:
            errors, weights = np.array(kept[0][2]), np.array(kept[1][2])
        trust = weights / errors
        expected = (trust * [alone[0][i], alone[1][i]]).sum() / trust.sum()
        assert said[i] == pytest.approx(expected, rel=1e-6)
        errors = 0.999 * errors + (y[i] - np.array([alone[0][i], alone[1][i]])) ** 2
        weights = 0.999 * weights + 1


@pytest.mark.parametrize("make", [rt.OnlineBagging, rt.LeveragingBagging, rt.ARF, rt.SRP])
def test_trees_that_have_learnt_nothing_have_no_vote(make):
    for seed in range(5):
        said = make(tree=rt.RegressionTree(), seed=seed).learn(
            rt.Batch(np.zeros((5, 2), dtype=np.float32), y=np.full(5, 1000.0))
        )
        assert said[0] == 0
        assert said[1:] == pytest.approx(1000)


def test_a_forest_that_begins_anew_does_not_say_zero():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 2)).astype(np.float32)
    y = 1000 + rng.normal(size=4000) + 50 * (np.arange(4000) >= 2000)
    said = learnt(rt.LeveragingBagging(tree=rt.RegressionTree()), x, y)
    assert said[10:].min() > 950


def test_a_forest_that_watches_itself_recovers_from_drift():
    x, y = friedman(6000)
    after, z = friedman(6000, roles=(4, 6, 2, 1, 3))
    errors = {}
    for name, watched in (("watching", {}), ("blind", {"warning": 0, "drift": 0})):
        forest = rt.ARF(5, tree=rt.RegressionTree(), **watched)
        learnt(forest, x, y)
        errors[name] = rmse(learnt(forest, after, z)[3000:], z[3000:])
    assert errors["watching"] < 0.8 * errors["blind"]


def test_labels_of_the_other_kind_are_refused_with_the_cure():
    x = np.zeros((4, 2), dtype=np.float32)
    with pytest.raises(PoisonError, match=r"class codes; expected numbers: tree=rt.HoeffdingTree\(\)"):
        rt.ARF(tree=rt.RegressionTree()).learn(rt.Batch(x, y=np.zeros(4, dtype=np.int64)))
    with pytest.raises(PoisonError, match=r"numbers; expected class codes: tree=rt.RegressionTree\(\)"):
        rt.ARF().learn(rt.Batch(x, y=np.zeros(4)))
    with pytest.raises(SettingError, match="tree=EFDT; expected a HoeffdingTree for classes, or a RegressionTree"):
        rt.ARF(tree=rt.EFDT())
