"""`retain init`: a commented pipeline that works as it is."""

from __future__ import annotations

from pathlib import Path

from retain.errors import SettingError

__all__ = ["write_pipeline"]

_PIPELINE = '''\
"""A model that keeps learning: flights from New York, labels that arrive when the plane lands.

Run me: python pipeline.py
"""

import retain as rt

# 1. Where rows come from. Yours: rt.streams.csv("payments/*.csv", target="fraud", time="at")
stream = rt.streams.flights()

# 2. What learns. Dates become their parts, categories one slot each; the update needs no tuning and no scaling.
learner = rt.DateParts() | rt.OneHot() | rt.Linear(loss=rt.Logistic())

# 3. Test, then train: each row is predicted when it arrives, and learnt and scored when its label lands.
run = rt.Prequential(stream, learner)

# 4. Save everything as you go: kill this at any instant and run it again, it goes on where it was.
for report in rt.durable(run, "state"):
    line = "  ".join(f"{name} {value:.4f}" for name, value in report.metrics.items())
    print(f"{report.rows:>9,} rows  {report.learnt:>9,} learnt  {line}", end="\\r", flush=True)
print()
for name, values in report.baselines.items():
    print(f"beside {name}: " + "  ".join(f"{metric} {value:.4f}" for metric, value in values.items()))
'''


def write_pipeline(path: Path, /) -> None:
    """Write the pipeline to a new file. Raises SettingError where the file is there already or cannot be written."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(_PIPELINE)
    except FileExistsError as error:
        raise SettingError(
            f"{path} is there already; move it away or name another file: retain init FILE.py"
        ) from error
    except OSError as error:
        raise SettingError(
            f"cannot write {path}: {error.strerror or error}; name a file in a folder you can write"
        ) from error
