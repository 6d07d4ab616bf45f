"""Masks against plain loops: what is zero stays zero, as many as there should be, and the right ones move."""

from itertools import pairwise

import numpy as np
import pytest
import torch

import retain as rt
from retain.errors import SettingError
from retain.strategies import Sparse
from retain.strategies.sparse import chosen, renewed

torch.set_num_threads(1)
X = np.random.default_rng(0).normal(size=(600, 16)).astype(np.float32)
BATCH = rt.Batch(X, y=(X[:, 0] > 0).astype(int))
OPTIMISERS = {
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
}


def make(sparse, optimiser="adam", module=None, **settings):
    module = module or rt.neural.MLP(16, 20, 12, 2)
    adam = OPTIMISERS[optimiser](module.parameters())
    return rt.Neural(module, optimizer=adam, strategies=[sparse], batch_size=10, **settings)


def zeros(module):
    return [int((p == 0).sum()) for p in module.parameters() if p.ndim > 1]


@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_as_many_zeros_as_there_should_be_after_every_step(optimiser, moving):
    learner = make(Sparse(0.75, moving=moving, every=3, renewal=0.3), optimiser)
    masks = []
    for start in range(0, 600, 10):
        learner.learn(rt.Batch(X[start : start + 10], y=BATCH.y[start : start + 10]))
        gone = learner.strategies[0].state_dict()["gone"]
        weights = learner.model.weights.numpy()
        assert not weights[gone].any()
        assert gone.sum() == 240 + 180
        assert 240 <= zeros(learner.module)[0] <= 240 + 24  # those that just came to life are still zero
        assert zeros(learner.module)[2] == 0
        masks.append(gone)
    changes = [int((a != b).sum()) for a, b in pairwise(masks)]
    if not moving:
        assert not any(changes)
    else:
        assert [i for i, change in enumerate(changes) if change] == list(range(1, 59, 3))
        assert max(changes) == 2 * (24 + 18)


def test_a_move_against_loops():
    random = np.random.default_rng(1)
    for _ in range(20):
        weight, slope = random.normal(size=30), random.normal(size=30)
        gone = chosen(torch.from_numpy(np.abs(weight))[None], 12)
        assert set(np.flatnonzero(~gone[0])) == set(np.argsort(-np.abs(weight))[:12])
        weight[gone[0].numpy()] = 0
        new = renewed(gone, torch.from_numpy(weight)[None], torch.from_numpy(slope)[None], share=0.25)[0].numpy()
        here = [j for j in range(30) if not gone[0, j]]
        there = [j for j in range(30) if gone[0, j]]
        goes = sorted(here, key=lambda j: abs(weight[j]))[:3]
        comes = sorted(there, key=lambda j: -abs(slope[j]))[:3]
        assert set(np.flatnonzero(~new)) == (set(here) - set(goes)) | set(comes)


def test_moves_of_a_pattern_against_loops():
    random = np.random.default_rng(1)
    weight, slope = random.normal(size=(10, 4)), random.normal(size=(10, 4))
    gone = chosen(torch.from_numpy(np.abs(weight)), 2)
    weight[gone.numpy()] = 0
    new = renewed(gone, torch.from_numpy(weight), torch.from_numpy(slope), share=0.3).numpy()
    assert (new.sum(1) == 2).all()
    least = {i: min(abs(weight[i, j]) for j in range(4) if not gone[i, j]) for i in range(10)}
    for i in range(10):
        expected = {j for j in range(4) if gone[i, j]}
        if i in sorted(least, key=least.get)[:3]:
            goes = next(j for j in range(4) if abs(weight[i, j]) == least[i])
            expected = expected - {max(expected, key=lambda j, i=i: abs(slope[i, j]))} | {goes}
        assert set(np.flatnonzero(new[i])) == expected


def test_pattern_holds_in_every_row_and_layers_that_do_not_fit_are_left_alone():
    module = torch.nn.Sequential(
        *(torch.nn.Unflatten(1, (1, 4, 4)), torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 2)),
        *(torch.nn.Flatten(), torch.nn.Linear(8, 2)),
    )
    learner = make(Sparse(pattern=(1, 4), every=2), module=module)
    learner.learn(BATCH)
    assert not (module[1].weight == 0).any()  # nine weights to an output
    alive = (module[3].weight != 0).reshape(-1, 4).sum(1)
    assert (alive <= 1).all()
    assert alive.float().mean() > 0.9


def test_the_mask_finds_what_matters():
    """Of 64 inputs one tells the class; a mask that moves has weights there, one that is fixed has some by chance."""
    alive = []
    for moving in (True, False):
        total = 0
        for seed in (0, 1, 2):
            x = np.random.default_rng(seed).normal(size=(4000, 64)).astype(np.float32)
            sparse = Sparse(0.95, moving=moving, every=10, renewal=0.3)
            learner = make(sparse, "momentum", module=rt.neural.MLP(64, 20, 2, seed=seed))
            learner.learn(rt.Batch(x, y=(x[:, 7] > 0).astype(int)))
            total += int((learner.module[1].weight[:, 7] != 0).sum())
        alive.append(total)
    assert alive[0] > 10 > alive[1]


def test_settings_and_modules_that_do_not_fit_are_refused():
    for wrong in ({}, {"share": 0.5, "pattern": (2, 4)}):
        with pytest.raises(SettingError, match="expected one of them"):
            Sparse(**wrong)
    for wrong in ({"share": 1.0}, {"share": 0.0}, {"pattern": (4, 4)}, {"pattern": (0, 4)}):
        with pytest.raises(SettingError, match="n < m"):
            Sparse(**wrong)
    for wrong in ({"every": 0}, {"renewal": 0.0}, {"renewal": 1.5}):
        with pytest.raises(SettingError, match="at least 1"):
            Sparse(0.5, **wrong)
    with pytest.raises(SettingError, match="no layer to mask in the Sequential"):
        make(Sparse(0.5), module=rt.neural.MLP(16, 2)).learn(BATCH)
    with pytest.raises(SettingError, match="a multiple of 7 weights"):
        make(Sparse(pattern=(1, 7))).learn(BATCH)


def test_another_shape_keeps_what_is_zero_and_the_share():
    learner = make(Sparse(0.75))
    learner.learn(BATCH)
    units = learner.module[1].weight.detach().norm(dim=1).argsort()[10:]  # the sparsest ten go
    kept = torch.cat([torch.arange(320).view(20, 16)[units].flatten(), torch.full((10 + 10 * 12 + 12 + 26,), -1)])
    module = rt.neural.MLP(16, 10, 12, 2)
    with torch.no_grad():
        module[1].weight.copy_(learner.module[1].weight[units])
    alive = module[1].weight != 0
    other = learner.reshaped(module, kept=kept)
    other.learn(rt.Batch(X[:10], y=BATCH.y[:10]))
    assert zeros(other.module)[:2] == [120, 90]
    assert not (module[1].weight != 0)[~alive].any()
