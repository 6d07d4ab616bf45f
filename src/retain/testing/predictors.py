"""The laws of what only answers: models as they are shipped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from retain import blocks, state
from retain.core import Array, Batch, Predictor, Stateful
from retain.testing.compare import bounds, same_bytes, same_rows, same_state, stack, with_cuts
from retain.testing.poison import poisoned, refuses

__all__ = ["check_predictor", "predictor_blocks", "predictor_poison", "predictor_purity", "predictor_resume"]


class Kept(Predictor, Stateful, Protocol):
    """What answers, and can be saved."""


def check_predictor(
    predictor: Kept,
    blank: Callable[[], Kept],
    batch: Batch,
    /,
    *,
    tolerance: float = 0.0,
    accepts_missing: bool = False,
    tries: int = 10,
) -> None:
    """Run every law of a predictor on the rows of a batch.

    Args:
        predictor: ready to answer.
        blank: returns a new one, to load its state into.
        batch: some dozens of rows.
        tolerance: by which answers may depend on what rows come with.
        accepts_missing: NaN is an input like others.
        tries: how many splits Hypothesis chooses.
    """
    predictor_purity(predictor, batch)
    predictor_resume(predictor, blank, batch)
    predictor_poison(predictor, batch, accepts_missing=accepts_missing)
    with_cuts(len(batch), tries, lambda cuts: predictor_blocks(predictor, batch, cuts, tolerance=tolerance))


def predictor_purity(predictor: Kept, batch: Batch) -> None:
    """Purity law: predict changes no state, and says the same twice."""
    before = state.copy(predictor.state_dict())
    first = np.array(predictor.predict(batch.x))
    same_rows(predictor.predict(batch.x), first, 0.0, "the second predict")
    same_state(predictor.state_dict(), before, 0.0, "state after predict")


def predictor_blocks(predictor: Kept, batch: Batch, cuts: Sequence[int], *, tolerance: float = 0.0) -> None:
    """Block law: rows in pieces are answered as all at once."""
    parts: list[Array] = []
    for a, b in bounds(len(batch), cuts):
        parts.append(np.array(predictor.predict(blocks.take(batch.x, slice(a, b)))))
    same_rows(stack(parts), predictor.predict(batch.x), tolerance, f"answers, split at {list(cuts)}")


def predictor_resume(predictor: Kept, blank: Callable[[], Kept], batch: Batch) -> None:
    """Resume law: saved and loaded, it says the same, bit for bit."""
    saved = state.encode(predictor.state_dict())
    again = blank()
    again.load_state_dict(state.decode(saved))
    same_bytes(state.encode(again.state_dict()), saved, "state saved again right after loading")
    same_rows(again.predict(batch.x), predictor.predict(batch.x), 0.0, "answers after loading")


def predictor_poison(predictor: Kept, batch: Batch, *, accepts_missing: bool = False) -> None:
    """Poison law: bad rows are refused, and nothing has changed."""
    for what, bad in poisoned(Batch(batch.x), accepts_missing=accepts_missing):
        refuses(predictor, lambda bad=bad: predictor.predict(bad.x), f"predict of {what}")
