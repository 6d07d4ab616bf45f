"""`kill -9` at every seam of a pipeline's commits, at random moments, on a damaged state, on a full disk: what is lost.

The victim (`tests/run/victim.py`) is a pipeline with late labels, bad rows, an exam, a registry and four rules, of a
linear, an analytic and a neural learner, and of a linear one whose labels come apart or, where nobody tells, by
silence. It is killed, resumed, killed again, resumed again; its end is compared with
that of a victim that was never killed: every byte of the state, the report, the registry's log, versions and aliases,
the quarantined rows, and a rolling hash over every row that was learnt.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from measure import record
from rich.progress import track

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tests.run import victim  # noqa: E402

COUNTS = (1, 7)  # which passages of a seam
TWICE = 2


def start(folder: Path, kind: str, *more: str) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONHASHSEED": "0"}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, victim.__file__, str(folder), kind, *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


def finish(folder: Path, kind: str) -> dict[str, Any] | str:
    """What came of it; the last line of what it said where it failed."""
    out, error = (process := start(folder, kind)).communicate()
    return json.loads(out.splitlines()[-1]) if process.returncode == 0 else error.strip().splitlines()[-1]


def at_seam(kind: str, seam: str, count: int, whole: Any) -> tuple[str, bool]:
    """Killed at a passage of a seam, resumed, killed at the next, resumed to the end; whether that is as it was."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        victim.write_rows(folder / "rows.csv")
        kills = 0
        for _ in range(TWICE):
            process = start(folder, kind, *seam.split(), str(count))
            _, error = process.communicate()
            if process.returncode not in (0, -signal.SIGKILL):
                return error.strip().splitlines()[-1], False
            kills += process.returncode != 0
        return ("killed" if kills else "never passed"), finish(folder, kind) == whole


def at_random(kind: str, seed: int, whole: Any, seconds: float) -> tuple[int, bool]:
    """Killed at random moments until it comes through."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        victim.write_rows(folder / "rows.csv")
        kills = 0
        for _ in range(TWICE):
            process = start(folder, kind, "--every", "0.02")
            time.sleep(rng.uniform(0.3, 1.0) * seconds)
            process.kill()
            process.communicate()
            kills += process.returncode == -signal.SIGKILL
        return kills, finish(folder, kind) == whole


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--random", type=int, default=60, help="victims killed at random moments, twice each")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--kinds", nargs="+", choices=victim.KINDS, default=victim.KINDS, help="some only: told, not kept"
    )
    given = parser.parse_args()
    wholes: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    for kind in given.kinds:
        with tempfile.TemporaryDirectory() as name:
            victim.write_rows(Path(name) / "rows.csv")
            wholes[kind] = finish(Path(name), kind)
            if isinstance(wholes[kind], str):
                sys.exit(f"the victim does not come through: {wholes[kind]}")
        with tempfile.TemporaryDirectory() as name:  # as those that are killed at random will run: few snapshots
            victim.write_rows(Path(name) / "rows.csv")
            begin = time.perf_counter()
            start(Path(name), kind, "--every", "0.02").communicate()
            seconds[kind] = time.perf_counter() - begin
    jobs = [(kind, seam, count) for kind in given.kinds for seam in victim.SEAMS for count in COUNTS]
    with ThreadPoolExecutor(given.workers) as pool:
        seams = list(
            track(
                pool.map(lambda job: at_seam(*job, wholes[job[0]]), jobs), description="seams", total=len(jobs)
            )
        )  # fmt: skip
        moments = [(given.kinds[i % len(given.kinds)], i) for i in range(given.random)]
        randoms = list(
            track(
                pool.map(lambda one: at_random(*one, wholes[one[0]], seconds[one[0]]), moments),
                description="moments",
                total=len(moments),
            )
        )
    bad = [f"{' '.join(map(str, job))}: {said}" for job, (said, same) in zip(jobs, seams, strict=True) if not same]
    bad += [
        f"{kind} at random, seed {seed}" for (kind, seed), (_, same) in zip(moments, randoms, strict=True) if not same
    ]
    told = Counter(said for said, _ in seams)
    hit = {job[1] for job, (said, _) in zip(jobs, seams, strict=True) if said == "killed"}
    kills = sum(count for count, _ in randoms)
    rows = {
        f"at a seam ({len(hit)} of {len(victim.SEAMS)} seams hit)": [
            len(jobs),
            told["killed"],
            sum(s for _, s in seams),
        ],
        f"at random moments ({kills} kills)": [
            len(moments),
            sum(count > 0 for count, _ in randoms),
            sum(same for _, same in randoms),
        ],
    }
    lines = [
        "## Chaos",
        "",
        "A pipeline of a linear, an analytic and a neural learner, and of a linear one whose labels come apart or by",
        "silence, killed by `kill -9` twice in a row each time, then brought to its end.",
        "",
        "| | victims | of them killed | ended as if never killed |",
        "|---|---|---|---|",
        *(f"| {name} | {' | '.join(map(str, counts))} |" for name, counts in rows.items()),
        "",
        *[f"- not the same: {line}" for line in bad],
    ]
    if tuple(given.kinds) == victim.KINDS:
        record("chaos", "\n".join(lines))
    else:
        print("\n".join(lines))
    if bad:
        sys.exit(1)


if __name__ == "__main__":
    main()
