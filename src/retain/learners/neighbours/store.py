"""Room for rows that are remembered, and what of it is refused."""

from __future__ import annotations

import numpy as np

from retain.core import Array
from retain.errors import SettingError

__all__ = ["at_most", "fade_of", "padded", "stored"]

_MOST = 2**28  # numbers: a gigabyte in float32


def at_most(reader: str, rows: int, width: int, /) -> None:
    """Refuse rows so wide that what is to be remembered of them does not fit."""
    if rows * width > _MOST:
        raise SettingError(
            f"{reader} got rows of {width} features; expected at most {_MOST // rows}, of which it remembers {rows}: "
            "remember fewer, or hash to fewer"
        )


def stored(room: int, wanted: int, most: int, /) -> int:
    """How many rows to have room for: all of them at once, or at least twice as many as there was, up to `most`."""
    return room if wanted <= room or room >= most else min(max(wanted, 2 * room), most)


def fade_of(window: int, /) -> float:
    """The factor by which rows fade whose memory is as long as a window."""
    return 1.0 - 1.0 / max(window, 2)


def padded(values: Array, *shape: int) -> Array:
    """`values` with zeros behind them, up to a shape."""
    if values.shape == shape:
        return values
    return np.pad(values, [(0, new - old) for old, new in zip(values.shape, shape, strict=True)])
