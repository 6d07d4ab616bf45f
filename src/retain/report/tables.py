"""A run as a table in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retain.report.log import MODEL, Log
from retain.report.words import best, duration, shown, title

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["counts", "measures", "table"]


def measures(log: Log, /) -> dict[str, dict[str, float]]:
    """The latest value of every metric, of the model and of each baseline: {metric: {who: value}}."""
    if log.last is None:
        return {}
    everyone = {MODEL: log.last.metrics, **log.last.baselines}
    nan = float("nan")
    return {name: {who: values.get(name, nan) for who, values in everyone.items()} for name in log.curve().metrics()}


def counts(log: Log, /) -> dict[str, str]:
    """How many rows did what, and how fast, as it is to be read."""
    report = log.last
    if report is None:
        return {}
    found = {"rows": f"{report.rows:,}", "learnt": f"{report.learnt:,}"}
    if report.pending:
        found["waiting for labels"] = f"{report.pending:,}"
    if report.lost:
        found["labels lost"] = f"{report.lost:,}"
    if report.strays:
        found["labels of nobody"] = f"{report.strays:,}"
    if report.quarantined:
        found["quarantined"] = f"{report.quarantined:,}"
    for what in ("promoted", "refused", "returned"):
        if what in log.deeds:
            found[what] = f"{log.deeds[what]:,}"
    found["time"] = duration(report.seconds)
    found["CPU time"] = duration(report.cpu_seconds)
    if report.seconds > 0:
        found["rows per second"] = f"{report.rows / report.seconds:,.0f}"
    return found


def table(log: Log, /) -> RenderableType:
    """The metrics of the model beside those of the baselines, and what the run took: print it with rich.

    >>> from rich.console import Console
    >>> from retain.core import Report
    >>> log = Log()
    >>> values = {"metrics": {"mae": 0.5}, "baselines": {"no_change": {"mae": 0.7}, "prior": {"mae": 0.9}}}
    >>> log.add(Report(10, 10, 0, 0, 0, seconds=0.5, cpu_seconds=0.5, **values))
    >>> Console(width=60).print(table(log))
             model   no-change    prior
    ───────────────────────────────────
    MAE   ✓ 0.5000      0.7000   0.9000
    <BLANKLINE>
    10 rows · 10 learnt · 500 ms · 500 ms CPU · 20 rows/s
    """
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    if log.last is None:
        return Text("nothing has been reported yet")
    values = measures(log)
    who = [MODEL, *log.last.baselines]
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    grid.add_column("")
    for name in who:
        grid.add_column(title(name), justify="right", header_style="bold" if name == MODEL else "dim")
    for metric, row in values.items():
        leader = best(metric, row) if len(row) > 1 else None
        cells = [Text(title(metric))]
        for name in who:
            mark = "✓ " if name == leader else ""
            style = ("bold green" if name == leader else "bold") if name == MODEL else ("yellow" if mark else "dim")
            cells.append(Text(mark + shown(row[name]), style=style))
        grid.add_row(*cells)
    parts: list[RenderableType] = [grid, Text(""), Text(_line(counts(log)), style="dim")]
    # What was refused changed nothing; it is counted above, and told where there is nothing else to tell.
    telling = [event for event in log.events if event.what not in ("refused", "set aside", "fired")] or log.events
    parts += [Text(f"{event.rows:,}: {event.text}", style="dim") for event in telling[-5:]]
    return Group(*parts)


def _line(found: dict[str, str]) -> str:
    """The counts in one line: "10 rows · 10 learnt · ..."."""
    units = {"time": "", "CPU time": "CPU", "rows per second": "rows/s"}
    return " · ".join(f"{value} {units.get(name, name)}".strip() for name, value in found.items())
