"""A run as one page: no scripts, no fonts or styles from elsewhere, light or dark as the reader likes it."""

from __future__ import annotations

import os
import re
from html import escape
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from retain.errors import SettingError
from retain.report.log import MODEL, Log
from retain.report.plots import BLUE, INK, figures
from retain.report.tables import counts, measures
from retain.report.words import best, better, higher_is_better, shown, title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["fragment", "write_html"]

_STYLE = """
.retain { --line: color-mix(in srgb, currentColor 16%, transparent); --soft: .68; --model: #1477b8;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  max-width: 60rem; margin: 0 auto; font-variant-numeric: tabular-nums; }
.retain h1 { font-size: 1.45rem; font-weight: 650; margin: 0; }
.retain h2 { font-size: 1.02rem; font-weight: 650; margin: 2.2rem 0 .6rem; }
.retain .soft { opacity: var(--soft); }
.retain .heads { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: .8rem;
  margin: 1.4rem 0; }
.retain .head { border: 1px solid var(--line); border-radius: .6rem; padding: .8rem 1rem; }
.retain .head b { display: block; font-size: 2.1rem; line-height: 1.2; font-weight: 650; color: var(--model); }
.retain .head small { display: block; font-size: .84rem; }
.retain .good { color: #2e8b57; } .retain .bad { color: #c0392b; }
.retain figure { margin: 1rem 0; }
.retain figure svg { max-width: 100%; height: auto; display: block; }
.retain figure text { font-family: inherit; }
.retain .pair { display: flex; flex-wrap: wrap; gap: 1.5rem; }
.retain table { border-collapse: collapse; width: auto; }
.retain th, .retain td { padding: .28rem 1.1rem .28rem 0; text-align: right; border-bottom: 1px solid var(--line); }
.retain th:first-child, .retain td:first-child { text-align: left; }
.retain thead th { font-weight: 500; opacity: var(--soft); }
.retain td.top { font-weight: 650; }
.retain .wide svg { width: 100%; }
@media (prefers-color-scheme: dark) { .retain { --model: #4aa8e0; } .retain .good { color: #58c08a; }
  .retain .bad { color: #ec7063; } }
"""
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ margin: 0; padding: 2rem 1.25rem 3rem; background: #fcfcfd; color: #1d2329; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #14181c; color: #dfe5ea; }} }}
</style>
</head>
<body>
{body}
</body>
</html>
"""


def write_html(log: Log, path: str | os.PathLike[str], /, *, title: str = "A run of retain") -> Path:
    """Write the run as one self-contained HTML file, whole or not at all; return its path.

    Raises SettingError where the file cannot be written; what was there before stays as it was.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     "<h1>Flights</h1>" in write_html(Log(), Path(folder) / "run.html", title="Flights").read_text()
    True
    """
    path = Path(path)
    page = _PAGE.format(title=escape(title), body=fragment(log, title=title))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            temporary.write_text(page, encoding="utf-8")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise SettingError(
            f"cannot write the report {path}: {error.strerror or error}; give a file in a folder that exists and can "
            "be written"
        ) from error
    return path


def fragment(log: Log, /, *, title: str | None = None) -> str:
    """The run as a piece of HTML, for a page or a notebook."""
    head = f"<style>{_STYLE}</style>" + (f"<h1>{escape(title)}</h1>" if title else "")
    if log.last is None:
        return f'<div class="retain">{head}{_soft("Nothing has been reported yet.")}</div>'
    drawn = {name: _svg(figure, name) for name, figure in figures(log).items()}
    parts = [head, _soft(_summary(log)), _headlines(log)]
    parts += [_figure(drawn.pop(name), kind="wide") for name in ("curve", "metrics") if name in drawn]
    parts += ["<h2>Beside the baselines</h2>", _comparison(log)]
    if drawn:
        parts += ["<h2>Predictions</h2>", f'<div class="pair">{"".join(map(_figure, drawn.values()))}</div>']
    parts += [_events(log), "<h2>The run</h2>", _counts(log)]
    return f'<div class="retain">{"".join(parts)}</div>'


def _summary(log: Log) -> str:
    found = counts(log)
    words = [f"{found['rows']} rows", f"{found['learnt']} labels learnt"]
    words += [f"{found['rows per second']} rows per second"] if "rows per second" in found else []
    return " · ".join(words)


def _headlines(log: Log) -> str:
    """The first metrics in large figures, each with what the baselines reach."""
    cards: list[str] = []
    for metric, values in list(measures(log).items())[:3]:
        model = values[MODEL]
        others = {who: value for who, value in values.items() if who != MODEL}
        lines = [f"{_title(who)} {shown(value)}" for who, value in others.items()]
        known = [value for value in others.values() if value == value]
        verdict = ""
        if known and model == model:
            bar = max(known) if higher_is_better(metric) else min(known)
            wins = better(metric, model, bar)
            gap = f"{abs(model - bar):.4f}" if abs(model - bar) < 10 else shown(abs(model - bar))
            word = "better than both" if len(known) == 2 else "better than the baselines"
            sign = f"✓ {gap} {word}" if wins else f"✗ {gap} behind the best baseline"
            verdict = f'<small class="{"good" if wins else "bad"}">{sign}</small>'
        cards.append(
            f'<div class="head"><span class="soft">{_title(metric)}</span><b>{shown(model)}</b>'
            f'<small class="soft">{" · ".join(lines)}</small>{verdict}</div>'
        )
    return f'<div class="heads">{"".join(cards)}</div>'


def _comparison(log: Log) -> str:
    rows = measures(log)
    who = list(next(iter(rows.values()), {}))
    head = "".join(f"<th>{_title(name)}</th>" for name in who)
    body = ""
    for metric, values in rows.items():
        leader = best(metric, values)
        cells = "".join(f"<td{' class=top' * (name == leader)}>{shown(values[name])}</td>" for name in who)
        arrow = "↑" if higher_is_better(metric) else "↓"
        body += f'<tr><td>{_title(metric)} <span class="soft">{arrow}</span></td>{cells}</tr>'
    note = "↑ more is better, ↓ less is. No-change says the last label again, prior what was usual so far."
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>{_soft(note)}"


def _events(log: Log) -> str:
    if not log.events:
        return ""
    rows = "".join(f"<tr><td>{e.rows:,}</td><td>{escape(e.text)}</td></tr>" for e in reversed(log.events[-50:]))
    shown_of = f" (latest 50 of {log.event_count:,})" if log.event_count > 50 else ""
    return f"<h2>Events{shown_of}</h2><table><thead><tr><th>after rows</th><th>what</th></tr></thead>{rows}</table>"


def _counts(log: Log) -> str:
    cells = "".join(f"<tr><td>{name}</td><td>{value}</td></tr>" for name, value in counts(log).items())
    return f"<table><tbody>{cells}</tbody></table>"


def _soft(text: str) -> str:
    return f'<p class="soft">{text}</p>'


def _figure(svg: str, *, kind: str = "") -> str:
    return f'<figure class="{kind}">{svg}</figure>'


def _title(name: str) -> str:
    return escape(title(name))


def _svg(figure: Figure, name: str) -> str:
    """The figure as inline SVG whose ink is the colour of the text around it; equal figures give equal text."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    text = StringIO()
    # The salt makes ids the same in every run, and different between the figures of a page.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif"}):
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    label = {"curve": "metric over time", "metrics": "further metrics over time"}.get(name, name)
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    svg = re.sub(r"font-family: [^;\"]+;? ?", "", svg)  # letters as in the text around it
    return svg.replace(INK, "currentColor").replace(BLUE, "var(--model)")
