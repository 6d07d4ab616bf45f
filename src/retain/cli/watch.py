"""How a run goes, as typed, and who looks on while it does."""

from __future__ import annotations

import signal
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from retain.cli.outputs import check_report
from retain.cli.source import seconds_of
from retain.cli.watchdog import Watchdog
from retain.core import Report
from retain.errors import SettingError
from retain.report import Journal

__all__ = ["How", "Watch", "watched"]


@dataclass(frozen=True, slots=True)
class How:
    """How a run goes, whatever it learns from."""

    limit: int | None = None
    state: Path | None = None
    resume: bool = False
    report: Path | None = None
    as_json: bool = False
    log: Path | None = None
    watchdog: str | None = None

    def __post_init__(self) -> None:
        if self.resume and self.state is None:
            raise SettingError("--resume needs --state DIR, the folder to resume from")
        check_report(self.report)
        if self.watchdog is not None and not seconds_of(self.watchdog):
            raise SettingError(f"--watchdog {self.watchdog} makes no sense; expected a time span: 90s, 15m or 2h")


@final
class Watch:
    """Hears of every report of a run, and of who stopped it."""

    def __init__(self, journal: Journal | None, watchdog: Watchdog | None) -> None:
        self._journal, self._watchdog = journal, watchdog

    def add(self, report: Report, /) -> None:
        """A report has come."""
        if self._watchdog is not None:
            self._watchdog.hear()
        if self._journal is not None:
            self._journal.add(report)

    def stop(self, number: int, /) -> None:
        """A signal has stopped the run."""
        if self._journal is not None:
            self._journal.stop(signal.Signals(number).name)


@contextmanager
def watched(how: How, settings: Mapping[str, Any], /) -> Generator[Watch]:
    """Look on from here to the end of the block; `settings` are those of the run besides how it goes."""
    asked = {**settings, "limit": how.limit, "state": how.state, "resume": how.resume}
    given = {name: value for name, value in asked.items() if value not in (None, False, (), [])}
    with ExitStack() as stack:
        journal = None if how.log is None else stack.enter_context(Journal(how.log, settings=given))
        watchdog = None
        if how.watchdog is not None:
            told = (lambda _: None) if journal is None else journal.hang
            watchdog = stack.enter_context(Watchdog(seconds_of(how.watchdog) or 0.0, last_word=told))
        yield Watch(journal, watchdog)
