"""Nearest neighbours: errors beside the published ones, accuracy and speed beside River's.

Published errors of SAM-KNN are of Losing et al. 2016, features as they are; those of River's kNN are of its
documentation (version 0.26), which leaves its index and its scaling to their defaults.
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):  # read when NumPy is loaded
    os.environ[name] = "1"

import beside  # noqa: E402 - the threads first
import numpy as np  # noqa: E402
from beside import ours, theirs  # noqa: E402
from measure import load, record  # noqa: E402
from river import neighbors, preprocessing  # noqa: E402

import retain as rt  # noqa: E402

PUBLISHED = {  # of SAM-KNN, in per cent, about
    "interchanging RBF": "3 to 6",
    "transient chessboard": "6 to 13",
    "Elec2": "17",
    "NOAA weather": "22",
    "outdoor": "11",
}
DRIFTING = {
    "interchanging RBF": lambda: beside.drifting("interchangingRBF"),
    "transient chessboard": lambda: beside.drifting("transientChessboard"),
    "Elec2": beside.elec2,
    "NOAA weather": beside.weather,
    "outdoor": beside.outdoor,
    "Bananas": beside.bananas,
}
LEARNERS = {
    "SAMKNN, as they are": lambda: rt.SAMKNN(scaled=False),
    "SAMKNN": rt.SAMKNN,
    "KNN, as they are": lambda: rt.KNN(scaled=False),
    "KNN": rt.KNN,
    "KNN, last 5,000": lambda: rt.KNN(window=5000),
}


def errors() -> list[str]:
    heads = " | ".join(f"{name} | µs a row" for name in LEARNERS)
    head = f"| error, % | rows | {heads} | SAM-KNN, published | no-change |"
    lines = [head, "|---" * (4 + 2 * len(LEARNERS)) + "|"]
    for name, rows in DRIFTING.items():
        x, y = rows()
        cells = []
        for make in LEARNERS.values():
            told = ours(make, x, y, times=1)
            cells.append(f"{100 * (1 - told.right):.2f} | {1e6 * told.seconds / len(y):.1f}")
        cells += [PUBLISHED.get(name, ""), f"{100 * (1 - beside.no_change(y)):.1f}"]
        lines.append(f"| {name} | {len(y):,} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    return lines


def numbers() -> list[str]:
    lines = ["| numbers | KNN | KNN(10) | KNN(10), last 10,000 | River, published | no-change, MAE |", "|---" * 6 + "|"]
    makes = (rt.KNN, lambda: rt.KNN(10), lambda: rt.KNN(10, window=10_000))
    x, y = beside.trump()
    cells = [f"{ours(make, x, y).right:.3f}" for make in makes]
    lines.append(f"| TrumpApproval, MAE | {' | '.join(cells)} | .642 | {beside.no_change(y):.3f} |")
    x, y = beside.fried()
    cells = [f"{ours(make, x, y, times=1).root:.3f}" for make in makes]
    lines.append(f"| Fried, RMSE | {' | '.join(cells)} | 2.72 | {beside.no_change(y):.3f} |")
    return lines


def speed() -> list[str]:
    """Five of the last 1,000 rows, exact search, on the same rows."""
    pairs = {
        "Bananas": (
            beside.bananas(),
            lambda: (
                preprocessing.StandardScaler() | neighbors.KNNClassifier(engine=neighbors.LazySearch(window_size=1000))
            ),
        ),
        "Elec2, first 10,000": (
            tuple(part[:10_000] for part in beside.elec2()),
            lambda: (
                preprocessing.StandardScaler() | neighbors.KNNClassifier(engine=neighbors.LazySearch(window_size=1000))
            ),
        ),
        "Fried, first 10,000": (
            beside.fried(10_000),
            lambda: (
                preprocessing.StandardScaler()
                | neighbors.KNNRegressor(
                    engine=neighbors.LazySearch(window_size=1000), aggregation_method="weighted_mean"
                )
            ),
        ),
    }
    lines = ["| the same window, exact search | KNN | River | times as fast |", "|---" * 4 + "|"]
    for name, ((x, y), make) in pairs.items():
        own, river = ours(rt.KNN, x, y), theirs(make, x, y)
        told = (f"{one.root if y.dtype.kind == 'f' else one.right:.4f}" for one in (own, river))
        lines.append(f"| {name} | {' | '.join(told)} | {river.seconds / own.seconds:.0f} |")
    return lines


def main() -> None:
    if not beside.DATA.is_dir():
        return
    np.seterr(all="ignore")
    record("neighbours", "\n".join(["## Nearest neighbours", "", *errors(), "", *numbers(), "", *speed(), "", load()]))


if __name__ == "__main__":
    main()
