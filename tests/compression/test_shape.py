"""A plan is enough to bring a module of the user's into the shape that its weights have got."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'retain[torch]'")
pytest.importorskip("torch_pruning", reason="needs torch-pruning: pip install 'retain[deploy]'")

from torch import nn  # noqa: E402 - after the skip

import retain as rt  # noqa: E402
from retain import state, testing  # noqa: E402
from retain.blocks import take_batch  # noqa: E402
from retain.compression import Draft, Lessons, LowRank, Shrink  # noqa: E402
from retain.compression.shape import plan, reshape, restored  # noqa: E402
from retain.errors import SettingError  # noqa: E402
from retain.memory import Reservoir  # noqa: E402
from retain.strategies import EWC, Replay  # noqa: E402

torch.set_num_threads(1)
BATCH = testing.examples("classification")
IMAGES = np.random.default_rng(0).normal(size=(24, 3, 16, 16)).astype(np.float32)
MODULES = {
    "mlp": (lambda: rt.neural.MLP(4, 32, 32, 2), BATCH.x),
    "group norm": (lambda: rt.neural.ConvNet(3, 2, width=16), IMAGES),
    "batch norm": (lambda: rt.neural.ResNet18(2, width=8), IMAGES),
    "frozen": (lambda: rt.neural.MLP(4, 32, 32, 2).requires_grad_(False).append(nn.Linear(2, 2)), BATCH.x),
}
STEPS = {
    "shrink": [Shrink(0.5)],
    "shrink streams": [Shrink(0.5, streams=True)],
    "low rank": [LowRank(0.5)],
    "both": [Shrink(0.25), LowRank(0.25)],
}


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("name", MODULES)
def test_plan_and_weights_are_the_module(name, steps):
    make, x = MODULES[name]
    batch = rt.Batch(x, y=np.arange(len(x)) % 2)
    learner = rt.Neural(make(), batch_size=8)
    learner.learn(batch)
    draft = Draft(learner)
    for step in STEPS[steps]:
        draft = step(draft, Lessons([batch], teacher=learner))
    small = draft.learner
    assert sum(p.numel() for p in small.module.parameters()) < sum(p.numel() for p in learner.module.parameters())
    saved = json.loads(json.dumps(plan(small.module)))
    module = reshape(make(), saved)
    assert str(module) == str(small.module)
    module.load_state_dict(small.module.state_dict())
    rows = torch.from_numpy(x)
    torch.testing.assert_close(module.eval()(rows), small.module.eval()(rows), rtol=0, atol=0)
    trained = {name for name, p in module.named_parameters() if p.requires_grad}
    assert trained == {name for name, p in small.module.named_parameters() if p.requires_grad}


def test_a_module_of_another_kind_is_refused_and_stays():
    module = rt.neural.MLP(4, 8, 2)
    before = str(module)
    with pytest.raises(SettingError, match="layer '3', Linear, is not in the plan"):
        reshape(module, plan(rt.neural.MLP(4, 2)))
    with pytest.raises(SettingError, match="layer '1', Linear"):
        reshape(module, plan(nn.Sequential(nn.Flatten(), nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 2))))
    assert str(module) == before


SIZES = {"1": {"weight": [5, 4], "bias": [5]}, "3.0": {"weight": [2, 5]}, "3.1": {"weight": [9, 2], "bias": [9]}}
SIZES["5"] = {"weight": [2, 9], "bias": [2]}


def smaller():
    """As a user builds it, in a smaller shape, one layer of it factored."""
    learner = rt.Neural(rt.neural.MLP(4, 16, 12, 2), strategies=[EWC(), Replay(Reservoir(8), size=3)], batch_size=3)
    return restored(learner, SIZES)


def feed(part, start, stop):
    batch = take_batch(BATCH, slice(start, stop))
    part.learn(batch)
    if stop % 16 == 0:
        part.consolidate([batch])


PARTS = {"smaller": (smaller, feed)}


def test_it_goes_on_in_a_new_process():
    testing.resume_in_new_process(__file__, "PARTS", rows=48)


def test_a_saved_learner_fits():
    one = smaller()
    feed(one, 0, 32)
    two = smaller()
    two.load_state_dict(state.decode(state.encode(one.state_dict())))
    for learner in (one, two):
        feed(learner, 32, 48)
    assert state.encode(one.state_dict()) == state.encode(two.state_dict())
