"""Learners that remember rows, through the laws."""

from dataclasses import replace

import numpy as np
import pytest

import retain as rt
from retain import blocks, testing

CLASSES = {
    "knn": rt.KNN,
    "knn, a short window": lambda: rt.KNN(3, window=13),
    "knn, as they are": lambda: rt.KNN(1, window=20, weighted=False, scaled=False),
    "sam-knn": rt.SAMKNN,
    "sam-knn, cut often": lambda: rt.SAMKNN(2, window=40, least=3),
    "sam-knn, in little room": lambda: rt.SAMKNN(3, window=12, least=4, scaled=False),
}
NUMBERS = {
    "knn": rt.KNN,
    "knn, a short window": lambda: rt.KNN(3, window=13),
    "knn, as they are": lambda: rt.KNN(2, window=20, weighted=False, scaled=False),
}
# A newcomer takes the place of the oldest row where the memory is full, or is cut.
MIXES = {name for name in CLASSES if name not in ("knn", "sam-knn")}


def sparse(batch):
    """The same rows as CSR, a third of the entries left out."""
    x = np.where(np.random.default_rng(0).random(batch.x.shape) < 0.3, 0, batch.x).astype(np.float32)
    row, column = np.nonzero(x)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(x)))]).astype(np.int64)
    return replace(batch, x=rt.CSR(indptr, column.astype(np.int32), x[row, column], x.shape[1]))


def times(batch, count):
    """The same rows so often: memories that are full have their last size."""
    return blocks.concat_batches([batch] * count)


FORMS = pytest.mark.parametrize("form", [lambda batch: batch, sparse], ids=["dense", "sparse"])


@FORMS
@pytest.mark.parametrize("name", CLASSES)
def test_classes(name, form):
    batch = form(testing.examples("classification"))
    # An endless stream fills a memory: `grows` until then.
    testing.check_learner(CLASSES[name], batch, mixes=name in MIXES, grows=name in ("knn", "sam-knn"), tries=5)


@FORMS
@pytest.mark.parametrize("name", NUMBERS)
def test_numbers(name, form):
    batch = form(testing.examples("regression"))
    testing.check_learner(NUMBERS[name], batch, grows=name == "knn", tries=5)


def test_several_numbers():
    batch = testing.examples("regression")
    two = replace(batch, y=np.c_[batch.y, 1 - batch.y])
    testing.check_learner(lambda: rt.KNN(3, window=13), two, tries=5)


@pytest.mark.parametrize("make", [lambda: rt.KNN(window=100), lambda: rt.SAMKNN(window=100, least=10)])
def test_the_bound_is_the_window(make):
    testing.learner_bounded(make, times(testing.examples("classification"), 5), slack=100 * 50)


def feed(task):
    batch = times(testing.examples(task), 2)
    return lambda part, start, stop: part.learn(blocks.take_batch(batch, slice(start, stop)))


PARTS = {
    **{f"classes: {name}": (make, feed("classification")) for name, make in CLASSES.items()},
    **{f"numbers: {name}": (make, feed("regression")) for name, make in NUMBERS.items()},
}


def test_learners_go_on_in_a_new_process():
    testing.resume_in_new_process(__file__, "PARTS", rows=96)
