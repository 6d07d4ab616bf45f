"""The resume law across processes."""

from __future__ import annotations

import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from retain import state
from retain.testing.compare import same_state

__all__ = ["go_on", "resume_in_new_process"]


class _Step(Protocol):
    """Feed a part with the rows [a, b) of its own data; module-level, so that a new process finds it."""

    def __call__(self, part: Any, start: int, stop: int, /) -> object: ...


def resume_in_new_process(file: str, table: str, *, rows: int) -> None:
    """Resume law across processes: every part of a table is saved half way and goes on in a new interpreter.

    Args:
        file: the path of a Python file, usually `__file__` of the test.
        table: the name in it of a mapping from a name to (make, step), where step(part, start, stop) feeds rows.
        rows: how many rows each part is fed in all.

    The new interpreter has another hash seed and no warm caches: whatever leaked out of the state shows.
    """
    parts = _table(file, table)
    with tempfile.TemporaryDirectory() as folder:
        expected: dict[str, bytes] = {}
        for i, (make, step) in enumerate(parts.values()):
            part = make()
            step(part, 0, rows // 2)
            Path(folder, f"{i}.in").write_bytes(state.encode(part.state_dict()))
            step(part, rows // 2, rows)
            expected[str(i)] = state.encode(part.state_dict())
        code = f"from retain.testing.process import go_on; go_on({file!r}, {table!r}, {rows}, {folder!r})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603 - our own code
        if done.returncode:
            raise AssertionError(f"the new process failed:\n{done.stderr}")
        for i, name in enumerate(parts):
            got = Path(folder, f"{i}.out").read_bytes()
            same_state(state.decode(got), state.decode(expected[str(i)]), 0.0, f"{name} resumed in a new process")


def go_on(file: str, table: str, rows: int, folder: str) -> None:
    """What the new process does: load every part, feed it the rest, save it."""
    for i, (make, step) in enumerate(_table(file, table).values()):
        part = make()
        part.load_state_dict(state.decode(Path(folder, f"{i}.in").read_bytes()))
        step(part, rows // 2, rows)
        Path(folder, f"{i}.out").write_bytes(state.encode(part.state_dict()))


def _table(file: str, table: str) -> Mapping[str, tuple[Callable[[], Any], _Step]]:
    return runpy.run_path(file)[table]
