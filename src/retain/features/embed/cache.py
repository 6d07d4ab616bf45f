"""Features on disk, by what they are features of: nothing is encoded twice."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import final

import numpy as np

from retain.core import Floats
from retain.errors import StateError

__all__ = ["Cache"]

_ASKED = 500  # keys in one query
_WAIT = 60.0  # seconds for another process that is writing


@final
class Cache:
    """A folder with one file for each encoder: the key of an item, its features, their checksum.

    Several processes may share it. SQLite keeps a file whole when a process is killed; features whose checksum is wrong
    are as good as not there, and encoded again.

    Raises StateError where the folder or the file cannot be used.
    """

    def __init__(self, folder: str | os.PathLike[str], encoder: str, /) -> None:
        self.path = Path(folder) / f"{encoder[:32]}.sqlite"

    def get(self, keys: Sequence[bytes], /) -> dict[bytes, Floats]:
        """The features (d,) of those items that are there."""
        got: dict[bytes, Floats] = {}
        if not self.path.exists():
            return got
        with self._open() as rows:
            for start in range(0, len(keys), _ASKED):
                some = keys[start : start + _ASKED]
                marks = ",".join("?" * len(some))
                for key, value, checksum in rows.execute(
                    f"SELECT key, value, checksum FROM features WHERE key IN ({marks})",  # noqa: S608 - marks only
                    some,
                ):
                    if _checksum(key, value) == checksum:
                        got[key] = np.frombuffer(value, dtype="<f4").astype(np.float32)
        return got

    def put(self, features: Mapping[bytes, Floats], /) -> None:
        """Keep features (d,) of items, all of them or none."""
        values = [(key, np.asarray(row, dtype="<f4").tobytes()) for key, row in features.items()]
        with self._open() as rows:
            rows.executemany(
                "INSERT OR REPLACE INTO features VALUES (?, ?, ?)",
                [(key, value, _checksum(key, value)) for key, value in values],
            )

    @contextmanager
    def _open(self) -> Generator[sqlite3.Connection]:
        # Opened for each use: a connection must neither be shared by threads nor live through a fork.
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=_WAIT)) as rows, rows:
                rows.execute(
                    "CREATE TABLE IF NOT EXISTS features "
                    "(key BLOB PRIMARY KEY, value BLOB NOT NULL, checksum BLOB NOT NULL) WITHOUT ROWID"
                )
                yield rows
        except (OSError, sqlite3.Error) as error:
            raise StateError(
                f"cannot use the features in {self.path}: {error}; delete that file, and they are encoded again, or "
                "name another folder"
            ) from error


def _checksum(key: bytes, value: bytes) -> bytes:
    return hashlib.blake2b(key + value, digest_size=8).digest()
