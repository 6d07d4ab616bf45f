"""Neural learners beside lean loops of the same algorithms: rows per CPU-second on one thread, and what a state costs.

784-400-400-10, Adam 1e-3, Split-MNIST: the first experience is learnt and consolidated, steps of the second are timed,
through `learn`, which also returns what was predicted before each step. The loops (`lean.py`) predict nothing; each is
tried with fused and with foreach Adam, and the faster counts. All contenders take turns every few steps in one process,
since on a shared machine only neighbours in time can be compared. MNIST is read from the folder beside the repository.

With `--device cuda` the same is timed on a GPU, by the wall: there the processor's time is spent on waiting.

The bars: .95 of the lean loop with 64 rows a step, .9 with 10 (aim 1.3); a row at 50,000 of a stream of 10-row
experiences within 5 % of one at 5,000; EWC and SI below 25 % of a step; a state of a million weights and 2,000 images
written in 100 ms.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import lean
import numpy as np
import torch
from measure import MNIST, record

import retain as rt
from retain.core import Strategy
from retain.memory import Reservoir
from retain.state import write_snapshot
from retain.strategies import AGEM, EWC, SI, DERpp, LwF, Replay

ROUNDS = 40
STEPS = {64: 20, 10: 60}  # of a turn: a quarter of a second and less
FIRST = 1_920  # rows of the first experience that are learnt: whole steps of either size

Learn = Callable[[np.ndarray, np.ndarray], object]


@functools.cache
def split() -> list[tuple[np.ndarray, np.ndarray]]:
    """The rows of digits 0 and 1, then of 2 and 3."""
    train = rt.streams.images.mnist(MNIST).train
    x = train.x.reshape(len(train), -1).astype(np.float32) / 255
    return [(x[train.y // 2 == e], train.y[train.y // 2 == e]) for e in (0, 1)]


def ours(name: str, size: int, *, device: str = "cpu") -> rt.Neural:
    def memory() -> Reservoir:
        return Reservoir(lean.SLOTS)

    strategies: dict[str, Callable[[], Strategy]] = {
        "replay": lambda: Replay(memory(), size=size, strength=1.0),
        "DER++": lambda: DERpp(memory(), size=size),
        "LwF": LwF,
        "EWC": EWC,
        "SI": SI,
    }
    return rt.Neural(
        rt.neural.MLP(784, 400, 400, 10).to(device),
        strategies=[strategies[name]()] if name in strategies else [],
        projection=AGEM(memory(), size=size) if name == "A-GEM" else None,
        batch_size=size,
        classes=10,
    )


def taught(learner: rt.Neural) -> Learn:
    x, y = split()[0]
    first = rt.Batch(x[:FIRST], y=y[:FIRST])
    learner.learn(first)
    learner.consolidate([first])
    return lambda x, y: learner.learn(rt.Batch(x, y=y))


def loop(name: str, size: int, *, fused: bool, device: str) -> Learn:
    made = lean.LOOPS[name](size, device=device, fused=fused, foreach=not fused)
    x, y = (torch.from_numpy(column[:FIRST]).to(device) for column in split()[0])
    made.learn(x, y)
    made.end(x, y)

    def learn(x: np.ndarray, y: np.ndarray) -> None:
        made.learn(torch.from_numpy(x).to(device), torch.from_numpy(y).to(device))
        if device != "cpu":
            torch.cuda.synchronize()  # `Neural` has waited, when it answers

    return learn


def turns(contenders: Mapping[str, Learn], rows: int, *, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Rows per second of every turn, after a round that warms caches and is not counted."""
    x, y = split()[1]
    told: dict[str, list[float]] = {name: [] for name in contenders}
    for i in range(ROUNDS + 1):
        start = i * rows % (len(x) - rows)
        for name, learn in contenders.items():
            before = clock()
            learn(x[start : start + rows], y[start : start + rows])
            if i:
                told[name].append(rows / (clock() - before))
    return told


def speed(name: str, size: int, *, device: str) -> str:
    told = turns(
        {
            "fused": loop(name, size, fused=True, device=device),
            "foreach": loop(name, size, fused=False, device=device),
            "retain": taught(ours(name, size, device=device)),
        },
        STEPS[size] * size,
        clock=time.process_time if device == "cpu" else time.perf_counter,
    )
    peers = [told["fused"], told["foreach"]]
    best, middle = (max(map(of, peers)) for of in (max, median))
    mine = told["retain"]
    figures = [f"{best:,.0f}", f"{max(mine):,.0f}", f"{max(mine) / best:.2f}", f"{median(mine) / middle:.2f}"]
    return f"| {name} | {size} | {' | '.join(figures)} | {0.95 if size == 64 else 0.9} |"


def extra() -> list[str]:
    """What a penalty adds to a step of 64 rows."""
    names = ("naive", "EWC", "SI")
    told = turns({name: taught(ours(name, 64)) for name in names}, STEPS[64] * 64, clock=time.process_time)
    return [
        f"| {name}, of a step more | {max(told['naive']) / max(told[name]) - 1:+.1%} (best), "
        f"{median(told['naive']) / median(told[name]) - 1:+.1%} (median) | < 25 % |"
        for name in names[1:]
    ]


def stream() -> list[str]:
    """Experiences of 10 rows: what a row costs late against early, both learners in turn."""
    (x, y), (more_x, more_y) = split()
    x, y = np.concatenate([x, more_x]), np.concatenate([y, more_y])

    def go(learner: rt.Neural, rows: int, start: int) -> None:
        for i in range(start, start + rows, 10):
            at = i % (len(x) - 10)
            batch = rt.Batch(x[at : at + 10], y=y[at : at + 10])
            learner.learn(batch)
            learner.consolidate([batch])

    places = {5_000: ours("replay", 10), 50_000: ours("replay", 10)}
    for rows, learner in places.items():
        go(learner, rows, 0)
    seconds: dict[int, list[float]] = {rows: [] for rows in places}
    for i in range(ROUNDS // 2):
        for rows, learner in places.items():
            before = time.process_time()
            go(learner, 200, rows + i * 200)
            seconds[rows].append((time.process_time() - before) / 200)
    early, late = seconds.values()
    ratios = f"{min(late) / min(early):.3f} (best), {median(late) / median(early):.3f} (median)"
    return [f"| a row at 50,000 of a stream of 10-row experiences, to one at 5,000 | {ratios} | < 1.05 |"]


def saving() -> list[str]:
    """A million weights, Adam's two moments, the last good copy, and 2,000 images."""
    replay = Replay(Reservoir(2_000), size=64)
    learner = rt.Neural(rt.neural.MLP(784, 820, 420, 10), strategies=[replay], batch_size=64)
    x, y = split()[0]
    learner.learn(rt.Batch(x[:3_200], y=y[:3_200]))
    taken: dict[str, list[float]] = {"wall": [], "CPU": []}
    with tempfile.TemporaryDirectory() as folder:
        for i in range(10):
            wall, cpu = time.perf_counter(), time.process_time()
            path = write_snapshot(Path(folder), i, learner.state_dict())
            taken["wall"].append(time.perf_counter() - wall)
            taken["CPU"].append(time.process_time() - cpu)
        size = path.stat().st_size / 1e6
    told = "; ".join(f"{w} {1e3 * min(t):.0f} ms (best), {1e3 * median(t):.0f} (median)" for w, t in taken.items())
    return [f"| a state of {size:.0f} MB, written and synced | {told} | < 100 ms |"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=[], help="some of the table only, to be looked at")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    if not MNIST.is_dir():
        print(f"no MNIST in {MNIST}: not measured")
        return
    torch.set_num_threads(1)
    cpu = given.device == "cpu"
    load = os.getloadavg()[0]
    where = "Neural learners" if cpu else f"Neural learners on a GPU, {torch.cuda.get_device_name()}"
    how = "CPU-second, one thread" if cpu else "second by the wall, rows and answers on the way to and from it counted"
    turn = f"in turns of {STEPS[64]} and {STEPS[10]} steps; ratio to the lean loop"
    lines = [
        f"## {where}",
        "",
        f"Rows per {how}, {turn}. Load of the machine before: {load:.1f}, without this script.",
        "",
        "| | rows a step | lean, best | retain, best | ratio, best | ratio, median | bar |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in given.names or lean.LOOPS:
        for size in STEPS:
            lines.append(speed(name, size, device=given.device))
            print(lines[-1], file=sys.stderr, flush=True)
    if given.names:
        return
    if cpu:
        lines += ["", "| | | bar |", "|---|---|---|", *extra(), *stream(), *saving()]
    record("neural" if cpu else "neural-gpu", "\n".join(lines))


if __name__ == "__main__":
    main()
