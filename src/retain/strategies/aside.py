"""What a module holds, put aside for a while: other buffers in their place, and the way back after an error.

Shapes: p weights.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from retain.core import Model
from retain.rows import from_array, to_array

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["copies", "from_state", "lay", "lent", "or_as_before", "to_state"]


def copies(buffers: Sequence[Tensor], /) -> tuple[Tensor, ...]:
    """Buffers as they are now."""
    return tuple(buffer.clone() for buffer in buffers)


def lay(buffers: Sequence[Tensor], values: Sequence[Tensor], /) -> None:
    """Values into buffers, in place."""
    for buffer, value in zip(buffers, values, strict=True):
        buffer.copy_(value)


@contextmanager
def lent(buffers: Sequence[Tensor], values: Sequence[Tensor], /) -> Generator[None]:
    """A module's buffers with other values, and what they held afterwards."""
    before = copies(buffers)
    try:
        lay(buffers, values)
        yield
    finally:
        lay(buffers, before)


@contextmanager
def or_as_before(model: Model, random: torch.Generator, /) -> Generator[None]:
    """Weights (p,), buffers and a generator as they were before, if an error of any kind is raised within."""
    buffers = tuple(model.module.buffers())
    weights, values, drawn = model.weights.clone(), copies(buffers), random.get_state()
    try:
        yield
    except BaseException:
        model.weights.copy_(weights)
        lay(buffers, values)
        random.set_state(drawn)
        raise


def to_state(tensors: Sequence[Tensor], /) -> dict[str, Any]:
    """Tensors as an entry of a `State`."""
    return {str(i): to_array(tensor) for i, tensor in enumerate(tensors)}


def from_state(entry: Any, /) -> tuple[Tensor, ...]:
    """What `to_state` put down."""
    return tuple(from_array(entry[str(i)]) for i in range(len(entry)))
