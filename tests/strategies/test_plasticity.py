"""Remedies against the loss of plasticity: what they do to weights, and that a net gone dead learns again."""

import numpy as np
import pytest
import torch
from tests.strategies import naive

import retain as rt
from retain.strategies import ContinualBackprop, L2Init, ShrinkPerturb


def test_shrink_and_perturb():
    strategy = ShrinkPerturb(0.5, noise=0.3, seed=1)
    module = rt.neural.MLP(100, 200, 3)
    before = [p.detach().clone() for p in module.parameters()]
    learner = rt.Neural(module, strategies=[strategy])
    learner.consolidate([])
    for p, was in zip(module.parameters(), before, strict=True):
        if p.ndim == 1:
            assert torch.equal(p, was)
            continue
        noise = (p.detach() - 0.5 * was) / 0.3
        bound = p.shape[1] ** -0.5
        assert 0.9 * bound < float(noise.abs().max()) <= bound * 1.001
        assert float(noise.std()) == pytest.approx(bound / 3**0.5, rel=0.1)


def test_every_so_many_steps():
    counts = []
    for every in (None, 4):
        learner = naive.learner(strategies=[ShrinkPerturb(0.5, noise=0.0, every=every)])
        learner.learn(naive.batch(rows=7 * naive.SIZE))
        counts.append(float(learner.module[-1].weight.detach().norm()))
    assert counts[1] < 0.8 * counts[0]


def test_the_least_useful_of_the_mature_units_is_begun_anew():
    strategy = ContinualBackprop(0.06, maturity=3, decay=0.5)  # 6 units: one is owed at step 6, of those older than 3
    ours, net = naive.learner(strategies=[strategy]), naive.module()
    utility = torch.zeros(6)
    ages = []

    def stepped(rows):
        nonlocal utility
        activity = torch.relu(net[1](rows.x)).detach()
        given = torch.stack([activity[:, u].abs().mean() * net[3].weight[:, u].abs().sum() for u in range(6)]).detach()
        utility = 0.5 * utility + 0.5 * given
        ages.append(len(ages) + 1)

    batch = naive.batch(rows=6 * naive.SIZE)
    ours.learn(batch)
    naive.train(net, batch, stepped=stepped)
    unit = int(utility.argmin())
    changed = (ours.module[1].weight - net[1].weight).detach().abs().sum(1) > 1e-3
    assert changed.tolist() == [u == unit for u in range(6)]
    assert not ours.module[3].weight[:, unit].any()
    assert ours.module[1].bias[unit].item() == 0
    assert ours.state_dict()["strategies"]["backprop"]["layers"]["0"]["age"][unit] == 0


@pytest.mark.parametrize("make", [lambda: ContinualBackprop(0.01, maturity=10), lambda: L2Init(0.1)])
def test_dead_units_learn_again(make):
    """Half of the units never answer; begun anew, or drawn back to where they began, they do."""

    def alive(*strategies):
        net = rt.neural.MLP(4, 16, 2)
        rate = torch.optim.SGD(net.parameters(), lr=naive.RATE)
        learner = rt.Neural(net, strategies=strategies, batch_size=10, optimizer=rate)
        batch = naive.batch(rows=10, classes=2)
        learner.learn(batch)
        with torch.no_grad():
            net[1].bias[:8] = -10.0
        for _ in range(500):
            learner.learn(batch)
        return int((torch.relu(net[1](torch.from_numpy(batch.x))) > 0).any(0)[:8].sum())

    assert alive() == 0
    assert alive(make()) >= 4


def test_only_plain_chains():
    learner = rt.Neural(rt.neural.ConvNet(1, 2), strategies=[ContinualBackprop()], batch_size=2)
    with pytest.raises(rt.errors.SettingError, match="ShrinkPerturb"):
        learner.learn(rt.Batch(np.zeros((2, 1, 8, 8), dtype=np.float32), y=np.array([0, 1])))


@pytest.mark.parametrize("make", [lambda: ShrinkPerturb(0), lambda: ContinualBackprop(0)])
def test_numbers_out_of_range(make):
    with pytest.raises(rt.errors.SettingError, match="expected"):
        make()
