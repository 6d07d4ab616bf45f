"""Trees of numbers and forests of them, beside River's: how far off they are, and CPU-seconds.

Errors are prequential, of all rows, the first one included, whose answer is 0. Time is of Friedman's first 5,000 rows,
in turns; what is compiled or loaded is so before. River's errors are with its StandardScaler in front, without which
its lines diverge; its time is without. Bars: errors below River's adaptive forest, 30 times as fast as River.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from measure import record
from river import forest, preprocessing, tree
from tree_streams import DATA, bikes, friedman, head, ours, theirs, trump

import retain as rt

TIMED, TURNS = 5_000, 3
OURS = {
    "RegressionTree": rt.RegressionTree,
    "OnlineBagging, 10": lambda: rt.OnlineBagging(tree=rt.RegressionTree()),
    "LeveragingBagging, 10": lambda: rt.LeveragingBagging(tree=rt.RegressionTree()),
    "ARF, 10": lambda: rt.ARF(tree=rt.RegressionTree()),
    "SRP, 10": lambda: rt.SRP(tree=rt.RegressionTree()),
    "SGBT, 100": rt.SGBT,
    "Stacking": lambda: rt.Stacking(rt.Scale() | rt.Linear(), rt.OnlineBagging(tree=rt.RegressionTree()), rt.SGBT(30)),
}
RIVER = {
    "River, HoeffdingTreeRegressor": tree.HoeffdingTreeRegressor,
    "River, ARFRegressor, 10": lambda: forest.ARFRegressor(n_models=10, seed=0),
}
PEER = dict.fromkeys(OURS, "River, ARFRegressor, 10") | {"RegressionTree": "River, HoeffdingTreeRegressor"}


def scaled(make: Callable[[], Any]) -> Any:
    return preprocessing.StandardScaler() | make()


def main() -> None:
    streams = {"Friedman": friedman()}
    if DATA.is_dir():
        streams |= {"TrumpApproval": trump(), "bike sharing": bikes()}
    few = head(streams["Friedman"], TIMED)
    turns: dict[str, list[float]] = {}
    for make in OURS.values():
        ours(make, few)
    for _ in range(TURNS):
        for name, make in OURS.items():
            turns.setdefault(name, []).append(ours(make, few)[1])
        for name, make in RIVER.items():
            turns.setdefault(name, []).append(theirs(make, few)[1])
    lines = [
        "## Trees of numbers",
        "",
        (
            f"RMSE / MAE; microseconds of CPU a row of Friedman's first {TIMED:,} (best and median of {TURNS} "
            "turns), and how many times as fast as River's tree or forest (best). Published by River: Friedman RMSE, "
            "ARF 3.31, kNN 2.72 (noise 1.0); TrumpApproval MAE, ARF .800, kNN .642, AMF .269."
        ),
        "",
        f"| | {' | '.join(f'{name}, {len(rows[1]):,} rows' for name, rows in streams.items())} | µs | median | ratio |",
        f"|---|{'---|' * len(streams)}---|---|---|",
    ]
    for name, make in (OURS | RIVER).items():
        cells = []
        for x, y in streams.values():
            said = ours(make, (x, y))[0] if name in OURS else theirs(partial(scaled, make), (x, y))[0]
            cells.append(f"{np.sqrt(np.mean((said - y) ** 2)):.4g} / {np.abs(said - y).mean():.4g}")
        spent = [1e6 * seconds / TIMED for seconds in turns[name]]
        ratio = f"{min(turns[PEER[name]]) / min(turns[name]):.0f}" if name in PEER else ""
        lines.append(f"| {name} | {' | '.join(cells)} | {min(spent):.2f} | {median(spent):.2f} | {ratio} |")
    record("regression-trees", "\n".join(lines))


if __name__ == "__main__":
    main()
