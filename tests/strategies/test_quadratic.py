"""What penalties have in common: the bound on the pull, and that they keep what they should."""

from functools import cache

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import retain as rt
from retain.strategies import EWC, MAS, SI, OnlineEWC
from retain.strategies.quadratic import bounded

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=2e-3),
}


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])  # compiled, and by torch
def test_the_pull_is_no_longer_than_the_gradient(kind):
    gradient, weights = torch.tensor([3.0, 4.0, 0.0], dtype=kind), torch.tensor([1.0, 1.0, 3.0], dtype=kind)
    bend, rest = torch.tensor([0.5, 0.5, 1.0], dtype=kind), torch.tensor([1.0, 1.0, 1.0], dtype=kind)  # 0, 0, 2
    for strength, expected in ((1.0, 1.0), (2.5, 2.5), (1e9, 2.5)):
        assert bounded(bend, rest, weights, gradient, strength=strength) == pytest.approx(expected)
    assert bounded(bend, rest, weights, 0 * gradient, strength=10.0) == 0
    assert bounded(0 * bend, rest, weights, 0 * gradient, strength=10.0) == 10  # at the anchor nothing pulls
    assert np.isnan(bounded(bend, torch.inf * rest, weights, gradient, strength=10.0))


@cache
def experiences():
    """Small digits, their pixels in another order each time: what was learnt first is forgotten."""
    x, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    pixels = (x / 16).astype(np.float32)
    return [rt.Batch(np.ascontiguousarray(pixels[:, rng.permutation(64)]), y=y) for _ in range(3)]


def kept(optimizer, *strategies):
    """Accuracy on the first two experiences after all three."""
    module = rt.neural.MLP(64, 100, 10)
    optimiser = OPTIMIZERS[optimizer](module.parameters())
    learner = rt.Neural(module, strategies=strategies, batch_size=20, optimizer=optimiser)
    for batch in experiences():
        for _ in range(4):
            learner.learn(batch)
        learner.consolidate([batch])
    return np.mean([learner.predict(batch.x).argmax(1) == batch.y for batch in experiences()[:2]])


FORGOTTEN = {name: cache(lambda name=name: kept(name)) for name in OPTIMIZERS}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("make", [EWC, OnlineEWC, SI, MAS])
def test_what_was_learnt_first_is_kept(make, optimizer):
    """By what is set by default, under optimisers whose steps are of other sizes: .82, .83, .75, .82 instead of .62."""
    assert kept(optimizer, make()) > FORGOTTEN[optimizer]() + 0.08
