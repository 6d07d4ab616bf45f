import numpy as np
import pytest
import torch
from tests.compression.nets import Case, rows
from torch import nn

import retain as rt
from retain.compression.graph import drawn, exported, filled, folded, hollow, initialisers
from retain.compression.session import Session
from retain.errors import SettingError


def said(model, x):
    session = Session(model.SerializeToString(), threads=1)
    return session.answers(session.rows(x))


def test_every_weight_is_an_initialiser_of_its_name(images: Case) -> None:
    there = initialisers(images.graph())
    for name, value in images.learner.module.named_parameters():
        np.testing.assert_array_equal(there[name], value.detach().numpy())


def test_it_answers_as_the_learner_does(plain: Case, images: Case) -> None:
    for case in (plain, images):
        x = case.rows.x[:100]
        np.testing.assert_allclose(said(case.graph(), x), case.learner.predict(x), atol=1e-5)


def test_norms_are_folded_into_convolutions(images: Case) -> None:
    graph = folded(images.graph())
    assert not [node for node in graph.graph.node if node.op_type == "BatchNormalization"]
    assert not [name for name in initialisers(graph) if "running" in name]
    x = images.rows.x[:100]
    np.testing.assert_allclose(said(graph, x), images.learner.predict(x), atol=1e-5)


def test_nothing_is_computed_from_shapes_while_it_runs(images: Case) -> None:
    kinds = {node.op_type for node in folded(images.graph()).graph.node}
    assert not kinds & {"Constant", "CastLike", "Range"}


def test_a_skeleton_is_small_and_takes_newer_weights(plain: Case) -> None:
    model = plain.graph()
    skeleton = hollow(model, drawn(plain.learner))
    assert skeleton.ByteSize() < model.ByteSize() / 20
    assert filled(skeleton, drawn(plain.learner), classes=4) == model
    other = rt.Neural(rt.neural.MLP(32, 96, 96, 4, seed=5))
    other.learn(rows(500, seed=3))
    x = plain.rows.x[:50]
    np.testing.assert_allclose(said(filled(skeleton, drawn(other), classes=4), x), other.predict(x), atol=1e-5)


def test_weights_of_another_shape_are_refused(plain: Case) -> None:
    skeleton = hollow(plain.graph(), drawn(plain.learner))
    wide = rt.Neural(rt.neural.MLP(32, 96, 96, 5))
    with pytest.raises(SettingError, match=r"5.weight is of shape \(5, 96\) now; expected \(4, 96\).*compress anew"):
        filled(skeleton, drawn(wide), classes=4)


def test_classes_that_were_learnt_are_answered_by_averaged_weights() -> None:
    learner = rt.Neural(rt.neural.MLP(32, 16, 9), averaging=rt.strategies.EMA(decay=0.9))
    learner.learn(rows(640))
    x = rows(20, seed=2).x
    raw = torch.softmax(learner.module(torch.from_numpy(x))[:, :4], 1).detach()
    assert not np.allclose(learner.predict(x), raw, atol=1e-3)
    answers = said(exported(learner), x)
    assert answers.shape == (20, 4)
    np.testing.assert_allclose(answers, learner.predict(x), atol=1e-5)


def test_numbers_stay_numbers() -> None:
    learner = rt.Neural(rt.neural.MLP(8, 16, 3), criterion=rt.neural.Squared())
    x = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)
    learner.learn(rt.Batch(x, y=x[:, :3]))
    np.testing.assert_allclose(said(exported(learner), x), learner.predict(x), atol=1e-5)


def test_sixteen_bits_go_out_as_thirty_two() -> None:
    short = rt.Neural(rt.neural.MLP(32, 16, 4).bfloat16())
    short.learn(rows(64))
    x = rows(20, seed=2).x
    np.testing.assert_allclose(said(exported(short), x), short.predict(x), atol=2e-2)


def test_what_cannot_be_exported_is_said(plain: Case) -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(32, 4)

        def forward(self, x):
            return self.head(x) if x.sum() > 0 else self.head(-x)

    learner = rt.Neural(Branching())
    learner.learn(rows(64))
    with pytest.raises(SettingError, match=r"cannot be exported to ONNX.*without branches on values"):
        exported(learner)
    with pytest.raises(SettingError, match="has learnt no class yet"):
        exported(plain.blank)
