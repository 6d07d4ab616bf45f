"""Trees and their ensembles beside River and CapyMOA: how often they are right, test-then-train, and what a row costs.

    python bench_trees.py [FOLDER] [--capymoa PYTHON] [--only accuracy|speed] [--seeds 10] [--rows 1000000]

All get the same rows, in the same order, with their own default settings, ensembles of ten. CapyMOA needs Java and an
environment of its own (`pip install capymoa`), whose interpreter is named; without it its columns are left out. It
reads an ARFF file, which is in its time; River gets dicts that were made before the clock starts, and one row after
the other, as its users do; ours gets blocks of 8,192 rows. Elec2 is read from the folder beside the repository, and
left out where it is absent.

Accuracy: ours over so many seeds, of ensembles; a peer's figure is of one run. Beside them stands what its
documentation published. Streams with drift: random trees of 30 numbers that change twice, abruptly.

Speed: each contender learns the stream in turn, three times over; CPU-seconds of a process between the first row and
the last, start and compilation apart. River gets a tenth of the rows, or a hundredth, for it takes minutes.
"""

from __future__ import annotations

import argparse
import json
import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):  # read when NumPy is loaded
    os.environ[name] = "1"

import subprocess  # noqa: E402 - as are those below: the threads first
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from statistics import median  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
from measure import load, record  # noqa: E402
from rich.progress import track  # noqa: E402

import retain as rt  # noqa: E402

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
BLOCK = 8192
TIMES = 3
PUBLISHED = {  # the better of River's and CapyMOA's documentation
    "Phishing": {"HoeffdingTree": 0.880, "ARF": 0.908, "SRP": 0.914, "LeveragingBagging": 0.894},
    "Bananas": {"HoeffdingTree": 0.642, "ARF": 0.887, "SRP": 0.872, "LeveragingBagging": 0.828},
    "Elec2": {"HoeffdingTree": 0.817, "ARF": 0.893, "SRP": 0.869, "LeveragingBagging": 0.893},
    "ImageSegments": {"HoeffdingTree": 0.776, "ARF": 0.819, "SRP": 0.767, "LeveragingBagging": 0.778},
}
OURS: dict[str, Callable[[int], Any]] = {
    "HoeffdingTree": lambda seed: rt.HoeffdingTree(),
    "HoeffdingAdaptiveTree": lambda seed: rt.HoeffdingAdaptiveTree(seed=seed),
    "EFDT": lambda seed: rt.EFDT(),
    "ARF": lambda seed: rt.ARF(seed=seed),
    "SRP": lambda seed: rt.SRP(seed=seed),
    "LeveragingBagging": lambda seed: rt.LeveragingBagging(seed=seed),
    "OnlineBagging": lambda seed: rt.OnlineBagging(seed=seed),
    "OnlineBoosting": lambda seed: rt.OnlineBoosting(seed=seed),
}
SEEDLESS = ("HoeffdingTree", "EFDT")
SLOW = {"HoeffdingTree": 10, "HoeffdingAdaptiveTree": 20, "EFDT": 20}  # River gets one row in so many; else 100
FEWER = ("HoeffdingTree", "HoeffdingAdaptiveTree", "EFDT")  # learners of all rows; ensembles get a tenth

Rows = tuple[np.ndarray, np.ndarray]


def packaged(name: str) -> Rows:
    from river import datasets

    rows = list(getattr(datasets, name)())
    x = np.array([list(row.values()) for row, _ in rows], dtype=np.float32)
    names = sorted({label for _, label in rows}, key=str)
    return x, np.array([names.index(label) for _, label in rows])


def elec2(folder: Path) -> Rows:
    x = np.loadtxt(folder / "electricity" / "elec2_data.dat.gz", dtype=np.float32)
    return x, np.loadtxt(folder / "electricity" / "elec2_label.dat.gz").astype(np.int64)


def drifting(n: int) -> Rows:
    """Random trees of 30 numbers, a new one after each third."""
    part = -(-n // 3)
    concepts = [next(iter(rt.streams.RandomTree(seed=s, n=part, block=part, numeric=30, nominal=0))) for s in (1, 2, 3)]
    return np.concatenate([b.x for b in concepts])[:n], np.concatenate([b.y for b in concepts])[:n]


def covers(n: int) -> Rows:
    """As forest cover types are: 54 columns, 10 of them numbers and 44 of them 0 or 1, in 7 classes."""
    batch = next(iter(rt.streams.RandomRBF(seed=1, features=54, classes=7, n=n, block=n)))
    x = np.asarray(batch.x).copy()
    x[:, 10:] = x[:, 10:] > np.quantile(x[:1000, 10:], 0.8, axis=0)
    return x, batch.y


def arff(rows: Rows, path: Path) -> None:
    x, y = rows
    with path.open("w") as file:
        file.write("@relation rows\n")
        file.writelines(f"@attribute a{j} numeric\n" for j in range(x.shape[1]))
        file.write("@attribute y {" + ",".join(map(str, range(int(y.max()) + 1))) + "}\n@data\n")
        for row, label in zip(x.tolist(), y.tolist(), strict=True):
            file.write(",".join(map(repr, row)) + f",{label}\n")


def run_ours(name: str, rows: Rows, seed: int = 0) -> tuple[float, float]:
    """Accuracy and CPU-seconds."""
    x, y = rows
    learner, right = OURS[name](seed), 0
    start = time.process_time()
    for i in range(0, len(x), BLOCK):
        said = learner.learn(rt.Batch(x[i : i + BLOCK], y=y[i : i + BLOCK]))
        right += int((said.argmax(axis=1) == y[i : i + BLOCK]).sum())
    return right / len(x), time.process_time() - start


def rivers(name: str) -> Any:
    from river import ensemble, forest, tree

    return {
        "HoeffdingTree": tree.HoeffdingTreeClassifier,
        "HoeffdingAdaptiveTree": lambda: tree.HoeffdingAdaptiveTreeClassifier(seed=0),
        "EFDT": tree.ExtremelyFastDecisionTreeClassifier,
        "ARF": lambda: forest.ARFClassifier(n_models=10, seed=0),
        "SRP": lambda: ensemble.SRPClassifier(n_models=10, seed=0),
        "LeveragingBagging": lambda: ensemble.LeveragingBaggingClassifier(
            tree.HoeffdingTreeClassifier(), n_models=10, seed=0
        ),
        "OnlineBagging": lambda: ensemble.BaggingClassifier(tree.HoeffdingTreeClassifier(), n_models=10, seed=0),
        "OnlineBoosting": lambda: ensemble.AdaBoostClassifier(tree.HoeffdingTreeClassifier(), n_models=10, seed=0),
    }[name]()


def run_river(name: str, rows: Rows) -> tuple[float, float]:
    x, y = [dict(enumerate(row)) for row in rows[0].tolist()], rows[1].tolist()
    learner, right = rivers(name), 0
    start = time.process_time()
    for row, label in zip(x, y, strict=True):
        right += learner.predict_one(row) == label
        learner.learn_one(row, label)
    return right / len(x), time.process_time() - start


def run_moa(python: str, path: Path, names: list[str]) -> dict[str, tuple[float, float]]:
    command = [python, str(Path(__file__).with_name("from_java.py")), str(path), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"CapyMOA failed:\n{done.stderr[-2000:]}")
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"name"')]
    return {each["name"]: (each["accuracy"], each["seconds"]) for each in told}


def compiled() -> float:
    """Compile what is measured, and tell how long that took."""
    start = time.process_time()
    for name in OURS:
        run_ours(name, (np.zeros((2, 3), dtype=np.float32), np.array([0, 1])))
    return time.process_time() - start


def accuracy(given: argparse.Namespace) -> None:
    streams = {name: packaged(name) for name in ("Phishing", "Bananas", "ImageSegments")}
    if given.folder.is_dir():
        streams["Elec2"] = elec2(given.folder)
    streams["random trees, 2 drifts"] = drifting(100_000)
    lines = [
        "## Trees and ensembles: accuracy",
        "",
        f"Test-then-train; ensembles of ten, {given.seeds} seeds, ± standard error.",
        "",
        "| stream | learner | retain | River, here | CapyMOA, here | published | no change |",
        "|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for stream, rows in streams.items():
            still = float((rows[1][1:] == rows[1][:-1]).mean())
            moa: dict[str, tuple[float, float]] = {}
            if given.capymoa:
                path = Path(folder) / "rows.arff"
                arff(rows, path)
                moa = run_moa(given.capymoa, path, list(OURS))
            for name in track(OURS, description=stream):
                seeds = 1 if name in SEEDLESS else given.seeds
                found = [run_ours(name, rows, seed)[0] for seed in range(seeds)]
                error = f" ± {np.std(found, ddof=1) / seeds**0.5:.4f}" if seeds > 1 else ""
                slow = len(rows[0]) > 50_000 and name not in SEEDLESS
                river = "" if slow else f"{run_river(name, rows)[0]:.4f}"
                other = f"{moa[name][0]:.4f}" if name in moa else ""
                told = PUBLISHED.get(stream, {}).get(name)
                lines.append(
                    f"| {stream} | {name} | {np.mean(found):.4f}{error} | {river} | {other} "
                    f"| {'' if told is None else f'{told:.3f}'} | {still:.3f} |"
                )
                print(lines[-1], flush=True)
    record("trees-accuracy", "\n".join([*lines, "", load()]))


def speed(given: argparse.Namespace) -> None:
    streams = {"random trees, 30 numbers": drifting, "as cover types, 54 columns, 7 classes": covers}
    about = (
        f"Microseconds of CPU for a row learnt and answered, best of {TIMES} and median, in turn; ratios of medians. "
        f"Compiling all of ours took {compiled():.0f} CPU-seconds, or less where it was done before."
    )
    lines = [
        "## Trees and ensembles: speed",
        "",
        about,
        "",
        "| stream | learner | rows | retain | CapyMOA | River | CapyMOA / retain | River / retain |",
        "|---|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for stream, make in streams.items():
            for name in OURS:
                n = given.rows if name in FEWER else given.rows // 10
                rows = make(n)
                few = max(n // SLOW.get(name, 100), 1000)
                path = Path(folder) / "rows.arff"
                if given.capymoa:
                    arff(rows, path)
                costs: dict[str, list[float]] = {"retain": [], "CapyMOA": [], "River": []}
                for _ in track(range(TIMES), description=f"{stream}: {name}"):
                    costs["retain"].append(run_ours(name, rows)[1] / n * 1e6)
                    if given.capymoa:
                        costs["CapyMOA"].append(run_moa(given.capymoa, path, [name])[name][1] / n * 1e6)
                    costs["River"].append(run_river(name, (rows[0][:few], rows[1][:few]))[1] / few * 1e6)
                cells = [f"{min(c):.2f}, {median(c):.2f}" if c else "" for c in costs.values()]
                ratios = [
                    f"{median(costs[peer]) / median(costs['retain']):.1f}" if costs[peer] else ""
                    for peer in ("CapyMOA", "River")
                ]
                lines.append(f"| {stream} | {name} | {n:,} | {' | '.join(cells)} | {' | '.join(ratios)} |")
                print(lines[-1], flush=True)
    record("trees-speed", "\n".join([*lines, "", load()]))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, nargs="?", default=DATA)
    parser.add_argument("--capymoa", help="an interpreter that has capymoa")
    parser.add_argument("--only", choices=("accuracy", "speed"))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--rows", type=int, default=1_000_000)
    given = parser.parse_args()
    if given.only != "speed":
        accuracy(given)
    if given.only != "accuracy":
        speed(given)


if __name__ == "__main__":
    main()
