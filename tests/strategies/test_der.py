"""DER and DER++ against training written as in the paper."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.strategies import naive

import retain as rt
from retain import state
from retain.core import Forward, Rows
from retain.memory import Reservoir
from retain.strategies import DER, DERpp
from retain.strategies.der import drift


def mean_square(net, rows):
    each = zip(rows.x, rows.extra["logits"], rows.weight, strict=True)
    told = [w * (net(x[None])[0] - z).square().mean() for x, z, w in each]
    return torch.stack(told).mean()


def plain(rows):
    """What Neural's own rows look like to a memory."""
    return replace(rows, extra={"logits": rows.extra["logits"]})


def test_der():
    ours = naive.learner(strategies=[DER(Reservoir(12, seed=4), size=6, strength=0.7)])
    net, memory = naive.module(), Reservoir(12, seed=4)

    def addend(_):
        return 0.7 * mean_square(net, memory.sample(6)) if len(memory) else 0.0

    for seed in (0, 1):
        ours.learn(naive.batch(seed=seed))
        naive.train(net, naive.batch(seed=seed), addend=addend, stepped=lambda rows: memory.add(plain(rows)))
    naive.same(ours, net)


def test_derpp():
    ours = naive.learner(strategies=[DERpp(Reservoir(12, seed=4), size=6, strength=0.7, labels=0.4)])
    net, memory = naive.module(), Reservoir(12, seed=4)

    def addend(_):
        if not len(memory):
            return 0.0
        dark, labelled = memory.sample(6), memory.sample(6)
        loss = (labelled.weight * naive.losses(net, labelled.x, labelled.y)).mean()
        return 0.7 * mean_square(net, dark) + 0.4 * loss

    for seed in (0, 1):
        ours.learn(naive.batch(seed=seed))
        naive.train(net, naive.batch(seed=seed), addend=addend, stepped=lambda rows: memory.add(plain(rows)))
    naive.same(ours, net)


def test_outputs_that_came_later_were_zero_then():
    old, now = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 4.0, 3.0]])
    rows = Rows(torch.zeros(1, 1), torch.zeros(1, dtype=torch.int64), torch.ones(1), {"logits": old})
    padded = replace(rows, extra={"logits": torch.tensor([[1.0, 2.0, 0.0]])})  # as a memory that has grown holds it
    for kept in (rows, padded):
        moved, slope = drift(Forward(kept, now))
        torch.testing.assert_close(moved, torch.tensor((0 + 4 + 9) / 3))
        torch.testing.assert_close(slope, torch.tensor([[0.0, 4 / 3, 6 / 3]]))


def test_kept_outputs_are_those_before_the_step():
    ours = naive.learner(strategies=[DER(Reservoir(100), size=1)])
    batch = naive.batch(rows=naive.SIZE)
    ours.learn(batch)
    expected = naive.module()(torch.from_numpy(batch.x))
    torch.testing.assert_close(ours.strategies[0].memory.rows().extra["logits"], expected.detach())


def test_numbers_can_be_held_too():
    module = rt.neural.MLP(4, 6, 1)
    ours = rt.Neural(module, criterion=rt.neural.Squared(), strategies=[DERpp(Reservoir(9), size=4)], batch_size=5)
    batch = naive.batch()
    ours.learn(replace(batch, y=batch.x[:, 0]))
    assert ours.skipped == 0
    assert ours.strategies[0].memory.rows().extra["logits"].shape == (9, 1)
    assert np.isfinite(ours.predict(batch.x)).all()


@pytest.mark.parametrize("part", [DER, DERpp])
@pytest.mark.parametrize("setting", [{"size": 0}, {"size": 1, "strength": 0.0}])
def test_settings_that_make_no_sense(part, setting):
    with pytest.raises(rt.errors.SettingError, match=r"expected (size >= 1|both > 0)"):
        part(Reservoir(3), **setting)


@pytest.mark.parametrize("name", ["der", "der++", "cls-er"])
def test_all_experiences_count_alike_where_that_is_asked_for(name):
    """Two have ended: what is old counts twice, exactly as if that had been said."""

    def make(times):
        memory, stable = Reservoir(12, seed=4), rt.strategies.EMA(0.9)
        if name == "cls-er":
            part = rt.strategies.CLSER(memory, size=6, stable=stable, times=times)
            return naive.learner(strategies=[part], averaging=stable)
        return naive.learner(
            strategies=[DER(memory, size=6, strength=times) if name == "der" else DERpp(memory, size=6, times=times)]
        )

    asked = make(None)
    asked.learn(naive.batch(seed=0))
    for ended in (1, 2):
        asked.consolidate([naive.batch(seed=0)])
        ours, said, other = deepcopy(asked), make(float(ended)), make(3.0)
        for learner in (said, other):
            learner.load_state_dict(asked.state_dict())
        for learner in (ours, said, other):
            learner.learn(naive.batch(seed=1))
        assert state.equal(ours.state_dict()["module"], said.state_dict()["module"])
        assert not state.equal(ours.state_dict()["module"], other.state_dict()["module"])
