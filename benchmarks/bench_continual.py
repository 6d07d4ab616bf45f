"""Continual learning of MNIST: what each strategy keeps, beside the figures that were published.

Settings of Hsu et al. 2018 for the split scenarios: 5 tasks of 2 digits, 784-400-400-10, Adam 1e-3, 4 epochs,
batches of 128 (with replay 64 new and 64 old rows, as theirs are on average), pixels standardised with fixed numbers;
replay draws from equal shares of the classes of past tasks, as theirs does.
Of Buzzega et al. 2020 for Rotated-MNIST: 20 tasks turned by angles that are drawn, 784-100-100-10, plain steps, batch
128, one epoch, with the rates and strengths of their code. Permuted-MNIST as van de Ven and Tolias 2019 have it:
pixels from 0 to 1, framed by zeros to 32 x 32 before they are permuted, 1024-1000-1000-10, Adam 1e-4, batches of 256,
21 epochs of each of the 10 tasks. That takes an hour a run on a CPU: give `--device cuda`.
Needs a folder of the four MNIST files, the one beside the repository if none is named: `python bench_continual.py
[FOLDER] [--only WORD] [--seeds N] [--device NAME]`. A row stays in RESULTS.md until it is measured anew.
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
from measure import MNIST, RESULTS, load, record
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


DEVICE = ["cpu"]  # as asked for


def neural(
    seed: int, *, widths: tuple[int, ...] = WIDTHS, rate: float = 0.0, adam: float = 1e-3, batch: int = 128, **parts
) -> Learner:
    """A multi-layer perceptron with Adam, or with plain steps at a rate."""
    torch.set_num_threads(1)
    module = rt.neural.MLP(*widths, seed=seed).to(DEVICE[0])
    plain = torch.optim.SGD(module.parameters(), lr=rate) if rate else None
    optimizer = plain or torch.optim.Adam(module.parameters(), lr=adam, fused=True)
    return rt.Neural(module, optimizer=optimizer, batch_size=batch, seed=seed, **parts)


def average(wanted: bool) -> rt.strategies.EMA | None:
    return rt.strategies.EMA() if wanted else None


def replay(seed: int, *, memory: int, size: int = 64, batch: int = 64, averaged: bool = False) -> Learner:
    """Replay of the rows of past experiences."""
    kept = rt.memory.Past(rt.memory.ClassBalanced(memory, seed=seed))
    strategies = [rt.strategies.Replay(kept, size=size, strength=None)]
    return neural(seed, batch=batch, strategies=strategies, averaging=average(averaged))


def er_ace(seed: int, *, memory: int, size: int = 64, batch: int = 64, averaged: bool = False) -> Learner:
    """New classes are told from old ones by replayed rows alone: the memory takes rows as they come."""
    kept = rt.memory.ClassBalanced(memory, seed=seed)
    strategies = [rt.strategies.Replay(kept, size=size, strength=None)]
    return neural(seed, batch=batch, strategies=strategies, criterion=rt.neural.ACE(), averaging=average(averaged))


def derpp(seed: int, *, memory: int, rate: float, strength: float, labels: float, averaged: bool = False) -> Learner:
    kept = rt.memory.Reservoir(memory, seed=seed)
    strategies = [rt.strategies.DERpp(kept, size=128, strength=strength, labels=labels)]
    return neural(seed, widths=(784, 100, 100, 10), rate=rate, strategies=strategies, averaging=average(averaged))


def lwf(seed: int, *, masks: bool = False) -> Learner:
    return neural(seed, strategies=[rt.strategies.LwF()], task_masks=masks)


def si(seed: int, *, masks: bool = False, **settings) -> Learner:
    return neural(seed, strategies=[rt.strategies.SI()], task_masks=masks, **settings)


def ewc(seed: int, *, masks: bool = False, **settings) -> Learner:
    return neural(seed, strategies=[rt.strategies.EWC()], task_masks=masks, **settings)


def progress(seed: int, *, masks: bool = False) -> Learner:
    part = rt.strategies.ProgressCompress(size=128, passes=4, seed=seed)
    return neural(seed, strategies=[part], task_masks=masks)


def online(seed: int, *, masks: bool = False) -> Learner:
    return neural(seed, strategies=[rt.strategies.OnlineEWC()], task_masks=masks)


def packnet(seed: int) -> Learner:
    return neural(seed, strategies=[rt.strategies.PackNet(size=128, seed=seed)], task_masks=True)


@dataclass(frozen=True)
class Setting:
    """A row of the table: a scenario, a recipe, and the published figure that is to be reached."""

    scenario: Callable[[TrainTest, int], Scenario]  # of the data and a seed
    make: Callable[[int], Learner]
    bar: float | None = None
    aim: float | None = None
    epochs: int = 4
    source: str = ""


def standardised(kind: Callable[[TrainTest], Scenario]) -> Callable[[TrainTest, int], Scenario]:
    """A scenario in which nothing is drawn, with pixels standardised."""

    def made(data: TrainTest, _seed: int) -> Scenario:
        scenario = kind(data)
        views = [(*one.views, flat_rows, standard) for one in scenario.experiences]
        found = tuple(replace(one, views=view) for one, view in zip(scenario.experiences, views, strict=True))
        return replace(scenario, experiences=found)

    return made


def rotated(data: TrainTest, seed: int) -> Scenario:
    return scenarios.rotated(data, seed=seed)


def permuted(data: TrainTest, seed: int) -> Scenario:
    framed = TrainTest(*(replace(part, x=framed_by_zeros(part.x)) for part in (data.train, data.test)))
    return scenarios.flat(scenarios.permuted(framed, seed=seed))


def framed_by_zeros(x: np.ndarray) -> np.ndarray:
    """Images (n, c, 28, 28) as (n, c, 32, 32)."""
    return np.pad(x, [(0, 0), (0, 0), (2, 2), (2, 2)])


SPLIT = standardised(scenarios.class_incremental)
JOINT = standardised(lambda data: scenarios.joint(scenarios.class_incremental(data)))
ONCE = standardised(lambda data: scenarios.online(scenarios.class_incremental(data)))
MASKED, DOMAIN = standardised(scenarios.task_incremental), standardised(scenarios.domain_incremental)
TOGETHER = standardised(lambda data: scenarios.joint(scenarios.task_incremental(data)))
VAN_DE_VEN = {"widths": (1024, 1000, 1000, 10), "adam": 1e-4, "batch": 256}
HSU, ICARL, DER = "Hsu 2018", "iCaRL, van de Ven 2019: 94.6", "Buzzega 2020"
SMALL = partial(derpp, memory=200, rate=0.1, strength=1.0, labels=0.5)
LARGE = partial(derpp, memory=500, rate=0.2, strength=0.5, labels=1.0)
STREAM = {"memory": 1000, "size": 50, "batch": 10}
SETTINGS: Mapping[str, Setting] = {
    "class, naive": Setting(SPLIT, neural, source=f"{HSU}: 19.7"),
    "class, joint": Setting(JOINT, neural, source=f"{HSU}: 97.5"),
    "class, replay 1100": Setting(SPLIT, partial(replay, memory=1100), 90.8, 93, source=f"{HSU}: 90.8"),
    "class, replay 1100, averaged weights": Setting(
        SPLIT, partial(replay, memory=1100, averaged=True), 90.8, 93, source=f"{HSU}: 90.8"
    ),
    "class, er-ace 1100, averaged weights": Setting(
        SPLIT, partial(er_ace, memory=1100, averaged=True), 90.8, 93, source=f"{HSU}: 90.8"
    ),
    "class, er-ace 2000": Setting(SPLIT, partial(er_ace, memory=2000), 94.6, 95.5, epochs=10, source=ICARL),
    "class, replay 2000, averaged weights": Setting(
        SPLIT, partial(replay, memory=2000, averaged=True), 94.6, 95.5, epochs=10, source=ICARL
    ),
    "class, replay 4400": Setting(SPLIT, partial(replay, memory=4400), 95.6, 96.8, source=f"{HSU}: 95.6"),
    "class, replay 4400, averaged weights": Setting(
        SPLIT, partial(replay, memory=4400, averaged=True), 95.6, 96.8, source=f"{HSU}: 95.6"
    ),
    "class, er-ace 4400, averaged weights": Setting(
        SPLIT, partial(er_ace, memory=4400, averaged=True), 95.6, 96.8, source=f"{HSU}: 95.6"
    ),
    "class, one pass, batch 10, er-ace 1000": Setting(
        ONCE, partial(er_ace, **STREAM), 92, 94, epochs=1, source="replay, Avalanche: 92"
    ),
    "class, one pass, batch 10, er-ace 1000, averaged weights": Setting(
        ONCE, partial(er_ace, **STREAM, averaged=True), 92, 94, epochs=1, source="replay, Avalanche: 92"
    ),
    "class, one pass, batch 10, replay 1000, averaged weights": Setting(
        ONCE, partial(replay, **STREAM, averaged=True), 92, 94, epochs=1, source="replay, Avalanche: 92"
    ),
    "class, lwf": Setting(SPLIT, lwf, source=f"{HSU}: 24.2"),
    "domain, naive": Setting(DOMAIN, neural, source=f"{HSU}: 55.2"),
    "domain, replay 1100": Setting(DOMAIN, partial(replay, memory=1100), 95.2, 97, source=f"{HSU}: 95.2"),
    "domain, replay 1100, averaged weights": Setting(
        DOMAIN, partial(replay, memory=1100, averaged=True), 95.2, 97, source=f"{HSU}: 95.2"
    ),
    "domain, ewc": Setting(DOMAIN, ewc, source=f"{HSU}: 58.9"),
    "domain, online ewc": Setting(DOMAIN, online, source=f"{HSU}: 57.3"),
    "domain, progress and compress": Setting(DOMAIN, progress),
    "domain, lwf": Setting(DOMAIN, lwf, source=f"{HSU}: 71.0"),
    "task, naive": Setting(MASKED, partial(neural, task_masks=True), source=f"{HSU}: 93.5"),
    "task, joint": Setting(TOGETHER, partial(neural, task_masks=True), source=f"{HSU}: 99.5"),
    "task, packnet": Setting(MASKED, packnet),
    "task, lwf": Setting(MASKED, partial(lwf, masks=True), 99.5, source=f"{HSU}: 99.6"),
    "task, si": Setting(MASKED, partial(si, masks=True), 98.5, source=f"{HSU}: 98.6"),
    "task, ewc": Setting(MASKED, partial(ewc, masks=True), 98.0, source=f"{HSU}, online: 98.0"),
    "task, online ewc": Setting(MASKED, partial(online, masks=True), source=f"{HSU}: 98.0"),
    "task, progress and compress": Setting(MASKED, partial(progress, masks=True)),
    "rotated, der++ 200": Setting(rotated, SMALL, 90.4, 91.4, epochs=1, source=f"{DER}: 90.4"),
    "rotated, der++ 200, averaged weights": Setting(
        rotated, partial(SMALL, averaged=True), 90.4, 91.4, epochs=1, source=f"{DER}: 90.4"
    ),
    "rotated, der++ 500": Setting(rotated, LARGE, 92.8, 93.8, epochs=1, source=f"{DER}: 92.8"),
    "rotated, der++ 500, averaged weights": Setting(
        rotated, partial(LARGE, averaged=True), 92.8, 93.8, epochs=1, source=f"{DER}: 92.8"
    ),
    "permuted, naive": Setting(permuted, partial(neural, **VAN_DE_VEN), epochs=21, source="van de Ven 2019: 78.5"),
    "permuted, ewc": Setting(permuted, partial(ewc, **VAN_DE_VEN), 94, epochs=21, source="van de Ven 2019: 94.3"),
    "permuted, si": Setting(permuted, partial(si, **VAN_DE_VEN), 95, epochs=21, source="van de Ven 2019: 95.3"),
}

COLUMNS = (
    *("", "at least", "aim", "final accuracy", "learning accuracy", "forgetting", "seeds"),
    *("samples per CPU-second", "accuracy per CPU-second", "published"),
)
HEADER = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]


def row(name: str, setting: Setting, data: TrainTest, seeds: int) -> str:
    """Run a setting over all seeds, each with a scenario of its own; its line of the table."""
    found = [
        continual(setting.scenario(data, seed), setting.make, epochs=setting.epochs, seeds=[seed])
        for seed in range(seeds)
    ]
    result = replace(found[0], runs=tuple(run for one in found for run in one.runs))
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
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    DEVICE[0] = given.device
    if not given.folder.is_dir():
        print(f"no MNIST in {given.folder}: not measured")
        return
    data = rt.streams.images.mnist(given.folder)
    lines = before()
    wanted = [name for name in SETTINGS if given.only in name]
    for name in track(wanted, description="settings"):
        lines[name] = row(name, SETTINGS[name], data, given.seeds)
        print(lines[name])
        text = [
            "## Continual learning, MNIST",
            "",
            "Per cent of the test rows of all experiences, after the last; ± standard error over seeds.",
            "",
            *HEADER,
            *(lines[key] for key in SETTINGS if key in lines),
            "",
            load(),
        ]
        record("continual", "\n".join(text))


if __name__ == "__main__":
    main()
