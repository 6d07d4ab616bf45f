"""Random features: kernels that are estimated, layers that are found again."""

import math

import numpy as np
import pytest

import retain as rt
from retain.errors import PoisonError, SettingError, StateError


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)


def products(x, width, **settings):
    z = rt.RandomFeatures(width, **settings).apply(x).astype(float)
    return z @ z.T


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_waves_estimate_the_gaussian_kernel(x, scale):
    from sklearn.metrics.pairwise import rbf_kernel

    exact = rbf_kernel(x.astype(float), gamma=scale**2 / 2 / 6)
    got = products(x, 20_000, kind="fourier", scale=scale)
    # An estimate has a deviation of at most 1 / sqrt(w) = .007; of 40,000 entries the farthest is some five of these.
    assert np.abs(got - exact).max() < 0.04
    assert abs((got - exact).mean()) < 0.01  # entries share their waves, and err together


def test_bends_estimate_the_arc_cosine_kernel(x):
    # Cho & Saul 2009, degree 1.
    rows = x.astype(float)
    size = np.linalg.norm(rows, axis=1)
    turn = np.arccos(np.clip(rows @ rows.T / np.outer(size, size), -1, 1))
    exact = np.outer(size, size) / 6 * (np.sin(turn) + (np.pi - turn) * np.cos(turn)) / (2 * np.pi)
    got = products(x, 20_000) / 20_000
    assert np.abs(got - exact).max() < 0.1
    assert abs(got.mean() / exact.mean() - 1) < 0.02


def test_a_state_holds_no_layer_and_finds_it_again(x):
    first = rt.RandomFeatures(300, seed=5)
    there = first.learn(rt.Batch(x)).x
    assert first.state_dict() == {"inputs": 6}
    second = rt.RandomFeatures(300, seed=5)
    second.load_state_dict(first.state_dict())
    assert np.array_equal(second.apply(x), there)
    assert not np.array_equal(rt.RandomFeatures(300, seed=6).apply(x), there)


def test_a_layer_is_the_same_in_all_versions():
    # Saved models depend on it. Of the bits of Philox, by Box and Muller, in Python's own floats.
    bits = [int(b) >> 11 for b in np.random.Philox(key=3).random_raw(6)]
    u = [(b + 0.5) * 2.0**-53 for b in bits]
    slope = [math.sqrt(-2 * math.log(u[2 + i])) * math.cos(2 * math.pi * u[4 + i]) for i in range(2)]
    for x in (2.0, -2.0):
        relu, wave = (rt.RandomFeatures(2, seed=3, kind=kind).apply(np.array([[x]])) for kind in ("relu", "fourier"))
        np.testing.assert_allclose(relu, [[max(0, x * s) for s in slope]], rtol=1e-6)
        wave_by_hand = [math.cos(x * slope[i] + 2 * math.pi * u[i]) for i in range(2)]
        np.testing.assert_allclose(wave, [wave_by_hand], rtol=1e-5)


@pytest.mark.parametrize("width", [7, 1000])
@pytest.mark.parametrize("kind", ["relu", "fourier"])
def test_a_row_comes_out_the_same_whatever_is_beside_it(kind, width):
    x = np.random.default_rng(1).normal(size=(150, 300)).astype(np.float32)
    features = rt.RandomFeatures(width, kind=kind)
    whole = features.apply(x)
    for start, stop in ((0, 1), (3, 4), (5, 70), (64, 128), (149, 150)):
        assert np.array_equal(features.apply(x[start:stop]), whole[start:stop])


def test_sparse_rows_and_tables_are_rows_like_others(x):
    import pyarrow as pa

    features = rt.RandomFeatures(50)
    said = features.learn(rt.Batch(x)).x
    row, column = np.nonzero(x)
    sparse = rt.CSR(np.arange(0, 1201, 6).astype(np.int64), column.astype(np.int32), x[row, column], 6)
    table = pa.record_batch({str(j): x[:, j] for j in range(6)})
    assert np.array_equal(features.apply(sparse), said)
    assert np.array_equal(features.apply(table), said)


def test_what_makes_no_sense_is_refused(x):
    for settings in ({"width": 0}, {"width": 5, "kind": "tanh"}, {"width": 5, "scale": 0}, {"width": 5, "seed": -1}):
        with pytest.raises(SettingError, match="RandomFeatures got"):
            rt.RandomFeatures(**settings)
    features = rt.RandomFeatures(5)
    features.learn(rt.Batch(x))
    narrow = rt.CSR(np.array([0, 1]), np.array([0], dtype=np.int32), np.ones(1, dtype=np.float32), 7)
    for other in (x[:, :3], narrow):
        with pytest.raises(PoisonError, match="expected"):
            features.apply(other)


@pytest.mark.parametrize("kind", ["relu", "fourier"])
def test_fewer_of_them_are_what_they_were(x, kind):
    whole = rt.RandomFeatures(50, kind=kind)
    z = whole.learn(rt.Batch(x)).x
    kept = np.arange(0, 50, 3)
    part = whole.narrowed(kept).narrowed(np.array([1, 4]))
    assert (part.outputs, part.products, whole.products) == (2, 12, 300)
    np.testing.assert_allclose(part.apply(x), z[:, [3, 12]], rtol=1e-5, atol=1e-6)
    again = rt.RandomFeatures(50, kind=kind)
    again.apply(x)
    again.load_state_dict(part.state_dict())
    np.testing.assert_array_equal(again.apply(x), part.apply(x))
    np.testing.assert_array_equal(whole.apply(x), z)
    with pytest.raises(StateError, match="keeps feature 12 of RandomFeatures, which has 10"):
        rt.RandomFeatures(10, kind=kind).load_state_dict(part.state_dict())
