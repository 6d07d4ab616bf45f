"""Slopes given by hand against autograd's, to float32's rounding."""

import pytest

torch = pytest.importorskip("torch")

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
