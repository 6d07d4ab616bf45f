"""A run as figures. They are objects of matplotlib, drawn without `pyplot`, so nothing global is touched.

Shapes: p points of a curve, c classes, s sampled rows, b bins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from retain.core import Array
from retain.report.log import MODEL, Curve, Log
from retain.report.words import higher_is_better, shown, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["BLUE", "GRID", "INK", "apart", "canvas", "dress", "figures", "label_ends", "tint"]

INK = "#5b6470"  # text and axes: to be read on white and on black; in a page it becomes the colour of the text
BLUE = "#1477b8"  # the model; in a page it becomes lighter where it is dark
GRID = "#8a939e"
_OTHERS = {"no_change": "#d9822b", "prior": "#8d7bc2"}  # told apart by colour-blind readers, and by their dashes
_DASHES = {"no_change": (0, (5, 2)), "prior": (0, (1.5, 1.5))}
_FEW = 10  # rows, of which no rate is worth drawing
_CLOCK = 1e8  # event times above this are seconds since 1970, and shown as dates


def figures(log: Log, /) -> dict[str, Figure]:
    """The figures that suit the run, by name, the most telling first.

    `curve` (the first metric over time, with both baselines), `metrics` (the others), then `confusion` and
    `calibration` of classes, or `residuals` of numbers. Only those that there is something to draw of: over time, two
    points.

    >>> import numpy as np
    >>> from retain.core import Report
    >>> log = Log()
    >>> for n in range(1, 9):
    ...     log.add(Report(n, n, 0, 0, 0, seconds=0.1, cpu_seconds=0.1, metrics={"mae": 1 / n, "rmse": 2 / n}))
    >>> list(figures(log))
    ['curve', 'metrics']
    >>> figures(log)["curve"].savefig("curve.png")  # doctest: +SKIP
    """
    curve = log.curve()
    names = [m for m in curve.metrics() if np.isfinite(curve.values.get((MODEL, m), np.full(1, np.nan))).sum() > 1]
    found: dict[str, Figure] = {}
    if names:
        found["curve"] = _curve_figure(log, curve, names[0])
    if names[1:]:
        found["metrics"] = _metrics_figure(log, curve, names[1:])
    if log.task == "classification":
        if len(log.confusion()):
            found["confusion"] = _confusion_figure(log)
        if (calibration := _calibration_figure(log)) is not None:
            found["calibration"] = calibration
    elif log.task == "regression":
        found["residuals"] = _residuals_figure(log)
    return found


def canvas(width: float, height: float, /) -> Figure:
    """An empty figure of so many inches, through which the page shows."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="none")


def dress(axes: Axes, /, *, grid: str = "y") -> None:
    """Quiet axes: two thin lines, a faint grid, one colour of ink."""
    axes.set_facecolor("none")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set(color=INK, linewidth=0.6, alpha=0.6)
    axes.tick_params(colors=INK, labelsize=8.5, width=0.6, length=3)
    for label in (axes.xaxis.label, axes.yaxis.label, axes.title):
        label.set(color=INK, fontsize=9.5)
    if grid:
        axes.grid(axis=grid, color=GRID, linewidth=0.5, alpha=0.3)  # pyright: ignore[reportArgumentType] - x, y, both
    axes.set_axisbelow(True)


# --- over time --------------------------------------------------------------------------------------------------------


def _curve_figure(log: Log, curve: Curve, metric: str) -> Figure:
    figure = canvas(8.4, 3.7)
    axes = figure.subplots()
    recent = curve.recent(MODEL, metric)
    _draw_lines(axes, curve, metric, width=2.0)
    if recent is not None and len(recent) > 4:
        axes.plot(_clock(curve), recent, color=BLUE, linewidth=0.9, alpha=0.45, label="recently", zorder=2)
    _mark_events(axes, log, curve)
    _set_limits(axes, curve, metric, recent)
    dress(axes)
    _date(axes, curve)
    _label_ends(axes, curve, metric, recently=recent is not None and len(recent) > 4)
    better = "higher is better" if higher_is_better(metric) else "lower is better"
    axes.set_title(f"{title(metric)} ({better})", loc="left", fontsize=10.5, color=INK)
    return figure


def _metrics_figure(log: Log, curve: Curve, names: list[str]) -> Figure:
    across = min(len(names), 3)
    down = -(-len(names) // across)
    figure = canvas(8.4, 2.5 * down)
    grid = figure.subplots(down, across, squeeze=False)
    for axes, metric in zip(grid.flat, names, strict=False):
        _draw_lines(axes, curve, metric, width=1.6)
        _mark_events(axes, log, curve)
        _set_limits(axes, curve, metric, None)
        dress(axes)
        _date(axes, curve)
        axes.set_xlabel("")
        axes.locator_params(axis="y", nbins=5)
        axes.set_title(title(metric), loc="left", fontsize=9.5, color=INK)
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    handles, labels = grid.flat[0].get_legend_handles_labels()
    legend = figure.legend(
        handles[::-1], labels[::-1], loc="outside lower center", ncols=4, fontsize=8.5, frameon=False
    )
    for text in legend.get_texts():
        text.set_color(INK)
    return figure


def _clock(curve: Curve) -> Array:
    """Where points lie: at their event times where there are any, as dates where they look like that; else at rows."""
    if not np.isfinite(curve.time).all() or np.ptp(curve.time) <= 0:
        return curve.rows
    return _days(curve.time) if _is_date(curve) else curve.time


def _is_date(curve: Curve) -> bool:
    return bool(np.isfinite(curve.time).all() and np.ptp(curve.time) > 0 and curve.time.min() > _CLOCK)


def _days(seconds: Array) -> Array:
    return seconds / 86400.0  # dates of matplotlib are days since 1970


def _date(axes: Axes, curve: Curve) -> None:
    if _is_date(curve):
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        locator = AutoDateLocator(minticks=3, maxticks=7)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        axes.set_xlabel("event time (UTC)")
        axes.xaxis.get_offset_text().set(color=INK, fontsize=8.5)
    elif _clock(curve) is curve.rows:
        from matplotlib.ticker import EngFormatter, MaxNLocator

        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter(EngFormatter(sep="", places=None))
        axes.set_xlabel("rows")
    else:
        axes.set_xlabel("event time")


def _draw_lines(axes: Axes, curve: Curve, metric: str, *, width: float) -> None:
    x = _clock(curve)
    for who in reversed(curve.who()):
        values = curve.values.get((who, metric))
        if values is None or not np.isfinite(values).any():
            continue
        if who == MODEL:
            axes.plot(x, values, color=BLUE, linewidth=width, label=title(who), zorder=4, solid_capstyle="round")
        else:
            colour, dashes = _OTHERS.get(who, GRID), _DASHES.get(who, "-")
            axes.plot(x, values, color=colour, linewidth=1.3, linestyle=dashes, label=title(who), zorder=3)


def _mark_events(axes: Axes, log: Log, curve: Curve) -> None:
    x = _clock(curve)
    for event in log.events:
        if event.what in ("refused", "set aside", "fired"):
            continue  # these changed nothing
        axes.axvline(float(np.interp(event.rows, curve.rows, x)), color="#c0392b", linewidth=0.7, alpha=0.6, zorder=1)


def _set_limits(axes: Axes, curve: Curve, metric: str, recent: Array | None) -> None:
    """Room for what matters: the first tenth of the points, where nothing is known yet, may lie outside.

    So may a baseline so far off that the model and the other one would look alike; a note then says where it is.
    """
    late = slice(len(curve.rows) // 10, None)
    ends = {who: float(values[-1]) for (who, name), values in curve.values.items() if name == metric}
    off = {who: abs(end - ends[MODEL]) for who, end in ends.items() if who != MODEL and MODEL in ends}
    near = [who for who in ends if who not in off or not off[who] > 8 * min(off.values())]
    lines = [curve.values[who, metric][late] for who in near]
    lines += [] if recent is None else [recent[late]]
    settled = np.concatenate(lines)
    settled = settled[np.isfinite(settled)]
    if len(settled):
        low, high = float(settled.min()), float(settled.max())
        room = 0.08 * (high - low) or 0.05 * max(abs(high), 1e-9)
        axes.set_ylim(low - room, high + room)
    x = _clock(curve)
    if len(x) > 1 and x[-1] > x[0]:
        axes.set_xlim(float(x[0]), float(x[-1]))
    for i, who in enumerate(name for name in ends if name not in near and np.isfinite(ends[name])):
        above = ends[who] > ends[MODEL]
        note = f"{title(who)} {shown(ends[who])} {'↑' if above else '↓'}"
        place = (0.985, 0.95 - 0.09 * i) if above else (0.985, 0.05 + 0.09 * i)
        colour = _OTHERS.get(who, GRID)
        axes.text(*place, note, transform=axes.transAxes, color=colour, fontsize=8.5, ha="right", va="center")


def _label_ends(axes: Axes, curve: Curve, metric: str, *, recently: bool) -> None:
    """Names and final values at the right end of the lines."""
    low, high = axes.get_ylim()
    ends = [(who, float(values[-1])) for (who, name), values in curve.values.items() if name == metric]
    label_ends(
        axes,
        [
            (value, f"{title(who)} {shown(value)}", BLUE if who == MODEL else _OTHERS.get(who, GRID))
            for who, value in ends
            if low <= value <= high
        ],
    )
    if recently:
        note = "thin: the model over recent rows only"
        axes.text(1.0, 1.03, note, transform=axes.transAxes, color=INK, fontsize=8, ha="right", alpha=0.85)


def label_ends(axes: Axes, ends: list[tuple[float, str, str]], /) -> None:
    """Text in a colour at the right end of each line, given where it ends; pushed apart where they would touch."""
    low, high = axes.get_ylim()
    ends = sorted(ends)
    places = apart(np.array([(value - low) / (high - low) for value, _, _ in ends]), 0.075)
    for place, (_, text, colour) in zip(places, ends, strict=True):
        bold = "bold" if colour == BLUE else "normal"
        axes.text(
            1.012, float(place), text, transform=axes.transAxes, color=colour, fontsize=9, fontweight=bold, va="center"
        )


def apart(places: Array, least: float, /) -> Array:
    """Places in [0, 1] in rising order, moved as little as it takes for neighbours to be `least` apart."""
    moved = np.clip(places, 0.0, 1.0)
    for _ in range(50):
        gaps = np.diff(moved)
        close = gaps < least - 1e-9
        if not close.any():
            break
        push = np.where(close, (least - gaps) / 2, 0.0)
        moved[1:] += push
        moved[:-1] -= push
    return moved


# --- classes ----------------------------------------------------------------------------------------------------------


def _confusion_figure(log: Log) -> Figure:
    counts = log.confusion()
    _, columns = log.confusion_names()
    c, k = counts.shape
    total = counts.sum(axis=1, keepdims=True)
    unknown = int(counts[:, c:].sum())
    if unknown < 0.01 * total.sum():  # too few for a column
        counts, columns, k = counts[:, :c], columns[:c], c
    share = np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)
    side = 4.0 if c <= 10 else min(0.34 * c + 1.2, 8.4)
    figure = canvas(side * (1.0 + 0.15 * (k > c)), side)
    axes = figure.subplots()
    axes.imshow(share, cmap=tint(), vmin=0, vmax=1, aspect="auto")
    if c <= 12:
        for i in range(c):
            for j in range(k):
                _write_cell(axes, (i, j), int(counts[i, j]), float(share[i, j]), small=c > 5)
    dress(axes, grid="")
    for side_name in ("left", "bottom"):
        axes.spines[side_name].set_visible(False)
    short = [name if len(name) <= 14 else name[:13] + "…" for name in columns]
    axes.set_xticks(range(k), short, rotation=45 if k > 5 else 0, ha="right" if k > 5 else "center")
    axes.set_yticks(range(c), short[:c])
    axes.tick_params(length=0)
    note = f"\n{unknown:,} decided before any class was known" if unknown and k == c else ""
    axes.set(xlabel=f"predicted{note}", ylabel="actual")
    axes.set_title("Confusion (share of each actual class)", loc="left", fontsize=10.5, color=INK)
    return figure


def tint() -> Any:
    """From nothing to the colour of the model: what is behind the figure shows through."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    rgb = to_rgb(BLUE)
    return LinearSegmentedColormap.from_list("tint", [(*rgb, 0.04), (*rgb, 0.95)])


def _write_cell(axes: Axes, at: tuple[int, int], count: int, share: float, *, small: bool) -> None:
    i, j = at
    colour = "white" if share > 0.5 else INK
    axes.text(j, i, f"{share:.0%}", ha="center", va="bottom", color=colour, fontsize=8 if small else 12)
    axes.text(j, i, f"{count:,}", ha="center", va="top", color=colour, fontsize=6 if small else 8.5, alpha=0.9)


def _calibration_figure(log: Log) -> Figure | None:
    """How often what was said with probability p came true, for p in bins, over the latest predictions.

    Bins with few rows are left out, for they say nothing; None where no others are.
    """
    sample = log.sample()
    sample = sample[sample[:, 1] >= 0]
    two = max(log.classes_seen, default=0) <= 1
    said = sample[:, 3] if two else sample[:, 2]
    true = sample[:, 0] == 1 if two else sample[:, 0] == sample[:, 1]
    bins = np.minimum((said * 12).astype(int), 11)
    weight = np.bincount(bins, minlength=12)
    some = weight >= _FEW
    if not some.any():
        return None
    mean = np.bincount(bins, said, minlength=12)[some] / weight[some]
    rate = np.bincount(bins, true, minlength=12)[some] / weight[some]
    error = 2 * np.sqrt((rate * (1 - rate) + 1 / weight[some]) / weight[some])

    figure = canvas(4.2, 4.0)
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    axes.plot([0, 1], [0, 1], color=GRID, linewidth=0.9, linestyle=(0, (4, 3)))
    bars = np.minimum(error, [rate, 1 - rate])
    axes.errorbar(mean, rate, yerr=bars, color=BLUE, ecolor=BLUE, elinewidth=0.8, linewidth=1.6, marker="o", ms=4)
    axes.set(ylim=(-0.03, 1.03), xlim=(-0.02, 1.02))
    axes.set_ylabel(f"came true ({log.name_of(1)})" if two else "was right")
    below.bar((np.arange(12) + 0.5) / 12, weight, width=0.9 / 12, color=BLUE, alpha=0.5)
    below.set_xlabel(f"probability given to {log.name_of(1)}" if two else "confidence")
    below.set_ylabel("rows")
    dress(axes)
    dress(below)
    below.locator_params(axis="y", nbins=2)
    axes.set_title(f"Calibration (latest {len(sample):,})", loc="left", fontsize=10.5, color=INK)
    return figure


# --- numbers ----------------------------------------------------------------------------------------------------------


def _residuals_figure(log: Log) -> Figure:
    sample = log.sample()
    y, said = sample[:, 0], sample[:, 1]
    error = y - said
    figure = canvas(8.4, 3.4)
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    low, high = np.quantile(np.concatenate([y, said]), [0.001, 0.999])
    room = 0.04 * (high - low) or 1.0
    few = slice(None, None, max(len(y) // 3000, 1))
    left.plot([low, high], [low, high], color=GRID, linewidth=0.9, linestyle=(0, (4, 3)), zorder=3)
    left.scatter(said[few], y[few], s=5, color=BLUE, alpha=0.25, linewidths=0, rasterized=True)
    left.set(xlim=(low - room, high + room), ylim=(low - room, high + room), xlabel="predicted", ylabel="actual")
    left.set_title(f"Predicted and actual (latest {len(y):,})", loc="left", fontsize=10.5, color=INK)
    near, far = np.quantile(error, [0.005, 0.995])
    right.hist(error, bins=40, range=(near, far) if far > near else None, color=BLUE, alpha=0.6)
    right.axvline(0, color=GRID, linewidth=0.9, linestyle=(0, (4, 3)))
    right.set(xlabel="actual minus predicted", ylabel="rows")
    right.set_title("Residuals", loc="left", fontsize=10.5, color=INK)
    for axes in (left, right):
        dress(axes)
        axes.locator_params(axis="x", nbins=6)
    return figure
