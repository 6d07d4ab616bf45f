"""Which learner for what: every learner that the command line knows, on streams of every kind.

    python bench_learners.py [FOLDER] [--rows 20000] [--only NAME ...]

Each learner is what `retain run --learner NAME` makes of the stream's schema, nothing tuned, test-then-train; accuracy
for classes, mean absolute error for numbers as a share of that of the mean so far. Microseconds are CPU-seconds of
the whole run, reading and measuring too, compiling apart; memory is the state at the end. Writes the table of
`docs/choosing.md` and its picture, between their marks. Streams are read from the folder beside the repository.
"""

from __future__ import annotations

import argparse
import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):  # read when NumPy is loaded
    os.environ[name] = "1"

import time  # noqa: E402 - as are those below: the threads first
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
from measure import load, machine  # noqa: E402
from rich.progress import track  # noqa: E402

import retain as rt  # noqa: E402
from retain import state  # noqa: E402
from retain.cli.catalogue import LEARNERS  # noqa: E402
from retain.errors import RetainError  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
PAGE, PICTURE = ROOT / "docs" / "choosing.md", ROOT / "docs" / "choosing.png"
BLOCK = 4096
_MOST = 9  # times the error of the mean so far, that are worth telling apart
LEFT_OUT = ("intents",)  # for texts; see docs/text.md


def arrays(x: Any, y: Any) -> Callable[[], Any]:
    return lambda: rt.streams.arrays(np.asarray(x, dtype=np.float32), y, block=BLOCK)


def streams(folder: Path, rows: int) -> dict[str, Callable[[], Any]]:
    """Name: what makes the stream; classes first, then numbers."""
    drift = folder / "synthetic_known_drift"

    def pair(name: str) -> Callable[[], Any]:
        x = np.loadtxt(drift / f"{name}.data.gz", max_rows=rows)
        return arrays(x, np.loadtxt(drift / f"{name}.labels.gz", max_rows=rows).astype(np.int64))

    def csv(path: str, **settings: Any) -> Callable[[], Any]:
        return lambda: rt.streams.csv(folder / path, block=BLOCK, **settings)

    electricity = folder / "electricity"
    x = np.loadtxt(electricity / "elec2_data.dat.gz")
    y = np.loadtxt(electricity / "elec2_label.dat.gz").astype(np.int64)
    return {
        "Elec2": arrays(x, y),
        "weather": csv("noaa_weather/weather.csv.gz", target="target"),
        "credit": csv("credit_default/UCI_Credit_Card.csv.gz", target="Y", ignore=("ID",)),
        "flights": lambda: rt.streams.flights(block=BLOCK),
        "moving RBF": pair("interchangingRBF"),
        "chessboard": pair("transientChessboard"),
        "bike": csv("bike_sharing/hour.csv.gz", target="cnt", ignore=("casual", "registered", "instant", "dteday")),
        "traffic": csv("metro_traffic/Metro_Interstate_Traffic_Volume.csv.gz", target="traffic_volume"),
        "ETTh1": csv("ett/ETTh1.csv.gz", target="OT"),
    }


def run(make: Callable[[Any], Any], stream: Callable[[], Any], rows: int) -> tuple[float, float, int] | None:
    """Score, microseconds a row, bytes of the state; None where the learner is for other targets."""
    schema = stream().schema()
    try:
        learner = make(schema)
        list(rt.Prequential(stream(), make(schema), limit=300))  # compiles
    except RetainError:
        return None
    start = time.process_time()
    last = list(rt.Prequential(stream(), learner, limit=rows))[-1]
    spent = (time.process_time() - start) / last.rows * 1e6
    if "accuracy" in last.metrics:
        score = last.metrics["accuracy"]
    else:
        score = last.metrics["mae"] / last.baselines["prior"]["mae"]
    return score, spent, len(state.encode(learner.state_dict()))


def table(found: dict[str, dict[str, tuple[float, float, int]]], names: list[str]) -> str:
    head = ["learner", *names, "µs a row", "kB"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    best = {
        name: (max if "accuracy" in kind(name) else min)(row[name][0] for row in found.values() if name in row)
        for name in names
    }
    for learner, row in found.items():
        cells = []
        for name in names:
            score = row[name][0] if name in row else None
            text = "" if score is None else f"{score:.3f}" if score < _MOST else f"> {_MOST}"
            near = score is not None and abs(score - best[name]) <= 0.005
            cells.append(f"**{text}**" if near else text)
        spent = np.median([each[1] for each in row.values()])
        size = np.median([each[2] for each in row.values()]) / 1000
        lines.append(f"| `{learner}` | {' | '.join(cells)} | {spent:.0f} | {size:,.0f} |")
    return "\n".join(lines)


def kind(name: str) -> str:
    return "error" if name in ("bike", "traffic", "ETTh1") else "accuracy"


def picture(found: dict[str, dict[str, tuple[float, float, int]]], names: list[str]) -> None:
    """How far behind the best each learner is, in the mean over streams, against what a row costs."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.ticker
    from matplotlib import pyplot as plt

    panels = [[n for n in names if kind(n) == "accuracy"], [n for n in names if kind(n) == "error"]]
    figure, axes = plt.subplots(1, 2, figsize=(12, 5.5))
    for axis, streams_here in zip(axes, panels, strict=True):
        for learner, row in found.items():
            if any(name not in row for name in streams_here):
                continue
            cost = float(np.median([row[name][1] for name in streams_here]))
            score = float(np.mean([row[name][0] for name in streams_here]))
            if score > 1.2:
                continue
            axis.scatter(cost, score, s=18, color="#b4532a" if learner == "auto" else "#2f5d8a", zorder=3)
            axis.annotate(learner, (cost, score), xytext=(4, 3), textcoords="offset points", fontsize=7)
        axis.set_xscale("log")
        axis.set_xlabel("microseconds of CPU for a row")
        axis.grid(alpha=0.3)
        axis.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
    axes[1].set_ylim(0, 1.2)  # beyond lie those that are worse than the mean so far
    axes[0].set_ylabel("mean accuracy, classes (higher is better)")
    axes[1].set_ylabel("mean error beside the mean so far (lower is better)")
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, nargs="?", default=DATA)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--only", nargs="*", default=None)
    given = parser.parse_args()
    made = streams(given.folder, given.rows)
    found: dict[str, dict[str, tuple[float, float, int]]] = {}
    chosen = [name for name in LEARNERS if name not in LEFT_OUT and (given.only is None or name in given.only)]
    for learner in track(chosen, description="learners"):
        row = {name: run(LEARNERS[learner].make, stream, given.rows) for name, stream in made.items()}
        found[learner] = {name: each for name, each in row.items() if each is not None}
        print(learner, {name: f"{each[0]:.4f}" for name, each in found[learner].items()}, flush=True)
    text = "\n\n".join([table(found, list(made)), f"First {given.rows:,} rows of each. {machine()}. {load()}"])
    begin, end = "<!-- learners -->", "<!-- end of learners -->"
    page = PAGE.read_text()
    PAGE.write_text(page[: page.index(begin)] + f"{begin}\n{text}\n{end}" + page[page.index(end) + len(end) :])
    picture(found, list(made))


if __name__ == "__main__":
    main()
