"""Where examples come from: arrays, tables, files and generators, each with a position from which it resumes exactly.

Every stream yields blocks of rows in arrival order (`for batch in stream`), and `stream.read(position)` yields each
block with the position after it. See `retain.core.Stream`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# These functions share their names with the modules they live in, so they are bound here and not on first use: a
# submodule that is imported later would take the name.
from retain.streams.arrays import arrays, bunch
from retain.streams.arrow import arrow
from retain.streams.bad_rows import Quarantine, Skip, Stop
from retain.streams.csv import csv
from retain.streams.flights import flights
from retain.streams.join import join
from retain.streams.jsonl import jsonl
from retain.streams.parquet import parquet
from retain.streams.replay import replay
from retain.streams.table import table

if TYPE_CHECKING:
    from retain.streams import images
    from retain.streams.clinc import clinc150
    from retain.streams.drift import Abrupt, Gradual, Incremental, Recurring
    from retain.streams.sets import TrainTest, collect, digits, npz, train_test
    from retain.streams.synthetic import (
        LED,
        SEA,
        STAGGER,
        Agrawal,
        Friedman,
        Hyperplane,
        RandomRBF,
        RandomTree,
        Sine,
    )

__all__ = [
    "LED",
    "SEA",
    "STAGGER",
    "Abrupt",
    "Agrawal",
    "Friedman",
    "Gradual",
    "Hyperplane",
    "Incremental",
    "Quarantine",
    "RandomRBF",
    "RandomTree",
    "Recurring",
    "Sine",
    "Skip",
    "Stop",
    "TrainTest",
    "arrays",
    "arrow",
    "bunch",
    "clinc150",
    "collect",
    "csv",
    "digits",
    "flights",
    "images",
    "join",
    "jsonl",
    "npz",
    "parquet",
    "replay",
    "table",
    "train_test",
]

_HOME = {
    "clinc150": "clinc",
    **dict.fromkeys(("Abrupt", "Gradual", "Incremental", "Recurring"), "drift"),
    **dict.fromkeys(("TrainTest", "collect", "digits", "npz", "train_test"), "sets"),
    **dict.fromkeys(
        ("LED", "SEA", "STAGGER", "Agrawal", "Friedman", "Hyperplane", "RandomRBF", "RandomTree", "Sine"), "synthetic"
    ),
}


def __getattr__(name: str) -> Any:
    """Generators, sets of arrays and images are loaded on first use (PEP 562): who reads a file needs none of them."""
    if name == "images":
        return import_module("retain.streams.images")
    if name in _HOME:
        return getattr(import_module(f"retain.streams.{_HOME[name]}"), name)
    raise AttributeError(f"module 'retain.streams' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
