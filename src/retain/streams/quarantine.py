"""The file of a `Quarantine`: a line for each refused row, numbered, so that rows may be mended and taken out of it.

Bad rows of a source are the same ones at every reading. So their numbers tell, after a kill and after a replay, which
of them the file has seen: it is cut back to the rows of a position, and what was replayed is not noted a second time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast, final

from retain import state as states
from retain.errors import SettingError, SourceError
from retain.streams.bad_rows import BadRows, Quarantine, Refused

__all__ = ["Ledger", "Mark", "check_ours", "entries", "line_of", "open_ledger", "owned"]

_OURS = b'{"reason": "'


class Ledger(Protocol):
    """Takes note of refused rows."""

    def note(self, rows: Sequence[Refused], /) -> None: ...

    def noted(self) -> int:
        """How many rows were noted so far, all of them durable; 0 where nothing is kept."""
        ...

    def close(self) -> None: ...


def open_ledger(policy: BadRows, /, *, noted: int | None) -> Ledger:
    """What takes note of refused rows, standing where `noted` of them were (None: at the beginning)."""
    return _File(Path(policy.path), noted) if isinstance(policy, Quarantine) else _Nothing()


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a quarantine file was replayed last; kept beside it, or the run that goes on would note rows again."""

    number: int  # of the last row that was replayed
    mended: int
    bad: Mapping[str, int]  # reasons, and how many rows were left for each
    into: str  # the file of the mended rows
    done: bool  # else it was killed, and what it wrote has not all been put in its place

    @staticmethod
    def of(path: Path, /) -> Mark | None:
        """The mark of a quarantine file, if it was ever replayed."""
        try:
            return Mark(**json.loads(Mark.place(path).read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise SourceError(f"cannot read {Mark.place(path)}: {error}; put the old file back") from error

    @staticmethod
    def place(path: Path, /) -> Path:
        """Where the mark of a quarantine file is kept."""
        return path.with_name(f"{path.name}.replayed")

    def write(self, path: Path, /) -> None:
        """Keep it, durably."""
        states.write_file(Mark.place(path), json.dumps(asdict(self)).encode() + b"\n")


def check_ours(path: Path, /) -> None:
    """Raise SettingError for a file that is not a quarantine file: a slip of the hand must not cost data."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        first = file.readline(1 << 20)
    if first and not first.startswith(_OURS):
        raise SettingError(f"the quarantine file {path} exists and is not one; name a file that may be overwritten")


def line_of(entry: Mapping[str, Any], /) -> bytes:
    """An entry as a line of the file."""
    return json.dumps(entry, ensure_ascii=False).encode("utf-8", errors="backslashreplace") + b"\n"


def entries(file: BinaryIO, name: str, /) -> Iterator[dict[str, Any]]:
    """The entries of a quarantine file, each a mapping with at least reason and text.

    Raises SourceError for a line that is none.
    """
    for number, line in enumerate(file, start=1):
        entry = _entry(line)
        if entry is not None:
            yield entry
        elif line.strip():
            raise _no_entry(name, number)


@contextmanager
def owned(path: Path, /, *, alone: bool) -> Generator[BinaryIO]:
    """A quarantine file, open to be read and to be written at its end, until the end of the block.

    Raises SourceError where somebody replays it, or (`alone`) reads a stream into it.
    """
    with path.open("a+b") as file:
        try:
            import fcntl
        except ImportError:  # Windows has no flock: one owner is then the user's care
            yield file
            return
        try:
            fcntl.flock(file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            busy = (
                not path.exists() or os.fstat(file.fileno()).st_ino != path.stat().st_ino
            )  # a replay put another there
        except BlockingIOError:
            busy = True
        if busy:
            raise SourceError(
                f"the quarantine file {path} is in use by a run or a replay; wait for its end, or stop it"
            )
        yield file


@final
class _Nothing:
    def note(self, rows: Sequence[Refused], /) -> None:
        pass

    def noted(self) -> int:
        return 0

    def close(self) -> None:
        pass


@final
class _File:
    def __init__(self, path: Path, noted: int | None) -> None:
        self._path = path
        if noted is None:
            check_ours(path)
        self._noted = noted or 0
        self._replayed = 0  # rows up to this number were replayed, and are not noted again
        self._durable = True
        with ExitStack() as stack:
            try:
                self._file = stack.enter_context(owned(path, alone=False))
                self._begin(anew=noted is None)
            except OSError as error:
                raise self._unwritable(error) from error
            self._open = stack.pop_all()

    def note(self, rows: Sequence[Refused], /) -> None:
        lines: list[bytes] = []
        for row in rows:
            self._noted += 1
            if self._noted > self._replayed:
                about = {"reason": row.reason, "file": row.file, row.unit: row.line, "number": self._noted}
                lines.append(line_of({**about, "text": row.text}))
        if not lines:
            return
        try:
            self._file.write(b"".join(lines))
        except OSError as error:
            raise self._unwritable(error) from error
        self._durable = False

    def noted(self) -> int:
        if not self._durable:
            try:
                self._file.flush()
                os.fsync(self._file.fileno())
            except OSError as error:
                raise self._unwritable(error) from error
            self._durable = True
        return self._noted

    def close(self) -> None:
        try:
            self._open.close()
        except OSError as error:
            raise self._unwritable(error) from error

    def _begin(self, *, anew: bool) -> None:
        """Cut the file back to the rows noted so far, and to those that were replayed."""
        mark = Mark.of(self._path)
        if mark is not None and not mark.done:
            raise SourceError(
                f"a replay of the quarantine file {self._path} was killed; give the same `retain replay` again, which "
                "finishes it"
            )
        if anew:
            Mark.place(self._path).unlink(missing_ok=True)
            self._file.truncate(0)
            return
        self._replayed = 0 if mark is None else mark.number
        end = self._end()
        self._file.truncate(end)
        self._file.seek(max(end - 1, 0))
        if self._file.read() not in (b"", b"\n"):  # as some editors leave a file
            self._file.write(b"\n")

    def _end(self) -> int:
        """Bytes up to the last row that stays. Raises SourceError where rows are gone that nobody replayed."""
        known = max(self._noted, self._replayed)
        wanted, found, end = max(self._noted - self._replayed, 0), 0, 0
        self._file.seek(0)
        for number, line in enumerate(self._file, start=1):
            entry = _entry(line)
            if entry is None and line.endswith(b"\n") and line.strip():
                raise _no_entry(str(self._path), number)
            if (entry is None and line.strip()) or (entry and entry.get("number", 0) > known):
                break  # torn by a kill, or noted after the position: it is read again
            found += entry is not None and entry.get("number", 0) > self._replayed
            end += len(line)
        if found < wanted:
            raise SourceError(
                f"the quarantine file {self._path} holds {found} of the {wanted} rows there were when the position was "
                "taken; put the old file back, or start anew (mended rows leave it by `retain replay`)"
            )
        return end

    def _unwritable(self, error: OSError) -> SourceError:
        return SourceError(
            f"cannot write the quarantine file {self._path}: {error.strerror or error}; "
            "free some space or choose another file"
        )


def _entry(line: bytes) -> dict[str, Any] | None:
    """What a line says, if it is an entry."""
    try:
        said = json.loads(line)
    except ValueError:
        return None
    if not isinstance(said, dict):
        return None
    entry = cast("dict[str, Any]", said)
    whole = isinstance(entry.get("reason"), str) and isinstance(entry.get("text"), str)
    return entry if whole and isinstance(entry.get("number", 0), int) else None


def _no_entry(name: str, line: int) -> SourceError:
    return SourceError(
        f'{name}, line {line}: this is no row in quarantine; expected {{"reason": ..., "file": ..., "line": ..., '
        '"text": ...}: correct the line, or delete it'
    )
