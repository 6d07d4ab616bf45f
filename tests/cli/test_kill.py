"""`kill -9` at random moments and at every seam of a commit: the resumed run ends in the same model and report."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.run.victim import KILLING

from retain import state

# A driver that kills itself at the n-th call of one of the steps of a commit; the library has no hooks for it.
DRIVER = (
    KILLING
    + """
seam, left = sys.argv[1], [int(sys.argv[2])]
where, _, when = seam.partition(" ")
if where == "fsync":
    os.fsync = killing(os.fsync, left, before=when == "before")
elif where == "replace":
    pathlib.Path.replace = killing(pathlib.Path.replace, left, before=when == "before")
elif where == "unlink":
    pathlib.Path.unlink = killing(pathlib.Path.unlink, left, before=when == "before")
from retain.run import durable
import retain.cli.source
durable.__kwdefaults__["every"] = 0.0  # a commit after every block, and many blocks: more seams to hit
retain.cli.source.BLOCK = 1000
from retain.cli import main
sys.exit(main(sys.argv[3:]))
"""
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file with categories, missing values, rows that cannot be read, and labels that come late."""
    rng = np.random.default_rng(1)
    path = tmp_path_factory.mktemp("kill") / "rows.csv"
    lines = ["at,known,colour,size,late"]
    for i in range(30_000):
        size = "" if rng.random() < 0.05 else f"{rng.normal():.4f}"
        if i % 5_000 == 4_321:
            size = "broken"
        known = "" if rng.random() < 0.02 else f"{i + rng.integers(1, 500)}"
        lines.append(f"{i},{known},{rng.choice(list('abcdef'))}{i // 9_000},{size},{int(rng.random() < 0.3)}")
    path.write_text("\n".join(lines) + "\n")
    return path


def command(source: Path, folder: Path, *more: str) -> list[str]:
    return [
        *("run", str(source), "--target", "late", "--time", "at", "--delay", "known", "--json"),
        *("--on-bad-rows", "quarantine", str(folder / "bad.jsonl"), "--state", str(folder / "state"), *more),
    ]


def finish(source: Path, folder: Path) -> tuple[dict[str, Any], bytes, str]:
    """Run (or resume) to the end; the report, the model and the quarantined rows, clocks aside."""
    more = ["--resume"] if any(state.snapshots(folder / "state")) else []
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, "nowhere", "0", *command(source, folder, *more)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    for clock in ("seconds", "cpu_seconds", "rows_per_second"):
        del report[clock]
    kept = state.read_snapshot(next(state.snapshots(folder / "state"))[1])
    kept["parts"]["run"]["clocks"] = None
    kept["parts"]["log"].pop("clocks", None)
    return report, state.encode({"run": kept["parts"]["run"]}), (folder / "bad.jsonl").read_text()


@pytest.fixture(scope="module")
def untouched(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], bytes, str]:
    """The run that was never killed."""
    folder = tmp_path_factory.mktemp("untouched")
    result = finish(source, folder)
    assert result[0]["rows"] + result[0]["quarantined"] == 30_000
    assert result[0]["quarantined"] == 6
    return _named_alike(result, folder)


def _named_alike(result: tuple[dict[str, Any], bytes, str], folder: Path) -> tuple[dict[str, Any], bytes, str]:
    """Folders have names of their own, which the state may hold; nothing else may differ."""
    report, model, bad = result
    return report, model.replace(str(folder).encode(), b"F"), bad


@pytest.mark.parametrize(
    "seam", ["fsync before", "fsync after", "replace before", "replace after", "unlink before", "unlink after"]
)
def test_killed_at_a_seam(seam: str, source: Path, untouched: tuple[Any, ...], tmp_path: Path) -> None:
    for count in (1, 2, 5):
        more = ["--resume"] if any(state.snapshots(tmp_path / "state")) else []
        args = [sys.executable, "-c", DRIVER, seam, str(count), *command(source, tmp_path, *more)]
        done = subprocess.run(args, capture_output=True, text=True, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr
    assert _named_alike(finish(source, tmp_path), tmp_path) == untouched


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(i, marks=pytest.mark.slow) for i in (2, 3))])
def test_killed_at_random_moments(seed: int, source: Path, untouched: tuple[Any, ...], tmp_path: Path) -> None:
    """Five kills each, 10 in all, 20 with the slow ones; most hit the loop, some the start."""
    rng = random.Random(seed)
    for _ in range(5):
        more = ["--resume"] if any(state.snapshots(tmp_path / "state")) else []
        args = [sys.executable, "-c", DRIVER, "nowhere", "0", *command(source, tmp_path, *more)]
        process = subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.7, 1.8))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert _named_alike(finish(source, tmp_path), tmp_path) == untouched
