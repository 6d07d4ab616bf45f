"""The smallest weights become zero, stay so while they are taught, and everything else goes on."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'retain[torch]'")

import retain as rt  # noqa: E402 - after the skip
from retain import state  # noqa: E402
from retain.compression import Distil, Draft, Lessons, Magnitude  # noqa: E402
from retain.errors import SettingError  # noqa: E402
from retain.memory import Reservoir  # noqa: E402
from retain.strategies import Replay  # noqa: E402

torch.set_num_threads(1)
X = np.random.default_rng(0).normal(size=(1000, 8)).astype(np.float32)
BATCH = rt.Batch(X, y=(X[:, 0] * X[:, 1] > 0).astype(int))


def learnt():
    module = rt.neural.MLP(8, 32, 32, 2)
    adam = torch.optim.Adam(module.parameters(), lr=0.01)
    learner = rt.Neural(module, optimizer=adam, strategies=[Replay(Reservoir(50), size=5)], batch_size=10)
    for _ in range(4):
        learner.learn(BATCH)
    return learner


def accuracy(learner):
    return float((learner.predict(X).argmax(1) == BATCH.y).mean())


def test_the_smallest_of_each_layer_go():
    learner = learnt()
    before = state.encode(learner.state_dict())
    small = Magnitude(0.6)(Draft(learner), Lessons([BATCH], teacher=learner)).learner
    assert state.encode(learner.state_dict()) == before
    for i, zeros in ((1, 256 - 102), (3, 1024 - 410), (5, 0)):
        old, new = learner.module[i].weight.detach(), small.module[i].weight.detach()
        gone = new == 0
        assert int(gone.sum()) == zeros
        assert torch.equal(new[~gone], old[~gone])
        if zeros:
            assert old[gone].abs().max() <= old[~gone].abs().min()


def test_they_stay_zero_while_it_is_taught_and_the_learner_is_as_it_was():
    learner = learnt()
    lessons = Lessons([BATCH], teacher=learner)
    bare, taught = (Magnitude(0.9, recover=r)(Draft(learner), lessons).learner for r in (None, Distil(passes=4)))
    for i in (1, 3):
        assert torch.equal(taught.module[i].weight == 0, bare.module[i].weight == 0)
        assert not torch.equal(taught.module[i].weight, bare.module[i].weight)
    assert accuracy(taught) > max(accuracy(bare) + 0.02, 0.85)
    assert [strategy.name for strategy in taught.strategies] == ["replay"]
    assert len(taught.strategies[0].memory) == 50
    taught.learn(BATCH)
    assert taught.skipped == 0


def test_what_cannot_be_pruned_is_refused():
    with pytest.raises(SettingError, match="0 < share < 1"):
        Magnitude(1.0)
    learner = rt.Neural(rt.neural.MLP(8, 2))
    with pytest.raises(SettingError, match="no layer before the last"):
        Magnitude(0.5)(Draft(learner), Lessons([BATCH], teacher=learner))
