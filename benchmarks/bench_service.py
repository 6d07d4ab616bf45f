"""What it costs to be durable, to be a pipeline, and to be watched by rules: CPU-seconds of whole runs, interleaved.

A year of flights, late labels, the default learner (a state of about 1 MB). `plain` is `retain run`, `durable` the same
with `--state`; `pipeline` the service without rules, `watched` with rules whose triggers look at everything that the
recommended ones do and never fire. The bars: durable within 3 % of plain; triggers and gates under 1 % of a run.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from measure import best, interleave, load, middle, record

import retain as rt
from retain.update import Overseer

TIMES = 7
PROGRAM = """
import sys, retain as rt
from retain.run import durable
stream = rt.streams.flights(block=1000)
learner = rt.quick(stream.schema())
what, folder = sys.argv[1:]
never = rt.Rule(when=rt.OnDrift(rt.detectors.ADWIN()), do=rt.Retrain(last=20_000), gate=rt.Better(), warmup=10**9)
if what in ("plain", "durable"):
    run = rt.Prequential(stream, learner)
else:
    run = rt.Pipeline(stream=stream, learner=learner, rules=[never] if what == "watched" else []).service()
for report in durable(run, folder, resume=None) if what == "durable" else run:
    pass
print(report.rows)
"""


def shares() -> dict[str, float]:
    """The part of a run's CPU time that the recommended rules' triggers and gates take, a trial among them or not."""
    spent = {"judging": 0.0}
    judge = Overseer.__call__

    def timed(self: Overseer, report: rt.Report, /) -> Any:
        start = time.process_time()
        judgement = judge(self, report)
        spent["judging"] += time.process_time() - start
        return judgement

    Overseer.__call__ = timed
    stream = rt.streams.flights(block=1_000)
    learner = rt.quick(stream.schema())
    found: dict[str, float] = {}
    sets = {
        "recommended rules": rt.update.recommended(learner),
        "a trigger on drift": [rt.Rule(when=rt.OnDrift(rt.detectors.ADWIN()), do=rt.Alert())],
    }
    for rules in sets.values():  # what is compiled is compiled once, and loaded once in every process
        for _ in rt.Pipeline(stream=stream, learner=learner, rules=rules, limit=40_000).run():
            pass
    for name, rules in sets.items():
        spent["judging"], start = 0.0, time.process_time()
        for _ in rt.Pipeline(stream=stream, learner=learner, rules=rules).run():
            pass
        found[name] = spent["judging"] / (time.process_time() - start)
    return found


def main() -> None:
    with TemporaryDirectory() as name:
        program = Path(name) / "run.py"
        program.write_text(PROGRAM)
        names = ("plain", "durable", "pipeline", "watched")
        # Every run begins in a folder of its own: one that is there would be gone on with.
        fresh = "import runpy, sys, tempfile; sys.argv = [sys.argv[1], sys.argv[2], tempfile.mkdtemp()]; "
        fresh += "runpy.run_path(sys.argv[0], run_name='__main__')"
        costs = interleave(
            {one: [sys.executable, "-c", fresh, str(program), one] for one in names}, times=TIMES
        )  # fmt: skip
    lines = [
        "## The cost of a service",
        "",
        "CPU-seconds of whole runs over 336,776 flights, and how many times those of the plain run.",
        "",
        "| | best | median | to plain, best | to plain, median | of the runs in turn, median | bar |",
        "|---|---|---|---|---|---|---|",
    ]
    bars = {"durable": "1.03"}
    for one in names:
        turns = median(cost.cpu / plain.cpu for cost, plain in zip(costs[one], costs["plain"], strict=True))
        ratios = best(costs[one]) / best(costs["plain"]), middle(costs[one]) / middle(costs["plain"]), turns
        cells = [f"{best(costs[one]):.2f}", f"{middle(costs[one]):.2f}", *(f"{ratio:.3f}" for ratio in ratios)]
        lines.append(f"| {one} | {' | '.join(cells)} | {bars.get(one, '')} |")
    told = [f"{name} {100 * share:.2f} %" for name, share in shares().items()]
    lines += ["", f"Triggers and gates take, of a run's CPU time (bar: 1 %): {', '.join(told)}.", "", load()]
    record("service", "\n".join(lines))


if __name__ == "__main__":
    main()
