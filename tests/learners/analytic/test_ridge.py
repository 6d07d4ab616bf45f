"""The joint law: in any order, any split and any merge, `Ridge` ends in the closed form on all data at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as tries
from hypothesis import strategies as st

import retain as rt
from retain import state
from retain.errors import PoisonError, SettingError
from retain.learners.analytic.moments import hash_rows, solve


def closed_form(x, y, *, l2, weight=None):
    """Ridge with an unpenalised bias, by the singular values of the rows themselves: no product is ever formed.

    Returns (b, w).
    """
    d = x.shape[1]
    root = np.sqrt(np.ones(len(x)) if weight is None else weight)[:, None]
    rows = np.vstack([np.c_[root, root * x.astype(np.float64)], np.c_[np.zeros(d), np.sqrt(l2) * np.eye(d)]])
    w = np.linalg.lstsq(rows, np.vstack([root * y, np.zeros((d, y.shape[1]))]), rcond=None)[0]
    return w[0], w[1:]


@pytest.fixture(scope="module")
def rows():
    """Ten columns, among them a mean of 10 and sizes of 0.01 to 100: G has a condition of 1e8."""
    rng = np.random.default_rng(0)
    size = np.logspace(-2, 2, 10)
    x = ((rng.normal(size=(400, 10)) + np.r_[10, np.zeros(9)]) * size).astype(np.float32)
    y = x @ (rng.normal(size=(10, 3)) / size[:, None]) + [5, -3, 100] + rng.normal(size=(400, 3))
    return x, y, rng.uniform(0, 3, size=400)


def relative(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def taught(x, y, weight=None, **settings):
    learner = rt.Ridge(**{"l2": 0.3, "batch_size": 64, **settings})
    learner.learn(rt.Batch(x, y=y, weight=weight))
    learner.settle()
    return learner


cuts = st.lists(st.integers(0, 400), max_size=6).map(sorted)


@tries(max_examples=20)
@given(st.randoms(use_true_random=False), cuts, cuts, st.sampled_from([1, 7, 64, 1000]))
def test_any_order_split_and_merge_gives_the_closed_form(rows, shuffle, cuts, parts, batch_size):
    x, y, weight = rows
    order = list(range(400))
    shuffle.shuffle(order)
    learners = []
    for share in np.split(np.array(order), parts):
        learners.append(rt.Ridge(l2=0.3, batch_size=batch_size))
        for part in np.split(share, [cut for cut in cuts if cut < len(share)]):
            learners[-1].learn(rt.Batch(x[part], y=y[part], weight=weight[part]))
    shuffle.shuffle(learners)
    whole, *others = learners
    for other in others:
        whole.merge(other)
    whole.settle()
    b, w = closed_form(x, y, l2=0.3, weight=weight)
    assert relative(whole.weights, w) < 1e-6  # the law; about 1e-11 is seen
    assert relative(whole.intercept, b) < 1e-6


def test_scikit_learn_agrees(rows):
    from sklearn.linear_model import Ridge

    x, y, weight = rows
    for bias in (True, False):
        learner = taught(x, y[:, 0], weight, l2=2.0, bias=bias)
        peer = Ridge(alpha=2.0, fit_intercept=bias, solver="svd").fit(x.astype(float), y[:, 0], sample_weight=weight)
        np.testing.assert_allclose(learner.weights, peer.coef_, rtol=1e-7)
        np.testing.assert_allclose(learner.intercept, [peer.intercept_], rtol=1e-7, atol=1e-12)


def test_rls_ends_in_the_same_weights(rows):
    x, y, weight = rows
    peer = rt.RLS(l2=0.3)
    peer.learn(rt.Batch(x, y=y, weight=weight))
    assert relative(taught(x, y, weight).weights, peer.weights) < 1e-8


def test_the_law_holds_up_to_the_condition_it_states():
    rng = np.random.default_rng(3)
    turn, _ = np.linalg.qr(rng.normal(size=(40, 40)))
    x = (rng.normal(size=(2000, 40)) * np.logspace(0, -4, 40) @ turn).astype(np.float32)
    y = rng.normal(size=(2000, 2))
    assert 3e7 < np.linalg.cond(x.astype(float).T @ x.astype(float)) < 3e8
    b, w = closed_form(x, y, l2=0.0)
    learner = taught(x, y, l2=0.0)
    assert relative(learner.weights, w) < 1e-6
    assert relative(learner.intercept, b) < 1e-6


def test_every_row_is_answered_by_the_full_blocks_before_it(rows):
    x, y, weight = rows
    weight = np.where(np.arange(400) % 10 == 3, 0.0, weight)  # a tenth of the rows are not learnt and fill no block
    said = rt.Ridge(l2=0.3, batch_size=64).learn(rt.Batch(x, y=y, weight=weight))
    learnt = np.flatnonzero(weight)
    assert not said[: learnt[63] + 1].any()
    for full in range(1, len(learnt) // 64):
        before = learnt[: 64 * full]
        b, w = closed_form(x[before], y[before], l2=0.3, weight=weight[before])
        here = slice(before[-1] + 1, learnt[64 * full + 63] + 1)
        np.testing.assert_allclose(said[here], x[here].astype(float) @ w + b, rtol=1e-6)


def test_classes_are_the_closed_form_on_one_hot_targets_whenever_they_arrive(rows):
    x, _, _ = rows
    y = np.repeat([0, 1, 2, 0, 4], 80)  # 2 and 4 arrive late, 3 never
    learner = taught(x, y)
    b, w = closed_form(x, np.eye(5)[y], l2=0.3)
    assert relative(learner.weights, w) < 1e-8
    score = np.maximum(x.astype(float) @ w + b, 0)
    np.testing.assert_allclose(learner.predict(x), score / score.sum(axis=1, keepdims=True), atol=1e-8)


def test_balanced_classes_are_as_if_there_were_as_many_rows_of_each():
    # Two overlapping classes, one of them 20 times as frequent: only by its share does it win in the middle.
    rng = np.random.default_rng(0)
    y = (np.arange(42_000) % 21 == 0).astype(int)
    x = (rng.normal(size=(42_000, 1)) + 2 * y[:, None]).astype(np.float32)
    recalls = {}
    for balanced in (False, True):
        learner = taught(x, y, balanced=balanced, batch_size=4096)
        right = learner.predict(x).argmax(axis=1) == y
        recalls[balanced] = (right[y == 0].mean(), right[y == 1].mean())
    assert recalls[False][1] < 0.2
    np.testing.assert_allclose(recalls[True], 0.841, atol=0.02)  # where classes are equally likely: one deviation


def test_balancing_changes_nothing_where_classes_are_balanced(rows):
    x, _, _ = rows
    y = np.arange(400) % 4
    np.testing.assert_allclose(taught(x, y, balanced=True).predict(x), taught(x, y).predict(x), atol=1e-9)


@tries(max_examples=20)
@given(st.sets(st.integers(0, 399), min_size=1, max_size=390), st.sampled_from([1, 64, 1000]))
def test_rows_unlearnt_are_as_if_never_seen(rows, gone, batch_size):
    x, y, weight = rows
    gone = np.array(sorted(gone))
    kept = np.setdiff1d(np.arange(400), gone)
    learner = rt.Ridge(l2=0.3, batch_size=batch_size)
    learner.learn(rt.Batch(x, y=y, weight=weight))
    learner.unlearn(rt.Batch(x[gone], y=y[gone], weight=weight[gone]))
    never = taught(x[kept], y[kept], weight[kept], batch_size=batch_size)
    # The sums keep an error of 1e-16 of what they were; the condition, 1e8 at most, makes 1e-8 of it.
    assert relative(learner.weights, never.weights) < 1e-7
    assert relative(learner.intercept, never.intercept) < 1e-7


def test_a_class_unlearnt_wins_no_more(rows):
    x, _, _ = rows
    y = np.arange(400) % 3
    learner = taught(x, y, balanced=True)
    learner.unlearn(rt.Batch(x[y == 1], y=y[y == 1]))
    said = learner.predict(x)
    assert said.shape == (400, 3)
    assert not said[:, 1].any()
    never = taught(x[y != 1], y[y != 1], balanced=True)
    np.testing.assert_allclose(said, never.predict(x), atol=1e-9)


def test_what_was_not_learnt_cannot_be_unlearnt(rows):
    x, y, weight = rows
    learner = taught(x[:200], y[:200], weight[:200])
    before = state.encode(learner.state_dict())
    for batch in (
        rt.Batch(x, y=y, weight=weight),
        rt.Batch(x[:200], y=y[:200], weight=2 * weight[:200]),
        rt.Batch(x[:200], y=y[:200, 0]),
    ):
        with pytest.raises(PoisonError):
            learner.unlearn(batch)
        assert state.encode(learner.state_dict()) == before
    with pytest.raises(PoisonError, match="were learnt"):
        taught(x, np.arange(400) % 2).unlearn(rt.Batch(x, y=np.arange(400) % 3))
    with pytest.raises(SettingError, match="forgets"):
        taught(x, y, forgetting=0.9).unlearn(rt.Batch(x, y=y))


def test_what_does_not_fit_does_not_merge(rows):
    x, y, _ = rows
    learner = taught(x, y)
    before = state.encode(learner.state_dict())
    for other in (taught(x, y[:, :2]), taught(x, y[:, 0]), taught(x, np.zeros(400, dtype=int)), taught(x[:, :3], y)):
        with pytest.raises(PoisonError, match="expected the same"):
            learner.merge(other)
    for other in (rt.RLS(), taught(x, y, forgetting=0.9)):
        with pytest.raises(SettingError, match="cannot merge"):
            learner.merge(other)
    assert state.encode(learner.state_dict()) == before


def test_merging_leaves_the_other_as_it_was_and_brings_its_classes(rows):
    x, _, _ = rows
    first, second = np.arange(200) % 2, 2 + np.arange(200) % 3
    here, there = rt.Ridge(l2=0.3, batch_size=64), rt.Ridge(l2=0.3, batch_size=64)
    here.learn(rt.Batch(x[:200], y=first))
    there.learn(rt.Batch(x[200:], y=second))
    before = state.encode(there.state_dict())
    here.merge(there)
    assert state.encode(there.state_dict()) == before
    np.testing.assert_allclose(here.predict(x), taught(x, np.r_[first, second]).predict(x), atol=1e-9)
    empty = rt.Ridge(l2=0.3)
    empty.merge(here)
    np.testing.assert_allclose(empty.predict(x), here.predict(x), atol=1e-12)


@pytest.mark.parametrize("batch_size", [1, 64, 1000])
def test_forgetting_is_the_closed_form_on_fading_rows(rows, batch_size):
    x, y, weight = rows
    learner = taught(x, y, weight, forgetting=0.97, batch_size=batch_size)
    age = np.cumsum(weight[::-1])[::-1] - weight
    b, w = closed_form(x, y, l2=0.3, weight=weight * 0.97**age)
    assert relative(learner.weights, w) < 1e-7
    assert relative(learner.intercept, b) < 1e-7


@pytest.mark.parametrize(("batch_size", "window"), [(1, 50), (7, 50), (64, 200), (64, 20), (300, 1000)])
def test_rows_that_have_left_the_window_are_as_if_never_seen(rows, batch_size, window):
    x, y, weight = (np.concatenate([column, column[::-1]]) for column in rows)
    weight = np.where(np.arange(800) % 10 == 3, 0.0, weight)  # rows that are not learnt are not in it
    learner = rt.Ridge(l2=0.3, batch_size=batch_size, window=window)
    learner.learn(rt.Batch(x, y=y, weight=weight))
    learner.settle()
    last = np.flatnonzero(weight)[-window:]
    b, w = closed_form(x[last], y[last], l2=0.3, weight=weight[last])
    assert relative(learner.weights, w) < 1e-6
    assert relative(learner.intercept, b) < 1e-6


def test_the_window_holds_after_many_rows_and_outliers():
    rng = np.random.default_rng(0)
    n = 200_500
    x = rng.normal(size=(n, 5)).astype(np.float32)
    x[::7919] *= 1e6  # their squares leave 1e12 times the rounding error of all other rows in the sums
    x[-1050] *= 1e6  # it leaves in the last block, long before the sums are summed anew for their age
    y = x @ np.arange(1.0, 6) + rng.normal(size=n)
    learner = rt.Ridge(l2=0.0, batch_size=100, window=1000)
    for start in range(0, n, 5000):
        learner.learn(rt.Batch(x[start : start + 5000], y=y[start : start + 5000]))
    assert not (np.abs(x[-1000:]) > 100).any()
    b, w = closed_form(x[-1000:], y[-1000:, None], l2=0.0)
    assert relative(learner.weights, w[:, 0]) < 1e-9
    assert relative(learner.intercept, b) < 1e-6


def test_a_class_that_has_left_the_window_wins_no_more(rows):
    x, _, _ = rows
    y = np.repeat([0, 1, 2], [200, 100, 100])
    said = taught(x, y, window=150).predict(x)
    assert said.shape == (400, 3)
    assert not said[:, 0].any()


def test_who_has_a_window_neither_merges_nor_unlearns(rows):
    x, y, _ = rows
    learner = taught(x, y, window=100)
    with pytest.raises(SettingError, match="window"):
        learner.merge(taught(x, y))
    with pytest.raises(SettingError, match="window"):
        learner.unlearn(rt.Batch(x[-1:], y=y[-1:]))
    for settings in ({"window": 0}, {"window": 10, "forgetting": 0.9}):
        with pytest.raises(SettingError, match="either of the two"):
            rt.Ridge(**settings)


def test_features_that_repeat_one_another_are_no_trouble(rows):
    x, y, _ = rows
    twice = np.hstack([x, x, np.zeros((400, 1), dtype=np.float32)])
    learner = taught(twice, y, l2=0.0)
    b, w = closed_form(x, y, l2=0.0)
    np.testing.assert_allclose(learner.predict(twice), x.astype(float) @ w + b, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(learner.weights[:10], learner.weights[10:20], rtol=1e-4, atol=1e-6)
    assert not learner.weights[20].any()


def test_huge_values_give_finite_answers():
    x = np.random.default_rng(0).choice(np.array([0, 3e38, -3e38, 1e-45, 1], dtype=np.float32), size=(200, 4))
    learner = rt.Ridge(batch_size=16)
    assert np.isfinite(learner.learn(rt.Batch(x, y=np.full(200, 3e38)))).all()
    assert np.isfinite(learner.weights).all()


@pytest.mark.parametrize("D", [1, 63, 64, 65, 200])
def test_the_solver_solves(D):
    rng = np.random.default_rng(D)
    rows = rng.normal(size=(2 * D + 5, D)) * np.logspace(-3, 3, D)
    gram, right = rows.T @ rows, rng.normal(size=(D, 4))
    np.testing.assert_allclose(gram @ solve(gram, right), right, rtol=1e-7, atol=1e-7)


def test_rows_that_wait_are_learnt_where_an_experience_ends(rows):
    x, y, _ = rows
    learner = rt.Ridge(l2=0.3, batch_size=1000)
    learner.learn(rt.Batch(x, y=y))
    assert not learner.predict(x).any()
    learner.consolidate([])
    np.testing.assert_allclose(learner.predict(x), taught(x, y).predict(x), rtol=1e-9)


def test_what_the_caller_does_to_a_block_does_not_reach_rows_that_wait(rows):
    x, y, _ = (column.copy() for column in rows)
    learner = rt.Ridge(l2=0.3, batch_size=1000)
    learner.learn(rt.Batch(x, y=y))
    x[:], y[:] = 0, 0
    learner.settle()
    assert relative(learner.weights, taught(rows[0], rows[1]).weights) < 1e-9


@pytest.fixture(scope="module")
def noisy():
    """More features than the 300 rows can tell about: the best penalty is neither the least nor the largest."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(300, 100)).astype(np.float32)
    return x, x @ rng.normal(size=100) + 5 * rng.normal(size=300)


def test_the_penalty_is_chosen_that_predicts_rows_held_out(noisy):
    x, y = noisy
    learner = taught(x, y, l2=None)
    size = (x.astype(float) ** 2).sum(axis=0).mean()
    which = hash_rows(rt.Ridge().intake.read(rt.Batch(x, y=y))) % np.uint64(4)
    assert np.bincount(which.astype(int)).min() > 40  # folds are of one size
    errors = {}
    for power in range(-8, 3):
        l2 = size * 10.0**power
        errors[power] = 0.0
        for fold in range(4):
            out = which == fold
            b, w = closed_form(x[~out], y[~out, None], l2=l2)
            errors[power] += ((y[out] - (x[out] @ w + b)[:, 0]) ** 2).sum()
    best = min(errors, key=errors.get)
    assert -8 < best < 2
    bend, slope, _ = np.polyfit([-1, 0, 1], [errors[power] for power in (best - 1, best, best + 1)], 2)
    np.testing.assert_allclose(learner.l2, size * 10.0 ** (best - slope / (2 * bend)), rtol=1e-7)
    _, w = closed_form(x, y[:, None], l2=learner.l2)
    assert relative(learner.weights, w[:, 0]) < 1e-8


@tries(max_examples=20)
@given(order=st.permutations(range(300)), cut=st.integers(0, 300), batch_size=st.sampled_from([64, 1000]))
def test_the_choice_depends_on_the_rows_alone(noisy, order, cut, batch_size):
    x, y = noisy
    here, there = (rt.Ridge(l2=None, batch_size=batch_size) for _ in range(2))
    for learner, part in zip((here, there), np.split(np.array(order), [cut]), strict=True):
        learner.learn(rt.Batch(x[part], y=y[part]))
    here.merge(there)
    here.learn(rt.Batch(x[:7], y=y[:7]))
    here.unlearn(rt.Batch(x[:7], y=y[:7]))
    whole = taught(x, y, l2=None)
    np.testing.assert_allclose(here.l2, whole.l2, rtol=1e-9)
    assert relative(here.weights, whole.weights) < 1e-8


def test_rows_hash_alike_where_an_encoder_has_grown_and_differ_where_they_differ(noisy):
    x, y = noisy
    read = rt.Ridge().intake.read
    narrow = hash_rows(read(rt.Batch(x, y=y)))
    assert np.array_equal(hash_rows(read(rt.Batch(np.hstack([x, np.zeros((300, 3))]), y=y))), narrow)
    assert len(set(narrow.tolist())) == 300
    turned = np.hstack([x[:, 1:], x[:, :1]])
    for other in (rt.Batch(turned, y=y), rt.Batch(x, y=y + 1), rt.Batch(-x, y=y)):
        assert not np.isin(hash_rows(read(other)), narrow).any()


def test_who_chooses_merges_only_with_who_chooses(noisy):
    x, y = noisy
    with pytest.raises(SettingError, match="same settings"):
        taught(x, y, l2=None).merge(taught(x, y))
    with pytest.raises(SettingError, match="l2=None"):
        rt.Ridge(l2=None, forgetting=0.9)


def test_what_makes_no_sense_is_refused():
    for settings in ({"l2": -1}, {"forgetting": 0}, {"forgetting": 1.1}, {"batch_size": 0}):
        with pytest.raises(SettingError, match="Ridge got"):
            rt.Ridge(**settings)
    with pytest.raises(SettingError, match="hash"):
        rt.Ridge().learn(rt.Batch(np.zeros((1, 33_000)), y=np.zeros(1)))
