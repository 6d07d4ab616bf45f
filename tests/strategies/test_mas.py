"""MAS against the paper written out: the gradient of the squared length of the outputs, row by row."""

import pytest
import torch
from tests.strategies import naive
from tests.strategies.test_ewc import flat, penalised

import retain as rt
from retain.strategies import MAS


def sensitivity(net, batch):
    """Mean |gradient of |output|^2|, by weight, in the unit of squared outputs."""
    mean, length = torch.zeros(len(flat(net))), 0.0
    for row, w in zip(torch.from_numpy(batch.x), batch.weight / batch.weight.sum(), strict=True):
        output = net(row[None])
        mean += w * naive.gradient(net, output.square().sum()).abs()
        length += w * float(2 * output.detach().norm())
    mean /= length
    return mean * mean.square().sum() / mean.sum()


def test_three_experiences():
    ours, net = naive.learner(strategies=[MAS(2.0)]), naive.module()
    total, anchor = torch.zeros(len(flat(net))), flat(net).detach().clone()

    def penalty():
        return ((flat(net) - anchor).square() * total).sum() / 2

    for seed in (0, 1, 2):
        batch = naive.batch(seed=seed)
        ours.learn(batch)
        ours.consolidate([batch])
        naive.train(net, batch, project=penalised(net, penalty, strength=2.0))
        total, anchor = total + sensitivity(net, batch), flat(net).detach().clone()
    naive.same(ours, net)


def test_numbers_out_of_range():
    with pytest.raises(rt.errors.SettingError, match="expected a number > 0"):
        MAS(0)
