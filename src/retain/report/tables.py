"""A run as a table in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, final

from retain.report.log import MODEL, Log
from retain.report.words import best, duration, shown, title

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

__all__ = ["Line", "counts", "measures", "table"]

_KEEP = "\u00a0"  # at which `textwrap` breaks no line; rich would


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
        found["could not be read"] = f"{report.quarantined:,}"
    for what in ("promoted", "refused", "returned"):
        if what in log.deeds:
            who = ("version" if what == "returned" else "candidate") + "s" * (log.deeds[what] > 1)
            found[f"{who} {what}"] = f"{log.deeds[what]:,}"
    found["time"] = duration(report.seconds)
    found["CPU time"] = duration(report.cpu_seconds)
    if report.seconds > 0:
        found["rows per second"] = f"{report.rows / report.seconds:,.0f}"
    return found


@final
class Line:
    """What is told in one line, "10 rows · 10 learnt · ...", or in several, none of which ends within a unit."""

    def __init__(self, told: Sequence[str], /) -> None:
        self._told = told

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        whole = f"{_KEEP}· ".join(one.replace(" ", _KEEP) for one in self._told)
        for line in wrap(whole, options.max_width):
            yield Text(line.replace(_KEEP, " "), style="dim", no_wrap=True)


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
    units = {"time": "", "CPU time": "CPU", "rows per second": "rows/s"}
    told = [f"{value} {units.get(name, name)}".strip() for name, value in counts(log).items()]
    parts: list[RenderableType] = [grid, Text(""), Line(told)]
    # What was refused changed nothing; it is counted above, and told where there is nothing else to tell.
    events = [event for event in log.events if event.what != "fired"]
    telling = [event for event in events if event.what not in ("refused", "set aside")] or events
    parts += [Text("the latest five:", style="dim")] if len(telling) > 5 else []
    parts += [Text(f"{event.rows:,}: {event.text}", style="dim") for event in telling[-5:]]
    for rule, (count, last) in log.fired.items():
        parts.append(Text(f"{rule}: fired {count:,} time{'s' * (count > 1)}, last at row {last:,}", style="yellow"))
    return Group(*parts)
