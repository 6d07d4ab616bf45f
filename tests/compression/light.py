"""Linear and analytic learners that the tests of compression share, and their rows."""

import numpy as np
import pyarrow as pa

import retain as rt

BITS = 14


def texts(n: int, *, seed: int = 0, classes: int = 2) -> rt.Batch:
    """Ten words of three hundred, some of which tell the class."""
    rng = np.random.default_rng(seed)
    words = np.minimum(rng.geometric(0.02, size=(n, 10)), 300)
    pull = np.random.default_rng(99).normal(size=(301, classes))
    y = pull[words].sum(axis=1).argmax(axis=1)
    told = [" ".join(f"w{word}" for word in row) for row in words]
    return rt.Batch(pa.record_batch({"text": told}), y=y, task=y % 2)


def hashed(**settings) -> rt.Chain:
    given = {"loss": rt.Logistic(), "update": rt.FTRL(alpha=0.5), "l1": 1.0, **settings}
    return rt.Hash(bits=BITS, text="text") | rt.Linear(**given)


def learnt(**settings) -> rt.Chain:
    learner = hashed(**settings)
    learner.learn(texts(6_000))
    return learner


def numbers(n: int, *, seed: int = 0, classes: int = 3) -> rt.Batch:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 8)).astype(np.float32)
    return rt.Batch(x, y=(x[:, :classes] ** 2).argmax(axis=1))


def bent(width: int = 300, **settings) -> rt.Chain:
    """Ridge on random features."""
    return rt.RandomFeatures(width) | rt.Ridge(**{"batch_size": 500, **settings})
