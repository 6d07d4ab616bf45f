"""`KNN` against River and scikit-learn, each on the same rows, after every row."""

import numpy as np
import pytest
from river import neighbors
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

import retain as rt
from retain.errors import PoisonError, SettingError


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(400, 3)).astype(np.float32)
    return x, (x[:, 0] * x[:, 1] > 0).astype(np.int64) + (x[:, 2] > 1), np.sin(x[:, 0]) + x[:, 1] ** 2


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize(("neighbours", "window"), [(5, 100), (1, 37), (3, 1000)])
def test_classes_are_rivers_after_every_row(rows, neighbours, window, weighted):
    x, y, _ = rows
    engine = neighbors.LazySearch(window_size=window)
    model = neighbors.KNNClassifier(n_neighbors=neighbours, engine=engine, weighted=weighted)
    said = rt.KNN(neighbours, window=window, weighted=weighted, scaled=False).learn(rt.Batch(x, y=y))
    for i, row in enumerate(x.astype(float).tolist()):
        expected = np.zeros(3)
        for c, p in model.predict_proba_one(dict(enumerate(row))).items():
            expected[c] = p
        np.testing.assert_allclose(said[i], expected, atol=1e-5)  # distances are in float32 here
        model.learn_one(dict(enumerate(row)), int(y[i]))


@pytest.mark.parametrize("weighted", [True, False])
def test_numbers_are_rivers_after_every_row(rows, weighted):
    x, _, y = rows
    engine = neighbors.LazySearch(window_size=100)
    kind = "weighted_mean" if weighted else "mean"
    model = neighbors.KNNRegressor(n_neighbors=5, engine=engine, aggregation_method=kind)
    said = rt.KNN(window=100, weighted=weighted, scaled=False).learn(rt.Batch(x, y=y))
    for i, row in enumerate(x.astype(float).tolist()):
        np.testing.assert_allclose(said[i], model.predict_one(dict(enumerate(row))), atol=1e-5)
        model.learn_one(dict(enumerate(row)), float(y[i]))


def test_scaled_is_scikit_learns_on_scaled_rows(rows):
    x, y, number = rows
    x = (x * [1, 1000, 0.001]).astype(np.float32)
    fade = (1 - 1 / 150) ** np.arange(399, -1, -1.0)
    mean = np.average(x, axis=0, weights=fade)
    z = x / np.sqrt(np.average((x - mean) ** 2, axis=0, weights=fade))
    asked = np.random.default_rng(2).normal(size=(50, 3)) * x.std(axis=0)
    for target, peer in (
        (y, KNeighborsClassifier(weights="distance")),
        (number, KNeighborsRegressor(weights="distance")),
    ):
        learner = rt.KNN(window=150)
        learner.learn(rt.Batch(x, y=target))
        peer.fit(z[-150:], target[-150:])
        unit = asked / np.sqrt(np.average((x - mean) ** 2, axis=0, weights=fade))
        expected = peer.predict(unit) if target is number else peer.predict_proba(unit)
        got = learner.predict(asked.astype(np.float32))
        np.testing.assert_allclose(got if target is number else got[:, peer.classes_], expected, atol=1e-4)


@pytest.mark.parametrize("weighted", [True, False])
def test_a_row_of_weight_two_is_two_rows(rows, weighted):
    x, y, _ = rows
    weight = np.random.default_rng(0).integers(0, 3, size=400)
    twice = np.repeat(np.arange(400), weight)
    ours, repeated = (rt.KNN(window=10_000, weighted=weighted) for _ in range(2))
    ours.learn(rt.Batch(x, y=y, weight=weight.astype(float)))
    repeated.learn(rt.Batch(x[twice], y=y[twice]))
    asked = x[:50] + np.float32(0.01)
    # The scale fades by rows; two at once fade those before by as much, and one another hardly.
    np.testing.assert_allclose(ours.predict(asked), repeated.predict(asked), atol=1e-3)


def test_units_make_no_difference_and_what_is_constant_tells_nothing(rows):
    x, y, _ = rows
    other = np.c_[x * np.float32([2**10, 1, 2**-10]), np.full(400, 7, np.float32)]
    np.testing.assert_allclose(rt.KNN().learn(rt.Batch(x, y=y)), rt.KNN().learn(rt.Batch(other, y=y)), atol=1e-6)


def test_the_newest_of_equals_come_first():
    x = np.zeros((6, 1), np.float32)
    said = rt.KNN(1, scaled=False, weighted=False).learn(rt.Batch(x, y=np.array([0, 1, 0, 0, 1, 0])))
    assert said[1:].argmax(axis=1).tolist() == [0, 1, 0, 0, 1]


def test_rows_at_the_same_place_decide_alone():
    x = np.float32([[0], [0], [0.1], [0.1], [0.1]])
    learner = rt.KNN(5, scaled=False)
    learner.learn(rt.Batch(x, y=np.array([0, 1, 1, 1, 1])))
    np.testing.assert_allclose(learner.predict(np.zeros((1, 1), np.float32)), [[0.5, 0.5]])


def test_rows_beyond_all_others_are_answered_too():
    """Their distances overflow float32."""
    learner = rt.KNN(3, scaled=False)
    learner.learn(rt.Batch(np.float32([[-3e38], [0], [1]]), y=np.array([0, 1, 1])))
    np.testing.assert_allclose(learner.predict(np.float32([[3e38]])).sum(), 1.0)


@pytest.mark.parametrize("scaled", [True, False])
def test_numbers_and_weights_stay_finite(scaled):
    rng = np.random.default_rng(4)
    x = rng.choice(np.float32([0, 0, 1, -1, 3e38, -3e38, 1e-45, 1e20]), size=(400, 6))
    x[:, 5] = 7.0  # constant
    for few in ([0.0, 1e-300, 1.0, 3e38], [1e-9, 1.0, 1e6]):
        weight = rng.choice(few, size=400)
        for learner, y in (
            (rt.KNN(window=30, scaled=scaled), rng.integers(0, 3, size=400)),
            (rt.KNN(window=30, scaled=scaled), rng.choice([0.0, 3e38], size=400)),
            (rt.SAMKNN(window=40, least=5, scaled=scaled), rng.integers(0, 3, size=400)),
        ):
            assert np.isfinite(learner.learn(rt.Batch(x, y=y, weight=weight))).all()
            assert np.isfinite(learner.predict(x)).all()


def test_bad_settings_and_rows_are_refused():
    for setting in ({"neighbours": 0}, {"window": 0}):
        with pytest.raises(SettingError):
            rt.KNN(**setting)
    with pytest.raises(SettingError, match="at most 268,"):
        rt.KNN(window=1_000_000).learn(rt.Batch(np.zeros((1, 300)), y=np.array([0])))
    with pytest.raises(PoisonError, match="Impute"):
        rt.KNN().learn(rt.Batch(np.array([[np.nan]]), y=np.array([0])))
