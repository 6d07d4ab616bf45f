"""What to do with rows that cannot be read: `Stop`, `Skip` or `Quarantine`.

However it is decided, rows accepted + rows refused = rows read, exactly, and stopping, killing and resuming at any
block changes neither count nor doubles a line of the quarantine file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias, final

from retain.errors import DataError, PoisonError, SettingError, SourceError

__all__ = ["BadRows", "Ledger", "Quarantine", "Refused", "Skip", "Stop", "breaks", "open_ledger"]

_ENOUGH = 1_000  # rows that a share is told of


@final
@dataclass(frozen=True, slots=True)
class Stop:
    """A bad row ends the stream with an error that names file, row, column, value and cure. The default."""


@final
@dataclass(frozen=True, slots=True)
class Skip:
    """A bad row is counted and left out.

    Args:
        most: a circuit breaker: if more than this share of all rows so far were bad, once 1,000 were read, the stream
            ends with an error; a source that sends nothing but bad rows is not to be passed over in silence.
    """

    most: float | None = None

    def __post_init__(self) -> None:
        _check_most(self.most, "Skip")


@final
@dataclass(frozen=True, slots=True)
class Quarantine:
    """A bad row is counted, left out and kept in a file, one JSON object a line: reason, file, line (or row), raw text.

    The file is started anew when the stream is read from its beginning, and cut back to where it was when the stream
    is read from a position.

    Args:
        path: of the file.
        most: as for `Skip`.
    """

    path: str | os.PathLike[str]
    most: float | None = None

    def __post_init__(self) -> None:
        _check_most(self.most, "Quarantine")


BadRows: TypeAlias = Stop | Skip | Quarantine


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that cannot be used, and why."""

    number: int  # counted within its piece of the source
    file: str
    line: int  # counted from 1, with the header
    reason: str  # "column 'amount' holds 'abc'; expected a number"
    text: str  # the row as it stands in the source
    poison: bool  # a value is wrong, rather than the form of the row
    cure: str = ""
    unit: str = "line"  # or "row", counted from 0, where a source has no lines

    def error(self) -> DataError:
        """The error that `Stop` raises."""
        cure = f"{self.cure}, or " if self.cure else ""
        message = (
            f"{self.file}, {self.unit} {self.line}: {self.reason}; correct the row, {cure}leave such rows out with "
            "on_bad_rows=Skip() or Quarantine(path) (--on-bad-rows skip|quarantine FILE)"
        )
        return PoisonError(message) if self.poison else SourceError(message)


class Ledger(Protocol):
    """Takes note of refused rows."""

    def note(self, rows: Sequence[Refused], /) -> None: ...

    def length(self) -> int:
        """Bytes of the quarantine file so far, all of them durable; 0 where there is none."""
        ...

    def close(self) -> None: ...


def breaks(policy: BadRows, refused: int, read: int, /) -> bool:
    """Whether so many refused rows of all that were read are more than a policy bears."""
    most = None if isinstance(policy, Stop) else policy.most
    return most is not None and read >= _ENOUGH and refused > most * read


def open_ledger(policy: BadRows, /, *, length: int | None) -> Ledger:
    """What takes note of refused rows, standing where `length` bytes were written (None: at the beginning)."""
    return _File(Path(policy.path), length) if isinstance(policy, Quarantine) else _Nothing()


@final
class _Nothing:
    def note(self, rows: Sequence[Refused], /) -> None:
        pass

    def length(self) -> int:
        return 0

    def close(self) -> None:
        pass


@final
class _File:
    def __init__(self, path: Path, length: int | None) -> None:
        self._path = path
        if length is None:
            self._check_ours()
        try:
            self._file = path.open("wb" if length is None else "ab")
            size = os.fstat(self._file.fileno()).st_size
            if length is not None and size >= length:
                self._file.truncate(length)
        except OSError as error:
            raise self._unwritable(error) from error
        if length is not None and size < length:
            self._file.close()
            raise SourceError(
                f"the quarantine file {path} has {size} bytes, fewer than the {length} there were when the position "
                "was taken; put the old file back, or start anew"
            )
        self._length = 0 if length is None else length
        self._durable = True

    def note(self, rows: Sequence[Refused], /) -> None:
        if not rows:
            return
        lines = "".join(
            json.dumps(
                {"reason": row.reason, "file": row.file, row.unit: row.line, "text": row.text}, ensure_ascii=False
            )
            + "\n"
            for row in rows
        )
        data = lines.encode("utf-8", errors="backslashreplace")
        try:
            self._file.write(data)
        except OSError as error:
            raise self._unwritable(error) from error
        self._length += len(data)
        self._durable = False

    def length(self) -> int:
        if not self._durable:
            try:
                self._file.flush()
                os.fsync(self._file.fileno())
            except OSError as error:
                raise self._unwritable(error) from error
            self._durable = True
        return self._length

    def close(self) -> None:
        try:
            self._file.close()
        except OSError as error:
            raise self._unwritable(error) from error

    def _check_ours(self) -> None:
        """Refuse to overwrite a file that is not a quarantine file: a slip of the hand must not cost data."""
        if not self._path.is_file():
            return
        with self._path.open("rb") as file:
            first = file.readline(1 << 20)
        if first and not first.startswith(b'{"reason": "'):
            raise SettingError(
                f"the quarantine file {self._path} exists and is not one; name a file that may be overwritten"
            )

    def _unwritable(self, error: OSError) -> SourceError:
        return SourceError(
            f"cannot write the quarantine file {self._path}: {error.strerror or error}; "
            "free some space or choose another file"
        )


def _check_most(most: float | None, part: str) -> None:
    if most is not None and not 0 <= most < 1:
        raise SettingError(f"{part} got most={most}; expected a share of at least 0 and below 1, or None")
