"""`OnlineMLP`: prequential accuracy with nothing tuned, and rows per CPU-second beside eager PyTorch and a loop in C.

The bars: Elec2 with the label's lag .91, Phishing .92, Bananas .89, RMSE of Friedman's function below 2; 100 times the
rows of PyTorch row by row, .3 of those of the same update in C. Data that is not bundled is read from the folder beside
the repository. Say `accuracy` or `speed` to measure only one of the two.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from measure import load, record, run

import retain as rt
from retain.learners.neural import Net

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SEEDS, TIMES = 10, 5
ROWS, COLUMNS, HIDDEN = 200_000, 20, 64
SLOW_ROWS = 3000  # of torch

# --- accuracy ---------------------------------------------------------------------------------------------------------


def elec2() -> tuple[Any, Any]:
    folder = DATA / "electricity"
    return np.loadtxt(folder / "elec2_data.dat.gz"), np.loadtxt(folder / "elec2_label.dat.gz").astype(np.int64)


def phishing() -> tuple[Any, Any]:
    rows = np.genfromtxt(DATA / "river_packaged" / "phishing.csv.gz", delimiter=",", skip_header=1)
    return rows[:, :-1], rows[:, -1].astype(np.int64)


def slots() -> tuple[Any, Any]:
    """Phishing, whose columns hold two or three values each, with a column for each value."""
    x, y = phishing()
    return np.concatenate([x[:, [j]] == np.unique(x[:, j]) for j in range(x.shape[1])], axis=1).astype(float), y


def bananas() -> tuple[Any, Any]:
    with zipfile.ZipFile(DATA / "river_packaged" / "banana.zip") as archive:
        lines = archive.read(archive.namelist()[0]).decode().splitlines()
    rows = [line.split() for line in lines if line.strip()]
    x = np.array([[float(cell.partition(":")[2]) for cell in row[1:3]] for row in rows])
    return x, np.array([int(row[0] == "1") for row in rows])


def friedman() -> tuple[Any, Any]:
    read = [batch for batch, _ in rt.streams.Friedman(seed=1, n=40_768).read()]
    return np.concatenate([batch.x for batch in read]), np.concatenate([batch.y for batch in read])


def told(x: Any, y: Any, make: Callable[[int], Any], seed: int) -> float:
    """Accuracy, or the root of the mean squared error."""
    said = make(seed).learn(rt.Batch(x.astype(np.float32), y=y))
    return float((said.argmax(axis=1) == y).mean() if said.ndim == 2 else np.sqrt(((said - y) ** 2).mean()))


STREAMS: dict[str, tuple[Callable[[], tuple[Any, Any]], Any, str, str]] = {
    "Elec2, 8 columns and the label's lag": (elec2, rt.Lag, "> .91", "deep-river .58; ALMA .906, ARF .893 without lag"),
    "Elec2, 8 columns": (elec2, None, "", "the same; no change .853"),
    "Phishing": (phishing, None, "> .92", "deep-river .55; SRP .914, logistic regression .887"),
    "Phishing, a column for each value": (slots, None, "> .92", ""),
    "Bananas": (bananas, None, "> .89", "deep-river .55; AMF .889"),
    "Friedman, RMSE (noise 1)": (friedman, None, "< 2.0", "kNN 2.72, ARF 3.31"),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "one hidden layer": {"hidden": (64,)},
    "no rehearsals": {"rehearsals": 0},
}


def accuracy() -> None:
    lines = [
        "## Nets that learn row by row: prequential, nothing tuned",
        "",
        f"Mean over {SEEDS} seeds and its standard error: of first weights and rehearsals, the rows are the same.",
        "Published figures are those of River's and CapyMOA's documentation, with their settings.",
        "",
        f"| | rows | {' | '.join(SETTINGS)} | bar | published |",
        f"|---|---|{'---|' * len(SETTINGS)}---|---|",
    ]
    for name, (make, lag, bar, published) in STREAMS.items():
        x, y = make()
        cells = []
        for setting in SETTINGS.values():

            def learner(seed: int, setting: dict[str, Any] = setting, lag: Any = lag) -> Any:
                net = rt.OnlineMLP(**setting, seed=seed)
                return net if lag is None else lag() | net

            scores = [told(x, y, learner, seed) for seed in range(SEEDS)]
            cells.append(f"{np.mean(scores):.4f} ± {np.std(scores, ddof=1) / SEEDS**0.5:.4f}")
        lines.append(f"| {name} | {len(y):,} | {' | '.join(cells)} | {bar} | {published} |")
        print(lines[-1], flush=True)
    record("online-mlp-accuracy", "\n".join(lines))


# --- speed ------------------------------------------------------------------------------------------------------------


def rows(n: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, COLUMNS)).astype(np.float32)
    return x, np.tanh(x @ rng.normal(size=COLUMNS)) + 0.1 * rng.normal(size=n)


def ours(**settings: Any) -> Callable[[], float]:
    def measured() -> float:
        x, y = rows(ROWS)
        rt.OnlineMLP(**settings).learn(rt.Batch(x[:100], y=y[:100]))  # compiles
        learner = rt.OnlineMLP(**settings)
        start = time.process_time()
        for at in range(0, ROWS, 1000):
            learner.learn(rt.Batch(x[at : at + 1000], y=y[at : at + 1000]))
        return ROWS / (time.process_time() - start)

    return measured


def torch_rows() -> float:
    """Plain steps of one net of the same size, as one writes them: a row, a backward pass, a step."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    x, y = rows(SLOW_ROWS + 100)
    xs, ys = torch.from_numpy(x), torch.from_numpy(y.astype(np.float32))
    model = nn.Sequential(nn.Linear(COLUMNS, HIDDEN), nn.LeakyReLU(), nn.Linear(HIDDEN, 1))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    start = 0.0
    for i in range(len(xs)):
        if i == 100:
            start = time.process_time()
        said = model(xs[i])
        loss = (said - ys[i]).square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return SLOW_ROWS / (time.process_time() - start)


class Struct(ctypes.Structure):
    """`net` of mlp.c."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("w", "v", "line", "vline", "head", "vhead", "z", "h", "delta")),
        *((name, ctypes.c_void_p) for name in ("count", "mean", "squares", "inverse")),
        *(("target", ctypes.c_double * 5), ("scale", ctypes.c_double * 2), ("trust", ctypes.c_double * 2)),
    )


def in_c(*, plain: bool) -> Callable[[], float]:
    def measured() -> float:
        x, y = rows(ROWS)
        rng, d, h = np.random.default_rng(0), COLUMNS, HIDDEN
        f = np.float32
        w = (rng.normal(size=(1 + d, h)) * np.sqrt(2 / d)).astype(f)
        sizes = (1 + d, 1 + d, h + 1, h + 1, 1 + d, h + 1, h)
        parts = [w, np.full_like(w, 1e-4), *(np.zeros(size, f) for size in sizes), *np.zeros((4, d))]
        for at in (3, 5):
            parts[at][:] = 1e-4
        net = Struct(*(part.ctypes.data for part in parts))
        net.target[3], net.target[4], net.trust[0], net.trust[1] = np.inf, -np.inf, 0.5, 0.5
        out = np.zeros(ROWS)
        with tempfile.TemporaryDirectory() as folder:
            library = Path(folder) / "mlp.so"
            source = Path(__file__).parent / "mlp.c"
            flags = ["-O3", "-march=native", "-ffast-math", "-shared", "-fPIC"]
            subprocess.run(["cc", *flags, str(source), "-o", str(library), "-lm"], check=True)
            learn = ctypes.CDLL(str(library)).learn
        arguments = [ctypes.c_int64(v) for v in (ROWS, d, h)]
        start = time.process_time()
        learn(
            *(ctypes.c_void_p(a.ctypes.data) for a in (x, y)),
            *(*arguments, ctypes.byref(net), ctypes.c_double(0.01 if plain else 0.003), ctypes.c_int(plain)),
            ctypes.c_void_p(out.ctypes.data),
        )
        taken = time.process_time() - start
        print(json.dumps(float(np.sqrt(((out - y)[-1000:] ** 2).mean()))), file=sys.stderr)
        return ROWS / taken

    return measured


CONTENDERS: dict[str, Callable[[], float]] = {
    "PyTorch, eager, one net, plain steps": torch_rows,
    "C loop, one net, plain steps": in_c(plain=True),
    "C loop, one net, RMSprop": in_c(plain=False),
    "retain, one net, plain steps": ours(hidden=(HIDDEN,), nets=[Net(0.01, memory=0)]),
    "retain, one net, RMSprop": ours(hidden=(HIDDEN,), nets=[Net(0.003)]),
    "retain, four nets of (64,), rehearsing": ours(hidden=(HIDDEN,)),
    "retain, default: four nets of (64, 32), rehearsing": ours(),
}


def speed() -> None:
    taken: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for i in range(TIMES + 1):
        for name in CONTENDERS:
            said = run([sys.executable, __file__, "contender", name]).output
            if i:
                taken[name].append(float(json.loads(said)))
    slow = next(iter(taken))
    lines = [
        "## Nets that learn row by row: speed",
        "",
        f"{ROWS:,} rows of {COLUMNS} float32 (PyTorch: {SLOW_ROWS:,}), one number to learn, test-then-train in blocks",
        f"of 1,000; {HIDDEN} hidden units. The rehearsals of the first rows, some 230,000 of each of two nets, are in",
        "the figures.",
        "",
        "| | thousand rows per CPU-second, best | median | times PyTorch, median |",
        "|---|---|---|---|",
    ]
    for name, rates in taken.items():
        ratio = median(rates) / median(taken[slow])
        lines.append(f"| {name} | {max(rates) / 1e3:.4g} | {median(rates) / 1e3:.4g} | {ratio:.3g} |")
    for kind in ("plain steps", "RMSprop"):
        mine, theirs = taken[f"retain, one net, {kind}"], taken[f"C loop, one net, {kind}"]
        share = f"{max(mine) / max(theirs):.2f} (best), {median(mine) / median(theirs):.2f} (median)"
        lines += ["", f"Of the speed of the same update in C, {kind}: {share}."]
    record("online-mlp-speed", "\n".join([*lines, "", load()]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["contender"]:
        print(json.dumps(CONTENDERS[sys.argv[2]]()))
    else:
        for part in (accuracy, speed):
            if len(sys.argv) < 2 or sys.argv[1] == part.__name__:
                part()
