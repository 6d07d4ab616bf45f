"""L2-SP and L2-init against the penalty by autograd."""

import pytest
import torch
from tests.strategies import naive
from tests.strategies.test_ewc import flat

import retain as rt
from retain.strategies import L2SP, L2Init


@pytest.mark.parametrize(("make", "follows"), [(L2SP, True), (L2Init, False)])
def test_three_experiences(make, follows):
    ours, net = naive.learner(strategies=[make(0.3)]), naive.module()
    start = flat(net).detach().clone()
    for seed in (0, 1, 2):
        batch = naive.batch(seed=seed)
        ours.learn(batch)
        ours.consolidate([batch])
        naive.train(net, batch, addend=lambda _x, start=start: 0.3 / 2 * (flat(net) - start).square().sum())
        if follows:
            start = flat(net).detach().clone()
    naive.same(ours, net)


def test_new_outputs_are_drawn_to_zero_where_they_began():
    learner = rt.Neural(rt.neural.MLP(4, 6, 2), strategies=[L2Init(1e-9)], batch_size=5)
    learner.learn(naive.batch(classes=2))
    learner.learn(naive.batch(classes=4))
    start = torch.from_numpy(learner.state_dict()["strategies"]["l2-init"]["start"])
    assert len(start) == 4 * 6 + 6 + 6 * 4 + 4
    assert not start[30 + 12 : 30 + 24].any()
