"""Pairs of layers against the singular values that they should keep."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'retain[torch]'")

from torch import nn  # noqa: E402 - after the skip

import retain as rt  # noqa: E402
from retain import state  # noqa: E402
from retain.compression import Draft, Lessons, LowRank  # noqa: E402
from retain.compression.steps.low_rank import halves  # noqa: E402
from retain.errors import SettingError  # noqa: E402

torch.set_num_threads(1)
rng = np.random.default_rng(0)
X = rng.normal(size=(200, 16)).astype(np.float32)
IMAGES = rng.normal(size=(8, 3, 8, 8)).astype(np.float32)


def factored(module, x, share=0.3):
    learner = rt.Neural(module, batch_size=8)
    batch = rt.Batch(x, y=np.arange(len(x)) % 2)
    learner.learn(batch)
    before = state.encode(learner.state_dict())
    small = LowRank(share)(Draft(learner), Lessons([batch], teacher=learner)).learner
    assert state.encode(learner.state_dict()) == before
    return learner, small, batch


def test_error_is_that_of_the_values_left_out():
    weight = torch.from_numpy(rng.normal(size=(12, 9)))
    values = np.linalg.svd(weight.numpy(), compute_uv=False)
    for rank in (1, 4, 8):
        first, second = halves(weight, rank)
        apart = float((second @ first - weight).square().sum())
        assert apart == pytest.approx((values[rank:] ** 2).sum(), rel=1e-9)


def test_a_weight_of_low_rank_is_kept_whole():
    module = rt.neural.MLP(16, 64, 64, 2)
    with torch.no_grad():
        module[3].weight.copy_(torch.randn(64, 8) @ torch.randn(8, 64) / 8)
    learner = rt.Neural(module)
    batch = rt.Batch(X, y=np.zeros(200, int))
    small = LowRank(0.7)(Draft(learner), Lessons([batch], teacher=learner)).learner
    torch.testing.assert_close(small.module[3](torch.ones(64)), module[3](torch.ones(64)))
    assert small.module[3][0].out_features == 9  # the largest that saves 70 %: 9 * 128 <= .3 * 4096


def test_convolutions_keep_stride_and_padding():
    module = nn.Sequential(
        *(nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 2)),
    )
    learner, small, _ = factored(module, IMAGES, share=0.05)
    rows = torch.from_numpy(IMAGES)
    assert isinstance(small.module[2], nn.Sequential)
    full = nn.Sequential(*small.module[:1], nn.Identity())(rows)
    assert full.shape == learner.module[0](rows).shape
    assert small.module[6] is not learner.module[6]
    assert torch.equal(small.module[6].weight, learner.module[6].weight)


def test_it_goes_on_learning_and_pairs_are_not_split_again():
    _, small, batch = factored(rt.neural.MLP(16, 64, 64, 2), X)
    small.learn(batch)
    assert small.skipped == 0
    with pytest.raises(SettingError, match="no layer of the module"):
        LowRank(0.1)(Draft(small), Lessons([batch], teacher=small))


def test_what_is_not_saved_by_a_pair_is_left():
    with pytest.raises(SettingError, match="takes 50% fewer multiply-adds"):
        factored(rt.neural.MLP(16, 2, 2), X, share=0.5)
    with pytest.raises(SettingError, match="0 < share < 1"):
        LowRank(0.0)
