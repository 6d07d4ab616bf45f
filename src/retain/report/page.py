"""A page of HTML that needs nothing from elsewhere: no scripts, no fonts, light or dark as the reader likes it."""

from __future__ import annotations

import os
import re
from html import escape
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from retain.errors import SettingError
from retain.report.plots import BLUE, INK

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["STYLE", "figure", "soft", "svg", "write_page"]

STYLE = """
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
.retain th:first-child, .retain td:first-child, .retain th.text, .retain td.text { text-align: left; }
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


def write_page(path: str | os.PathLike[str], body: str, /, *, title: str) -> Path:
    """Write a body as a page of its own, whole or not at all; return its path.

    Raises SettingError where the file cannot be written; what was there before stays as it was.
    """
    path = Path(path)
    page = _PAGE.format(title=escape(title), body=body)
    temporary = path.absolute().with_name(f".{path.name}.{os.getpid()}.part")
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


def soft(text: str, /) -> str:
    """A paragraph that stands back."""
    return f'<p class="soft">{text}</p>'


def figure(image: str, /, *, kind: str = "") -> str:
    """An inline SVG as a figure of the page; `kind="wide"` gives it the whole width."""
    return f'<figure class="{kind}">{image}</figure>'


def svg(drawing: Figure, name: str, /, *, label: str | None = None) -> str:
    """The figure as inline SVG whose ink is the colour of the text around it; equal figures give equal text."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    text = StringIO()
    # The salt makes ids the same in every run, and different between the figures of a page.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif"}):
        FigureCanvasSVG(drawing).print_svg(text, metadata={"Date": None, "Creator": None})
    image = text.getvalue()
    image = image[image.index("<svg") :]
    image = image.replace("<svg ", f'<svg role="img" aria-label="{label or name}" ', 1)
    image = re.sub(r"font-family: [^;\"]+;? ?", "", image)  # letters as in the text around it
    return image.replace(INK, "currentColor").replace(BLUE, "var(--model)")
