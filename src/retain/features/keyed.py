"""A bounded memory of keys: each key has a slot, and where there are too many the one written longest ago is forgotten.

Keys are 64-bit hashes (see `murmur`), so that any kind of key takes eight bytes. Kernels are given the arrays of
`Keyed` and call `find` and `touch`; what is remembered of a key lies in arrays of theirs, in the row of its slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit

from retain import buffers
from retain.core import CSR, Array, Features
from retain.errors import PoisonError, SchemaError, SettingError
from retain.features.columns import (
    NULL,
    NUMBER,
    TEXT,
    TIME,
    as_numbers,
    kind_of,
    only_table,
    place,
    refuse_kind,
    strings,
)
from retain.features.murmur import hash_numbers, hash_strings

__all__ = ["Before", "Keyed", "find", "keys_of", "rows_of", "touch"]

_COUNT, _OLDEST, _NEWEST = 0, 1, 2  # entries of `ends`


@njit(cache=True, nogil=True)
def _seek(key: Any, keys: Array, table: Array) -> Any:  # pragma: no cover - compiled
    """Where in the table the key is, or the empty place where it would go."""
    mask = np.int64(len(table) - 1)
    at = np.int64(key) & mask
    while table[at] != 0 and keys[table[at] - 1] != key:
        at = (at + 1) & mask
    return at


@njit(cache=True, nogil=True)
def find(key: Any, keys: Array, table: Array) -> Any:  # pragma: no cover - compiled
    """The slot of a key, or -1."""
    return np.int64(table[_seek(key, keys, table)]) - 1


@njit(cache=True, nogil=True)
def _erase(at: int, keys: Array, table: Array) -> None:  # pragma: no cover - compiled
    """Empty a place, and move back what was displaced by it: linear probing without tombstones."""
    mask = np.int64(len(table) - 1)
    table[at] = 0
    hole = at
    at = (at + 1) & mask
    while table[at] != 0:
        home = np.int64(keys[table[at] - 1]) & mask
        if ((at - home) & mask) >= ((at - hole) & mask):
            table[hole] = table[at]
            table[at] = 0
            hole = at
        at = (at + 1) & mask


@njit(cache=True, nogil=True)
def touch(
    key: Any, keys: Array, table: Array, links: Array, ends: Array, limit: int
) -> Any:  # pragma: no cover - compiled
    """The slot of a key that is written now, and whether it is new there; (-1, False) where room must be made first."""
    at = _seek(key, keys, table)
    slot = np.int64(table[at]) - 1
    new = slot < 0
    if new:
        if ends[_COUNT] < len(keys):
            slot = ends[_COUNT]
            ends[_COUNT] += 1
        elif len(keys) < limit:
            return np.int64(-1), False
        else:
            slot = ends[_OLDEST]
            _unlink(slot, links, ends)
            _erase(_seek(keys[slot], keys, table), keys, table)
            at = _seek(key, keys, table)
        keys[slot] = key
        table[at] = slot + 1
    elif slot == ends[_NEWEST]:
        return slot, False
    else:
        _unlink(slot, links, ends)
    newest = ends[_NEWEST]
    links[slot, 0], links[slot, 1] = newest, -1
    if newest >= 0:
        links[newest, 1] = slot
    else:
        ends[_OLDEST] = slot
    ends[_NEWEST] = slot
    return slot, new


@njit(cache=True, nogil=True)
def _unlink(slot: int, links: Array, ends: Array) -> None:  # pragma: no cover - compiled
    before, after = links[slot, 0], links[slot, 1]
    if before >= 0:
        links[before, 1] = after
    else:
        ends[_OLDEST] = after
    if after >= 0:
        links[after, 0] = before
    else:
        ends[_NEWEST] = before


@njit(cache=True, nogil=True)
def _fill(keys: Array, count: int, table: Array) -> None:  # pragma: no cover - compiled
    for slot in range(count):
        table[_seek(keys[slot], keys, table)] = slot + 1


@njit(cache=True, nogil=True)
def _written(write: Array, keys: Array, table: Array, out: Array) -> int:  # pragma: no cover - compiled
    """The slots of the keys that are there; returns how many."""
    count = 0
    for i in range(len(write)):
        slot = find(write[i], keys, table)
        if slot >= 0:
            out[count] = slot
            count += 1
    return count


@njit(cache=True, nogil=True)
def _oldest_first(links: Array, ends: Array, out: Array) -> None:  # pragma: no cover - compiled
    slot = ends[_OLDEST]
    for i in range(len(out)):
        out[i] = slot
        slot = links[slot, 1]


class Before(NamedTuple):
    """What stood in some slots of a `Keyed` before keys were written."""

    slots: npt.NDArray[np.int64]
    keys: Array
    links: Array
    ends: Array


@final
class Keyed:
    """The arrays that `find` and `touch` work on, with room for `limit` keys at most; room grows as keys come.

    `arrays` are (keys, table, links, ends): keys (room,) uint64 by slot; table: slot + 1 by hash, 0 where empty; links
    (room, 2): the slots written just before and just after; ends: how many slots, the oldest, the newest.
    """

    def __init__(self, *, limit: int) -> None:
        if limit < 1:
            raise SettingError(f"keys is {limit}; expected room for at least 1 key")
        self.limit = limit
        self.load(np.empty(0, dtype=np.uint64))

    @property
    def arrays(self) -> tuple[Array, Array, Array, Array]:
        return self.keys, self.table, self.links, self.ends

    @property
    def room(self) -> int:
        """How many slots there are."""
        return len(self.keys)

    def grow(self) -> None:
        """Twice as much room, up to the limit; slots stay where they are."""
        count = int(self.ends[_COUNT])
        self._make_room(self.keys[:count], min(2 * self.room, self.limit))
        self.links = np.concatenate([self.links, np.full((self.room - len(self.links), 2), -1, dtype=np.int64)])

    def order(self) -> npt.NDArray[np.int64]:
        """The slots in use, the one written longest ago first."""
        out = np.empty(int(self.ends[_COUNT]), dtype=np.int64)
        _oldest_first(self.links, self.ends, out)
        return out

    def load(self, keys: Array, /) -> None:
        """Hold these keys, the one written longest ago first, in slots 0, 1, 2, ..."""
        count = len(keys)
        self._make_room(np.asarray(keys, dtype=np.uint64), min(max(count, 8), self.limit))
        slots = np.arange(self.room)
        self.links = np.column_stack([slots - 1, np.where(slots + 1 < count, slots + 1, -1)])
        self.ends = np.array([count, 0 if count else -1, count - 1], dtype=np.int64)

    def before(self, keys: Array, /) -> Before:
        """What will change at most when these keys are written: as much as is written, however many keys there are.

        Slots that are written to, those of the oldest keys if some have to go, and the neighbours of both: where a run
        of slots is taken out of the list, only what stands next to it is linked anew.
        """
        count, most = int(self.ends[_COUNT]), len(keys)
        slots = np.empty(2 * most + 1, dtype=np.int64)
        used = _written(np.asarray(keys, dtype=np.uint64), self.keys, self.table, slots)
        if count + most > self.limit:
            out = slots[used : used + min(most, count)]
            _oldest_first(self.links, self.ends, out)
            used += len(out)
        slots[used] = self.ends[_NEWEST]
        near = np.concatenate([slots[: used + 1], self.links[slots[: used + (count > 0)]].reshape(-1)])
        near = np.unique(near[near >= 0])
        return Before(near, self.keys[near], self.links[near], self.ends.copy())

    def undo(self, before: Before, /) -> None:
        """Stand as before keys were written; room that was made stays."""
        self.keys[before.slots], self.links[before.slots], self.ends[:] = before.keys, before.links, before.ends
        self.table[:] = 0
        _fill(self.keys, int(self.ends[_COUNT]), self.table)

    def _make_room(self, keys: Array, room: int) -> None:
        self.keys: npt.NDArray[np.uint64] = np.zeros(room, dtype=np.uint64)
        self.keys[: len(keys)] = keys
        self.table: npt.NDArray[np.int32] = np.zeros(1 << (2 * room).bit_length(), dtype=np.int32)
        _fill(self.keys, len(keys), self.table)


def keys_of(x: Features, by: Sequence[str | int], /, *, reader: str, seed: int = 0) -> npt.NDArray[np.uint64]:
    """The key of each of n rows: the hash of its values in the columns `by`; a missing value is one like others."""
    n = rows_of(x)
    out = np.full(n, seed, dtype=np.uint64)
    for column in by:
        if isinstance(column, int):
            values = array_column(x, column, reader=reader)
            hash_numbers(values, ~np.isnan(values), out)
            continue
        table = only_table(x, reader=reader, what=f"the column {column!r}")
        i = place(table, column, reader=reader)
        values = table.column(i)
        kind = kind_of(values.type)
        if kind == TEXT:
            hash_strings(strings(values), out)
        elif kind == NULL:
            hash_numbers(np.zeros(n), np.zeros(n, dtype=bool), out)
        elif kind == NUMBER:
            hash_numbers(np.asarray(as_numbers(values)), buffers.valid(values), out)
        elif kind == TIME:
            whole = values.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
            hash_numbers(buffers.stored(whole), buffers.valid(values), out)
        else:
            refuse_kind(table, i, reader=reader, expected="text, numbers or times to tell the keys apart")
    return out


def rows_of(x: Features, /) -> int:
    """How many rows x has."""
    return len(x) if isinstance(x, (np.ndarray, CSR)) else x.num_rows


def array_column(x: Features, column: int, /, *, reader: str) -> npt.NDArray[np.float64]:
    """Column number `column` of a bare array as (n,) float64."""
    if not isinstance(x, np.ndarray):
        form = "sparse rows" if isinstance(x, CSR) else "a table"
        raise SchemaError(
            f"{reader} got {form} and was told column {column}; expected an array: name the column of a table"
        )
    if x.ndim != 2 or x.dtype.kind not in "fiub":
        raise PoisonError(
            f"{reader} got input of type {x.dtype} and shape {x.shape}; expected numbers of shape (rows, features)"
        )
    if not 0 <= column < x.shape[1]:
        raise PoisonError(
            f"{reader} got rows of {x.shape[1]} features; expected more than {column} of them, as it was told"
        )
    return np.ascontiguousarray(x[:, column], dtype=np.float64)
