"""EWC against the paper written out: squares of gradients row by row, one penalty for each experience, by autograd."""

from copy import deepcopy

import pytest
import torch
from tests.strategies import naive
from torch import nn

import retain as rt
from retain.core import Rows
from retain.learners.neural.criteria import CrossEntropy
from retain.learners.neural.network import Network
from retain.learners.neural.passes import Autograd
from retain.strategies import EWC, OnlineEWC
from retain.strategies.ewc import importance

MODULES = {
    "relu": (lambda: rt.neural.MLP(5, 7, 6, 3), (5,)),
    "tanh, no bias": (lambda: nn.Sequential(nn.Linear(5, 4, bias=False), nn.Tanh(), nn.Linear(4, 3)), (5,)),
    "convolutions": (lambda: rt.neural.ConvNet(1, 3, width=8), (1, 8, 8)),
    "recurrent": (lambda: rt.neural.GRU(3, 3, hidden=4), (6, 3)),
}


def squares(net, x, y, weight):
    """The Fisher information: the weighted mean of squares, and the same of the slopes by the outputs."""
    fisher, slopes = torch.zeros_like(naive.gradient(net, net(x).sum())), 0.0
    for row, label, w in zip(x, y, weight, strict=True):
        output = net(row[None])
        loss = nn.functional.cross_entropy(output, label[None])
        slopes += w * torch.autograd.grad(loss, output, retain_graph=True)[0].square().sum()
        fisher += w * naive.gradient(net, loss).square()
    return fisher / weight.sum(), slopes / weight.sum()


def fisher(net, batch):
    over, under = squares(net, *(torch.from_numpy(column) for column in (batch.x, batch.y, batch.weight)))
    return over / under


def penalised(net, penalty, *, strength):
    """A step's gradient with that of the penalty, which is no longer than it."""

    def project(g):
        pull = naive.gradient(net, penalty())
        return g + min(strength, float(g.norm() / pull.norm()) if pull.any() else strength) * pull

    return project


def flat(net):
    return torch.cat([p.reshape(-1) for p in net.parameters()])


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("name", MODULES)
def test_gradients_of_single_rows(name, power):
    make, shape = MODULES[name]
    torch.manual_seed(0)
    net = Network(make(), CrossEntropy(), compiled=False)
    x, slope = torch.randn(9, *shape), torch.randn(9, 3)
    expected = sum(
        naive.gradient(net.module, (net.module(r[None]) * s).sum()).abs() ** power
        for r, s in zip(x, slope, strict=True)
    )
    by_autograd = Autograd(net.module, net.layout, compiled=False)
    for got in (net.magnitudes(x, slope, power=power), by_autograd.magnitudes(x, slope, power=power)):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)  # sums over rows in another order


def test_importance_is_the_mean_of_squares_not_the_square_of_the_mean():
    net = naive.module()
    batch = naive.batch(seed=1)
    rows = Rows(*(torch.from_numpy(column) for column in (batch.x, batch.y, batch.weight)))
    model = Network(deepcopy(net), CrossEntropy(), compiled=False)
    model.classes = 3
    halves = [Rows(rows.x[part], rows.y[part], rows.weight[part]) for part in (slice(0, 25), slice(25, None))]
    got = importance(model, halves)
    torch.testing.assert_close(got, fisher(net, batch), rtol=1e-5, atol=1e-7)
    assert not torch.allclose(got, model.gradient(rows).square(), rtol=0.5)


# The bound is at work with 1e4 (SGD would overshoot without it), and nearly never with 0.3.
@pytest.mark.parametrize("strength", [0.3, 1e4])
def test_a_penalty_for_each_experience(strength):
    ours, net = naive.learner(strategies=[EWC(strength)]), naive.module()
    held = []

    def penalty():
        return sum(((flat(net) - w).square() * f).sum() / 2 for f, w in held) if held else 0 * flat(net).sum()

    for seed in (0, 1, 2):
        batch = naive.batch(seed=seed)
        ours.learn(batch)
        ours.consolidate([batch])
        naive.train(net, batch, project=penalised(net, penalty, strength=strength))
        held.append((fisher(net, batch), flat(net).detach().clone()))
    for mine, theirs in zip(ours.module.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=5e-6)


def test_online_ewc_fades_and_holds_to_the_last_weights():
    ours, net = naive.learner(strategies=[OnlineEWC(3.0, decay=0.5)]), naive.module()
    total, anchor = torch.zeros(len(flat(net))), flat(net).detach().clone()

    def penalty():
        return ((flat(net) - anchor).square() * total).sum() / 2

    for seed in (0, 1, 2):
        batch = naive.batch(seed=seed)
        ours.learn(batch)
        ours.consolidate([batch])
        naive.train(net, batch, project=penalised(net, penalty, strength=3.0))
        total, anchor = 0.5 * total + fisher(net, batch), flat(net).detach().clone()
    naive.same(ours, net)


@pytest.mark.parametrize("make", [lambda: EWC(0), lambda: OnlineEWC(-1), lambda: OnlineEWC(decay=0)])
def test_numbers_out_of_range(make):
    with pytest.raises(rt.errors.SettingError, match="expected"):
        make()
