"""What learners made of learners share: members that all learn, or none of them, and what they say, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, final

import numpy as np

from retain.core import CSR, Array, Batch, Learner, State
from retain.errors import RetainError
from retain.learners.ensemble.abreast import abreast, processors

__all__ = ["Accepted", "all_or_none", "in_order", "stacked"]

_WORTH = 500  # rows of a block from which on threads pay


@final
class Accepted:
    """What all members have learnt so far: rows that lie within it are refused by none of them, one may expect.

    It holds the columns of tables, or the width, the range of all numbers, of labels and of weights. What is missing or
    not finite is in no range. Extremes of a stream become rare as it goes on.
    """

    def __init__(self) -> None:
        self._kind: Any = ()
        self._spans: dict[str, tuple[float, float]] = {}

    def holds(self, kind: Any, spans: dict[str, tuple[float, float]], /) -> bool:
        """Whether all of it has been seen before."""

        def within(name: str, low: float, high: float) -> bool:
            least, most = self._spans.get(name, (np.inf, -np.inf))
            return low >= least and high <= most

        return kind == self._kind and all(within(name, *span) for name, span in spans.items())

    def add(self, kind: Any, spans: dict[str, tuple[float, float]], /) -> None:
        """All members have learnt this."""
        self._kind = kind
        for name, (low, high) in spans.items():
            least, most = self._spans.get(name, (np.inf, -np.inf))
            self._spans[name] = min(least, low), max(most, high)


def all_or_none(
    members: Sequence[Learner],
    batch: Batch,
    call: Callable[[Learner, int], Array],
    /,
    *,
    accepted: Accepted,
    y: Array | None = None,
) -> list[Array]:
    """All members learn, or none: what one refuses another may have learnt already.

    The first goes first, and the others side by side, in threads where that pays. Where labels come apart from the
    rows they are `y`.
    """
    kind, spans = _looks(batch, batch.y if y is None else y)
    before: list[State] = []
    if not accepted.holds(kind, spans):  # copies of large members cost more than rows do
        before = [member.state_dict() for member in members]
    said: list[Array] = [np.empty(0)] * len(members)

    def run(member: Learner, m: int) -> None:
        said[m] = call(member, m)

    first, *others = [partial(run, member, m) for m, member in enumerate(members)]
    try:
        first()
        abreast(others, processors() if len(batch) >= _WORTH else 1)
    except RetainError:
        for member, state in zip(members, before, strict=False):
            member.load_state_dict(state)
        raise
    accepted.add(kind, spans)
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


def in_order(votes: Array, /) -> Array:
    """Sums over the classes, (n, 1), from the first to the last: NumPy's own order changes where more are to come."""
    if not votes.shape[1]:
        return np.zeros((len(votes), 1))
    return np.add.accumulate(votes, axis=1)[:, -1:]


def _looks(batch: Batch, y: Array | None) -> tuple[Any, dict[str, tuple[float, float]]]:
    """The kind of rows, and the range of what is in them; NaN where something is missing."""
    x = batch.x
    spans = {
        "weight": _span(batch.weight),
        "label": _span(y if y is None or y.dtype.kind != "f" else y[np.isfinite(y)]),
    }
    if isinstance(x, np.ndarray):
        return ("dense", x.shape[1:], x.dtype.kind), {**spans, "x": _span(x)}
    if isinstance(x, CSR):
        return ("sparse", x.width), {**spans, "x": _span(x.values)}
    return x.schema, {**spans, **{str(i): _column(column) for i, column in enumerate(x.columns)}}


def _column(column: Any) -> tuple[float, float]:
    import pyarrow as pa

    from retain.buffers import stored

    if column.null_count:
        return np.nan, np.nan
    number = pa.types.is_floating(column.type) or pa.types.is_integer(column.type)
    return _span(stored(column)) if number else (0.0, 0.0)


def _span(values: Array | None) -> tuple[float, float]:
    if values is None or not values.size:
        return 0.0, 0.0
    if values.dtype.kind not in "fiub":
        return np.nan, np.nan
    return float(values.min()), float(values.max())
