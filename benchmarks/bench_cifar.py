"""Continual learning of CIFAR-10: what each strategy of `retain continual` keeps, beside naive and joint training.

5 tasks of 2 classes, class-incremental, a small ConvNet, 500 rows of memory, Adam 1e-3, batches of 32, 2 epochs of
each task, and nothing tuned. 10,000 training images, kept as JPEG (so figures are lower than of the whole set): 8,000
to learn, 2,000 to test on. Runs through the command line, as a user would. Needs an archive of pictures,
train/CLASS/NAME.jpg, the one beside the repository if none is named: `python bench_cifar.py [ARCHIVE] [--seeds N]
[--epochs N] [--only NAME]...`; with `--only`, what stands in the table of the others stays.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from measure import MNIST, RESULTS, load, record, run
from rich.progress import track

from retain.cli.recipes import RECIPES

PICTURES = MNIST.parent / "cifar10_jpeg" / "cifar10_jpg_dev10k.tar.xz"
OPTIONS = ("--model", "conv", "--memory", "500", "--batch-size", "32")
LEFT = {
    "cumulative": "every stage from scratch, on all rows so far",
    "gem": "every step goes through the whole memory",
    "backprop": "for plain layers only",
    "linear": "not neural",
    "rls": "not neural",
}
ABOUT = (
    "5 tasks of 2 classes, class-incremental, ConvNet, 500 rows of memory, {epochs} epochs: per cent of all test rows "
    "after the last task ± standard error over {seeds} seeds; chance is 10."
)
MEASURES = ("acc", "learning_accuracy", "forgetting")


def measured(archive: Path, strategy: str, *, seeds: int, epochs: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "retain", "continual", f"pictures:{archive}", "--strategy", strategy]
    options = [*OPTIONS, "--epochs", str(epochs), "--seeds", str(seeds), "--json"]
    return json.loads(run([*command, *options]).output.splitlines()[-1])


def cell(measure: dict[str, Any]) -> str:
    mean, error = measure["mean"], measure["standard_error"]
    return "" if mean is None else f"{100 * mean:.1f} ± {100 * error:.1f}"


def row(name: str, one: dict[str, Any], seeds: int) -> str:
    seconds = one["samples"] / one["samples_per_cpu_second"] / seeds  # of learning alone
    cells = [cell(one[measure]) for measure in MEASURES]
    return f"| {name} | {' | '.join(cells)} | {100 * one['acc']['mean'] / seconds:.2f} |"


def before() -> dict[str, str]:
    """The rows of the table as it stands, by strategy."""
    section = RESULTS.read_text().partition("<!-- continual-cifar -->")[2].partition("<!-- end")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ") and "±" in line]
    return {line.split("|")[1].strip(): line for line in lines}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("archive", type=Path, nargs="?", default=PICTURES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--only", action="append", default=[])
    given = parser.parse_args()
    if not given.archive.is_file():
        print(f"no pictures in {given.archive}: not measured")
        return
    names = given.only or [name for name in RECIPES if name not in LEFT]
    rows = before() if given.only else {}
    for name in track(names, description="strategies"):
        rows[name] = row(name, measured(given.archive, name, seeds=given.seeds, epochs=given.epochs), given.seeds)
        order = sorted(rows.values(), key=lambda line: -float(line.split("|")[2].partition("±")[0]))
        lines = [
            "## Continual learning, CIFAR-10 of 10,000 images",
            "",
            ABOUT.format(epochs=given.epochs, seeds=given.seeds),
            "",
            "| | final accuracy | learning accuracy | forgetting | accuracy per CPU-second |",
            "|---" * 5 + "|",
        ]
        lines += order
        lines += ["", f"Left out: {'; '.join(f'{key} ({why})' for key, why in LEFT.items())}.", ""]
        lines.append(load())
        record("continual-cifar", "\n".join(lines))


if __name__ == "__main__":
    main()
