"""Files as bytes: names and globs, gzip and zstd undone, and a fingerprint by which a changed file is noticed."""

from __future__ import annotations

import glob
import hashlib
import os
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias, final

import pyarrow as pa

from retain.core import State
from retain.errors import SettingError, SourceError

__all__ = ["STDIN", "Bytes", "Fingerprint", "Paths", "open_bytes", "resolve", "resume_at"]

Paths: TypeAlias = "str | os.PathLike[str] | Sequence[str | os.PathLike[str]]"
"""A path, a glob (`logs/*.csv.gz`), `-` for standard input, or several of these, read one after the other."""

STDIN = "-"
_GLOB = frozenset("*?[")
_HEAD = 4096  # bytes of a file by which it is known again
_RAW = 1 << 18  # compressed bytes read at a time
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


def resolve(paths: Paths, /) -> tuple[str, ...]:
    """The files that `paths` stands for: globs expanded and sorted by name, the rest in the given order.

    Raises SourceError for a file that is missing, is a folder or may not be read, and for a glob that finds nothing.
    """
    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    found: list[str] = []
    for path in given:
        item = os.fspath(path)
        if item == STDIN or Path(item).exists() or not _GLOB & set(item):
            found.append(item)
            continue
        matches = sorted(match for match in glob.glob(item, recursive=True) if Path(match).is_file())  # noqa: PTH207 - any pattern
        if not matches:
            raise SourceError(f"no file matches {item!r}; expected at least one: check the pattern and the folder")
        found.extend(matches)
    if not found:
        raise SettingError("no file was given; expected a path, a glob or '-' for standard input")
    if STDIN in found and len(found) > 1:
        raise SettingError("'-' (standard input) stands among other files; give it alone")
    for name in found:
        _check_readable(name)
    return tuple(found)


class Bytes(Protocol):
    """The content of a file, decompressed, read forwards."""

    def read(self, size: int, /) -> bytes:
        """The next `size` bytes; fewer only at the end. Raises SourceError where the file is damaged."""
        ...

    def skip(self, size: int, /) -> None:
        """Go forward by `size` bytes. Raises SourceError where the file ends before."""
        ...

    def close(self) -> None: ...


def open_bytes(name: str, /) -> Bytes:
    """Open a file, or standard input for '-'. Compression is told by the first bytes, not by the name."""
    if name == STDIN:
        return _opened(name, sys.stdin.buffer)
    try:
        return _opened(name, Path(name).open("rb"))
    except OSError as error:
        raise SourceError(
            f"cannot read {name}: {error.strerror or error}; check the path and its permissions"
        ) from error


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a file is known by: its name and first bytes; they stay when rows are appended, unlike its size and date."""

    name: str  # without folders: a data set may move as a whole
    length: int
    sha256: str

    @staticmethod
    def of(name: str, /, *, length: int = _HEAD) -> Fingerprint:
        """Of the file as it is now; of standard input there is none."""
        if name == STDIN:
            return Fingerprint(STDIN, 0, "")
        with Path(name).open("rb") as file:
            head = file.read(length)
        return Fingerprint(Path(name).name, len(head), hashlib.sha256(head).hexdigest())

    def to_state(self) -> dict[str, Any]:
        return {"name": self.name, "length": self.length, "sha256": self.sha256}


def resume_at(names: Sequence[str], place: State | None, /) -> int:
    """Index of the file to go on with, given the place in a position; raises SourceError where it is another file."""
    if place is None:
        return 0
    index, was = int(place["file"]), place["fingerprint"]
    if was["name"] == STDIN:
        raise SourceError("standard input cannot be resumed: it can be read only once; put the data into a file")
    if index >= len(names) or Path(names[index]).name != was["name"]:
        now = repr(Path(names[index]).name) if index < len(names) else "nothing"
        raise SourceError(
            f"the position is in {was['name']!r}, file {index + 1} of the source, where there now is {now}; "
            "give the same files in the same order (new ones at the end), or start anew"
        )
    if Fingerprint.of(names[index], length=int(was["length"])).sha256 != was["sha256"]:
        raise SourceError(
            f"{names[index]} has changed since the position was taken (its first {was['length']} bytes differ); "
            "put the old file back, or start anew"
        )
    return index


def _check_readable(name: str) -> None:
    path = Path(name)
    if name == STDIN:
        return
    if not path.exists():
        raise SourceError(f"there is no file {name}; check the path")
    if path.is_dir():
        raise SourceError(f"{name} is a folder; expected a file: give a glob such as {name.rstrip('/')}/*.csv")
    if not os.access(path, os.R_OK):
        raise SourceError(f"cannot read {name}: permission denied; check its permissions")


def _opened(name: str, raw: BinaryIO) -> Bytes:
    first = raw.read(_RAW)
    if first.startswith(_GZIP):
        return _Gzip(name, raw, first)
    if first.startswith(_ZSTD):
        if name == STDIN:
            return _Zstd(name, pa.PythonFile(_Joined(first, raw), mode="r"))
        raw.close()
        return _Zstd(name, pa.OSFile(name))
    return _Plain(name, raw, first)


@final
class _Plain:
    def __init__(self, name: str, raw: BinaryIO, first: bytes) -> None:
        self._name, self._raw, self._first = name, raw, first

    def read(self, size: int, /) -> bytes:
        taken, self._first = self._first[:size], self._first[size:]
        try:
            return taken + self._raw.read(size - len(taken)) if len(taken) < size else taken
        except OSError as error:
            raise SourceError(f"cannot read {self._name}: {error.strerror or error}") from error

    def skip(self, size: int, /) -> None:
        if self._name == STDIN:
            _read_away(self, size, self._name)
            return
        at = self._raw.tell() - len(self._first) + size
        if at > os.fstat(self._raw.fileno()).st_size:
            raise _shorter(self._name)
        self._first = b""
        self._raw.seek(at)

    def close(self) -> None:
        if self._name != STDIN:
            self._raw.close()


@final
class _Gzip:
    """Members one after the other, as `cat a.gz b.gz` makes them; zero padding after the last is allowed."""

    def __init__(self, name: str, raw: BinaryIO, first: bytes) -> None:
        self._name, self._raw, self._data = name, raw, first
        self._member = zlib.decompressobj(wbits=31)

    def read(self, size: int, /) -> bytes:
        parts: list[bytes] = []
        while size:
            try:
                part = self._some(size)
            except SourceError:
                if parts:  # what is whole comes first; the damage is met again by the next call
                    break
                raise
            if not part:
                break
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def skip(self, size: int, /) -> None:
        _read_away(self, size, self._name)

    def close(self) -> None:
        if self._name != STDIN:
            self._raw.close()

    def _some(self, size: int) -> bytes:
        """At least one byte, or none at the end."""
        while True:
            if self._member.eof:
                rest = self._member.unused_data or self._data
                while not rest.strip(b"\0"):
                    rest = self._raw.read(_RAW)
                    if not rest:
                        return b""
                self._member, self._data = zlib.decompressobj(wbits=31), rest.lstrip(b"\0")
            if not self._data:
                self._data = self._raw.read(_RAW)
                if not self._data:
                    raise SourceError(f"{self._name} is cut off: the gzip data ends too early; copy the file again")
            try:
                part = self._member.decompress(self._data, size)
            except zlib.error as error:
                raise SourceError(f"{self._name} is damaged: gzip says {error}; copy the file again") from error
            self._data = self._member.unconsumed_tail
            if part:
                return part


@final
class _Zstd:
    def __init__(self, name: str, raw: pa.NativeFile) -> None:
        self._name, self._raw = name, raw
        self._stream = pa.CompressedInputStream(raw, "zstd")
        self._ahead = b""
        self._error: SourceError | None = None

    def read(self, size: int, /) -> bytes:
        if self._error is not None:
            raise self._error
        parts: list[bytes] = []
        while size:
            # In small steps: what Arrow had decompressed of a read that fails is lost.
            try:
                part = self._stream.read(min(size, 1 << 16))
            except OSError as error:
                self._error = SourceError(f"{self._name} is cut off or damaged: {error}; copy the file again")
                self._error.__cause__ = error
                break
            if not part:
                break
            parts.append(part)
            size -= len(part)
        if self._error is not None and not parts:
            raise self._error
        return b"".join(parts)

    def skip(self, size: int, /) -> None:
        _read_away(self, size, self._name)

    def close(self) -> None:
        self._stream.close()


@final
class _Joined:
    """Bytes already read, then the rest of a file: what `pa.PythonFile` needs to read from."""

    def __init__(self, first: bytes, rest: BinaryIO) -> None:
        self._first, self._rest = first, rest
        self.closed = False

    def read(self, size: int = -1, /) -> bytes:
        taken, self._first = self._first[:size], self._first[size:]
        return taken or self._rest.read(size)

    def close(self) -> None:
        self.closed = True


def _read_away(stream: Bytes, size: int, name: str) -> None:
    while size:
        part = stream.read(min(size, 1 << 20))
        if not part:
            raise _shorter(name)
        size -= len(part)


def _shorter(name: str) -> SourceError:
    return SourceError(
        f"{name} is shorter than it was when the position was taken; put the old file back, or start anew"
    )
