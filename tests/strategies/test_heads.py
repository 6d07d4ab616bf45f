"""The nearest mean, aligned weights and corrected scores against their formulas, row by row."""

import copy

import numpy as np
import pytest
import torch
from tests.strategies import naive

import retain as rt
from retain.memory import ClassBalanced, Reservoir
from retain.strategies import AGEM, EMA, WA, BiC, LwF, NearestMean, Replay, Solved
from retain.strategies.bias import corrected, fit


def lived(classes, **parts):
    """A learner that has lived through experiences with the given classes each."""
    learner = naive.learner(**parts)
    for seed, codes in enumerate(classes):
        batch = naive.batch(rows=60, seed=seed)
        batch = rt.Batch(batch.x, y=np.asarray(codes)[batch.y % len(codes)])
        learner.learn(batch)
        learner.consolidate([batch])
    return learner


def direction(feature):
    return feature / feature.norm() if feature.any() else feature  # a row may leave no unit of the layer on


def test_the_nearest_mean():
    replay = Replay(ClassBalanced(20), size=4)
    learner = lived([[0, 1], [2]], strategies=[replay], head=NearestMean(replay.memory))
    rows = replay.memory.rows()
    features = torch.nn.Sequential(*list(learner.module)[:-1])
    means = []
    for code in range(3):
        one = torch.stack([direction(features(x[None])[0]) for x in rows.x[rows.y == code]]).mean(0)
        means.append(one / one.norm())
    x = naive.batch(rows=40, seed=5).x
    expected = []
    for row in torch.from_numpy(x):
        f = direction(features(row[None])[0])
        expected.append(torch.softmax(torch.stack([-(f - mean).norm() for mean in means]), 0))
    np.testing.assert_allclose(learner.predict(x), torch.stack(expected).detach(), atol=1e-6)


def test_until_there_are_means_the_module_answers():
    replay = Replay(ClassBalanced(20), size=4)
    learner = naive.learner(strategies=[replay], head=NearestMean(replay.memory))
    batch = naive.batch()
    learner.learn(batch)
    expected = torch.softmax(learner.module(torch.from_numpy(batch.x)), 1).detach()
    np.testing.assert_allclose(learner.predict(batch.x), expected, atol=1e-6)


def test_a_class_without_exemplars_cannot_win():
    replay = Replay(ClassBalanced(20), size=4)
    learner = lived([[0, 2]], strategies=[replay], head=NearestMean(replay.memory))
    assert not learner.predict(naive.batch().x)[:, 1].any()


def test_means_of_a_memory_that_nobody_fills():
    learner = naive.learner(head=NearestMean(ClassBalanced(20)))
    learner.learn(naive.batch())
    with pytest.raises(rt.errors.SettingError, match=r"NearestMean\(replay\.memory\)"):
        learner.consolidate([])


@pytest.mark.parametrize("times", [1, 200])  # rows of a class learnt shortly are short, and those are left alone
def test_aligned_weights(times):
    plain, aligned = lived([[0, 1]]), lived([[0, 1]], strategies=[WA()])
    assert all(torch.equal(a, b) for a, b in zip(plain.module.parameters(), aligned.module.parameters(), strict=True))
    batch = naive.batch(seed=1)
    batch = rt.Batch(batch.x, y=np.full(len(batch), 2))
    for learner in (plain, aligned):
        for _ in range(times):
            learner.learn(batch)
        learner.consolidate([batch])
    before, after = plain.module[-1].weight.detach(), aligned.module[-1].weight.detach()
    gamma = float((before[0].norm() + before[1].norm()) / 2 / before[2].norm())
    assert (gamma < 1) == (times > 1)
    gamma = min(gamma, 1)
    torch.testing.assert_close(after[2], gamma * before[2])
    torch.testing.assert_close(after[:2], before[:2])


def test_teachers_are_aligned():
    learner = lived([[0, 1], [2]], strategies=[LwF(), WA()])
    teacher = learner.state_dict()["strategies"]["lwf"]["teacher"]
    np.testing.assert_array_equal(teacher, torch.cat([p.reshape(-1) for p in learner.module.parameters()]).detach())


def test_the_fit_is_the_least():
    rng = np.random.default_rng(0)
    scores = torch.from_numpy(rng.normal(size=(80, 4)) * 2)
    scores[:, 2:] += 1.5
    y = torch.from_numpy(rng.integers(0, 4, size=80))
    scale, shift = fit(scores, y, old=2)
    at = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS(
        [at], max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def value():
        solver.zero_grad()
        told = torch.nn.functional.cross_entropy(corrected(scores, old=2, scale=at[0], shift=at[1]), y)
        loss = told + 0.0005 * ((at[0] - 1) ** 2 + at[1] ** 2)
        loss.backward()
        return loss

    solver.step(value)
    np.testing.assert_allclose([scale, shift], at.detach(), atol=1e-6)


def test_rows_told_apart_without_error_leave_numbers_finite():
    scores = torch.tensor([[5.0, -5.0], [-5.0, 5.0]])
    scale, shift = fit(scores, torch.tensor([0, 1]), old=1)
    assert np.isfinite([scale, shift]).all()
    assert 1 <= scale < 10


def test_corrected_scores():
    head = BiC(ClassBalanced(30))
    learner = lived([[0, 1], [2]], strategies=[Replay(ClassBalanced(9), size=4)], head=head)
    held = head.memory.rows()
    with torch.no_grad():
        scale, shift = fit(learner.module(held.x), held.y, old=2)
        x = naive.batch(seed=5).x
        scores = learner.module(torch.from_numpy(x))
    scores[:, 2] = scale * scores[:, 2] + shift
    np.testing.assert_allclose(learner.predict(x), torch.softmax(scores, 1), atol=1e-6)
    assert (scale, shift) != (1.0, 0.0)


def test_two_parts_do_not_share_a_memory():
    memory = Reservoir(9)
    shared = [
        {"strategies": [Replay(memory, size=1), Replay(memory, size=1, name="more")]},
        {"strategies": [Replay(memory, size=1)], "projection": AGEM(memory, size=1)},
        {"strategies": [Replay(memory, size=1)], "head": BiC(memory)},
    ]
    for parts in shared:
        with pytest.raises(rt.errors.SettingError, match="a memory of its own"):
            naive.learner(**parts)


def solved(*, slow=None, **parts):
    replay = Replay(ClassBalanced(20), size=4)
    head = Solved(lambda: rt.SLDA(batch_size=1), replay.memory, slow=slow)
    return {"strategies": [replay], "head": head, "averaging": slow, **parts}


@pytest.mark.parametrize("averaged", [False, True])
def test_a_solved_head_knows_what_is_remembered_as_the_module_sees_it_now(averaged):
    slow = EMA(0.9) if averaged else None
    learner = lived([[0, 1], [2]], **solved(slow=slow))
    rows = learner.strategies[0].memory.rows()
    module = copy.deepcopy(learner.module)
    if averaged:
        torch.nn.utils.vector_to_parameters(slow.weights(learner._net), module.parameters())
    features = torch.nn.Sequential(*list(module)[:-1])
    alone = rt.SLDA(batch_size=1)
    alone.learn(rt.Batch(features(rows.x).detach().numpy(), y=rows.y.numpy(), weight=rows.weight.numpy()))
    x = naive.batch(rows=40, seed=5).x
    expected = alone.predict(features(torch.from_numpy(x)).detach().numpy())
    np.testing.assert_allclose(learner.predict(x), expected, atol=1e-5)


def test_a_solved_head_learns_rows_as_they_come():
    learner = lived([[0, 1]], **solved())
    twin = rt.SLDA(batch_size=1)
    twin.load_state_dict(learner.head.state_dict()["learner"])
    batch = rt.Batch(naive.batch(seed=3).x[: naive.SIZE], y=np.full(naive.SIZE, 2))
    learner.learn(batch)
    features = torch.nn.Sequential(*list(learner.module)[:-1])
    twin.learn(rt.Batch(features(torch.from_numpy(batch.x)).detach().numpy(), y=batch.y))
    x = naive.batch(rows=40, seed=5).x
    expected = twin.predict(features(torch.from_numpy(x)).detach().numpy())
    np.testing.assert_allclose(learner.predict(x), expected, atol=1e-5)


def test_a_solved_head_reads_a_memory_that_somebody_fills():
    learner = naive.learner(head=Solved(rt.SLDA, ClassBalanced(20)))
    learner.learn(naive.batch())
    with pytest.raises(rt.errors.SettingError, match=r"Solved\(make, replay\.memory\)"):
        learner.consolidate([])
