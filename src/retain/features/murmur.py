"""MurmurHash by Austin Appleby (public domain), over bytes as they lie in Arrow buffers.

The same bytes give the same number in every process, on every platform and in every version: hashes end up in saved
models. `murmur3` is MurmurHash3_x86_32, the one scikit-learn and Vowpal Wabbit use; `murmur64` is MurmurHash64A.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from retain.core import Array
from retain.features.columns import Strings

__all__ = ["MISSING", "hash_numbers", "hash_strings", "mix", "murmur3", "murmur64"]

MISSING = np.uint64(0x9E3779B97F4A7C15)  # what a missing value hashes to

_M = np.uint64(0xC6A4A7935BD1E995)
_R = np.uint64(47)
_C1, _C2 = np.uint32(0xCC9E2D51), np.uint32(0x1B873593)


@njit(cache=True, nogil=True)
def murmur3(data: Array, start: Any, stop: Any, seed: Any) -> Any:  # pragma: no cover - compiled
    """MurmurHash3_x86_32 of data[start:stop] with a uint32 seed, as uint32."""
    h = np.uint32(seed)
    at = start
    while at + 4 <= stop:
        k = np.uint32(data[at])
        k |= np.uint32(data[at + 1]) << np.uint32(8)
        k |= np.uint32(data[at + 2]) << np.uint32(16)
        k |= np.uint32(data[at + 3]) << np.uint32(24)
        k = np.uint32(k * _C1)
        k = np.uint32((k << np.uint32(15)) | (k >> np.uint32(17)))
        h = np.uint32(h ^ np.uint32(k * _C2))
        h = np.uint32((h << np.uint32(13)) | (h >> np.uint32(19)))
        h = np.uint32(h * np.uint32(5) + np.uint32(0xE6546B64))
        at += 4
    if at < stop:
        k = np.uint32(0)
        for i in range(stop - at):
            k |= np.uint32(data[at + i]) << np.uint32(8 * i)
        k = np.uint32(k * _C1)
        k = np.uint32((k << np.uint32(15)) | (k >> np.uint32(17)))
        h = np.uint32(h ^ np.uint32(k * _C2))
    h = np.uint32(h ^ np.uint32(stop - start))
    h = np.uint32((h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B))
    h = np.uint32((h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35))
    return np.uint32(h ^ (h >> np.uint32(16)))


@njit(cache=True, nogil=True)
def murmur64(data: Array, start: Any, stop: Any) -> Any:  # pragma: no cover - compiled
    """MurmurHash64A of data[start:stop] with seed 0, as uint64."""
    h = np.uint64(stop - start) * _M
    at = start
    while at + 8 <= stop:
        k = np.uint64(0)
        for i in range(8):
            k |= np.uint64(data[at + i]) << np.uint64(8 * i)
        k *= _M
        k ^= k >> _R
        h = (h ^ (k * _M)) * _M
        at += 8
    if at < stop:
        k = np.uint64(0)
        for i in range(stop - at):
            k |= np.uint64(data[at + i]) << np.uint64(8 * i)
        h = (h ^ k) * _M
    h = (h ^ (h >> _R)) * _M
    return h ^ (h >> _R)


@njit(cache=True, nogil=True)
def mix(h: Any, k: Any) -> Any:  # pragma: no cover - compiled
    """Two uint64 hashes as one; the order counts."""
    k = k * _M
    k ^= k >> _R
    h = ((h ^ _M) * _M) ^ (k * _M)
    h = (h ^ (h >> _R)) * _M
    return h ^ (h >> _R)


@njit(cache=True, nogil=True)
def _hash_strings(
    data: Array, offsets: Array, index: Array, bits: Array, first: int, out: Array
) -> None:  # pragma: no cover - compiled
    for i in range(len(out)):
        at = first + i
        if len(bits) and not (bits[at >> 3] >> (at & 7)) & 1:
            out[i] = mix(out[i], MISSING)
            continue
        s = index[i] if len(index) else i
        out[i] = mix(out[i], murmur64(data, offsets[s], offsets[s + 1]))


@njit(cache=True, nogil=True)
def _hash_numbers(values: Array, present: Array, out: Array) -> None:  # pragma: no cover - compiled
    for i in range(len(out)):
        out[i] = mix(out[i], values[i] if present[i] else MISSING)


def hash_strings(strings: Strings, out: Array, /) -> None:
    """Mix the hash of each of n strings into the (n,) uint64 hashes so far."""
    _hash_strings(strings.data, strings.offsets, strings.index, strings.bits, strings.first, out)


def hash_numbers(values: Array, present: Array, out: Array, /) -> None:
    """Mix each of n numbers, where present, into the (n,) uint64 hashes so far; equal numbers hash equally."""
    if values.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            whole = np.where(present & (np.abs(values) < 2.0**53), values, 0.5)
            integral = whole == np.floor(whole)
        words = (values + 0.0).astype(np.float64).view(np.uint64)  # -0.0 + 0.0 is 0.0
        words = np.where(integral, np.where(integral, whole, 0.0).astype(np.int64).view(np.uint64), words)
    else:
        words = values.astype(np.int64, copy=False).view(np.uint64)
    _hash_numbers(np.ascontiguousarray(words), np.ascontiguousarray(present), out)
