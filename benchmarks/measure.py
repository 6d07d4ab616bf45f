"""What benchmarks share: CPU-seconds of whole processes, interleaved with the peer, and where results are written.

A figure is a ratio to a peer measured in the same run: A B A B ..., best and median. Seconds alone mean little, since
machines differ and are shared.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

RESULTS = Path(__file__).parent / "RESULTS.md"
MNIST = Path(__file__).resolve().parents[2] / "shared" / "data" / "mnist"  # beside the repository, where there is one


@dataclass(frozen=True)
class Cost:
    """What one run of a command took: CPU-seconds (user and system) and the most memory it held, in MiB."""

    cpu: float
    memory: float
    output: str


def run(command: Sequence[str], *, threads: int = 1) -> Cost:
    """Run a command to its end in a process of its own and measure it."""
    env = {**os.environ, "OMP_NUM_THREADS": str(threads), "NUMBA_NUM_THREADS": str(threads)}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode: compiling is no part of a run
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as error:
        process = subprocess.Popen(command, stdout=output, stderr=error, env=env)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        error.seek(0)
        if process.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{error.read()}")
        return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, output.read())


def interleave(commands: Mapping[str, Sequence[str]], *, times: int = 5) -> dict[str, list[Cost]]:
    """Run all commands in turn, `times` times over, after one round that warms caches and is not counted."""
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for i in range(times + 1):
        for name, command in commands.items():
            cost = run(command)
            if i:
                costs[name].append(cost)
    return costs


def best(costs: Sequence[Cost]) -> float:
    """The least CPU-seconds: what is left when nothing else was in the way."""
    return min(cost.cpu for cost in costs)


def middle(costs: Sequence[Cost]) -> float:
    """The median of the CPU-seconds."""
    return median(cost.cpu for cost in costs)


def machine() -> str:
    """The processor, and how many cores of it."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        name = next(
            (line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line), name
        )
    return f"{name}, {os.cpu_count()} cores, Python {platform.python_version()}"


def load() -> str:
    """How busy the machine is, for the foot of a table: CPU-seconds grow where caches and clock are shared."""
    return (
        f"Load of the machine as the last row was written: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, 1 of it "
        "this. What is above 1 was other work, beside which figures per CPU-second come out low."
    )


def record(section: str, text: str) -> None:
    """Print a section, and put it into RESULTS.md in place of the one of the same name."""
    print(text)
    begin, end = f"<!-- {section} -->", f"<!-- end of {section} -->"
    before = (
        RESULTS.read_text()
        if RESULTS.exists()
        else "# Results\n\nWritten by the scripts beside this file: `make bench`.\n"
    )
    block = f"{begin}\n{text.strip()}\n\n{machine()}\n{end}\n"
    if begin in before:
        head, _, rest = before.partition(begin)
        tail = rest.partition(end)[2].lstrip("\n")
        before = head + block + (f"\n{tail}" if tail else "")
    else:
        before = before.rstrip("\n") + "\n\n" + block
    RESULTS.write_text(before)
