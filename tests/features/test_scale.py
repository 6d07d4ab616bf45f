import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import preprocessing
from sklearn.preprocessing import StandardScaler

import retain as rt
from retain.errors import PoisonError, SchemaError


@given(st.integers(0, 10_000), st.sampled_from([1e-6, 1.0, 1e6]), st.sampled_from([0.0, 1e6, -1e9]))
@settings(max_examples=20, deadline=None)
def test_each_row_is_standardised_by_the_rows_before_it_as_scikit_learn_would(seed, spread, offset):
    x = np.random.default_rng(seed).normal(size=(40, 3)) * max(spread, abs(offset) * 1e-6) + offset
    out = rt.Scale().learn(rt.Batch(x)).x
    for i in range(2, len(x)):
        expected = StandardScaler().fit(x[:i]).transform(x[i : i + 1])
        np.testing.assert_allclose(out[i : i + 1], expected, rtol=1e-5)  # float32 out


def test_the_same_as_river_row_by_row():
    x = np.random.default_rng(0).normal(3, 10, size=(200, 4))
    river = preprocessing.StandardScaler()
    expected = np.zeros_like(x)
    for i, row in enumerate(x):
        named = dict(enumerate(row))
        expected[i] = list(river.transform_one(named).values())
        river.learn_one(named)
    out = rt.Scale().learn(rt.Batch(x)).x
    np.testing.assert_allclose(out[1:], expected[1:], rtol=1e-5)
    np.testing.assert_array_equal(out[0], 0)


def test_a_large_mean_costs_no_precision():
    x = 1.7e9 + np.random.default_rng(1).normal(size=(1000, 1))  # seconds since 1970, say
    out = rt.Scale().learn(rt.Batch(x)).x
    np.testing.assert_allclose(out[-1], StandardScaler().fit(x[:-1]).transform(x[-1:])[0], rtol=1e-5)


def test_constant_columns_and_first_rows_become_zero_even_with_a_value_that_binary_cannot_hold():
    x = np.full((50, 2), 0.1)
    assert (rt.Scale().learn(rt.Batch(x)).x == 0).all()
    assert (rt.Scale().apply(np.ones((3, 2))) == 0).all()


def test_results_stay_within_float32():
    x = np.array([[0.0], [1e-30], [3e38]])
    assert np.isfinite(rt.Scale().learn(rt.Batch(x)).x).all()


def test_a_table_is_scaled_column_by_column_with_nulls_left_out_and_left_in_place():
    rng = np.random.default_rng(2)
    values = rng.normal(size=60)
    holes = rng.random(60) < 0.3
    x = pa.record_batch(
        {"a": pa.array(values, mask=holes), "b": pa.array(np.arange(60)), "s": ["x"] * 60, "t": [True, False] * 30}
    )
    scale = rt.Scale()
    out = scale.learn(rt.Batch(x)).x
    assert out["s"].equals(x["s"])
    assert out["t"].equals(x["t"])
    dense = rt.Scale().learn(rt.Batch(values[~holes, None])).x.ravel()
    got = out["a"].to_numpy(zero_copy_only=False)
    assert np.isnan(got[holes]).all()
    assert out["a"].null_count == holes.sum()
    np.testing.assert_array_equal(got[~holes], dense)
    np.testing.assert_array_equal(out["b"], rt.Scale().learn(rt.Batch(np.arange(60)[:, None])).x.ravel())
    # A column that goes away and one that comes in move no other.
    late = pa.record_batch({"b": [3], "new": [1.0]})
    assert scale.learn(rt.Batch(late)).x["new"].to_pylist() == [0.0]
    assert scale.state_dict()["names"] == ["a", "b", "new"]
    assert scale.state_dict()["count"].tolist() == [float((~holes).sum()), 61.0, 1.0]


def test_only_the_named_columns_are_scaled():
    x = pa.record_batch({"a": [1.0, 2.0], "b": [1.0, 2.0], "t": [True, False]})
    out = rt.Scale("b", "t").learn(rt.Batch(x)).x
    assert out["a"].equals(x["a"])
    assert str(out.schema.field("t").type) == "float"


@pytest.mark.parametrize(
    ("rows", "error", "says"),
    [
        (rt.CSR(np.array([0, 0]), np.empty(0, np.int32), np.empty(0, np.float32), 3), SchemaError, "before encoding"),
        (pa.record_batch({"b": [1.0]}), SchemaError, "no column 'a'"),
        (pa.record_batch({"a": ["x"]}), PoisonError, "column 'a' of type string, e.g. 'x'"),
        (pa.record_batch({"a": pa.array([1.0, float("nan")])}), PoisonError, "nan in row 1, column a"),
        (pa.record_batch({"a": pa.array([1.0, None, 1e300])}), PoisonError, "1e+300 in row 2, column a"),
    ],
)
def test_what_cannot_be_scaled_is_refused_with_a_cure(rows, error, says):
    scale = rt.Scale("a")
    with pytest.raises(error) as met:
        scale.learn(rt.Batch(rows))
    assert says in str(met.value)
    assert scale.state_dict()["names"] is None


def test_arrays_and_tables_do_not_mix():
    scale = rt.Scale()
    scale.learn(rt.Batch(np.ones((2, 1))))
    with pytest.raises(PoisonError, match="after bare arrays"):
        scale.learn(rt.Batch(pa.record_batch({"a": [1.0]})))
