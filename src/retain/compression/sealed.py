"""Files of arrays that know when they are damaged.

    bytes 0 - 7     what it is: letters, and a zero
    bytes 8 - 11    version of the format: an unsigned integer, the lowest byte first, as all integers here
    bytes 12 - 43   SHA-256 of all that follows
    from byte 44    a zlib stream. Unzipped it is: the length of a JSON text in bytes, four bytes; the text; then
                    arrays, one after the other

An array of m numbers of b bytes each is kept by bytes: first the lowest byte of each number, then the second of each,
which zips better.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np

from retain.core import Array
from retain.errors import StateError

__all__ = ["Unsealed", "sealed"]

_BEGIN = 8 + 4 + 32
_DAMAGED = "the packed {} are damaged; compress anew"


def sealed(magic: bytes, version: int, told: Mapping[str, Any], parts: Sequence[Array], /) -> bytes:
    """A file of what is told and of arrays, whose types are given by who writes and known to who reads."""
    text = json.dumps(told, sort_keys=True).encode()
    whole = b"".join([len(text).to_bytes(4, "little"), text, *map(_split, parts)])
    zipped = zlib.compress(whole, 9)
    return magic + version.to_bytes(4, "little") + hashlib.sha256(zipped).digest() + zipped


@final
class Unsealed:
    """What `sealed` put down. Raises StateError for what is damaged, or of a later version.

    Args:
        data: the file.
        magic: what it begins with.
        version: that is read.
        what: is in it, for errors.
    """

    def __init__(self, data: bytes, /, *, magic: bytes, version: int, what: str) -> None:
        damaged = StateError(_DAMAGED.format(what))
        if data[: len(magic)] != magic or len(data) < _BEGIN:
            raise damaged
        given = int.from_bytes(data[len(magic) : len(magic) + 4], "little")
        if given != version:
            raise StateError(f"the packed {what} are of version {given}, this retain reads {version}; update it")
        if hashlib.sha256(data[_BEGIN:]).digest() != data[_BEGIN - 32 : _BEGIN]:
            raise damaged
        self._whole = zlib.decompress(data[_BEGIN:])
        self._at = 4 + int.from_bytes(self._whole[:4], "little")
        self.told: dict[str, Any] = json.loads(self._whole[4 : self._at])

    def take(self, count: int, kind: str, /) -> Array:
        """The next array: so many numbers."""
        width = np.dtype(kind).itemsize
        raw = np.frombuffer(self._whole, np.uint8, count * width, self._at).reshape(width, count)
        self._at += count * width
        return np.ascontiguousarray(raw.T).view(kind)[:, 0] if count else np.zeros(0, dtype=kind)


def _split(values: Array) -> bytes:
    """All lowest bytes, then all second bytes, ..."""
    flat = np.ascontiguousarray(values).reshape(-1)
    return flat.view(np.uint8).reshape(len(flat), flat.dtype.itemsize).T.tobytes()
