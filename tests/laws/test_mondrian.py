"""Mondrian trees and forests through the laws."""

from dataclasses import replace

import numpy as np
import pytest

import retain as rt
from retain import blocks, state, testing

SMALL = 12_000  # bytes of a tree: the rows below fill it, so that it is pruned on the way
CLASSES = {
    "tree": rt.MondrianTree,
    "tree, pure nodes split": lambda: rt.MondrianTree(split_pure=True, scaled=False, dirichlet=0.3, step=1.0, seed=3),
    "tree, pruned": lambda: rt.MondrianTree(max_bytes=SMALL, split_pure=True),
    "forest": lambda: rt.AMF(trees=3),
    "forest, pruned": lambda: rt.AMF(trees=3, max_bytes=3 * SMALL),
}
NUMBERS = {
    "tree": rt.MondrianTree,
    "tree, pruned": lambda: rt.MondrianTree(max_bytes=SMALL),
    "forest": lambda: rt.AMF(trees=3),
    "forest, pruned": lambda: rt.AMF(trees=3, max_bytes=3 * SMALL, scaled=False),
}


def missing(batch):
    """The same rows, some values missing."""
    x = batch.x.copy()
    x[np.random.default_rng(0).random(x.shape) < 0.2] = np.nan
    return replace(batch, x=x)


@pytest.mark.parametrize("form", [lambda batch: batch, missing], ids=["whole", "missing"])
@pytest.mark.parametrize("name", CLASSES)
def test_trees_of_classes(name, form):
    # mixes: the mean of all prunings of all trees, each of whose nodes leaves a newcomer another share.
    batch = form(testing.examples("classification"))
    # grows: up to its budget, of which a test is below.
    testing.check_learner(CLASSES[name], batch, accepts_missing=True, mixes=True, grows=True, tries=5)
    testing.learner_before(CLASSES[name], batch)


@pytest.mark.parametrize("form", [lambda batch: batch, missing], ids=["whole", "missing"])
@pytest.mark.parametrize("name", NUMBERS)
def test_trees_of_numbers(name, form):
    batch = form(testing.examples("regression"))
    testing.check_learner(NUMBERS[name], batch, accepts_missing=True, grows=True, tries=5)
    testing.learner_before(NUMBERS[name], batch)


@pytest.mark.parametrize("name", NUMBERS)
def test_trees_of_several_numbers(name):
    batch = testing.examples("regression")
    two = replace(batch, y=np.c_[batch.y, 1 - batch.y])
    testing.learner_blocks(NUMBERS[name], two, [5, 5, 20])
    testing.learner_resume(NUMBERS[name], two, [5, 5, 20])
    testing.learner_before(NUMBERS[name], two)
    testing.learner_purity(NUMBERS[name], two)
    testing.learner_poison(NUMBERS[name], two, accepts_missing=True)


def crowd(n=400, classes=12):
    """Rows enough to fill a small budget several times over, of classes that go on arriving."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, 3)).astype(np.float32)
    y = np.minimum(rng.integers(0, classes, n), np.arange(n) // (n // classes))
    return rt.Batch(x, y=y, weight=rng.choice([0.0, 0.5, 1.0, 3.0], n))


@pytest.mark.parametrize("name", CLASSES)
def test_trees_that_are_pruned_while_classes_arrive(name):
    batch = crowd()
    testing.learner_before(CLASSES[name], batch)
    testing.learner_blocks(CLASSES[name], batch, [1, 50, 51, 200, 399])
    testing.learner_resume(CLASSES[name], batch, [1, 50, 51, 200, 399])


@pytest.mark.parametrize("make", [CLASSES["tree, pruned"], CLASSES["forest, pruned"]], ids=["tree", "forest"])
@pytest.mark.parametrize("numbers", [False, True])
def test_trees_stay_within_their_budget(make, numbers):
    rng = np.random.default_rng(2)
    learner, trees = make(), 1 if isinstance(make(), rt.MondrianTree) else 3
    for _ in range(20):
        x = rng.normal(size=(1000, 5)).astype(np.float32)
        learner.learn(rt.Batch(x, y=x[:, 0] if numbers else rng.integers(0, 3, 1000)))
        assert len(state.encode(learner.state_dict())) < 1.1 * trees * SMALL + 2000 * trees


def feed(batch):
    return lambda part, start, stop: part.learn(blocks.take_batch(batch, slice(start, stop)))


PARTS = {
    **{f"classes: {name}": (make, feed(crowd())) for name, make in CLASSES.items()},
    **{f"numbers: {name}": (make, feed(testing.examples("regression"))) for name, make in NUMBERS.items()},
}


def test_trees_go_on_in_a_new_process():
    testing.resume_in_new_process(__file__, "PARTS", rows=48)
