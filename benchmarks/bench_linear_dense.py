"""Dense rows: logistic regression on a million rows of 20 numbers, test-then-train in blocks of 1,000.

The bars, for the default update: at least 6 times Vowpal Wabbit reading its own cache (aim 10), 100 times River's
`learn_one`, half of the same update written in C.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from linear import measure, report

ROWS, COLUMNS = 1_000_000, 20


def write(folder: Path) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(ROWS, COLUMNS)).astype(np.float32)
    y = (X @ rng.normal(size=COLUMNS) + rng.logistic(size=ROWS) > 0).astype(np.int64)
    np.save(folder / "X.npy", X)
    np.save(folder / "y.npy", y)
    with (folder / "rows.vw").open("w") as file:
        for row, label in zip(X, y, strict=True):
            cells = " ".join(f"{j}:{value:.7g}" for j, value in enumerate(row.tolist()))
            file.write(f"{2 * label - 1} | {cells}\n")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder)
        ours = ["retain, adaptive", "retain, adaptive, vw's rate", "retain, plain", "C loop, adaptive", "C loop, plain"]
        told = measure(folder, {"vw": "", "vw --sgd": "--sgd"}, [*ours, "river", "scikit-learn"])
    title = f"## Linear, dense\n\n{ROWS:,} rows of {COLUMNS} float32, logistic loss, blocks of 1,000, test-then-train."
    report("linear-dense", title, ROWS, told, "vw")


if __name__ == "__main__":
    main()
