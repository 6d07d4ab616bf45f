import numpy as np
import pyarrow as pa
import pytest

import retain as rt
from retain.core import Column, Kind, Schema
from retain.errors import PoisonError, SchemaError, SettingError

TABLE = pa.record_batch({"a": [1], "b": ["x"], "c": [3.0]})


def test_columns_come_in_the_order_asked_for_and_the_schema_follows():
    schema = Schema(columns=tuple(Column(name, Kind.NUMERIC) for name in "abc"), classes=("no", "yes"))
    batch = rt.Select("c", "a").learn(rt.Batch(TABLE, schema=schema))
    assert batch.x.to_pylist() == [{"c": 3.0, "a": 1}]
    assert batch.schema.names == ("c", "a")
    assert batch.schema.classes == ("no", "yes")
    assert rt.Select(drop="b").apply(TABLE).schema.names == ["a", "c"]
    x = np.arange(6).reshape(2, 3)
    assert rt.Select(drop=(0,)).apply(x).tolist() == [[1, 2], [4, 5]]
    assert rt.Select(2, 0).learn(rt.Batch(x)).x.tolist() == [[2, 0], [5, 3]]


@pytest.mark.parametrize(
    ("make", "x", "error", "says"),
    [
        (lambda: rt.Select("gone"), TABLE, SchemaError, "no column 'gone'"),
        (lambda: rt.Select(1), TABLE, SchemaError, "expected names: a, b, c"),
        (lambda: rt.Select("a"), np.ones((1, 3)), SchemaError, "expected numbers, 0 to 2"),
        (lambda: rt.Select(3), np.ones((1, 3)), SchemaError, "expected numbers, 0 to 2"),
        (lambda: rt.Select(0), np.ones(3), PoisonError, "reshape"),
        (lambda: rt.Select(drop=(0, 1)), np.ones((1, 2)), SchemaError, "at least one to stay"),
        (lambda: rt.Select(0), rt.CSR(np.array([0, 0]), np.empty(0), np.empty(0), 3), SchemaError, "sparse"),
    ],
)
def test_what_is_not_there_cannot_be_selected(make, x, error, says):
    with pytest.raises(error) as met:
        make().apply(x)
    assert says in str(met.value)


def test_settings():
    with pytest.raises(SettingError):
        rt.Select()
    with pytest.raises(SettingError):
        rt.Select("a", drop="b")
