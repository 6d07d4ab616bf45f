"""`Conformal` on streams that drift: what its bounds hold, in all and in the worst of all stretches of 2,000 rows.

The bars: within 1 point of the coverage asked over all rows, within 2.5 points in every stretch. Sizes are medians of
the widths of intervals, and mean numbers of classes. Beside it ACI alone, and a quantile of all scores so far, which
follows nothing. Every row is bounded before its label comes; the learner inside is `quick`. Data is read from the
folder beside the repository.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measure import load, record

import retain as rt

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
BLOCK, STRETCH = 4096, 2000


def file(path: str, target: str, **more: Any) -> Callable[[], Any]:
    return lambda: rt.streams.csv(DATA / path, target=target, block=BLOCK, **more)


def moving_centres() -> Any:
    folder = DATA / "synthetic_known_drift"
    x = np.loadtxt(folder / "interchangingRBF.data.gz")
    y = np.loadtxt(folder / "interchangingRBF.labels.gz").astype(np.int64)
    return rt.streams.arrays(x, y, block=BLOCK)


STREAMS: dict[str, Callable[[], Any]] = {
    "Elec2, 6 columns": file("electricity/elec.csv.gz", "class"),
    "interchanging RBF": moving_centres,
    "NOAA weather": file("noaa_weather/weather.csv.gz", "target"),
    "metro traffic": file("metro_traffic/Metro_Interstate_Traffic_Volume.csv.gz", "traffic_volume"),
    "bike sharing": file("bike_sharing/hour.csv.gz", "cnt", ignore=("instant", "casual", "registered")),
    "ETTh1": file("ett/ETTh1.csv.gz", "OT"),
}


def said(stream: Any) -> tuple[Any, Any]:
    """What `quick` says of every row before it learns it, and the labels."""
    learner, told, labels = rt.quick(stream.schema()), [], []
    for batch, _ in stream.read():
        told.append(learner.learn(batch))
        labels.append(batch.y)
    width = max(part.shape[1] for part in told) if told[0].ndim == 2 else 0
    parts = [np.pad(part, ((0, 0), (0, width - part.shape[1]))) if width else part for part in told]
    return np.concatenate(parts), np.concatenate(labels)


class Spoken:
    """A learner that says what was said before: input row i is its number."""

    def __init__(self, answers: Any) -> None:
        self._answers = answers

    def learn(self, batch: Any, /) -> Any:
        return self.predict(batch.x)

    def predict(self, x: Any, /) -> Any:
        return self._answers[np.asarray(x)[:, 0].astype(int)]

    def state_dict(self) -> Any:
        return {}

    def load_state_dict(self, state: Any, /) -> None: ...


def bounded(answers: Any, y: Any, learner: rt.Conformal) -> tuple[Any, Any]:
    """Whether each label lay within the bounds of its row, and how large these were; row by row."""
    within, size = np.zeros(len(y), bool), np.zeros(len(y))
    rows = np.arange(len(y), dtype=np.float64)[:, None]
    before = np.zeros(3)
    for i in range(len(y)):
        learner.learn(rt.Batch(rows[i : i + 1], y=y[i : i + 1]))
        now = learner.state_dict()["tally"][0][1:]
        within[i] = now[0] > before[0]
        size[i] = now[2] - before[2] if now[1] > before[1] else np.inf
        before = now
    return within, size


def fixed(answers: Any, y: Any, coverage: float) -> tuple[Any, Any]:
    """The quantile of all scores so far."""
    score = np.abs(y - answers) if answers.ndim == 1 else 1 - answers[np.arange(len(y)), y]
    within, size, ranked = np.ones(len(y), bool), np.full(len(y), np.inf), np.zeros(0)
    for i in range(len(y)):
        rank = int(np.ceil((i + 1) * coverage))
        if i >= 10 and rank <= i:
            bound = ranked[rank - 1]
            within[i] = score[i] <= bound
            size[i] = 2 * bound if answers.ndim == 1 else (1 - answers[i] <= bound).sum()
        at = np.searchsorted(ranked, score[i])
        ranked = np.insert(ranked, at, score[i])
    return within, size


def told(within: Any, size: Any, coverage: float, *, numbers: bool) -> str:
    total = np.concatenate([[0], np.cumsum(within)])
    stretch = (total[STRETCH:] - total[:-STRETCH]) / STRETCH
    worst = stretch[np.abs(stretch - coverage).argmax()]
    middle = np.median(size) if numbers else size[np.isfinite(size)].mean()
    return f"{within.mean():.2%}, {worst:.1%}, {middle:.3g}"


def main() -> None:
    lines = [
        "## Bounds that hold their share: conformal prediction on streams that drift",
        "",
        "In each cell: share of labels within the bounds, that of the stretch of 2,000 neighbouring rows which is",
        "farthest from what was asked, and the size of the bounds (median width, or mean number of classes).",
        "",
        "| | rows | asked | Conformal, default | Conformal(update=ACI()) | all scores so far |",
        "|---|---|---|---|---|---|",
    ]
    spoken = {name: said(make()) for name, make in STREAMS.items()}
    for coverage in (0.9, 0.8, 0.95):
        for name, (answers, y) in spoken.items():
            cells = []
            for update in (rt.DtACI(), rt.ACI()):
                learner = rt.Conformal(Spoken(answers), coverage=coverage, update=update)
                cells.append(told(*bounded(answers, y, learner), coverage, numbers=answers.ndim == 1))
            cells.append(told(*fixed(answers, y, coverage), coverage, numbers=answers.ndim == 1))
            lines.append(f"| {name} | {len(y):,} | {coverage:.0%} | {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    answers, y = spoken["metro traffic"]
    rates = []
    for _ in range(6):
        learner = rt.Conformal(Spoken(answers))
        rows = np.arange(len(y), dtype=np.float64)[:, None]
        start = time.process_time()
        for at in range(0, len(y), BLOCK):
            learner.learn(rt.Batch(rows[at : at + BLOCK], y=y[at : at + BLOCK]))
        rates.append(len(y) / (time.process_time() - start))
    lines += ["", f"Bounds for {np.median(rates[1:]) / 1e3:.4g} thousand rows per CPU-second (median of five)."]
    record("conformal", "\n".join([*lines, "", load()]))


if __name__ == "__main__":
    sys.exit(main())
