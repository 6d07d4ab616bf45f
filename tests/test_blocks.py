"""Blocks of rows in their three forms: what is done to one must equal what is done to the others."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import retain as rt
from retain import blocks, state
from retain.core import CSR, Batch, Column, Kind, Schema
from retain.errors import PoisonError, SettingError

DENSE = np.array([[1.0, 0.0, 2.0], [0.0, 0.0, 0.0], [0.0, 3.0, 4.0], [5.0, 0.0, 0.0]], dtype=np.float32)


def sparse(rows: np.ndarray) -> CSR:
    row, column = np.nonzero(rows)
    indptr = np.searchsorted(row, np.arange(len(rows) + 1)).astype(np.int64)
    return CSR(indptr, column.astype(np.int32), rows[row, column], rows.shape[1])


def table(rows: np.ndarray) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(column) for column in rows.T], names=list("abc"))


FORMS = {"dense": lambda rows: rows, "csr": sparse, "table": table}


def back(x: object) -> np.ndarray:
    return blocks.dense(blocks.matrix(x, reader="test"), 3)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=50)
@given(rows=st.lists(st.integers(0, 3), max_size=6), a=st.integers(-5, 5), b=st.integers(-5, 5))
def test_take_is_numpys_indexing(form: str, rows: list[int], a: int, b: int) -> None:
    x = FORMS[form](DENSE)
    index = np.array(rows, dtype=np.int64)
    assert np.array_equal(back(blocks.take(x, index)), DENSE[index])
    assert np.array_equal(back(blocks.take(x, slice(a, b))), DENSE[a:b])
    assert np.array_equal(back(blocks.take(x, slice(None, None, 2))), DENSE[::2])


@pytest.mark.parametrize("form", FORMS)
@given(cut=st.integers(0, 4))
def test_concat_joins_what_was_cut(form: str, cut: int) -> None:
    x = FORMS[form](DENSE)
    joined = blocks.concat([blocks.take(x, slice(0, cut)), blocks.take(x, slice(cut, None))])
    assert np.array_equal(back(joined), DENSE)
    assert type(joined) is type(x)


def test_concat_pads_narrower_parts_and_turns_mixed_ones_sparse() -> None:
    wide = np.hstack([DENSE, DENSE[:, :1]])
    joined = blocks.concat([DENSE, wide])
    assert isinstance(joined, np.ndarray)
    assert np.array_equal(joined, np.vstack([np.pad(DENSE, ((0, 0), (0, 1))), wide]))
    mixed = blocks.concat([sparse(DENSE), wide])
    assert isinstance(mixed, CSR)
    assert np.array_equal(blocks.dense(mixed, 4), joined)
    with pytest.raises(SettingError):
        blocks.concat([])


def test_matrix_names_row_column_value_and_cure() -> None:
    bad = DENSE.copy()
    bad[2, 1] = np.nan
    for form in ("dense", "csr", "table"):
        with pytest.raises(PoisonError, match=r"reader got nan in row 2, column (1|b); .*rt\.Impute"):
            blocks.matrix(FORMS[form](bad), reader="reader")
    with pytest.raises(PoisonError, match=r"1e\+39 in row 0, column 0"):
        blocks.matrix(np.array([[1e39]]), reader="reader")
    with pytest.raises(PoisonError, match=r"'a' of type string.*OneHot"):
        blocks.matrix(pa.RecordBatch.from_arrays([pa.array(["x"])], names=["a"]), reader="reader")
    with pytest.raises(PoisonError, match="expected 2 as learnt"):
        blocks.matrix(DENSE, reader="reader", columns=2)
    with pytest.raises(PoisonError, match=r"shape \(4,\)"):
        blocks.matrix(DENSE[:, 0], reader="reader")


@pytest.mark.parametrize("far", [10**6, 2**44, 2**63 + 5, 2**64 - 1])
def test_class_codes_that_nobody_has_room_for_are_refused(far: int) -> None:
    kind = np.int64 if far < 2**63 else np.uint64
    expected = rf"r got the class code {far} in row 1; expected codes below 1,000,000: turn labels into codes 0, 1"
    with pytest.raises(PoisonError, match=expected):
        blocks.codes(np.array([0, far, 1], dtype=kind), 3, reader="r")
    assert blocks.codes(np.array([999_999]), 1, reader="r").tolist() == [999_999]


def test_a_learner_that_refused_a_far_class_goes_on() -> None:
    x = np.arange(20.0).reshape(10, 2)
    for made in (rt.HoeffdingTree(), rt.KNN(), rt.Linear(loss=rt.Multinomial()), rt.SGBT(1)):
        made.learn(Batch(x, y=np.arange(10) % 2))
        before = state.encode(made.state_dict())
        with pytest.raises(PoisonError, match="turn labels into codes"):
            made.learn(Batch(x[:1], y=np.array([2**44])))
        assert state.encode(made.state_dict()) == before
        assert made.predict(x).shape == (10, 2)


def test_labels_and_weights_are_checked() -> None:
    assert blocks.codes(None, 2, reader="r").tolist() == [-1, -1]
    assert blocks.codes(np.array([True, False]), 2, reader="r").tolist() == [1, 0]
    assert np.isnan(blocks.numbers(None, 2, reader="r")).all()
    for wrong in (np.array([0, -2]), np.array([0.5, 1]), np.array(["a", "b"]), np.array([0])):
        with pytest.raises(PoisonError, match=r"r got"):
            blocks.codes(wrong, 2, reader="r")
    for wrong in (np.array([1.0, np.inf]), np.array(["a", "b"])):
        with pytest.raises(PoisonError, match=r"r got"):
            blocks.numbers(wrong, 2, reader="r")
    for wrong in (np.array([1.0, -1.0]), np.array([1.0, np.nan])):
        with pytest.raises(PoisonError, match="weight"):
            blocks.weights(wrong, 2, reader="r")
    assert blocks.labelled(np.array([0, -1]), 2).tolist() == [True, False]
    assert blocks.labelled(np.array([[0.0, np.nan], [1.0, 2.0]]), 2).tolist() == [False, True]


@pytest.mark.parametrize("form", FORMS)
def test_a_batch_survives_its_state(form: str) -> None:
    schema = Schema(columns=(Column("a", Kind.NUMERIC),), target="y", classes=("no", "yes"))
    batch = Batch(
        FORMS[form](DENSE), y=np.arange(4), id=np.array(["p", "q", "r", "s"]), time=np.arange(4.0), schema=schema
    )
    got = blocks.from_state(state.decode(state.encode(blocks.to_state(batch))))
    assert np.array_equal(back(got.x), DENSE)
    assert got.schema == schema
    assert got.id is not None and got.id.tolist() == ["p", "q", "r", "s"]  # noqa: PT018 - narrows the type
    assert np.array_equal(got.y, batch.y)  # type: ignore[arg-type]
    assert got.weight is None


def test_batches_join_only_with_the_same_columns() -> None:
    with pytest.raises(SettingError, match="'y'"):
        blocks.concat_batches([Batch(DENSE, y=np.arange(4)), Batch(DENSE)])
    joined = blocks.concat_batches([Batch(DENSE, y=np.arange(4)), Batch(DENSE, y=np.arange(4))])
    assert len(joined) == 8
