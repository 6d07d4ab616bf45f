"""The hashing trick: any number of names in a fixed number of slots, without remembering one."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from retain.compose import Composable
from retain.core import CSR, Array, Batch, Features, Kind, Schema, State
from retain.errors import SettingError
from retain.features.columns import NULL, NUMBER, TEXT, as_text, kind_of, numbers, only_table, refuse_kind, strings
from retain.features.murmur import murmur3

__all__ = ["Hash"]

_READER = "Hash"
_NO_GRAMS = (1, 0)


@njit(cache=True, nogil=True)
def _hash_words(
    data: Array, offsets: Array, index: Array, bits: Array, first: int, prefix: Array, missing: Any, out: Array
) -> None:  # pragma: no cover - compiled
    """The hash of `prefix` + string for each row."""
    longest = 0
    for s in range(len(offsets) - 1):
        longest = max(longest, offsets[s + 1] - offsets[s])
    p = len(prefix)
    buffer = np.empty(p + longest, dtype=np.uint8)
    buffer[:p] = prefix
    for i in range(len(out)):
        at = first + i
        if len(bits) and not (bits[at >> 3] >> (at & 7)) & 1:
            out[i] = missing
            continue
        s = np.int64(index[i]) if len(index) else np.int64(i)
        length = offsets[s + 1] - offsets[s]
        for b in range(length):
            buffer[p + b] = data[offsets[s] + b]
        out[i] = murmur3(buffer, 0, p + length, 0)


@njit(cache=True, nogil=True)
def _separator(data: Array, at: Any, stop: Any) -> Any:  # pragma: no cover - compiled
    """How many bytes of no word begin here; 0 inside a word. Unicode's common punctuation is told apart, too."""
    b = data[at]
    if b < 0x80:
        word = (b >= 48 and b <= 57) or (b >= 65 and b <= 90) or b == 95 or (b >= 97 and b <= 122)
        return 0 if word else 1
    if b == 0xC2 and at + 1 < stop and data[at + 1] != 0xAA and data[at + 1] != 0xB5 and data[at + 1] != 0xBA:
        return 2  # U+0080 to U+00BF but ª, µ, º
    if b == 0xE2 and at + 2 < stop and (data[at + 1] == 0x80 or (data[at + 1] == 0x81 and data[at + 2] < 0xB0)):
        return 3  # U+2000 to U+206F
    if b == 0xE3 and at + 2 < stop and data[at + 1] == 0x80:
        return 3  # U+3000 to U+303F
    return 0


@njit(cache=True, nogil=True)
def _grams(
    buffer: Array,  # the prefix of p bytes, and a word of `length` bytes
    p: int,
    length: int,
    shortest: int,
    longest: int,
    gram: Array,  # the prefix, and room for a word and two bytes
    ends: Array,  # room for where the characters of a word end
    count: int,
    out: Array,
) -> Any:  # pragma: no cover - compiled
    """The hash of each run of so many characters of `<word>`; returns how many there are with those before.

    The length of a run is the seed of its hash, so that it is not taken for a word.
    """
    characters = 1
    ends[0] = 0  # of nothing
    ends[1] = 1  # of <
    for b in range(length):
        if b + 1 == length or (buffer[p + b + 1] & 0xC0) != 0x80:
            characters += 1
            ends[characters] = b + 2
    characters += 1
    ends[characters] = length + 2  # of >
    for size in range(shortest, min(longest, characters) + 1):
        for begin in range(characters - size + 1):
            if len(out):
                start, stop = ends[begin], ends[begin + size]
                for b in range(start, stop):
                    byte = 60 if b == 0 else (62 if b == length + 1 else buffer[p + b - 1])
                    gram[p + b - start] = byte
                out[count] = murmur3(gram, 0, p + stop - start, size)
            count += 1
    return count


@njit(cache=True, nogil=True)
def _hash_texts(
    data: Array,
    offsets: Array,
    index: Array,
    bits: Array,
    first: int,
    prefix: Array,
    missing: Any,
    shortest: int,  # characters of a gram; grams are only made where longest_gram >= shortest
    longest_gram: int,
    starts: Array,  # (n + 1,)
    out: Array,  # hashes of all words and grams, or nothing where they are only counted
) -> Any:  # pragma: no cover - compiled
    """The hash of `prefix` + word for each word of each row, and of its grams; returns how many there are."""
    longest = 0
    for s in range(len(offsets) - 1):
        longest = max(longest, offsets[s + 1] - offsets[s])
    p = len(prefix)
    buffer = np.empty(p + longest, dtype=np.uint8)
    buffer[:p] = prefix
    gram = np.empty(p + longest + 2, dtype=np.uint8)
    gram[:p] = prefix
    ends = np.empty(longest + 3, dtype=np.int64)
    count = 0
    for i in range(len(starts) - 1):
        starts[i] = count
        place = first + i
        if len(bits) and not (bits[place >> 3] >> (place & 7)) & 1:
            if len(out):
                out[count] = missing
            count += 1
            continue
        s = np.int64(index[i]) if len(index) else np.int64(i)
        at, stop = offsets[s], offsets[s + 1]
        length = 0
        while at < stop:
            gap = _separator(data, at, stop)
            if gap == 0:
                buffer[p + length] = data[at]
                length += 1
                at += 1
                # The bytes after the first of a character may look like a separator's.
                while at < stop and (data[at] & 0xC0) == 0x80:
                    buffer[p + length] = data[at]
                    length += 1
                    at += 1
            else:
                at += gap
            if length and (gap or at >= stop):
                if len(out):
                    out[count] = murmur3(buffer, 0, p + length, 0)
                count += 1
                if longest_gram >= shortest:
                    count = _grams(buffer, p, length, shortest, longest_gram, gram, ends, count, out)
                length = 0
    starts[len(starts) - 1] = count
    return count


@njit(cache=True, nogil=True)
def _emit(
    number_NP: Array,  # NaN: missing
    hash_P: Array,
    missing_P: Array,
    words: Array,  # hashes of the words of all columns, one column after the other
    starts_CN: Array,  # (c, n + 1) where each row's words begin
    width: int,
    indptr: Array,
    indices: Array,
    values: Array,
) -> Any:  # pragma: no cover - compiled
    """Write the rows; what falls into the same slot of a row is added up. Returns how many entries there are."""
    columns, n = starts_CN.shape[0], number_NP.shape[0]
    most = 1
    for i in range(n):
        here = number_NP.shape[1]
        for c in range(columns):
            here += starts_CN[c, i + 1] - starts_CN[c, i]
        most = max(most, here)
    size = 4
    while size < 2 * most:
        size *= 2
    table = np.full(size, -1, dtype=np.int64)  # entry of the row that a slot has, by slot
    at = 0
    indptr[0] = 0
    for i in range(n):
        begin = at
        for j in range(number_NP.shape[1]):
            x = number_NP[i, j]
            h = hash_P[j]
            if x != x:
                h, x = missing_P[j], np.float32(1.0)
            if x != 0.0:
                at = _put(h, x, width, begin, at, table, indices, values)
        for c in range(columns):
            for w in range(starts_CN[c, i], starts_CN[c, i + 1]):
                at = _put(words[w], np.float32(1.0), width, begin, at, table, indices, values)
        for entry in range(begin, at):
            place = np.int64(indices[entry]) & (size - 1)
            while table[place] != -1:
                table[place] = -1
                place = (place + 1) & (size - 1)
        # What cancelled out stays as an explicit zero: which rows hold a slot depends on the row alone.
        indptr[i + 1] = at
    return at


@njit(cache=True, nogil=True)
def _put(
    h: Any, x: Any, width: int, begin: int, at: int, table: Array, indices: Array, values: Array
) -> Any:  # pragma: no cover - compiled
    """Add x, with the sign that its hash has, to its slot in the row that began at entry `begin`."""
    signed = np.int64(np.int32(h))
    if signed < 0:
        x, signed = -x, -signed
    slot = signed % width
    mask = len(table) - 1
    place = slot & mask
    while table[place] != -1:
        entry = begin + table[place]
        if indices[entry] == slot:
            values[entry] += x
            return at
        place = (place + 1) & mask
    table[place] = at - begin
    indices[at] = slot
    values[at] = x
    return at + 1


@njit(cache=True, nogil=True)
def _shorten(indptr: Array, values: Array) -> None:  # pragma: no cover - compiled
    """Divide the values of each row by their length."""
    for i in range(len(indptr) - 1):
        square = 0.0
        for entry in range(indptr[i], indptr[i + 1]):
            square += np.float64(values[entry]) ** 2
        if square > 0.0:
            for entry in range(indptr[i], indptr[i + 1]):
                values[entry] = np.float32(values[entry] / np.sqrt(square))


def _hash(text: str) -> np.uint32:
    data = np.frombuffer(text.encode(), dtype=np.uint8)
    return murmur3(data, 0, len(data), 0)


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a table of one Arrow schema is read."""

    schema: pa.Schema
    numbers: list[int]
    words: list[tuple[int, bool, Array, Any]]  # where, whether long text, the name in bytes, the hash of a missing one
    hashes: Array  # (p,) of the names of the numbers
    missing: Array  # (p,)


@final
class Hash(Composable):
    """Turns a table into sparse rows of 2^bits slots by hashing names; it remembers nothing and never grows.

    Each column gives names with values:

    - a number `size` of 1.5 gives `size` the value 1.5;
    - a category `colour` of "red" gives `colour=red` the value 1;
    - a text gives each of its words, lower-cased, the value 1: `review=good`, twice if it is there twice; and, where
      `grams` are wanted, each run of so many characters of `<good>`: what is misspelt or inflected keeps most of them;
    - a missing value gives `colour=?` the value 1.

    With h the hash of a name as a signed 32-bit number, its value is added to slot |h| mod 2^bits, with the sign of h:
    what collides then cancels out on average instead of adding up.

    Args:
        bits: the rows have 2^bits columns, 1 to 30 bits.
        text: names of the columns to be taken as texts of many words; without a schema that says so, a column of text
            is a category. A word is a run of letters, digits and underscores.
        grams: from how many to how many characters the runs of a word have, e.g. (3, 4); None for whole words only.
        normalised: whether the values of every row are divided by the length of the row: long texts then weigh no more
            than short ones.
        signed: whether values get the sign of their hash; without it, counts stay counts, as naive Bayes wants them,
            and what collides adds up.

    Raises:
        SchemaError: rows without names.
        PoisonError: infinite numbers, NaN that is not a null, a column of times.

    >>> import pyarrow as pa, retain as rt
    >>> rows = pa.record_batch({"size": [1.5, 0.0], "review": ["Good, good value!", None]})
    >>> csr = rt.Hash(bits=10, text=("review",)).apply(rows)
    >>> csr.width, csr.indptr.tolist(), sorted(map(abs, csr.values.tolist()))
    (1024, [0, 3, 4], [1.0, 1.0, 1.5, 2.0])

    Reference: K. Weinberger et al., Feature hashing for large scale multitask learning, ICML 2009. The hash and the
    sign are those of scikit-learn's FeatureHasher.
    """

    def __init__(
        self,
        *,
        bits: int = 18,
        text: Sequence[str] = (),
        grams: tuple[int, int] | None = None,
        normalised: bool = False,
        signed: bool = True,
    ) -> None:
        if not 1 <= bits <= 30:
            raise SettingError(f"bits is {bits}; expected 1 to 30, that is 2 to 2^30 columns")
        if grams is not None and not 1 <= grams[0] <= grams[1]:
            raise SettingError(f"grams is {grams}; expected from and to how many characters, e.g. (3, 4)")
        self.bits, self.normalised, self._signed = bits, normalised, signed
        self.grams = _NO_GRAMS if grams is None else grams
        self.text = (text,) if isinstance(text, str) else tuple(text)
        self._texts = list(self.text)
        self._plan: _Plan | None = None

    def learn(self, batch: Batch, /) -> Batch:
        texts = self._texts + self._told(batch.schema)
        if len(texts) > len(self._texts):
            self._texts, self._plan = texts, None
        x = self.apply(batch.x)
        return replace(batch, x=x, schema=None if batch.schema is None else replace(batch.schema, columns=()))

    def apply(self, x: Features, /) -> Features:
        table = only_table(x, reader=_READER, what="named columns")
        plan = self._look(table)
        number, _ = numbers(table, plan.numbers, reader=_READER, dtype=np.float32)
        n = len(number)
        found: list[Array] = []
        starts = np.zeros((len(plan.words), n + 1), dtype=np.int64)
        total = 0
        for c, (i, long, prefix, missing) in enumerate(plan.words):
            column = as_text(table.column(i))
            if long:
                column = pc.call_function("utf8_lower", [_plain(column)])
            words = strings(column)
            buffers = words.data, words.offsets, words.index, words.bits, words.first
            if long:
                count = _hash_texts(*buffers, prefix, missing, *self.grams, starts[c], np.empty(0, dtype=np.uint32))
                hashes = np.empty(count, dtype=np.uint32)
                _hash_texts(*buffers, prefix, missing, *self.grams, starts[c], hashes)
            else:
                hashes = np.empty(n, dtype=np.uint32)
                _hash_words(*buffers, prefix, missing, hashes)
                starts[c] = np.arange(n + 1)
            starts[c] += total
            total += len(hashes)
            found.append(hashes)
        words = np.concatenate(found) if found else np.empty(0, dtype=np.uint32)
        most = number.size + total
        indptr = np.empty(n + 1, dtype=np.int64)
        indices, values = np.empty(most, dtype=np.int32), np.empty(most, dtype=np.float32)
        width = 1 << self.bits
        hashes = [plan.hashes, plan.missing, words]
        if not self._signed:
            hashes = [_unsigned(part) for part in hashes]
        used = _emit(number, *hashes, starts, width, indptr, indices, values)
        if self.normalised:
            _shorten(indptr, values)
        return CSR(indptr, indices[:used], values[:used], width)

    def folded(self, bits: int, /) -> Hash:
        """A copy of fewer bits: what fell to slot i now falls to slot i mod 2^bits, with the sign that it had."""
        if not 1 <= bits < self.bits:
            raise SettingError(f"Hash of {self.bits} bits got bits={bits}; expected fewer, and at least 1")
        other = copy(self)
        other.load_state_dict({**self.state_dict(), "bits": bits})
        return other

    def state_dict(self) -> State:
        return {"texts": list(self._texts), "bits": self.bits}

    def load_state_dict(self, state: State, /) -> None:
        self._texts, self._plan, self.bits = list(state["texts"]), None, state.get("bits", self.bits)

    def _told(self, schema: Schema | None) -> list[str]:
        """Columns of text by the schema that were not known to be."""
        if schema is None:
            return []
        return [c.name for c in schema.columns if c.kind is Kind.TEXT and c.name not in self._texts]

    def _look(self, x: pa.RecordBatch) -> _Plan:
        if self._plan is not None and self._plan.schema.equals(x.schema):
            return self._plan
        where: list[int] = []
        words: list[tuple[int, bool, Array, Any]] = []
        for i, name in enumerate(x.schema.names):
            kind = kind_of(x.schema.field(i).type)
            if kind == NUMBER and name not in self._texts:
                where.append(i)
            elif kind in (TEXT, NUMBER, NULL):
                prefix = np.frombuffer(f"{name}=".encode(), dtype=np.uint8)
                words.append((i, name in self._texts, prefix, _hash(f"{name}=?")))
            else:
                refuse_kind(x, i, reader=_READER, expected="numbers, categories or texts")
        names = [x.schema.names[i] for i in where]
        hashes = np.array([_hash(name) for name in names], dtype=np.uint32)
        missing = np.array([_hash(f"{name}=?") for name in names], dtype=np.uint32)
        self._plan = _Plan(x.schema, where, words, hashes, missing)
        return self._plan


def _unsigned(hashes: Array) -> Array:
    """Hashes of the same slots, all with the sign +; the one that has no negative falls to slot 0 as before."""
    return np.maximum(np.abs(hashes.view(np.int32)), 0).view(np.uint32)


def _plain(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
