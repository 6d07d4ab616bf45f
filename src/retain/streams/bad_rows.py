"""What to do with rows that cannot be read: `Stop`, `Skip` or `Quarantine`.

However it is decided, rows accepted + rows refused = rows read, exactly, and stopping, killing and resuming at any
block changes neither count nor doubles a line of the quarantine file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TypeAlias, final

from retain.errors import DataError, PoisonError, SettingError, SourceError

__all__ = ["BadRows", "Quarantine", "Refused", "Skip", "Stop", "breaks"]

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
    """A bad row is counted, left out and kept in a file, one JSON object a line.

    That is: reason, file, line (or row), its number among all bad rows, raw text. The file is started anew when the
    stream is read from its beginning, and cut back to where it was when the stream is read from a position. Mend the
    texts in it, and `replay` makes rows of them.

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


def breaks(policy: BadRows, refused: int, read: int, /) -> bool:
    """Whether so many refused rows of all that were read are more than a policy bears."""
    most = None if isinstance(policy, Stop) else policy.most
    return most is not None and read >= _ENOUGH and refused > most * read


def _check_most(most: float | None, part: str) -> None:
    if most is not None and not 0 <= most < 1:
        raise SettingError(f"{part} got most={most}; expected a share of at least 0 and below 1, or None")
