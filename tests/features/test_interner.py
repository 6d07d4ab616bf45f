import itertools

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from retain.features.columns import Strings, strings
from retain.features.interner import ABSENT, FULL, UNKNOWN, Interner
from retain.features.murmur import murmur64

WORDS = st.lists(st.one_of(st.none(), st.text("abé", max_size=3)), max_size=80)


@given(WORDS, st.lists(st.integers(0, 80), max_size=3), st.sampled_from([1, 5, 10_000]), st.booleans())
@settings(deadline=None)
def test_strings_are_numbered_as_a_dictionary_would(words, cuts, limit, encoded):
    column = pa.array(words, pa.string())
    interner, known = Interner(limit=limit), {}
    edges = [0, *sorted(min(c, len(words)) for c in cuts), len(words)]
    for a, b in itertools.pairwise(edges):
        piece = column.slice(a, b - a)
        codes = np.empty(len(piece), dtype=np.int32)
        born, absent, full = interner.learn(strings(piece.dictionary_encode() if encoded else piece), codes)
        new = []
        for i, (word, code) in enumerate(zip(words[a:b], codes.tolist(), strict=True)):
            if word is not None and word not in known and len(known) < limit:
                known[word] = len(known)
                new.append(i)
            assert code == (ABSENT if word is None else known.get(word, FULL))
        assert born.tolist() == new
        rows = codes.tolist()
        assert [absent, full] == [rows.index(code) if code in rows else -1 for code in (ABSENT, FULL)]
        again = Interner(limit=limit)
        again.load_state_dict(interner.state_dict())
        interner = again
    assert interner.names == list(known)
    found = np.empty(len(words) + 1, dtype=np.int32)
    interner.find(strings(pa.array([*words, "never seen"])), found)
    unseen = FULL if len(known) == limit else UNKNOWN
    assert found.tolist() == [ABSENT if word is None else known.get(word, unseen) for word in [*words, "never seen"]]


def test_room_grows_for_many_and_for_long_strings():
    words = [f"{i}" * (1 + i % 50) for i in range(5000)] + ["x" * 100_000]
    interner = Interner(limit=10_000)
    codes = np.empty(5001, dtype=np.int32)
    assert interner.learn(strings(pa.array(words)), codes)[0].tolist() == list(range(5001)) == codes.tolist()
    assert interner.names == words


def test_empty_columns():
    interner = Interner(limit=3)
    for column in (
        pa.array([], pa.string()),
        pa.array(["a"])[:0],
        pa.array([], pa.dictionary(pa.int32(), pa.string())),
    ):
        assert interner.learn(strings(column), np.empty(0, dtype=np.int32))[0].tolist() == []
    codes = np.empty(2, dtype=np.int32)
    assert interner.learn(strings(pa.nulls(2, pa.string())), codes)[1:] == (0, -1)
    assert codes.tolist() == [ABSENT, ABSENT]


def test_different_strings_of_the_same_hash_are_different_strings():
    word, m = (1 << 64) - 1, 0xC6A4A7935BD1E995
    inverse = pow(m, -1, 1 << 64)

    def mixed(k):
        k = k * m & word
        return (k ^ k >> 47) * m & word

    def unmixed(k):
        k = k * inverse & word
        return (k ^ k >> 47) * inverse & word

    # Of 16 bytes the second 8 can undo what the first 8 did.
    start = 16 * m & word
    first, second, other = 0x6161616161616161, 0x6262626262626262, 0x6363636363636363
    undo = mixed(second) ^ ((start ^ mixed(first)) * m & word) ^ ((start ^ mixed(other)) * m & word)
    pair = [a.to_bytes(8, "little") + b.to_bytes(8, "little") for a, b in ((first, second), (other, unmixed(undo)))]
    data = np.frombuffer(b"".join(pair), dtype=np.uint8)
    assert murmur64(data, 0, 16) == murmur64(data, 16, 32)
    none = np.empty(0, dtype=np.int32), np.frombuffer(b"", dtype=np.uint8)
    codes = np.empty(2, dtype=np.int32)
    offsets = np.array([0, 16, 32])
    offsets.flags.writeable = False
    Interner(limit=9).learn(Strings(data, offsets, *none, 0, 2), codes)
    assert codes.tolist() == [0, 1]
