"""From file to report: `retain run` on a million rows of 20 numbers, from CSV and from Parquet, beside Vowpal Wabbit.

Whole processes, start-up and all, in CPU-seconds. Vowpal Wabbit reads the same rows in its own text format and learns
one linear model with its default update; `retain run` parses, infers the schema, learns, keeps three metrics for the
model and two baselines, and tells the result. Start-up is told apart, by runs of a thousandth of the rows. The bar: at
least 1x from CSV, at least 4x from Parquet.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from measure import Cost, best, interleave, middle, record, run

ROWS, COLUMNS = 1_000_000, 20
PYTHON = sys.executable


def write(folder: Path, rows: int) -> None:
    """The same rows as CSV, as Parquet and in Vowpal Wabbit's format; four decimals, as logs have them."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, COLUMNS)).round(4)
    y = (x @ rng.normal(size=COLUMNS) + 2 * rng.normal(size=rows) > 0).astype(np.int64)
    table = pa.table({**{f"f{j}": x[:, j] for j in range(COLUMNS)}, "y": y})
    pyarrow.csv.write_csv(table, folder / f"{rows}.csv")
    pyarrow.parquet.write_table(table, folder / f"{rows}.parquet")
    with (folder / f"{rows}.vw").open("w") as file:
        for row, label in zip(x, y, strict=True):
            cells = " ".join(f"f{j}:{value}" for j, value in enumerate(row))
            file.write(f"{2 * label - 1} | {cells}\n")


def ours(path: Path, learner: str) -> list[str]:
    return [PYTHON, "-m", "retain", "run", str(path), "--target", "y", "--learner", learner, "--json"]


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for rows in (ROWS // 1000, ROWS // 10, ROWS):
            # In a process of its own: a child's peak memory counts what its parent held when it was born.
            run([PYTHON, __file__, str(folder), str(rows)])
        commands = {
            "vw, text": [
                PYTHON,
                "-m",
                "vowpalwabbit",
                "-d",
                str(folder / f"{ROWS}.vw"),
                "--loss_function",
                "logistic",
                "--quiet",
            ],
            **{
                f"retain, {learner}, {kind}": ours(folder / f"{ROWS}.{kind.lower()}", learner)
                for kind in ("CSV", "Parquet")
                for learner in ("quick", "linear")
            },
        }
        costs = interleave(commands)
        few = {
            name: [part.replace(f"{ROWS}.", f"{ROWS // 1000}.") for part in command]
            for name, command in commands.items()
        }
        start = interleave(few)
        small = run(ours(folder / f"{ROWS // 10}.csv", "quick"))
        report(costs, start, small)


def report(costs: dict[str, list[Cost]], start: dict[str, list[Cost]], small: Cost) -> None:
    peer = costs["vw, text"]
    lines = [
        "## From file to report",
        "",
        f"{ROWS:,} rows of {COLUMNS} numbers, whole processes, CPU-seconds; ratio = how many times faster than `vw`.",
        "",
        "| | best | median | ratio (best) | ratio (median) | start-up | ratio without it | memory, MiB | accuracy |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    steady = {name: best(group) - best(start[name]) for name, group in costs.items()}
    for name, group in costs.items():
        said = group[0].output.splitlines()
        accuracy = f"{json.loads(said[-1])['metrics']['accuracy']:.4f}" if name.startswith("retain") else ""
        ratios = best(peer) / best(group), middle(peer) / middle(group), steady["vw, text"] / steady[name]
        lines.append(
            f"| {name} | {best(group):.2f} | {middle(group):.2f} | {ratios[0]:.2f} | {ratios[1]:.2f} | "
            f"{best(start[name]):.2f} | {ratios[2]:.2f} | {max(c.memory for c in group):.0f} | {accuracy} |"
        )
    large = costs["retain, quick, CSV"][0].memory
    lines += [
        "",
        f"Memory from a CSV of {ROWS // 10:,} rows: {small.memory:.0f} MiB; of {ROWS:,} rows: {large:.0f} MiB.",
    ]
    record("files", "\n".join(lines))


if __name__ == "__main__":
    if len(sys.argv) == 3:
        write(Path(sys.argv[1]), int(sys.argv[2]))
    else:
        main()
