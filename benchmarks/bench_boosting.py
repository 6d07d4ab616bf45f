"""Streaming gradient boosted trees on streams of classes: accuracy beside what is published, and CPU-seconds.

There is no such learner in River: time is beside its adaptive forest of 10 trees, on Elec2's first 3,000 rows, in
turns; what is compiled or loaded is so before. Bars: the accuracies of its forest, at less time.
"""

from __future__ import annotations

from statistics import median

import numpy as np
from measure import record
from river import forest
from tree_streams import PACKAGED, bananas, codes, drifting_tree, elec2, head, ours, theirs

import retain as rt

TIMED, TURNS = 3_000, 3
STREAMS = {
    "Phishing": (lambda: codes(PACKAGED / "phishing.csv.gz", "is_phishing"), ".908"),
    "Bananas": (bananas, ".887"),
    "ImageSegments": (lambda: codes(PACKAGED / "segment.csv.zip", "category"), ".819"),
    "Elec2, 8 columns": (elec2, ".877 (CapyMOA .893)"),
    "RTG with drift": (drifting_tree, "(MOA's, drifts of its own: .862)"),
}
LEARNERS = {
    "SGBT, 100": rt.SGBT,
    "SGBT, 30": lambda: rt.SGBT(30),
    "SGBT, 100, grace=50": lambda: rt.SGBT(tree=rt.RegressionTree(grace=50, delta=0.05, tie=0.5, max_bytes=1 << 20)),
    "ARF, 10": rt.ARF,
    "Stacking": lambda: rt.Stacking(
        rt.Scale() | rt.Linear(loss=rt.Multinomial()), rt.ARF(), rt.SGBT(30), rt.NoChange()
    ),
}


def main() -> None:
    few = head(elec2(), TIMED)
    peer = lambda: forest.ARFClassifier(n_models=10, seed=0)  # noqa: E731 - as those above
    turns: dict[str, list[float]] = {}
    for make in LEARNERS.values():
        ours(make, few)
    for _ in range(TURNS):
        for name, make in LEARNERS.items():
            turns.setdefault(name, []).append(ours(make, few)[1])
        turns.setdefault("River", []).append(theirs(peer, few)[1])
    lines = [
        "## Boosted trees, stacks",
        "",
        (
            f"Accuracy, prequential; microseconds of CPU a row of Elec2's first {TIMED:,} (best and median of {TURNS} "
            "turns), and how many times as fast as River's forest of 10, which took "
            f"{1e6 * min(turns['River']) / TIMED:.0f} (median {1e6 * median(turns['River']) / TIMED:.0f})."
        ),
        "",
        f"| | {' | '.join(STREAMS)} | µs | median | ratio |",
        f"|---|{'---|' * len(STREAMS)}---|---|---|",
    ]
    rows = {name: make() for name, (make, _) in STREAMS.items()}
    for name, make in LEARNERS.items():
        cells = [f"{(ours(make, (x, y))[0] == y).mean():.4f}" for x, y in rows.values()]
        spent = [1e6 * seconds / TIMED for seconds in turns[name]]
        ratio = min(turns["River"]) / min(turns[name])
        lines.append(f"| {name} | {' | '.join(cells)} | {min(spent):.1f} | {median(spent):.1f} | {ratio:.0f} |")
    last = [f"{np.mean(y[1:] == y[:-1]):.4f}" for _, y in rows.values()]
    lines.append(f"| no-change | {' | '.join(last)} | | | |")
    lines.append(f"| published, ARF of 10 | {' | '.join(figure for _, figure in STREAMS.values())} | | | |")
    record("boosting", "\n".join(lines))


if __name__ == "__main__":
    main()
