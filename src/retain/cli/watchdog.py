"""A run that gives no report for too long is ended, so that whoever supervises it starts it again."""

from __future__ import annotations

import faulthandler
import os
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import final

__all__ = ["HUNG", "Watchdog"]

HUNG = 3  # the exit code of a run that was ended so
_STDERR = 2  # the descriptor: whoever hangs may hold the lock of sys.stderr
_GRACE = 5.0  # seconds to say a last word


@final
class Watchdog:
    """From its beginning to the end of its block, a run must not be silent for longer than it may.

    Else the stacks of all threads are printed and the process ends, without any cleaning up, as by a kill: the state on
    disk is the last snapshot. A thread looks after that, once a second. Where it cannot, because foreign code keeps the
    interpreter for itself, `faulthandler` does, which needs none: the exit code is then 1.

    Args:
        patience: seconds without a report.
        last_word: called with what is wrong before the process ends; it has some seconds.
    """

    def __init__(self, patience: float, /, *, last_word: Callable[[str], None]) -> None:
        self._patience, self._last_word = patience, last_word
        self._heard = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        self._arm(self._patience)
        self._thread.start()
        return self

    def hear(self) -> None:
        """The run has given a report."""
        self._heard = time.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._over.set()
        self._thread.join()
        faulthandler.cancel_dump_traceback_later()

    def _look(self) -> None:
        while not self._over.wait(min(self._patience / 4, 1.0)):
            if time.monotonic() - self._heard >= self._patience:
                self._end()
            self._arm(self._patience)

    def _arm(self, seconds: float) -> None:
        # Here and not at every report: it takes longer than a small block is learnt in.
        faulthandler.dump_traceback_later(seconds + _GRACE, exit=True, file=_STDERR)

    def _end(self) -> None:
        self._arm(0.0)
        wrong = f"no report for {self._patience:g} s"
        cure = "the process ends; its state is that of the last snapshot, from which --resume goes on"
        os.write(_STDERR, f"retain: {wrong}; {cure}\n".encode())
        faulthandler.dump_traceback(file=_STDERR)
        self._last_word(wrong)
        os._exit(HUNG)
