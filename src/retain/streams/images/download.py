"""Files of a public data set: found in a folder, or downloaded, checked and then kept."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import TypeAlias

from retain.errors import SourceError
from retain.streams.files import open_bytes

__all__ = ["Folder", "Published", "cache", "found", "read"]

Folder: TypeAlias = "str | os.PathLike[str] | None"
"""Where the files of a set lie; None for the user's cache, into which they are downloaded."""

_PIECE = 1 << 20
_TIMEOUT = 60.0  # seconds without a byte


@dataclass(frozen=True, slots=True)
class Published:
    """A file as its publisher offers it.

    `content` is the MD5 of the decompressed bytes, which stays the same however the file is packed; where only that of
    the packed file has been published it is `packed`. MD5 is what publishers give: it tells damage, not malice.
    """

    name: str  # with its .gz
    address: str  # of the folder it lies in
    content: str | None = None
    packed: str | None = None


def found(files: Sequence[Published], folder: Folder, /, *, cached: str, mirror: str | None = None) -> list[Path]:
    """Where the files are.

    Args:
        files: which ones.
        folder: where they are to be; packed or not. None: the user's cache, into which what is missing is downloaded.
        cached: name of the set in the cache.
        mirror: address of another folder to download from.

    Raises SourceError where one is missing, cannot be downloaded, or is not what was published.
    """
    place = cache(cached) if folder is None else Path(folder)
    paths: list[Path] = []
    for file in files:
        path = next((p for p in (place / file.name, place / file.name.removesuffix(".gz")) if p.is_file()), None)
        if path is None and folder is not None:
            raise SourceError(
                f"there is no {file.name} in {place}; expected {', '.join(f.name for f in files)}: put them there "
                f"({file.address}), or give no folder and they are downloaded"
            )
        paths.append(path or _download(file, place, mirror or file.address))
    return paths


def cache(name: str, /) -> Path:
    """The user's folder for files that can be had again."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "retain" / name


def read(path: Path, /) -> bytes:
    """All bytes of a file, decompressed. Raises SourceError where it cannot be read or is damaged."""
    stream = open_bytes(str(path))
    try:
        return b"".join(iter(lambda: stream.read(_PIECE), b""))
    finally:
        stream.close()


def _download(file: Published, folder: Path, address: str) -> Path:
    """The file, whole and as published, or not at all."""
    from urllib.request import urlopen

    url = f"{address.rstrip('/')}/{file.name}"
    if not url.startswith(("https://", "http://", "file://")):
        raise SourceError(
            f"cannot download from {url}; expected an address that begins with https://, http:// or file://"
        )
    path = folder / file.name
    part = folder / f".{file.name}.{os.getpid()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with urlopen(url, timeout=_TIMEOUT) as answer, part.open("wb") as out:  # noqa: S310 - checked above
            shutil.copyfileobj(answer, out, _PIECE)
        _check(file, part, url)
        part.replace(path)
    except (OSError, HTTPException) as error:  # URLError is an OSError
        raise SourceError(
            f"cannot download {url}: {error}; put {file.name} into a folder yourself and give that folder"
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return path


def _check(file: Published, path: Path, url: str) -> None:
    """Raise SourceError unless the file has the checksum that was published."""
    if file.packed is not None:
        got, wanted = _md5(path.read_bytes()), file.packed
    else:
        got, wanted = _md5(read(path)), file.content
    if got != wanted:
        raise SourceError(f"{url} has the MD5 {got}; expected {wanted}: it is damaged or another file; try again later")


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
