"""What compression brings for forests: the default ladder, rung by rung, against the learner, and forests as files.

One thread, parent and artefact asked in turn. `elec2`: electricity prices, 8 columns, a drifting stream: the first four
fifths are learnt, the next fifth of what is left teaches, the rest judges, as `retain compress` would do it. `mixed`:
the same rows in random order, so that rows that judge are like those that were learnt. `magic`: 19,020 rows of two
classes, and `letter`: 20,000 rows of 26 classes, by a forest of 30, both in random order. `rbf`: 100,000 rows of five
classes about 50 centres, which stay where they are. Rows that teach are rows that the parent has not learnt, which
favours rungs after the first.

Smaller is against the parent's nodes, leaves and Gaussians as plain arrays in float32 and int32, without what only
learning needs; the state of the learner is told beside it. Where leaves say shares, the same trees are asked through
ONNX Runtime, too.

`files`: a forest of 100 MB, its state through a registry and back.
Needs the data sets beside the repository: `python bench_forest_compress.py [--only elec2]...`.
"""

from __future__ import annotations

import argparse
import gzip
import os
import tempfile
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):  # read when NumPy is loaded
    os.environ[name] = "1"

from collections.abc import Callable, Mapping  # noqa: E402 - as are those below: the threads first
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
from measure import MNIST, load, record  # noqa: E402

import retain as rt  # noqa: E402
from retain.blocks import concat_batches, take_batch  # noqa: E402
from retain.compression import Artifact, Rung  # noqa: E402
from retain.compression.branched import tree_graph  # noqa: E402
from retain.compression.cost import latencies  # noqa: E402
from retain.compression.session import Session  # noqa: E402
from retain.core import Batch, Learner  # noqa: E402
from retain.state import encode  # noqa: E402

DATA = MNIST.parent
NEEDS = {"elec2": DATA / "electricity" / "elec2_data.dat.gz", "mixed": DATA / "electricity" / "elec2_data.dat.gz"}
NEEDS |= {name: DATA / "keel_multiclass" / f"{name}.dat.gz" for name in ("magic", "letter")}
NEEDS["rbf"] = Path()  # made here
SMALLER, FASTER, LOST = 4.0, 2.0, 0.005
SECONDS = 1.0  # to save a forest of 100 MB, and to load it


def electricity() -> Batch:
    x = np.loadtxt(NEEDS["elec2"]).astype(np.float32)
    return Batch(x, y=np.loadtxt(NEEDS["elec2"].with_name("elec2_label.dat.gz")).astype(np.int64))


def mixed(rows: Batch) -> Batch:
    return take_batch(rows, np.random.default_rng(0).permutation(len(rows)))


def listed(path: Path) -> Batch:
    """Rows of numbers with the class last, behind lines that begin with @."""
    with gzip.open(path, "rt") as file:
        rows = [line.replace(",", " ").split() for line in file if line.strip() and not line.startswith("@")]
    x = np.array([row[:-1] for row in rows], dtype=np.float32)
    return Batch(x, y=np.unique([row[-1] for row in rows], return_inverse=True)[1])


def generated() -> Batch:
    stream = rt.streams.RandomRBF(seed=1, classes=5, n=100_000)
    return concat_batches([batch for batch, _ in stream.read()])


CASES: Mapping[str, tuple[Callable[[], Batch], Callable[[], Learner]]] = {
    "elec2": (electricity, lambda: rt.ARF(10)),
    "mixed": (lambda: mixed(electricity()), lambda: rt.ARF(10)),
    "magic": (lambda: mixed(listed(NEEDS["magic"])), lambda: rt.ARF(10)),
    "rbf": (generated, lambda: rt.ARF(10)),
    "letter": (lambda: mixed(listed(NEEDS["letter"])), lambda: rt.ARF(30)),
}


def row(case: str, rung: Rung) -> str:
    found, cost = rung.judgement, rung.cost
    if found is None or cost is None:
        return f"| {case}: {rung.name} | | | | | | | {rung.fate}: {rung.why} |"
    change = f"{-100 * found.change.mean:+.2f} ± {50 * (found.change.high - found.change.low):.2f}"
    times = [
        f"{1e3 * cost.latency[n].median:.4f} ms" + (f", {rung.faster[n]:.1f}x" if rung.faster else "") for n in (1, 64)
    ]
    size = f"{cost.bytes / 1e3:,.1f} kB, {rung.smaller:.1f}x"
    cells = (f"{case}: {rung.name}", size, *times, f"{cost.multiply_adds:,}", f"{100 * found.after:.2f}", change)
    return f"| {' | '.join(cells)} | {rung.fate} |"


def by_onnx(artifact: Artifact, judges: Batch) -> str:
    """The same trees through ONNX Runtime."""
    form = artifact.form
    if len(form.branches.says):  # pyright: ignore[reportAttributeAccessIssue] - it is of trees
        return "leaves say Bayes, which ONNX cannot"
    model = tree_graph(form.branches).SerializeToString()  # pyright: ignore[reportAttributeAccessIssue]
    session = Session(model, threads=1)
    asked = {"ours": artifact.predict, "onnx": lambda x: session.answers(session.rows(x))}
    apart = np.abs(asked["ours"](judges.x) - asked["onnx"](judges.x)).max()
    times = latencies(asked, judges.x, sizes=(1, 64), seconds=1.0)
    ratio = [times["onnx"][n].median / times["ours"][n].median for n in (1, 64)]
    return (
        f"ONNX Runtime with the same trees takes {ratio[0]:.1f} and {ratio[1]:.1f} times as long, its file is "
        f"{len(model) / 1e3:,.1f} kB, and it answers the same within {apart:.0e}"
    )


def verdict(case: str, learner: Learner, artifact: Artifact, judges: Batch) -> str:
    assert artifact.report is not None
    taken = artifact.report.taken
    change = taken.judgement.change  # pyright: ignore[reportOptionalMemberAccess]
    state = len(encode(learner.state_dict()))
    met = taken.smaller >= SMALLER and min(taken.faster.values()) >= FASTER and change.mean <= LOST
    return (
        f"{case}, the last rung taken ({taken.name}): {taken.smaller:.0f}x smaller ({state / len(artifact.data):,.0f}x "
        f"than the learner's state of {state / 1e3:,.0f} kB), {taken.faster[1]:.1f}x and {taken.faster[64]:.1f}x as "
        f"fast for 1 and 64 rows, {-100 * change.mean:+.2f} points; bar {SMALLER:g}x, {FASTER:g}x and "
        f"{-100 * LOST:g} points: {'met' if met else 'MISSED'}. {by_onnx(artifact, judges)}."
    )


def files() -> str:
    """A forest of 100 MB as a version of a registry, and back."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20_000, 40)).astype(np.float32)
    rows = Batch(x, y=np.abs(x[:, :8]).argmax(axis=1))

    def made() -> rt.ARF:
        return rt.ARF(10, tree=rt.HoeffdingTree(grace=10, delta=0.9), features=20)

    learner = made()
    learner.learn(rows)
    taken: dict[str, list[tuple[float, float]]] = {"saved": [], "loaded": []}
    with tempfile.TemporaryDirectory() as folder:
        registry = rt.FileRegistry(folder)
        for i in range(11):
            learner.learn(take_batch(rows, slice(i, i + 1)))  # other bytes than the version before
            begun = clocks()
            version = registry.push({"learner": learner.state_dict()}, parent=None, report={})
            between = clocks()
            again = made()
            again.load_state_dict(registry.pull(version.name)["learner"])
            ended = clocks()
            if i:  # the first finds cold caches
                taken["saved"].append((between[0] - begun[0], between[1] - begun[1]))
                taken["loaded"].append((ended[0] - between[0], ended[1] - between[1]))
            assert np.array_equal(again.predict(x[:100]), learner.predict(x[:100]))
    size = len(encode(learner.state_dict())) / 1e6
    told: list[str] = []
    worst = 0.0
    for what, times in taken.items():
        cpu, wall = np.median(times, axis=0)
        worst = max(worst, wall)
        best = min(one[1] for one in times)
        told.append(f"{what} in {cpu:.2f} CPU-seconds, {wall:.2f} s by the clock (best {best:.2f})")
    return (
        f"A forest of {size:.0f} MB ({learner.branches().trees} trees), {', '.join(told)}, hash and fsync included; "
        f"bar {SECONDS:g} s by the clock: {'met' if worst < SECONDS else 'MISSED'}."
    )


def clocks() -> tuple[float, float]:
    """CPU-seconds and seconds."""
    return time.process_time(), time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", action="append", default=[], choices=[*CASES, "files"])
    lines: list[str] = []
    for case in parser.parse_args().only or [*CASES, "files"]:
        if case == "files":
            lines.append(f"!{files()}")
            print(lines[-1][1:], flush=True)
            continue
        if not Path(NEEDS[case]).exists():
            print(f"no data in {NEEDS[case]}: {case} is not measured")
            continue
        read, make = CASES[case]
        rows, learner = read(), make()
        cut = len(rows) * 4 // 5
        learner.learn(take_batch(rows, slice(cut)))
        held = take_batch(rows, slice(cut, None))
        lessons, judges = (take_batch(held, part) for part in (slice(len(held) // 5), slice(len(held) // 5, None)))
        budget = rt.Within(accuracy=0.01 if case in ("letter", "magic") else LOST, per_class=None)
        artifact = rt.compress(learner, data=judges, lessons=lessons, budget=budget, seconds=0.5)
        assert artifact.report is not None
        rungs = [row(case, rung) for rung in artifact.report.rungs]
        lines += [*rungs, "| | | | | | | | |", f"!{verdict(case, learner, artifact, judges)}"]
        print("\n".join(lines[-len(rungs) - 2 :]), flush=True)
    told = [line[1:] for line in lines if line.startswith("!")]
    table = [line for line in lines if not line.startswith("!")]
    record(
        "forests, compressed",
        "\n".join(
            [
                "## Compression: forests",
                "",
                "One thread; margins: .5 points of accuracy (magic and letter, of which there are fewer rows: 1).",
                "",
                "| | size | 1 row | 64 rows | tests, products, sums | accuracy | change (points) | |",
                "|---|---|---|---|---|---|---|---|",
                *table,
                "",
                *(line for one in told for line in (one, "")),
                load(),
            ]
        ),
    )


if __name__ == "__main__":
    main()
