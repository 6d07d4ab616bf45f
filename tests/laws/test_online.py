"""`OnlineMLP` through the laws."""

import math
from dataclasses import replace

import numpy as np
import pytest

import retain as rt
from retain import blocks, testing
from retain.learners.neural import Net

LEARNERS = {
    "default": lambda: rt.OnlineMLP(hidden=(8, 5)),
    "one net": lambda: rt.OnlineMLP(hidden=(6,), nets=[Net(0.02, memory=0)]),
    "deep, rehearsing": lambda: rt.OnlineMLP(
        hidden=(5, 4, 3), nets=[Net(0.01), Net(0.1, memory=math.inf, rehearses=True)], rehearsals=2.5, window=16
    ),
}


def sparse(batch):
    """The same rows as CSR, a third of the entries left out."""
    x = np.where(np.random.default_rng(0).random(batch.x.shape) < 0.3, 0, batch.x).astype(np.float32)
    row, column = np.nonzero(x)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(x)))]).astype(np.int64)
    return replace(batch, x=rt.CSR(indptr, column.astype(np.int32), x[row, column], x.shape[1]))


@pytest.mark.parametrize("form", [lambda batch: batch, sparse], ids=["dense", "sparse"])
@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("name", LEARNERS)
def test_online_nets(name, task, form):
    batch = form(testing.examples(task))
    missing = isinstance(batch.x, np.ndarray)  # the law looks for NaN to be refused in sparse rows
    if not missing:
        testing.learner_blocks(LEARNERS[name], batch, [5, 5, 20])
        testing.learner_resume(LEARNERS[name], batch, [5, 5, 20])
        testing.learner_before(LEARNERS[name], batch)
        return
    # A mean over nets and depths, each of which leaves a newcomer another share.
    testing.check_learner(LEARNERS[name], batch, accepts_missing=True, mixes=True, tries=5)


def test_rows_with_gaps_obey_the_laws_too():
    batch = testing.examples("regression")
    x = batch.x.copy()
    x[np.random.default_rng(0).random(x.shape) < 0.2] = np.nan
    testing.learner_blocks(LEARNERS["default"], replace(batch, x=x), [1, 7, 30])
    testing.learner_resume(LEARNERS["default"], replace(batch, x=x), [1, 7, 30])


@pytest.mark.parametrize("name", LEARNERS)
def test_online_nets_of_several_numbers(name):
    batch = testing.examples("regression")
    two = replace(batch, y=np.c_[batch.y, 1 - batch.y])
    testing.learner_blocks(LEARNERS[name], two, [5, 5, 20])
    testing.learner_resume(LEARNERS[name], two, [5, 5, 20])
    testing.learner_purity(LEARNERS[name], two)
    testing.learner_poison(LEARNERS[name], two, accepts_missing=True)


def feed(task):
    batch = testing.examples(task)
    return lambda part, start, stop: part.learn(blocks.take_batch(batch, slice(start, stop)))


PARTS = {
    f"{task}: {name}": (make, feed(task))
    for name, make in LEARNERS.items()
    for task in ("classification", "regression")
}


def test_online_nets_go_on_in_a_new_process():
    testing.resume_in_new_process(__file__, "PARTS", rows=48)
