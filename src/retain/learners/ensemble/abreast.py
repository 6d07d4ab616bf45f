"""Members of an ensemble side by side, in threads where that pays."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

__all__ = ["abreast", "processors"]


def processors() -> int:
    """How many this process may use, so many threads pay."""
    return len(os.sched_getaffinity(0))


def abreast(calls: Sequence[Callable[[], object]], threads: int, /) -> None:
    """Make every call, at most so many at a time; returns when all are done.

    Calls must touch nothing in common but what they only read; then what comes out does not depend on `threads`. They
    gain from threads where they spend their time in compiled code that lets go of the interpreter.

    An error of a call is raised once all are done; of several, that of the first in the order given.

    >>> said = [0] * 4
    >>> abreast([lambda i=i: said.__setitem__(i, i * i) for i in range(4)], 2)
    >>> said
    [0, 1, 4, 9]
    """
    errors: list[BaseException] = []
    if threads < 2 or len(calls) < 2:
        for call in calls:
            try:
                call()
            except Exception as error:  # noqa: BLE001 - raised below
                errors.append(error)
    else:
        with ThreadPoolExecutor(min(threads, len(calls))) as pool:
            done = [pool.submit(call) for call in calls]
        errors = [error for future in done if (error := future.exception()) is not None]
    if errors:
        raise errors[0]
