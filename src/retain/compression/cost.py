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

from retain.blocks import take
from retain.core import Array, Features
from retain.learners.neural import Neural

__all__ = ["Cost", "Latency", "cost_of", "latencies", "multiply_adds", "packed"]

_BURST = 5  # blocks that a model answers in its turn
_LEAST = 4  # turns


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


def cost_of(net: Neural, /, *, latency: Mapping[int, Latency]) -> Cost:
    """What a neural learner costs as it is: its weights in float32, its products, and the time that was measured."""
    weights = {tensor.data_ptr(): tensor for tensor in net.serving().values()}  # tied ones are shipped once
    data = [(one.float() if one.is_floating_point() else one).cpu().numpy().tobytes() for one in weights.values()]
    size = sum(map(len, data))
    return Cost(size, packed(b"".join(data)), size, multiply_adds(net), latency)


def packed(data: bytes, /) -> int:
    """How many bytes are left when they are zipped, fast."""
    return len(zlib.compress(data, 1))


def multiply_adds(learner: Neural, /) -> int:
    """Products that the module adds up for one row, in its layers and attention."""
    from torch.utils.flop_counter import FlopCounterMode

    row = learner.example(1).cpu()
    with FlopCounterMode(display=False) as counter:
        learner.predict((row.float() if row.is_floating_point() else row).numpy())
    return counter.get_total_flops() // 2


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
