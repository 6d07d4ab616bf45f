"""A learner is taught by another: by what it says of rows, and by rows that are remembered only."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'retain[torch]'")

import retain as rt  # noqa: E402 - after the skip
from retain import state  # noqa: E402
from retain.compression import Distil, Draft, Lessons  # noqa: E402
from retain.compression.steps.distil import Taught  # noqa: E402
from retain.core import Forward, Rows  # noqa: E402
from retain.errors import SettingError  # noqa: E402
from retain.memory import ClassBalanced  # noqa: E402
from retain.strategies import EMA, Replay  # noqa: E402

torch.set_num_threads(1)
X = np.random.default_rng(0).normal(size=(600, 2)).astype(np.float32)


class Says:
    """A teacher that says the same of every row."""

    def __init__(self, said):
        self.said = np.asarray(said, dtype=np.float32)

    def predict(self, x):
        return np.tile(self.said, (len(x), *[1] * self.said.ndim))


def rate(learner, x):
    return learner.predict(x).mean(0)


def test_it_says_what_the_teacher_says_and_not_what_labels_do():
    learner = rt.Neural(rt.neural.MLP(2, 16, 3), batch_size=10)
    batch = rt.Batch(X, y=np.arange(600) % 3)
    learner.learn(batch)
    before = state.encode(learner.state_dict())
    lessons = Lessons([batch], teacher=Says([0.7, 0.2, 0.1]))
    small = Distil(passes=4, rate=0.01, strength=50.0)(Draft(learner), lessons).learner
    np.testing.assert_allclose(rate(small, X), [0.7, 0.2, 0.1], atol=0.03)
    assert state.encode(learner.state_dict()) == before
    assert small.steps == learner.steps


def test_old_rows_come_from_the_memory():
    """The lessons are of the new class only; a learner without a memory forgets the old one."""
    kept = []
    for size in (100, 0):
        strategies = [Replay(ClassBalanced(size), size=10)] if size else []
        learner = rt.Neural(rt.neural.MLP(2, 16, 2), batch_size=10, strategies=strategies)
        x = np.concatenate([X - 2, X + 2])
        old, new = rt.Batch(X - 2, y=np.zeros(600, int)), rt.Batch(X + 2, y=np.ones(600, int))
        order = np.random.default_rng(0).permutation(1200)
        learner.learn(rt.Batch(x[order], y=(order >= 600).astype(int)))
        small = Distil(passes=5, rate=0.03, strength=1e-6)(Draft(learner), Lessons([new], teacher=learner)).learner
        kept.append(float(small.predict(old.x)[:, 0].mean()))
        if size:
            assert len(small.strategies[0].memory) == len(learner.strategies[0].memory)
    assert kept[0] > 0.95
    assert kept[1] < 0.8


def test_numbers():
    learner = rt.Neural(rt.neural.MLP(2, 16, 1), criterion=rt.neural.Squared(), batch_size=10)
    batch = rt.Batch(X, y=X[:, 0])
    learner.learn(batch)
    small = Distil(passes=6, rate=0.03, strength=20.0)(Draft(learner), Lessons([batch], teacher=Says(3.0))).learner
    assert abs(small.predict(X).mean() - 3 * 20 / 21) < 0.2


@pytest.mark.parametrize("classes", [0, 3])
def test_slope_is_the_gradient_of_the_loss(classes):
    class Model:
        def __init__(self):
            self.classes = classes

    weight = torch.tensor([1.0, 2.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    rows = Rows(torch.randn(5, 2), torch.zeros(5, dtype=torch.int64), weight)
    said = [0.5, 0.3, 0.2] if classes else [0.5, -3.0, 2.0]
    taught = Taught(Says(said), None, size=1, strength=1.7, temperature=2.5, seed=0)
    output = torch.randn(5, 3, dtype=torch.float64)

    def loss(output):
        return taught.slope(Model(), Forward(rows, output), own=None).loss

    slope = taught.slope(Model(), Forward(rows, output), own=None).new
    for i in range(5):
        for j in range(3):
            step = torch.zeros_like(output)
            step[i, j] = 1e-5
            assert abs(float((loss(output + step) - loss(output - step)) / 2e-5 - slope[i, j])) < 1e-5
    assert float(loss(output)) > 0


def test_averages_begin_with_what_was_found():
    learner = rt.Neural(rt.neural.MLP(2, 16, 2), batch_size=10, averaging=EMA())
    batch = rt.Batch(X, y=(X[:, 0] > 0).astype(int))
    learner.learn(batch)
    small = Distil()(Draft(learner), Lessons([batch], teacher=learner)).learner
    np.testing.assert_array_equal(small.state_dict()["averaging"]["average"], small.model.weights)


def test_bad_settings_and_lessons():
    for wrong in ({"passes": 0}, {"rate": 0.0}, {"strength": -1.0}, {"temperature": float("nan")}):
        with pytest.raises(SettingError, match="expected at least one pass"):
            Distil(**wrong)
    learner = rt.Neural(rt.neural.MLP(2, 4, 2))
    learner.learn(rt.Batch(X, y=np.zeros(600, int)))
    for batches in ([], [rt.Batch(X)], [rt.Batch(X, y=np.full(600, 7))]):
        with pytest.raises(SettingError, match="no row with a label that the learner knows"):
            Distil()(Draft(learner), Lessons(batches, teacher=learner))
