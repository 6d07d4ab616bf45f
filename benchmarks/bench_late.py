"""What it costs that labels come late: rows per CPU-second with labels at once, known beforehand, and heard by id.

200,000 rows of 20 numbers, `Scale | Linear`, blocks of 1,000, the same lags (exponential) in each case, so that about
so many rows wait at any moment. Known beforehand: a column says when each label lands, as in a file of the past. Heard:
`streams.join`, labels from a stream of their own, in which each has to find its row. The peer is River's loop over
`stream.simulate_qa`, in which labels are known beforehand, on a thirtieth of the rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from statistics import median

import numpy as np
from measure import load, record

import retain as rt

ROWS, COLUMNS, TIMES, PEER = 200_000, 20, 3, 30
WAITING = (1_000, 20_000, 100_000)


def learner() -> rt.core.Learner:
    return rt.Scale() | rt.Linear(loss=rt.Logistic())


def cases(waiting: int) -> dict[str, Callable[[], int]]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, COLUMNS)).astype(np.float32)
    y = (x @ rng.normal(size=COLUMNS) + rng.normal(size=ROWS) > 0).astype(np.int64)
    at = np.arange(ROWS, dtype=np.float64)
    heard = at + 1 + rng.exponential(waiting, ROWS)
    ids = rng.permutation(ROWS)
    order = np.argsort(heard)

    def run(stream: rt.core.Stream) -> int:
        for report in rt.Prequential(stream, learner()):
            last = report
        return last.learnt

    def joined() -> rt.core.Stream:
        labels = rt.streams.arrays(np.empty((ROWS, 0)), y[order], time=heard[order], id=ids[order])
        return rt.streams.join(rt.streams.arrays(x, time=at, id=ids), labels)

    def river() -> int:
        from river import linear_model, preprocessing, stream

        model = preprocessing.StandardScaler() | linear_model.LogisticRegression()
        few, landed, start = ROWS // PEER, 0, datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)
        lag = {i: timedelta(seconds=float((heard - at)[i]) / PEER) for i in range(few)}
        rows = [({"i": i, "at": start + timedelta(seconds=i)}, dict(enumerate(x[i].tolist()))) for i in range(few)]
        pairs = (({**row, **when}, bool(y[when["i"]])) for when, row in rows)
        for _, given, label in stream.simulate_qa(pairs, "at", lambda given, _: lag[given["i"]], copy=False):
            plain = {name: value for name, value in given.items() if isinstance(name, int)}
            if label is None:
                model.predict_proba_one(plain)
            else:
                model.learn_one(plain, label)
                landed += 1
        return landed

    return {
        "labels at once": lambda: run(rt.streams.arrays(x, y)),
        "known beforehand": lambda: run(rt.streams.arrays(x, y, time=at, label_time=heard, id=ids)),
        "heard, found by id": lambda: run(joined()),
        "river, known beforehand": river,
    }


def main() -> None:
    lines = [
        "## Late labels",
        "",
        f"{ROWS:,} rows of {COLUMNS} numbers, blocks of 1,000: rows per CPU-second, and their ratio to labels at once.",
        "",
        "| about so many rows wait | labels | best | median | of labels at once (best) | (median) |",
        "|---|---|---|---|---|---|",
    ]
    for waiting in WAITING:
        costs: dict[str, list[float]] = {}
        for i in range(TIMES + 1):
            for name, case in cases(waiting).items():
                start = time.process_time()
                learnt = case()
                if i:  # the first round warms up
                    costs.setdefault(name, []).append((time.process_time() - start) / learnt)
        base = costs["labels at once"]
        for name, each in costs.items():
            ratios = min(base) / min(each), median(base) / median(each)
            speeds = " | ".join(f"{1 / cost:,.0f}" for cost in (min(each), median(each)))
            lines.append(f"| {waiting:,} | {name} | {speeds} | {ratios[0]:.3g} | {ratios[1]:.3g} |")
    record("late", "\n".join([*lines, "", load()]))


if __name__ == "__main__":
    main()
