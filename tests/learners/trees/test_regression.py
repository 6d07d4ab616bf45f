"""Trees of numbers beside slow references written from the definitions, and beside River's."""

import math

import numpy as np
import pytest
from river import tree

import retain as rt
from retain.errors import PoisonError, SettingError


def learnt(made, x, y, *, weight=None, block=64):
    said = []
    for i in range(0, len(x), block):
        w = None if weight is None else weight[i : i + block]
        said.append(made.learn(rt.Batch(np.asarray(x[i : i + block], dtype=np.float32), y=y[i : i + block], weight=w)))
    return np.concatenate(said)


def best_cuts(x, y, branch):
    """Of each feature, the value up to which rows go left that parts the variance best: (merit, value)."""
    found = []
    for column in x.T:
        values = np.unique(column)
        merits = []
        for low in values[:-1]:
            left = column <= low
            if not min(left.mean(), 1 - left.mean()) > branch:
                continue
            within = left.mean() * y[left].var() + (1 - left.mean()) * y[~left].var()
            merits.append((y.var() - within, low))
        found.append(max(merits, default=(-math.inf, 0.0)))
    return found


@pytest.mark.parametrize("seed", range(8))
def test_a_leaf_splits_where_the_definition_says(seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 6, size=(400, 3)).astype(float)  # a bin to each value: the histogram knows all
    y = 1e3 + np.where(x[:, 1] > 2, 1.0, 0.0) + 0.8 * (x[:, 2] > 3) + rng.normal(size=400)
    made = rt.RegressionTree(leaf="mean", grace=20, delta=1e-2, tie=0.05, max_depth=1)
    expected = None
    for n in range(20, 401, 20):
        merits = best_cuts(x[:n], y[:n], 0.01)
        order = sorted(range(3), key=lambda j: -merits[j][0])
        slack = math.sqrt(math.log(1 / 1e-2) / (2 * n))
        if merits[order[1]][0] / merits[order[0]][0] < 1 - slack or slack < 0.05:
            expected = (n, order[0], merits[order[0]][1])
            break
    split = None
    for n in range(400):
        made.learn(rt.Batch(x[n : n + 1].astype(np.float32), y=y[n : n + 1]))
        if made.nodes > 1:
            kept = made.state_dict()["tree"]
            split = (n + 1, kept["test"][0], kept["value"][0])
            left = x[: n + 1, split[1]] <= split[2]
            assert made.predict(x[:1].astype(np.float32)) == pytest.approx(
                y[: n + 1][left == left[0]].mean(), rel=1e-12
            )
            break
    assert (*split[:2], math.floor(split[2])) == expected


def test_the_line_of_a_leaf_is_least_squares():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(300, 4)) @ rng.normal(size=(4, 4)) + 5).astype(np.float32)
    y = x @ rng.normal(size=4) + rng.normal(size=300)
    weight = rng.uniform(0.5, 2, size=300)
    made = rt.RegressionTree(leaf="line", max_depth=0)
    said = learnt(made, x, y, weight=weight)
    # The sums, solved anew for every row: products of how far a row is off the means of those before it.
    sums, right, penalty = np.zeros((4, 4)), np.zeros(4), np.zeros(4)
    z, expected = x.astype(float), np.zeros(300)
    for i in range(300):
        n = weight[:i].sum()
        mean = np.average(z[:i], axis=0, weights=weight[:i]) if i else np.zeros(4)
        centre = np.average(y[:i], weights=weight[:i]) if i else 0.0
        gap, off = z[i] - mean, y[i] - centre
        slope = np.linalg.solve(sums + np.diag(penalty), right) if penalty.all() else np.zeros(4)
        expected[i] = np.clip(centre + slope @ gap, y[:i].min(), y[:i].max()) if i else 0.0
        total = n + weight[i]
        if total >= 10:
            seen, w = z[: i + 1], weight[: i + 1]
            if not penalty.all():
                spread = np.average((seen - np.average(seen, axis=0, weights=w)) ** 2, axis=0, weights=w)
                penalty = spread + gap**2
            share = weight[i] * n / total
            sums += share * np.outer(gap, gap)
            right += share * gap * off
    np.testing.assert_allclose(said, expected, rtol=1e-9, atol=1e-9)


def test_beside_river_on_friedman():
    batches = list(rt.streams.Friedman(seed=1, n=8_000))
    x, y = np.concatenate([b.x for b in batches]), np.concatenate([b.y for b in batches])
    ours = learnt(rt.RegressionTree(), x, y, block=1000)
    peer, theirs = tree.HoeffdingTreeRegressor(), []
    for row, number in zip(x.tolist(), y.tolist(), strict=True):
        named = dict(enumerate(row))
        theirs.append(peer.predict_one(named))
        peer.learn_one(named, number)
    error, others = (np.sqrt(np.mean((said[1000:] - y[1000:]) ** 2)) for said in (ours, np.array(theirs)))
    assert error < 0.8 * others


def test_targets_far_from_zero_are_as_good():
    rng = np.random.default_rng(0)
    x = rng.random((3000, 3))
    y = np.sign(x[:, 0] - 0.5) + 0.1 * rng.normal(size=3000)
    for leaf in ("mean", "either"):
        near, far = (learnt(rt.RegressionTree(leaf=leaf), x, y + shift) - shift for shift in (0.0, 2.0**30))
        np.testing.assert_allclose(near[1:], far[1:], atol=1e-4)


def test_an_outlier_does_not_blind_a_leaf_for_good():
    rng = np.random.default_rng(0)
    x = rng.random((4000, 1))
    y = (x[:, 0] > 0.5).astype(float)
    x[5] = 1e12
    made = rt.RegressionTree(leaf="mean")
    assert np.abs(learnt(made, x, y) - y)[3000:].mean() < 0.1


@pytest.mark.parametrize("values", [[0.0, 1.0], [-3.0, 1e-30], [1e30, -1e30], [5.0, 5.0 + 2**-20]])
def test_two_values_are_told_apart_whatever_their_size(values):
    rng = np.random.default_rng(0)
    at = rng.integers(0, 2, size=600)
    x = np.array(values)[at][:, None]
    made = rt.RegressionTree(leaf="mean", grace=50)
    assert np.abs(learnt(made, x, at.astype(float)) - at)[300:].max() == 0.0


def test_nominal_features_are_split_by_value():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 7, size=(2000, 2)).astype(float)
    y = np.where(x[:, 1] == 3, 5.0, 1.0)
    made = rt.RegressionTree(leaf="mean", nominal=[1])
    assert np.abs(learnt(made, x, y) - y)[500:].max() == 0.0
    assert made.nodes == 3


def test_what_is_missing_goes_where_most_went():
    rng = np.random.default_rng(0)
    x = rng.random((2000, 1))
    y = np.where(x[:, 0] > 0.3, 1.0, 0.0)
    made = rt.RegressionTree(leaf="mean", max_depth=1)
    learnt(made, x, y)
    assert made.predict(np.full((1, 1), np.nan, dtype=np.float32)) > 0.9


def test_memory_stays_within_its_budget():
    batches = rt.streams.Friedman(seed=1, n=20_000)
    free, bound = rt.RegressionTree(), rt.RegressionTree(max_bytes=100_000)
    for batch in batches:
        free.learn(batch)
        bound.learn(batch)
        assert bound.memory <= 100_000
    assert free.memory > 200_000


def test_many_features_have_lines_too():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 40))
    y = x @ rng.normal(size=40)
    said = learnt(rt.RegressionTree(max_depth=0), x, y)
    assert np.abs(said - y)[2000:].mean() < 0.3 * np.abs(y).mean()


def test_wider_rows_go_on():
    schema = rt.Schema()
    rng = np.random.default_rng(0)
    x = rng.random((3000, 40)).astype(np.float32)
    y = x[:, 0] + 3.0 * x[:, 35] * (x[:, 2] > 0.5)
    for leaf in ("mean", "either"):
        made = rt.RegressionTree(leaf=leaf)
        made.learn(rt.Batch(x[:500, :3], y=y[:500], schema=schema))
        said = made.learn(rt.Batch(x[500:], y=y[500:], schema=schema))
        assert np.abs(said - y[500:])[2000:].mean() < 0.6 * np.abs(y - y.mean()).mean()


def test_class_codes_and_several_outputs_are_refused():
    x = np.zeros((4, 2), dtype=np.float32)
    with pytest.raises(PoisonError, match=r"class codes; expected numbers: rt.HoeffdingTree\(\)"):
        rt.RegressionTree().learn(rt.Batch(x, y=np.zeros(4, dtype=np.int64)))
    with pytest.raises(PoisonError, match="2 numbers to a row"):
        rt.RegressionTree().learn(rt.Batch(x, y=np.zeros((4, 2))))
    with pytest.raises(SettingError, match="leaf='bayes'; expected 'mean', 'line', 'either'"):
        rt.RegressionTree(leaf="bayes")
