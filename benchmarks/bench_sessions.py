"""A net beneath an analytic learner, beside the same without it: `slow-fast` and `first-session`.

Class-incremental, Adam 1e-3, nothing tuned, through the command line. Split-MNIST: 5 tasks of 2 digits, MLP of 400 and
400, 1,000 images kept, one pass. CIFAR-10 of 8,000 images: 5 tasks of 2 classes, ConvNet, 500 kept, two passes. Beside
them: replay and its moving average, which is `slow-fast` without the head; iCaRL, whose head is the mean of each class;
and `ridge`, which is `first-session` without the net. Needs the files of MNIST and the archive of pictures, beside the
repository if no folder is named: `python bench_sessions.py [FOLDER] [--seeds N]`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from measure import MNIST, load, record, run

SETS = {
    "Split-MNIST": ("mnist:{}/mnist", ("--memory", "1000", "--batch-size", "32", "--epochs", "1")),
    "CIFAR-10 of 8,000": (
        "pictures:{}/cifar10_jpeg/cifar10_jpg_dev10k.tar.xz",
        ("--model", "conv", "--memory", "500", "--batch-size", "32", "--epochs", "2"),
    ),
}
STRATEGIES = ("replay", "ema", "icarl", "slow-fast", "ridge", "first-session")


def cell(measure: dict) -> str:
    error = measure["standard_error"]
    return f"{100 * measure['mean']:.1f}" + ("" if error is None else f" ± {100 * error:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, nargs="?", default=MNIST.parent)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", action="append", default=[], choices=SETS)
    given = parser.parse_args()
    lines: list[str] = []
    for name in given.only or SETS:
        place, options = SETS[name]
        data = place.format(given.folder)
        if not Path(data.partition(":")[2]).exists():
            print(f"no {name} in {given.folder}: not measured")
            continue
        lines += ["", f"| {name} | final accuracy | forgetting | CPU-seconds of learning |", "|---|---|---|---|"]
        for strategy in STRATEGIES:
            command = [sys.executable, "-m", "retain", "continual", data, "--strategy", strategy, *options, "--json"]
            one = json.loads(run([*command, "--seeds", str(given.seeds)]).output.splitlines()[-1])
            seconds = one["samples"] / one["samples_per_cpu_second"] / given.seeds
            lines.append(f"| {strategy} | {cell(one['acc'])} | {cell(one['forgetting'])} | {seconds:.0f} |")
            print(lines[-1], flush=True)
    about = f"Class-incremental, per cent of all test images after the last task, {given.seeds} seeds; chance is 10."
    record("sessions", "\n".join(["## Nets beneath analytic learners", "", about, *lines, "", load()]))


if __name__ == "__main__":
    main()
