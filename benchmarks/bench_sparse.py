"""A moving mask while classes arrive: what is lost with most of the weights at zero.

Split-MNIST, class-incremental: five pairs of digits, each gone through once in mini-batches of 64, 64 old rows beside
them from a memory of 100 a class, 784-512-512-10, Adam 1e-3; the mean accuracy on all ten digits in the end. A mask
lies on both hidden layers, not on the last. Needs the folder of the four MNIST files, the one beside the repository if
none is named: `python bench_sparse.py [FOLDER] [--seeds N]`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from measure import MNIST, load, record
from rich.progress import track

import retain as rt
from retain.blocks import take_batch
from retain.core import Batch
from retain.strategies import Replay, Sparse

BAR = 3.0  # points below the dense learner that a moving mask of 90 % may lie
MASKS: Mapping[str, dict | None] = {
    "dense": None,
    "moving, 90 % zero": {"share": 0.9},
    "fixed, 90 % zero": {"share": 0.9, "moving": False},
    "moving, 95 % zero": {"share": 0.95},
    "fixed, 95 % zero": {"share": 0.95, "moving": False},
    "moving, 2 of 4": {"pattern": (2, 4)},
}
WAYS = {
    "replay": (rt.neural.CrossEntropy, True),  # rows of past pairs
    "er-ace": (rt.neural.ACE, False),  # rows as they come
}


def pairs(folder: Path) -> tuple[list[Batch], Batch]:
    """Rows to learn, pair after pair, and the rows to test on; pixels standardised with fixed numbers."""

    def flat(batch: Batch) -> Batch:
        x = batch.x.reshape(len(batch), -1).astype(np.float32)
        x = x / np.float32(255) if batch.x.dtype == np.uint8 else x
        return Batch((x - np.float32(0.1307)) / np.float32(0.3081), y=batch.y)

    data = rt.streams.images.mnist(folder)
    train, test = flat(data.train), flat(data.test)
    return [take_batch(train, np.flatnonzero(train.y // 2 == pair)) for pair in range(5)], test


def learner(seed: int, way: str, mask: dict | None) -> rt.Neural:
    criterion, past = WAYS[way]
    memory = rt.memory.ClassBalanced(1000, seed=seed)
    strategies = [Replay(rt.memory.Past(memory) if past else memory, size=64, strength=None)]
    if mask is not None:
        strategies.append(Sparse(**mask))
    return rt.Neural(
        rt.neural.MLP(784, 512, 512, 10, seed=seed),
        criterion=criterion(),
        strategies=strategies,
        batch_size=64,
        seed=seed,
    )


def accuracy(model: rt.Neural, test: Batch) -> float:
    return 100 * float((model.predict(test.x).argmax(1) == test.y).mean())


def run(seed: int, way: str, mask: dict | None, data: tuple[list[Batch], Batch]) -> float:
    model, rng = learner(seed, way, mask), np.random.default_rng(seed)
    for pair in data[0]:
        model.learn(take_batch(pair, rng.permutation(len(pair))))
        model.consolidate([pair])
    return accuracy(model, data[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=MNIST)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    if not given.folder.exists():
        print(f"no MNIST in {given.folder}: not measured")
        return
    torch.set_num_threads(1)
    data = pairs(given.folder)
    cells = [(way, mask) for way in WAYS for mask in MASKS]
    found = {
        (way, mask): [run(seed, way, MASKS[mask], data) for seed in range(given.seeds)]
        for way, mask in track(cells, description="masks")
    }
    lines = [
        "## A moving mask, Split-MNIST",
        "",
        f"| of weights | {' | '.join(WAYS)} |",
        "|---" * (len(WAYS) + 1) + "|",
    ]
    for mask in MASKS:
        shown = [f"{np.mean(found[way, mask]):.1f} ± {_error(found[way, mask]):.1f}" for way in WAYS]
        lines.append(f"| {mask} | {' | '.join(shown)} |")
    below = {way: float(np.mean(found[way, "dense"]) - np.mean(found[way, "moving, 90 % zero"])) for way in WAYS}
    said = "; ".join(f"{way}: {gap:+.1f}, {'reached' if gap <= BAR else 'missed'}" for way, gap in below.items())
    bar = (
        f"Mean accuracy on all ten digits after five pairs, {given.seeds} seeds, ± the standard error. Bar: a moving "
        f"mask of 90 % ends within {BAR:.0f} points of the dense learner. It ends this far below: {said}."
    )
    lines += ["", bar, "", load()]
    record("sparse", "\n".join(lines))


def _error(values: list[float]) -> float:
    return float(np.std(values, ddof=1) / len(values) ** 0.5) if len(values) > 1 else float("nan")


if __name__ == "__main__":
    main()
