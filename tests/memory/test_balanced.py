"""Shares against a loop over rows in plain Python, and against what they promise: equal, and uniform within."""

import numpy as np
import pytest
import torch
from scipy import stats

from retain.core import Rows
from retain.errors import PoisonError, SettingError
from retain.memory import ClassBalanced, ExperienceBalanced
from retain.memory.shares import Shares

torch.set_num_threads(1)


def labelled(y, x=None) -> Rows:
    y = torch.as_tensor(y)
    x = torch.arange(len(y)) if x is None else torch.as_tensor(x)
    return Rows(x[:, None].float(), y, torch.ones(len(y)))


def naive(groups, m, draws):
    """Chrysakis and Moens 2020, algorithm 1, row by row; ties go to the lowest code."""
    slots, held, seen, full, placed = [], {}, {}, set(), []
    for c in groups:
        if len(slots) < m:
            slots.append(c)
            held[c], seen[c] = held.get(c, 0) + 1, seen.get(c, 0) + 1
            placed.append(len(slots) - 1)
            continue
        u = next(draws)
        most = max(held.values())
        full |= {k for k, n in held.items() if n == most}
        if c in full:
            at = int(u * (seen[c] + 1))
            seen[c] += 1
            members = [i for i, k in enumerate(slots) if k == c]
            placed.append(members[at] if at < held[c] else -1)
        else:
            largest = min(k for k, n in held.items() if n == most)
            members = [i for i, k in enumerate(slots) if k == largest]
            slot = members[int(u * len(members))]
            held[largest] -= 1
            held[c], seen[c] = held.get(c, 0) + 1, seen.get(c, 0) + 1
            slots[slot] = c
            placed.append(slot)
    return placed


@pytest.mark.parametrize("seed", range(20))
def test_it_is_the_algorithm_of_the_paper(seed):
    rng = np.random.default_rng(seed)
    k, m = int(rng.integers(1, 7)), int(rng.integers(8, 40))
    groups = rng.choice(k, size=900, p=rng.dirichlet(np.full(k, 0.4)))
    groups[: 900 // 2][groups[: 900 // 2] == k - 1] = 0  # one comes late
    draws = iter(np.random.default_rng(99).random(900))
    whole = Shares().place(groups, room=m, rng=np.random.default_rng(99))
    # Here a class is full once a row of it is gone, in the paper once it was the largest. It is the same: the size of
    # the largest never grows, so that a class that was it either has lost a row or still is.
    assert whole.tolist() == naive(groups.tolist(), m, draws)


def test_classes_that_had_enough_rows_are_equal():
    rng = np.random.default_rng(0)
    y = np.concatenate([rng.choice(4, 5000, p=[0.9, 0.06, 0.03, 0.01]), rng.choice(7, 5000)])
    memory = ClassBalanced(50)
    memory.add(labelled(y))
    counts = memory.rows().y.bincount()
    assert sorted(counts.tolist()) == [7, 7, 7, 7, 7, 7, 8]


def test_a_class_short_of_rows_lends_its_share():
    memory = ClassBalanced(30)
    memory.add(labelled([0] * 500 + [1] * 500 + [2] * 4))
    assert memory.rows().y.bincount().tolist() == [13, 13, 4]


def test_within_a_class_every_row_is_as_likely_as_another():
    seeds, count = 2_000, np.zeros(60)
    y = np.random.default_rng(5).permutation([0] * 40 + [1] * 20)
    y[:10] = 0  # the second class arrives when the memory is full
    for seed in range(seeds):
        memory = ClassBalanced(10, seed=seed)
        memory.add(labelled(y[:25]))
        memory.add(labelled(y[25:], np.arange(25, 60)))
        count[memory.rows().x[:, 0].int().numpy()] += 1
    for c in (0, 1):
        of_it = count[y == c]
        p = 5 / len(of_it)
        statistic = ((of_it - seeds * p) ** 2 / (seeds * p)).sum() / (1 - p)
        assert stats.chi2.sf(statistic, len(of_it) - 1) > 0.01  # the seeds are fixed


def test_too_small_a_budget_names_the_cure():
    memory = ClassBalanced(3)
    memory.add(labelled([0, 1, 1, 1, 1]))
    before = memory.rows().x.tolist()
    with pytest.raises(SettingError, match=r"4 classes and the budget holds 3 rows; give .* Reservoir"):
        memory.add(labelled([2, 5]))
    assert memory.rows().x.tolist() == before
    memory.add(labelled([5, 5]))
    assert sorted(memory.rows().y.tolist()) == [0, 1, 5]


def test_numbers_are_no_classes():
    with pytest.raises(PoisonError, match="take a Reservoir"):
        ClassBalanced(3).add(labelled([0.5, 1.0]))


def test_experiences_share_and_the_oldest_give_way():
    memory = ExperienceBalanced(6)
    for experience in range(20):
        memory.add(labelled([0] * 50, [experience] * 50))
        memory.consolidate(None, [])
        experiences, counts = memory.rows().x[:, 0].int().unique(return_counts=True)
        assert counts.max() - counts.min() <= 1
        assert experiences.tolist() == list(range(max(0, experience - 5), experience + 1))
    memory.consolidate(None, [])  # one without rows takes no share
    assert len(memory.state_dict()["rule"]["shares"]["seen"]) == 6
