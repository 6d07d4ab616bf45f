"""Avalanche and Mammoth beside retain: trained rows per CPU-second, the memory of it, and how right each then is.

    python bench_peers.py [--make FOLDER | --avalanche PYTHON] [--mammoth PYTHON FOLDER] [--only PART] [--seeds N]

Each contender (`peers.py`) is a process of its own with one thread; they take turns, each turn a learner that is new.
All learn the same rows of Split-MNIST, five experiences, one epoch: 784-400-400-10, Adam 1e-3, 500 rows of memory and
as many old rows as new ones in a step. What happens when experiences begin and end counts, the test does not. Of
accuracy each tells what it usually does while it trains: retain the predictions of `learn`, Avalanche the metrics of
its default evaluator, Mammoth nothing. Each method is as its library has it, and they differ: DER++ draws once in
Avalanche and twice elsewhere; Avalanche's EWC keeps a penalty for each experience and a Fisher information of batches,
retain's and Mammoth's one of rows; Avalanche adds to its memories when an experience ends, so that it replays nothing
in the first, and Mammoth to that of A-GEM; the others with every step. Avalanche gets the fused Adam that retain has;
Mammoth makes its own.

The stream: experiences of 10 rows, and after each of them `consolidate`, or what `train` does at its end. Avalanche
once with the reservoir of its guide to online streams, once with the buffer that its `Replay` has.

The accuracy: replay with the settings of Hsu et al. 2018, 1,100 rows, 4 epochs, 64 new and 64 old rows a step.

`--make` installs avalanche-lib and what Mammoth imports, beside the torch that is here, into a virtual environment in
FOLDER, unless it is there. Mammoth itself is not on PyPI: FOLDER of `--mammoth` is a clone of aimagelab/mammoth, and
PYTHON the one of such an environment. A peer that is not named is left out. MNIST is read from the folder beside the
repository. Five minutes for the speed, as many for the stream and three for each seed of the accuracy.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import numpy as np
import torch
from measure import MNIST, record
from rich.progress import track

import retain as rt

PARTS = ("speed", "stream", "accuracy")
STRATEGIES = ("naive", "replay", "DER++", "LwF", "EWC", "A-GEM")
ROWS = {64: 1_280, 10: 640}  # of each experience, of a turn: seconds
NAMES = {"retain": "retain", "avalanche": "Avalanche", "torchvision": "Avalanche, images", "mammoth": "Mammoth"}
EARLY, LATE = 5_000, 50_000  # rows of a stream
AVALANCHE = ["avalanche-lib==0.6.0"]
MAMMOTH = [  # what is imported of it here
    *("ftfy", "kornia", "numpy", "onedrivedownloader", "pandas", "pillow", "pyyaml", "regex", "six", "timm==0.9.8"),
    *("torchvision", "tqdm"),
]


class Worker:
    """A contender in a process of its own."""

    def __init__(self, name: str, python: str, folder: Path, mammoth: str = "") -> None:
        env = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        self.name, self.memory, self.log = name, 0.0, folder / f"{name}.log"
        script = Path(__file__).with_name("peers.py")
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [python, str(script), str(folder), name, mammoth],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=env,
                text=True,
            )
        self.about = self.answer()["about"]

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} failed:\n{self.log.read_text()[-3000:]}")
        return json.loads(line)

    def do(self, **job: Any) -> dict[str, float]:
        """Do a job; what it took and how right it was."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def end(self) -> None:
        """Let it end, and see how much memory it held at most, in MiB."""
        assert self.process.stdin
        self.process.stdin.close()
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.memory = usage.ru_maxrss / 1024


Workers = Mapping[str, Worker]


def lay(folder: Path) -> None:
    """Put down what contenders learn: standardised pixels, and the files that torchvision wants."""
    data = rt.streams.images.mnist(MNIST)
    columns = {}
    for name, part in (("", data.train), ("test_", data.test)):
        pixels = part.x.reshape(len(part), -1).astype(np.float32) / 255
        columns[f"{name}x"] = (pixels - np.float32(0.1307)) / np.float32(0.3081)
        columns[f"{name}y"] = part.y.astype(np.int64)
    np.savez(folder / "rows.npz", **columns)
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in MNIST.glob("*.gz"):
        (raw / path.stem).write_bytes(gzip.decompress(path.read_bytes()))


def environment(folder: Path) -> str:
    """A virtual environment with what both peers import; its interpreter."""
    python = str(folder.resolve() / "bin" / "python")
    done = folder / "installed"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [python, "-m", "pip", "install", "--quiet"]
        version = torch.__version__.partition("+")[0]
        subprocess.run([*pip, f"torch=={version}"], check=True)
        limits = folder / "constraints.txt"
        limits.write_text(f"torch=={version}\n")
        subprocess.run([*pip, "-c", str(limits), *AVALANCHE, *MAMMOTH], check=True)
        done.touch()
    return python


def table(columns: Sequence[str]) -> list[str]:
    return ["", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]


def both(seconds: Sequence[float], rows: int) -> str:
    """Rows per CPU-second, best and median."""
    return f"{rows / min(seconds):,.0f} / {rows / median(seconds):,.0f}"


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> str:
    """How many times more CPU-seconds, best and median."""
    return f"{min(theirs) / min(ours):.2f} / {median(theirs) / median(ours):.2f}"


def speed(workers: Workers, turns: int) -> list[str]:
    others = [name for name in workers if name != "retain"]
    columns = ["", "rows a step", *(NAMES[name] for name in workers), *(f"to {NAMES[name]}" for name in others)]
    how = (
        "Trained rows per CPU-second, best / median of a turn; how many times more with retain; per cent of the test "
        f"rows after {ROWS[64] * 5:,} rows in steps of 64, {ROWS[10] * 5:,} in steps of 10."
    )
    lines = [
        "",
        how,
        *table([*columns, *(f"{NAMES[name]}, accuracy" for name in workers)]),
    ]
    for batch, rows in ROWS.items():
        for strategy in STRATEGIES:
            taking = [w for w in workers.values() if w.name != "torchvision" or strategy in ("naive", "replay")]
            job = {"strategy": strategy, "batch": batch}
            for worker in taking:
                worker.do(**job, rows=2 * batch)  # warms caches
            told: dict[str, list[dict[str, float]]] = {worker.name: [] for worker in taking}
            for turn in range(turns):
                for worker in taking:
                    told[worker.name].append(worker.do(**job, rows=rows, seed=turn))
            cpu = {name: [one["cpu"] for one in answers] for name, answers in told.items()}
            right = {name: 100 * fmean(one["accuracy"] for one in answers) for name, answers in told.items()}
            cells = [
                *(both(cpu[name], 5 * rows) if name in cpu else "" for name in workers),
                *(ratio(cpu[name], cpu["retain"]) if name in cpu else "" for name in others),
                *(f"{right[name]:.1f}" if name in right else "" for name in workers),
            ]
            lines.append(f"| {strategy} | {batch} | {' | '.join(cells)} |")
            print(lines[-1], file=sys.stderr, flush=True)
    return lines


def stream(workers: Workers) -> list[str]:
    """Experiences of 10 rows: what a row costs, and what it costs late against early."""
    goers = {"retain": ("retain", "replay")}
    if "avalanche" in workers:
        goers |= {"Avalanche, reservoir": ("avalanche", "replay, reservoir"), "Avalanche": ("avalanche", "replay")}

    def go(goer: str, place: int, rows: int) -> tuple[float, float]:
        """The next rows of the stream that is to get to a place: CPU-seconds for a row, and how right it now is."""
        name, strategy = goers[goer]
        told = workers[name].do(strategy=strategy, batch=10, rows=rows, stream=f"{strategy} {place}")
        return told["cpu"] / rows, told["accuracy"]

    def chunks(names: Sequence[str], place: int, start: int, stop: int) -> dict[str, list[tuple[float, float]]]:
        told: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
        for _ in track(range(start, stop, 500), description=f"stream to {stop:,}"):
            for name in names:
                told[name].append(go(name, place, 500))
        return told

    early = chunks(list(goers), EARLY, 0, EARLY)
    lasting = [name for name in goers if name != "Avalanche"]  # of which a row costs more and more
    late = chunks(lasting, LATE, 0, LATE)
    turns: dict[tuple[str, int], list[float]] = {(name, place): [] for name in lasting for place in (EARLY, LATE)}
    for _ in range(20):
        for (name, place), seconds in turns.items():
            seconds.append(go(name, place, 200)[0])
    how = (
        "Replay, 500 rows, in a stream of 10-row experiences: microseconds of CPU for a row, best / median of 500 rows "
        f"each. The last column: a row at {LATE:,} to one at {EARLY:,}, by turns."
    )
    lines = [
        "",
        how,
        *table(
            [
                *("", f"rows 500 to {EARLY:,}", "to retain", f"rows to {EARLY:,}, the last 500", "to retain"),
                *(
                    f"rows to {LATE:,}, the last 5,000",
                    "to retain",
                    "accuracy, early",
                    "accuracy, late",
                    "late to early",
                ),
            ]
        ),
    ]

    def took(told: Sequence[tuple[float, float]]) -> list[float]:
        return [1e6 * seconds for seconds, _ in told]

    for name in goers:
        parts = [
            (took(early[name][1:]), took(early["retain"][1:])),
            (took(early[name][-1:]), took(early["retain"][-1:])),
        ]
        if name in late:
            parts.append((took(late[name][-10:]), took(late["retain"][-10:])))
        cells = [cell for own, ours in parts for cell in (f"{min(own):,.0f} / {median(own):,.0f}", ratio(own, ours))]
        cells += [""] * (6 - len(cells))
        cells.append(f"{100 * early[name][-1][1]:.1f}")
        cells.append(f"{100 * late[name][-1][1]:.1f}" if name in late else "")
        cells.append(ratio(turns[name, LATE], turns[name, EARLY]) if name in late else "")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def accuracy(workers: Workers, seeds: int) -> list[str]:
    """Replay as Hsu et al. have it."""
    names = [name for name in workers if name != "torchvision"]
    told: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for seed in track(range(seeds), description="accuracy"):
        for name in names:
            told[name].append(workers[name].do(strategy="replay", batch=64, memory=1_100, epochs=4, seed=seed))
    lines = [
        "",
        "Replay with the settings of Hsu et al. 2018, 1,100 rows, 4 epochs: per cent of the test rows.",
        *table(["", "accuracy", "seeds", "trained rows per CPU-second, best / median", "published"]),
    ]
    for name, answers in told.items():
        right = [100 * one["accuracy"] for one in answers]
        error = f" ± {stdev(right) / len(right) ** 0.5:.2f}" if len(right) > 1 else ""
        cpu = both([one["cpu"] for one in answers], 4 * 60_000)
        lines.append(f"| {NAMES[name]} | {fmean(right):.2f}{error} | {seeds} | {cpu} | Hsu 2018: 90.8 |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--make", type=Path, metavar="FOLDER")
    parser.add_argument("--avalanche", metavar="PYTHON")
    parser.add_argument("--mammoth", nargs=2, metavar=("PYTHON", "FOLDER"))
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    if not MNIST.is_dir():
        print(f"no MNIST in {MNIST}: not measured")
        return
    avalanche = environment(given.make) if given.make else given.avalanche
    if not (avalanche or given.mammoth):
        print("no peer is named (--make, --avalanche, --mammoth): not measured")
        return
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lay(folder)
        wanted: dict[str, tuple[str, ...]] = {"retain": (sys.executable,)}
        if avalanche:
            wanted |= {"avalanche": (avalanche,), "torchvision": (avalanche,)}
        if given.mammoth:
            wanted["mammoth"] = (given.mammoth[0], str(Path(given.mammoth[1]).resolve()))
        workers = {name: Worker(name, python, folder, *rest) for name, (python, *rest) in wanted.items()}
        absent = [NAMES[name] for name in ("avalanche", "mammoth") if name not in workers]
        lines = [
            "## Peers",
            "",
            "; ".join(f"{NAMES[name]}: {worker.about}" for name, worker in workers.items() if name != "torchvision")
            + f". One thread each. Load of the machine before: {load:.1f}, without this script.",
            *([f"Not here: {' and '.join(absent)}."] if absent else []),
        ]
        parts = {
            "speed": lambda: speed(workers, given.turns),
            "stream": lambda: stream(workers),
            "accuracy": lambda: accuracy(workers, given.seeds),
        }
        for part in PARTS:
            if given.only in (None, part):
                lines += parts[part]()
        for worker in workers.values():
            worker.end()
        held = ", ".join(f"{NAMES[worker.name]} {worker.memory:,.0f}" for worker in workers.values())
        lines += ["", f"Most memory of the process that did all of this, MiB: {held}."]
    if given.only:  # to be looked at
        print("\n".join(lines))
    elif not absent:
        record("peers", "\n".join(lines))
    else:  # the table of both is not put out by that of one
        print("\n".join([*lines, "", "Not put into RESULTS.md: a peer is missing."]))


if __name__ == "__main__":
    main()
