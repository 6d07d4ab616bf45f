"""A smaller learner that goes on learning: how much faster a step is, and what is lost on the way.

Split-MNIST, class-incremental, 784-512-512-10 and ER-ACE with 100 rows a class in memory, as in `bench_sparse.py`. The
rows of each pair of digits are halved: five experiences bring the pairs, five more bring the other halves. One learner
is halved (`Shrink(0.5, recover=Distil())`) after the fifth; one loses a tenth of its units after each of the ten; what
they are compared with is never compressed. Lessons are the rows of the last experience and the learner's own memory.
To be taught again helps by itself, so two learners of full size are taught as often as the smaller ones.

Steps are timed in turn with the dense learner's, on one thread. Needs the folder of the four MNIST files: `python
bench_shrink.py [FOLDER] [--seeds N]`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import torch
from bench_sparse import accuracy, learner, pairs
from measure import MNIST, load, record
from rich.progress import track

import retain as rt
from retain.blocks import take_batch
from retain.compression import Distil, Draft, Lessons, LowRank, Shrink, Step
from retain.core import Batch

FASTER, POINTS = 1.5, 1.0  # the bars
STEPS = {"half of the units": Shrink(0.5), "three quarters": Shrink(0.75), "low rank, half": LowRank(0.5)}


def compress(model: rt.Neural, step: Step, batch: Batch) -> rt.Neural:
    small = step(Draft(model), Lessons([batch], teacher=model)).learner
    if not isinstance(small, rt.Neural):
        raise TypeError
    return small


def timed(batch: Batch, *, times: int = 40) -> dict[str, tuple[float, float]]:
    """Milliseconds of a step, least and median, of 64 rows without replay: the module alone."""

    def fresh() -> rt.Neural:
        model = rt.Neural(rt.neural.MLP(784, 512, 512, 10), batch_size=64)
        model.learn(take_batch(batch, slice(0, 640)))
        return model

    models = {"dense": fresh(), **{name: compress(fresh(), step, batch) for name, step in STEPS.items()}}
    took: dict[str, list[float]] = {name: [] for name in models}
    rows = take_batch(batch, slice(0, 640))
    for i in range(times + 1):
        for name, model in models.items():
            start = time.process_time()
            model.learn(rows)
            if i:
                took[name].append((time.process_time() - start) * 100)  # ten steps
    return {name: (min(some), median(some)) for name, some in took.items()}


def run(
    seed: int, data: tuple[Sequence[Batch], Batch], after: Callable[[int], Step | None]
) -> tuple[float, float, int]:
    """Accuracy after five experiences and after ten, and how many weights are left."""
    experiences, test = data
    model, rng = learner(seed, "er-ace", None), np.random.default_rng(seed)
    half = 0.0
    for i, batch in enumerate(experiences):
        model.learn(take_batch(batch, rng.permutation(len(batch))))
        model.consolidate([batch])
        step = after(i)
        if step is not None:
            model = compress(model, step, batch)
        if i == 4:
            half = accuracy(model, test)
    return half, accuracy(model, test), len(model.model.weights)


WAYS: dict[str, Callable[[int], Step | None]] = {
    "never": lambda i: None,
    "half, after the fifth": lambda i: Shrink(0.5, recover=Distil()) if i == 4 else None,
    "none, but taught again after the fifth": lambda i: Distil() if i == 4 else None,
    "half, after the fifth, nothing recovered": lambda i: Shrink(0.5) if i == 4 else None,
    "a tenth, after each of ten": lambda i: Shrink(0.1, recover=Distil()),
    "none, but taught again after each of ten": lambda i: Distil(),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=MNIST)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    if not given.folder.exists():
        print(f"no MNIST in {given.folder}: not measured")
        return
    torch.set_num_threads(1)
    first, test = pairs(given.folder)
    halves = [take_batch(pair, slice(i, None, 2)) for i in (0, 1) for pair in first]
    steps = timed(first[0])
    dense = steps["dense"]
    lines = [
        "## A smaller learner that goes on learning",
        "",
        "| 784-512-512-10 | ms a step of 64 rows | faster, best (median) |",
    ]
    lines.append("|---|---|---|")
    for name, (best, mid) in steps.items():
        lines.append(f"| {name} | {best:.2f} ({mid:.2f}) | {dense[0] / best:.1f}x ({dense[1] / mid:.1f}x) |")
    faster = dense[1] / steps["half of the units"][1]
    found = {
        name: np.array([run(seed, (halves, test), after) for seed in range(given.seeds)])
        for name, after in track(WAYS.items(), description="ways")
    }
    lines += [
        "",
        "| units that went | weights left | after five | after ten | below the never compressed |",
        "|---|---|---|---|---|",
    ]
    gaps: dict[str, float] = {}
    for name, runs in found.items():
        apart = found["never"][:, 1] - runs[:, 1]
        gaps[name] = float(apart.mean())
        error = f" ± {apart.std(ddof=1) / len(apart) ** 0.5:.1f}" if name != "never" and len(apart) > 1 else ""
        kept = runs[0, 2] / found["never"][0, 2]
        lines.append(
            f"| {name} | {kept:.0%} | {runs[:, 0].mean():.1f} | {runs[:, 1].mean():.1f} | {apart.mean():+.1f}{error} |"
        )
    reached = {
        f"a step {faster:.1f}x as fast, at least {FASTER}": faster >= FASTER,
        f"five more experiences end {gaps['half, after the fifth']:+.1f} below, at most {POINTS:.0f}": gaps[
            "half, after the fifth"
        ]
        <= POINTS,
        f"ten cycles end {gaps['a tenth, after each of ten']:+.1f} below, at most {POINTS:.0f}": gaps[
            "a tenth, after each of ten"
        ]
        <= POINTS,
    }
    told = "; ".join(f"{what}: {'reached' if done else 'missed'}" for what, done in reached.items())
    lines += ["", f"Accuracy on all ten digits, {given.seeds} seeds. Bars: {told}.", "", load()]
    record("shrink", "\n".join(lines))


if __name__ == "__main__":
    main()
