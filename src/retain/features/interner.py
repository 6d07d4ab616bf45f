"""Strings as numbers: 0, 1, 2, ... in the order in which they first appear, for good.

The strings live one after the other in one array of bytes, found through an open-addressing table of their hashes:
Arrow strings are looked up where they lie, without a Python object per row, and the whole state is two arrays.
"""

from __future__ import annotations

from typing import Any, final

import numpy as np
import numpy.typing as npt
from numba import njit

from retain.core import Array, State
from retain.features.columns import Strings
from retain.features.murmur import murmur64

__all__ = ["ABSENT", "FULL", "UNKNOWN", "Interner"]

ABSENT, UNKNOWN, FULL = (
    -1,
    -2,
    -3,
)  # codes of a missing value, of a string never seen, of one for which there is no room
_NO_MEMO = np.empty(0, dtype=np.int32)


@njit(cache=True, nogil=True)
def _find(
    data: Array, start: Any, stop: Any, h: Any, arena: Array, ends: Array, hashes: Array, table: Array
) -> Any:  # pragma: no cover - compiled
    """Where in the table the string is, or the empty place where it would go."""
    mask = np.int64(len(table) - 1)
    at = np.int64(h) & mask
    while table[at] != 0:
        i = table[at] - 1
        if hashes[i] == h and ends[i + 1] - ends[i] == stop - start:
            same = True
            # MurmurHash64A of up to 8 bytes of known length can be undone: equal hashes are equal strings.
            for b in range(stop - start if stop - start > 8 else 0):
                if arena[ends[i] + b] != data[start + b]:
                    same = False
                    break
            if same:
                return at
        at = (at + 1) & mask
    return at


@njit(cache=True, nogil=True)
def _rebuild(hashes: Array, count: int, table: Array) -> None:  # pragma: no cover - compiled
    mask = np.int64(len(table) - 1)
    for i in range(count):
        at = np.int64(hashes[i]) & mask
        while table[at] != 0:
            at = (at + 1) & mask
        table[at] = i + 1


@njit(cache=True, nogil=True)
def _hash_all(arena: Array, ends: Array, count: int, hashes: Array) -> None:  # pragma: no cover - compiled
    for i in range(count):
        hashes[i] = murmur64(arena, ends[i], ends[i + 1])


@njit(cache=True, nogil=True)
def _codes(
    data: Array,
    offsets: Array,
    index: Array,
    bits: Array,
    first: int,
    arena: Array,
    ends: Array,
    hashes: Array,
    table: Array,
    count: int,
    limit: int,  # how many strings there may be; -1: none is added
    memo: Array,  # (words,) codes of the dictionary's words met so far, UNKNOWN at first
    out: Array,  # (n,)
    born: Array,  # (room,) row in which each new string appeared
    unborn: Array,  # (2,) first row without a string, first row with one beyond the limit; -1 none
    row: int,
) -> Any:  # pragma: no cover - compiled
    """Codes of the rows from `row` on; stops where there is no room left and returns (row reached, count)."""
    for i in range(row, len(out)):
        at = first + i
        if len(bits) and not (bits[at >> 3] >> (at & 7)) & 1:
            out[i] = ABSENT
            if unborn[0] < 0:
                unborn[0] = i
            continue
        s = np.int64(i)
        if len(index):
            s = np.int64(index[i])
            if memo[s] != UNKNOWN:
                out[i] = memo[s]
                continue
        start, stop = offsets[s], offsets[s + 1]
        h = murmur64(data, start, stop)
        place = _find(data, start, stop, h, arena, ends, hashes, table)
        code = np.int64(table[place]) - 1
        if code < 0:
            if limit < 0:
                code = np.int64(UNKNOWN)
            elif count >= limit:
                code = np.int64(FULL)
                if unborn[1] < 0:
                    unborn[1] = i
            else:
                room = ends[count] + (stop - start) <= len(arena) and count < len(hashes) and count < len(table) // 2
                if not room:
                    return i, count
                arena[ends[count] : ends[count] + (stop - start)] = data[start:stop]
                ends[count + 1] = ends[count] + (stop - start)
                hashes[count] = h
                table[place] = count + 1
                born[count] = i
                code = np.int64(count)
                count += 1
        out[i] = code
        if len(index):
            memo[s] = code
    return len(out), count


@final
class Interner:
    """Numbers strings in order of first appearance, `limit` of them at most.

    >>> import pyarrow as pa
    >>> from retain.features.columns import strings
    >>> interner, codes = Interner(limit=2), np.empty(5, dtype=np.int32)
    >>> interner.learn(strings(pa.array(["b", None, "a", "b", "c"])), codes)  # c is one too many
    (array([0, 2]), 1, 4)
    >>> codes
    array([ 0, -1,  1,  0, -3], dtype=int32)
    >>> interner.names
    ['b', 'a']
    """

    def __init__(self, *, limit: int) -> None:
        self.limit = limit
        self.count = 0
        self._arena: npt.NDArray[np.uint8] = np.empty(64, dtype=np.uint8)
        self._ends: npt.NDArray[np.int64] = np.zeros(9, dtype=np.int64)
        self._hashes: npt.NDArray[np.uint64] = np.empty(8, dtype=np.uint64)
        self._table: npt.NDArray[np.int32] = np.zeros(32, dtype=np.int32)
        self._born: npt.NDArray[np.int64] = np.empty(8, dtype=np.int64)  # rows of the last block, by string
        self._names: list[str] = []

    @property
    def full(self) -> bool:
        """Whether there is no room for another string."""
        return self.count >= self.limit

    @property
    def names(self) -> list[str]:
        """The strings, in order."""
        for i in range(len(self._names), self.count):
            self._names.append(self._arena[self._ends[i] : self._ends[i + 1]].tobytes().decode("utf-8", "replace"))
        return self._names

    def learn(self, strings: Strings, out: Array, /) -> tuple[npt.NDArray[np.int64], int, int]:
        """Write the codes of n strings into `out`, (n,) int32: ABSENT where missing, FULL beyond the limit.

        Returns the row of each string that is new, and the first rows with the codes ABSENT and FULL, -1 for none.
        """
        memo = _memo(strings)
        unborn = np.full(2, -1, dtype=np.int64)
        row, before = 0, self.count
        while True:
            row, self.count = self._walk(strings, self.limit, memo, out, unborn, row)
            if row >= strings.rows:
                return self._born[before : self.count].copy(), int(unborn[0]), int(unborn[1])
            self._grow(strings, row)

    def find(self, strings: Strings, out: Array, /) -> None:
        """The same, learning nothing; strings never seen are UNKNOWN, or FULL once the limit is reached."""
        self._walk(strings, self.count if self.full else -1, _memo(strings), out, np.zeros(2, dtype=np.int64), 0)

    def state_dict(self) -> State:
        return {"bytes": self._arena[: self._ends[self.count]].copy(), "ends": self._ends[: self.count + 1].copy()}

    def load_state_dict(self, state: State, /) -> None:
        self._ends = np.array(state["ends"])
        self.count = len(self._ends) - 1
        self._arena = np.array(state["bytes"])
        self._names = []
        self._hashes = np.empty(self.count, dtype=np.uint64)
        self._born = np.empty(self.count, dtype=np.int64)
        _hash_all(self._arena, self._ends, self.count, self._hashes)
        self._resize()

    def _walk(self, strings: Strings, limit: int, memo: Array, out: Array, unborn: Array, row: int) -> tuple[int, int]:
        store = self._arena, self._ends, self._hashes, self._table
        words = strings.data, strings.offsets, strings.index, strings.bits, strings.first
        return _codes(*words, *store, self.count, limit, memo, out, self._born, unborn, row)

    def _grow(self, strings: Strings, row: int) -> None:
        """Room for twice as many strings, and for the one that did not fit."""
        s = int(strings.index[row]) if len(strings.index) else row
        used = int(self._ends[self.count])
        need = used + int(strings.offsets[s + 1] - strings.offsets[s])
        if need > len(self._arena):
            arena = np.empty(max(2 * len(self._arena), need), dtype=np.uint8)
            arena[:used] = self._arena[:used]
            self._arena = arena
        if self.count >= len(self._hashes) or 2 * self.count >= len(self._table):
            room = max(2 * self.count, 8)
            self._ends = np.concatenate([self._ends[: self.count + 1], np.zeros(room - self.count, dtype=np.int64)])
            self._hashes = np.concatenate([self._hashes[: self.count], np.zeros(room - self.count, dtype=np.uint64)])
            self._born = np.concatenate([self._born[: self.count], np.zeros(room - self.count, dtype=np.int64)])
            self._resize()

    def _resize(self) -> None:
        """A table at most half full once there are as many strings as there is room for."""
        self._table = np.zeros(1 << (2 * len(self._hashes)).bit_length(), dtype=np.int32)
        _rebuild(self._hashes, self.count, self._table)


def _memo(strings: Strings) -> npt.NDArray[np.int32]:
    """A place for the code of each word of a dictionary; none where the strings have none."""
    if not len(strings.index):
        return _NO_MEMO
    return np.full(len(strings.offsets) - 1, UNKNOWN, dtype=np.int32)
