import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils import murmurhash3_32

from retain.features.columns import strings
from retain.features.murmur import hash_numbers, hash_strings, murmur3, murmur64

WORD = (1 << 64) - 1


def as_array(data):
    return np.frombuffer(data, dtype=np.uint8)


def murmur64a(data):
    """MurmurHash64A in Python's whole numbers, after its published description."""
    m = 0xC6A4A7935BD1E995
    h = len(data) * m & WORD
    for i in range(0, len(data) // 8 * 8, 8):
        k = int.from_bytes(data[i : i + 8], "little") * m & WORD
        k = (k ^ k >> 47) * m & WORD
        h = (h ^ k) * m & WORD
    if len(data) % 8:
        h = (h ^ int.from_bytes(data[len(data) // 8 * 8 :], "little")) * m & WORD
    h = (h ^ h >> 47) * m & WORD
    return h ^ h >> 47


@given(st.binary(max_size=40), st.integers(0, 2**32 - 1))
def test_murmur3_is_scikit_learns(data, seed):
    got = murmur3(as_array(data + b"tail"), 0, len(data), seed)
    assert int(got) == murmurhash3_32(data, seed, positive=True)


@given(st.binary(max_size=40))
def test_murmur64_is_murmurhash64a(data):
    assert int(murmur64(as_array(b"head" + data), 4, 4 + len(data))) == murmur64a(data)


@given(st.lists(st.one_of(st.none(), st.text(max_size=12))), st.integers(0, 5))
def test_strings_hash_equally_wherever_they_lie(words, start):
    plain = pa.array(words, pa.string())
    forms = [plain, plain.cast(pa.large_string()), plain.dictionary_encode()]
    hashes = []
    for form in forms:
        part = form.slice(start)
        out = np.zeros(len(part), dtype=np.uint64)
        hash_strings(strings(part), out)
        hashes.append(out.tolist())
    assert hashes[0] == hashes[1] == hashes[2]
    assert len(set(hashes[0])) == len(set(words[start:]))


def test_numbers_hash_as_numbers_not_as_bits():
    def hashed(values):
        out = np.zeros(len(values), dtype=np.uint64)
        hash_numbers(values, np.ones(len(values), dtype=bool), out)
        return out.tolist()

    assert hashed(np.array([0, 7, -3])) == hashed(np.array([-0.0, 7.0, -3.0])) == hashed(np.array([0, 7, -3], np.int8))
    assert hashed(np.array([0.5, 1.5])) != hashed(np.array([1.5, 0.5]))
    missing = np.zeros(2, dtype=np.uint64)
    hash_numbers(np.array([np.nan, 0.0]), np.array([False, True]), missing)
    assert missing[0] != missing[1]
