"""What a run looks like: tables, figures, one page of HTML, a bar of progress. It sees reports and never a learner."""

from __future__ import annotations

from retain.report.continual import Continual, Estimate, Run
from retain.report.html import write_html
from retain.report.log import Curve, Event, Log
from retain.report.matrix import write_continual
from retain.report.plots import figures
from retain.report.progress import Progress
from retain.report.tables import table

__all__ = [
    "Continual",
    "Curve",
    "Estimate",
    "Event",
    "Log",
    "Progress",
    "Run",
    "figures",
    "table",
    "write_continual",
    "write_html",
]
