"""Arrays with room to grow."""

from __future__ import annotations

import numpy as np

from retain.core import Array

__all__ = ["roomy"]


def roomy(values: Array, *least: int, step: int = 1) -> Array:
    """`values`, zeros added so that each axis has the least length asked for.

    An axis that grows at least doubles, and is a multiple of `step` from then on.
    """
    shape = tuple(
        old if old >= wanted else -(-max(wanted, 2 * old) // step) * step
        for old, wanted in zip(values.shape, least, strict=True)
    )
    if shape == values.shape:
        return values
    return np.pad(values, [(0, new - old) for old, new in zip(values.shape, shape, strict=True)])
