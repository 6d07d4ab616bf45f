"""Rows that benchmarks of trees learn, and how both sides learn them: test-then-train, CPU-seconds of the loop.

The files are read from the folder beside the repository.
"""

from __future__ import annotations

import csv
import gzip
import io
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import retain as rt

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
PACKAGED = DATA / "river_packaged"
BLOCK = 1000
Rows = tuple[np.ndarray, np.ndarray]


def generated(stream: Any) -> Rows:
    batches = list(stream)
    return np.concatenate([np.asarray(b.x) for b in batches]), np.concatenate([b.y for b in batches])


def friedman(n: int = 40_768) -> Rows:
    return generated(rt.streams.Friedman(seed=1, n=n))


def drifting_tree(n: int = 100_000) -> Rows:
    """Labels of a random tree of 30 columns, another one every 25,000 rows."""
    concepts = [rt.streams.RandomTree(seed=seed) for seed in range(4)]
    return generated(rt.streams.Recurring(concepts, every=25_000, n=n))


def table(path: Path, target: str, *, leave: tuple[str, ...] = ()) -> Rows:
    if path.suffix == ".zip":
        whole = zipfile.ZipFile(path)
        text = whole.read(next(name for name in whole.namelist() if not name.startswith("__"))).decode()
    else:
        text = gzip.decompress(path.read_bytes()).decode()
    lines = list(csv.reader(io.StringIO(text)))
    cells = np.array(lines[1:])
    kept = [j for j, name in enumerate(lines[0]) if name != target and name not in leave]
    return cells[:, kept].astype(np.float32), cells[:, lines[0].index(target)]


def codes(path: Path, target: str) -> Rows:
    x, names = table(path, target)
    return x, np.unique(names, return_inverse=True)[1].astype(np.int64)


def bananas() -> Rows:
    whole = zipfile.ZipFile(PACKAGED / "banana.zip")
    text = whole.read(next(name for name in whole.namelist() if not name.startswith("__"))).decode()
    rows = [line.split() for line in text.splitlines() if ":" in line]
    x = np.array([[float(cell.partition(":")[2]) for cell in row[1:]] for row in rows], dtype=np.float32)
    return x, np.array([float(row[0]) > 0 for row in rows]).astype(np.int64)


def elec2() -> Rows:
    folder = DATA / "electricity"
    x, y = (np.loadtxt(folder / f"elec2_{part}.dat.gz") for part in ("data", "label"))
    return x.astype(np.float32), y.astype(np.int64)


def trump() -> Rows:
    x, y = table(PACKAGED / "trump_approval.csv.gz", "five_thirty_eight")
    return x, y.astype(float)


def bikes() -> Rows:
    leave = ("instant", "dteday", "casual", "registered")
    x, y = table(DATA / "bike_sharing" / "hour.csv.gz", "cnt", leave=leave)
    return x, y.astype(float)


def head(rows: Rows, n: int) -> Rows:
    return rows[0][:n], rows[1][:n]


def ours(make: Callable[[], Any], rows: Rows) -> tuple[np.ndarray, float]:
    """What was said before each row was learnt, and the CPU-seconds."""
    x, y = rows
    learner = make()
    blocks = [rt.Batch(x[i : i + BLOCK], y=y[i : i + BLOCK]) for i in range(0, len(x), BLOCK)]
    start = time.process_time()
    said = [learner.learn(block) for block in blocks]
    spent = time.process_time() - start
    if said[0].ndim == 1:
        return np.concatenate(said), spent
    return np.concatenate([part.argmax(axis=1) for part in said]), spent


def theirs(make: Callable[[], Any], rows: Rows) -> tuple[np.ndarray, float]:
    """The same of a learner of River's; turning rows into dictionaries is not counted."""
    x, y = rows
    named = [dict(enumerate(row)) for row in x.tolist()]
    learner, said, labels = make(), [], y.tolist()
    start = time.process_time()
    for row, label in zip(named, labels, strict=True):
        said.append(learner.predict_one(row))
        learner.learn_one(row, label)
    spent = time.process_time() - start
    return np.array([0 if answer is None else answer for answer in said]), spent
