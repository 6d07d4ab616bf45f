"""Continual learning of CIFAR-10: what each strategy of `retain continual` keeps, beside naive and joint training.

5 tasks of 2 classes, class-incremental, a small ConvNet, 500 rows of memory, Adam 1e-3, batches of 32, 2 epochs of
each task, and nothing tuned. 10,000 training images, kept as JPEG (so figures are lower than of the whole set): 8,000
to learn, 2,000 to test on. Runs through the command line, as a user would. Needs an archive of pictures,
train/CLASS/NAME.jpg, the one beside the repository if none is named: `python bench_cifar.py [ARCHIVE] [--seeds N]
[--epochs N]`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from measure import MNIST, load, record, run
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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("archive", type=Path, nargs="?", default=PICTURES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2)
    given = parser.parse_args()
    if not given.archive.is_file():
        print(f"no pictures in {given.archive}: not measured")
        return
    names = [name for name in RECIPES if name not in LEFT]
    found: dict[str, dict[str, Any]] = {}
    for name in track(names, description="strategies"):
        found[name] = measured(given.archive, name, seeds=given.seeds, epochs=given.epochs)
        order = sorted(found, key=lambda name: -found[name]["acc"]["mean"])
        lines = [
            "## Continual learning, CIFAR-10 of 10,000 images",
            "",
            ABOUT.format(epochs=given.epochs, seeds=given.seeds),
            "",
            "| | final accuracy | learning accuracy | forgetting | accuracy per CPU-second |",
            "|---" * 5 + "|",
        ]
        for key in order:
            one = found[key]
            seconds = one["samples"] / one["samples_per_cpu_second"] / given.seeds  # of learning alone
            cells = [cell(one[measure]) for measure in MEASURES]
            lines.append(f"| {key} | {' | '.join(cells)} | {100 * one['acc']['mean'] / seconds:.2f} |")
        lines += ["", f"Left out: {'; '.join(f'{key} ({why})' for key, why in LEFT.items())}.", ""]
        lines.append(load())
        record("continual-cifar", "\n".join(lines))


if __name__ == "__main__":
    main()
