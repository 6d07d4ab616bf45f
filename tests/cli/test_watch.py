"""A run as a service: `--log`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from retain.cli import main

RETAIN = [sys.executable, "-m", "retain"]
PIPELINE = """
import numpy as np
import retain as rt

x = np.random.default_rng(0).normal(size=(5_000, 2))
learner = rt.Linear(loss=rt.Logistic())
tell = rt.Rule(when=rt.Every(rows=1_000), do=rt.Alert(), name="tell")
pipeline = rt.Pipeline(stream=rt.streams.arrays(x, (x[:, 0] > 0).astype(int)), learner=learner, rules=[tell], step=250)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").write_text("x,y\n" + "1,0\n2,1\n" * 500)
    return tmp_path


def told() -> list[dict]:
    return [json.loads(line) for line in Path("log.jsonl").read_text().splitlines()]


def test_one_log_tells_of_all_lives(folder: Path) -> None:
    run = ["run", "rows.csv", "--target", "y", "--state", "state", "--log", "log.jsonl", "--json"]
    assert main([*run, "--limit", "600"]) == 0
    with Path("rows.csv").open("a") as file:
        file.write("3,0\nbroken,1\n")
    assert main([*run, "--resume"]) == 2
    start, report, end, again, *_, failed = told()
    assert start["settings"]["target"] == "y"
    assert (report["rows"], report["learnt"], report["quarantined"]) == (600, 600, 0)
    assert set(report["metrics"]) == {"accuracy", "auc", "log_loss"}
    assert (end["what"], end["how"], end["rows"]) == ("end", "finished", 600)
    assert (again["what"], again["settings"]["resume"]) == ("start", True)
    assert (failed["what"], failed["how"], failed["error"]) == ("end", "failed", "PoisonError")
    assert "line 1003" in failed["message"]


def test_deeds_of_a_pipeline_and_a_damaged_snapshot_are_told(folder: Path) -> None:
    Path("pipeline.py").write_text(PIPELINE)
    run = ["run", "pipeline.py", "--state", "state", "--log", "log.jsonl", "--json"]
    assert main([*run, "--limit", "3000"]) == 0
    deeds = [(line["rows"], line["rule"], line["did"]) for line in told() if line["what"] == "deed"]
    assert deeds == [(rows, "tell", "fired") for rows in (1_000, 2_000, 3_000)]
    newest = max(Path("state").glob("*.safetensors"))
    newest.write_bytes(newest.read_bytes()[:-1] + b"?")
    assert main([*run, "--resume"]) == 0
    assert next(line["text"] for line in told() if line["what"] == "event").startswith("the snapshot")


def test_a_signal_is_told_by_name(folder: Path) -> None:
    command = [*RETAIN, "run", "-", "--target", "y", "--log", "log.jsonl", "--json"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        assert run.stdin is not None
        run.stdin.write(b"x,y\n")
        while not any(line["what"] == "report" for line in (told() if Path("log.jsonl").exists() else [])):
            run.stdin.write(b"1,0\n2,1\n" * 50_000)
            time.sleep(0.05)
        os.kill(run.pid, signal.SIGTERM)
        run.stdin.close()
    assert run.returncode == 130
    assert (told()[-1]["how"], told()[-1]["by"]) == ("stopped", "SIGTERM")
