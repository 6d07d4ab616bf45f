"""What all generators share: rows are a function of the seed and the row number."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retain import state
from retain.blocks import concat_batches
from retain.errors import RetainError, SettingError, StateError
from retain.streams.synthetic import (
    LED,
    SEA,
    STAGGER,
    Agrawal,
    Friedman,
    Hyperplane,
    RandomRBF,
    RandomTree,
    Sine,
)

MAKERS = {
    "sea": lambda **kw: SEA(theta=9.0, noise=0.1, **kw),
    "stagger": lambda **kw: STAGGER(concept=2, noise=0.05, **kw),
    "agrawal": lambda **kw: Agrawal(function=7, perturbation=0.05, **kw),
    "hyperplane": lambda **kw: Hyperplane(noise=0.05, **kw),
    "turning": lambda **kw: Hyperplane(features=5, moving=3, magnitude=0.01, noise=0.05, **kw),
    "rbf": lambda **kw: RandomRBF(classes=4, noise=0.1, **kw),
    "moving": lambda **kw: RandomRBF(classes=3, speed=0.001, moving=20, **kw),
    "led": lambda **kw: LED(noise=0.1, swapped=3, **kw),
    "tree": lambda **kw: RandomTree(classes=5, noise=0.1, **kw),
    "sine": lambda **kw: Sine(function=3, irrelevant=2, noise=0.1, **kw),
    "friedman": lambda **kw: Friedman(roles=(4, 6, 2, 1, 3), **kw),
}
every_generator = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


def rows(stream, n, position=None):
    taken, batches = 0, []
    for batch, _ in stream.read(position):
        batches.append(batch)
        taken += len(batch)
        if taken >= n:
            break
    whole = concat_batches(batches)
    return whole.x[:n], whole.y[:n]


@every_generator
def test_gives_dense_rows_under_a_schema(make):
    batch = next(iter(make(seed=1)))
    assert batch.x.dtype == np.float32
    assert batch.x.shape == (1000, len(batch.schema.names))
    assert np.isfinite(batch.x).all()
    if batch.schema.classes is None:
        assert batch.y.dtype == np.float64
    else:
        assert batch.y.dtype == np.int64
        assert set(np.unique(batch.y)) == set(range(len(batch.schema.classes)))


@every_generator
def test_same_seed_same_rows_other_seed_other_rows(make):
    x, y = rows(make(seed=5), 300)
    again = rows(make(seed=5), 300)
    other = rows(make(seed=6), 300)
    assert np.array_equal(x, again[0])
    assert np.array_equal(y, again[1])
    assert not np.array_equal(x, other[0])


@every_generator
@pytest.mark.parametrize("n", [0, 1, 999, 1000, 1001, 4096, 5000])
def test_has_n_rows(make, n):
    assert sum(map(len, make(seed=1, n=n))) == n


@every_generator
def test_blocks_and_resumes_anywhere(make):
    n = 9000
    x, y = rows(make(seed=3), n)

    @settings(max_examples=12, deadline=None)
    @given(block=st.integers(1, 5000), at=st.integers(0, 10_000), then=st.integers(500, 5000))
    def body(block, at, then):
        block = max(block, 50)
        stream = make(seed=3, n=n, block=block)
        positions = [after for _, after in islice(stream.read(), 1 + at // block)]
        kept = state.decode(state.encode(positions[-1]))
        for again in (make(seed=3, n=n, block=then), stream):
            if kept["rows"] < n:
                got = rows(again, n, kept)
                assert np.array_equal(got[0], x[kept["rows"] :])
                assert np.array_equal(got[1], y[kept["rows"] :])
            else:
                assert list(again.read(kept)) == []

    body()


@every_generator
def test_a_row_far_away_costs_no_more_than_the_first(make):
    # Nine thousand million rows in: if it read on from the start, this test would not end.
    _, position = next(make(seed=2).read())
    far = {**position, "rows": 9 * 10**9 + 17}
    x, _ = rows(make(seed=2), 10, far)
    near, _ = rows(make(seed=2), 10)
    assert np.isfinite(x).all()
    assert not np.array_equal(x, near)


@every_generator
def test_refuses_a_position_of_another_stream(make):
    with pytest.raises(StateError, match="does not belong"):
        next(make(seed=1).read({"rows": 5, "schema": {}, "concept": {}}))


@pytest.mark.parametrize(
    ("make", "met"),
    [
        (lambda: SEA(seed=-1), "seed=-1"),
        (lambda: SEA(seed=1, n=-1), "n=-1"),
        (lambda: SEA(seed=1, block=0), "block=0"),
        (lambda: SEA(seed=1, noise=1.5), "noise=1.5"),
        (lambda: SEA(seed=1, theta=float("nan")), "theta=nan"),
        (lambda: STAGGER(seed=1, concept=0), "concept=0"),
        (lambda: Agrawal(seed=1, function=11), "function=11"),
        (lambda: Agrawal(seed=1, perturbation=-0.1), "perturbation=-0.1"),
        (lambda: Hyperplane(seed=1, features=3, moving=4), "moving=4"),
        (lambda: Hyperplane(seed=1, magnitude=float("inf")), "magnitude=inf"),
        (lambda: RandomRBF(seed=1, classes=1), "classes=1"),
        (lambda: RandomRBF(seed=1, moving=51), "moving=51"),
        (lambda: LED(seed=1, swapped=8), "swapped=8"),
        (lambda: LED(seed=1, swapped=2, irrelevant=False), "irrelevant=False"),
        (lambda: RandomTree(seed=1, numeric=0, nominal=3), "depth=5"),
        (lambda: RandomTree(seed=1, leaf_share=2), "leaf_share=2"),
        (lambda: Sine(seed=1, function=5), "function=5"),
        (lambda: Friedman(seed=1, roles=(0, 1, 2, 3, 4)), "roles="),
        (lambda: Friedman(seed=1, noise=-1), "noise=-1"),
    ],
)
def test_refuses_nonsense(make, met):
    with pytest.raises(SettingError, match="expected") as error:
        make()
    assert met in str(error.value)
    assert isinstance(error.value, RetainError)


@pytest.mark.parametrize("noise", [0.05, 0.3])
@pytest.mark.parametrize("name", ["sea", "stagger", "hyperplane", "sine", "tree"])
def test_noise_replaces_that_share_of_labels_and_leaves_inputs(name, noise):
    make = {
        "sea": lambda p: SEA(seed=1, noise=p),
        "stagger": lambda p: STAGGER(seed=1, noise=p),
        "hyperplane": lambda p: Hyperplane(seed=1, noise=p),
        "sine": lambda p: Sine(seed=1, noise=p),
        "tree": lambda p: RandomTree(seed=1, classes=4, noise=p),
    }[name]
    n = 40_000
    x, y = rows(make(0.0), n)
    noisy_x, noisy_y = rows(make(noise), n)
    assert np.array_equal(x, noisy_x)
    assert np.array_equal(y, make(0.0).labels(x))
    assert np.array_equal(y, make(noise).labels(x))
    # Five standard errors; a label that is hit is always another one.
    assert abs((noisy_y != y).mean() - noise) < 5 * np.sqrt(noise * (1 - noise) / n)
