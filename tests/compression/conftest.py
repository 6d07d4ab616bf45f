import numpy as np
import pytest
import torch
from tests.compression.nets import Case, Residual, net, rows

import retain as rt
from retain.compression.graph import exported


@pytest.fixture(scope="session")
def plain() -> Case:
    learner = net()
    for seed in range(3):
        learner.learn(rows(2_000, seed=seed))
    return Case(learner, net(), rows(6_000, seed=7), exported(learner).SerializeToString())


@pytest.fixture(scope="session")
def images() -> Case:
    def make() -> rt.Neural:
        torch.manual_seed(0)
        return rt.Neural(Residual(), batch_size=16)

    rng = np.random.default_rng(0)
    y = rng.integers(3, size=320)
    x = rng.normal(size=(320, 3, 8, 8)).astype(np.float32)
    x[np.arange(320), y] += 1.0
    learner = make()
    learner.learn(rt.Batch(x, y=y))
    return Case(learner, make(), rt.Batch(x, y=y), exported(learner).SerializeToString())
