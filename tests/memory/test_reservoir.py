"""The reservoir against the law it is named for: after t rows each is in it with probability m / t."""

import numpy as np
import torch
from scipy import stats

from retain.core import Rows
from retain.memory import Reservoir
from retain.memory.reservoir import reservoir

torch.set_num_threads(1)


def numbered(start: int, stop: int) -> Rows:
    x = torch.arange(start, stop, dtype=torch.float32)[:, None]
    return Rows(x, torch.zeros(stop - start, dtype=torch.int64), torch.ones(stop - start))


def test_every_row_is_as_likely_as_another():
    m, t, seeds = 8, 40, 3_000
    count = np.zeros(t)
    for seed in range(seeds):
        memory = Reservoir(m, seed=seed)
        memory.add(numbered(0, 13))
        memory.add(numbered(13, t))
        count[memory.rows().x[:, 0].int().numpy()] += 1
    assert count.sum() == seeds * m
    # Draws without replacement vary less than a multinomial: by the factor 1 - m / t. The seeds are fixed, so that
    # this either holds or not; a wrong rule (t for t + 1, say) gives p below 1e-5.
    statistic = ((count - seeds * m / t) ** 2 / (seeds * m / t)).sum() / (1 - m / t)
    assert stats.chi2.sf(statistic, t - 1) > 0.01


def test_it_is_algorithm_r():
    m, t = 7, 200
    draws = np.random.default_rng(3).random(t - m)
    naive = list(range(m))
    for row in range(m, t):
        slot = int(draws[row - m] * (row + 1))
        if slot < m:
            naive[slot] = row
    slots = reservoir(0, t, m, np.random.default_rng(3))
    held = np.full(m, -1)
    for row, slot in enumerate(slots):
        if slot >= 0:
            held[slot] = row
    assert held.tolist() == naive

    memory = Reservoir(m, seed=3)
    memory.add(numbered(0, t))
    assert memory.rows().x[:, 0].int().tolist() == naive


def test_with_less_room_what_stays_is_still_uniform():
    seeds, count = 2_000, np.zeros(30)
    for seed in range(seeds):
        memory = Reservoir(10, seed=seed)
        memory.add(numbered(0, 30))
        stay = memory._stay(4)
        count[memory._slots.read(stay).x[:, 0].int().numpy()] += 1
    statistic = ((count - seeds * 4 / 30) ** 2 / (seeds * 4 / 30)).sum() / (1 - 4 / 30)
    assert stats.chi2.sf(statistic, 29) > 0.01
