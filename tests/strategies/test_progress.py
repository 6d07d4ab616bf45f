"""What an experience taught is taught to the base, by a loop that is written out, under the pull of online EWC."""

import copy

import numpy as np
import pytest
import torch
from tests.strategies import naive
from torch import nn
from torch.nn import functional

import retain as rt
from retain.errors import SettingError
from retain.strategies import OnlineEWC, ProgressCompress, progress
from retain.strategies.ewc import importance

RATE, SIZE, HEAT, STRENGTH, DECAY = 0.01, 7, 3.0, 5.0, 0.9


def part(**settings):
    return ProgressCompress(
        STRENGTH, decay=DECAY, size=SIZE, rate=RATE, temperature=HEAT, **{"passes": 2, "seed": 4, **settings}
    )


def flat(module):
    return torch.cat([p.detach().reshape(-1) for p in module.parameters()])


@pytest.mark.parametrize("told", [False, True])
def test_the_base_against_a_loop(told):
    batches = [naive.batch(seed=0), naive.batch(seed=1), naive.batch(seed=2)]
    codes = [[0, 1], [1, 2], [0, 2]] if told else [[0, 1, 2]] * 3
    for i, batch in enumerate(batches):
        y = np.asarray(codes[i])[batch.y % len(codes[i])]
        batches[i] = rt.Batch(batch.x, y=y, weight=batch.weight, task=np.full(len(y), i))
    learner = naive.learner(strategies=[part()], task_masks=told)
    plain = naive.learner(task_masks=told)  # what learns freely from where the base is
    random = torch.Generator().manual_seed(4)
    bend = rest = None
    for i, batch in enumerate(batches):
        learner.learn(batch)
        plain.learn(batch)
        torch.testing.assert_close(flat(learner.module), flat(plain.module), atol=1e-6, rtol=0)
        learner.consolidate([batch])
        classes = codes[i]
        if rest is not None:
            teacher, base = copy.deepcopy(plain.module), plain.module
            torch.nn.utils.vector_to_parameters(rest.clone(), base.parameters())
            x, weight = torch.from_numpy(batch.x), torch.from_numpy(batch.weight)
            adam = torch.optim.Adam(base.parameters(), lr=RATE)
            for _ in range(2):
                for rows in torch.randperm(60, generator=random).tensor_split(60 // SIZE):
                    said = torch.softmax(teacher(x[rows])[:, classes] / HEAT, 1).detach()
                    now = torch.log_softmax(base(x[rows])[:, classes] / HEAT, 1)
                    apart = HEAT**2 * functional.kl_div(now, said, reduction="none").sum(1)
                    g = naive.gradient(base, (weight[rows] * apart).mean())
                    pull = bend * (flat(base) - rest)
                    times = min(STRENGTH, float(g.norm() / pull.norm())) if pull.any() else STRENGTH
                    torch.nn.utils.vector_to_parameters(flat(base), base.parameters())
                    for p, piece in zip(
                        base.parameters(),
                        (g + times * pull).split([p.numel() for p in base.parameters()]),
                        strict=True,
                    ):
                        p.grad = piece.view_as(p).clone()
                    adam.step()
            plain = naive.learner(task_masks=told)
            plain.load_state_dict({**learner.state_dict(), "strategies": {}})
            torch.testing.assert_close(flat(learner.module), flat(base), atol=2e-5, rtol=0)
        measured = importance(learner.model, [learner.labelled(batch)])
        bend, rest = (measured if bend is None else DECAY * bend + measured), flat(learner.module)


def test_numbers_are_taught_too():
    """An active copy that moved is imitated by the base where nothing holds it."""
    x = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32)
    learner = rt.Neural(
        rt.neural.MLP(3, 16, 1),
        criterion=rt.neural.Squared(),
        strategies=[ProgressCompress(1e-9, passes=20, size=20, rate=0.01)],
        batch_size=10,
    )
    for sign in (1, -1):
        batch = rt.Batch(x, y=sign * x[:, 0])
        for _ in range(10):
            learner.learn(batch)
        said = learner.predict(x)
        learner.consolidate([batch])
    assert np.abs(learner.predict(x) - said).mean() < 0.1
    assert np.abs(learner.predict(x) - said).max() > 0


def test_no_rows_to_teach_by_and_nothing_is_thrown_away():
    learner = naive.learner(strategies=[part()])
    for seed in (0, 1):
        learner.learn(naive.batch(seed=seed))
        before = flat(learner.module)
        learner.consolidate([])
        assert torch.equal(flat(learner.module), before)


def test_running_statistics_are_those_of_the_base_and_of_its_teacher(monkeypatch):
    """With rows of another place and width: the teacher says the same all along, the base what it last said."""
    x = np.random.default_rng(0).normal(size=(320, 4)).astype(np.float32)
    first, then = rt.Batch(x, y=(x[:, 0] > 0).astype(int)), rt.Batch(3 * x + 2, y=(x[:, 1] > 0).astype(int))
    heard = []

    def towards(model, forward, said, /, *, temperature):
        heard.append((forward.rows.x, said, model.weights.clone(), [b.clone() for b in model.module.buffers()]))
        return own(model, forward, said, temperature=temperature)

    own = progress.towards
    monkeypatch.setattr(progress, "towards", towards)
    learner = normed()
    for _ in range(5):
        learner.learn(first)
    learner.consolidate([first])
    base = copy.deepcopy(learner.module)
    for _ in range(5):
        learner.learn(then)
    resumed = normed()
    resumed.load_state_dict(learner.state_dict())
    for one in (learner, resumed):
        heard.clear()
        teacher = copy.deepcopy(one.module).eval()
        one.consolidate([then])
        assert len(heard) == 40
        for rows, said, _, _ in heard:
            torch.testing.assert_close(said, teacher(rows).detach(), atol=1e-5, rtol=0)
        assert torch.equal(heard[0][2], flat(base))
        norm, expected = heard[0][3], copy.deepcopy(base).train()
        expected(heard[0][0])  # the base's own first pass has moved its statistics
        for found, wanted in zip(norm, expected.buffers(), strict=True):
            torch.testing.assert_close(found, wanted)
    before = [buffer.clone() for buffer in learner.module.buffers()]
    learner.consolidate([])  # no rows to teach by
    learner.learn(then)
    moved = [buffer.clone() for buffer in learner.module.buffers()]
    learner.consolidate([])
    assert all(torch.equal(*pair) for pair in zip(learner.module.buffers(), moved, strict=True))
    assert not torch.equal(before[0], moved[0])


def normed():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        module = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))
    return rt.Neural(module, strategies=[ProgressCompress(size=32)], batch_size=32)


def test_numbers_out_of_range():
    for wrong in ({"passes": 0}, {"rate": 0}, {"decay": 0}, {"temperature": 0}, {"size": 0}):
        with pytest.raises(SettingError, match="decay in"):
            ProgressCompress(**wrong)


def test_it_keeps_what_was_before_and_learns_what_is_new():
    """Inputs move, labels stay: between what nothing holds and what is held from the start."""
    x = np.random.default_rng(0).normal(size=(800, 4)).astype(np.float32)
    batches = [rt.Batch(x + np.float32(3 * i), y=(x[:, i] > 0).astype(int)) for i in range(2)]
    found = {}
    for name, strategies in {
        "free": [],
        "ewc": [OnlineEWC()],
        "both": [ProgressCompress(passes=5, rate=0.005)],
    }.items():
        learner = rt.Neural(rt.neural.MLP(4, 64, 2), strategies=strategies, batch_size=10)
        for batch in batches:
            for _ in range(5):
                learner.learn(batch)
            learner.consolidate([batch])
        found[name] = [(learner.predict(batch.x).argmax(1) == batch.y).mean() for batch in batches]
    assert found["both"][0] > found["free"][0] + 0.1
    assert found["both"][1] > 0.75
