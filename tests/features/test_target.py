import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import feature_extraction, stats

import retain as rt
from retain.errors import PoisonError, SchemaError, SettingError

SEEDS = st.integers(0, 10_000)


def stream(seed, *, rows=60, classes=2):
    rng = np.random.default_rng(seed)
    x = pa.record_batch(
        {
            "who": pa.array(rng.choice(["a", "b", "c", "d"], size=rows), mask=rng.random(rows) < 0.1),
            "shop": rng.integers(0, 3, size=rows),
        }
    )
    delay = rng.choice([0.0, 1.0, np.nan], size=rows) * rng.integers(1, 20, size=rows)
    batch = rt.Batch(x, y=rng.integers(0, classes, size=rows), weight=rng.uniform(0, 3, size=rows))
    return batch, delay, sorted(rng.integers(0, rows, size=3).tolist())


@given(SEEDS, st.sampled_from([0.0, 5.0]), st.sampled_from([2, 4]))
@settings(max_examples=20, deadline=None)
def test_means_of_the_labels_that_have_landed_drawn_to_the_mean_of_all(events, play, seed, smoothing, classes):
    batch, delay, cuts = stream(seed, classes=classes)
    happened = events(delay)
    encoder = rt.TargetEncode("who", "shop", smoothing=smoothing, classes=classes)
    got = play(encoder, batch, happened, cuts)
    told = [1] if classes == 2 else range(classes)
    names = [f"{n}_mean" + ("" if classes == 2 else f"_{c}") for n in ("who", "shop") for c in told]
    assert got.schema.names == names
    rows, landed, i_row = batch.x.to_pylist(), [], iter(got.to_pylist())
    for what, i in happened:
        if what == "l":
            landed.append(i)
            continue
        said = next(i_row)
        for name in ("who", "shop"):
            mine = [j for j in landed if rows[j][name] == rows[i][name]]
            for c in told:
                weight, hits = batch.weight, (batch.y == c).astype(float)
                total = weight[landed].sum()
                prior = (weight * hits)[landed].sum() / total if total else 0.0
                n = weight[mine].sum() + smoothing
                expected = ((weight * hits)[mine].sum() + smoothing * prior) / n if n else prior
                column = f"{name}_mean" + ("" if classes == 2 else f"_{c}")
                assert said[column] == pytest.approx(expected, abs=1e-12)


@given(SEEDS, st.sampled_from([1, 2, 3]))
@settings(max_examples=20, deadline=None)
def test_the_category_whose_label_landed_longest_ago_is_forgotten(seed, keys):
    batch, _, _ = stream(seed)
    y = np.random.default_rng(seed).normal(size=60)
    out = rt.TargetEncode("who", smoothing=1, keys=keys).learn(rt.Batch(batch.x, y=y)).x["who_mean"].to_pylist()
    known = {}
    for i, row in enumerate(batch.x.to_pylist()):
        mine = known.get(row["who"], [])
        prior = y[:i].mean() if i else 0.0
        assert out[i] == pytest.approx((sum(mine) + prior) / (len(mine) + 1))
        known.pop(row["who"], None)
        known[row["who"]] = [*mine, y[i]]
        if len(known) > keys:
            del known[next(iter(known))]


def test_the_same_as_river_on_numbers():
    batch, _, _ = stream(0)
    y = np.random.default_rng(1).normal(size=60)
    river = feature_extraction.TargetAgg(by="who", how=stats.Mean())
    expected = []
    for row, target in zip(batch.x.to_pylist(), y, strict=True):
        expected.append(river.transform_one(row)["y_mean_by_who"])
        river.learn_one(row, target)
    out = rt.TargetEncode("who", smoothing=0).learn(rt.Batch(batch.x, y=y)).x
    seen = {}
    for i, row in enumerate(batch.x.to_pylist()):
        if row["who"] in seen:  # River says 0 of a category never seen, we the mean of all
            assert out["who_mean"][i].as_py() == pytest.approx(expected[i])
        elif i:
            assert out["who_mean"][i].as_py() == pytest.approx(y[:i].mean())
        seen[row["who"]] = True


def test_columns_of_the_same_words_do_not_mix_and_may_stay():
    x = pa.record_batch({"a": ["x", "y"], "b": ["y", "x"], "n": [1, 2]})
    encoder = rt.TargetEncode(smoothing=0, drop=False)
    out = encoder.learn(rt.Batch(x, y=np.array([4.0, 8.0]))).x
    assert out.schema.names == ["a", "b", "n", "a_mean", "b_mean"]
    assert encoder.apply(x).select(["a_mean", "b_mean"]).to_pylist() == [
        {"a_mean": 4, "b_mean": 4},
        {"a_mean": 8, "b_mean": 8},
    ]


def test_what_makes_no_sense_is_refused():
    with pytest.raises(SettingError):
        rt.TargetEncode(smoothing=-1)
    with pytest.raises(SettingError):
        rt.TargetEncode(classes=1)
    with pytest.raises(SchemaError, match="expected a record batch"):
        rt.TargetEncode().learn(rt.Batch(np.zeros((2, 2)), y=np.array([0, 1])))
    with pytest.raises(SchemaError, match="no column 'gone'"):
        rt.TargetEncode("gone").learn(rt.Batch(pa.record_batch({"a": ["x"]}), y=np.array([0])))
    with pytest.raises(PoisonError, match="expected class codes"):
        rt.TargetEncode(classes=3).learn(rt.Batch(pa.record_batch({"a": ["x"]}), y=np.array([0.5])))
    with pytest.raises(PoisonError, match="weight"):
        rt.TargetEncode().learn(rt.Batch(pa.record_batch({"a": ["x"]}), y=np.array([0.5]), weight=np.array([-1.0])))
