"""What gives way: against the formula, by frequencies; losses are made new when an experience ends."""

import numpy as np
import pytest
import torch
from scipy import stats

from retain.core import Rows
from retain.errors import PoisonError, SettingError
from retain.memory import LossAware
from retain.memory.loss_aware import ease

torch.set_num_threads(1)


def rows(loss, y=None) -> Rows:
    n = len(loss)
    y = torch.zeros(n).long() if y is None else torch.as_tensor(y)
    return Rows(
        torch.arange(n).float()[:, None], y, torch.ones(n), {"loss": torch.as_tensor(loss, dtype=torch.float32)}
    )


def test_ease():
    loss, group = np.array([0.0, 1.0, 4.0, 4.0]), np.array([0, 0, 2, 0])
    np.testing.assert_allclose(ease(loss, group, balance=0.0), [1, 0.75, 0, 0])
    np.testing.assert_allclose(ease(loss, group, balance=1.0), [1, 1, 1 / 3, 1])
    np.testing.assert_allclose(ease(loss, group, balance=0.5), [1, 0.875, 1 / 6, 0.5])
    np.testing.assert_allclose(ease(np.ones(3), np.zeros(3, dtype=int), balance=0.0), 1)  # all alike: any


def test_rows_give_way_as_often_as_the_formula_says():
    loss, y = np.array([0.1, 0.5, 2.0, 1.0]), [0, 0, 0, 1]
    gone = np.zeros(4)
    for seed in range(4_000):
        memory = LossAware(4, seed=seed)
        memory.add(rows([*loss, 1.0], [*y, 1]))
        for missing in set(range(4)) - set(memory.rows().x[:, 0].int().tolist()):
            gone[missing] += 1
    assert gone.sum() / 4_000 == pytest.approx(4 / 5, abs=0.02)  # the fifth row is kept with probability m / t
    p = ease(loss, np.array(y), balance=0.5)
    expected = gone.sum() * p / p.sum()
    assert stats.chisquare(gone, expected).pvalue > 0.01  # the seeds are fixed


def test_hard_rows_and_rare_classes_stay():
    rng = np.random.default_rng(0)
    loss, y = rng.random(3_000), (rng.random(3_000) < 0.05).astype(int)
    hard, rare = LossAware(100, balance=0.0), LossAware(100, balance=1.0)
    for memory in (hard, rare):
        memory.add(rows(loss, y))
    assert hard.rows().extra["loss"].mean() > 0.7
    # More of them than their 5 in 100 in the stream. Few, since what is taken in is drawn as in a reservoir.
    assert rare.rows().y.sum() > 8


def test_losses_are_new_after_an_experience():
    class Model:
        def outputs(self, x):
            return x

        def losses(self, forward):
            assert len(forward.rows) <= 256
            return torch.where(forward.output[:, 0] == 3, torch.nan, 1000 - forward.output[:, 0])

    memory = LossAware(600)
    memory.add(rows(np.linspace(0, 1, 600)))
    memory.consolidate(Model(), [])
    expected = 1000 - np.arange(600.0)
    expected[3] = np.float32(np.linspace(0, 1, 600)[3])  # a loss that is not finite says nothing new
    np.testing.assert_allclose(memory.state_dict()["rule"]["loss"], expected)


def test_it_says_what_it_needs():
    assert LossAware(3).wants == {"loss"}
    bare = Rows(torch.ones(2, 1), torch.zeros(2).long(), torch.ones(2))
    with pytest.raises(PoisonError, match=r"columns \[\]; expected \['loss'\] too: this memory chooses by them"):
        LossAware(3).add(bare)
    with pytest.raises(PoisonError, match="expected one floating-point number for each row"):
        LossAware(3).add(Rows(bare.x, bare.y, bare.weight, {"loss": torch.ones(2, 1)}))
    with pytest.raises(SettingError, match="from 0 to 1"):
        LossAware(3, balance=2)
