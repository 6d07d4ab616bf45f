import re
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction import FeatureHasher
from sklearn.utils import murmurhash3_32

import retain as rt
from retain.blocks import dense
from retain.core import Column, Kind, Schema
from retain.errors import PoisonError, SchemaError, SettingError

WORDS = ["Good", "bad", "ugly", "naïve", "ÉTÉ", "x_1", "“quoted”", "don't", "…", "日本、語", "7", "a—b", "\xa0", ""]
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "n": st.one_of(st.none(), st.sampled_from([0.0, 1.5, -2.0])),
            "k": st.integers(0, 2),
            "c": st.one_of(st.none(), st.sampled_from(WORDS)),
            "t": st.one_of(st.none(), st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)),
        }
    ),
    max_size=20,
)
TYPES = pa.schema({"n": pa.float32(), "k": pa.int64(), "c": pa.dictionary(pa.int8(), pa.string()), "t": pa.string()})


@given(ROWS, st.sampled_from([2, 9, 18]))
@settings(max_examples=30, deadline=None)
def test_the_same_rows_as_scikit_learns_feature_hasher(rows, bits):
    table = pa.RecordBatch.from_pylist(rows, schema=TYPES)
    got = rt.Hash(bits=bits, text=("t",)).apply(table)
    names = []
    for row in rows:
        pairs = [(name, row[name]) if row[name] is not None else (f"{name}=?", 1) for name in ("n", "k")]
        pairs.append(("c=?", 1) if row["c"] is None else (f"c={row['c']}", 1))
        words = ["?"] if row["t"] is None else re.findall(r"\w+", row["t"].lower())
        names.append(pairs + [(f"t={word}", 1) for word in words])
    if rows:
        expected = FeatureHasher(2**bits, input_type="pair", dtype=np.float32).transform(names).toarray()
        np.testing.assert_allclose(dense(got, 2**bits), expected, atol=1e-6)
    for a, b in zip(got.indptr[:-1], got.indptr[1:], strict=True):
        assert len(set(got.indices[a:b].tolist())) == b - a, "a slot is there once in each row"


def grams_of(text, shortest, longest):
    """(bytes to hash, seed) of each word and of each run of characters of `<word>`."""
    for word in re.findall(r"\w+", text.lower()):
        yield f"t={word}".encode(), 0
        marked = f"<{word}>"
        for size in range(shortest, longest + 1):
            for begin in range(len(marked) - size + 1):
                yield f"t={marked[begin : begin + size]}".encode(), size


@given(
    st.lists(st.lists(st.sampled_from(WORDS), max_size=4).map(" ".join), min_size=1, max_size=8),
    st.sampled_from([(1, 1), (2, 3), (3, 4), (4, 20)]),
)
@settings(max_examples=30, deadline=None)
def test_grams_are_the_runs_of_characters_of_each_word(rows, grams):
    bits = 12
    got = dense(rt.Hash(bits=bits, text="t", grams=grams).apply(pa.record_batch({"t": rows})), 2**bits)
    expected = np.zeros_like(got)
    for row, text in enumerate(rows):
        for name, seed in grams_of(text, *grams):
            h = murmurhash3_32(name, seed=seed)
            expected[row, abs(h) % 2**bits] += 1 if h >= 0 else -1
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_without_signs_counts_stay_counts():
    texts = pa.record_batch({"t": ["a b b c", "d e f g h a a"], "n": [2.0, -3.0]})
    signed, plain = (rt.Hash(bits=20, text=("t",), signed=s).apply(texts) for s in (True, False))
    assert (signed.indices == plain.indices).all()
    assert (signed.values < 0).any()
    assert sorted(plain.values.tolist()) == [-3, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2]


def test_normalised_rows_have_length_one_and_empty_ones_none():
    table = pa.record_batch({"t": ["a b c", "a a", ""]})
    raw, unit = (dense(rt.Hash(text="t", normalised=n).apply(table), 2**18) for n in (False, True))
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), [1, 1, 0], atol=1e-6)
    np.testing.assert_allclose(unit * np.linalg.norm(raw, axis=1, keepdims=True), raw, atol=1e-6)


@pytest.mark.parametrize("grams", [(0, 3), (4, 3)])
def test_grams_from_few_to_more(grams):
    with pytest.raises(SettingError, match=r"e\.g\. \(3, 4\)"):
        rt.Hash(grams=grams)


def test_a_row_may_hold_thousands_of_words():
    text = " ".join(f"w{i % 700}" for i in range(5000))
    got = rt.Hash(bits=20, text="t").apply(pa.record_batch({"t": [text, "w1"]}))
    assert np.abs(got.values[: got.indptr[1]]).sum() == 5000
    assert got.indptr[2] - got.indptr[1] == 1


def test_the_same_in_another_process():
    code = (
        "import pyarrow as pa, retain as rt;"
        "print(rt.Hash(bits=12).apply(pa.record_batch({'a': ['x', 'é']})).indices.tolist())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str(rt.Hash(bits=12).apply(pa.record_batch({"a": ["x", "é"]})).indices.tolist())


def test_the_schema_says_what_is_text_and_the_state_keeps_it():
    batch = rt.Batch(pa.record_batch({"t": ["two words"]}), schema=Schema(columns=(Column("t", Kind.TEXT),)))
    hasher, again = rt.Hash(), rt.Hash()
    assert len(hasher.learn(batch).x.indices) == 2
    again.load_state_dict(hasher.state_dict())
    assert len(again.apply(batch.x).indices) == 2
    assert len(rt.Hash().apply(batch.x).indices) == 1


@pytest.mark.parametrize(
    ("x", "error", "says"),
    [
        (np.ones((1, 2)), SchemaError, "expected a record batch with named columns"),
        (pa.record_batch({"n": [1.0, np.inf]}), PoisonError, "inf in row 1, column n"),
        (pa.record_batch({"at": pa.array([0], pa.timestamp("us"))}), PoisonError, "rt.DateParts"),
    ],
)
def test_what_cannot_be_hashed_is_refused(x, error, says):
    with pytest.raises(error) as met:
        rt.Hash().learn(rt.Batch(x))
    assert says in str(met.value)


@pytest.mark.parametrize("bits", [0, 31])
def test_bits(bits):
    with pytest.raises(SettingError):
        rt.Hash(bits=bits)


def test_fewer_bits_are_those_that_a_hash_of_fewer_bits_has():
    table = pa.record_batch({"t": ["a few words", "and some more of them"], "n": [1.5, -2.0]})
    many = rt.Hash(bits=12, text="t")
    few = many.folded(5)
    np.testing.assert_array_equal(dense(few.apply(table), 32), dense(rt.Hash(bits=5, text="t").apply(table), 32))
    assert (many.bits, many.apply(table).width) == (12, 4096)
    again = rt.Hash(bits=12, text="t")
    again.load_state_dict(few.state_dict())
    np.testing.assert_array_equal(dense(again.apply(table), 32), dense(few.apply(table), 32))
    for bits in (0, 12):
        with pytest.raises(SettingError, match="expected fewer, and at least 1"):
            many.folded(bits)
