import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.impute import SimpleImputer

import retain as rt
from retain.errors import PoisonError, SchemaError, SettingError
from retain.features.impute import Constant, LastValue


def holes(rows=60, seed=0):
    rng = np.random.default_rng(seed)
    return np.where(rng.random((rows, 3)) < 0.3, np.nan, rng.normal(5, 2, size=(rows, 3)))


def test_the_mean_before_each_row_is_scikit_learns():
    x = holes()
    out = rt.Impute().learn(rt.Batch(x)).x
    for i in range(10, 60):
        np.testing.assert_allclose(out[i], SimpleImputer().fit(x[:i]).transform(x[i : i + 1])[0], rtol=1e-12)
    first = np.array([[np.nan, 1.0, np.nan]])
    assert rt.Impute().apply(first).tolist() == [[0, 1, 0]]


def test_the_last_value_is_pandas_forward_fill():
    x = holes(seed=1)
    expected = pd.DataFrame(x).ffill().fillna(0).to_numpy()
    np.testing.assert_array_equal(rt.Impute(strategy=LastValue()).learn(rt.Batch(x)).x, expected)


def test_a_constant_and_indicators():
    x = np.array([[1, np.nan], [np.nan, 2]], dtype=np.float32)
    out = rt.Impute(strategy=Constant(-1.5), indicator=True).learn(rt.Batch(x)).x
    assert out.dtype == np.float32
    assert out.tolist() == [[1, -1.5, 0, 1], [-1.5, 2, 1, 0]]


def test_tables_are_filled_by_name_and_text_is_left_alone():
    x = pa.record_batch({"a": pa.array([2, None, 4, None]), "s": ["x", None, "y", "z"], "b": [1.0, 2.0, 3.0, None]})
    impute = rt.Impute("a", indicator=True)
    out = impute.learn(rt.Batch(x)).x
    assert out.schema.names == ["a", "s", "b", "a_missing"]
    assert out["a"].to_pylist() == [2, 2, 4, 3]
    assert out["a_missing"].to_pylist() == [0, 1, 0, 1]
    assert out["b"].null_count == 1
    everything = rt.Impute()
    everything.learn(rt.Batch(x))
    late = pa.record_batch({"b": pa.nulls(1), "new": pa.array([None], pa.float64())})
    assert everything.learn(rt.Batch(late)).x.to_pylist() == [{"b": 2.0, "new": 0.0}]


@pytest.mark.parametrize(
    ("x", "error", "says"),
    [
        (pa.record_batch({"a": ["x"]}), PoisonError, "e.g. 'x'; expected numbers as before"),
        (pa.record_batch({"a": [1.0, float("nan")]}), PoisonError, "nan in row 1, column a; expected"),
        (np.ones((1, 1)), SchemaError, "expected a table"),
        (rt.CSR(np.array([0, 0]), np.empty(0, np.int32), np.empty(0), 3), SchemaError, "sparse"),
    ],
)
def test_what_cannot_be_filled_is_refused(x, error, says):
    impute = rt.Impute()
    impute.learn(rt.Batch(pa.record_batch({"a": [1.0]})))
    with pytest.raises(error) as met:
        impute.learn(rt.Batch(x))
    assert says in str(met.value)
    assert impute.state_dict()["count"].tolist() == [1.0]


def test_settings():
    with pytest.raises(SettingError):
        rt.Impute(strategy=Constant(float("nan")))
