import numpy as np
import pyarrow as pa
import pytest

import retain as rt
from retain.errors import PoisonError, SchemaError, SettingError


def test_codes_are_those_of_first_appearance_and_new_ones_are_missing_once():
    x = pa.record_batch({"a": ["x", "y", "x", None, "y"], "n": [1, 2, 3, 4, 5], "k": [7, 7, 8, 8, 7]})
    ordinal = rt.Ordinal("a", "k")
    out = ordinal.learn(rt.Batch(x)).x
    assert out["a"].to_pylist() == [None, None, 0, None, 1]
    assert out["k"].to_pylist() == [None, 0, None, 1, 0]
    assert out["n"].equals(x["n"])
    assert ordinal.categories("k") == ("7", "8")
    assert ordinal.categories("n") == ()


def test_beyond_the_bound_everything_is_missing():
    ordinal = rt.Ordinal(max_categories=2)
    for _ in range(2):
        out = ordinal.learn(rt.Batch(pa.record_batch({"a": ["x", "y", "z", "z"]}))).x
    assert out["a"].to_pylist() == [0, 1, None, None]
    assert ordinal.apply(pa.record_batch({"a": ["z", "y"]}))["a"].to_pylist() == [None, 1]


def test_numbers_without_names_are_codes_already():
    x = np.array([[2.0], [0.0]])
    assert rt.Ordinal("colour").learn(rt.Batch(x)).x is x


def test_what_cannot_be_encoded_is_refused():
    with pytest.raises(SettingError):
        rt.Ordinal(max_categories=0)
    with pytest.raises(SchemaError, match="expected a record batch"):
        rt.Ordinal().apply(np.full((1, 1), "a"))
    with pytest.raises(SchemaError, match="no column"):
        rt.Ordinal("b").apply(pa.record_batch({"a": ["x"]}))
    with pytest.raises(PoisonError, match=r"rt\.DateParts"):
        rt.Ordinal("at").apply(pa.record_batch({"at": pa.array([0], pa.timestamp("us"))}))
