"""Draws inside kernels have the moments they should, and go on from a saved state."""

import numpy as np
import pytest
from numba import njit

from retain.learners import draws

N = 200_000


@njit
def _many(draw, state, out):
    for i in range(len(out)):
        out[i] = draw(state)


@njit
def _poisson(state):
    return draws.poisson(state, 6.0)


@njit
def _below(state):
    return draws.below(state, 7)


@pytest.mark.parametrize(
    ("draw", "mean", "variance"),
    [
        (draws.uniform, 0.5, 1 / 12),
        (draws.exponential, 1.0, 1.0),
        (draws.normal, 0.0, 1.0),
        (_poisson, 6.0, 6.0),
        (_below, 3.0, 4.0),
    ],
    ids=["uniform", "exponential", "normal", "poisson", "below"],
)
def test_moments(draw, mean, variance):
    out = np.empty(N)
    _many(draw, draws.seeded(3), out)
    assert abs(out.mean() - mean) < 5 * np.sqrt(variance / N)
    assert out.var() == pytest.approx(variance, rel=0.03)


def test_a_state_goes_on():
    state = draws.seeded(1)
    first, second = np.empty(10), np.empty(10)
    _many(draws.uniform, state, first)
    saved = state.copy()
    _many(draws.uniform, state, first)
    _many(draws.uniform, saved, second)
    assert (first == second).all()


def test_streams_of_one_seed_differ():
    assert len(set(draws.seeded(0, 100).tolist())) == 100
