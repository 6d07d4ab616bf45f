"""Continual learning of MNIST: what each strategy keeps, beside the figures that were published.

Settings of Hsu et al. 2018 for the split scenarios: 5 tasks of 2 digits, 784-400-400-10, Adam 1e-3, 4 epochs,
batches of 128 (with replay 64 new and 64 old rows, as theirs are on average), pixels standardised with fixed numbers.
Of Buzzega et al. 2020 for Rotated-MNIST: 20 tasks, 784-100-100-10, SGD .2, batch 128, one epoch. Needs a folder of the
four MNIST files, the one beside the repository if none is named: `python bench_continual.py [FOLDER] [--only WORD]
[--seeds N] [--workers N]`. A row stays in RESULTS.md until it is measured anew.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from measure import MNIST, RESULTS, record
from rich.progress import track

import retain as rt
from retain.core import Learner
from retain.run import scenarios
from retain.run.experiences import continual
from retain.run.scenarios import Scenario
from retain.run.views import flat_rows
from retain.streams import TrainTest

WIDTHS = 784, 400, 400, 10


def standard(x: np.ndarray) -> np.ndarray:
    """Pixels, 0 to 1, less their mean and divided by their standard deviation over MNIST."""
    return (x - np.float32(0.1307)) / np.float32(0.3081)


def neural(seed: int, *, widths: tuple[int, ...] = WIDTHS, rate: float = 0.0, batch: int = 128, **parts) -> Learner:
    """A multi-layer perceptron with Adam, or with plain steps at a rate."""
    torch.set_num_threads(1)
    module = rt.neural.MLP(*widths, seed=seed)
    optimizer = torch.optim.SGD(module.parameters(), lr=rate) if rate else None
    return rt.Neural(module, optimizer=optimizer, batch_size=batch, seed=seed, **parts)


def replay(
    seed: int, *, memory: int, size: int = 64, batch: int = 64, ace: bool = False, averaged: bool = False
) -> Learner:
    kept = rt.memory.ClassBalanced(memory, seed=seed)
    strategies = [rt.strategies.Replay(kept, size=size)]
    criterion = rt.neural.ACE() if ace else None
    averaging = rt.strategies.EMA() if averaged else None
    return neural(seed, batch=batch, strategies=strategies, criterion=criterion, averaging=averaging)


def derpp(seed: int, *, memory: int, size: int = 128) -> Learner:
    strategies = [rt.strategies.DERpp(rt.memory.Reservoir(memory, seed=seed), size=size)]
    return neural(seed, widths=(784, 100, 100, 10), rate=0.2, strategies=strategies)


def lwf(seed: int, *, masks: bool = False) -> Learner:
    return neural(seed, strategies=[rt.strategies.LwF()], task_masks=masks)


def si(seed: int, *, masks: bool = False, widths: tuple[int, ...] = WIDTHS) -> Learner:
    return neural(seed, strategies=[rt.strategies.SI()], task_masks=masks, widths=widths)


def ewc(seed: int, *, masks: bool = False, widths: tuple[int, ...] = WIDTHS) -> Learner:
    return neural(seed, strategies=[rt.strategies.EWC()], task_masks=masks, widths=widths)


@dataclass(frozen=True)
class Setting:
    """A row of the table: a scenario, a recipe, and the published figure that is to be reached."""

    scenario: Callable[[TrainTest], Scenario]
    make: Callable[[int], Learner]
    bar: float | None = None
    aim: float | None = None
    epochs: int = 4
    source: str = ""


SPLIT, MASKED, DOMAIN = scenarios.class_incremental, scenarios.task_incremental, scenarios.domain_incremental
HSU = "Hsu 2018"
SETTINGS: Mapping[str, Setting] = {
    "class, naive": Setting(SPLIT, neural, source=f"{HSU}: 19.7"),
    "class, joint": Setting(lambda d: scenarios.joint(SPLIT(d)), neural, source=f"{HSU}: 97.5"),
    "class, replay 1100": Setting(SPLIT, partial(replay, memory=1100), 90.8, 93, source=f"{HSU}: 90.8"),
    "class, er-ace 1100, averaged weights": Setting(
        SPLIT, partial(replay, memory=1100, ace=True, averaged=True), 90.8, 93, source=f"{HSU}: 90.8"
    ),
    "class, er-ace 2000": Setting(
        SPLIT, partial(replay, memory=2000, ace=True), 94.6, 95.5, epochs=10, source="iCaRL, van de Ven 2019: 94.6"
    ),
    "class, er-ace 2000, averaged weights": Setting(
        SPLIT,
        partial(replay, memory=2000, ace=True, averaged=True),
        94.6,
        95.5,
        epochs=10,
        source="iCaRL, van de Ven 2019: 94.6",
    ),
    "class, replay 4400": Setting(SPLIT, partial(replay, memory=4400), 95.6, 96.8, source=f"{HSU}: 95.6"),
    "class, er-ace 4400, averaged weights": Setting(
        SPLIT, partial(replay, memory=4400, ace=True, averaged=True), 95.6, 96.8, source=f"{HSU}: 95.6"
    ),
    "class, one pass, batch 10, er-ace 1000": Setting(
        lambda d: scenarios.online(SPLIT(d)),
        partial(replay, memory=1000, size=50, batch=10, ace=True),
        92,
        94,
        epochs=1,
        source="replay, Avalanche: 92",
    ),
    "class, lwf": Setting(SPLIT, lwf, source=f"{HSU}: 24.2"),
    "domain, naive": Setting(DOMAIN, neural, source=f"{HSU}: 55.2"),
    "domain, replay 1100": Setting(DOMAIN, partial(replay, memory=1100), 95.2, 97, source=f"{HSU}: 95.2"),
    "domain, ewc": Setting(DOMAIN, ewc, source=f"{HSU}: 58.9"),
    "domain, lwf": Setting(DOMAIN, lwf, source=f"{HSU}: 71.0"),
    "task, lwf": Setting(MASKED, partial(lwf, masks=True), 99.5, source=f"{HSU}: 99.6"),
    "task, si": Setting(MASKED, partial(si, masks=True), 98.5, source=f"{HSU}: 98.6"),
    "task, ewc": Setting(MASKED, partial(ewc, masks=True), 98.0, source=f"{HSU}, online: 98.0"),
    "rotated, der++ 200": Setting(
        scenarios.rotated, partial(derpp, memory=200), 90.4, 91.4, epochs=1, source="Buzzega 2020: 90.4"
    ),
    "rotated, der++ 500": Setting(
        scenarios.rotated, partial(derpp, memory=500), 92.8, 93.8, epochs=1, source="Buzzega 2020: 92.8"
    ),
    "permuted, ewc": Setting(
        scenarios.permuted, partial(ewc, widths=(784, 1000, 1000, 10)), 94, epochs=1, source=f"{HSU}: 94.3"
    ),
    "permuted, si": Setting(
        scenarios.permuted, partial(si, widths=(784, 1000, 1000, 10)), 95, epochs=1, source=f"{HSU}: 95.3"
    ),
}

COLUMNS = (
    *("", "at least", "aim", "final accuracy", "learning accuracy", "forgetting", "seeds"),
    *("samples per CPU-second", "accuracy per CPU-second", "published"),
)
HEADER = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]


def row(name: str, setting: Setting, data: TrainTest, seeds: int, workers: int) -> str:
    """Run a setting over all seeds; its line of the table."""
    scenario = setting.scenario(data)
    if "rotated" not in name:
        views = [(*one.views, flat_rows, standard) for one in scenario.experiences]
        found = tuple(replace(one, views=view) for one, view in zip(scenario.experiences, views, strict=True))
        scenario = replace(scenario, experiences=found)
    result = continual(scenario, setting.make, epochs=setting.epochs, seeds=seeds, workers=workers)
    cpu = float(np.mean([run.learning_cpu_seconds for run in result.runs]))
    samples = float(np.mean([run.samples for run in result.runs]))
    acc = 100 * result.acc.mean
    bars = [f"{value:g}" if value is not None else "" for value in (setting.bar, setting.aim)]
    cells = [
        *bars,
        f"{acc:.2f} ± {100 * result.acc.error:.2f}",
        *(
            "" if np.isnan(one.mean) else f"{100 * one.mean:.2f}"
            for one in (result.learning_accuracy, result.forgetting)
        ),
        str(seeds),
        f"{samples / cpu:,.0f}",
        f"{acc / cpu:.2f}",
        setting.source,
    ]
    return f"| {name} | {' | '.join(cells)} |"


def before() -> dict[str, str]:
    """The lines of the table as they stand in RESULTS.md, by name."""
    found = re.search(r"<!-- continual -->(.*?)<!-- end of continual -->", RESULTS.read_text(), re.DOTALL)
    lines = found.group(1).splitlines() if found else []
    return {line.split("|")[1].strip(): line for line in lines if line.startswith("| ") and "|" in line[2:]}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, nargs="?", default=MNIST)
    parser.add_argument("--only", default="")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    if not given.folder.is_dir():
        print(f"no MNIST in {given.folder}: not measured")
        return
    data = rt.streams.images.mnist(given.folder)
    lines = before()
    wanted = [name for name in SETTINGS if given.only in name]
    for name in track(wanted, description="settings"):
        lines[name] = row(name, SETTINGS[name], data, given.seeds, given.workers)
        print(lines[name])
        text = [
            "## Continual learning, MNIST",
            "",
            "Per cent of the test rows of all experiences, after the last; ± standard error over seeds.",
            "",
            *HEADER,
            *(lines[key] for key in SETTINGS if key in lines),
        ]
        record("continual", "\n".join(text))


if __name__ == "__main__":
    main()
