"""Slopes given by hand against autograd's, to float32's rounding."""

from copy import deepcopy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import retain as rt  # noqa: E402 - torch is an extra
from retain.learners.neural.criteria import ACE, Criterion, CrossEntropy  # noqa: E402 - torch is an extra

CRITERIA = {"cross-entropy": CrossEntropy, "smoothed": lambda: CrossEntropy(smoothing=0.2), "ace": ACE}


@pytest.mark.parametrize("incoming", [True, False])
@pytest.mark.parametrize("rows", [1, 7, 64])
@pytest.mark.parametrize("name", CRITERIA)
def test_slopes_by_hand_are_those_of_autograd(name, rows, incoming):
    generator = torch.Generator().manual_seed(rows)
    output = 5 * torch.randn(rows, 10, generator=generator)
    y = torch.randint(2, 6, (rows,), generator=generator)
    weight = torch.rand(rows, generator=generator)
    criterion = CRITERIA[name]()
    loss, slope = criterion.slope(output, y, weight, incoming=incoming)
    wanted, by_autograd = Criterion.slope(criterion, output, y, weight, incoming=incoming)
    torch.testing.assert_close(loss, wanted, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(slope, by_autograd, rtol=1e-5, atol=1e-7)


def test_new_rows_pull_at_no_class_that_is_not_among_them():
    output = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([1, 4] * 4)
    _, slope = ACE().slope(output, y, torch.ones(8), incoming=True)
    assert (slope[:, [0, 2, 3, 5]] == 0).all()
    assert (slope[:, [1, 4]] != 0).all()
    _, slope = ACE().slope(output, y, torch.ones(8), incoming=False)
    assert (slope != 0).all()


def test_outputs_that_stand_for_no_class_yet_may_compete() -> None:
    """As in a loop by hand over all outputs; answers are of the classes known all the same."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(96, 3)).astype(np.float32), rng.integers(0, 2, 96)
    said: dict[bool, np.ndarray] = {}
    for unseen in (True, False):
        module = rt.neural.MLP(3, 8, 5, seed=1)
        by_hand = deepcopy(module)
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        learner = rt.Neural(module, criterion=CrossEntropy(unseen=unseen), optimizer=optimizer, batch_size=32)
        learner.learn(rt.Batch(x, y=y))
        step = torch.optim.SGD(by_hand.parameters(), lr=0.1)
        for start in range(0, 96, 32):
            output = by_hand(torch.from_numpy(x[start : start + 32]))
            output = output if unseen else output[:, :2]
            step.zero_grad()
            torch.nn.functional.cross_entropy(output, torch.from_numpy(y[start : start + 32])).backward()
            step.step()
        for ours, theirs in zip(module.parameters(), by_hand.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
        said[unseen] = learner.predict(x)
        assert said[unseen].shape == (96, 2)
    assert not np.allclose(said[True], said[False])
