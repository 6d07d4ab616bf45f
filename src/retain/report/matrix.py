"""A matrix of accuracies as a heat map, curves, a table and a page.

Shapes: T experiences, S stages, r runs; R is (S + 1, T).
"""

from __future__ import annotations

import os
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from retain.core import Floats
from retain.metrics.continual import seen_accuracy
from retain.report.continual import MEASURES, Continual
from retain.report.page import STYLE, figure, soft, svg, write_page
from retain.report.plots import BLUE, GRID, INK, canvas, dress, label_ends, tint
from retain.report.tables import Line
from retain.report.words import duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.console import RenderableType

__all__ = ["figures", "fragment", "table", "write_continual"]

_BOUNDS = {"naive": "#d9822b", "joint": "#2e8b57", "cumulative": "#8d7bc2"}
_WRITTEN = 12  # more experiences than this, and the cells of the map are too small for numbers
_LABELS = {"matrix": "accuracy on every experience after every stage", "curves": "accuracy as experiences go by"}


def figures(result: Continual, /) -> dict[str, Figure]:
    """`curves`, how experiences fare as others follow, where they were learnt in turn; `matrix`, a heat map of R."""
    found: dict[str, Figure] = {}
    if _in_turn(result) and len(result.experiences) > 1:
        found["curves"] = _curves(result)
    found["matrix"] = _map(result)
    return found


def table(result: Continual, /) -> RenderableType:
    """The measures beside the bounds, and what the runs took: print it with rich.

    >>> from rich.console import Console
    >>> from retain.report.continual import Run
    >>> R = np.array([[0.5, 0.5], [0.9, 0.5], [0.6, 0.8]])
    >>> Console(width=72).print(table(Continual("class", ("cats", "dogs"), (Run(0, R, 100, 1.0, 1.0, 0.8),))))
                          model
    ───────────────────────────
    final accuracy       0.7000
    learning accuracy    0.8500
    backward transfer   -0.3000
    forward transfer     0.0000
    forgetting           0.3000
    <BLANKLINE>
    class · 2 experiences · 1 seed · 100 samples · 1.0 s CPU ·
    125 samples/CPU-s
    """
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    grid.add_column("")
    grid.add_column(_name(result), justify="right", header_style="bold", style="bold")
    for name in result.bounds:
        grid.add_column(name, justify="right", header_style="dim", style="dim")
    for name, measure in MEASURES.items():
        others = [str(other.measure(name)) for other in result.bounds.values()]
        grid.add_row(measure.title, str(result.measure(name)), *others)
    return Group(grid, Text(""), Line(_summary(result)))


def write_continual(result: Continual, path: str | os.PathLike[str], /, *, title: str = "Continual learning") -> Path:
    """Write the result as one self-contained HTML file, whole or not at all; return its path.

    Raises SettingError where the file cannot be written; what was there before stays as it was.
    """
    return write_page(path, fragment(result, title=title), title=title)


def fragment(result: Continual, /, *, title: str | None = None) -> str:
    """The result as a piece of HTML, for a page or a notebook."""
    drawn = {name: svg(plot, name, label=_LABELS[name]) for name, plot in figures(result).items()}
    head = f"<style>{STYLE}</style>" + (f"<h1>{escape(title)}</h1>" if title else "")
    parts = [head, soft(escape(" · ".join(_summary(result)))), _headlines(result)]
    parts += [figure(drawn["curves"], kind="wide")] if "curves" in drawn else []
    parts += [figure(drawn["matrix"]), "<h2>Beside the bounds</h2>" if result.bounds else "<h2>Measures</h2>"]
    parts += [_rows(result), _settings(result)]
    return f'<div class="retain">{"".join(parts)}</div>'


# --- figures ----------------------------------------------------------------------------------------------------------


def _map(result: Continual) -> Figure:
    matrix = result.matrix
    stages, wide = len(matrix), matrix.shape[1]
    cell = 0.62 if wide <= _WRITTEN else 0.3
    drawing = canvas(min(max(cell * wide + 2.2, 3.6), 9.0), min(max(0.78 * cell * stages + 1.2, 2.6), 8.0))
    axes = drawing.subplots()
    shown = axes.imshow(100 * matrix, cmap=tint(), vmin=0, vmax=100, aspect="auto")
    if wide > _WRITTEN:
        scale = drawing.colorbar(shown, ax=axes, fraction=0.03, pad=0.015)
        scale.outline.set_visible(False)  # pyright: ignore[reportCallIssue] - typed as a property that is called
        scale.ax.tick_params(colors=INK, labelsize=8.5, length=0)
    else:
        for i, row in enumerate(matrix):
            for j, value in enumerate(row):
                colour = "white" if value > 0.5 else INK
                axes.text(j, i, f"{100 * value:.1f}", ha="center", va="center", color=colour, fontsize=8.5)
    if _in_turn(result):
        _mark_learnt(axes, wide)
    dress(axes, grid="")
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    some = range(0, wide, -(-wide // 20))
    after = [f"after {i}" if i else "before" for i in range(stages)]
    axes.set_xticks(list(some), [_short(result.experiences[j]) for j in some])
    if max(len(_short(result.experiences[j])) for j in some) > 7:
        axes.tick_params(axis="x", rotation=45)
    rows = range(0, stages, -(-stages // 20))
    axes.set_yticks(list(rows), [after[i] if _in_turn(result) or not i else "all at once" for i in rows])
    axes.tick_params(length=0)
    axes.set(xlabel="tested on")
    said = "Accuracy, % (outlined: just learnt)" if _in_turn(result) and wide > 1 else "Accuracy, %"
    axes.set_title(said, loc="left", fontsize=10.5, color=INK)
    return drawing


def _mark_learnt(axes: Axes, experiences: int) -> None:
    from matplotlib.patches import Rectangle

    for j in range(experiences):
        axes.add_patch(Rectangle((j - 0.5, j + 0.5), 1, 1, fill=False, edgecolor=INK, linewidth=1.1))


def _curves(result: Continual) -> Figure:
    """Each experience from when it was learnt, and the mean of those seen so far, beside the bounds."""
    from matplotlib.ticker import MaxNLocator

    drawing = canvas(8.4, 3.7)
    axes = drawing.subplots()
    matrix, wide = result.matrix, len(result.experiences)
    stages = np.arange(1, wide + 1)
    for j in range(wide):
        axes.plot(stages[j:], matrix[j + 1 :, j], color=GRID, linewidth=0.9, marker="o", markersize=2.5, alpha=0.75)
    ends: list[tuple[float, str, str]] = []
    for name, other in result.bounds.items():
        colour = _BOUNDS.get(name, GRID)
        if _in_turn(other):
            line = _seen(other).mean(axis=0)
            axes.plot(stages, line, color=colour, linewidth=1.4, linestyle=(0, (5, 2)), zorder=3)
            ends.append((float(line[-1]), f"{name} {line[-1]:.4f}", colour))
        else:
            axes.axhline(other.acc.mean, color=colour, linewidth=1.4, linestyle=(0, (1.5, 1.5)), zorder=3)
            ends.append((other.acc.mean, f"{name} {other.acc.mean:.4f}", colour))
    seen = _seen(result)
    mean = seen.mean(axis=0)
    if len(seen) > 1:
        error = seen.std(axis=0, ddof=1) / np.sqrt(len(seen))
        axes.fill_between(stages, mean - error, mean + error, color=BLUE, alpha=0.2, linewidth=0, zorder=4)
    axes.plot(stages, mean, color=BLUE, linewidth=2.2, marker="o", markersize=4, zorder=5)
    ends.append((float(mean[-1]), f"{_name(result)} {mean[-1]:.4f}", BLUE))
    lows = [float(np.min(line.get_ydata())) for line in axes.lines]
    low = min(*lows, 0.9)  # a tenth at least: small differences should look small
    axes.set(xlabel="experiences learnt", xlim=(1 - 0.02 * wide, wide + 0.02 * wide))
    axes.set_ylim(low - 0.02 * (1 - low), 1 + 0.02 * (1 - low))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    dress(axes)
    label_ends(axes, ends)
    said = "Mean accuracy on the experiences seen so far (grey: each, from when it was learnt)"
    axes.set_title(said, loc="left", fontsize=10.5, color=INK)
    return drawing


# --- text -------------------------------------------------------------------------------------------------------------


def _in_turn(result: Continual) -> bool:
    """Whether the experiences were learnt one after the other, and not all at once."""
    return len(result.runs[0].matrix) == len(result.experiences) + 1


def _seen(result: Continual) -> Floats:
    """(r, T) mean accuracy on the experiences seen so far, of every run."""
    return np.stack([seen_accuracy(run.matrix) for run in result.runs])


def _name(result: Continual) -> str:
    return str(result.settings.get("strategy", "model"))


def _short(name: str) -> str:
    return name if len(name) <= 14 else name[:13] + "…"


def _summary(result: Continual) -> list[str]:
    seeds, samples = len(result.runs), sum(run.samples for run in result.runs)
    words = [result.scenario, f"{len(result.experiences)} experiences", f"{seeds} seed{'s' * (seeds > 1)}"]
    words += [f"{samples:,} samples", f"{duration(result.cpu_seconds)} CPU"]
    return [*words, f"{result.samples_per_cpu_second:,.0f} samples/CPU-s"]


def _headlines(result: Continual) -> str:
    cards: list[str] = []
    for name in ("acc", "forgetting", "learning_accuracy"):
        value = result.measure(name)
        note = f"± {value.error:.4f}" if np.isfinite(value.error) else "one seed"
        shown = f"{value.mean:.4f}" if np.isfinite(value.mean) else "–"
        beside = " · ".join(f"{who} {other.measure(name).mean:.4f}" for who, other in _defined(result, name))
        cards.append(
            f'<div class="head"><span class="soft">{MEASURES[name].title}</span><b>{shown}</b>'
            f'<small class="soft">{note}</small><small class="soft">{escape(beside)}</small></div>'
        )
    return f'<div class="heads">{"".join(cards)}</div>'


def _defined(result: Continual, name: str) -> list[tuple[str, Continual]]:
    return [(who, other) for who, other in result.bounds.items() if np.isfinite(other.measure(name).mean)]


def _rows(result: Continual) -> str:
    who = {_name(result): result, **result.bounds}
    head = "".join(f"<th>{escape(name)}</th>" for name in who)
    body = "".join(
        f"<tr><td>{measure.title}</td>{''.join(f'<td>{other.measure(name)}</td>' for other in who.values())}</tr>"
        for name, measure in MEASURES.items()
    )
    note = "Mean over seeds ± standard error. Forgetting of a model that never learnt is none: see learning accuracy."
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>{soft(note)}"


def _settings(result: Continual) -> str:
    if not result.settings:
        return ""
    cells = "".join(f"<tr><td>{escape(k)}</td><td>{escape(str(v))}</td></tr>" for k, v in result.settings.items())
    return f"<h2>The run</h2><table><tbody>{cells}</tbody></table>"
