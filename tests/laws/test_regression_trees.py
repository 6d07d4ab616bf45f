"""Trees of numbers, and what is made of them, through the laws."""

from dataclasses import replace

import numpy as np
import pytest

import retain as rt
from retain import blocks, testing

NUMBERS = testing.examples("regression", rows=120)
SMALL = {"grace": 5.0, "delta": 0.5, "tie": 0.5}  # splits within a few rows
TREES = {
    "regression": lambda: rt.RegressionTree(**SMALL),
    "regression, mean": lambda: rt.RegressionTree(leaf="mean", **SMALL),
    "regression, line, nominal": lambda: rt.RegressionTree(leaf="line", nominal=[1], max_values=4, **SMALL),
    "regression, no room": lambda: rt.RegressionTree(max_bytes=4096, **SMALL),
    "arf": lambda: rt.ARF(3, tree=rt.RegressionTree(**SMALL), warning=0.5, drift=0.3),
    "srp": lambda: rt.SRP(3, tree=rt.RegressionTree(**SMALL), features=2, warning=0.5, drift=0.3),
    "leveraging": lambda: rt.LeveragingBagging(3, tree=rt.RegressionTree(leaf="mean", **SMALL), drift=0.5),
    "bagging, no room": lambda: rt.OnlineBagging(3, tree=rt.RegressionTree(max_bytes=4096, **SMALL)),
    "boosted": lambda: rt.SGBT(3, tree=rt.RegressionTree(**SMALL), warning=0.5, drift=0.3),
}

CLASSES = testing.examples("classification", rows=120)
BOOSTED = {
    "boosted, classes": lambda: rt.SGBT(3, tree=rt.RegressionTree(**SMALL), warning=0.5, drift=0.3),
    "boosted, no room": lambda: rt.SGBT(
        3, tree=rt.RegressionTree(max_bytes=4096, grace=0.5, delta=0.5, tie=1), features=2, warning=0, drift=0
    ),
}
STACKED = {
    "stacked": (lambda: rt.Stacking(rt.Linear(), rt.RegressionTree(max_bytes=4096, **SMALL), rt.Mean()), NUMBERS),
    "stacked, over": (lambda: rt.Stacking(rt.Linear(), rt.Mean(), over=rt.RLS()), NUMBERS),
    "stacked, classes": (lambda: rt.Stacking(rt.Linear(loss=rt.Multinomial()), rt.Prior(), rt.NoChange()), CLASSES),
}


def with_gaps(batch):
    """The same rows, of which every fifth number is missing."""
    x = batch.x.copy()
    x[np.random.default_rng(0).random(x.shape) < 0.2] = np.nan
    return replace(batch, x=x)


@pytest.mark.parametrize("form", [lambda batch: batch, with_gaps], ids=["whole", "gaps"])
@pytest.mark.parametrize("name", TREES)
def test_trees_of_numbers(name, form):
    grows = "no room" not in name
    testing.check_learner(TREES[name], form(NUMBERS), accepts_missing=True, grows=grows, tries=5)


@pytest.mark.parametrize("form", [lambda batch: batch, with_gaps], ids=["whole", "gaps"])
@pytest.mark.parametrize("name", BOOSTED)
def test_trees_of_numbers_that_learn_classes(name, form):
    grows = "no room" not in name
    testing.check_learner(BOOSTED[name], form(CLASSES), accepts_missing=True, grows=grows, mixes=True, tries=5)


@pytest.mark.parametrize("name", STACKED)
def test_stacks(name):
    make, batch = STACKED[name]
    testing.check_learner(make, batch, mixes=True, tries=5)


def feed(part, start, stop):
    return part.learn(blocks.take_batch(NUMBERS, slice(start, stop)))


def feed_classes(part, start, stop):
    return part.learn(blocks.take_batch(CLASSES, slice(start, stop)))


PARTS = {name: (make, feed) for name, make in TREES.items()}
PARTS |= {name: (make, feed_classes) for name, make in BOOSTED.items()}
PARTS |= {name: (make, feed if batch is NUMBERS else feed_classes) for name, (make, batch) in STACKED.items()}


def test_trees_go_on_in_a_new_process():
    testing.resume_in_new_process(__file__, "PARTS", rows=len(NUMBERS))
