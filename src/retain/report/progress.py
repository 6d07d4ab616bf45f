"""Progress of a run in the terminal or a notebook: a bar, rows per second and the first metric."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, final

from retain.core import Report
from retain.errors import SettingError
from retain.report.words import shown, title

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

__all__ = ["Progress"]

_STARTING = "[dim]starting (the first run on a machine compiles its loops, for half a minute)"


@final
class Progress:
    """Shows how far a run has come; quiet where nobody watches.

    Args:
        total_rows: how many rows there will be; None where nobody knows.
        quiet: show nothing, even where somebody might watch.
        console: where to; by default standard error, if that is a terminal or a notebook.

    >>> from retain.core import Report
    >>> with Progress(total_rows=10) as progress:
    ...     progress.update(Report(5, 5, 0, 0, 0, seconds=0.1, cpu_seconds=0.1, metrics={"accuracy": 0.8}))
    ...     progress.line
    'accuracy 0.8000'
    """

    def __init__(self, *, total_rows: int | None = None, quiet: bool = False, console: Console | None = None) -> None:
        if total_rows is not None and total_rows < 0:
            raise SettingError(f"total_rows={total_rows}; expected a number >= 0, or None where nobody knows")
        self.line = ""
        self._total = total_rows
        self._quiet = quiet
        self._console = console
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._first: tuple[int, float] | None = None  # rows and clock at the first report: a resumed run starts late

    def __enter__(self) -> Progress:
        if not self._quiet:
            self._bar = _bar(self._console, known=self._total is not None)
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("", total=self._total, line=_STARTING, speed="")
        return self

    def update(self, report: Report, /) -> None:
        """Show where the run stands now."""
        now = time.perf_counter()
        name = next(iter(report.metrics), None)
        self.line = "" if name is None else f"{title(name)} {shown(report.metrics[name])}"
        if self._bar is None or self._task is None:
            return
        if self._first is None:
            self._first = report.rows, now
        rows, then = self._first
        speed = f"{(report.rows - rows) / (now - then):,.0f} rows/s" if now - then > 0.2 else ""
        self._bar.update(self._task, completed=report.rows, line=self.line, speed=speed)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _bar(console: Console | None, *, known: bool) -> Bar | None:
    """The bar, or None where nobody watches."""
    if console is None and not _may_be_watched():
        return None
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        ProgressColumn,
        SpinnerColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar

    if console is None:
        console = Console(stderr=True)
    if not (console.is_terminal or console.is_jupyter):
        return None
    rows = TextColumn("{task.completed:,.0f} rows")
    ends: list[ProgressColumn] = [BarColumn(bar_width=24), TaskProgressColumn()] if known else [SpinnerColumn()]
    clocks: list[ProgressColumn] = [TimeElapsedColumn(), *([TimeRemainingColumn()] if known else [])]
    texts = [TextColumn("[dim]{task.fields[speed]}"), TextColumn("[bold]{task.fields[line]}")]
    return Bar(*ends, rows, *texts, *clocks, console=console, transient=True, refresh_per_second=8)


def _may_be_watched() -> bool:
    """Whether standard error may be a terminal or a notebook; rich knows for sure, but takes 0.1 s to import."""
    return "ipykernel" in sys.modules or (sys.stderr is not None and sys.stderr.isatty())  # pyright: ignore[reportUnnecessaryComparison] - None without a console
