"""What a linear learner remembers of its features, made less: weights that go, features that fall together.

Shapes: C slots as in `kernels`, D features, R outputs.
"""

from __future__ import annotations

import numpy as np

from retain.core import Array, Floats
from retain.errors import SettingError
from retain.learners.linear.updates import ALMA, FTRL, Adaptive, Coin, Update, plan

__all__ = ["effects", "folded", "truncated"]

_NEEDS = "smaller tables need weights that stand for themselves"


def effects(slots: Floats, update: Update, /) -> Floats:
    """(R, D) what each weight moves: |w| (sum of g^2 x^2)^1/2 where an update knows it, g the slopes, else |w|."""
    weights, squares = _parts(slots, update)
    return np.abs(weights) if squares is None else np.abs(weights) * np.sqrt(squares)


def truncated(slots: Floats, gone: Array, update: Update, /, *, l1: float) -> Floats:
    """Slots with the weights 0 that are `gone` (R, D); FTRL's sums stop where they begin to make a weight."""
    left = slots.copy()
    _parts(left, update)[0][gone] = 0.0
    if isinstance(update, FTRL):
        sums = left[1 :: plan(update).own]
        sums[gone] = np.clip(sums[gone], -l1, l1)
    return left


def folded(slots: Floats, width: int, update: Update, /, *, l1: float, l2: float) -> Floats:
    """Slots (C, width) of features that fall together, i to i mod width.

    What a row of any of them should move is a compromise: FTRL's sums of gradients add up, as if all had been of one
    feature. Other weights become a mean, in which each counts by the root of its sum of g^2 x^2 (Adaptive; 1 and the
    root lose alike) or by its own size, which tells how much was learnt of it. Adding weights up lost most in nearly
    all trials (texts of SST-2, 2^20 slots to 2^12 - 2^16).
    """
    fits = -(-slots.shape[1] // width) * width
    parts = np.pad(slots, ((0, 0), (0, fits - slots.shape[1]))).reshape(len(slots), -1, width)
    out = parts.sum(axis=1)
    known = plan(update)
    if isinstance(update, FTRL):
        weight, sums, squares = (slice(i, None, known.own) for i in range(3))
        rate = (update.beta + np.sqrt(out[squares])) / update.alpha + l2
        out[weight] = np.sign(out[sums]) * np.minimum(l1 - np.abs(out[sums]), 0.0) / rate
        return out
    weights, squares = _parts(slots, update)
    shares = np.abs(weights) if squares is None else np.sqrt(squares)
    over = np.pad(np.stack([weights * shares, shares]), ((0, 0), (0, 0), (0, fits - slots.shape[1])))
    top, bottom = over.reshape(2, len(weights), -1, width).sum(axis=2)
    out[known.shared :: known.own] = np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)
    if isinstance(update, Adaptive):
        out[0] = parts[0].max(axis=0)
        out[1] = np.divide(1.0, out[0], out=np.zeros(width), where=out[0] > 0)
    return out


def _parts(slots: Floats, update: Update) -> tuple[Floats, Floats | None]:
    """Views of the weights (R, D), and of their sums of g^2 x^2."""
    if isinstance(update, (Coin, ALMA)):
        what = "bets" if isinstance(update, Coin) else "weights"
        raise SettingError(f"{_NEEDS}; got {update}, whose {what} follow from sums; expected Adaptive, SGD or FTRL")
    known = plan(update)
    place = 1 if isinstance(update, Adaptive) else 2 if isinstance(update, FTRL) else None
    squares = None if place is None else slots[known.shared + place :: known.own]
    return slots[known.shared :: known.own], squares
