"""Analytic learners: Split-MNIST without a gradient and without an exemplar, and the block form beside the BLAS limit.

Split-MNIST class-incremental, one pass, raw pixels from 0 to 1, a fixed random layer and ridge regression. What counts
is the final accuracy and the CPU-seconds of learning, answers to every row included; tests are not.
The block form solves after every block, since every block is answered: sums, a Cholesky factor, a solution and answers.
Its limit is the time of that many operations at the speed of a plain product of two matrices (d, d) in float64.
Needs a folder of the four MNIST files, the one beside the repository if none is named:
`python bench_analytic.py [FOLDER]`.
"""

from __future__ import annotations

import argparse
import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):  # read when NumPy is loaded
    os.environ[name] = "1"

import time  # noqa: E402 - as are those below: the threads first
from collections.abc import Callable  # noqa: E402
from functools import partial  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
from measure import MNIST, load, record  # noqa: E402

import retain as rt  # noqa: E402
from retain.core import Learner  # noqa: E402
from retain.run import scenarios  # noqa: E402
from retain.run.experiences import continual  # noqa: E402

BAR, AIM, SECONDS = 95.0, 97.0, 20.0
D, K, BLOCK, BLOCKS = 512, 100, 256, 40


def ridge(seed: int, *, width: int, kind: str, scale: float) -> Learner:
    return rt.RandomFeatures(width, kind=kind, scale=scale, seed=seed) | rt.Ridge(l2=0.1, batch_size=8192)


RECIPES: dict[str, Callable[[int], Learner]] = {
    "no random layer": lambda _: rt.Ridge(l2=0.1, batch_size=8192),
    "relu, 1,000": partial(ridge, width=1000, kind="relu", scale=1.0),
    "relu, 2,000": partial(ridge, width=2000, kind="relu", scale=1.0),
    "fourier, 2,000": partial(ridge, width=2000, kind="fourier", scale=3.0),
    "relu, 4,000": partial(ridge, width=4000, kind="relu", scale=1.0),
}


def verdict(reached: float, bar: float, *, above: bool = True) -> str:
    return "reached" if (reached >= bar if above else reached <= bar) else "missed"


def split_mnist(folder: Path, seeds: int) -> list[str]:
    scenario = scenarios.flat(scenarios.class_incremental(rt.streams.images.mnist(folder)))
    head = ("final accuracy", f"at least {BAR:g} %", f"aim {AIM:g} %", "learning accuracy", "forgetting", "CPU-seconds")
    lines = [f"| Split-MNIST | {' | '.join(head)} | at most {SECONDS:g} |", "|---" * (len(head) + 2) + "|"]
    for name, make in RECIPES.items():
        result = continual(scenario, make, seeds=seeds)
        acc = 100 * result.acc.mean
        cpu = float(np.mean([run.learning_cpu_seconds for run in result.runs]))
        lines.append(
            f"| {name} | {acc:.2f} ± {100 * result.acc.error:.2f} | {verdict(acc, BAR)} | {verdict(acc, AIM)} "
            f"| {100 * result.learning_accuracy.mean:.2f} | {100 * result.forgetting.mean:.2f} | {cpu:.1f} "
            f"| {verdict(cpu, SECONDS, above=False)} |"
        )
        print(lines[-1])
    return lines


def best(body: Callable[[], object], times: int = 15) -> float:
    """The least CPU-seconds: what is left when nothing else was in the way."""
    found = []
    for _ in range(times):
        start = time.process_time()
        body()
        found.append(time.process_time() - start)
    return min(found)


def block_form() -> list[str]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BLOCK * BLOCKS, D)).astype(np.float32)
    y = rng.normal(size=(BLOCK * BLOCKS, K))
    a, b = rng.normal(size=(2, D, D))
    learner = rt.Ridge(batch_size=BLOCK)
    batches = [rt.Batch(x[i : i + BLOCK], y=y[i : i + BLOCK]) for i in range(0, len(x), BLOCK)]

    def learn() -> None:
        for batch in batches:
            learner.learn(batch)

    def add() -> None:
        rt.Ridge(batch_size=len(x)).learn(rt.Batch(x, y=y))

    sums = BLOCK * D * D + 2 * BLOCK * D * K
    whole = sums + D**3 / 3 + 2 * D * D * K + 2 * BLOCK * D * K
    speed = 2 * D**3 / best(lambda: a @ b, times=100)
    lines = [
        f"| block form, d = {D}, k = {K}, blocks of {BLOCK} | rows per CPU-second | share of the BLAS limit | .5 |",
        "|---|---|---|---|",
    ]
    for name, body, operations in (("sums, solution and answers", learn, whole), ("sums alone", add, sums)):
        seconds = best(body)
        share = operations * BLOCKS / speed / seconds
        lines.append(f"| {name} | {len(x) / seconds:,.0f} | {share:.2f} | {verdict(share, 0.5)} |")
    return [*lines, "", f"The limit: {speed / 1e9:.0f} Gflop/s in float64."]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, nargs="?", default=MNIST)
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    text = ["## Analytic learners", "", *block_form(), ""]
    if given.folder.exists():
        text += [*split_mnist(given.folder, given.seeds), ""]
    else:
        print(f"no MNIST in {given.folder}: its table is left out")
    record("analytic", "\n".join([*text, load()]))


if __name__ == "__main__":
    main()
