"""Steps over an experience that has ended: of how many rows they are, and what those leave that are not made."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import retain as rt
from retain.rows import take
from retain.strategies.again import again

torch.set_num_threads(1)


def learner():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        module = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    one = rt.Neural(module, batch_size=8)
    one.learn(batch(32))
    return one


def batch(n):
    x = np.random.default_rng(n).normal(size=(n, 4)).astype(np.float32)
    return rt.Batch(x, y=(x[:, 0] > 0).astype(int))


def gone(model, blocks, gradient, *, size=32, passes=1):
    random = torch.Generator().manual_seed(0)
    return again(model, blocks, passes=passes, size=size, rate=0.01, random=random, gradient=gradient)


@pytest.mark.parametrize("size", [1, 10, 32])
def test_no_step_has_fewer_rows_than_were_asked_for(size):
    one = learner()
    for n in [2, 3, size + 1, 2 * size + 1, 100, 311, 1057]:
        seen = []

        def gradient(rows, seen=seen):
            seen.append(rows)
            return torch.zeros_like(one.model.weights)

        rows = one.labelled(batch(n))
        assert gone(one.model, [rows], gradient, size=size) == len(seen)
        assert min(map(len, seen)) >= min(max(size, 2), n)
        assert max(map(len, seen)) <= max(2 * size, 3)
        went = torch.cat([part.x for part in seen]).numpy()
        np.testing.assert_array_equal(np.sort(went, axis=0), np.sort(rows.x.numpy(), axis=0))


def test_a_single_row_joins_the_next_block_and_is_left_out_at_the_end():
    one, seen = learner(), []

    def gradient(rows):
        seen.append(len(rows))
        return one.model.gradient(rows)

    rows = one.labelled(batch(40))
    cuts = [(0, 1), (1, 2), (2, 3), (3, 20), (20, 39), (39, 40)]
    assert gone(one.model, [take(rows, slice(*cut)) for cut in cuts], gradient, passes=2) == 6
    assert seen == [2, 18, 19] * 2
    assert gone(one.model, [take(rows, slice(1))], gradient) == 0


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_step_that_is_not_finite_leaves_no_trace(wrong):
    one = learner()
    model = one.model
    rows = one.labelled(batch(96))
    weights, buffers = model.weights.clone(), [buffer.clone() for buffer in model.module.buffers()]
    assert gone(model, [rows], lambda rows: model.gradient(rows).mul_(wrong)) == 0
    assert torch.equal(model.weights, weights)
    assert all(torch.equal(*pair) for pair in zip(model.module.buffers(), buffers, strict=True))
    assert gone(model, [rows], model.gradient) == 3
    assert int(model.module[1].num_batches_tracked) == int(buffers[2]) + 3
