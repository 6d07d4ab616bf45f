"""A run as lines of JSON, for whoever runs it as a service: its start, reports, deeds of rules, events, and its end."""

from __future__ import annotations

import json
import math
import os
import stat
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, cast, final

import numpy as np

from retain.core import Deed, Report
from retain.errors import SettingError

__all__ = ["Journal"]


@final
class Journal:
    """Appends to a file one JSON object a line, as things happen; one file tells of all lives of a service.

    Each line has `at` (wall clock, ISO 8601, UTC) and `what`:

    - `start`: `version`, `settings`
    - `report`: `rows`, `time` (of the last row), `learnt`, `pending`, `lost`, `strays`, `quarantined`, `metrics`,
      `seconds`
    - `deed`: `rows`, `time`, `rule`, `did` (fired, promoted, refused ...), `why`, `evidence`, `seconds`
    - `event`: `rows`, `text`
    - `end`: `how` (finished, stopped, failed, hung), `rows`; of a stop `by`, of a failure `error`, and `message`

    What is not a finite number is null. Lines that cannot be written, on a full disk, are left out and their number is
    told by an event as soon as it can be: a service does not die of its log.

    Args:
        path: of the file; it may be a device, such as /dev/stdout. A last line that was torn by a kill is ended first.
        settings: what the start is to say of the run.
        apart: seconds between two reports, at least; deeds and events are always told.

    >>> import tempfile, pathlib, retain as rt
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "run.jsonl"
    >>> x = np.arange(2_000.0).reshape(-1, 1)
    >>> with Journal(path, settings={"who": "me"}) as journal:
    ...     for report in rt.Prequential(rt.streams.arrays(x, 2 * x[:, 0]), rt.RLS()):
    ...         journal.add(report)
    >>> lines = [json.loads(line) for line in path.read_text().splitlines()]
    >>> [(line["what"], line.get("rows")) for line in lines]
    [('start', None), ('report', 32), ('report', 2000), ('end', 2000)]
    """

    def __init__(
        self, path: str | os.PathLike[str], /, *, settings: Mapping[str, Any] | None = None, apart: float = 1.0
    ) -> None:
        self._path, self._settings, self._apart = Path(path), dict(settings or {}), apart
        try:
            self._whole = _ends_whole(self._path)
            self._file = self._path.open("ab", buffering=0)
        except OSError as error:
            raise SettingError(
                f"cannot write the log {path}: {error.strerror or error}; name a file in a folder that can be written"
            ) from error
        self._told = -math.inf  # when the last report was written
        self._held: Report | None = None  # the latest report, where it was not
        self._rows: int | None = None
        self._stopped = ""
        self._missed, self._why = 0, ""

    def __enter__(self) -> Journal:
        self._write("start", {"version": version("retain"), "settings": self._settings})
        return self

    def add(self, report: Report, /) -> None:
        """Tell of a report, and of all that it says was done or has happened."""
        self._rows = report.rows
        for text in report.events:
            self._write("event", {"rows": report.rows, "text": text})
        for deed in report.deeds:
            self._write("deed", _of_deed(deed))
        now = time.monotonic()
        if now - self._told < self._apart:
            self._held = report
        else:
            self._write("report", _of_report(report))
            self._told, self._held = now, None

    def stop(self, by: str, /) -> None:
        """The end, when it comes, is not that of the stream: somebody stopped the run."""
        self._stopped = by

    def hang(self, message: str, /) -> None:
        """The run hangs, and its process is about to end."""
        self._write("end", {"how": "hung", "message": message, "rows": self._rows})

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if self._held is not None:
            self._write("report", _of_report(self._held))
        if error is not None:
            about = {"how": "failed", "error": type(error).__name__, "message": str(error)}
        else:
            about = {"how": "stopped", "by": self._stopped} if self._stopped else {"how": "finished"}
        self._write("end", {**about, "rows": self._rows})
        self._file.close()

    def _write(self, what: str, about: Mapping[str, Any]) -> None:
        if self._missed and self._append("event", {"rows": self._rows, "text": self._left_out()}):
            self._missed = 0
        if not self._append(what, about):
            self._missed += 1

    def _append(self, what: str, about: Mapping[str, Any]) -> bool:
        """Write a line at once; whether it is there."""
        at = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        line = json.dumps(_plain({"at": at, "what": what, **about}), ensure_ascii=False, allow_nan=False)
        data = (b"" if self._whole else b"\n") + line.encode(errors="backslashreplace") + b"\n"
        try:
            written = self._file.write(data)
        except OSError as error:
            self._why = error.strerror or str(error)
            return False
        self._whole = written == len(data)
        return self._whole

    def _left_out(self) -> str:
        return f"{self._missed:,} lines of this log could not be written" + (f": {self._why}" if self._why else "")


def _of_report(report: Report) -> dict[str, Any]:
    names = ("rows", "time", "learnt", "pending", "lost", "strays", "quarantined", "metrics", "seconds")
    return {name: getattr(report, name) for name in names}


def _of_deed(deed: Deed) -> dict[str, Any]:
    about = {"rows": deed.rows, "time": deed.time, "rule": deed.rule, "did": deed.what, "why": deed.why}
    return {**about, "evidence": deed.evidence, "seconds": deed.seconds}


def _plain(value: Any) -> Any:
    """As JSON has it: what is not a finite number is null, what JSON does not know is spelt."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in cast("Sequence[Any]", value)]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def _ends_whole(path: Path) -> bool:
    """Whether the last line of a file, if there is one, was not torn."""
    if not path.exists() or not stat.S_ISREG(path.stat().st_mode) or not path.stat().st_size:
        return True
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"
