"""Detectors beside River's on the same values, in CPU-seconds for a million of them.

River is given one value at a time, as it wants them, and of its slow KSWIN fewer; ours a block of 8,192 at a
time, as `retain run` gives them. In turns, best and median of five. That both say the same of every value is shown in
tests/detectors/test_oracles.py. The bar: ten times as fast.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from statistics import median

import numpy as np
from measure import record
from river import drift
from river.drift import binary

from retain import detectors

VALUES, BLOCK, TIMES = 1_000_000, 8_192, 5
PAIRS = {  # ours, theirs, whether they watch errors, how many values River is given
    "ADWIN": (lambda: detectors.ADWIN(restart=True), drift.ADWIN, False, VALUES // 4),
    "Page-Hinkley": (detectors.PageHinkley, drift.PageHinkley, False, VALUES // 4),
    "KSWIN": (lambda: detectors.KSWIN(restart=True), lambda: drift.KSWIN(seed=0), False, VALUES // 500),
    "DDM": (detectors.DDM, binary.DDM, True, VALUES // 4),
    "EDDM": (detectors.EDDM, binary.EDDM, True, VALUES // 4),
    "HDDM-A": (detectors.HDDMA, binary.HDDMA, True, VALUES // 10),
    "HDDM-W": (detectors.HDDMW, binary.HDDMW, True, VALUES // 10),
}


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def ours(make: Callable[[], detectors.Watch], values: np.ndarray) -> None:
    detector = make()
    for start in range(0, len(values), BLOCK):
        detector.update(values[start : start + BLOCK])


def theirs(make: Callable[[], object], values: list[float]) -> None:
    detector = make()
    for value in values:
        detector.update(value)


def main() -> None:
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=VALUES) + np.repeat(rng.normal(size=100), VALUES // 100)
    errors = (rng.random(VALUES) < np.repeat(rng.uniform(0.05, 0.4, 100), VALUES // 100)).astype(np.float64)
    lines = [
        "## Detectors",
        "",
        f"CPU-seconds for {VALUES:,} values; ratio = how many times faster than River. Bar: 10.",
        "",
        "| | River, best | median | retain, best | median | ratio, best | ratio, median |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, (make, peer, binary_values, count) in PAIRS.items():
        values = errors if binary_values else numbers
        few = values[:count].tolist()
        ours(make, values[:BLOCK])  # compiled
        turns = [(seconds(partial(ours, make, values)), seconds(partial(theirs, peer, few))) for _ in range(TIMES)]
        mine, river = [a for a, _ in turns], [b * VALUES / count for _, b in turns]
        cells = (min(river), median(river), min(mine), median(mine))
        ratios = (min(river) / min(mine), median(river) / median(mine))
        lines.append(f"| {name} | {' | '.join(f'{c:.3f}' for c in cells)} | {' | '.join(f'{r:.0f}' for r in ratios)} |")
    record("detectors", "\n".join(lines))


if __name__ == "__main__":
    main()
