"""Compression that goes on learning: smaller, faster models made of one that learns, gated by what they really cost."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from retain.compression.draft import Draft, Lessons, Pass, Step

__all__ = ["Distil", "Draft", "Lessons", "LowRank", "Magnitude", "Pass", "Shrink", "Step"]

_STEPS = {"Distil": "distil", "LowRank": "low_rank", "Magnitude": "magnitude", "Shrink": "shrink"}


def __getattr__(name: str) -> Any:
    """Steps bring torch with them: each is found when it is asked for."""
    if name in _STEPS:
        return getattr(import_module(f"retain.compression.steps.{_STEPS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")


if TYPE_CHECKING:
    from retain.compression.steps.distil import Distil as Distil
    from retain.compression.steps.low_rank import LowRank as LowRank
    from retain.compression.steps.magnitude import Magnitude as Magnitude
    from retain.compression.steps.shrink import Shrink as Shrink
