"""LwF against training written as in the paper: a frozen copy of the module, and softened odds row by row."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.strategies import naive

import retain as rt
from retain.strategies import LwF
from retain.strategies.lwf import distilled, groups

T = 2.0


def softened(net, teacher, x, classes):
    """T^2 times the cross-entropy of softened odds, less what does not depend on the module."""
    told = []
    for row in x:
        target = torch.softmax(teacher(row[None])[0, classes] / T, 0).detach()
        said = torch.log_softmax(net(row[None])[0, classes] / T, 0)
        told.append(-(T**2) * (target * (said - target.log())).sum())
    return torch.stack(told)


def test_three_experiences():
    ours, net = naive.learner(strategies=[LwF(strength=0.6)]), naive.module()
    teachers = []

    def addend(x):
        if not teachers:
            return 0.0
        return 0.6 * len(teachers) ** 0.5 * (weights[: len(x)] * softened(net, teachers[-1], x, [0, 1, 2])).mean()

    for seed in (0, 1, 2):
        batch = replace(naive.batch(seed=seed), weight=np.ones(60, dtype=np.float32))
        weights = torch.ones(60)
        ours.learn(batch)
        ours.consolidate([batch])
        naive.train(net, batch, addend=addend)
        teachers.append(deepcopy(net))
    naive.same(ours, net)


def test_rows_count_by_their_weight():
    ours, net = naive.learner(strategies=[LwF()]), naive.module()
    first, then = naive.batch(rows=naive.SIZE), naive.batch(rows=naive.SIZE, seed=1)
    ours.learn(first)
    ours.consolidate([first])
    ours.learn(then)
    naive.train(net, first)
    teacher = deepcopy(net)
    weight = torch.from_numpy(then.weight)
    naive.train(net, then, addend=lambda x: (weight * softened(net, teacher, x, [0, 1, 2])).mean())
    naive.same(ours, net)


def test_only_classes_that_the_teacher_knew():
    """The head has four outputs and two classes were learnt: odds of those two alone are held."""
    module = rt.neural.MLP(4, 6, 4, seed=3)
    ours = rt.Neural(module, optimizer=torch.optim.SGD(module.parameters(), lr=naive.RATE), strategies=[LwF()])
    batch = naive.batch(rows=32, classes=2)
    ours.learn(batch)
    ours.consolidate([batch])
    teacher = deepcopy(module)
    x, y = torch.from_numpy(batch.x), torch.full((32,), 3)
    expected = deepcopy(module)
    loss = (torch.from_numpy(batch.weight) * naive.losses(expected, x, y)).mean()
    loss = loss + (torch.from_numpy(batch.weight) * softened(expected, teacher, x, [0, 1])).mean()
    slopes = torch.autograd.grad(loss, list(expected.parameters()))
    ours.learn(replace(batch, y=y.numpy()))
    for p, before, slope in zip(module.parameters(), expected.parameters(), slopes, strict=True):
        torch.testing.assert_close(p, before - naive.RATE * slope, rtol=0, atol=naive.TOLERANCE)


def test_each_task_has_its_own_odds():
    seen = torch.tensor([[1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0], [1, 1, 0, 0]], dtype=torch.bool)
    assert groups(seen, 4).int().tolist() == [[0, 0, 1, 1], [1, 1, 0, 0]]
    assert groups(torch.zeros((0, 0), dtype=torch.bool), 3).tolist() == [[True, True, True]]


def test_a_teacher_that_agrees_pulls_nowhere():
    output = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    apart, slope = distilled(output, output + 7.0, temperature=3.0)
    torch.testing.assert_close(apart, torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(slope, torch.zeros(5, 3), atol=1e-6, rtol=0)


def test_numbers_are_refused():
    ours = rt.Neural(rt.neural.MLP(4, 1), criterion=rt.neural.Squared(), strategies=[LwF()])
    with pytest.raises(rt.errors.SettingError, match="take DER"):
        ours.consolidate([])


@pytest.mark.parametrize("setting", [{"strength": 0.0}, {"temperature": 0.0}])
def test_settings_that_make_no_sense(setting):
    with pytest.raises(rt.errors.SettingError, match="expected numbers > 0"):
        LwF(**setting)
