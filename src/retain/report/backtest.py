"""What several sets of rules would have done on the same past rows: accuracy over time beside what it cost.

Shapes: p points of a curve, w rows of a window.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from retain.core import Deed, Floats, Report
from retain.errors import SettingError
from retain.report.page import STYLE, figure, soft, svg, write_page
from retain.report.plots import BLUE, GRID, INK, canvas, dress, label_ends
from retain.report.words import duration, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.console import RenderableType

__all__ = ["Backtest", "Trace", "figures", "fragment", "table", "write_backtest"]

_POINTS = 512
_COLOURS = (BLUE, "#d9822b", "#8d7bc2", "#2e8b57", "#c0392b", "#7f6a55", "#5b6470", "#b8860b")
_UPDATES = ("promoted", "returned")


@final
class Trace:
    """Folds the reports of one pipeline into what a comparison shows of it.

    Args:
        window: w, rows over which the recent loss is taken; the worst window is that with the greatest mean loss among
            all w rows in a row.

    >>> trace = Trace(window=2)
    >>> counts = dict(learnt=4, pending=0, lost=0, quarantined=0, seconds=0.1, cpu_seconds=0.1)
    >>> trace.add(Report(rows=4, **counts, y=np.zeros(4, int), loss=np.array([0.0, 1.0, 1.0, 0.0])))
    >>> trace.accuracy, trace.worst
    (0.5, 0.0)
    """

    def __init__(self, *, window: int = 2_000) -> None:
        if window < 1:
            raise SettingError(f"window={window}; expected at least one row")
        self.window = window
        self.classes = True  # whether a loss is an error, or else a distance
        self.deeds: list[Deed] = []
        self.last: Report | None = None
        self._sum, self._count, self._worst = 0.0, 0, -math.inf
        self._tail: Floats = np.empty(0)
        self._points: list[tuple[float, float, float]] = []  # rows, recent loss, CPU-seconds
        self._stride, self._reports = 1, 0

    def add(self, report: Report, /) -> None:
        """Take in the next report."""
        self.last = report
        self.deeds += report.deeds
        self._reports += 1
        if report.loss is not None and report.y is not None and len(report.loss):
            self.classes = report.y.dtype.kind in "iub"
            self._sum += float(report.loss.sum())
            self._count += len(report.loss)
            losses = np.concatenate([self._tail, report.loss])
            if len(losses) >= self.window:
                sums = np.concatenate([[0.0], np.cumsum(losses)])
                means = (sums[self.window :] - sums[: -self.window]) / self.window
                self._worst = max(self._worst, float(means.max()))
            self._tail = losses[max(len(losses) - self.window + 1, 0) :]
        if self._reports % self._stride == 0 and len(self._tail):
            self._points.append((float(report.rows), float(self._tail.mean()), report.cpu_seconds))
            if len(self._points) == _POINTS:
                del self._points[::2]
                self._stride *= 2

    @property
    def loss(self) -> float:
        """Mean loss of all rows: the share of errors, or the mean absolute error."""
        return self._sum / self._count if self._count else math.nan

    @property
    def accuracy(self) -> float:
        """The share of rows answered right; of numbers, minus the mean absolute error: more is better."""
        return 1 - self.loss if self.classes else -self.loss

    @property
    def worst(self) -> float:
        """As `accuracy`, of the worst window; NaN where there were fewer rows."""
        if not math.isfinite(self._worst):
            return math.nan
        return 1 - self._worst if self.classes else -self._worst

    @property
    def cpu_seconds(self) -> float:
        """What the run took: answering, learning, teaching candidates, judging them."""
        return self.last.cpu_seconds if self.last is not None else math.nan

    def count(self, *whats: str) -> int:
        """How many deeds of some kinds there were."""
        return sum(deed.what in whats for deed in self.deeds)

    def curve(self) -> tuple[Floats, Floats, Floats]:
        """Rows, recent accuracy and CPU-seconds so far, (p,) each."""
        points = np.array(self._points).reshape(-1, 3)
        return points[:, 0], (1 - points[:, 1]) if self.classes else -points[:, 1], points[:, 2]

    def numbers(self) -> dict[str, float | int]:
        """The row of a table."""
        return {
            ("accuracy" if self.classes else "mae"): self.accuracy if self.classes else self.loss,
            ("worst_accuracy" if self.classes else "worst_mae"): self.worst if self.classes else -self.worst,
            "cpu_seconds": self.cpu_seconds,
            "updates": self.count(*_UPDATES),
            "refused": self.count("refused"),
            "candidates": 0 if self.last is None else self.last.actions,
            "action_seconds": 0.0 if self.last is None else self.last.action_seconds,
        }


@final
@dataclass(frozen=True, slots=True)
class Backtest:
    """Traces of several pipelines over the same rows, by name. Shows itself in a notebook."""

    traces: Mapping[str, Trace]

    @property
    def best(self) -> list[str]:
        """Those that no other beats in accuracy at no more cost: the Pareto front, cheapest first."""
        order = sorted(self.traces, key=lambda name: (self.traces[name].cpu_seconds, -self.traces[name].accuracy))
        front: list[str] = []
        for name in order:
            if not front or self.traces[name].accuracy > self.traces[front[-1]].accuracy:
                front.append(name)
        return front

    def numbers(self) -> dict[str, dict[str, Any]]:
        """All that the table shows, and every deed, as plain data."""
        return {
            name: {
                **trace.numbers(),
                "on_front": name in self.best,
                "deeds": [[deed.rows, deed.rule, deed.what, deed.why] for deed in trace.deeds],
            }
            for name, trace in self.traces.items()
        }

    def _repr_html_(self) -> str:
        return fragment(self)


def table(result: Backtest, /) -> RenderableType:
    """The comparison: print it with rich."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    grid.add_column("", no_wrap=True, overflow="fold")
    for name in _header(result):
        grid.add_column(name, justify="right")
    for name, (score, *cells) in _cells(result).items():
        best = name in result.best
        style = "bold" if best else ""
        grid.add_row(*(Text(cell, style=style) for cell in (name, "✓ " * best + score, *cells)))
    note = "✓: no other is as good for less (CPU time: answering, learning, teaching and judging candidates)"
    return Group(grid, Text(""), Text(note, style="dim"))


def figures(result: Backtest, /, *, of: str = "") -> dict[str, Figure]:
    """`time`, recent accuracy over the rows, updates marked; `cost`, accuracy against the seconds that it took.

    Their titles say what they are `of`, a stream by name, where nothing around them does.
    """
    of = f"{of}: " * bool(of)
    return {"time": _over_time(result, of), "cost": _against_cost(result, of)}


def fragment(result: Backtest, /, *, title: str | None = None) -> str:
    """The comparison as a piece of HTML, for a page or a notebook."""
    labels = {"time": "recent accuracy over time", "cost": "accuracy against CPU-seconds"}
    drawn = {name: svg(plot, name, label=labels[name]) for name, plot in figures(result).items()}
    head = f"<style>{STYLE}</style>" + (f"<h1>{escape(title)}</h1>" if title else "")
    cells = "".join(
        f"<tr><td{' class=top' * (name in result.best)}>{escape(name)}</td>"
        + "".join(f"<td{' class=top' * (name in result.best)}>{cell}</td>" for cell in row)
        + "</tr>"
        for name, row in _cells(result).items()
    )
    columns = "".join(f"<th>{name}</th>" for name in _header(result))
    parts = [
        head,
        soft("The same past rows, the same learner; what each set of rules would have done."),
        figure(drawn["time"], kind="wide"),
        figure(drawn["cost"], kind="wide"),
        f"<table><thead><tr><th></th>{columns}</tr></thead><tbody>{cells}</tbody></table>",
        soft("Bold: no other is as good for less."),
        *(_decisions(name, trace) for name, trace in result.traces.items() if trace.deeds),
    ]
    return f'<div class="retain">{"".join(parts)}</div>'


def write_backtest(result: Backtest, path: str | os.PathLike[str], /, *, title: str = "Backtest") -> Path:
    """Write the comparison as one self-contained HTML file, whole or not at all; return its path.

    Raises SettingError where the file cannot be written; what was there before stays as it was.
    """
    return write_page(path, fragment(result, title=title), title=title)


def _header(result: Backtest) -> list[str]:
    first = next(iter(result.traces.values()))
    kind = "accuracy" if first.classes else "MAE"
    return [kind, f"worst {first.window:,} rows", "CPU time", "updates", "refused", "candidates"]


def _cells(result: Backtest) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, trace in result.traces.items():
        score, worst, seconds, updates, refused, candidates, _ = trace.numbers().values()
        found[name] = [shown(score), shown(worst), duration(seconds), str(updates), str(refused), str(candidates)]
    return found


def _decisions(name: str, trace: Trace) -> str:
    deeds = [deed for deed in trace.deeds if deed.what != "fired" or deed.why]
    rows = "".join(f"<tr><td>{deed.rows:,}</td><td class=text>{escape(str(deed))}</td></tr>" for deed in deeds[-100:])
    kept = f" (latest 100 of {len(deeds):,})" if len(deeds) > 100 else ""
    head = "<thead><tr><th>after rows</th><th class=text>what</th></tr></thead>"
    said = f"{escape(name)}: {len(deeds):,} decisions{kept}"
    return f"<details><summary>{said}</summary><table>{head}{rows}</table></details>"


def _over_time(result: Backtest, of: str) -> Figure:
    drawing = canvas(8.4, 3.7)
    axes = drawing.subplots()
    count = len(result.traces)
    widths = np.linspace(2.4, 1.2, count)  # of lines that lie on each other the lower one is seen too
    ends: list[tuple[float, str, str]] = []
    for i, ((name, trace), colour) in enumerate(zip(result.traces.items(), _cycle(count), strict=True)):
        rows, recent, _ = trace.curve()
        dashes = (0, (4, 2)) if i % 2 else "-"
        axes.plot(rows, recent, color=colour, linewidth=widths[i], linestyle=dashes)
        if len(recent):
            ends.append((float(recent[-1]), name, colour))
        for deed in trace.deeds:
            if deed.what in _UPDATES and len(rows) and trace.count(*_UPDATES) <= 60:
                axes.plot(deed.rows, np.interp(deed.rows, rows, recent), "o", color=colour, markersize=3.6)
    first = next(iter(result.traces.values()))
    dress(axes)
    axes.set(xlabel="rows")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    label_ends(axes, ends)
    said = "accuracy" if first.classes else "minus the mean absolute error"
    title = f"{of}{said} of the last {first.window:,} rows; dots: updates"
    axes.set_title(title[0].upper() + title[1:], loc="left", fontsize=10.5, color=INK)
    return drawing


def _against_cost(result: Backtest, of: str) -> Figure:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    drawing = canvas(8.4, 3.4)
    axes = drawing.subplots()
    found = [(trace.cpu_seconds, trace.accuracy, name) for name, trace in result.traces.items()]
    front = sorted((cost, score) for cost, score, name in found if name in result.best)
    axes.plot(*zip(*front, strict=True), color=GRID, linewidth=1.0, linestyle=(0, (3, 2)), zorder=1)
    for (cost, score, _), colour in zip(found, _cycle(len(found)), strict=True):
        axes.plot(cost, score, "o", color=colour, markersize=6)
    costs, scores = [cost for cost, _, _ in found], [score for _, score, _ in found]
    log = max(costs) > 8 * min(costs)
    if log:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.margins(x=0.18, y=0.2)
    first = next(iter(result.traces.values()))
    middle = (max(scores) + min(scores)) / 2
    least = 0.02 if first.classes else 0.05 * abs(middle)  # what is less apart should look so
    if max(scores) - min(scores) < least:
        axes.set_ylim(middle - 0.7 * least, middle + 0.7 * least)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: duration(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    dress(axes)
    axes.set(xlabel="CPU time (logarithmic)" if log else "CPU time")
    _name_points(axes, found)
    said = "accuracy of all rows" if first.classes else "minus the mean absolute error of all rows"
    dashes = "; dashes: nothing is better for less" if len(front) > 1 else ""
    title = f"{of}{said}, against what it took{dashes}"
    axes.set_title(title[0].upper() + title[1:], loc="left", fontsize=10.5, color=INK)
    return drawing


def _name_points(axes: Axes, found: list[tuple[float, float, str]]) -> None:
    """A name beside each point, at the first of four places where it covers neither a point nor another name."""
    size = np.array([540.0, 180.0])  # of the axes, about, in points of print
    to_axes = axes.transScale + axes.transLimits
    at = [size * to_axes.transform((cost, score)) for cost, score, _ in found]
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in at]
    for (x, y), (cost, score, name) in zip(at, found, strict=True):
        wide, high = 5.0 * len(name), 10.0
        places = [(7, 5), (7, -12), (-7 - wide, 5), (-7 - wide, -12)]
        boxes = [(x + dx, y + dy, x + dx + wide, y + dy + high) for dx, dy in places]
        free = [i for i, box in enumerate(boxes) if not any(_meet(box, other) for other in taken)]
        i = free[0] if free else 0
        taken.append(boxes[i])
        dx, dy = places[i]
        side = "left" if dx > 0 else "right"
        place = (7 if dx > 0 else -7, dy)
        axes.annotate(name, (cost, score), place, textcoords="offset points", fontsize=8.5, color=INK, ha=side)


def _meet(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _cycle(count: int) -> list[str]:
    return [_COLOURS[i % len(_COLOURS)] for i in range(count)]
