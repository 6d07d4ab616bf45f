"""Stacking beside a slow reference that keeps what members said when rows arrived."""

import numpy as np
import pytest

import retain as rt
from retain import state, testing
from retain.errors import PoisonError, SettingError


def members():
    return rt.Linear(), rt.RegressionTree(leaf="mean", grace=10)


def numbers(n):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 2)).astype(np.float32)
    return x, np.where(x[:, 0] > 0, x[:, 1], 2.0)


def test_the_top_learns_what_members_said_before_they_learnt_the_row():
    x, y = numbers(300)
    said = rt.Stacking(*members(), over=rt.RLS()).learn(rt.Batch(x, y=y))
    apart, top = members(), rt.RLS()
    expected = []
    for i in range(300):
        row = rt.Batch(x[i : i + 1], y=y[i : i + 1])
        opinions = np.column_stack([member.learn(row) for member in apart]).astype(np.float32)
        expected.append(top.learn(rt.Batch(opinions, y=row.y))[0])
    np.testing.assert_allclose(said, expected, rtol=1e-6, atol=1e-6)


def test_late_labels_find_what_was_said_on_arrival():
    x, y = numbers(300)
    delay = 15
    stream = rt.streams.arrays(x, y, block=64)
    reports = rt.Prequential(stream, rt.Stacking(*members(), over=rt.RLS()), delay=rt.Delay(rows=delay))
    said = np.concatenate([report.prediction for report in reports])
    apart, top = members(), rt.RLS()
    kept, expected = [], []
    for i in range(300):
        if i > delay:  # the label of row i - delay - 1 has just landed
            row = i - delay - 1
            for member in apart:
                member.learn(rt.Batch(x[row : row + 1], y=y[row : row + 1]))
            top.learn(rt.Batch(kept[row], y=y[row : row + 1]))
        kept.append(np.column_stack([member.predict(x[i : i + 1]) for member in apart]).astype(np.float32))
        expected.append(top.predict(kept[i])[0] if i > delay else 0.0)
    np.testing.assert_allclose(said, expected, rtol=1e-6, atol=1e-6)


def test_who_is_right_about_what_is_found_out():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, size=(6000, 3)).astype(np.float32)
    y = (x > 0).all(axis=1).astype(np.int64)  # 4 of 9 where one column is: each alone, and so their mean, says no

    def one(column):
        return rt.Select(column) | rt.HoeffdingTree(grace=50)

    rows = rt.Batch(x, y=y)
    hedged = rt.Hedge(one(0), one(1), one(2)).learn(rows).argmax(axis=1)
    stacked = rt.Stacking(one(0), one(1), one(2)).learn(rows).argmax(axis=1)
    assert (stacked == y)[1000:].mean() > 0.95 > (hedged == y)[1000:].mean()


def test_a_member_that_diverges_does_not_take_the_rest_along():
    x, y = numbers(2000)
    wild = rt.Linear(update=rt.SGD(1e3, invariant=False))
    with np.errstate(all="ignore"):
        said = rt.Stacking(wild, rt.RegressionTree()).learn(rt.Batch(100 * x, y=y))
    assert np.isfinite(said).all()


def test_a_late_run_resumes_bit_for_bit():
    batch = testing.examples("classification", rows=300)
    stream = rt.streams.arrays(batch.x, batch.y, block=16)

    def run():
        parts = rt.Linear(loss=rt.Multinomial()), rt.HoeffdingTree(grace=5), rt.Prior()
        return rt.Prequential(stream, rt.Scale() | rt.Stacking(*parts), delay=rt.Delay(rows=40))

    expected = list(run())[-1].metrics
    part = run()
    for _ in range(10):
        next(iter(part.steps()))
        saved = state.encode(part.state_dict())
        part = run()
        part.load_state_dict(state.decode(saved))
    assert list(part)[-1].metrics == expected


def test_what_a_member_refuses_no_one_has_learnt():
    made = rt.Stacking(rt.HoeffdingTree(), rt.Linear(loss=rt.Multinomial()))
    x = np.zeros((4, 2), dtype=np.float32)
    made.learn(rt.Batch(x, y=np.array([0, 1, 0, 1])))
    before = str(made.state_dict())
    gap = x.copy()
    gap[2, 1] = np.nan  # a value like others to the tree
    with pytest.raises(PoisonError):
        made.learn(rt.Batch(gap, y=np.array([0, 1, 0, 1])))
    assert str(made.state_dict()) == before
    with pytest.raises(SettingError, match="no members"):
        rt.Stacking()
