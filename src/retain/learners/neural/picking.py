"""Rows of a block, taken without copying them where they are a run.

Shapes: n rows.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from retain.core import Ints, Rows

__all__ = ["breaks", "index", "owned"]


def breaks(rows: Ints, /) -> Ints:
    """How often row numbers up to each (n,) did not go on by one: between two equal counts they are consecutive."""
    return np.cumsum(np.diff(rows, prepend=rows[:1]) != 1)


def index(rows: Ints, device: torch.device, /, *, run: bool) -> Tensor | slice:
    """Row numbers to take by: a slice, which copies nothing, where they are a run of consecutive ones."""
    if run:
        return slice(int(rows[0]), int(rows[-1]) + 1) if len(rows) else slice(0)
    return torch.from_numpy(np.ascontiguousarray(rows)).to(device)


def owned(rows: Rows, /) -> Rows:
    """Rows that share no memory with the block that they came in."""
    extra = {name: column.clone() for name, column in rows.extra.items()}
    return Rows(rows.x.clone(), rows.y.clone(), rows.weight.clone(), extra)
