"""Trees and their ensembles through the laws."""

from dataclasses import replace

import numpy as np
import pytest

import retain as rt
from retain import blocks, testing

BATCH = testing.examples("classification", rows=120)
SMALL = {"grace": 5.0, "delta": 0.5, "tie": 0.5}  # splits within a few rows
CLASSES = {
    "hoeffding": lambda: rt.HoeffdingTree(**SMALL),
    "hoeffding, majority": lambda: rt.HoeffdingTree(leaf="majority", **SMALL),
    "hoeffding, bayes, nominal": lambda: rt.HoeffdingTree(leaf="bayes", nominal=[1], max_values=4, **SMALL),
    "hoeffding, no room": lambda: rt.HoeffdingTree(max_bytes=4096, **SMALL),
    "efdt": lambda: rt.EFDT(**SMALL),
    "efdt, nominal, no room": lambda: rt.EFDT(nominal=[0], max_bytes=6000, **SMALL),
    "adaptive": lambda: rt.HoeffdingAdaptiveTree(drift=0.5, width=5, chance=0.9, **SMALL),
    "adaptive, no room": lambda: rt.HoeffdingAdaptiveTree(drift=0.5, width=5, chance=0.9, max_bytes=100_000, **SMALL),
    "arf": lambda: rt.ARF(3, tree=rt.HoeffdingTree(**SMALL), warning=0.5, drift=0.3),
    "srp": lambda: rt.SRP(3, tree=rt.HoeffdingTree(**SMALL), features=2, warning=0.5, drift=0.3),
    "leveraging": lambda: rt.LeveragingBagging(3, tree=rt.HoeffdingTree(**SMALL), drift=0.5),
    "bagging, no room": lambda: rt.OnlineBagging(3, tree=rt.HoeffdingTree(max_bytes=4096, **SMALL)),
    "boosting": lambda: rt.OnlineBoosting(3, tree=rt.HoeffdingTree(**SMALL), drift=0.5),
}
# A newcomer is a row that was wrong, however little it weighs: it may be the one at which a detector says drift.
MIXES = {"adaptive", "adaptive, no room", "arf", "srp", "leveraging", "boosting"}


def with_gaps(batch):
    """The same rows, of which every fifth number is missing."""
    x = batch.x.copy()
    x[np.random.default_rng(0).random(x.shape) < 0.2] = np.nan
    return replace(batch, x=x)


@pytest.mark.parametrize("form", [lambda batch: batch, with_gaps], ids=["whole", "gaps"])
@pytest.mark.parametrize("name", CLASSES)
def test_trees_of_classes(name, form):
    grows = "no room" not in name
    testing.check_learner(CLASSES[name], form(BATCH), accepts_missing=True, grows=grows, mixes=name in MIXES, tries=5)


def feed(part, start, stop):
    return part.learn(blocks.take_batch(BATCH, slice(start, stop)))


PARTS = {name: (make, feed) for name, make in CLASSES.items()}


def test_trees_go_on_in_a_new_process():
    testing.resume_in_new_process(__file__, "PARTS", rows=len(BATCH))
