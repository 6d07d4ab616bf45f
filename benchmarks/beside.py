"""Learners of tables beside River's, row for row: what their benchmarks share.

The rows are read from the folder beside the repository. A learner answers each row before it learns it; ours does so
in one call, River's in a loop of `predict_one` and `learn_one`. Seconds are CPU-seconds of that alone, in one process
and one thread, ours and theirs in turn, the best of some runs; compiling and reading are not counted.
"""

from __future__ import annotations

import csv
import gzip
import io
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import retain as rt
from retain.blocks import take

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@dataclass(frozen=True)
class Told:
    """How right, and CPU-seconds."""

    right: float  # accuracy of classes, mean absolute error of numbers
    seconds: float
    root: float = 0.0  # root mean squared error of numbers


def table(path: str, target: str, *, number: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Columns (n, d) and labels of a file of numbers."""
    with gzip.open(DATA / path, "rt") as file:
        rows = list(csv.reader(file))
    at = rows[0].index(target)
    body = np.array(rows[1:])
    x = np.delete(body, at, axis=1).astype(np.float32)
    return x, body[:, at].astype(float) if number else np.unique(body[:, at], return_inverse=True)[1].astype(np.int64)


def elec2() -> tuple[np.ndarray, np.ndarray]:
    """All 45,312 rows of 8 columns: date, day, period and five prices and amounts."""
    folder = DATA / "electricity"
    return np.loadtxt(folder / "elec2_data.dat.gz").astype(np.float32), np.loadtxt(
        folder / "elec2_label.dat.gz"
    ).astype(np.int64)


def bananas() -> tuple[np.ndarray, np.ndarray]:
    with zipfile.ZipFile(DATA / "river_packaged" / "banana.zip") as packed:
        text = packed.read(packed.namelist()[0]).decode()
    rows = [line.split() for line in text.splitlines() if line]
    x = np.array([[float(cell.partition(":")[2]) for cell in row[1:]] for row in rows], dtype=np.float32)
    return x, np.array([int(row[0]) > 0 for row in rows]).astype(np.int64)


def segments() -> tuple[np.ndarray, np.ndarray]:
    with zipfile.ZipFile(DATA / "river_packaged" / "segment.csv.zip") as packed:
        rows = list(csv.reader(io.StringIO(packed.read(packed.namelist()[0]).decode())))
    at = rows[0].index("category")
    body = np.array(rows[1:])
    return np.delete(body, at, axis=1).astype(np.float32), np.unique(body[:, at], return_inverse=True)[1]


def phishing() -> tuple[np.ndarray, np.ndarray]:
    return table("river_packaged/phishing.csv.gz", "is_phishing")


def weather() -> tuple[np.ndarray, np.ndarray]:
    return table("noaa_weather/weather.csv.gz", "target")


def outdoor() -> tuple[np.ndarray, np.ndarray]:
    return table("outdoor/outdoorStream.csv.gz", "target")


def drifting(name: str) -> tuple[np.ndarray, np.ndarray]:
    """interchangingRBF or transientChessboard."""
    folder = DATA / "synthetic_known_drift"
    x = np.loadtxt(folder / f"{name}.data.gz").astype(np.float32)
    return x, np.loadtxt(folder / f"{name}.labels.gz").astype(np.int64)


def trump() -> tuple[np.ndarray, np.ndarray]:
    return table("river_packaged/trump_approval.csv.gz", "five_thirty_eight", number=True)


def fried(n: int = 40_768) -> tuple[np.ndarray, np.ndarray]:
    """Friedman's function: 10 numbers of which 5 matter, noise of deviation 1."""
    rng = np.random.default_rng(1)
    x = rng.random((n, 10)).astype(np.float32)
    y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    return x, y + rng.normal(size=n)


def ours(make: Callable[[], Any], x: Any, y: np.ndarray, *, times: int = 3) -> Told:
    """A learner of ours through all rows, in blocks of 1,000."""
    rows = [rt.Batch(take(x, slice(i, i + 1000)), y=y[i : i + 1000]) for i in range(0, len(y), 1000)]
    make().learn(rows[0])  # compiled
    seconds = np.inf
    said: list[np.ndarray] = []
    for _ in range(times):
        learner = make()
        start = time.process_time()
        said = [learner.learn(block) for block in rows]
        seconds = min(seconds, time.process_time() - start)
    if y.dtype.kind == "f":
        return _numbers(np.concatenate(said), y, seconds)
    # Nothing is said before the first class is known: that counts as wrong.
    best = np.concatenate([block.argmax(axis=1) if block.shape[1] else np.full(len(block), -1) for block in said])
    known = np.concatenate([block.sum(axis=1) > 0 for block in said])
    return Told(float(((best == y) & known).mean()), seconds)


def theirs(make: Callable[[], Any], x: np.ndarray, y: np.ndarray) -> Told:
    """A model of River's through all rows."""
    rows = [dict(enumerate(row)) for row in x.astype(float).tolist()]
    labels = y.tolist()
    model = make()
    said: list[Any] = []
    start = time.process_time()
    for row, label in zip(rows, labels, strict=True):
        said.append(model.predict_one(row))
        model.learn_one(row, label)
    seconds = time.process_time() - start
    if y.dtype.kind == "f":
        return _numbers(np.array([0.0 if one is None else one for one in said]), y, seconds)
    return Told(float(np.mean([one == label for one, label in zip(said, labels, strict=True)])), seconds)


def no_change(y: np.ndarray) -> float:
    """Accuracy, or mean absolute error, of saying the last label again."""
    return float((y[1:] == y[:-1]).mean() if y.dtype.kind != "f" else np.abs(np.diff(y)).mean())


def _numbers(said: np.ndarray, y: np.ndarray, seconds: float) -> Told:
    return Told(float(np.abs(said - y).mean()), seconds, float(np.sqrt(np.mean((said - y) ** 2))))
