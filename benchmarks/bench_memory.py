"""What rows cost in a memory, and what they are worth there: replay of CIFAR-10 from as many bytes, put down otherwise.

5 tasks of 2 classes, class-incremental, ConvNet, Adam 1e-3, batches of 32 new and 32 old rows, 2 epochs of each task; a
class-balanced memory of past tasks. A picture is 12,288 bytes in float32, 6,144 in float16 and 3,072 in whole numbers
of eight bits, which is what it came in. 10,000 pictures kept as JPEG: 8,000 to learn, 2,000 to test on. Bars: a quarter
of the bytes within .5 points; as many bytes, the fewest of the table, 3 points better.
Needs the data set beside the repository: `python bench_memory.py [--seeds N] [--only PICTURES]...`;
what is not measured anew stays as it stands in RESULTS.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import torch
from bench_cifar import PICTURES
from measure import RESULTS, load, record
from rich.progress import track

import retain as rt
from retain.memory import Store
from retain.run import scenarios
from retain.run.experiences import continual

PICTURE = 3 * 32 * 32 * 4 + 20  # bytes in float32; label, weight and task beside it
STORES: Mapping[str, Store] = {
    "float32": rt.memory.Plain(),
    "float16": rt.memory.Half(),
    "uint8": rt.memory.UInt8(0.0, 1.0),
}
BUDGETS = 400, 100, 25  # pictures in float32


def learner(seed: int, *, store: str, size: int) -> rt.Neural:
    torch.set_num_threads(1)
    memory = rt.memory.Past(rt.memory.ClassBalanced(rt.memory.Bytes(size), store=STORES[store]))
    replay = rt.strategies.Replay(memory, size=32)
    return rt.Neural(rt.neural.ConvNet(3, 10, seed=seed), strategies=[replay], batch_size=32, seed=seed)


def before() -> dict[tuple[str, int], tuple[float, float]]:
    """The figures of the table as it stands."""
    section = RESULTS.read_text().partition("<!-- memory -->")[2].partition("<!-- end")[0]
    found: dict[tuple[str, int], tuple[float, float]] = {}
    for budget in BUDGETS:
        line = next((line for line in section.splitlines() if f"({budget} pictures" in line), "")
        for store, cell in zip(STORES, line.split("|")[2:-1], strict=False):
            if cell.strip():
                mean, _, error = cell.partition("±")
                found[store, budget] = float(mean), float(error)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", type=int, action="append", default=[], help="pictures in float32", choices=BUDGETS)
    given = parser.parse_args()
    seeds = given.seeds
    if not PICTURES.is_file():
        print(f"no pictures in {PICTURES}: not measured")
        return
    scenario = scenarios.class_incremental(rt.streams.images.pictures(PICTURES))
    found = before() if given.only else {}
    todo = [(store, budget) for budget in BUDGETS for store in STORES if store == "float32" or budget < BUDGETS[0]]
    todo = [(store, budget) for store, budget in todo if not given.only or budget in given.only]
    for store, budget in track(todo, description="memories"):
        make = partial(learner, store=store, size=budget * PICTURE)
        runs = [continual(scenario, make, epochs=2, seeds=[seed]) for seed in range(seeds)]
        acc = replace(runs[0], runs=tuple(run for one in runs for run in one.runs)).acc
        found[store, budget] = 100 * acc.mean, 100 * acc.error
        lines = [
            "## A memory by the byte: replay of CIFAR-10",
            "",
            f"Per cent of all test rows after the last task ± standard error over {seeds} seeds; chance is 10.",
            "",
            "| bytes | in float32 | in float16 | in uint8 |",
            "|---" * 4 + "|",
            *(
                f"| {budget * PICTURE:,} ({budget} pictures in float32) | "
                + " | ".join(
                    "{:.1f} ± {:.1f}".format(*found[one, budget]) if (one, budget) in found else "" for one in STORES
                )
                + " |"
                for budget in BUDGETS
            ),
            "",
        ]
        if {("uint8", 100), ("float32", 400)} <= set(found):
            quarter = found["uint8", 100][0] - found["float32", 400][0]
            lines.append(f"A quarter of the bytes in uint8: {quarter:+.1f} points beside float32 (bar -.5).")
        if {("uint8", BUDGETS[-1]), ("float32", BUDGETS[-1])} <= set(found):
            more = found["uint8", BUDGETS[-1]][0] - found["float32", BUDGETS[-1]][0]
            lines.append(f"As many bytes, the fewest: {more:+.1f} points (bar +3).")
        record("memory", "\n".join([*lines, "", load()]))


if __name__ == "__main__":
    main()
