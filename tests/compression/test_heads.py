"""Learners with heads as graphs: what the head answers by is in them, and is renewed."""

import numpy as np
import pytest
import torch
from tests.compression.nets import Residual, rows

import retain as rt
from retain.compression import Artifact, Half, Int8, Shrink
from retain.compression.forms import Graph
from retain.compression.graph import exported, initialisers
from retain.compression.session import parsed
from retain.errors import SettingError
from retain.memory import ClassBalanced
from retain.strategies import EMA, BiC, NearestMean, Replay, Solved


def nearest(replay, average):
    return NearestMean(replay.memory)


def corrected(replay, average):
    return BiC(ClassBalanced(40))


def solved(make, *, slow=False):
    return lambda replay, average: Solved(make, replay.memory, slow=average if slow else None)


HEADS = {
    "nearest mean": nearest,
    "bias": corrected,
    "slda": solved(lambda: rt.SLDA(batch_size=32)),
    "slda on averages": solved(lambda: rt.SLDA(batch_size=32), slow=True),
    "ridge": solved(lambda: rt.Ridge(balanced=True, batch_size=32)),
    "linear": solved(lambda: rt.Linear(loss=rt.Logistic(), update=rt.FTRL())),
}


def slow(head):
    """An export takes seconds."""
    return pytest.param(head, marks=pytest.mark.slow)


def blank(head, *, width=64, outputs=6):
    """More outputs than classes; averaged weights, by which most heads do not answer."""
    replay, average = Replay(ClassBalanced(100), size=16), EMA(decay=0.9)
    module = rt.neural.MLP(32, width, outputs)
    return rt.Neural(module, strategies=[replay], averaging=average, head=HEADS[head](replay, average), batch_size=16)


def live(learner, classes, *, seed):
    batch = rows(640, seed=seed)
    batch = rt.Batch(batch.x, y=np.where(np.isin(batch.y, classes), batch.y, -1))
    learner.learn(batch)
    learner.consolidate([batch])


def lived(head, *, ends=((0, 1), (2, 3))):
    learner = blank(head)
    for seed, classes in enumerate(ends):
        live(learner, classes, seed=seed)
    return learner


@pytest.mark.parametrize("head", HEADS)
def test_a_graph_answers_as_the_head_does_and_is_renewed(head) -> None:
    learner, x = lived(head), rows(200, seed=9).x
    graph = Graph.of(learner, x[:50], threads=1)
    np.testing.assert_allclose(graph.predict(x), learner.predict(x), atol=1e-4)
    before = graph.predict(x)
    live(learner, (0, 2), seed=5)
    graph = graph.renewed(learner, None)
    assert np.abs(graph.predict(x) - before).max() > 0.01
    np.testing.assert_allclose(graph.predict(x), learner.predict(x), atol=1e-4)


@pytest.mark.parametrize("head", ["nearest mean", slow("slda"), "bias"])
def test_classes_that_come_later_have_their_place(head) -> None:
    """In the first graph they have no mean, no weights, or no correction."""
    learner, x = lived(head, ends=[(0, 1)]), rows(200, seed=9).x
    graph = Graph.of(learner, x, threads=1)
    live(learner, (2, 3), seed=5)
    graph = graph.renewed(learner, None)
    assert graph.predict(x).shape == (200, 4)
    np.testing.assert_allclose(graph.predict(x), learner.predict(x), atol=1e-4)


def test_a_class_without_exemplars_cannot_win() -> None:
    learner, x = lived("nearest mean", ends=[(0, 3)]), rows(200, seed=9).x
    said = Graph.of(learner, x, threads=1).predict(x)
    assert not said[:, 1:3].any()
    np.testing.assert_allclose(said, learner.predict(x), atol=1e-5)


def test_weights_are_those_by_which_the_head_answers() -> None:
    def apart(head):
        learner = lived(head)
        return not torch.equal(learner.serving()["1.weight"], learner.module[1].weight)

    assert [head for head in HEADS if apart(head)] == ["slda on averages"]


@pytest.mark.parametrize("head", ["nearest mean", slow("bias"), "slda", slow("ridge")])
def test_in_eight_bits_and_back(head) -> None:
    learner, held_out = lived(head), rows(3_000, seed=8)
    budget = rt.Within(accuracy=0.05, per_class=None, forgetting=0.05)
    artifact = rt.compress(learner, Int8(), data=held_out, budget=budget, seconds=0.01)
    assert artifact.report.taken.name == "int8"
    assert np.abs(artifact.predict(held_out.x) - learner.predict(held_out.x)).mean() < 0.02
    # Distances, and what is told apart by few digits, stay in float32; corrected weights are weights like others.
    whole = [one for one in initialisers(parsed(artifact.data)).values() if one.size > 200 and one.dtype == np.float32]
    assert [one.size for one in whole] == ([] if head == "bias" else [6 * 64])
    other = Artifact(blank(head))
    other.load_state_dict(artifact.state_dict())
    np.testing.assert_array_equal(other.predict(held_out.x), artifact.predict(held_out.x))
    small = other.resume()
    live(small, (0, 2), seed=5)
    other.patch(small)
    assert np.abs(other.predict(held_out.x) - small.predict(held_out.x)).mean() < 0.02


@pytest.mark.parametrize("head", ["nearest mean", slow("slda")])
def test_convolutions_are_calibrated_below_a_head_with_classes_at_infinity(head) -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    y = 2 * rng.integers(2, size=640)
    x = rng.normal(size=(640, 3, 8, 8)).astype(np.float32)
    x[np.arange(640), y] += 1.0
    replay = Replay(ClassBalanced(100), size=16)
    learner = rt.Neural(Residual(), strategies=[replay], head=HEADS[head](replay, EMA()), batch_size=16)
    learner.learn(rt.Batch(x, y=y))
    learner.consolidate([])
    graph = Graph.of(learner, x, threads=1)
    for numbers in (Half(), Int8()):
        said = graph.formatted(learner, numbers, x).predict(x)
        assert not said[:, 1].any()
        assert np.abs(said - learner.predict(x)).mean() < 0.01


def test_a_head_goes_along_into_a_smaller_shape() -> None:
    pytest.importorskip("torch_pruning", reason="needs torch-pruning: pip install 'retain[deploy]'")
    held_out = rows(3_000, seed=8)
    budget = rt.Within(accuracy=0.9, per_class=None, forgetting=0.9)
    for head in ("nearest mean", "slda"):
        artifact = rt.compress(lived(head), Shrink(0.5), data=held_out, budget=budget, seconds=0.01)
        assert artifact.report.taken.name == "shrink 50%"
        np.testing.assert_allclose(artifact.predict(held_out.x), artifact.master.predict(held_out.x), atol=1e-4)
        other = Artifact(blank(head))
        other.load_state_dict(artifact.state_dict())
        np.testing.assert_array_equal(other.predict(held_out.x), artifact.predict(held_out.x))


def test_until_there_are_means_it_is_another_graph() -> None:
    learner, batch = blank("nearest mean"), rows(640)
    learner.learn(batch)
    graph = Graph.of(learner, batch.x, threads=1)
    np.testing.assert_allclose(graph.predict(batch.x), learner.predict(batch.x), atol=1e-5)
    learner.consolidate([batch])
    with pytest.raises(SettingError, match=r"answers without 3\.\w+ by now.*compress anew"):
        graph.renewed(learner, None)


class Mine:
    """A user's own head."""

    memory = None

    def answer(self, model, x, /):
        return -model.scores(model.outputs(x))

    def stepped(self, model, new, /):
        pass

    def consolidate(self, model, experience, /):
        pass

    def state_dict(self):
        return {}

    def load_state_dict(self, state, /):
        pass


class Convolved(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv1d(32, 4, 1)

    def forward(self, x):
        return self.layer(x[:, :, None])[:, :, 0]


@pytest.mark.parametrize(
    ("module", "head", "message"),
    [
        (rt.neural.MLP(32, 8, 4), Mine(), r"answers by Mine, which does not say by what layer.*addend\.Layered"),
        (Convolved(), BiC(ClassBalanced(40)), r"BiC takes the place of the last linear layer.*has none"),
        (
            rt.neural.MLP(32, 8, 4),
            Solved(lambda: rt.RandomFeatures(50) | rt.SLDA(batch_size=32), ClassBalanced(40)),
            r"Solved answers by Chain, which cannot be written as a layer.*without transforms",
        ),
        (
            rt.neural.MLP(32, 8, 4),
            Solved(lambda: rt.Linear(loss=rt.Logistic(), update=rt.Adaptive()), ClassBalanced(40)),
            "scores within bounds cannot be written",
        ),
    ],
)
def test_heads_that_are_no_layer_are_refused(module, head, message) -> None:
    learner = rt.Neural(module, head=head)
    learner.learn(rows(640))
    with pytest.raises(SettingError, match=message):
        exported(learner)


def test_a_learner_whose_module_is_one_layer() -> None:
    replay, x = Replay(ClassBalanced(40), size=8), rows(200, seed=9).x
    learner = rt.Neural(torch.nn.Linear(32, 4), strategies=[replay], head=NearestMean(replay.memory))
    learner.learn(rows(640))
    learner.consolidate([])
    graph = Graph.of(learner, x, threads=1)
    live(learner, (0, 2), seed=5)
    np.testing.assert_allclose(graph.renewed(learner, None).predict(x), learner.predict(x), atol=1e-5)
