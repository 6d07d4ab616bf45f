"""Bayesian learners through the laws."""

from dataclasses import replace

import numpy as np
import pytest

import retain as rt
from retain import blocks, testing

NUMBERS_IN = {
    "gaussian": rt.GaussianNB,
    "gaussian, forgetting": lambda: rt.GaussianNB(forgetting=0.9, smoothing=0.0),
    "gaussian, balanced": lambda: rt.GaussianNB(balanced=True),
}
COUNTS_IN = {
    "multinomial": rt.MultinomialNB,
    "multinomial, forgetting": lambda: rt.MultinomialNB(forgetting=0.01),  # counts are renewed on the way
    "multinomial, balanced": lambda: rt.MultinomialNB(balanced=True),
    "complement": rt.ComplementNB,
    "complement, forgetting": lambda: rt.ComplementNB(forgetting=0.9),
    "bernoulli": rt.BernoulliNB,
    "bernoulli, forgetting": lambda: rt.BernoulliNB(forgetting=0.01, threshold=1.0),
    "bernoulli, balanced": lambda: rt.BernoulliNB(balanced=True),
}
REGRESSION = {
    "bayesian linear": rt.BayesianLinear,
    "bayesian linear, forgetting": lambda: rt.BayesianLinear(forgetting=0.9),
    "bayesian linear, a given prior": lambda: rt.BayesianLinear(prior=3.0),
}


def counts(batch):
    return replace(batch, x=np.abs(np.round(2 * batch.x)).astype(np.float32))


def sparse(batch):
    """The same rows as CSR, a third of the entries left out."""
    x = np.where(np.random.default_rng(0).random(batch.x.shape) < 0.3, 0, batch.x).astype(np.float32)
    row, column = np.nonzero(x)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(x)))]).astype(np.int64)
    return replace(batch, x=rt.CSR(indptr, column.astype(np.int32), x[row, column], x.shape[1]))


FORMS = pytest.mark.parametrize("form", [lambda batch: batch, sparse], ids=["dense", "sparse"])


@pytest.mark.parametrize("name", NUMBERS_IN)
def test_gaussians(name):
    batch = testing.examples("classification")
    testing.check_learner(NUMBERS_IN[name], batch, accepts_missing=True, tries=5)
    holes = batch.x.copy()
    holes[np.random.default_rng(0).random(holes.shape) < 0.2] = np.nan
    testing.check_learner(NUMBERS_IN[name], replace(batch, x=holes), accepts_missing=True, tries=5)


@FORMS
@pytest.mark.parametrize("name", COUNTS_IN)
def test_counts(name, form):
    testing.check_learner(COUNTS_IN[name], form(counts(testing.examples("classification", features=11))), tries=5)


@FORMS
@pytest.mark.parametrize("name", REGRESSION)
def test_regression(name, form):
    testing.check_learner(REGRESSION[name], form(testing.examples("regression")), tries=5)


def test_regression_of_several_numbers():
    batch = testing.examples("regression")
    two = replace(batch, y=np.c_[batch.y, 1 - batch.y])
    testing.check_learner(rt.BayesianLinear, two, tries=5)


def feed(task, *, counted=False):
    batch = testing.examples(task)
    batch = counts(batch) if counted else batch
    return lambda part, start, stop: part.learn(blocks.take_batch(batch, slice(start, stop)))


PARTS = {
    **{name: (make, feed("classification")) for name, make in NUMBERS_IN.items()},
    **{name: (make, feed("classification", counted=True)) for name, make in COUNTS_IN.items()},
    **{name: (make, feed("regression")) for name, make in REGRESSION.items()},
}


def test_learners_go_on_in_a_new_process():
    testing.resume_in_new_process(__file__, "PARTS", rows=48)
