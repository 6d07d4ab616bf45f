"""What a run looks like: tables, figures, one page of HTML, a bar of progress. It sees reports and never a learner."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retain.report.backtest import Backtest, Trace, write_backtest
    from retain.report.continual import Continual, Estimate, Run
    from retain.report.html import write_html
    from retain.report.journal import Journal
    from retain.report.log import Curve, Event, Log
    from retain.report.matrix import write_continual
    from retain.report.plots import figures
    from retain.report.progress import Progress
    from retain.report.tables import table

__all__ = [
    "Backtest",
    "Continual",
    "Curve",
    "Estimate",
    "Event",
    "Journal",
    "Log",
    "Progress",
    "Run",
    "Trace",
    "figures",
    "table",
    "write_backtest",
    "write_continual",
    "write_html",
]

_HOME = {
    "Backtest": "backtest",
    "Continual": "continual",
    "Curve": "log",
    "Estimate": "continual",
    "Event": "log",
    "Journal": "journal",
    "Log": "log",
    "Progress": "progress",
    "Run": "continual",
    "Trace": "backtest",
    "figures": "plots",
    "table": "tables",
    "write_backtest": "backtest",
    "write_continual": "matrix",
    "write_html": "html",
}


def __getattr__(name: str) -> Any:
    """Each is loaded on first use (PEP 562): most runs show a bar and a table, or nothing."""
    if name in _HOME:
        return getattr(import_module(f"retain.report.{_HOME[name]}"), name)
    raise AttributeError(f"module 'retain.report' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
