"""What scoring costs beside learning: metrics of the model, and the two baselines with theirs, in CPU-ns for each row.

A run predicts and learns every row with the model, and besides with `NoChange` and `Prior`, and scores all three by
accuracy, AUC and log-loss, whose values it tells after every block. The bar: the baselines are no visible cost, that
is, less than a tenth of the learner's for the default learner of `retain run`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median

import numpy as np
from measure import record

import retain as rt
from retain import metrics
from retain.core import Array, Batch, Learner, Metric

ROWS, COLUMNS, BLOCK, TIMES = 200_000, 20, 1024, 7


def rows() -> list[Batch]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, COLUMNS)).astype(np.float32)
    y = (x @ rng.normal(size=COLUMNS) + 2 * rng.normal(size=ROWS) > 0).astype(np.int64)
    return [Batch(x[i : i + BLOCK], y=y[i : i + BLOCK]) for i in range(0, ROWS, BLOCK)]


def defaults() -> list[Metric]:
    return [metrics.Accuracy(), metrics.ROCAUC(), metrics.LogLoss()]


def learn(make: Callable[[], Learner], batches: Sequence[Batch]) -> list[Array]:
    learner = make()
    return [learner.learn(batch) for batch in batches]


def score(groups: Sequence[Sequence[Array]], batches: Sequence[Batch]) -> None:
    """As `Prequential` does: a block into every measure of everyone, and what they say then."""
    for said in groups:
        measures = defaults()
        for batch, part in zip(batches, said, strict=True):
            assert batch.y is not None
            metrics.update(measures, batch.y, part)
            for metric in measures:
                metric.value()


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    batches = rows()
    bare = [replace(batch, x=np.empty((len(batch), 0), dtype=np.float32)) for batch in batches]
    said = learn(lambda: rt.Linear(loss=rt.Logistic()), batches)
    others = [learn(rt.NoChange, bare), learn(rt.Prior, bare)]
    schema = rt.streams.arrays(np.zeros((2, COLUMNS)), np.array([0, 1])).schema()
    parts: dict[str, Callable[[], object]] = {
        "learner: quick": lambda: learn(lambda: rt.quick(schema), batches),
        "learner: linear": lambda: learn(lambda: rt.Linear(loss=rt.Logistic()), batches),
        "its metrics": lambda: score([said], batches),
        "two baselines": lambda: [learn(rt.NoChange, bare), learn(rt.Prior, bare)],
        "their metrics": lambda: score(others, batches),
    }
    costs: dict[str, list[float]] = {name: [] for name in parts}
    for i in range(TIMES + 1):
        for name, work in parts.items():
            cost = seconds(work)
            if i:  # the first round compiles and warms
                costs[name].append(1e9 * cost / ROWS)
    least = {name: min(group) for name, group in costs.items()}
    lines = [
        "## What scoring costs",
        "",
        f"{ROWS:,} rows of {COLUMNS} numbers in blocks of {BLOCK:,}, in memory; CPU-nanoseconds for each row.",
        "",
        "| | best | median | of quick's (best) | of linear's (best) |",
        "|---|---|---|---|---|",
    ]
    for name, group in costs.items():
        shares = [least[name] / least[f"learner: {learner}"] for learner in ("quick", "linear")]
        lines.append(f"| {name} | {min(group):.0f} | {median(group):.0f} | {shares[0]:.2f} | {shares[1]:.2f} |")
    record("metrics", "\n".join(lines))


if __name__ == "__main__":
    main()
