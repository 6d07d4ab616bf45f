"""Rounded weights in, long weights stepped: against a loop that is written out, and what rounding then costs."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

import retain as rt
from retain.compression import Draft, Int8, Lessons
from retain.compression.forms import Graph
from retain.compression.graph import initialisers
from retain.compression.session import parsed
from retain.errors import SettingError
from retain.strategies import EMA, Rounded
from retain.strategies.rounded import rounded

torch.set_num_threads(1)
X = np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32)
BATCH = rt.Batch(X, y=(X[:, 0] * X[:, 1] > 0).astype(int))


class Skipping(nn.Module):
    """Gone through by autograd."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(6, 12), nn.Linear(12, 12), nn.Linear(12, 2)

    def forward(self, x):
        x = torch.relu(self.first(x))
        return self.last(x + torch.relu(self.middle(x)))


def seeded(make):
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return make()


MODULES = {"layers": lambda: rt.neural.MLP(6, 12, 12, 2), "autograd": lambda: seeded(Skipping)}


def by_hand(weight, bits):
    """One number after the other."""
    most = 2 ** (bits - 1) - 1
    out = np.empty_like(weight)
    for c, row in enumerate(weight.reshape(len(weight), -1)):
        scale = np.float32(np.abs(row).max() / most)
        out.reshape(len(weight), -1)[c] = [np.float32(np.rint(w / scale)) * scale if scale else w for w in row]
    return out


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_rounding_against_a_loop(bits):
    weight = np.random.default_rng(1).normal(size=(5, 3, 4)).astype(np.float32)
    weight[2] = 0
    said = rounded(torch.from_numpy(weight), bits=bits)
    np.testing.assert_allclose(said, by_hand(weight, bits), rtol=1e-6)
    np.testing.assert_allclose(rounded(said, bits=bits), said, rtol=1e-6)  # again changes nothing


@pytest.mark.parametrize("module", MODULES)
def test_steps_against_a_loop(module):
    net = MODULES[module]()
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    learner = rt.Neural(net, optimizer=sgd, strategies=[Rounded(bits=4)], batch_size=10)
    masters = {name: p.detach().clone() for name, p in MODULES[module]().named_parameters()}
    told = learner.learn(BATCH)
    for start in range(0, 300, 10):
        x, y = torch.from_numpy(X[start : start + 10]), torch.from_numpy(BATCH.y[start : start + 10])
        seen = {n: torch.from_numpy(by_hand(w.numpy(), 4)) if w.ndim > 1 else w.clone() for n, w in masters.items()}
        leaves = {name: w.requires_grad_() for name, w in seen.items()}
        said = functional_call(MODULES[module](), leaves, (x,))
        if start > 0:
            np.testing.assert_allclose(told[start : start + 10], torch.softmax(said, 1).detach(), atol=1e-5)
        slopes = torch.autograd.grad(functional.cross_entropy(said, y), list(leaves.values()))
        for name, slope in zip(leaves, slopes, strict=True):
            masters[name] = masters[name] - 0.1 * slope
    for name, p in learner.module.named_parameters():
        torch.testing.assert_close(p.detach(), masters[name], atol=2e-6, rtol=0)


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("averaged", [False, True])
def test_it_answers_by_what_is_shipped(module, averaged):
    learner = rt.Neural(
        MODULES[module](), strategies=[Rounded(bits=3)], averaging=EMA(0.9) if averaged else None, batch_size=10
    )
    learner.learn(BATCH)
    served = learner.serving()
    said = torch.softmax(functional_call(learner.module, served, (torch.from_numpy(X),)), 1).detach()
    np.testing.assert_allclose(learner.predict(X), said, atol=1e-6)
    first = next(name for name, value in served.items() if value.ndim > 1)
    assert all(len(row.unique()) <= 7 for row in served[first])
    assert learner.module.state_dict()[first][0].unique().numel() == 6  # the long ones are still there
    np.testing.assert_allclose(Graph.of(learner, X, threads=1).predict(X), learner.predict(X), atol=1e-5)


def test_an_error_in_a_step_leaves_the_long_weights_where_they_were():
    class Raising(rt.strategies.Addend):
        name = "raising"

        def slope(self, model, new, /, *, own):
            raise SettingError("no")

        def state_dict(self):
            return {}

        def load_state_dict(self, state, /):
            pass

    learner = rt.Neural(rt.neural.MLP(6, 12, 2), strategies=[Rounded(bits=3), Raising()], batch_size=10)
    before = learner.model.weights.clone()
    with pytest.raises(SettingError, match="no"):
        learner.learn(BATCH)
    assert torch.equal(learner.model.weights, before)


def test_few_bits_cost_less_where_they_were_learnt_with():
    """Digits with weights rounded afterwards, and all along. At 8 bits there is nothing to win."""
    data = rt.streams.digits()
    (x, y), (asked, wanted) = (
        (one.x.reshape(len(one), -1).astype(np.float32), one.y) for one in (data.train, data.test)
    )
    right = {}
    for bits in (2, 8):
        for own in (False, True):
            learner = rt.Neural(rt.neural.MLP(64, 32, 32, 10), strategies=[Rounded(bits)] if own else [])
            for _ in range(10):
                learner.learn(rt.Batch(x, y=y))
            short = rt.neural.MLP(64, 32, 32, 10)
            state = learner.module.state_dict().items()
            short.load_state_dict({n: rounded(w, bits=bits) if w.ndim > 1 else w for n, w in state})
            right[bits, own] = float((short(torch.from_numpy(asked)).argmax(1).numpy() == wanted).mean())
    assert right[2, True] > right[2, False] + 0.05
    assert abs(right[8, True] - right[8, False]) < 0.02


def test_int8_is_made_of_what_was_learnt_with():
    learner = rt.Neural(rt.neural.MLP(6, 64, 2), strategies=[Rounded()], batch_size=10)
    for _ in range(5):
        learner.learn(BATCH)
    draft = Int8()(Draft(learner), Lessons([BATCH], teacher=learner))
    graph = Graph.of(learner, X, threads=1).formatted(learner, draft.format, X)
    shipped, served, long = initialisers(parsed(graph.data)), learner.serving(), learner.module.state_dict()
    for name in ("1.weight", "3.weight"):
        whole, scale = (shipped[f"{name}_Transposed_{of}"] for of in ("quantized", "scale"))
        assert whole.dtype == np.int8
        np.testing.assert_array_equal((whole * scale).T, served[name])
        assert np.abs((whole * scale).T - long[name].numpy()).max() > 0.4 * scale.max()


def test_what_it_refuses():
    for bits in (1, 17):
        with pytest.raises(SettingError, match="2 to 16"):
            Rounded(bits)
    with pytest.raises(SettingError, match="both say what the module sees"):
        rt.Neural(rt.neural.MLP(6, 2), strategies=[Rounded(), Rounded(name="more")])
