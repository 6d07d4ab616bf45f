"""Analytic learners on streams of tables, prequential, beside the linear default and the baselines; and out of core.

Every learner gets the same columns; nothing is tuned. Out of core: 10 GB of rows, made block by block, through `Ridge`
in a process of its own; what counts is the most memory it held, and that its weights are those of all rows at once.

The data sets are read from the folder beside the repository, and left out where it is absent:
`python bench_analytic_streams.py [FOLDER]`.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):  # read when NumPy is loaded
    os.environ[name] = "1"

from collections.abc import Callable  # noqa: E402 - as are those below: the threads first
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
from measure import load, record, run  # noqa: E402

import retain as rt  # noqa: E402
from retain.learners.auto import encoder, loss  # noqa: E402

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
BLOCK, WAVES, SCALE = 4096, 200, 6.0
ROWS, WIDTH, PIECE = 10_000_000, 250, 20_000  # 10 GB of float32


def elec2(folder: Path) -> Any:
    return rt.streams.csv(folder / "electricity" / "elec.csv.gz", target="class", block=BLOCK)


def bikes(folder: Path) -> Any:
    # casual + registered is the target, and instant the number of the row
    ignore = ("casual", "registered", "instant", "dteday")
    return rt.streams.csv(folder / "bike_sharing" / "hour.csv.gz", target="cnt", ignore=ignore, block=BLOCK)


def traffic(folder: Path) -> Any:
    path = folder / "metro_traffic" / "Metro_Interstate_Traffic_Volume.csv.gz"
    return rt.streams.csv(path, target="traffic_volume", block=BLOCK)


STREAMS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "Elec2": (elec2, "accuracy"),
    "bike_sharing": (bikes, "mae"),
    "metro_traffic": (traffic, "mae"),
}


def linear(schema: Any) -> Any:
    return encoder(schema, scaled=True) | rt.Linear(loss=loss(schema))


def narrow(schema: Any) -> Any:
    return encoder(schema, scaled=True, narrow=True)


def waves(schema: Any) -> Any:
    """A random layer is as wide as its first block: categories are hashed."""
    times = any(column.kind is rt.Kind.TIME for column in schema.columns)
    scaled = rt.DateParts() | rt.Scale() if times else rt.Scale()
    return scaled | rt.Hash(bits=8) | rt.RandomFeatures(WAVES, kind="fourier", scale=SCALE, seed=0)


LEARNERS: dict[str, Callable[[Any], Any]] = {
    "quick": rt.quick,
    "linear": linear,
    "RLS": lambda schema: narrow(schema) | rt.RLS(),
    "RLS, forgetting .999": lambda schema: narrow(schema) | rt.RLS(forgetting=0.999),
    "waves, Ridge": lambda schema: waves(schema) | rt.Ridge(l2=0.01),
    "waves, Ridge, last 10,000": lambda schema: waves(schema) | rt.Ridge(l2=0.01, window=10_000),
    "waves, RLS": lambda schema: waves(schema) | rt.RLS(l2=0.01),
    "waves, RLS, forgetting .999": lambda schema: waves(schema) | rt.RLS(l2=0.01, forgetting=0.999),
    "lag, waves, RLS, forgetting .999": lambda schema: rt.Lag() | waves(schema) | rt.RLS(l2=0.01, forgetting=0.999),
}


def tables(folder: Path) -> list[str]:
    heads = [f"{name}, {metric}" for name, (_, metric) in STREAMS.items()]
    lines = [f"| | {' | '.join(f'{head} | CPU-seconds' for head in heads)} |", "|---" * (2 * len(heads) + 1) + "|"]
    baselines: dict[str, list[str]] = {"no_change": [], "prior": []}
    for name, build in LEARNERS.items():
        cells: list[str] = []
        for make, metric in STREAMS.values():
            stream = make(folder)
            last = list(rt.Prequential(stream, build(stream.schema())))[-1]
            cells.append(f"{last.metrics[metric]:.4g} | {last.cpu_seconds:.1f}")
            if name == "quick":
                for who, found in baselines.items():
                    found.append(f"{last.baselines[who][metric]:.4g} | ")
        lines.append(f"| {name} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    return [*lines, *(f"| {who.replace('_', '-')} | {' | '.join(found)} |" for who, found in baselines.items())]


def pieces(rows: int) -> Any:
    """Rows by the block, each turned another way, so that no two are alike."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(PIECE, WIDTH)).astype(np.float32)
    weights = rng.normal(size=WIDTH)
    for i in range(rows // PIECE):
        turned = np.roll(x, i, axis=1)
        yield turned, turned @ weights + np.sin(np.arange(PIECE) * (i + 1))


def out_of_core(rows: int) -> None:
    """Learn, and print the CPU-seconds of it and how far the weights are from those of all rows at once."""
    learner, seconds = rt.Ridge(batch_size=PIECE), 0.0
    gram, right = np.zeros((WIDTH + 1, WIDTH + 1)), np.zeros(WIDTH + 1)
    for x, y in pieces(rows):
        start = time.process_time()
        learner.learn(rt.Batch(x, y=y))
        seconds += time.process_time() - start
        z = np.column_stack([np.ones(PIECE), x]).astype(np.float64)
        gram += z.T @ z
        right += z.T @ y
    expected = np.linalg.solve(gram + np.diag(np.r_[0.0, np.ones(WIDTH)]), right)[1:]
    print(seconds, np.linalg.norm(learner.weights - expected) / np.linalg.norm(expected))


def memory() -> list[str]:
    cost = run([sys.executable, __file__, "--out-of-core", str(ROWS)])
    seconds, error = map(float, cost.output.split())
    verdict = "reached" if cost.memory <= 500 else "missed"
    head = ("rows", "GB", "rows per CPU-second", "most memory, MiB", "at most 500", "weights off the closed form by")
    name = f"Ridge, {WIDTH} columns, answers to all rows"
    found = (f"{ROWS:,}", f"{ROWS * WIDTH * 4 / 1e9:.0f}", f"{ROWS / seconds:,.0f}", f"{cost.memory:.0f}", verdict)
    return [
        f"| out of core | {' | '.join(head)} |",
        "|---" * (len(head) + 1) + "|",
        f"| {name} | {' | '.join(found)} | {error:.0e} |",
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, nargs="?", default=DATA)
    parser.add_argument("--out-of-core", type=int)
    given = parser.parse_args()
    if given.out_of_core:
        out_of_core(given.out_of_core)
        return
    text = ["## Analytic learners on streams of tables", ""]
    if given.folder.is_dir():
        text += [*tables(given.folder), ""]
    record("analytic-streams", "\n".join([*text, *memory(), "", load()]))


if __name__ == "__main__":
    main()
