"""The forest: the mean of its trees, whatever runs beside what."""

import numpy as np
import pytest
from river import datasets, forest

import retain as rt
from retain.errors import SettingError
from retain.learners.draws import seeded
from retain.learners.ensemble import amf
from retain.learners.intake import Intake
from retain.learners.trees.mondrian_nodes import Growth, Lesson, Nodes


def rows(n, *, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3)).astype(np.float32)
    return x, ((x[:, 0] * x[:, 1] > 0) + 2 * (x[:, 2] > 1)).astype(np.int64)


def test_it_is_the_mean_of_its_trees():
    x, y = rows(300)
    said = rt.AMF(trees=4, seed=9).learn(rt.Batch(x, y=y))
    given = Intake("test").read(rt.Batch(x, y=y))
    total = np.zeros_like(said)
    for random in seeded(9, 4):
        own = np.zeros_like(said)
        Nodes(Growth("test", None, None, split_pure=False, scaled=True, max_bytes=10**7), np.array([random])).learn(
            Lesson.of(given), own
        )
        total += own
    np.testing.assert_allclose(said, total / 4, atol=1e-15)


@pytest.mark.parametrize("numbers", [False, True])
def test_threads_and_blocks_change_nothing(numbers, monkeypatch):
    """Blocks beyond those that are answered at a time, in which classes go on arriving."""
    x, y = rows(20_000)
    y = np.where(np.arange(len(y)) < 10_000, y % 2, y)
    batch = rt.Batch(x, y=y + 0.5 if numbers else y)
    one, four, parts = rt.AMF(3), rt.AMF(3), rt.AMF(3)
    monkeypatch.setattr(amf, "processors", lambda: 1)
    said = one.learn(batch)
    monkeypatch.setattr(amf, "processors", lambda: 4)
    assert np.array_equal(four.learn(batch), said)
    for i in range(0, len(x), 1500):
        piece = parts.learn(rt.Batch(x[i : i + 1500], y=batch.y[i : i + 1500]))
        known = piece.shape[1:] and slice(piece.shape[1])
        assert np.array_equal(piece, said[i : i + 1500, known] if known else said[i : i + 1500])
    assert np.array_equal(one.predict(x), parts.predict(x))
    assert one.nodes == four.nodes == parts.nodes


def test_it_is_as_often_right_as_river_on_phishing():
    """The same settings and rows: means over five seeds, whose deviation is about .005, differ by less than .01."""
    data = list(datasets.Phishing())
    x = np.array([list(row.values()) for row, _ in data], dtype=np.float32)
    y = np.array([int(label) for _, label in data])
    ours, theirs = [], []
    for seed in range(5):
        learner = rt.AMF(split_pure=True, scaled=False, step=1.0, dirichlet=0.5, seed=seed)
        ours.append((learner.learn(rt.Batch(x, y=y)).argmax(axis=1) == y).mean())
        river, right = forest.AMFClassifier(n_estimators=10, split_pure=True, seed=seed), 0
        for row, label in data:
            right += river.predict_one(row) == label
            river.learn_one(row, label)
        theirs.append(right / len(data))
    assert abs(np.mean(ours) - np.mean(theirs)) < 0.01
    assert np.mean(ours) > 0.89


def test_the_budget_is_that_of_all_trees():
    rng = np.random.default_rng(1)
    learner = rt.AMF(trees=5, max_bytes=300_000)
    for _ in range(5):
        x = rng.normal(size=(3000, 4)).astype(np.float32)
        learner.learn(rt.Batch(x, y=x.sum(axis=1)))
    assert 0.8 * 300_000 < learner.memory <= 300_000


def test_settings_out_of_range_are_refused():
    for bad in ({"trees": 0}, {"step": -1.0}, {"trees": 1000, "max_bytes": 10_000}):
        with pytest.raises(SettingError, match="AMF"):
            rt.AMF(**bad)
