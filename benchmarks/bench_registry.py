"""A registry with 10,000 versions: how long it takes to open and list it, to promote and to roll back.

The log is made with syncing switched off, which changes nothing that is read; what is timed afterwards syncs. Wall
clock, best and median of nine; opening is by a new object each time, which reads and checks the whole log. The bars:
0.2 s to list, 1 s to roll back.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from statistics import median

import numpy as np
from measure import record

from retain.registry import CHAMPION, FileRegistry

VERSIONS, TIMES = 10_000, 9


def fill(folder: str) -> None:
    """Versions of which only the last two are looked at again: the others need no file to be listed."""
    registry, sync = FileRegistry(folder, who="anna"), os.fsync
    os.fsync = lambda _: None
    try:
        parent = None
        for i in range(VERSIONS):
            told = {"accuracy": i / VERSIONS, "auc": 0.8, "log_loss": 0.4, "rows": 1000 * i}
            version = registry.push({"w": np.full(100, float(i))}, parent=parent, report=told, why=f"day {i}")
            registry.point(CHAMPION, version.name, why="better")
            parent = version.name
    finally:
        os.fsync = sync


def timed(work: Callable[[], object]) -> tuple[float, float]:
    found = []
    for _ in range(TIMES):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found), median(found)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        fill(folder)
        filled = time.perf_counter() - start
        registry = FileRegistry(folder)
        assert len(registry.versions()) == VERSIONS
        rows = {
            "open and list": (timed(lambda: FileRegistry(folder).versions()), 0.2),
            "list again": (timed(registry.versions), 0.2),
            "roll back": (timed(lambda: registry.rollback(why="complaints")), 1.0),
            "promote": (timed(lambda: registry.point(CHAMPION, "previous")), None),
        }
    lines = [
        "## Registry",
        "",
        f"{VERSIONS:,} versions, {2 * VERSIONS:,} entries of the log, made in {filled:.1f} s; seconds of wall clock.",
        "",
        "| | best | median | bar |",
        "|---|---|---|---|",
        *(f"| {name} | {a:.4f} | {b:.4f} | {'' if bar is None else bar} |" for name, ((a, b), bar) in rows.items()),
    ]
    record("registry", "\n".join(lines))


if __name__ == "__main__":
    main()
