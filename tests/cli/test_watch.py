"""A run as a service: `--log`, `--watchdog`, and a supervisor that starts it again."""

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
    start, _, report, end, again, *_, failed = told()
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


HANGS = """
import retain as rt

stream = rt.streams.csv(["1.csv", "2.csv"], target="y", block=500)
pipeline = rt.Pipeline(stream=stream, learner=rt.Linear(loss=rt.Logistic()), rules=[], step=500)
"""
STUCK = """
import ctypes
import retain as rt

ctypes.PyDLL(None).sleep(60)  # in C, and nobody else may run
"""


def ended(*args: str) -> tuple[int, str, float]:
    start = time.monotonic()
    done = subprocess.run([*RETAIN, *args], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr, time.monotonic() - start


def test_a_source_that_hangs_is_left_and_resumed(folder: Path) -> None:
    rows = ["x,y", *(f"{i % 7 - 3},{int(i % 7 > 3)}" for i in range(2_000))]
    Path("1.csv").write_text("\n".join(rows) + "\n")
    Path("pipeline.py").write_text(HANGS)
    os.mkfifo("2.csv")  # nobody writes to it
    assert main(["run", "pipeline.py", "--limit", "1000", "--json"]) == 0  # what has to be compiled is
    run = ["run", "pipeline.py", "--state", "state", "--log", "log.jsonl", "--json"]
    code, err, seconds = ended(*run, "--watchdog", "2s")
    assert code == 3
    assert seconds < 20
    assert "retain: no report for 2 s; the process ends" in err
    assert "files.py" in err  # where it hangs
    assert "(most recent call first)" in err
    assert (told()[-1]["how"], told()[-1]["rows"]) == ("hung", 1_500)  # the last block waits for what follows

    Path("2.csv").unlink()
    Path("2.csv").write_text("\n".join(rows[:501]) + "\n")
    assert main([*run, "--resume"]) == 0
    assert (told()[-1]["how"], told()[-1]["rows"]) == ("finished", 2_500)


def test_a_watchdog_needs_no_interpreter_and_no_rows(folder: Path) -> None:
    Path("stuck.py").write_text(STUCK)
    code, err, seconds = ended("run", "stuck.py", "--watchdog", "1s")
    assert code == 1
    assert seconds < 20
    assert 'stuck.py", line 5' in err
    os.mkfifo("fifo.csv")
    assert ended("run", "fifo.csv", "--target", "y", "--watchdog", "1s")[0] == 3


def test_a_run_that_reports_is_left_alone(folder: Path) -> None:
    Path("slow.py").write_text(
        "import time, numpy as np, retain as rt\n"
        "class Slow:\n"
        "    rows = rt.streams.arrays(np.arange(3000.0).reshape(-1, 1), np.arange(3000) % 2, block=500)\n"
        "    def schema(self): return self.rows.schema()\n"
        "    def read(self, position=None):\n"
        "        for block in self.rows.read(position):\n"
        "            time.sleep(0.7)\n"
        "            yield block\n"
        "pipeline = rt.Pipeline(stream=Slow(), learner=rt.Linear(loss=rt.Logistic()), rules=[], step=500)\n"
    )
    assert main(["run", "slow.py", "--limit", "500", "--json"]) == 0  # what has to be compiled is
    code, _, seconds = ended("run", "slow.py", "--watchdog", "3s", "--json")
    assert code == 0
    assert seconds > 3


def test_what_is_no_time_is_told(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for wrong in ("10", "soon", "0s"):
        assert main(["run", "rows.csv", "--target", "y", "--watchdog", wrong]) == 2
        assert f"--watchdog {wrong} makes no sense; expected a time span" in capfd.readouterr().err


def test_a_supervisor_gives_resume_at_the_first_start_too(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = ["run", "rows.csv", "--target", "y", "--state", "state", "--resume", "--json"]
    assert main(run) == 2
    assert "there is no folder state to resume from" in capfd.readouterr().err  # a slip, perhaps
    Path("state").mkdir()
    for _ in range(2):
        assert main(run) == 0
        assert json.loads(capfd.readouterr().out.splitlines()[-1])["rows"] == 1_000


PEAK = """
import resource, sys
from retain.cli import main

assert main(["run", "-", "--target", "y", "--learner", "ftrl", "--json"]) == 0
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_a_writer_that_outruns_the_learner_waits_and_memory_stays_flat() -> None:
    """40 MB are written as fast as they are taken: what is taken and not learnt yet would be seen in the peak."""

    def peak(megabytes: int) -> int:
        command = [sys.executable, "-c", PEAK]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as run:
            assert run.stdin is not None
            assert run.stdout is not None
            run.stdin.write(b"a,b,c,y\n")
            for _ in range(megabytes):
                run.stdin.write(b"0.25,1.75,-3.5,1\n-1.25,0.5,2.25,0\n" * 30_000)
            run.stdin.close()
            return int(run.stdout.read().split()[-1])

    few = peak(5)
    assert peak(40) < few + 15
