"""The joint law: in any order and any split, `RLS` ends in the closed form on all data at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import retain as rt
from retain import state
from retain.errors import PoisonError, SettingError


def closed_form(x, y, *, l2, weight=None, bias=True):
    """Ridge by the normal equations in float64; the bias is not penalised. Returns (b, w)."""
    x = np.c_[np.ones(len(x)), x.astype(np.float64)]
    penalty = np.full(x.shape[1], float(l2))
    penalty[0] = 0 if bias else 1e30
    v = np.ones(len(x)) if weight is None else weight
    w = np.linalg.solve((x.T * v) @ x + np.diag(penalty), (x.T * v) @ y)
    return w[0], w[1:]


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(500, 7)) * np.logspace(-2, 2, 7)).astype(np.float32)
    y = x @ (rng.normal(size=(7, 3)) / np.logspace(-2, 2, 7)[:, None]) + [5, -3, 100] + rng.normal(size=(500, 3))
    return x, y, rng.uniform(0, 3, size=500)


def relative(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


@given(st.randoms(use_true_random=False), st.lists(st.integers(0, 500), max_size=6).map(sorted))
def test_any_order_and_split_gives_the_closed_form(rows, shuffle, cuts):
    x, y, weight = rows
    order = list(range(500))
    shuffle.shuffle(order)
    learner = rt.RLS(l2=0.3)
    for part in np.split(np.array(order), cuts):
        learner.learn(rt.Batch(x[part], y=y[part], weight=weight[part]))
    b, w = closed_form(x, y, l2=0.3, weight=weight)
    assert relative(learner.weights, w) < 1e-9  # the law asks for 1e-6
    assert relative(learner.intercept, b) < 1e-9


@pytest.mark.parametrize("bias", [False, True])
def test_every_prediction_is_the_closed_form_on_the_rows_before(rows, bias):
    x, y, weight = rows
    said = rt.RLS(l2=0.3, bias=bias).learn(rt.Batch(x, y=y, weight=weight))
    for i in (1, 2, 5, 8, 50, 499):
        b, w = closed_form(x[:i], y[:i], l2=0.3, weight=weight[:i], bias=bias)
        np.testing.assert_allclose(said[i], x[i].astype(float) @ w + (b if bias else 0), rtol=1e-6, atol=1e-6)


def test_scikit_learn_agrees(rows):
    from sklearn.linear_model import Ridge

    x, y, weight = rows
    learner = rt.RLS(l2=2.0)
    learner.learn(rt.Batch(x, y=y[:, 0], weight=weight))
    peer = Ridge(alpha=2.0).fit(x.astype(float), y[:, 0], sample_weight=weight)
    np.testing.assert_allclose(learner.weights, peer.coef_, rtol=1e-9)
    np.testing.assert_allclose(learner.intercept, [peer.intercept_], rtol=1e-9)


def test_classes_are_the_closed_form_on_one_hot_targets_whenever_they_arrive(rows):
    x, _, _ = rows
    y = np.repeat([0, 1, 2, 0, 4], 100)  # 2 and 4 arrive late, 3 never
    learner = rt.RLS(l2=0.3)
    for part in np.split(np.arange(500), [50, 230, 231]):
        learner.learn(rt.Batch(x[part], y=y[part]))
    b, w = closed_form(x, np.eye(5)[y], l2=0.3)
    assert relative(learner.weights, w) < 1e-9
    score = np.maximum(x.astype(float) @ w + b, 0)
    np.testing.assert_allclose(learner.predict(x), score / score.sum(axis=1, keepdims=True), atol=1e-9)


def test_sparse_rows_may_grow_and_still_end_in_the_closed_form(rows):
    x, y, _ = rows
    learner = rt.RLS(l2=0.3)
    narrow = x.copy()
    narrow[:200, 4:] = 0
    indptr = (np.arange(201) * 4).astype(np.int64)
    sparse = rt.CSR(indptr, np.tile(np.arange(4, dtype=np.int32), 200), x[:200, :4].reshape(-1).copy(), 4)
    learner.learn(rt.Batch(sparse, y=y[:200]))
    learner.learn(rt.Batch(x[200:], y=y[200:]))
    _, w = closed_form(narrow, y, l2=0.3)
    assert relative(learner.weights, w) < 1e-9


def test_features_that_repeat_one_another_are_no_trouble(rows):
    x, y, _ = rows
    twice = np.hstack([x, x, np.zeros((500, 1), dtype=np.float32)])
    learner = rt.RLS(l2=0.0)
    learner.learn(rt.Batch(twice, y=y))
    b, w = closed_form(x, y, l2=0.0)
    np.testing.assert_allclose(learner.predict(twice), x.astype(float) @ w + b, rtol=1e-6, atol=1e-6)
    assert np.isfinite(learner.weights).all()


def test_nearly_dependent_features_do_not_ruin_the_solution():
    # Condition 1e7: the normal equations square it, and the textbook's update of the inverse then loses its sign.
    rng = np.random.default_rng(1)
    a = rng.normal(size=20_000).astype(np.float32)
    x = np.c_[a, a + np.float32(2e-7) * rng.integers(-3, 4, size=20_000).astype(np.float32)]
    y = x.astype(float) @ [1.0, 1.0]
    learner = rt.RLS(l2=1e-12, bias=False)
    learner.learn(rt.Batch(x, y=y))
    assert np.abs(learner.predict(x) - y).max() < 1e-6


def test_forgetting_is_the_closed_form_on_fading_rows(rows):
    x, y, weight = rows
    f, l2, d = 0.97, 0.3, 7
    learner = rt.RLS(l2=l2, forgetting=f)
    learner.learn(rt.Batch(x, y=y, weight=weight))
    A, B = np.diag([0.0] + [l2] * d), np.zeros((8, 3))
    for i in range(500):
        row, kept = np.r_[1, x[i].astype(float)], f ** weight[i]
        A, B = kept * A, kept * B
        A[1 + i % d, 1 + i % d] += (1 - kept) * d * l2
        A, B = A + weight[i] * np.outer(row, row), B + weight[i] * np.outer(row, y[i])
    np.testing.assert_allclose(learner.weights, np.linalg.solve(A, B)[1:], rtol=1e-8)


def test_forgetting_follows_a_world_that_moves_and_never_winds_up():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100_000, 3)).astype(np.float32)
    x[1000:, 2] = 0.0  # a direction that is no longer excited: without a floor its pivot underflows
    y = np.where(np.arange(100_000) < 50_000, x[:, 0], -x[:, 0])
    learner = rt.RLS(forgetting=0.99)
    said = learner.learn(rt.Batch(x, y=y))
    assert np.abs(said - y)[-1000:].max() < 0.05
    assert np.isfinite(learner.predict(np.ones((1, 3)))).all()
    assert learner._factor[3, 3] ** 2 > 0.1


def test_huge_values_give_finite_answers():
    x = np.random.default_rng(0).choice(np.array([0, 3e38, -3e38, 1e-45, 1], dtype=np.float32), size=(200, 4))
    learner = rt.RLS()
    assert np.isfinite(learner.learn(rt.Batch(x, y=np.full(200, 3e38)))).all()
    assert np.isfinite(learner.weights).all()


def test_rows_without_labels_or_weight_change_nothing(rows):
    x, y, _ = rows
    learner = rt.RLS()
    learner.learn(rt.Batch(x, y=y))
    before = state.encode(learner.state_dict())
    learner.learn(rt.Batch(x, y=np.full((500, 3), np.nan)))
    learner.learn(rt.Batch(x, y=y, weight=np.zeros(500)))
    learner.learn(rt.Batch(x))
    assert state.encode(learner.state_dict()) == before


def test_blocks_without_labels_are_answered_like_others(rows):
    x, _, _ = rows
    learner = rt.RLS()
    learner.learn(rt.Batch(x, y=np.arange(500) % 3))
    assert np.array_equal(learner.learn(rt.Batch(x)), learner.predict(x))


def test_what_makes_no_sense_is_refused(rows):
    x, y, _ = rows
    for settings in ({"l2": -1}, {"forgetting": 0}, {"forgetting": 1.1}):
        with pytest.raises(SettingError, match="RLS got"):
            rt.RLS(**settings)
    learner = rt.RLS()
    learner.learn(rt.Batch(x, y=y))
    with pytest.raises(PoisonError, match="number of outputs"):
        learner.learn(rt.Batch(x, y=y[:, 0]))
    with pytest.raises(PoisonError, match="same kind"):
        learner.learn(rt.Batch(x, y=np.zeros(500, dtype=np.int64)))
    with pytest.raises(PoisonError, match="expected 7"):
        learner.predict(x[:, :3])
    with pytest.raises(SettingError, match="hash"):
        rt.RLS().learn(rt.Batch(np.zeros((1, 9000)), y=np.zeros(1)))
