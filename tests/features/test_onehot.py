import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import OneHotEncoder

import retain as rt
from retain.blocks import dense
from retain.core import CSR, Column, Kind, Schema
from retain.errors import PoisonError, SchemaError, SettingError


def as_dicts(onehot, rows):
    """Rows as {slot name: value}."""
    matrix = dense(rows, rows.width if isinstance(rows, CSR) else rows.shape[1])
    return [{onehot.names[j]: float(row[j]) for j in np.flatnonzero(row)} for row in matrix]


def expected_dict(row, counts, limit):
    """What a row is, in plain Python; `counts` holds the categories known, by column."""
    out = {}
    for name, value in row.items():
        if value is None:
            out[f"{name}=?"] = 1.0
        elif isinstance(value, str):
            known = counts.setdefault(name, [])
            if value not in known and len(known) < limit:
                known.append(value)
            out[f"{name}={value}" if value in known else f"{name}=*"] = 1.0
        elif value:
            out[name] = float(np.float32(value))
    return out


TABLES = st.lists(
    st.fixed_dictionaries(
        {
            "a": st.one_of(st.none(), st.sampled_from(["x", "y", "é", "", "a longer word", "z"])),
            "n": st.one_of(st.none(), st.sampled_from([0.0, 1.5, -2.0])),
            "b": st.sampled_from(["x", "y", "q", "r", "s"]),
        }
    ),
    min_size=1,
    max_size=30,
)
TYPES = pa.schema({"a": pa.string(), "n": pa.float64(), "b": pa.dictionary(pa.int32(), pa.string())})


@given(TABLES, st.lists(st.integers(0, 30), max_size=3), st.sampled_from([2, 100]))
@settings(max_examples=30, deadline=None)
def test_every_row_is_its_numbers_and_categories_by_name_however_it_is_cut(rows, cuts, limit):
    onehot = rt.OneHot(max_categories=limit)
    counts = {}
    edges = [0, *sorted(min(c, len(rows)) for c in cuts), len(rows)]
    table = pa.RecordBatch.from_pylist(rows, schema=TYPES)
    got = []
    for a, b in itertools.pairwise(edges):
        got += as_dicts(onehot, onehot.learn(rt.Batch(table.slice(a, b - a))).x)
    assert got == [expected_dict(row, counts, limit) for row in rows]
    # Slots are numbered by first appearance: row after row and, within a row, column after column.
    seen = ["n"]
    for row in got:
        seen += [name for name in sorted(row, key=lambda name: "anb".index(name[0])) if name not in seen]
    assert list(onehot.names) == seen


def test_the_same_matrix_as_scikit_learn_up_to_the_order_of_columns():
    rng = np.random.default_rng(0)
    words = rng.choice(["a", "b", "c", "d"], size=(200, 3))
    x = pa.record_batch({f"c{j}": words[:, j] for j in range(3)})
    onehot = rt.OneHot()
    got = dense(onehot.learn(rt.Batch(x)).x, len(onehot.names))
    oracle = OneHotEncoder(sparse_output=False).fit(words)
    names = [f"c{j}={word}" for j in range(3) for word in oracle.categories_[j]]
    order = [onehot.names.index(name) for name in names]
    np.testing.assert_array_equal(got[:, order], oracle.transform(words))


def test_numbers_alone_stay_dense_until_the_first_one_is_missing():
    full = pa.record_batch({"a": [1.0, 2.0], "b": [3, 4], "c": [True, False]})
    onehot = rt.OneHot()
    first = onehot.learn(rt.Batch(full)).x
    assert first.dtype == np.float32
    assert first.tolist() == [[1, 3, 1], [2, 4, 0]]
    second = onehot.learn(rt.Batch(pa.record_batch({"a": [None, 2.0], "b": [3, 4], "c": [True, None]}))).x
    assert isinstance(second, CSR)
    assert dense(second, 5).tolist() == [[0, 3, 1, 1, 0], [2, 4, 0, 0, 1]]
    assert onehot.names == ("a", "b", "c", "a=?", "c=?")
    assert isinstance(onehot.apply(full), CSR)  # once wider, always sparse


def test_columns_may_come_in_another_order_go_away_and_arrive():
    onehot = rt.OneHot()
    onehot.learn(rt.Batch(pa.record_batch({"a": [1.0], "b": [2.0]})))
    assert onehot.apply(pa.record_batch({"b": [2.0], "a": [1.0]})).tolist() == [[1, 2]]
    assert onehot.apply(pa.record_batch({"b": [2.0]})).tolist() == [[0, 2]]
    more = onehot.learn(rt.Batch(pa.record_batch({"c": [7.0], "b": [2.0]}))).x
    assert as_dicts(onehot, more) == [{"b": 2, "c": 7}]
    assert isinstance(more, CSR)  # a bare array must not change its width


def test_apply_gives_no_entry_to_what_it_has_not_seen():
    onehot = rt.OneHot()
    onehot.learn(rt.Batch(pa.record_batch({"a": ["x"], "n": [1.0]})))
    rows = onehot.apply(pa.record_batch({"a": ["y", None, "x"], "n": [None, 2.0, 3.0]}))
    assert as_dicts(onehot, rows) == [{}, {"n": 2}, {"n": 3, "a=x": 1}]
    assert rt.OneHot().apply(pa.record_batch({"a": ["y"], "n": [2.0]})).width == 1


def test_named_columns_of_numbers_are_categories_and_an_all_missing_column_waits_for_its_kind():
    onehot = rt.OneHot("n")
    onehot.learn(rt.Batch(pa.record_batch({"n": [1, 7], "a": pa.nulls(2)})))
    onehot.learn(rt.Batch(pa.record_batch({"n": [7, None], "a": [1.5, None]})))
    assert onehot.names == ("n=1", "a=?", "n=7", "a", "n=?")
    kept = rt.OneHot("n")
    kept.load_state_dict(onehot.state_dict())
    assert kept.names == onehot.names


def test_a_category_by_the_schema_is_one_though_it_is_a_number():
    schema = Schema(columns=(Column("n", Kind.CATEGORICAL),), classes=("no", "yes"))
    batch = rt.OneHot().learn(rt.Batch(pa.record_batch({"n": [1, 7]}), schema=schema))
    assert dense(batch.x, 2).tolist() == [[1, 0], [0, 1]]
    assert batch.schema.classes == ("no", "yes")
    assert batch.schema.columns == ()


def test_memory_is_bounded_by_max_categories():
    onehot = rt.OneHot(max_categories=5)
    for start in range(0, 1000, 100):
        onehot.learn(rt.Batch(pa.record_batch({"id": [f"row {i}" for i in range(start, start + 100)]})))
    assert onehot.names == (*(f"id=row {i}" for i in range(5)), "id=*")
    assert dense(onehot.apply(pa.record_batch({"id": ["row 1", "never seen"]})), 6).tolist()[1] == [0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("rows", "error", "says"),
    [
        (pa.record_batch({"n": ["text"]}), PoisonError, "e.g. 'text'; expected numbers as before"),
        (pa.record_batch({"n": [float("inf")]}), PoisonError, "inf in row 0, column n"),
        (pa.record_batch({"n": pa.array([None, float("nan")])}), PoisonError, "nan in row 1, column n"),
        (pa.record_batch({"t": pa.array([0], pa.timestamp("s"))}), PoisonError, 'put rt.DateParts("t") in front'),
        (pa.record_batch({"l": [[1, 2]]}), PoisonError, 'rt.Select(drop=("l",))'),
        (np.ones((1, 2)), SchemaError, "expected a record batch"),
    ],
)
def test_what_cannot_be_encoded_is_refused_with_a_cure(rows, error, says):
    onehot = rt.OneHot()
    onehot.learn(rt.Batch(pa.record_batch({"n": [1.0]})))
    before = onehot.names
    with pytest.raises(error) as met:
        onehot.learn(rt.Batch(rows))
    assert says in str(met.value)
    assert onehot.names == before


def test_long_texts_are_for_hash_unless_named():
    schema = Schema(columns=(Column("t", Kind.TEXT),))
    batch = rt.Batch(pa.record_batch({"t": ["a b c"]}), schema=schema)
    with pytest.raises(SchemaError, match=r"rt\.Hash\(\)"):
        rt.OneHot().learn(batch)
    assert rt.OneHot("t").learn(batch).x.width == 1


def test_settings():
    with pytest.raises(SettingError):
        rt.OneHot(max_categories=0)
