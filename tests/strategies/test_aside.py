"""What is put aside returns, whatever happens in between."""

import numpy as np
import pytest
import torch
from torch import nn

import retain as rt
from retain import state
from retain.errors import PoisonError
from retain.strategies import PackNet, ProgressCompress, Rounded, progress
from retain.strategies.aside import copies, from_state, lent, to_state

torch.set_num_threads(1)
X = np.random.default_rng(0).normal(size=(96, 4)).astype(np.float32)
PARTS = {"packnet": lambda: PackNet(size=8), "progress and compress": lambda: ProgressCompress(size=8)}


def normed():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))


def block(task, x=X):
    return rt.Batch(x, y=2 * task + (x[:, task] > 0), task=np.full(len(x), task))


def lived(part, *others):
    """A learner that has ended an experience, and is before the end of another."""
    learner = rt.Neural(normed(), strategies=[part, *others], batch_size=8, task_masks=True)
    learner.learn(block(0))
    learner.consolidate([block(0)])
    learner.learn(block(1))
    return learner


def poisoned():
    x = X.copy()
    x[3, 2] = np.nan
    return rt.Batch(x, y=block(1).y, task=block(1).task)


@pytest.mark.parametrize("part", PARTS)
def test_an_error_at_the_end_of_an_experience_leaves_the_learner_as_it_was(part):
    learner = lived(PARTS[part]())
    before = learner.state_dict()
    with pytest.raises(PoisonError, match="nan"):
        learner.consolidate([block(1), poisoned()])
    assert state.equal(learner.state_dict(), before)
    other = lived(PARTS[part]())
    for one in (learner, other):
        one.consolidate([block(1)])
    assert state.equal(learner.state_dict(), other.state_dict())
    assert not state.equal(learner.state_dict(), before)


def test_an_interruption_between_two_ways_does_too(monkeypatch):
    """While other weights lie where the module looks for its own."""

    def towards(model, forward, said, /, *, temperature):
        if not next(left):
            raise KeyboardInterrupt
        return own(model, forward, said, temperature=temperature)

    learner = lived(ProgressCompress(size=8), Rounded(bits=3))
    before, left, own = learner.state_dict(), iter([2, 1, 0]), progress.towards
    monkeypatch.setattr(progress, "towards", towards)
    with pytest.raises(KeyboardInterrupt):
        learner.consolidate([block(1)])
    assert state.equal(learner.state_dict(), before)


def test_what_was_lent_returns():
    module = normed()
    buffers, before = tuple(module.buffers()), copies(tuple(module.buffers()))
    others = tuple(buffer + 1 for buffer in buffers)
    with pytest.raises(KeyboardInterrupt), lent(buffers, others):
        raise KeyboardInterrupt
    assert all(torch.equal(*pair) for pair in zip(buffers, before, strict=True))
    with lent(buffers, others):
        assert all(torch.equal(*pair) for pair in zip(buffers, others, strict=True))
    assert all(torch.equal(*pair) for pair in zip(from_state(to_state(others)), others, strict=True))
