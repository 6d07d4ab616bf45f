"""The loops: test-then-train over a stream, with late labels and state that survives a kill; experiences in turn."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from retain.run.durable import durable  # has the name of its module, which would take its place if imported later
from retain.run.landing import Delay, Silence
from retain.run.prequential import Prequential

if TYPE_CHECKING:
    from retain.run import scenarios
    from retain.run.exam import Exam
    from retain.run.experiences import Experiences, continual
    from retain.run.past import backtest
    from retain.run.pipeline import Pipeline

__all__ = [
    "Delay",
    "Exam",
    "Experiences",
    "Pipeline",
    "Prequential",
    "Silence",
    "backtest",
    "continual",
    "durable",
    "scenarios",
]

_HOME = {
    "Exam": "exam",
    "Experiences": "experiences",
    "Pipeline": "pipeline",
    "backtest": "past",
    "continual": "experiences",
}


def __getattr__(name: str) -> Any:
    """What has to do with experiences and rules is loaded on first use (PEP 562): a plain run has none."""
    if name == "scenarios":
        return import_module("retain.run.scenarios")
    if name in _HOME:
        return getattr(import_module(f"retain.run.{_HOME[name]}"), name)
    raise AttributeError(f"module 'retain.run' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
