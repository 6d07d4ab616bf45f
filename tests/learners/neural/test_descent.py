"""Steps by the compiled pass beside those of torch's optimisers, springs beside their formula."""

import copy
import math

import pytest
import torch
from tests.strategies import naive

import retain as rt
from retain.core import Spring
from retain.learners.neural.descent import Descent, flushing
from retain.learners.neural.weights import Weights
from retain.strategies import EWC, SI, Addend, L2Init, quadratic
from retain.strategies.quadratic import bounded

TOLERANCE = 2e-6  # weights around 1 in float32: the same formula, products and sums rounded in another order

COMPILED = {
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "fused": lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.8, 0.99), fused=True),
    "decay in the gradient": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1, eps=1e-4),
    "decay beside it": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
}
TORCHES = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9),
    "amsgrad": lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True),
    "two rates": lambda p: torch.optim.Adam([{"params": p[:1], "lr": 0.1}, {"params": p[1:]}]),
    "watched": lambda p: _watched(torch.optim.Adam(p, lr=0.01)),
    "scheduled": lambda p: _scheduled(torch.optim.Adam(p, lr=0.01)),
}


def _watched(optimizer):
    optimizer.register_step_post_hook(lambda *_: None)
    return optimizer


def _scheduled(optimizer):
    torch.optim.lr_scheduler.StepLR(optimizer, 1)
    return optimizer


def pair(make):
    """Two modules that are alike, their optimisers, and a descent by the first of them."""
    ours, theirs = rt.neural.MLP(3, 5, 2), rt.neural.MLP(3, 5, 2)
    layout = Weights(ours)
    optimizers = [make(list(net.parameters())) for net in (ours, theirs)]
    return layout, optimizers, Descent(optimizers[0], layout), theirs


def gradients(steps=60):
    """Of sizes far apart, with weights that have none; some rows of steps are zero altogether."""
    drawn = torch.randn(steps, 32, generator=torch.Generator().manual_seed(1)) * torch.logspace(-4, 1, 32)
    drawn[:, ::5] = 0
    drawn[20:25] = 0
    return drawn


def give(net, gradient):
    for p, piece in zip(net.parameters(), gradient.split([p.numel() for p in net.parameters()]), strict=True):
        p.grad = piece.view_as(p).clone()


def flat(net):
    return torch.cat([p.detach().reshape(-1) for p in net.parameters()])


def compiled(optimizer):
    """Whether the optimiser's moments are pieces of one vector, as the compiled pass lays them."""
    slots = [slot.get("exp_avg") for slot in optimizer.state.values()]
    return None not in slots and len({slot.untyped_storage().data_ptr() for slot in slots}) == 1


@pytest.mark.parametrize("name", COMPILED)
def test_the_compiled_pass_is_the_optimiser(name):
    layout, (ours, theirs), descent, net = pair(COMPILED[name])
    for step, gradient in enumerate(gradients()):
        if step == 30:
            for optimizer in (ours, theirs):  # as whoever lowers rates does
                optimizer.param_groups[0]["lr"] = 0.003
        layout.gradient.copy_(gradient)
        descent.step()
        give(net, gradient)
        theirs.step()
        assert compiled(ours)
    torch.testing.assert_close(layout.flat, flat(net), rtol=0, atol=TOLERANCE)
    assert (layout.flat - flat(rt.neural.MLP(3, 5, 2))).abs().max() > 0.1
    for mine, other in zip(ours.state.values(), theirs.state.values(), strict=True):
        assert mine.keys() == other.keys()
        for key in mine:
            torch.testing.assert_close(mine[key], other[key], rtol=1e-4, atol=1e-7)  # sums of either sign


@pytest.mark.parametrize("name", TORCHES)
def test_any_other_optimiser_makes_its_own_step(name):
    layout, (ours, theirs), descent, net = pair(TORCHES[name])
    for gradient in gradients():
        layout.gradient.copy_(gradient)
        descent.step()
        give(net, gradient)
        theirs.step()
    assert not compiled(ours)
    assert torch.equal(layout.flat, flat(net))


def test_torch_goes_on_where_the_compiled_pass_stopped_and_back():
    layout, (ours, theirs), descent, net = pair(COMPILED["adam"])
    for step, gradient in enumerate(gradients()):
        layout.gradient.copy_(gradient)
        if 20 <= step < 40:
            ours.step()
        else:
            descent.step()
        if step == 45:
            ours.load_state_dict(copy.deepcopy(ours.state_dict()))
        give(net, gradient)
        theirs.step()
    assert {float(slot["step"]) for slot in ours.state.values()} == {60}
    torch.testing.assert_close(layout.flat, flat(net), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("settled", [False, True])
@pytest.mark.parametrize("name", [*COMPILED, "sgd"])
@pytest.mark.parametrize("pulls", [False, True])
def test_springs_and_credits(name, pulls, settled):
    layout, (_, theirs), descent, net = pair((COMPILED | TORCHES)[name])
    generator = torch.Generator().manual_seed(2)
    bend, rest = torch.rand(32, generator=generator), torch.randn(32, generator=generator)
    credit, expected = torch.zeros(32), torch.zeros(32)
    for step, gradient in enumerate(gradients()):
        times = 0.1 * step
        layout.gradient.copy_(gradient)
        descent.hold(Spring(bend, rest, times, credit) if pulls else Spring(credit=credit))
        if settled:
            descent.settle()
        descent.step()
        before = flat(net)
        give(net, gradient + times * bend * (before - rest) if pulls else gradient)
        theirs.step()
        expected -= gradient * (flat(net) - before)
    torch.testing.assert_close(layout.flat, flat(net), rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(credit, expected, rtol=1e-4, atol=1e-5)  # of steps as small as 1e-3 of a weight
    assert credit.abs().max() > 0.01


def test_a_step_that_is_dropped_credits_and_pulls_nothing():
    layout, _, descent, _ = pair(COMPILED["adam"])
    credit = torch.zeros(32)
    layout.gradient.fill_(1.0)
    for settle in (False, True):
        descent.hold(Spring(torch.ones(32), torch.ones(32), 5.0, credit))
        if settle:
            descent.settle()
        descent.drop()
    layout.gradient.zero_()
    before = layout.flat.clone()
    descent.step()
    assert torch.equal(layout.flat, before)
    assert not credit.any()


@pytest.mark.parametrize("optimizer", [COMPILED["fused"], TORCHES["sgd"]])
def test_penalties_one_after_the_other_each_see_those_before(optimizer):
    """Three on one learner: as the gradient is written down for each, by a learner whose optimiser takes no springs."""

    def learnt(watch):
        net = naive.module()
        made = optimizer(list(net.parameters()))
        parts = [EWC(3.0), L2Init(0.01), SI(2.0)]
        learner = rt.Neural(net, optimizer=_watched(made) if watch else made, strategies=parts, batch_size=5)
        for seed in (0, 1, 2):
            batch = naive.batch(seed=seed)
            learner.learn(batch)
            learner.consolidate([batch])
        assert learner.skipped == 0
        return flat(net)

    torch.testing.assert_close(learnt(False), learnt(True), rtol=0, atol=1e-5)  # SI divides by how little weights moved


class Scaling(Addend):
    """Shrinks weights after each step: by the vector, or by a parameter."""

    name = "scaling"

    def __init__(self, where):
        self.where = where

    def stepped(self, model, new):
        with torch.no_grad():
            (model.weights if self.where == "vector" else model.module[-1].weight).mul_(0.9)

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


@pytest.mark.parametrize("strength", [1e-3, 3.0, 1e4])  # the bound is at work never, at times, always
@pytest.mark.parametrize("scaling", ["", "vector", "parameter"])
def test_what_the_last_step_told_of_a_pull_saves_work_and_changes_no_bit(strength, scaling, monkeypatch):
    calls = []

    def counted(*args, **kwargs):
        calls.append(1)
        return bounded(*args, **kwargs)

    monkeypatch.setattr(quadratic, "bounded", counted)

    def learnt():
        calls.clear()
        parts = [EWC(strength), *([Scaling(scaling)] if scaling else [])]
        learner = rt.Neural(naive.module(), strategies=parts, batch_size=5)
        for seed in (0, 1):
            batch = naive.batch(seed=seed, rows=200)
            learner.learn(batch)
            learner.consolidate([batch])
        return flat(learner.module), len(calls)

    weights, looked = learnt()
    renew = Descent.renew
    monkeypatch.setattr(Descent, "renew", lambda self, **_: renew(self, sure=False))
    expected, always = learnt()
    assert always == 40
    assert torch.equal(weights, expected)
    if scaling:  # the weights are others than those of which it was told
        assert looked == always
    elif strength < 1:
        assert looked == 1  # the first step of a block is told nothing


def test_numbers_next_to_nothing_count_as_nothing_while_learning_only():
    def product():
        return (torch.full((4,), 1e-30) * 1e-10).any()

    assert product()
    with flushing():
        assert not product()
        with flushing():
            pass
        assert not product()
    assert product()
    with pytest.raises(RuntimeError, match="on the way"), flushing():
        raise RuntimeError("on the way")
    assert product()


def test_a_pull_without_end_is_no_step():
    net = naive.module()
    ewc = EWC(1.0)
    learner = rt.Neural(net, strategies=[ewc], batch_size=5)
    batch = naive.batch()
    learner.learn(batch)
    learner.consolidate([batch])
    state = copy.deepcopy(ewc.state_dict())
    state["rest"][3] = math.inf
    ewc.load_state_dict(state)
    before = flat(net)
    learner.learn(naive.batch(5))
    assert learner.skipped == 1
    assert torch.equal(flat(net), before)
