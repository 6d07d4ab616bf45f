"""Every learner through the laws: linear, analytic and baselines."""

from dataclasses import replace

import numpy as np
import pytest

import retain as rt
from retain import blocks, testing

CLASSES = {
    "logistic": lambda: rt.Linear(loss=rt.Logistic()),
    "multinomial": lambda: rt.Linear(loss=rt.Multinomial()),
    "hinge": lambda: rt.Linear(loss=rt.Hinge()),
    "no bias, penalties": lambda: rt.Linear(loss=rt.Logistic(), l1=0.01, l2=0.1, bias=False),
    "sgd": lambda: rt.Linear(loss=rt.Logistic(), update=rt.SGD()),
    "sgd, invariant": lambda: rt.Linear(loss=rt.Multinomial(), update=rt.SGD(2.0, invariant=True)),
    "ftrl": lambda: rt.Linear(loss=rt.Logistic(), update=rt.FTRL(), l1=0.1),
    "coin": lambda: rt.Linear(loss=rt.Multinomial(), update=rt.Coin()),
    "passive-aggressive": lambda: rt.Linear(loss=rt.Hinge(), update=rt.PassiveAggressive()),
    "arow": lambda: rt.Linear(loss=rt.Hinge(), update=rt.AROW()),
    "scw": lambda: rt.Linear(loss=rt.Hinge(), update=rt.SCW()),
    "scw, squared": lambda: rt.Linear(loss=rt.Hinge(), update=rt.SCW(squared=True), bias=False),
    "newton": lambda: rt.Linear(loss=rt.Multinomial(), update=rt.NewtonStep()),
    "alma": lambda: rt.Linear(loss=rt.Hinge(), update=rt.ALMA()),
    "alma of another norm": lambda: rt.Linear(loss=rt.Hinge(), update=rt.ALMA(4.0, 0.5)),
    "factorisation machine": lambda: rt.FactorisationMachine(3),
    "factorisation machine, penalty": lambda: rt.FactorisationMachine(2, l2=0.1, learning_rate=1.0),
    "rls": rt.RLS,
    "rls, forgetting": lambda: rt.RLS(forgetting=0.9),
    "ridge, by the row": lambda: rt.Ridge(batch_size=1),
    "ridge": lambda: rt.Ridge(batch_size=6),
    "slda": lambda: rt.SLDA(batch_size=1),
    "slda, shares": lambda: rt.SLDA(batch_size=6, shrinkage=0.1, balanced=False),
    "nearest mean": lambda: rt.NearestMean(batch_size=1),
    "nearest mean, by the block": lambda: rt.NearestMean(batch_size=6),
    "fecam": lambda: rt.FeCAM(batch_size=1),
    "fecam, by the block": lambda: rt.FeCAM(batch_size=6, shrinkage=0.5, power=1.0),
    "ridge, chosen": lambda: rt.Ridge(l2=None, batch_size=6),
    "ridge, balanced": lambda: rt.Ridge(batch_size=1, balanced=True),
    "ridge, forgetting": lambda: rt.Ridge(batch_size=7, forgetting=0.9, bias=False),
    "ridge, window": lambda: rt.Ridge(batch_size=7, window=24),
    "ridge, window, chosen": lambda: rt.Ridge(l2=None, batch_size=6, window=20),
    "one against the rest": lambda: rt.OneVsAll(lambda: rt.Linear(loss=rt.Hinge(), update=rt.AROW())),
    "one against the rest, exactly": lambda: rt.OneVsAll(rt.RLS),
    "open set": lambda: rt.OpenSet(rt.Linear(loss=rt.Logistic()), false_alarms=0.2, window=11),
    "open set, distances": lambda: rt.OpenSet(rt.SLDA(batch_size=6, shrinkage=0.1), false_alarms=0.2, window=11),
}
NUMBERS = {
    "squared": rt.Linear,
    "quantile": lambda: rt.Linear(loss=rt.Quantile(0.3)),
    "huber": lambda: rt.Linear(loss=rt.Huber()),
    "poisson": lambda: rt.Linear(loss=rt.Poisson()),
    "sgd": lambda: rt.Linear(update=rt.SGD()),
    "sgd, invariant": lambda: rt.Linear(update=rt.SGD(2.0, invariant=True)),
    "ftrl": lambda: rt.Linear(update=rt.FTRL()),
    "coin": lambda: rt.Linear(update=rt.Coin()),
    "passive-aggressive": lambda: rt.Linear(loss=rt.Quantile(), update=rt.PassiveAggressive(squared=True)),
    "newton": lambda: rt.Linear(update=rt.NewtonStep()),
    "factorisation machine": lambda: rt.FactorisationMachine(3, loss=rt.Squared()),
    "rls": rt.RLS,
    "ridge, by the row": lambda: rt.Ridge(batch_size=1),
    "ridge": lambda: rt.Ridge(batch_size=6),
    "ridge, forgetting": lambda: rt.Ridge(batch_size=7, forgetting=0.9),
    "ridge, window": lambda: rt.Ridge(batch_size=7, window=24),
}
# Sums are the same bit for bit, since blocks are filled alike; products of rows and weights round by how many rows are
# asked for at a time.
SUMMED = ("ridge", "slda", "nearest mean", "fecam")
TOLERANCE = {name: 1e-9 for name in [*CLASSES, *NUMBERS] if name.startswith(SUMMED)}
TOLERANCE["open set, distances"] = 1e-9
# All classes count alike, a newcomer too; what was unknown is known where a newcomer comes.
MIXES = {"ridge, balanced", "open set, distances"}
BASELINES = {"no change": rt.NoChange, "prior": rt.Prior}


def counts(batch):
    """Targets that every loss of numbers accepts."""
    return replace(batch, y=np.abs(np.round(3 * batch.y)))


def sparse(batch):
    """The same rows as CSR, a third of the entries left out."""
    x = np.where(np.random.default_rng(0).random(batch.x.shape) < 0.3, 0, batch.x).astype(np.float32)
    row, column = np.nonzero(x)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(x)))]).astype(np.int64)
    return replace(batch, x=rt.CSR(indptr, column.astype(np.int32), x[row, column], x.shape[1]))


@pytest.mark.parametrize("form", [lambda batch: batch, sparse], ids=["dense", "sparse"])
@pytest.mark.parametrize("name", CLASSES)
def test_learners_of_classes(name, form):
    batch = form(testing.examples("classification"))
    testing.check_learner(CLASSES[name], batch, tolerance=TOLERANCE.get(name, 0.0), mixes=name in MIXES, tries=5)


@pytest.mark.parametrize("form", [lambda batch: batch, sparse], ids=["dense", "sparse"])
@pytest.mark.parametrize("name", NUMBERS)
def test_learners_of_numbers(name, form):
    batch = form(counts(testing.examples("regression")))
    testing.check_learner(NUMBERS[name], batch, tolerance=TOLERANCE.get(name, 0.0), tries=5)


@pytest.mark.parametrize("name", ["squared", "coin", "rls", "ridge", "factorisation machine"])
def test_learners_of_several_numbers(name):
    batch = testing.examples("regression")
    two = replace(batch, y=np.c_[batch.y, 1 - batch.y])
    learner = NUMBERS[name]
    testing.learner_blocks(learner, two, [5, 5, 20], tolerance=TOLERANCE.get(name, 0.0))
    testing.learner_resume(learner, two, [5, 5, 20])
    testing.learner_purity(learner, two)
    testing.learner_poison(learner, two)


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("name", BASELINES)
def test_baselines(name, task):
    testing.check_learner(BASELINES[name], testing.examples(task), uses_x=False)


def test_the_mean():
    testing.check_learner(rt.Mean, testing.examples("regression"), uses_x=False)


def feed(task):
    batch = testing.examples(task)
    batch = batch if task == "classification" else counts(batch)
    return lambda part, start, stop: part.learn(blocks.take_batch(batch, slice(start, stop)))


PARTS = {
    **{f"classes: {name}": (make, feed("classification")) for name, make in {**CLASSES, **BASELINES}.items()},
    **{f"numbers: {name}": (make, feed("regression")) for name, make in NUMBERS.items()},
}


def test_learners_go_on_in_a_new_process():
    testing.resume_in_new_process(__file__, "PARTS", rows=48)
