"""Linear updates that know how sure a weight is, factorisation machines: accuracy and speed beside River's.

Features are scaled on the stream for both. Published figures of ALMA are of River's documentation (version 0.26).
"""

from __future__ import annotations

import os
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):  # read when NumPy is loaded
    os.environ[name] = "1"

import beside  # noqa: E402 - the threads first
import numpy as np  # noqa: E402
from beside import ours, theirs  # noqa: E402
from measure import load, record  # noqa: E402
from river import facto, linear_model, optim, preprocessing  # noqa: E402

import retain as rt  # noqa: E402

HINGE = rt.Hinge()
UPDATES = {
    "AROW": lambda: rt.Linear(loss=HINGE, update=rt.AROW()),
    "SCW": lambda: rt.Linear(loss=HINGE, update=rt.SCW()),
    "SCW, squared": lambda: rt.Linear(loss=HINGE, update=rt.SCW(squared=True)),
    "NewtonStep": lambda: rt.Linear(loss=rt.Logistic(), update=rt.NewtonStep()),
    "ALMA": lambda: rt.Linear(loss=HINGE, update=rt.ALMA()),
    "PassiveAggressive": lambda: rt.Linear(loss=HINGE, update=rt.PassiveAggressive()),
    "Adaptive": lambda: rt.Linear(loss=rt.Logistic()),
    "FactorisationMachine": rt.FactorisationMachine,
}
STREAMS = {
    "Phishing": (beside.phishing, ".826"),
    "Bananas": (beside.bananas, ".506"),
    "Elec2": (beside.elec2, ".906"),
    "ImageSegments": (beside.segments, ""),
    "NOAA weather": (beside.weather, ""),
}


def accuracy() -> list[str]:
    heads = ["accuracy", *UPDATES, "River's ALMA, here", "published", "no-change", "ALMA, times as fast"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, (rows, published) in STREAMS.items():
        x, y = rows()
        cells, fast = [], ""
        for update, make in UPDATES.items():
            told = ours(lambda make=make: rt.Scale() | make(), x, y)
            cells.append(f"{told.right:.4f}")
            if update == "ALMA" and y.max() == 1:
                river = theirs(lambda: preprocessing.StandardScaler() | linear_model.ALMAClassifier(), x, y == 1)
                fast = f"{river.seconds / told.seconds:.0f}"
        peer = f"{river.right:.4f}" if fast else ""
        lines.append(f"| {name} | {' | '.join(cells)} | {peer} | {published} | {beside.no_change(y):.4f} | {fast} |")
    return lines


def speed() -> list[str]:
    """200,000 rows of 20 numbers, and of 50 of 2^18 features."""
    rng = np.random.default_rng(0)
    n = 200_000
    dense = rng.normal(size=(n, 20)).astype(np.float32)
    y = (dense @ rng.normal(size=20) + rng.logistic(size=n) > 0).astype(np.int64)
    indices = (rng.zipf(1.3, size=(n, 50)) % 2**18).astype(np.int32)
    sparse = rt.CSR(np.arange(n + 1) * 50, indices.ravel(), np.ones(n * 50, np.float32), 2**18)
    lines = ["| µs a row | 20 numbers | 50 of 2^18 features |", "|---" * 3 + "|"]
    for name, make in UPDATES.items():
        cells = [f"{1e6 * ours(make, x, y).seconds / n:.2f}" for x in (dense, sparse)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def pairs() -> list[str]:
    """40,000 ratings, good or bad, of 200 users and 200 items, from tastes of rank 3."""
    rng = np.random.default_rng(0)
    n = 40_000
    user, item = rng.integers(0, 200, n), rng.integers(0, 200, n)
    score = (rng.normal(size=(200, 3))[user] * rng.normal(size=(200, 3))[item]).sum(axis=1)
    y = (score + 0.3 * rng.normal(size=n) > 0).astype(np.int64)
    x = rt.CSR(np.arange(n + 1) * 2, np.c_[user, 200 + item].ravel().astype(np.int32), np.ones(2 * n, np.float32), 400)
    machine = ours(rt.FactorisationMachine, x, y)
    line = ours(lambda: rt.Linear(loss=rt.Logistic()), x, y)

    # AdaGrad(0.1), as ours; River's default, SGD(0.01), is slower to learn
    model = facto.FMClassifier(
        n_factors=8, seed=1, weight_optimizer=optim.AdaGrad(0.1), latent_optimizer=optim.AdaGrad(0.1)
    )
    rows = [{"user": f"u{u}", "item": f"i{i}"} for u, i in zip(user, item, strict=True)]
    right, start = 0, time.process_time()
    for row, label in zip(rows, y.tolist(), strict=True):
        right += model.predict_one(row) == bool(label)
        model.learn_one(row, bool(label))
    seconds = time.process_time() - start
    return [
        "| user x item, 40,000 ratings | FactorisationMachine | Linear | River's FMClassifier | times as fast |",
        "|---" * 5 + "|",
        f"| accuracy | {machine.right:.4f} | {line.right:.4f} | {right / n:.4f} | {seconds / machine.seconds:.0f} |",
    ]


def main() -> None:
    text = ["## Margins, variances and pairs", ""]
    if beside.DATA.is_dir():
        text += [*accuracy(), ""]
    record("margins", "\n".join([*text, *speed(), "", *pairs(), "", load()]))


if __name__ == "__main__":
    main()
