"""A neural learner goes on with another module: what it remembers of weights that were kept goes with them."""

from copy import deepcopy

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'retain[torch]'")

import retain as rt  # noqa: E402 - after the skip
from retain import blocks, state, testing  # noqa: E402
from retain.errors import SettingError  # noqa: E402
from retain.memory import Reservoir  # noqa: E402
from retain.strategies import EMA, EWC, L2Init, LwF, NearestMean, Replay, Solved  # noqa: E402

torch.set_num_threads(1)
BATCH = testing.examples("classification")
FIRST, REST = (blocks.take_batch(BATCH, slice(*ends)) for ends in ((0, 26), (26, None)))
OPTIMISERS = {
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "adamw, two groups": lambda p: torch.optim.AdamW(
        [{"params": p[:2], "lr": 0.02}, {"params": p[2:]}], lr=0.01, weight_decay=0.1
    ),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9),
    "plain": lambda p: torch.optim.SGD(p, lr=0.01),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01),
}


def make(optimiser="adam", **parts):
    module = rt.neural.MLP(4, 6, 2)
    return rt.Neural(module, optimizer=OPTIMISERS[optimiser](list(module.parameters())), batch_size=4, **parts)


def same(learner):
    return torch.arange(len(learner.model.weights))


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_into_its_own_shape_nothing_changes(optimiser):
    one = make(optimiser, strategies=[Replay(Reservoir(10), size=3), L2Init()])
    one.learn(FIRST)
    one.consolidate([FIRST])
    one.learn(FIRST)
    other = one.reshaped(deepcopy(one.module), kept=same(one))
    for learner in (one, other):
        learner.learn(REST)
    assert state.encode(other.state_dict()["module"]) == state.encode(one.state_dict()["module"])
    assert state.encode(other.state_dict()["optimizer"]) == state.encode(one.state_dict()["optimizer"])
    assert other.steps == one.steps


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_moments_go_with_the_weights(optimiser):
    """Hidden units in another order: the same steps, in that order."""
    one = make(optimiser)
    one.learn(FIRST)
    turn = torch.tensor([3, 1, 5, 0, 2, 4])
    module = deepcopy(one.module)
    index, start = [], 0
    for i, (p, q) in enumerate(zip(one.module.parameters(), module.parameters(), strict=True)):
        number = torch.arange(p.numel()).view(p.shape)
        number = number[turn] if i < 2 else number[:, turn] if i == 2 else number
        q.data = p.detach().reshape(-1)[number]
        index.append(start + number.flatten())
        start += p.numel()
    other = one.reshaped(module, kept=torch.cat(index))
    for learner in (one, other):
        learner.learn(REST)
    expected = one.model.weights[torch.cat(index)]
    torch.testing.assert_close(other.model.weights, expected, rtol=1e-4, atol=1e-6)  # sums in another order
    assert (other.model.weights - one.model.weights).abs().max() > 0.01


def test_what_is_new_has_no_moments_and_is_held_by_nobody():
    one = make(strategies=[EWC()])
    one.learn(FIRST)
    one.consolidate([FIRST])
    wide = rt.neural.MLP(4, 6, one.module[-1].out_features)
    other = one.reshaped(wide)
    held = other.state_dict()["strategies"]["ewc"]
    assert not held["bend"].any()
    np.testing.assert_array_equal(held["rest"], other.model.weights)
    assert other.state_dict()["optimizer"]["slots"] == {}
    assert other.state_dict()["optimizer"]["groups"][0]["lr"] == 0.01


def test_other_models_of_the_old_shape_begin_with_the_weights_that_there_are():
    replay = Replay(Reservoir(20), size=4)
    one = make(strategies=[LwF(), replay], averaging=EMA(), head=NearestMean(replay.memory))
    one.learn(FIRST)
    one.consolidate([FIRST])
    one.learn(FIRST)
    module = deepcopy(one.module)
    with torch.no_grad():
        module[1].weight.mul_(2)
    other = one.reshaped(module, kept=same(one))
    kept = other.state_dict()
    for found in (kept["strategies"]["lwf"]["teacher"], kept["averaging"]["average"]):
        np.testing.assert_array_equal(found, other.model.weights)
    assert not np.allclose(kept["head"]["means"], one.state_dict()["head"]["means"])
    assert other.head._exemplars is other.strategies[1].memory  # one memory still, and not that of the first learner
    assert other.head._exemplars is not replay.memory


def test_a_solved_head_is_estimated_anew_over_the_features_that_there_are():
    replay = Replay(Reservoir(20), size=4)
    one = make(strategies=[replay], head=Solved(lambda: rt.Ridge(batch_size=1), replay.memory))
    one.learn(FIRST)
    one.consolidate([FIRST])
    small = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    other = one.reshaped(small)
    assert other.predict(FIRST.x).shape == one.predict(FIRST.x).shape
    assert other.head._learner.weights.shape[0] == 3


def test_refuses_what_does_not_belong_together():
    one = make()
    with pytest.raises(SettingError, match=r"'9\.weight' that the one before had not"):
        one.reshaped(torch.nn.Sequential(*rt.neural.MLP(4, 6, 2), *[torch.nn.ReLU()] * 5, torch.nn.Linear(2, 2)))
    with pytest.raises(SettingError, match="one number for each"):
        one.reshaped(rt.neural.MLP(4, 6, 2), kept=torch.arange(3))
    with pytest.raises(SettingError, match="the last being 99"):
        one.reshaped(rt.neural.MLP(4, 6, 2), kept=torch.full((len(one.model.weights),), 99))
