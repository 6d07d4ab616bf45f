"""A pipeline in a process of its own, that may kill itself at the n-th passage of a seam; the library has no hooks.

    python victim.py FOLDER KIND [SEAM N] [--every SECONDS]

It learns FOLDER/rows.csv (the kind "joined" takes the labels from FOLDER/heard.csv), keeps its state in FOLDER/state
and its versions in FOLDER/models, and goes on where it was.
Having reached the end it prints what came of it as one JSON object, clocks aside.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import json
import os
import signal
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any

import numpy as np

import retain as rt
from retain import registry, state
from retain.core import Batch, State
from retain.run import durable as durable_run
from retain.run.lane import Lane
from retain.run.service import Service
from retain.update import Overseer

ROWS = 4_000
KINDS = ("linear", "analytic", "neural", "joined", "forest")


def write_rows(path: Path) -> None:
    """Two features, a category that decides the slope's sign, another world after the middle, labels that come late.

    Beside them, in heard.csv, what is heard of most rows and by when: twice of some, and of some that are of nobody.
    """
    rng = np.random.default_rng(7)
    lines = ["at,n,known,site,a,b,label"]
    heard = list[tuple[float, int, int]]()
    for i in range(ROWS):
        site, a, b = rng.choice(["x", "y", "z"]), rng.normal(), rng.normal()
        sign = 1 if i < ROWS // 2 else -1
        known = "" if rng.random() < 0.02 else f"{i + rng.integers(1, 120)}"
        label = int(sign * (a + 0.5 * b * (site == "x")) + 0.3 * rng.normal() > 0)
        if i % 1_000 == 777:
            a = "broken"
        lines.append(f"{i},{i},{known},{site},{a},{b},{label}")
        if label or i % 3 == 0:  # nobody tells of most of the others
            heard += [
                (float(known or i + 300) + 0.5 * j, i + (i % 500 == 4) * ROWS, label) for j in range(1 + (i % 9 == 0))
            ]
    path.write_text("\n".join(lines) + "\n")
    told = [f"{when},{row},{label}" for when, row, label in sorted(heard, key=lambda one: one[0])]
    told[500:500] = ["broken,500,1"]
    path.with_name("heard.csv").write_text("\n".join(["when,n,label", *told]) + "\n")


class Counted:
    """A learner that also keeps a rolling hash and a count of the rows that it was taught, in order."""

    def __init__(self, learner: Any) -> None:
        self.learner, self.count, self.hash = learner, 0, 0

    def learn(self, batch: Batch, /) -> np.ndarray:
        said = self.learner.learn(batch)
        if batch.y is not None:
            known = np.flatnonzero(batch.y >= 0 if batch.y.dtype.kind == "i" else ~np.isnan(batch.y))
            for place in known:
                self.count += 1
                row = (
                    np.asarray(batch.x)[place] if isinstance(batch.x, np.ndarray) else batch.x.values[place : place + 1]
                )
                self.hash = hash((self.hash, float(batch.y[place]), float(row[0])))
        return said

    def predict(self, x: Any, /) -> np.ndarray:
        return self.learner.predict(x)

    def state_dict(self) -> State:
        return {"learner": self.learner.state_dict(), "count": self.count, "hash": self.hash}

    def load_state_dict(self, kept: State, /) -> None:
        self.learner.load_state_dict(kept["learner"])
        self.count, self.hash = kept["count"], kept["hash"]


def learner(kind: str) -> Any:
    encode = rt.Scale() | rt.OneHot()
    if kind in ("linear", "joined"):
        return encode | Counted(rt.Linear(loss=rt.Logistic(), update=rt.FTRL()))
    if kind == "analytic":
        return encode | Counted(rt.RLS(forgetting=0.999))
    if kind == "forest":
        return encode | Counted(rt.ARF(3, tree=rt.HoeffdingTree(grace=20, delta=0.2), seed=1))
    import torch

    torch.set_num_threads(1)
    replay = rt.strategies.Replay(rt.memory.Reservoir(50, seed=1), size=8)
    wide = rt.Scale() | rt.Select("a", "b")
    return wide | rt.Neural(rt.neural.MLP(2, 8, 2, seed=0), batch_size=16, strategies=[replay], seed=0)


def stream(folder: Path, kind: str) -> Any:
    rows = partial(rt.streams.csv, folder / "rows.csv", time="at", block=90)
    bad = rt.streams.Quarantine(folder / "bad.jsonl")
    if kind == "joined":
        heard = rt.streams.csv(
            folder / "heard.csv", target="label", time="when", id="n", task="classification", block=70,
            on_bad_rows=rt.streams.Quarantine(folder / "bad_labels.jsonl"),
        )  # fmt: skip
        return rt.streams.join(rows(id="n", ignore=["at", "known", "label"], on_bad_rows=bad), heard)
    task = "regression" if kind == "analytic" else None
    return rows(target="label", label_time="known", ignore=["at", "n"], task=task, on_bad_rows=bad)


def pipeline(folder: Path, kind: str) -> rt.Pipeline:
    gate: Any = rt.Unanimous(rt.Better(least=300, most=1_500), rt.NotForgotten(margin=1.0))
    if kind == "analytic":
        gate = rt.Better(largest=None, least=300, most=1_500)
    drift = rt.Rule(when=rt.OnDrift(rt.detectors.ADWIN()), do=rt.Retrain(last=300), gate=gate, name="drift")
    early = rt.Rule(
        when=rt.Every(rows=700), do=rt.Retrain(last=200), gate=rt.Better(largest=None, most=250), name="early",
        cooldown=10_000,
    )  # fmt: skip
    keep = rt.Rule(when=rt.Every(rows=1_500), do=rt.update.Keep(), name="keep")
    back = rt.Rule(when=rt.Every(rows=3_500), do=rt.RollBack(), name="back")
    return rt.Pipeline(
        stream=stream(folder, kind),
        learner=learner(kind),
        expire=rt.Silence(after=70, means="0", until=200) if kind == "joined" else None,
        rules=[early, drift, keep, back],
        registry=rt.FileRegistry(folder / "models", who="victim"),
        exam=rt.Exam(share=0.05, rows=20, every=1_000),
        step=100,
    )


def killing(call: Callable[..., Any], left: list[int], *, before: bool) -> Callable[..., Any]:
    @wraps(call)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        left[0] -= 1
        if before and left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        value = call(*args, **kwargs)
        if not before and left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return value

    return wrapper


KILLING = "\n".join(  # for drivers that are programs of their own
    (
        "from __future__ import annotations",
        "import os, pathlib, signal, sys",
        "from functools import wraps",
        inspect.getsource(killing),
    )
)


PLACES: dict[str, tuple[Any, str]] = {
    "step": (Lane, "step"),  # champion, candidate and ledger in turn
    "judge": (Service, "_judge"),
    "promote": (Service, "_promote"),
    "decide": (Service, "_decide"),
    "act": (Service, "_act"),
    "follow": (Overseer, "follow"),
    "push": (registry.FileRegistry, "push"),
    "point": (registry.FileRegistry, "point"),
    "note": (registry.FileRegistry, "note"),
    "append": (registry.files.Journal, "append"),
    "fsync": (os, "fsync"),
    "rename": (Path, "replace"),
    "unlink": (Path, "unlink"),
    "snapshot": (state, "write_snapshot"),
}
SEAMS = tuple(f"{place} {when}" for place in PLACES for when in ("before", "after"))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("kind")
    parser.add_argument("seam", nargs="*", default=[])
    parser.add_argument("--every", type=float, default=0.0)
    given = parser.parse_args()
    os.chdir(given.folder)  # positions hold names of files: the same in every folder
    here = Path()
    if given.seam:
        place, when, count = given.seam
        owner, name = PLACES[place]
        setattr(owner, name, killing(getattr(owner, name), [int(count)], before=when == "before"))
    service = pipeline(here, given.kind).service()
    *_, last = durable_run(service, here / "state", every=given.every)
    kept = {**service.state_dict(), "clocks": None, "actions": None, "log": None}
    # Where an entry of the log stands depends on how often somebody became its owner, what it says does not.
    models = rt.FileRegistry(here / "models")
    told = [[e.what, {k: v for k, v in e.about.items() if k != "hash"}] for e in models.log() if e.what != "own"]
    print(
        json.dumps(
            {
                "state": hashlib.sha256(state.encode(kept)).hexdigest(),
                "rows": [last.rows, last.learnt, last.lost, last.pending, last.quarantined],
                "metrics": last.metrics,
                "log": told,
                "verify": models.verify(),
                "aliases": models.aliases(),
                "strays": last.strays,
                "bad": [path.read_text() for path in sorted(here.glob("bad*.jsonl"))],
            },
            default=str,
        )
    )


if __name__ == "__main__":
    main()
