"""What the two linear benchmarks share: `vw` and the contenders in turn, and the table of what they took."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from measure import record, run

PYTHON = sys.executable
TIMES = 5


def vw(folder: Path, options: str) -> list[str]:
    """`vw` on its cache; the first run of a folder writes it."""
    data = ["-d", str(folder / "rows.vw"), "--cache_file", str(folder / "rows.cache")]
    return [PYTHON, "-m", "vowpalwabbit", *data, "--loss_function", "logistic", "--no_stdin", *options.split()]


def vw_score(command: Sequence[str]) -> dict[str, float]:
    """Accuracy and log-loss of `vw`, from its own progressive loss."""
    found = {}
    for name, extra in (("log_loss", []), ("accuracy", ["--binary"])):
        told = subprocess.run([*command, *extra], check=True, capture_output=True, text=True).stderr
        found[name] = float(re.search(r"average loss = ([0-9.]+)", told)[1])
    return {"log_loss": found["log_loss"], "accuracy": 1 - found["accuracy"]}


def measure(folder: Path, peers: Mapping[str, str], ours: Sequence[str]) -> dict[str, dict[str, float]]:
    """CPU-seconds, best and median of five, each contender once a round, after a round that is not counted."""
    commands = {name: vw(folder, options) for name, options in peers.items()}
    scores: dict[str, dict[str, float]] = {name: vw_score(command) for name, command in commands.items()}
    seconds: dict[str, list[float]] = {name: [] for name in [*commands, *ours]}
    idle: list[float] = []
    for i in range(TIMES + 1):
        # What Python and vw take to start is not learning.
        idle.append(run([PYTHON, "-m", "vowpalwabbit", "--version"]).cpu)
        for name, command in commands.items():
            cost = run([*command, "--quiet"]).cpu
            if i:
                seconds[name].append(cost - min(idle))
        for name in ours:
            got = json.loads(run([PYTHON, str(Path(__file__).parent / "contenders.py"), str(folder), name]).output)
            scores[name] = got
            if i:
                seconds[name].append(got["cpu"])
    return {name: {**scores[name], "best": min(taken), "median": median(taken)} for name, taken in seconds.items()}


def report(section: str, title: str, rows: int, told: Mapping[str, Mapping[str, float]], peer: str) -> None:
    """A table of rows per CPU-second and the ratios to the peer."""
    best, middle = told[peer]["best"], told[peer]["median"]
    lines = [
        title,
        "",
        f"Ratios to `{peer}`: how many times more rows per CPU-second.",
        "",
        "| | M rows/s, best | median | ratio, best | ratio, median | accuracy | log-loss |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, line in told.items():
        speed = f"{rows / line['best'] / 1e6:.3g} | {rows / line['median'] / 1e6:.3g}"
        ratio = f"{best / line['best']:.3g} | {middle / line['median']:.3g}"
        lines.append(f"| {name} | {speed} | {ratio} | {line['accuracy']:.4f} | {line['log_loss']:.4f} |")
    loop, mine = told["C loop, adaptive"], told["retain, adaptive"]
    share = f"{loop['best'] / mine['best']:.2f} (best), {loop['median'] / mine['median']:.2f} (median)"
    lines += ["", f"Of the speed of the same update in C: {share}."]
    record(section, "\n".join(lines))
