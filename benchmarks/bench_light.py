"""What compression brings for linear and analytic learners: the default ladder, rung by rung, against the learner.

One thread, parent and artefact asked in turn, transforms included. `texts`: words of SST-2 in 2^20 hashed slots,
logistic by FTRL with l1, four of five rows learnt once; its rows are phrases, so that parts of a sentence may be among
those learnt and those that judge, which favours all models alike. `topics`: four classes of AG News, one against the
rest, 5,000 texts learnt and 2,600 judging. `ridge`: 4,000 random features of MNIST's pixels, solved on 20,000 rows.
`linear`: MNIST's pixels as they are, softmax. The area under the ROC curve (of several classes the mean of each against
the rest) is of the rows that judge; a fifth of the rows held out teaches: rungs of fewer bits learn it, which the
parent has not. Smaller is against all weights in float32, zeros too.
Needs the data sets beside the repository: `python bench_light.py [--only texts]...`.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
import sys

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):  # read when NumPy is loaded
    os.environ[name] = "1"

from collections.abc import Callable, Mapping  # noqa: E402 - as are those below: the threads first
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
from measure import MNIST, load, record  # noqa: E402

import retain as rt  # noqa: E402
from retain.blocks import take_batch  # noqa: E402
from retain.compression import Artifact, Rung  # noqa: E402
from retain.core import Array, Batch, Learner  # noqa: E402

DATA = MNIST.parent
NEEDS = {"texts": DATA / "sst2" / "train.tsv.gz", "topics": DATA / "ag_news_test" / "test.csv.gz"}
NEEDS |= {"ridge": MNIST, "linear": MNIST}
SMALLER, SLOWER, AREA = 100.0, 1.05, 0.001  # of hashed texts: times, times, and what may be lost


def worded(texts: list[str], y: Array, learnt: int) -> tuple[Batch, Batch]:
    order = np.random.default_rng(0).permutation(len(texts))
    whole = pa.record_batch({"text": pa.array([texts[i] for i in order])})
    return Batch(whole.slice(0, learnt), y=y[order][:learnt]), Batch(whole.slice(learnt), y=y[order][learnt:])


def hashed(learnt: Batch) -> Learner:
    learner = rt.Hash(bits=20, text="text") | rt.Linear(loss=rt.Logistic(), update=rt.FTRL(alpha=1.0), l1=1.0)
    learner.learn(learnt)
    return learner


def of_texts() -> tuple[Learner, Batch]:
    with gzip.open(NEEDS["texts"], "rt", encoding="utf-8") as file:
        rows = [line.rstrip("\n").rsplit("\t", 1) for line in file][1:]
    learnt, judges = worded([text for text, _ in rows], np.array([int(y) for _, y in rows]), len(rows) * 4 // 5)
    return hashed(learnt), judges


def of_topics() -> tuple[Learner, Batch]:
    with gzip.open(NEEDS["topics"], "rt", encoding="utf-8") as file:
        rows = [(f"{title} {text}", int(y) - 1) for y, title, text in csv.reader(file)]
    learnt, judges = worded([text for text, _ in rows], np.array([y for _, y in rows]), 5_000)
    return hashed(learnt), judges


def pixels() -> tuple[Batch, Batch]:
    data = rt.streams.images.mnist(MNIST)
    return tuple(Batch(b.x.reshape(len(b), -1).astype(np.float32) / 255, y=b.y) for b in (data.train, data.test))


def of_ridge() -> tuple[Learner, Batch]:
    train, test = pixels()
    learner = rt.RandomFeatures(4_000, scale=2.0) | rt.Ridge(l2=1.0, batch_size=20_000)
    learner.learn(Batch(train.x[:20_000], y=train.y[:20_000]))
    return learner, test


def of_linear() -> tuple[Learner, Batch]:
    train, test = pixels()
    learner = rt.Linear(loss=rt.Multinomial(), update=rt.SGD(0.02))
    learner.learn(train)
    return learner, test


CASES: Mapping[str, Callable[[], tuple[Learner, Batch]]] = {
    "texts": of_texts,
    "topics": of_topics,
    "ridge": of_ridge,
    "linear": of_linear,
}


def area(predictor: Learner | Artifact, rows: Batch) -> float:
    said = predictor.predict(rows.x)
    if said.shape[1] == 2:
        return rt.metrics.roc_area(rows.y == 1, said[:, 1])
    return float(np.mean([rt.metrics.roc_area(rows.y == code, said[:, code]) for code in range(said.shape[1])]))


def row(case: str, rung: Rung) -> str:
    found, cost = rung.judgement, rung.cost
    if found is None or cost is None:
        return f"| {case}: {rung.name} | | | | | | | {rung.fate}: {rung.why} |"
    change = f"{-100 * found.change.mean:+.2f} ± {50 * (found.change.high - found.change.low):.2f}"
    times = [
        f"{1e3 * cost.latency[n].median:.3f} ms" + (f", {rung.faster[n]:.2f}x" if rung.faster else "") for n in (1, 64)
    ]
    size = f"{cost.bytes / 1e3:,.1f} kB, {rung.smaller:.1f}x"
    cells = (
        f"{case}: {rung.name}",
        size,
        *times,
        f"{cost.multiply_adds:,}",
        f"{100 * found.after:.2f}",
        change,
        rung.fate,
    )
    return f"| {' | '.join(cells)} |"


def verdict(case: str, learner: Learner, artifact: Artifact, judges: Batch) -> str:
    assert artifact.report is not None
    taken = artifact.report.taken
    before, after = area(learner, judges), area(artifact, judges)
    got = (
        f"{case}, the last rung taken ({taken.name}): {taken.smaller:.0f}x smaller, {taken.faster[1]:.2f}x and "
        f"{taken.faster[64]:.2f}x as fast for 1 and 64 rows, area {before:.4f} before and {after:.4f} after"
    )
    if case not in ("texts", "topics"):
        return f"{got}."
    met = taken.smaller >= SMALLER and min(taken.faster.values()) >= 1 / SLOWER and before - after <= AREA
    return (
        f"{got}; bar {SMALLER:g}x smaller, no slower (within {SLOWER - 1:.0%}, what times vary by), {AREA:g} of area "
        f"lost: {'met' if met else 'MISSED'}."
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", action="append", default=[], choices=list(CASES))
    lines: list[str] = []
    for case in parser.parse_args().only or list(CASES):
        if not Path(NEEDS[case]).exists():
            print(f"no data in {NEEDS[case]}: {case} is not measured")
            continue
        learner, held = CASES[case]()
        lessons, judges = (take_batch(held, part) for part in (slice(len(held) // 5), slice(len(held) // 5, None)))
        budget = rt.Within(accuracy=0.01 if case == "topics" else 0.005, per_class=None)
        artifact = rt.compress(learner, data=judges, lessons=lessons, budget=budget, seconds=1.0)
        assert artifact.report is not None
        rungs = [row(case, rung) for rung in artifact.report.rungs]
        lines += [*rungs, "| | | | | | | | |", f"!{verdict(case, learner, artifact, judges)}"]
        print("\n".join(lines[-len(rungs) - 1 :]), flush=True)
    told = [line[1:] for line in lines if line.startswith("!")]
    table = [line for line in lines if not line.startswith("!")]
    record(
        "light",
        "\n".join(
            [
                "## Compression: linear and analytic learners",
                "",
                "One thread; margins: .5 points of accuracy (topics, for which there are fewer rows: 1).",
                "",
                "| | size | 1 row | 64 rows | multiply-adds | accuracy | change (points) | |",
                "|---|---|---|---|---|---|---|---|",
                *table,
                "",
                *(line for one in told for line in (one, "")),
                f"Torch was{'' if 'torch' in sys.modules else ' not'} imported.",
                "",
                load(),
            ]
        ),
    )


if __name__ == "__main__":
    main()
