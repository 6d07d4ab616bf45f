"""Ctrl-C and a polite kill, obeyed between two blocks."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

import pyarrow as pa

__all__ = ["INTERRUPTED", "interruptible"]

INTERRUPTED = 130  # the exit code of a command that was stopped
_STDERR = 2  # the descriptor: the signal may come while sys.stderr is being written to
_HOW = b"stopping when the block in hand is learnt; once more stops at once\n"


@contextmanager
def interruptible() -> Generator[list[int]]:
    """Turn Ctrl-C and a polite kill into an entry of a list, read between two blocks: no block is left half done."""
    # While it reads a file Arrow would answer signals itself, by an error.
    pa.enable_signal_handlers(enable=False)
    stopped: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        if stopped:  # the second time the user means it
            raise KeyboardInterrupt
        stopped.append(number)
        os.write(_STDERR, _HOW)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        pa.enable_signal_handlers(enable=True)
