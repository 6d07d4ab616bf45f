"""Boosted trees beside a slow reference: trees of depth 0 are running means, so that boosting is all that is left."""

import numpy as np
import pytest

import retain as rt
from retain import state
from retain.errors import PoisonError, SettingError
from retain.learners.ensemble import sgbt

FLAT = {"features": None, "warning": 0, "drift": 0}


def learnt(made, x, y, *, weight=None, block=100):
    said = []
    for i in range(0, len(x), block):
        w = None if weight is None else weight[i : i + block]
        said.append(made.learn(rt.Batch(x[i : i + block], y=y[i : i + block], weight=w)))
    return np.concatenate(
        [np.pad(s, ((0, 0), (0, said[-1].shape[1] - s.shape[1]))) if s.ndim == 2 else s for s in said]
    )


def softmax(margins):
    odds = np.exp(margins - margins.max())
    return odds / odds.sum()


def boosted_means(y, weight, *, stages, rate, classes):
    """What SGBT says of rows without features, from the definition."""
    weights, means = np.zeros((stages, classes)), np.zeros((stages, classes))
    said, known = np.zeros((len(y), classes)), 0
    for i, (label, w) in enumerate(zip(y, weight, strict=True)):
        said[i, :known] = softmax(rate * means.sum(axis=0)[:known]) if known else 0
        known = max(known, label + 1)
        margin = np.zeros(classes)
        for s in range(stages):
            p = softmax(margin[:known])
            for c in range(0 if known >= 3 else 1, known):
                h = max(p[c] * (1 - p[c]), 0.05)
                weights[s, c] += w * h
                means[s, c] += (((c == label) - p[c]) / h - means[s, c]) * w * h / weights[s, c]
            margin = margin + rate * means[s]
    return said


@pytest.mark.parametrize("classes", [2, 4])
def test_margins_targets_and_weights_are_those_of_the_definition(classes):
    rng = np.random.default_rng(0)
    y = np.minimum(rng.integers(0, classes, size=300), np.arange(300) // 40)  # classes come one after the other
    weight = rng.uniform(0.5, 2, size=300)
    tree = rt.RegressionTree(leaf="mean", max_depth=0)
    made = rt.SGBT(5, tree=tree, learning_rate=0.3, **FLAT)
    said = learnt(made, np.zeros((300, 1), dtype=np.float32), y, weight=weight)
    expected = boosted_means(y, weight, stages=5, rate=0.3, classes=classes)
    np.testing.assert_allclose(said, expected, rtol=1e-9, atol=1e-12)


def test_numbers_are_what_trees_leave_of_them():
    rng = np.random.default_rng(0)
    y, rate, stages = 50 + rng.normal(size=200), 0.3, 5
    made = rt.SGBT(stages, tree=rt.RegressionTree(leaf="mean", max_depth=0), learning_rate=rate, **FLAT)
    said = learnt(made, np.zeros((200, 1), dtype=np.float32), y)
    means, expected = np.zeros(stages), np.zeros(200)
    for i in range(200):
        centre = later = y[:i].mean() if i else 0.0
        expected[i] = centre + rate * means.sum()
        for s in range(stages):
            means[s] += (y[i] - later - means[s]) / (i + 1)
            later += rate * means[s]
    np.testing.assert_allclose(said, expected, rtol=1e-9)


def test_more_trees_are_better():
    batches = list(rt.streams.Friedman(seed=1, n=5_000))
    x, y = np.concatenate([b.x for b in batches]), np.concatenate([b.y for b in batches])
    few, many = (np.abs(learnt(rt.SGBT(trees), x, y) - y)[500:].mean() for trees in (3, 30))
    assert many < 0.6 * few


def test_drift_is_followed():
    rng = np.random.default_rng(0)
    x = rng.random((8000, 4)).astype(np.float32)
    y = (x[:, 0] + x[:, 1] > 1).astype(np.int64)
    y[4000:] = 1 - y[4000:]
    wrong = {}
    for name, watched in (("watching", {}), ("blind", {"warning": 0, "drift": 0})):
        said = learnt(rt.SGBT(20, **watched), x, y)
        wrong[name] = (said.argmax(axis=1) != y)[5000:].mean()
    assert wrong["watching"] < 0.6 * wrong["blind"]


def test_memory_stays_within_the_budget_of_its_trees():
    rng = np.random.default_rng(0)
    x = rng.random((6000, 4)).astype(np.float32)
    y = (rng.random(6000) < x[:, 0]).astype(np.int64)
    made = rt.SGBT(5, tree=rt.RegressionTree(grace=5, delta=0.5, tie=0.5, max_bytes=50_000))
    learnt(made, x, y)
    assert 5 * 25_000 < made.memory <= 2 * 2 * 5 * 50_000


def test_detectors_count_as_memory():
    made = rt.SGBT(3)
    made.learn(rt.Batch(np.zeros((4, 2), dtype=np.float32), y=np.array([0, 1, 0, 1])))
    pairs = [pair for pairs in made._pairs for pair in pairs]
    arrays = sum(array.nbytes for pair in pairs for array in pair.member)
    assert arrays > 6 * 8_000
    trees = sum(pair._kind.room.memory(tree, pair._layout) for pair in pairs for tree in pair._trees)
    assert made.memory == arrays + trees


def test_a_class_whose_trees_do_not_fit_into_memory_is_not_known(monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2)).astype(np.float32)
    made = rt.SGBT(2)
    made.learn(rt.Batch(x, y=(x[:, 0] > 0).astype(np.int64)))
    before, saved = made.predict(x), state.encode(made.state_dict())

    def no_room(*_, **__):
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(sgbt, "Pair", no_room)
        with pytest.raises(MemoryError):
            made.learn(rt.Batch(x[:1], y=np.array([5])))
    assert made.predict(x).shape == (60, 2)
    np.testing.assert_array_equal(made.predict(x), before)
    assert state.encode(made.state_dict()) == saved
    assert made.learn(rt.Batch(x[:1], y=np.array([2]))).shape == (1, 3)


def test_odd_settings_and_labels_are_refused():
    with pytest.raises(SettingError, match="trees=0; expected at least one"):
        rt.SGBT(0)
    with pytest.raises(SettingError, match="learning_rate=2"):
        rt.SGBT(learning_rate=2)
    made = rt.SGBT(2)
    made.learn(rt.Batch(np.zeros((4, 2), dtype=np.float32), y=np.zeros(4)))
    with pytest.raises(PoisonError, match="after numbers"):
        made.learn(rt.Batch(np.zeros((4, 2), dtype=np.float32), y=np.zeros(4, dtype=np.int64)))
    with pytest.raises(PoisonError, match="2 numbers to a row"):
        rt.SGBT(2).learn(rt.Batch(np.zeros((4, 2), dtype=np.float32), y=np.zeros((4, 2))))
