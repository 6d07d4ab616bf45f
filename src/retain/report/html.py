"""A run as one page: no scripts, no fonts or styles from elsewhere, light or dark as the reader likes it."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path

from retain.report.log import MODEL, Log
from retain.report.page import STYLE, figure, soft, svg, write_page
from retain.report.plots import figures
from retain.report.tables import counts, measures
from retain.report.words import best, better, higher_is_better, shown, title

__all__ = ["fragment", "write_html"]

_LABELS = {"curve": "metric over time", "metrics": "further metrics over time"}


def write_html(log: Log, path: str | os.PathLike[str], /, *, title: str = "A run of retain") -> Path:
    """Write the run as one self-contained HTML file, whole or not at all; return its path.

    Raises SettingError where the file cannot be written; what was there before stays as it was.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     "<h1>Flights</h1>" in write_html(Log(), Path(folder) / "run.html", title="Flights").read_text()
    True
    """
    return write_page(path, fragment(log, title=title), title=title)


def fragment(log: Log, /, *, title: str | None = None) -> str:
    """The run as a piece of HTML, for a page or a notebook."""
    head = f"<style>{STYLE}</style>" + (f"<h1>{escape(title)}</h1>" if title else "")
    if log.last is None:
        return f'<div class="retain">{head}{soft("Nothing has been reported yet.")}</div>'
    drawn = {name: svg(plot, name, label=_LABELS.get(name)) for name, plot in figures(log).items()}
    parts = [head, soft(_summary(log)), _headlines(log)]
    parts += [figure(drawn.pop(name), kind="wide") for name in ("curve", "metrics") if name in drawn]
    parts += ["<h2>Beside the baselines</h2>", _comparison(log)]
    if drawn:
        parts += ["<h2>Predictions</h2>", f'<div class="pair">{"".join(map(figure, drawn.values()))}</div>']
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
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>{soft(note)}"


def _events(log: Log) -> str:
    if not log.events:
        return ""
    latest = reversed(log.events[-50:])
    rows = "".join(f"<tr><td>{e.rows:,}</td><td class=text>{escape(e.text)}</td></tr>" for e in latest)
    shown_of = f" (latest 50 of {log.event_count:,})" if log.event_count > 50 else ""
    head = "<thead><tr><th>after rows</th><th class=text>what</th></tr></thead>"
    return f"<h2>Events{shown_of}</h2><table>{head}{rows}</table>"


def _counts(log: Log) -> str:
    cells = "".join(f"<tr><td>{name}</td><td>{value}</td></tr>" for name, value in counts(log).items())
    return f"<table><tbody>{cells}</tbody></table>"


def _title(name: str) -> str:
    return escape(title(name))
