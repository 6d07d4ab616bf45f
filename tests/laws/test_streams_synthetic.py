"""Every generator, every way to drift and the bundled flights obey the laws of streams."""

from __future__ import annotations

import pytest

from retain.streams.drift import Abrupt, Gradual, Incremental, Recurring
from retain.streams.flights import flights
from retain.streams.synthetic import (
    LED,
    SEA,
    STAGGER,
    Agrawal,
    Friedman,
    Hyperplane,
    RandomRBF,
    RandomTree,
    Sine,
)
from retain.testing import check_stream

STREAMS = {
    "SEA": lambda block: SEA(seed=1, noise=0.1, block=block),
    "STAGGER": lambda block: STAGGER(seed=1, concept=2, noise=0.1, block=block),
    "Agrawal": lambda block: Agrawal(seed=1, function=5, perturbation=0.05, block=block),
    "Hyperplane": lambda block: Hyperplane(seed=1, magnitude=0.01, noise=0.05, block=block),
    "RandomRBF": lambda block: RandomRBF(seed=1, classes=3, speed=0.001, noise=0.1, block=block),
    "LED": lambda block: LED(seed=1, noise=0.1, swapped=3, block=block),
    "RandomTree": lambda block: RandomTree(seed=1, classes=5, noise=0.1, block=block),
    "Sine": lambda block: Sine(seed=1, function=4, irrelevant=2, noise=0.1, block=block),
    "Friedman": lambda block: Friedman(seed=1, block=block),
    "Friedman, 150 rows": lambda block: Friedman(seed=1, n=150, block=block),
    "Abrupt": lambda block: Abrupt(SEA(seed=1), SEA(seed=2, theta=9.0), at=70, block=block),
    "Gradual": lambda block: Gradual(LED(seed=1), LED(seed=2, swapped=4), at=100, width=90, seed=3, block=block),
    "Incremental": lambda block: Incremental(
        Friedman(seed=1, block=block), Friedman(seed=1, roles=(4, 6, 2, 1, 3)), at=100, width=90
    ),
    "Recurring": lambda block: Recurring(
        [STAGGER(seed=seed, concept=seed, block=7) for seed in (1, 2, 3)], every=30, n=190, block=block
    ),
    "Recurring in Gradual": lambda block: Gradual(
        Recurring([SEA(seed=1), SEA(seed=2, theta=7.0)], every=20),
        Abrupt(SEA(seed=3), SEA(seed=4, theta=9.5), at=40),
        at=100,
        width=50,
        seed=5,
        block=block,
    ),
    "flights": lambda block: flights(block=block),
}


@pytest.mark.parametrize("make", STREAMS.values(), ids=STREAMS.keys())
def test_laws(make):
    check_stream(make)
