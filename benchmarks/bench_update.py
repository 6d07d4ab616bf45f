"""When to update: what five ways of doing it would have cost and gained on real streams, by the backtest.

One learner (`rt.quick`), the same rows, five sets of rules: never again after the first thirtieth; from scratch on all
history every thirtieth of the stream, standing still in between ("nightly"); learning on and nothing else; learning on
with a model retrained on drift behind a gate; and what we recommend, `rt.update.recommended()`. Streams from the folder
beside the repository are left out where it is absent. The bar: the recommended rules on the front of accuracy and cost.
"""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from measure import load, record
from rich.progress import track

import retain as rt
from retain.report import Backtest, write_backtest
from retain.report.backtest import figures

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
DOCS = Path(__file__).resolve().parents[1] / "docs"
PICTURES = {"electricity": "time", "flights, late labels": "cost"}  # of the documentation
BLOCK = 1_000
KDD = 494_021


def elec2() -> Any:
    folder = DATA / "electricity"
    x = np.loadtxt(folder / "elec2_data.dat.gz")
    return rt.streams.arrays(x, np.loadtxt(folder / "elec2_label.dat.gz").astype(np.int64), block=BLOCK)


def losing(name: str, features: str, labels: str) -> Any:
    folder = DATA / "synthetic_known_drift"
    y = np.loadtxt(folder / f"{name}{labels}").astype(np.int64)
    x = np.loadtxt(folder / f"{name}{features}", delimiter="," if features.endswith("csv.gz") else None)
    return rt.streams.arrays(x, y - y.min(), block=BLOCK)


def shuttle() -> Any:
    with gzip.open(DATA / "shuttle" / "shuttle_e_stream.arff.gz", "rt") as file:
        rows = [line.strip().split(",") for line in file if line[:1] not in "@%\n"]
    names = sorted({row[-1] for row in rows})
    x = np.array([row[:-1] for row in rows], dtype=np.float32)
    return rt.streams.arrays(x, np.array([names.index(row[-1]) for row in rows]), block=BLOCK)


def kdd() -> Any:
    names = [f"c{i:02d}" for i in range(41)] + ["label"]
    return rt.streams.csv(
        DATA / "kddcup99" / "kddcup.data_10_percent.gz", target="label", names=names, block=BLOCK, task="classification"
    )


STREAMS: Mapping[str, tuple[Callable[[], Any], int]] = {
    "flights, late labels": (lambda: rt.streams.flights(block=BLOCK), 336_776),
    "electricity": (elec2, 45_312),
    "SEA, 3 changes": (lambda: losing("SEA", "_training_data.csv.gz", "_training_class.csv.gz"), 50_000),
    "interchanging RBF": (lambda: losing("interchangingRBF", ".data.gz", ".labels.gz"), 200_000),
    "transient chessboard": (lambda: losing("transientChessboard", ".data.gz", ".labels.gz"), 200_000),
    "shuttle": (shuttle, 100_000),
    "KDD Cup 99": (kdd, KDD),
}


def policies(stream: Any, rows: int) -> dict[str, rt.Pipeline]:
    learner = rt.quick(stream.schema())
    period = rows // 30

    def made(rules: list[rt.Rule], **more: Any) -> rt.Pipeline:
        return rt.Pipeline(stream=stream, learner=learner, rules=rules, **more)

    once = rt.Rule(when=rt.Every(rows=period), do=rt.Retrain(), cooldown=10 * rows)
    nightly = rt.Rule(when=rt.Every(rows=period), do=rt.Retrain())
    drift = rt.Rule(
        when=rt.OnDrift(rt.detectors.ADWIN()), do=rt.Retrain(last=period), gate=rt.Better(most=20_000), name="drift"
    )
    return {
        "never": made([once], frozen=True),
        "scheduled": made([nightly], frozen=True),
        "online": made([]),
        "drift": made([drift]),
        "recommended": made(rt.update.recommended(learner)),
    }


def lines_of(name: str, result: Backtest) -> list[str]:
    lines: list[str] = []
    for policy, trace in result.traces.items():
        said = trace.numbers()
        mark = "yes" if policy in result.best else ""
        lines.append(
            f"| {name} | {policy} | {trace.accuracy:.4f} | {trace.worst:.4f} | {trace.cpu_seconds:.2f} | "
            f"{said['updates']} | {said['refused']} | {mark} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="")
    parser.add_argument("--report", type=Path)
    given = parser.parse_args()
    header = ["", "rules", "accuracy", "worst 2,000 rows", "CPU-seconds", "updates", "refused", "on the front"]
    lines = [
        "## When to update",
        "",
        "One learner, the same rows, five sets of rules; accuracy is prequential, CPU-seconds are all of the run's.",
        "",
        f"| {' | '.join(header)} |",
        "|---" * len(header) + "|",
    ]
    chosen = [name for name in STREAMS if given.only in name and (DATA.is_dir() or "flights" in name)]
    for name in track(chosen, description="streams"):
        make, rows = STREAMS[name]
        stream = make()
        named = policies(stream, rows)
        result = rt.backtest(named)
        lines += lines_of(name, result)
        print("\n".join(lines_of(name, result)), flush=True)
        if given.report:
            write_backtest(result, given.report / f"{name.replace(' ', '_')}.html", title=name)
        if name in PICTURES:
            picture = figures(result, of=name)[PICTURES[name]]
            picture.savefig(DOCS / f"backtest-{PICTURES[name]}.svg", metadata={"Date": None})
    if not given.only:
        record("update", "\n".join([*lines, "", load()]))


if __name__ == "__main__":
    main()
