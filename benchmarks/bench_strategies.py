"""Every strategy of `retain continual` beside naive and joint training, in four scenarios of scikit-learn's digits.

Writes a table to RESULTS.md and a picture beside docs/strategies.md. Settings are the same for all, and none was
tuned for these scenarios: an MLP of two layers of 100 units, Adam 1e-3, batches of 32, 10 epochs (2 where inputs are
permuted), 200 rows of memory where a strategy keeps rows. Runs through the command line, as a user would.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from measure import record, run
from rich.progress import track

from retain.cli.recipes import RECIPES

SCENARIOS = {  # what each is called in the picture, and its options
    "class": ("new classes", ("--epochs", "10")),
    "task": ("new classes,\ntasks told", ("--epochs", "10")),
    "domain": ("new inputs", ("--epochs", "10")),
    "permuted": ("permuted inputs", ("--epochs", "2", "--experiences", "5")),
}
SEEDS = 3
PICTURE = Path(__file__).parents[1] / "docs" / "strategies.svg"
NO_ROWS = {
    *(
        "naive",
        "lwf",
        "ewc",
        "online-ewc",
        "progress-compress",
        "packnet",
        "si",
        "mas",
        "l2-sp",
        "l2-init",
        "shrink-perturb",
        "backprop",
    ),
    *("linear", "rls"),
}


def measured(strategy: str, scenario: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "retain", "continual", "digits", "--strategy", strategy, "--scenario", scenario]
    options = ["--memory", "200", "--hidden", "100,100", "--seeds", str(SEEDS), *SCENARIOS[scenario][1], "--json"]
    return json.loads(run([*command, *options]).output.splitlines()[-1])


def figure(accuracy: dict[str, list[float]], cost: dict[str, float]) -> Figure:
    """A row for each strategy, a column for each scenario, coloured from naive training (0) to joint training (1)."""
    bounds = list(zip(accuracy["naive"], accuracy["joint"], strict=True))
    kept = [
        [(value - low) / max(high - low, 0.01) for value, (low, high) in zip(values, bounds, strict=True)]
        for values in accuracy.values()
    ]
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "retain", "font.family": "sans-serif"}):
        drawn = Figure(figsize=(8, 0.34 * len(accuracy) + 1.4), layout="constrained")
        axes = drawn.subplots()
        axes.imshow(kept, cmap="RdYlGn", vmin=0, vmax=1, aspect="auto", alpha=0.75)
        for i, (name, values) in enumerate(accuracy.items()):
            for j, value in enumerate(values):
                axes.text(j, i, f"{100 * value:.0f}", ha="center", va="center")
            rows = "" if name in NO_ROWS or name in ("joint", "cumulative") else "keeps rows"
            axes.text(len(values) - 0.4, i, f"{cost[name]:.1f} x", va="center")
            axes.text(len(values) + 0.2, i, rows, va="center", color="0.4")
        axes.text(len(SCENARIOS) - 0.4, -0.75, "time", va="bottom")
        axes.set_xticks(range(len(SCENARIOS)), [label for label, _ in SCENARIOS.values()])
        axes.set_yticks(range(len(accuracy)), list(accuracy))
        axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
        axes.spines[:].set_visible(False)
        axes.set_xlim(-0.5, len(SCENARIOS) + 0.9)
        drawn.savefig(PICTURE, metadata={"Date": None})
    return drawn


def main() -> None:
    found: dict[str, list[dict[str, Any]]] = {}
    names = [name for name in RECIPES if not RECIPES[name].tasks]  # those run in one of the scenarios only
    for name in track(names, description="strategies"):
        found[name] = [measured(name, scenario) for scenario in SCENARIOS]
    accuracy = {name: [one["acc"]["mean"] for one in results] for name, results in found.items()}
    naive = [one["cpu_seconds"] for one in found["naive"]]
    cost = {
        name: sum(one["cpu_seconds"] / base for one, base in zip(results, naive, strict=True)) / len(SCENARIOS)
        for name, results in found.items()
    }
    order = sorted(found, key=lambda name: -sum(accuracy[name]))
    lines = [
        "## Strategies, digits",
        "",
        f"Final accuracy in per cent ± standard error over {SEEDS} seeds; CPU-seconds of learning to those of naive.",
        "",
        f"| | {' | '.join(label.replace(chr(10), ' ') for label, _ in SCENARIOS.values())} | CPU, to naive |",
        "|---" * (len(SCENARIOS) + 2) + "|",
    ]
    for name in order:
        cells = [f"{100 * one['acc']['mean']:.1f} ± {100 * one['acc']['standard_error']:.1f}" for one in found[name]]
        lines.append(f"| {name} | {' | '.join(cells)} | {cost[name]:.1f} |")
    record("strategies", "\n".join(lines))
    figure({name: accuracy[name] for name in order}, cost)


if __name__ == "__main__":
    main()
