"""Where examples come from: arrays, tables, files and generators, each with a position from which it resumes exactly.

Every stream yields blocks of rows in arrival order (`for batch in stream`), and `stream.read(position)` yields each
block with the position after it. See `retain.core.Stream`.
"""

from __future__ import annotations

# The functions share their names with the modules they live in, so they are bound here and not on first use: a
# submodule that is imported later would take the name.
from retain.streams import images
from retain.streams.arrays import arrays, bunch
from retain.streams.arrow import arrow
from retain.streams.bad_rows import Quarantine, Skip, Stop
from retain.streams.csv import csv
from retain.streams.drift import Abrupt, Gradual, Incremental, Recurring
from retain.streams.flights import flights
from retain.streams.jsonl import jsonl
from retain.streams.parquet import parquet
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
from retain.streams.table import table

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
    "collect",
    "csv",
    "digits",
    "flights",
    "images",
    "jsonl",
    "npz",
    "parquet",
    "table",
    "train_test",
]
