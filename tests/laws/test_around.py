"""What stands around a learner and says how sure it is, through the laws."""

from dataclasses import replace

import numpy as np
import pytest

import retain as rt
from retain import blocks, testing

CLASSES = {
    "conformal": lambda: rt.Conformal(rt.Linear(loss=rt.Multinomial()), window=20),
    "conformal, plain": lambda: rt.Conformal(rt.Linear(loss=rt.Logistic()), update=rt.ACI(0.1), window=11),
    "conformal, a chain": lambda: rt.Conformal(rt.Scale() | rt.RLS(), window=20),
    "platt": lambda: rt.Calibrated(rt.Linear(loss=rt.Multinomial())),
    "temperature": lambda: rt.Calibrated(rt.RLS(), method=rt.Temperature(memory=30)),
    "isotonic": lambda: rt.Calibrated(rt.Linear(loss=rt.Logistic()), method=rt.Isotonic(window=20, every=7)),
    "conformal, calibrated": lambda: rt.Conformal(rt.Calibrated(rt.RLS()), window=20),
}
NUMBERS = {
    "conformal": lambda: rt.Conformal(rt.Linear(), window=20),
    "conformal, plain": lambda: rt.Conformal(rt.RLS(), update=rt.ACI(0.1), window=11, coverage=0.8),
}
# Scale takes a row for a row, however light; what is calibrated class by class is made to add up to 1 with a newcomer.
MIXES = {"conformal, a chain", "platt", "temperature", "isotonic", "conformal, calibrated"}


@pytest.mark.parametrize("name", CLASSES)
def test_around_learners_of_classes(name):
    testing.check_learner(CLASSES[name], testing.examples("classification"), mixes=name in MIXES, tries=5)


@pytest.mark.parametrize("name", NUMBERS)
def test_around_learners_of_numbers(name):
    testing.check_learner(NUMBERS[name], testing.examples("regression"), tries=5)


@pytest.mark.parametrize("name", NUMBERS)
def test_around_learners_of_several_numbers(name):
    batch = testing.examples("regression")
    two = replace(batch, y=np.c_[batch.y, 1 - batch.y])
    testing.learner_blocks(NUMBERS[name], two, [5, 5, 20])
    testing.learner_resume(NUMBERS[name], two, [5, 5, 20])
    testing.learner_purity(NUMBERS[name], two)
    testing.learner_poison(NUMBERS[name], two)


def feed(task):
    batch = testing.examples(task)
    return lambda part, start, stop: part.learn(blocks.take_batch(batch, slice(start, stop)))


PARTS = {
    **{f"classes: {name}": (make, feed("classification")) for name, make in CLASSES.items()},
    **{f"numbers: {name}": (make, feed("regression")) for name, make in NUMBERS.items()},
}


def test_around_learners_go_on_in_a_new_process():
    testing.resume_in_new_process(__file__, "PARTS", rows=48)
