"""Herding against the algorithm of the paper, written with loops."""

import numpy as np
import pytest
import torch

from retain.core import Rows
from retain.errors import PoisonError, SettingError
from retain.memory import Herding
from retain.memory.herding import herd
from retain.rows import take

torch.set_num_threads(1)


class Bent:
    """A model whose features are not its inputs."""

    def features(self, x):
        return torch.tanh(x @ torch.linspace(0, 9, x.shape[1] * 6).cos().reshape(x.shape[1], 6))


def unit(x):
    features = Bent().features(x).double().numpy()
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def naive(features, mean, count):
    """Algorithm 4: p_k = argmin_x |mean - (f(x) + sum of the p before) / k|, no row twice."""
    chosen = []
    for k in range(1, count + 1):
        distance = [
            np.inf if i in chosen else np.linalg.norm(mean - (f + features[chosen].sum(0)) / k)
            for i, f in enumerate(features)
        ]
        chosen.append(int(np.argmin(distance)))
    return chosen


def blob(n, classes, seed=0, start=0):
    rng = np.random.default_rng(seed)
    y = rng.choice(classes, n)
    x = torch.from_numpy(rng.normal(size=(n, 5)) + y[:, None]).float()
    return Rows(x, torch.from_numpy(y), torch.arange(start, start + n).float())


def halves(rows):
    return [take(rows, slice(0, 13)), take(rows, slice(13, None))]


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_algorithm_of_the_paper(seed):
    features = np.random.default_rng(seed).normal(size=(40, 4))
    mean = features.mean(0)
    assert herd(torch.from_numpy(features), torch.from_numpy(mean), 15).tolist() == naive(features, mean, 15)


def test_exemplars_over_experiences():
    first, second = blob(60, [0, 3], seed=1), blob(50, [1, 2], seed=2, start=100)
    memory = Herding(10)
    memory.add(first)
    assert len(memory) == 0
    memory.consolidate(Bent(), halves(first))
    x = {}
    for rows, classes, count in ((first, (0, 3), 5), (second, (1, 2), 3)):
        for c in classes:
            of_it = np.flatnonzero(rows.y.numpy() == c)
            f = unit(rows.x)[of_it]
            x[c] = [float(rows.weight[of_it[i]]) for i in naive(f, f.mean(0), count)]
    held = memory.rows()
    for c in (0, 3):
        assert sorted(held.weight[held.y == c].tolist()) == sorted(x[c])
    memory.add(second)
    memory.consolidate(Bent(), halves(second))
    held = memory.rows()
    # 10 rows for 4 classes: 3, 3, 2, 2 by code; of old ones the first chosen stay
    for c, count in ((0, 3), (1, 3), (2, 2), (3, 2)):
        assert sorted(held.weight[held.y == c].tolist()) == sorted(x[c][:count])


def test_a_class_that_comes_again_is_chosen_anew_from_both():
    first, second = blob(40, [0], seed=3), blob(20, [0], seed=4, start=100)
    memory = Herding(6)
    memory.consolidate(Bent(), [first])
    old = memory.rows()
    memory.consolidate(Bent(), [second])
    f = np.vstack([unit(old.x), unit(second.x)])
    mean = (40 * unit(old.x).mean(0) + unit(second.x).sum(0)) / 60
    weights = [*old.weight.tolist(), *second.weight.tolist()]
    assert sorted(memory.rows().weight.tolist()) == sorted(weights[i] for i in naive(f, mean, 6))


def test_fewer_rows_than_the_share():
    memory = Herding(50)
    rows = blob(12, [0, 1])
    memory.consolidate(Bent(), halves(take(rows, slice(0, 12))))
    assert len(memory) == 12
    memory.consolidate(Bent(), [])
    assert len(memory) == 12


def test_too_small_a_budget_names_the_cure_before_anything_changes():
    memory = Herding(2)
    memory.consolidate(Bent(), [blob(9, [0, 1])])
    before = memory.rows().weight.tolist()
    for act in (memory.add, lambda rows: memory.consolidate(Bent(), [rows])):
        with pytest.raises(SettingError, match="3 classes and the budget holds 2 rows; give"):
            act(blob(9, [2]))
    assert memory.rows().weight.tolist() == before
    with pytest.raises(PoisonError, match="take a Reservoir"):
        Herding(2).add(Rows(torch.ones(2, 5), torch.ones(2), torch.ones(2)))
