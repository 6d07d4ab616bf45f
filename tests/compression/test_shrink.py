"""Structured pruning: the right units, all that belongs to them, and nothing else."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'retain[torch]'")
pytest.importorskip("torch_pruning", reason="needs torch-pruning: pip install 'retain[deploy]'")

from torch import nn  # noqa: E402 - after the skip

import retain as rt  # noqa: E402
from retain import state  # noqa: E402
from retain.compression import Distil, Draft, Lessons, Shrink  # noqa: E402
from retain.errors import SettingError  # noqa: E402

torch.set_num_threads(1)
rng = np.random.default_rng(0)
FLAT = rng.normal(size=(300, 8)).astype(np.float32)
IMAGES = rng.normal(size=(32, 3, 8, 8)).astype(np.float32)
TOKENS = rng.integers(0, 50, size=(32, 5))


def shrunk(module, x, share=0.5, **settings):
    """A learner that has learnt a little, and what became of it."""
    batch = rt.Batch(x, y=np.arange(len(x)) % 3)
    learner = rt.Neural(module, batch_size=16)
    learner.learn(batch)
    before = state.encode(learner.state_dict())
    small = Shrink(share, **settings)(Draft(learner), Lessons([batch], teacher=learner)).learner
    assert state.encode(learner.state_dict()) == before
    small.learn(batch)
    assert small.skipped == 0
    assert state.encode(learner.state_dict()) == before
    return small.module


def sizes(module):
    return {name: tuple(p.shape) for name, p in module.named_parameters() if p.ndim > 1}


def test_sizes_of_linear_layers():
    assert sizes(shrunk(rt.neural.MLP(8, 64, 48, 3), FLAT, 0.25)) == {
        "1.weight": (48, 8),
        "3.weight": (36, 48),
        "5.weight": (3, 36),
    }


def test_channels_stay_divisible_by_the_groups_of_a_norm():
    module = shrunk(rt.neural.ConvNet(3, 3), IMAGES, 0.4)
    assert [module[i].out_channels for i in (0, 4, 8)] == [16, 40, 80]  # 4 of 4 in 8 groups: 2 of each go
    assert [(module[i].num_channels, module[i].num_groups) for i in (1, 5, 9)] == [(16, 8), (40, 8), (80, 8)]


def test_residual_streams_are_left_alone_unless_it_is_asked_for():
    full, inner, outer = (
        sizes(one)
        for one in (
            rt.neural.ResNet18(3, width=8),
            shrunk(rt.neural.ResNet18(3, width=8), IMAGES),
            shrunk(rt.neural.ResNet18(3, width=8), IMAGES, streams=True),
        )
    )
    assert inner["3.conv1.weight"] == (4, 8, 3, 3)
    assert inner["10.conv2.weight"] == (64, 32, 3, 3)
    assert inner["13.weight"] == full["13.weight"] == (3, 64)
    assert outer["10.conv2.weight"] == (32, 32, 3, 3)
    assert outer["0.weight"] == (4, 3, 3, 3)
    assert outer["13.weight"] == (3, 32)


def bert():
    transformers = pytest.importorskip("transformers", reason="needs transformers: pip install 'retain[text]'")

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            config = transformers.BertConfig(
                hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, vocab_size=50
            )
            self.bert = transformers.BertModel(config, add_pooling_layer=False)
            self.head = nn.Linear(32, 3)

        def forward(self, x):
            return self.head(self.bert(x).last_hidden_state[:, 0])

    return Encoder()


def encoder():
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    return nn.Sequential(nn.Linear(8, 16), nn.Unflatten(1, (1, 16)), layer, nn.Flatten(), nn.Linear(16, 3))


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(("make", "x"), [(bert, TOKENS), (encoder, FLAT)])
def test_of_transformers_only_the_layers_between_are_cut(make, x, streams):
    module = make()
    before = sizes(module)
    after = sizes(shrunk(module, x, streams=streams))
    changed = {name: (before[name], after[name]) for name in before if before[name] != after[name]}
    assert set(changed) == {name for name in before if "intermediate" in name or "linear1" in name} | {
        name for name in before if ("output.dense" in name and "attention" not in name) or "linear2" in name
    }
    assert all(
        old[dim] == 2 * new[dim] and old[1 - dim] == new[1 - dim]
        for name, (old, new) in changed.items()
        for dim in [int("output" in name or "linear2" in name)]
    )


@pytest.mark.parametrize(
    ("make", "x", "silent"),
    [
        (lambda: rt.neural.MLP(8, 32, 32, 3), FLAT, ["1", "3"]),
        (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.PReLU(8), nn.Flatten(), nn.Linear(8 * 36, 3)), IMAGES, ["0"]),
        (
            lambda: nn.Sequential(
                *(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU()),
                *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 3)),
            ),
            IMAGES,
            ["1", "3"],
        ),
    ],
)
def test_units_that_say_nothing_go_first_and_are_not_missed(make, x, silent):
    batch = rt.Batch(x, y=np.arange(len(x)) % 3)
    module = make()
    rt.Neural(module, batch_size=16).learn(batch)
    with torch.no_grad():
        for path in silent:  # every second unit is 0 whatever comes
            for p in module.get_submodule(path).parameters():
                p[::2] = 0
    module.eval()
    expected = module(torch.from_numpy(x)).detach()
    learner = rt.Neural(module)
    small = Shrink(0.5)(Draft(learner), Lessons([batch], teacher=learner)).learner.module.eval()
    assert sizes(small) != sizes(module)
    torch.testing.assert_close(small(torch.from_numpy(x)).detach(), expected, rtol=1e-4, atol=1e-5)


def test_running_statistics_follow():
    module = rt.neural.ResNet18(3, width=8)
    norm = module[4].norm1
    with torch.no_grad():
        norm.weight[:4], norm.bias[:4] = 0, 0
        norm.running_mean[:] = torch.arange(8.0)
    small = Shrink(0.5)(Draft(rt.Neural(module)), Lessons([rt.Batch(IMAGES, y=np.zeros(32, int))], rt.Neural(module)))
    assert small.learner.module[4].norm1.running_mean.tolist() == [4.0, 5.0, 6.0, 7.0]
    assert small.learner.module[4].norm1.num_features == 4


class Added(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.head = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(x + self.a(x))


class Rigid(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.head = nn.Linear(8, 16), nn.Linear(16, 3)

    def forward(self, x):
        return self.head(self.a(x).relu().view(-1, 16))


class Untraceable(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(8, 3)

    def forward(self, x):
        return self.a(x.detach()) if not torch.is_grad_enabled() else self.a(x)[0, 0, 0]


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Added(), "a is one of several that add to one stream"),
        (Rigid(), "its code counts on a width"),
        (rt.neural.MLP(8, 3), "no hidden layer that was traced"),
        (nn.Sequential(nn.Unflatten(1, (2, 4)), rt.neural.GRU(4, 3)), "no hidden layer that was traced"),
    ],
)
def test_what_may_not_be_cut_is_refused_with_a_reason(module, message):
    with pytest.raises(SettingError, match=message):
        shrunk(module, FLAT)


def test_what_cannot_be_traced_is_refused():
    learner = rt.Neural(Untraceable())
    batch = rt.Batch(FLAT, y=np.zeros(300, int))
    learner.learn(rt.Batch(FLAT))
    with pytest.raises(SettingError, match="cannot be traced"):
        Shrink(0.5)(Draft(learner), Lessons([batch], teacher=learner))


def test_bad_settings_and_learners():
    batch = rt.Batch(FLAT, y=np.zeros(300, int))
    for share in (0, 1, float("nan")):
        with pytest.raises(SettingError, match="0 < share < 1"):
            Shrink(share)
    with pytest.raises(SettingError, match=r"Shrink cuts the module of an rt\.Neural; got Linear"):
        Shrink(0.5)(Draft(rt.Linear()), Lessons([batch], teacher=rt.Linear()))
    learner = rt.Neural(rt.neural.MLP(8, 16, 3))
    with pytest.raises(SettingError, match="no labelled rows"):
        Shrink(0.5)(Draft(learner), Lessons([rt.Batch(FLAT)], teacher=learner))


def test_at_the_end_of_a_chain():
    chain = rt.Scale() | rt.Neural(rt.neural.MLP(8, 32, 3), batch_size=10)
    batch = rt.Batch(FLAT * 100 + 7, y=(FLAT[:, 0] > 0).astype(int))
    for _ in range(30):
        chain.learn(batch)
    small = Shrink(0.75, recover=Distil(passes=10, rate=0.01))(Draft(chain), Lessons([batch], teacher=chain)).learner
    assert small.learner.module[1].out_features == 8
    assert ((small.predict(batch.x).argmax(1) == batch.y).mean()) > 0.95
