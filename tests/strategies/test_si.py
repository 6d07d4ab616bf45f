"""SI against the paper written out: the path integral step by step, the penalty by autograd."""

import pytest
import torch
from tests.strategies import naive
from tests.strategies.test_ewc import flat, penalised

import retain as rt
from retain.strategies import SI
from retain.strategies.si import importance


@pytest.mark.parametrize("strength", [0.5, 100.0])
def test_three_experiences(strength):
    damping = 0.7
    ours, net = naive.learner(strategies=[SI(strength, damping=damping)]), naive.module()
    p = len(flat(net))
    total, anchor = torch.zeros(p), flat(net).detach().clone()
    path = [torch.zeros(p)]

    def penalty():
        return ((flat(net) - anchor).square() * total).sum() / 2

    pulled = penalised(net, penalty, strength=strength)
    before = []

    def project(g):
        before[:] = [g.clone(), flat(net).detach().clone()]  # of the loss alone
        return pulled(g)

    def stepped(_rows):
        g, w = before
        path[0] = path[0] - g * (flat(net).detach() - w)

    for seed in (0, 1, 2):
        batch = naive.batch(seed=seed)
        ours.learn(batch)
        ours.consolidate([batch])
        naive.train(net, batch, project=project, stepped=stepped)
        moved = (flat(net).detach() - anchor).square()
        share = path[0].clamp(min=0) / path[0].clamp(min=0).sum()
        total = total + 2 * share / (moved + damping * moved.mean())
        anchor, path[0] = flat(net).detach().clone(), torch.zeros(p)
    for mine, theirs in zip(ours.module.parameters(), net.parameters(), strict=True):
        # a credit is divided by how little a weight moved, and so is its rounding error
        torch.testing.assert_close(mine, theirs, rtol=0, atol=5e-6)


def test_however_much_the_credit_is_overstated():
    """To undo all steps costs at most 1, whatever the credits' size; and nothing is held where nothing was gained."""
    generator = torch.Generator().manual_seed(0)
    credit, moved = torch.randn(50, generator=generator), torch.randn(50, generator=generator)
    held = importance(credit, moved, damping=0.1)
    torch.testing.assert_close(importance(1000 * credit, moved, damping=0.1), held)
    assert 0.5 < float((held * moved.square()).sum() / 2) < 1
    assert not importance(-credit.abs(), moved, damping=0.1).any()


def test_numbers_out_of_range():
    with pytest.raises(rt.errors.SettingError, match="expected both > 0"):
        SI(damping=0)
