"""Forests that the tests of compression share, and their rows."""

from typing import Any

import numpy as np

import retain as rt

KINDS: dict[str, Any] = {
    "HoeffdingTree": rt.HoeffdingTree,
    "EFDT": rt.EFDT,
    "HoeffdingAdaptiveTree": rt.HoeffdingAdaptiveTree,
    "ARF": rt.ARF,
    "SRP": rt.SRP,
    "LeveragingBagging": rt.LeveragingBagging,
    "OnlineBagging": rt.OnlineBagging,
    "OnlineBoosting": rt.OnlineBoosting,
}
NOMINAL = 2


def rows(n: int, *, seed: int = 0, gaps: bool = True, classes: int = 3) -> rt.Batch:
    """Two numbers that matter together, a nominal feature of more values than buckets, a constant, a large number."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 6)).astype(np.float32)
    x[:, NOMINAL] = rng.integers(0, 50, n)
    x[:, 4] = 1e6 + 1e3 * x[:, 4]
    x[:, 5] = 3.3
    y = ((x[:, 0] * x[:, 1] > 0).astype(int) + (x[:, NOMINAL] % 3 == 0)) % classes
    y = np.where(rng.random(n) < 0.05, rng.integers(0, classes, n), y)
    if gaps:
        x[rng.random(x.shape) < 0.03] = np.nan
    return rt.Batch(x, y=y)


def made(name: str, **tree: Any) -> Any:
    """A learner of three trees, or one, which has learnt nothing."""
    given = {"nominal": [NOMINAL], **tree}
    if name in ("HoeffdingTree", "EFDT", "HoeffdingAdaptiveTree"):
        return KINDS[name](**given)
    return KINDS[name](3, tree=rt.HoeffdingTree(**given))


def learnt(name: str, n: int = 4_000, **tree: Any) -> Any:
    learner = made(name, **tree)
    learner.learn(rows(n))
    return learner


def numbers(n: int, *, seed: int = 0) -> rt.Batch:
    """Numbers only, without gaps, and two classes."""
    x = np.random.default_rng(seed).normal(size=(n, 5)).astype(np.float32)
    return rt.Batch(x, y=((x[:, 0] * x[:, 1] > 0) ^ (x[:, 2] > 1)).astype(int))
