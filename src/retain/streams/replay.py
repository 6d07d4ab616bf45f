"""Rows that were mended in a quarantine file, or can be read by now, as a file of their own that a run goes on with."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any, BinaryIO

from retain import state as states
from retain.errors import SettingError, SourceError, StateError
from retain.streams.quarantine import Mark, check_ours, entries, line_of, owned
from retain.streams.tabular import Tabular

__all__ = ["Replayed", "replay"]

_AT_ONCE = 10_000  # rows that are read together
_NO_TEXT = re.compile(r"\\x[0-9a-f]{2}")  # how bytes that are not UTF-8 are spelt


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of a replay."""

    mended: int  # rows that are good now
    bad: dict[str, int]  # why others are bad still, and how many for each reason
    into: Path | None  # the file of the mended rows; None where there are none
    finished: bool = False  # whether nothing was done but to finish a replay that had been killed


def replay(quarantine: str | os.PathLike[str], source: Tabular, /, *, into: str | os.PathLike[str]) -> Replayed:
    r"""Read the rows of a quarantine file again; those that are good now leave it for a file of their own.

    Mend their texts in the quarantine file first, or read the source with other options, such as `missing`. Each row is
    read as one of the source's, with its columns and their kinds. It goes into the new file as it stands, but what
    stands for a missing value is left out. What is bad still stays in the quarantine file, with its new reason.

    The new file is fed to the same run by giving it as the last of the source's files. Kill this function at any
    instant and call it again: no row is lost, and none is there twice.

    Args:
        quarantine: the file of a `Quarantine`; no run may be writing it.
        source: what the rows were refused by: `csv(...)` or `jsonl(...)`, with the options of then or better ones.
        into: the file for the mended rows; it must not be there yet.

    Raises:
        SettingError: `into` is there, `quarantine` is no such file, or rows of the source are no text.
        SourceError: a file cannot be read or written, is in use, or a line of the quarantine file is no row.
        StateError: another file is where a killed replay was about to put the mended rows.

    >>> import tempfile, pathlib, retain as rt
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "1.csv").write_text("amount,fraud\n" + "1,no\n2,yes\n" * 9 + "3 EUR,yes\n")
    >>> bad = folder / "bad.jsonl"
    >>> source = rt.streams.csv(folder / "*.csv", target="fraud", on_bad_rows=rt.streams.Quarantine(bad))
    >>> sum(len(batch) for batch in source)
    18
    >>> _ = bad.write_text(bad.read_text().replace("3 EUR", "3"))
    >>> rt.streams.replay(bad, source, into=folder / "2.csv").mended
    1
    >>> (folder / "2.csv").read_text()
    'amount,fraud\n3,yes\n'
    """
    path, into = Path(quarantine), Path(into).absolute()
    if not path.is_file():
        raise SourceError(f"there is no quarantine file {path}; check the path")
    check_ours(path)
    try:
        with owned(path, alone=True) as file:
            mark = Mark.of(path)
            if mark is not None and not mark.done:
                return _finish(path, mark, killed=True)
            if into.exists():
                raise SettingError(f"{into} is there already; name a new file, for its rows may have been learnt")
            return _finish(path, _sort(path, file, source, into, after=0 if mark is None else mark.number))
    except OSError as error:
        raise SourceError(
            f"cannot replay {path} into {into}: {error.strerror or error}; free some space or choose another file, and "
            "replay again"
        ) from error


def _sort(path: Path, file: BinaryIO, source: Tabular, into: Path, *, after: int) -> Mark:
    """Write the rows that are good and those that are not beside where they belong, then the mark that says so."""
    file.seek(0)
    number, mended, bad = after, 0, Counter[str]()
    with _whole(_part(into)) as good, _whole(_part(path)) as left:
        good.write(source.header())
        for entry, said in _judged(entries(file, str(path)), source):
            number = max(number, entry.get("number", 0))
            if isinstance(said, bytes):
                good.write(said)
                mended += 1
            else:
                left.write(line_of({**entry, "reason": said}))
                bad[said] += 1
    if not mended:
        _part(into).unlink()
    states.sync_folder(into.parent)
    mark = Mark(number, mended, dict(bad), str(into), done=False)
    mark.write(path)
    return mark


@contextmanager
def _whole(path: Path) -> Generator[BinaryIO]:
    """A new file, on the disk at the end of the block; none where that fails."""
    try:
        with path.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _judged(rows: Iterable[dict[str, Any]], source: Tabular) -> Iterator[tuple[dict[str, Any], bytes | str]]:
    """Each row in quarantine with its line, or with why it is bad still."""
    for file, same in groupby(rows, key=lambda entry: str(entry.get("file", ""))):
        while some := list(islice(same, _AT_ONCE)):
            for entry, said in zip(some, source.retry([entry["text"] for entry in some], file=file), strict=True):
                # Read by itself, the spelling of bytes that are no text would be a text.
                spelt = "not UTF-8" in entry["reason"] and _NO_TEXT.search(entry["text"])
                yield entry, entry["reason"] if spelt else said


def _finish(path: Path, mark: Mark, *, killed: bool = False) -> Replayed:
    """Put in its place what a mark says was written. May be killed, and done again."""
    into = Path(mark.into)
    if mark.mended and into.exists() == _part(into).exists():
        raise StateError(
            f"a replay was killed while it put {mark.mended} mended rows from {_part(into)} into {into}; expected one "
            "of these files: " + ("move the second away" if into.exists() else "put it back")
        )
    if _part(into).exists():
        _part(into).replace(into)
        states.sync_folder(into.parent)
    if _part(path).exists():
        _part(path).replace(path)
        states.sync_folder(path.parent)
    Mark(mark.number, mark.mended, mark.bad, mark.into, done=True).write(path)
    return Replayed(mark.mended, dict(mark.bad), into if mark.mended else None, finished=killed)


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")
