# pyright: reportMissingParameterType=false
"""Random numbers inside compiled row loops: a state that is one array, and draws that are functions of it.

The generator is splitmix64 (Steele, Lea, Flood 2014): a counter that a hash is taken of, so that the whole state is one
unsigned number, `state_1` (1,) uint64, which a learner keeps among its arrays. numba's own generator is one to a
thread, and cannot be saved.

numba's cache on disk does not see that a function changed which another file's kernel calls: who changes these must
touch the kernels that draw.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from retain.core import Array

__all__ = ["below", "exponential", "normal", "poisson", "seeded", "uniform"]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_UNIT = 2.0**-53


def seeded(seed: int, streams: int = 1, /) -> Array:
    """The states of so many generators: (streams,) uint64, no two of them near each other."""
    return np.random.SeedSequence(seed).generate_state(streams, np.uint64)


@njit(cache=True, nogil=True)
def _word(state_1):
    state_1[0] += _STEP
    z = state_1[0]
    z = (z ^ (z >> np.uint64(30))) * _FIRST
    z = (z ^ (z >> np.uint64(27))) * _SECOND
    return z ^ (z >> np.uint64(31))


@njit(cache=True, nogil=True)
def uniform(state_1):
    """A number in [0, 1), of 53 random bits."""
    return float(_word(state_1) >> np.uint64(11)) * _UNIT


@njit(cache=True, nogil=True)
def below(state_1, n):
    """A whole number in 0 .. n - 1."""
    return min(int(uniform(state_1) * n), n - 1)


@njit(cache=True, nogil=True)
def exponential(state_1):
    """A waiting time of mean 1."""
    return -math.log1p(-uniform(state_1))


@njit(cache=True, nogil=True)
def normal(state_1):
    """A number of mean 0 and variance 1 (Box and Muller 1958, one of the pair)."""
    return math.sqrt(2.0 * exponential(state_1)) * math.cos(2.0 * math.pi * uniform(state_1))


@njit(cache=True, nogil=True)
def poisson(state_1, mean):
    """A count of that mean, below 30 or so: products of uniform numbers (Knuth)."""
    least = math.exp(-mean)
    count = 0
    product = uniform(state_1)
    while product > least:
        count += 1
        product *= uniform(state_1)
    return count
