"""Weights that belong to tasks: what was answered stays, bit for bit, whatever trains the rest."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import retain as rt
from retain.errors import SettingError
from retain.run import scenarios
from retain.run.experiences import continual
from retain.strategies import EMA, EWC, NearestMean, PackNet, Replay
from retain.strategies.packnet import largest

torch.set_num_threads(1)
X = np.random.default_rng(0).normal(size=(400, 6)).astype(np.float32)
OPTIMISERS = {
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
}


class Normed(nn.Module):
    """Batch norm, with gains and running statistics that later tasks would move, and dropout, which draws."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.drop = nn.Linear(6, 64), nn.BatchNorm1d(64), nn.Dropout(0.2)
        self.second, self.head = nn.Linear(64, 48), nn.Linear(48, 10)

    def forward(self, x):
        return self.head(torch.relu(self.second(self.drop(torch.relu(self.norm(self.first(x)))))))


def normed():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return Normed()


MODULES = {"layers": lambda: rt.neural.MLP(6, 64, 48, 10), "a norm, dropout": normed}


def task(number):
    """Another column tells which of two classes a row is of; they are the task's own."""
    y = 2 * number + (X[:, number] > 0)
    return rt.Batch(X, y=y, task=np.full(len(X), number))


def make(module, optimiser="adam", packnet=None, **parts):
    adam = OPTIMISERS[optimiser](module.parameters())
    strategies = [packnet or PackNet(size=20, rate=0.01), *parts.pop("strategies", [])]
    return rt.Neural(module, optimizer=adam, strategies=strategies, batch_size=10, task_masks=True, **parts)


def live(learner, number, passes=3):
    for _ in range(passes):
        learner.learn(task(number))
    learner.consolidate([task(number)])


def answered(learner, number):
    return learner.predict(X, task=np.full(len(X), number))


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_nothing_is_forgotten_bit_for_bit(optimiser, module):
    learner = make(MODULES[module](), optimiser, strategies=[EWC(name="zz")])
    live(learner, 0)
    first, kept = answered(learner, 0), learner.strategies[0].state_dict()["owner"] > 0
    weights = learner.model.weights[kept].clone()
    np.testing.assert_array_equal(learner.predict(X), first)  # so far nothing else is in the module
    for number in range(1, 5):
        live(learner, number)
        np.testing.assert_array_equal(answered(learner, 0)[:, :2], first[:, :2])
        assert not answered(learner, 0)[:, 2:].any()
        assert torch.equal(learner.model.weights[kept], weights)
        assert (answered(learner, number).argmax(1) == task(number).y).mean() > 0.7
    assert not np.allclose(learner.predict(X)[:, :2], first[:, :2], atol=0.1)  # the module itself has moved on


def test_an_output_that_came_later_changes_no_answer():
    learner = make(rt.neural.MLP(6, 24, 2))
    live(learner, 0)
    first = answered(learner, 0)
    for number in range(1, 4):
        live(learner, number)
    np.testing.assert_allclose(answered(learner, 0)[:, :2], first, atol=1e-6)  # a product of another width


def test_what_stays_against_a_loop():
    size, free = np.abs(np.random.default_rng(0).normal(size=40)), np.random.default_rng(1).random(40) < 0.6
    stays = largest(torch.from_numpy(size), torch.from_numpy(free), share=0.25).numpy()
    mine = [j for j in range(40) if free[j]]
    expected = sorted(mine, key=lambda j: size[j])[round(0.25 * len(mine)) :]
    assert set(np.flatnonzero(stays)) == set(expected)


def test_who_owns_what():
    """By plain masks over the module: shares of every layer, outputs of the task's classes, and nothing else counts."""
    learner = make(rt.neural.MLP(6, 20, 10), packnet=PackNet(0.25, passes=0))
    learner.learn(task(0))
    before = [p.detach().clone() for p in learner.module.parameters()]
    learner.consolidate([task(0)])
    owner = torch.from_numpy(learner.strategies[0].state_dict()["owner"])
    first, bias, last, outputs = owner.split([120, 20, 200, 10])
    assert int((first == 1).sum()) == 90
    assert before[0].flatten()[first == 1].abs().min() >= before[0].flatten()[first == 0].abs().max()
    assert not learner.module[1].weight.flatten()[first == 0].any()
    assert (last.view(10, 20).sum(1) > 0).tolist() == [True, True, *[False] * 8]
    assert not bias.any()
    assert not outputs.any()
    learner.learn(task(1))
    learner.consolidate([task(1)])
    assert learner.strategies[0].left(learner.model) == pytest.approx(round(0.25 * 30) / 120)
    alone = copy.deepcopy(learner.module)
    with torch.no_grad():
        alone[1].weight.copy_((before[0].flatten() * (first == 1)).view(20, 6))
        alone[1].bias.copy_(before[1])
        alone[3].weight[:2] = before[2][:2]
        alone[3].bias.copy_(before[3])
        expected = torch.softmax(alone(torch.from_numpy(X))[:, :2], 1)
    np.testing.assert_array_equal(answered(learner, 0)[:, :2], expected)


def test_teaching_what_stays_makes_up_for_what_went():
    """Where three weights in a hundred are left."""
    found = []
    for passes in (0, 5):
        learner = make(rt.neural.MLP(6, 24, 24, 10), packnet=PackNet(0.97, passes=passes, size=10, rate=0.01))
        live(learner, 0)
        found.append((answered(learner, 0).argmax(1) == task(0).y).mean())
    assert found[1] > found[0] + 0.05


def test_with_no_weight_left_nothing_is_lost():
    learner = make(rt.neural.MLP(6, 8, 10), packnet=PackNet(0.01))
    live(learner, 0)
    assert learner.strategies[0].left(learner.model) == 0
    first = answered(learner, 0)
    live(learner, 1)
    np.testing.assert_array_equal(answered(learner, 0)[:, :2], first[:, :2])
    assert (answered(learner, 1).argmax(1) == task(1).y).mean() > 0.7  # by biases and outputs of its own


def test_rows_that_tell_no_task_get_no_weights():
    learner = make(rt.neural.MLP(6, 24, 10))
    live(learner, 0)
    first, before = answered(learner, 0), learner.strategies[0].left(learner.model)
    for _ in range(3):
        learner.learn(rt.Batch(X, y=task(1).y))
        learner.consolidate([rt.Batch(X, y=task(1).y)])
    assert learner.strategies[0].left(learner.model) == before
    np.testing.assert_array_equal(answered(learner, 0)[:, :2], first[:, :2])


def test_a_task_that_comes_again_and_an_experience_of_nothing_change_no_answer():
    learner = make(rt.neural.MLP(6, 24, 10))
    live(learner, 0)
    live(learner, 1)
    owner, said = learner.strategies[0].state_dict()["owner"], [answered(learner, number) for number in (0, 1)]
    learner.consolidate([])
    live(learner, 0)
    np.testing.assert_array_equal(learner.strategies[0].state_dict()["owner"], owner)
    for number in (0, 1):
        np.testing.assert_array_equal(answered(learner, number), said[number])


@pytest.mark.parametrize("outputs", [10, 2])
def test_a_class_that_is_new_in_a_task_that_ended_changes_no_answer(outputs):
    """Neither before the next experience ends nor after it, nor in a learner that was loaded."""
    learner = make(rt.neural.MLP(6, 24, outputs))
    live(learner, 0)
    first = answered(learner, 0)
    stray = rt.Batch(X, y=np.full(len(X), 3), task=np.zeros(len(X), dtype=int))
    learner.learn(stray)
    loaded = make(rt.neural.MLP(6, 24, outputs))
    loaded.load_state_dict(learner.state_dict())
    said = [answered(learner, 0), answered(loaded, 0)]
    learner.consolidate([stray])
    live(learner, 1)
    mixed = learner.predict(X, task=np.arange(len(X)) % 2)
    for one in [*said, answered(learner, 0)]:
        assert not one[:, 2:].any()
        np.testing.assert_allclose(one[:, :2], first, atol=1e-6 if outputs == 2 else 0)  # a product of another width
    np.testing.assert_allclose(mixed[::2, :2], first[::2], atol=1e-6)
    assert (answered(learner, 1).argmax(1) == task(1).y).mean() > 0.7


@pytest.mark.parametrize("module", MODULES)
def test_rows_of_several_tasks_are_answered_each_by_its_own(module):
    learner = make(MODULES[module]())
    for number in range(3):
        live(learner, number)
    mixed = np.arange(len(X)) % 5
    said = learner.predict(X, task=mixed)
    for number in range(3):
        np.testing.assert_allclose(said[mixed == number], answered(learner, number)[mixed == number], atol=1e-6)
    np.testing.assert_allclose(said[mixed > 2], learner.predict(X)[mixed > 2], atol=1e-6)
    again = rt.Batch(X[:10], y=task(0).y[:10], task=np.zeros(10, dtype=int))
    np.testing.assert_allclose(learner.learn(again), answered(learner, 0)[:10], atol=1e-6)


def test_good_weights_that_return_are_those_of_the_tasks():
    """After eight steps in a row that cannot be made."""
    learner = make(rt.neural.MLP(6, 24, 10))
    live(learner, 0, passes=8)  # 320 steps: a copy of the weights was put aside before the task had its own
    first = answered(learner, 0)
    huge = np.full((80, 6), 3e38, dtype=np.float32)
    learner.learn(rt.Batch(huge, y=task(1).y[:80], task=np.ones(80, dtype=int)))
    assert learner.skipped == 8
    np.testing.assert_array_equal(answered(learner, 0)[:, :2], first[:, :2])


def test_in_a_scenario_tasks_are_told_in_the_test_too(monkeypatch):
    asked, own = set(), rt.Neural.predict

    def predict(learner, x, *, task=None):
        asked.update(task)
        return own(learner, x, task=task)

    monkeypatch.setattr(rt.Neural, "predict", predict)
    scenario = scenarios.flat(scenarios.task_incremental(rt.streams.digits(), experiences=5))
    result = continual(scenario, lambda seed: make(rt.neural.MLP(64, 100, 10, seed=seed)), epochs=2)
    assert asked == {1, 2, 3, 4, 5}  # as rows to learn tell them
    for i in range(1, 6):
        assert (result.matrix[i:, i - 1] == result.matrix[i, i - 1]).all()
    assert result.acc.mean > 0.9


def test_it_says_what_it_needs():
    module = rt.neural.MLP(6, 24, 10)
    with pytest.raises(SettingError, match="task_masks=True"):
        rt.Neural(module, strategies=[PackNet()])
    with pytest.raises(SettingError, match="so would EMA"):
        make(module, averaging=EMA())
    replay = Replay(rt.memory.Reservoir(9), size=3)
    with pytest.raises(SettingError, match="so would NearestMean"):
        make(module, strategies=[replay], head=NearestMean(replay.memory))
    with pytest.raises(SettingError, match="so would PackNet"):
        make(module, strategies=[PackNet(name="more")])
    for wrong in ({"share": 0}, {"share": 1}, {"passes": -1}, {"size": 0}, {"rate": 0}):
        with pytest.raises(SettingError, match="0 < share < 1"):
            PackNet(**wrong)
