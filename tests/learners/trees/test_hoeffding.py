"""`HoeffdingTree` does what its definition says, within its memory, whatever comes."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import retain as rt
from retain import state
from retain.errors import PoisonError, SettingError

spec = spec_from_file_location("reference", Path(__file__).with_name("reference.py"))
reference = module_from_spec(spec)
spec.loader.exec_module(reference)


def rows(n, *, classes=3, features=4, seed=0):
    """Classes in boxes, with noise."""
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(n, features)) * [1, 10, 0.1, 1]).astype(np.float32)
    y = (x[:, 0] > 0).astype(int) + (classes - 2) * ((x[:, 0] > 0) & (x[:, 1] > 3))
    flips = rng.random(n) < 0.1
    return x, np.where(flips, rng.integers(0, classes, n), y), rng.integers(1, 4, n).astype(float)


@pytest.mark.parametrize(("grace", "delta", "tie"), [(20.0, 0.01, 0.05), (50.0, 0.2, 0.2)])
def test_it_is_the_tree_of_the_definition(grace, delta, tie):
    """Against plain Python: the same nodes, and every prediction equal within 1e-9."""
    x, y, w = rows(1500)
    tree = rt.HoeffdingTree(grace=grace, delta=delta, tie=tie)
    said = tree.learn(rt.Batch(x, y=y, weight=w))
    plain = reference.Reference(4, grace=grace, delta=delta, tie=tie)
    for i, row in enumerate(x.astype(np.float64)):
        expected = plain.predict(row)
        got = {c: p for c, p in enumerate(said[i]) if p > 0}
        for c in expected.keys() | got.keys():
            assert got.get(c, 0.0) == pytest.approx(expected.get(c, 0.0), abs=1e-9), f"row {i}"
        plain.learn(row, int(y[i]), w[i])
    assert tree.nodes == plain.nodes > 5


def test_it_is_as_good_as_rivers():
    """Beside River's tree of the same settings, on the same rows: as accurate within a point."""
    from river import tree as river

    batch = next(iter(rt.streams.RandomRBF(seed=1, n=8000, block=8000)))
    x = np.asarray(batch.x)
    ours = (rt.HoeffdingTree(grace=200, delta=1e-7).learn(batch).argmax(1) == batch.y).mean()
    theirs, right = river.HoeffdingTreeClassifier(), 0
    for row, label in zip(x.tolist(), batch.y.tolist(), strict=True):
        named = dict(enumerate(row))
        right += theirs.predict_one(named) == label
        theirs.learn_one(named, label)
    assert ours > right / len(x) - 0.01


def test_nominal_features_split_by_a_value():
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 6, 4000)
    other = rng.integers(0, 6, 4000)
    y = (colour == 3).astype(int)
    x = np.c_[other, colour].astype(np.float32)
    tree = rt.HoeffdingTree(nominal=[0, 1])
    tree.learn(rt.Batch(x, y=y))
    assert tree.nodes == 3  # one question is enough: is it 3?
    assert (tree.predict(x).argmax(1) == y).all()
    named = pa.record_batch({"other": other, "colour": colour})
    by_name = rt.HoeffdingTree(nominal=["other", "colour"])
    by_name.learn(rt.Batch(named, y=y))
    assert by_name.nodes == 3


def test_what_is_missing_goes_where_most_went():
    x, y, _ = rows(4000, classes=2)
    tree = rt.HoeffdingTree()
    tree.learn(rt.Batch(x, y=y))
    gone = np.full((1, 4), np.nan, dtype=np.float32)
    assert tree.predict(gone).sum() == pytest.approx(1.0)
    holes = np.where(np.random.default_rng(1).random(x.shape) < 0.2, np.nan, x).astype(np.float32)
    said = rt.HoeffdingTree().learn(rt.Batch(holes, y=y))
    assert (said.argmax(1) == y).mean() > 0.75  # .95 of .9 that can be known, less what the holes hide


@pytest.mark.parametrize(
    ("what", "column"),
    [
        ("constant", np.full(2000, 7.0)),
        ("missing", np.full(2000, np.nan)),
        ("infinite range", np.r_[np.full(1999, 1.0), 3e38]),
    ],
)
def test_columns_that_say_nothing_change_nothing(what, column):
    x, y, _ = rows(2000, classes=2)
    more = np.c_[x, column].astype(np.float32)
    tree = rt.HoeffdingTree()
    said = tree.learn(rt.Batch(more, y=y))
    assert np.isfinite(said).all()
    assert (said.argmax(1) == y).mean() > 0.85, what


def test_a_class_seen_once_and_a_million_values():
    x, y, _ = rows(3000, classes=2)
    y[100] = 2
    many = np.c_[x, np.arange(3000) * 1000].astype(np.float32)
    tree = rt.HoeffdingTree(nominal=[4])
    assert (tree.learn(rt.Batch(many, y=y)).argmax(1) == y).mean() > 0.85
    assert tree.memory < 100_000


@pytest.mark.parametrize("budget", [20_000, 200_000])
@pytest.mark.parametrize(
    "make",
    [rt.HoeffdingTree, rt.EFDT, rt.HoeffdingAdaptiveTree],
    ids=["hoeffding", "efdt", "adaptive"],
)
def test_memory_is_bounded_as_the_budget_says(make, budget):
    """The whole state within 10 % of the budget, with classes and drift still coming."""
    tree = make(max_bytes=budget, grace=20, delta=0.5, tie=0.5)
    for seed in range(6):
        stream = rt.streams.RandomTree(seed=seed, n=5000, block=5000, numeric=5, nominal=0, classes=2 + seed, depth=8)
        for batch in stream:
            tree.learn(batch)
    size = len(state.encode(tree.state_dict()))
    overhead = 5000  # names and shapes in the header of a state
    assert size <= 1.1 * budget + overhead, (size, tree.nodes)
    assert size > 0.4 * budget  # it makes use of what it may have


def test_settings_and_columns_that_make_no_sense_are_refused():
    for settings in ({"grace": 0}, {"delta": 1.5}, {"tie": -1}, {"leaf": "oracle"}, {"branch": 0.6}, {"max_bytes": 9}):
        with pytest.raises(SettingError, match=next(iter(settings))):
            rt.HoeffdingTree(**settings)
    with pytest.raises(SettingError, match="colour"):
        rt.HoeffdingTree(nominal=["colour"]).learn(rt.Batch(np.zeros((2, 1)), y=np.array([0, 1])))
    with pytest.raises(PoisonError, match="class codes"):
        rt.HoeffdingTree().learn(rt.Batch(np.zeros((2, 1)), y=np.array([0.5, 1.5])))


def test_labels_that_never_come():
    tree = rt.HoeffdingTree()
    assert tree.learn(rt.Batch(np.zeros((5, 2)))).shape == (5, 0)
    assert tree.nodes == 1


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e3])
def test_what_a_class_never_had_counts_alike_in_any_unit(unit):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(400, 2)) * [1, unit]).astype(np.float32)
    y = rng.integers(0, 2, 400)
    x[y == 0, 1] = np.nan
    tree = rt.HoeffdingTree(grace=1e9, leaf="bayes")
    tree.learn(rt.Batch(x, y=y))
    said = tree.predict(np.array([[0.0, 0.5 * unit]]))
    assert 0.3 < said[0, 0] < 0.7


def test_codes_below_nothing_are_codes_of_their_own():
    x = np.random.default_rng(0).integers(-4, 4, size=(4000, 1)).astype(np.float32)
    tree = rt.HoeffdingTree(nominal=[0], max_values=8)
    y = (x[:, 0] > 0).astype(int)
    tree.learn(rt.Batch(x, y=y))
    assert (tree.predict(x).argmax(1) == y).mean() > 0.99


def test_a_budget_of_less_than_a_leaf_is_refused():
    with pytest.raises(SettingError, match="max_bytes"):
        rt.HoeffdingTree(max_bytes=4096).learn(rt.Batch(np.zeros((2, 2000)), y=np.array([0, 1])))
