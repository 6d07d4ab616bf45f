"""Every kind of artefact obeys the laws of what only answers.

Tolerances of the block law: ONNX Runtime and BLAS add up in another order for another number of rows, 1e-6 of an
answer. Dynamic eight bits find the range of activations in each block: a step of 1/255 of it, in every layer.
"""

import numpy as np
import pyarrow as pa
import pytest

import retain as rt
from retain.compose import Steps
from retain.compression import (
    Artifact,
    Draft,
    FewerBits,
    Half,
    Int8,
    Lessons,
    MajorityLeaves,
    Narrow,
    PruneBranches,
    PruneMembers,
    Shrink,
    Truncate,
)
from retain.compression.draft import transforms
from retain.compression.forms import formed

pytest.importorskip("torch", reason="needs the extra `torch`")
pytest.importorskip("onnxruntime", reason="needs the extra `deploy`")

ORDER, ROUNDED = 1e-6, 0.1
RNG = np.random.default_rng(0)
WORDS = pa.record_batch({name: RNG.choice(list("abcdefgh"), 60) for name in ("first", "then")})
ROWS = rt.Batch(RNG.normal(size=(60, 12)).astype(np.float32), y=RNG.integers(3, size=60))


def net():
    return rt.Neural(rt.neural.MLP(12, 32, 3))


def hashed():
    return rt.Hash(bits=10) | rt.Linear(loss=rt.Logistic(), update=rt.FTRL())


def narrowing():
    return rt.Scale() | rt.RandomFeatures(40) | rt.Ridge(batch_size=10)


def forest():
    return rt.ARF(4, tree=rt.HoeffdingTree(grace=10, delta=0.3, nominal=[3]))


def tree():
    return rt.Scale() | rt.HoeffdingAdaptiveTree(grace=10, delta=0.3, leaf="bayes")


CASES = {
    "net": (net, (), ORDER),
    "net in sixteen bits": (net, (Half(),), ORDER),
    "net in eight bits": (net, (Int8(),), ROUNDED),
    "net in calibrated eight bits": (net, (Int8(static=True),), ORDER),
    "smaller net": (net, (Shrink(0.5),), ORDER),
    "chain": (lambda: rt.Scale() | net(), (), ORDER),
    "weights": (lambda: rt.Linear(loss=rt.Multinomial()), (Half(),), ORDER),
    "weights of numbers": (rt.RLS, (), ORDER),
    "means": (lambda: rt.NearestMean(batch_size=10), (Int8(static=True),), ORDER),
    "fewer features": (narrowing, (Narrow(0.5), Half()), ORDER),
    "table": (hashed, (), 0.0),
    "table of fewer weights": (hashed, (Truncate(0.3), FewerBits(9), Int8()), 0.0),
    "forest": (forest, (), 0.0),
    "smaller forest": (forest, (MajorityLeaves(), PruneBranches(0.3), PruneMembers(0.5), Int8()), 0.0),
    "tree": (tree, (Half(),), 0.0),
}


@pytest.mark.parametrize("name", CASES)
def test_laws(name):
    make, steps, tolerance = CASES[name]
    rows = rt.Batch(WORDS if make is hashed else ROWS.x, y=ROWS.y / 2 if make is rt.RLS else ROWS.y)
    learner = make()
    learner.learn(rows)
    draft = Draft(learner)
    for step in steps:
        draft = step(draft, Lessons([rows], teacher=learner))
    given = Steps(transforms(draft.learner)).apply(rows.x)
    form = formed(draft.learner, given, threads=1).formatted(draft.learner, draft.format, given)
    artifact = Artifact.of(learner, draft.learner, form)
    accepts = {"accepts_missing": make is forest}
    rt.testing.check_predictor(artifact, lambda: Artifact(make()), rows, tolerance=tolerance, tries=3, **accepts)
