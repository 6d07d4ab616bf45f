"""A pipeline killed by `kill -9` at every seam and at random moments ends as one that was never killed."""

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

import pytest
from tests.run import victim

SEAMS = (
    "decide before",
    "point before",
    pytest.param("push after", marks=pytest.mark.slow),
    pytest.param("rename before", marks=pytest.mark.slow),
)  # all: make chaos


def start(folder: Path, kind: str, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, victim.__file__, str(folder), kind, *more]
    env = {**os.environ, "PYTHONHASHSEED": "0"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


def finish(folder: Path, kind: str) -> dict[str, Any]:
    process = start(folder, kind)
    out, error = process.communicate()
    assert process.returncode == 0, error
    return json.loads(out.splitlines()[-1])


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    results: dict[str, dict[str, Any]] = {}
    for kind in victim.KINDS:
        folder = tmp_path_factory.mktemp(kind)
        victim.write_rows(folder / "rows.csv")
        results[kind] = finish(folder, kind)
    return results


def test_the_victim_has_something_to_lose(untouched: dict[str, dict[str, Any]]) -> None:
    for kind, result in untouched.items():
        accepted, learnt, lost, pending, quarantined = result["rows"]
        of_labels = kind == "joined"  # one that cannot be read
        assert accepted + quarantined == victim.ROWS + of_labels
        assert quarantined == 4 + of_labels
        assert learnt + lost + pending == accepted
        assert (result["strays"] > 0) == of_labels
        assert result["verify"] == []
        decided = [about["decision"] for what, about in result["log"] if "decision" in about]
        wanted = {"refuse"} if kind == "forest" else {"promote", "refuse"}  # which replaces its own trees
        assert wanted <= {one.get("decision") for one in decided}, kind


@pytest.mark.parametrize("seam", SEAMS)
def test_killed_at_a_seam_again_and_again_it_ends_the_same(
    untouched: dict[str, dict[str, Any]], tmp_path: Path, seam: str
) -> None:
    victim.write_rows(tmp_path / "rows.csv")
    killed = 0
    for count in ("1", "3", "8"):
        process = start(tmp_path, "linear", *seam.split(), count)
        _, error = process.communicate()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, error
        killed += 1
    assert killed
    assert finish(tmp_path, "linear") == untouched["linear"]


@pytest.mark.parametrize("kind", ["analytic", "neural", "joined", "forest"])
def test_killed_at_random_moments_it_ends_the_same(
    untouched: dict[str, dict[str, Any]], tmp_path: Path, kind: str
) -> None:
    victim.write_rows(tmp_path / "rows.csv")
    rng = random.Random(3)
    for _ in range(2):
        process = start(tmp_path, kind, "--every", "0.05")
        time.sleep(rng.uniform(1.0, 3.0))
        process.kill()
        process.communicate()
    assert finish(tmp_path, kind) == untouched[kind]
