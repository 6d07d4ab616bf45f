"""`Calibrated` around learners that are too sure, or not sure enough: calibration error and log-loss, prequential.

Labels come with their rows. Data is read from the folder beside the repository.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from bench_conformal import STREAMS
from measure import load, record

import retain as rt
from retain.learners.auto import encoder, loss

LEARNERS: dict[str, Callable[[Any], Any]] = {
    "quick": rt.quick,
    "sgd, rate .5": lambda schema: encoder(schema, scaled=True) | rt.Linear(loss=loss(schema), update=rt.SGD(0.5)),
    "rls": lambda schema: encoder(schema, scaled=False, narrow=True) | rt.RLS(),
    "slda": lambda schema: encoder(schema, scaled=False, narrow=True) | rt.SLDA(),
}
METHODS: dict[str, Callable[[Any], Any]] = {
    "as it is": lambda learner: learner,
    "Platt": rt.Calibrated,
    "Temperature": lambda learner: rt.Calibrated(learner, method=rt.Temperature()),
    "Isotonic": lambda learner: rt.Calibrated(learner, method=rt.Isotonic()),
}


def measured(stream: Any, learner: Any) -> str:
    """Calibration error, log-loss and accuracy."""
    metrics = [rt.metrics.CalibrationError(), rt.metrics.LogLoss(), rt.metrics.Accuracy()]
    last = list(rt.Prequential(stream, learner, metrics=metrics, baselines={}))[-1]
    return ", ".join(f"{value:.3f}" for value in last.metrics.values())


def main() -> None:
    lines = [
        "## Probabilities that come true: calibration on streams that drift",
        "",
        "In each cell: calibration error, log-loss, accuracy.",
        "",
        f"| stream | learner | {' | '.join(METHODS)} |",
        f"|---|---|{'---|' * len(METHODS)}",
    ]
    for name in ("Elec2, 6 columns", "NOAA weather", "interchanging RBF"):
        stream = STREAMS[name]()
        for learner, make in LEARNERS.items():
            cells = [measured(stream, around(make(stream.schema()))) for around in METHODS.values()]
            lines.append(f"| {name} | {learner} | {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(100_000, 10)).astype(np.float32), rng.integers(0, 2, size=100_000)
    for name, around in METHODS.items():
        rates = []
        for _ in range(4):
            learner = around(rt.Linear(loss=rt.Logistic()))
            start = time.process_time()
            for at in range(0, len(y), 1000):
                learner.learn(rt.Batch(x[at : at + 1000], y=y[at : at + 1000]))
            rates.append(len(y) / (time.process_time() - start))
        lines += ["", f"Thousand rows per CPU-second around a line, {name}: {np.median(rates[1:]) / 1e3:.4g}."]
    record("calibrated", "\n".join([*lines, "", load()]))


if __name__ == "__main__":
    main()
