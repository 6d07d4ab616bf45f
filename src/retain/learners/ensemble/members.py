"""What learners made of learners share: members that all learn, or none of them, and what they say, side by side."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from retain.core import CSR, Array, Batch, Features, Learner, State
from retain.errors import RetainError
from retain.learners.ensemble.abreast import abreast

__all__ = ["all_or_none", "kind", "stacked"]

_WORTH = 500  # rows of a block from which on threads pay


def kind(x: Features, /) -> Any:
    """Of a table, its Arrow schema; None: rows are no table."""
    return None if isinstance(x, (np.ndarray, CSR)) else x.schema


def all_or_none(
    members: Sequence[Learner], x: Features, call: Callable[[Learner, int], Array], /, *, learnt: Any
) -> list[Array]:
    """All members learn, or none: what one refuses another may have learnt already.

    The first goes first, and the others side by side, in threads where that pays.

    `learnt` is the `kind` of the rows that all of them have learnt before.
    """
    before: list[State] = []
    # What is missing or not finite is the one thing that members may disagree about, in columns that all of them
    # have learnt before; else the first of them refuses it. Copies of large members cost more than rows do.
    if kind(x) != learnt or not _finite(x):
        before = [member.state_dict() for member in members]
    said: list[Array] = [np.empty(0)] * len(members)

    def run(member: Learner, m: int) -> None:
        said[m] = call(member, m)

    first, *others = [partial(run, member, m) for m, member in enumerate(members)]
    try:
        first()
        abreast(others, len(os.sched_getaffinity(0)) if len(Batch(x)) >= _WORTH else 1)
    except RetainError:
        for member, state in zip(members, before, strict=False):
            member.load_state_dict(state)
        raise
    return said


def stacked(said: Sequence[Array]) -> Array:
    """(M, n) or (M, n, k); a class that only some members know of has probability 0 from the others."""
    n = len(said[0])
    if any(answer.ndim == 1 for answer in said):
        # A baseline that has seen no label does not know yet that labels are numbers: it says nothing, which is 0.
        return np.stack([answer if answer.ndim == 1 else np.zeros(n) for answer in said], dtype=np.float64)
    out = np.zeros((len(said), n, max(answer.shape[1] for answer in said)))
    for own, answer in zip(out, said, strict=True):
        own[:, : answer.shape[1]] = answer
    return out


def _finite(x: Features) -> bool:
    if isinstance(x, CSR):
        return bool(np.isfinite(x.values).all())
    if isinstance(x, np.ndarray):
        return x.dtype.kind in "fiub" and bool(np.isfinite(x).all())
    import pyarrow as pa

    from retain.buffers import stored

    def whole(column: pa.Array) -> bool:
        return not column.null_count and (
            not pa.types.is_floating(column.type) or bool(np.isfinite(stored(column)).all())
        )

    return all(map(whole, x.columns))
