"""What a model costs where it runs: bytes, multiply-adds, and the time to answer, measured on this machine.

Shapes: n rows.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

from retain.blocks import dense, matrix, take
from retain.branches import Branches
from retain.compose import learns
from retain.compression.branched import constants as arrays_of
from retain.compression.draft import encoders, neural, transforms
from retain.compression.source import branched, branching, scored
from retain.compression.weighted import constants
from retain.core import CSR, Array, Features, Learner
from retain.features.random_features import RandomFeatures

__all__ = ["Cost", "Latency", "cost_as", "cost_of", "latencies", "multiply_adds"]

_BURST = 5  # blocks that a model answers in its turn
_LEAST = 4  # turns
_WALKED = 512  # rows that are followed through trees


@final
@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds to answer a block of rows."""

    median: float
    p99: float


@final
@dataclass(frozen=True, slots=True)
class Cost:
    """What a model costs."""

    bytes: int  # on disk, as it is shipped
    packed: int  # on disk or on the way, zipped
    memory: int  # of its weights, while it runs
    multiply_adds: int  # for one row
    latency: Mapping[int, Latency]  # by rows at once


def cost_of(learner: Learner, rows: Features, /, *, latency: Mapping[int, Latency]) -> Cost:
    """What a learner costs as it is: what answers of it, in float32 and whole, and the time that was measured.

    That is its weights, zeros too, and not what it needs to learn, which would have to be shipped nowhere.

    Args:
        learner: a chain too; of its transforms only the bytes of encoders and the products of random features count.
        rows: what the learner at its end is given.
        latency: measured.
    """
    last = learns(learner)
    if neural(last):
        tensors = {one.data_ptr(): one for one in last.serving().values()}  # tied ones are shipped once
        arrays = [(one.float() if one.is_floating_point() else one).cpu().numpy() for one in tensors.values()]
    elif branching(last):
        arrays = list(arrays_of(branched(last)).values())
    else:
        arrays = list(constants(scored(last)).values())
    data = b"".join(one.tobytes() for one in arrays)
    memory = len(data) if neural(last) else 2 * len(data)  # in float64
    return cost_as(learner, rows, data, memory=memory, latency=latency)


def cost_as(learner: Learner, rows: Features, data: bytes, /, *, memory: int, latency: Mapping[int, Latency]) -> Cost:
    """What a learner costs where it runs as a file, beside the encoders in front, which are not in it."""
    beside = sum(one.size for one in encoders(learner))
    return Cost(len(data) + beside, _packed(data) + beside, memory + beside, multiply_adds(learner, rows), latency)


def _packed(data: bytes, /) -> int:
    """How many bytes are left when they are zipped, fast."""
    return len(zlib.compress(data, 1))


def multiply_adds(learner: Learner, rows: Features, /) -> int:
    """Products that are added up for one row: of a module in its layers and attention, of weights and random features.

    Of trees, in the mean: tests on the way, classes whose shares are added up, and products of naive Bayes in leaves.

    Args:
        learner: a chain, or what is at its end.
        rows: what that is given; of sparse ones the numbers that are there are counted, in the mean.
    """
    last = learns(learner)
    before = sum(one.products for one in transforms(learner) if isinstance(one, RandomFeatures))
    if branching(last):
        return before + _of_trees(branched(last), rows)
    if not neural(last):
        k, d = scored(last).weights.shape
        entries = len(rows.indices) / max(len(rows), 1) if isinstance(rows, CSR) else d
        return before + round(k * entries)
    from torch.utils.flop_counter import FlopCounterMode

    row = last.example(1).cpu()
    with FlopCounterMode(display=False) as counter:
        last.predict((row.float() if row.is_floating_point() else row).numpy())
    return before + counter.get_total_flops() // 2


def _of_trees(branches: Branches, rows: Features) -> int:
    """What a row costs on its way through all trees."""
    some = dense(matrix(take(rows, slice(_WALKED)), reader="cost", missing=True), branches.width)
    if not len(some):
        return 0
    at = branches.reached(some)
    inner = branches.test >= 0
    depth = np.zeros(len(branches.test), dtype=np.int64)
    for node in np.flatnonzero(inner):
        depth[branches.child[node]] = depth[node] + 1
    says = (branches.bayes[branches.leaf[at]] >= 0) * 2 * branches.classes * branches.says.pick.shape[1]
    return round(float((depth[at] + says).sum(axis=1).mean())) + branches.trees * branches.classes


def latencies(
    models: Mapping[str, Callable[[Features], Array]], x: Features, /, *, sizes: tuple[int, ...], seconds: float
) -> dict[str, dict[int, Latency]]:
    """How long each model takes to answer blocks of rows.

    They take turns, in an order that is drawn anew each time, so that all meet the same machine. In its turn a model
    answers several blocks, the first of which is not counted: who serves a model finds its weights in the caches, where
    another of these left its own.

    Args:
        models: what answers rows.
        x: rows to ask for, n of them; each block is of others than the one before.
        sizes: rows at once.
        seconds: about how long to measure for each model and size; four turns at least.
    """
    names = list(models)
    found: dict[str, dict[int, Latency]] = {name: {} for name in models}
    for size in sizes:
        blocks = [take(x, (np.arange(size) + i * size) % len(x)) for i in range(16)]
        taken: dict[str, list[float]] = {name: [] for name in models}
        turn, spent, order = 0, 0.0, np.random.default_rng(size)
        while turn < _LEAST or spent < seconds * len(models):
            for i in order.permutation(len(names)):
                model = models[names[i]]
                clock = [time.perf_counter()]
                for j in range(_BURST):
                    model(blocks[(turn + j) % len(blocks)])
                    clock.append(time.perf_counter())
                taken[names[i]] += np.diff(clock)[1:].tolist()
                spent += clock[-1] - clock[0]
            turn += 1
        for name, values in taken.items():
            found[name][size] = Latency(float(np.median(values)), float(np.quantile(values, 0.99)))
    return found
