"""A log that is only ever appended to, and in which every entry vouches for all before it.

One line of JSON for each entry, with the hash of the one before: a flipped byte, a lost line or two lines exchanged are
seen, and where. A file beside it holds the hash of the whole log, so that it can be checked in one go, and a log that
was cut short is seen too. One write makes an entry visible; a write that was torn by a crash leaves a line without an
end, which counts as never written.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple, cast, final

from retain.errors import StateError
from retain.state import write_file

__all__ = ["Entry", "Journal"]

_START = "0" * 64  # what the first entry names as the one before it
_HASH = f',"hash":"{_START}"}}\n'  # how a line ends


class Entry(NamedTuple):
    """What was done, by whom, when and why."""

    number: int  # 1, 2, ...
    time: float  # seconds since the epoch
    who: str
    what: str
    about: Mapping[str, Any]  # plain data
    hash: str


class _Head(NamedTuple):
    """What the file beside the log knows: the newest entry when it was written, and the log up to there."""

    number: int
    bytes: int
    sha256: str


@final
class Journal:
    """The entries of a folder. Readers need no lock and see whole entries only; writers take turns."""

    def __init__(self, folder: Path, /) -> None:
        self._path, self._head, self._lock = folder / "log.jsonl", folder / "head.json", folder / "lock"
        self._entries: list[Entry] = []
        self._read = 0  # bytes of the log that these entries are
        self._digest = hashlib.sha256()  # of these bytes
        self._ends = [0]  # where in the log the first 0, 1, ... entries end
        self._behind = False  # whether the newest entry is not yet named beside the log

    @property
    def entries(self) -> Sequence[Entry]:
        """All entries, oldest first. Raises StateError where the log is damaged, naming the line."""
        self._catch_up()
        return self._entries

    @contextmanager
    def turn(self) -> Generator[None]:
        """Nobody else appends until the end of the block. What is read in it is what there is."""
        try:
            self._lock.parent.mkdir(parents=True, exist_ok=True)
            file = self._lock.open("w")
        except OSError as error:
            raise self._unwritten(error) from error
        with file:
            try:
                import fcntl
            except ImportError:  # Windows has no flock: one writer is then the user's care
                yield
                return
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def append(self, what: str, about: Mapping[str, Any], /, *, who: str) -> Entry:
        """Write an entry, durably; only within a `turn`. Raises StateError, and nothing is written, where it cannot."""
        self._catch_up()
        if self._behind:  # a crash came between an entry and the file that names it
            self._name_newest()
        before = self._entries[-1].hash if self._entries else _START
        number, now = len(self._entries) + 1, time.time()
        line, digest = _line(
            {"number": number, "time": now, "who": who, "what": what, "about": dict(about), "before": before}
        )
        try:
            with self._path.open("ab") as file:
                # What a crash left behind the last whole line is no entry: it goes before the next one is written.
                file.truncate(self._read)
                try:
                    file.write(line)
                    file.flush()
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(self._read)
                    raise
        except OSError as error:
            raise self._unwritten(error) from error
        entry = Entry(number, now, who, what, dict(about), digest)
        self._take([entry], line, [len(line)])
        self._behind = True
        self._name_newest()
        return entry

    def _name_newest(self) -> None:
        head = _Head(len(self._entries), self._read, self._digest.hexdigest())
        try:
            write_file(self._head, json.dumps(head._asdict()).encode())
        except OSError as error:
            raise self._unwritten(error) from error
        self._behind = False

    def _take(self, entries: Sequence[Entry], data: bytes, lengths: Sequence[int], *, digest: Any = None) -> None:
        """Entries that follow, and their bytes; `digest` is of all bytes with them, where that is known."""
        self._entries.extend(entries)
        self._ends.extend(accumulate(lengths, initial=self._ends.pop()))
        self._read += len(data)
        if digest is None:
            self._digest.update(data)
        else:
            self._digest = digest

    def _catch_up(self) -> None:
        """Read what was appended since the last time."""
        head = self._newest()
        data = self._beyond(self._read)
        own = data[: max(head.bytes - self._read, 0)]
        whole = self._digest.copy()
        whole.update(own)
        if own and (self._read + len(own), whole.hexdigest()) == (head.bytes, head.sha256):
            # Checked in one go; one by one, 20,000 entries would take half a second.
            lines = own.splitlines(keepends=True)
            with _no_collector():
                bodies = json.loads(b"[" + b",".join(lines) + b"]")
                entries = [Entry(b["number"], b["time"], b["who"], b["what"], b["about"], b["hash"]) for b in bodies]
            self._take(entries, own, [len(line) for line in lines], digest=whole)
            data = data[len(own) :]
        for line in data.splitlines(keepends=True):
            if not line.endswith(b"\n"):  # torn by a crash, or being written just now
                break
            self._take([self._parsed(line)], line, [len(line)])
        # Others may have appended more since the head was read; but it was written before they began.
        count = len(self._entries)
        known = 0 <= head.number <= count and self._ends[head.number] == head.bytes
        same = head.number != count or self._digest.hexdigest() == head.sha256
        if not known or not same or (not head.number and count > 1):
            raise StateError(
                f"{self._path} is damaged: it ends with entry {count}, and {self._head.name} knows of entry "
                f"{head.number} at {head.bytes} bytes; restore both from a copy of the folder"
            )
        self._behind = head.number < count

    def _beyond(self, start: int) -> bytes:
        """The log from a byte on."""
        try:
            with self._path.open("rb") as file:
                if os.fstat(file.fileno()).st_size < start:
                    raise self._shorter(start)
                file.seek(start)
                return file.read()
        except FileNotFoundError as error:
            if start:
                raise self._shorter(start) from error
            return b""
        except OSError as error:
            raise StateError(f"cannot read {self._path}: {error.strerror or error}") from error

    def _parsed(self, line: bytes) -> Entry:
        number = len(self._entries) + 1
        before = self._entries[-1].hash if self._entries else _START
        try:
            body = cast("dict[str, Any]", json.loads(line))
            # Of the bytes as they stand: to write all of it anew would take five times as long.
            digest = hashlib.sha256(line[: -len(_HASH)] + b"}").hexdigest()
            told = body["number"], body["before"], body["hash"]
            if told != (number, before, digest) or not line.endswith(f'"hash":"{digest}"}}\n'.encode()):
                raise ValueError
            return Entry(number, body["time"], body["who"], body["what"], body["about"], digest)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StateError(
                f"{self._path} is damaged at line {number}: it is not what was written there; restore it from a copy "
                "of the folder"
            ) from error

    def _newest(self) -> _Head:
        try:
            told = json.loads(self._head.read_bytes())
            return _Head(int(told["number"]), int(told["bytes"]), str(told["sha256"]))
        except FileNotFoundError:
            return _Head(0, 0, hashlib.sha256().hexdigest())
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StateError(f"{self._head} is damaged; restore it from a copy of the folder") from error

    def _shorter(self, start: int) -> StateError:
        return StateError(
            f"{self._path} is damaged: {start} bytes of it were read and are gone; restore it from a copy"
        )

    def _unwritten(self, error: OSError) -> StateError:
        return StateError(
            f"cannot write to {self._path.parent}: {error.strerror or error}; free some space or choose another folder"
        )


@contextmanager
def _no_collector() -> Generator[None]:
    """Much is made and nothing thrown away: to look for garbage on the way would take a fifth of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _line(told: Mapping[str, Any]) -> tuple[bytes, str]:
    """An entry as it is written, and its hash: of all of the line but the hash itself."""
    text = json.dumps(told, sort_keys=True, separators=(",", ":"), allow_nan=False)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f'{text[:-1]},"hash":"{digest}"}}\n'.encode(), digest
