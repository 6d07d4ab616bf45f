"""An experience that has ended is gone through again: steps of a strategy's own, which the learner does not count.

Shapes: p weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from retain.core import Model, Rows
from retain.rows import join, take
from retain.strategies.aside import copies, lay

if TYPE_CHECKING:
    from torch import Generator, Tensor

__all__ = ["again"]


def again(
    model: Model,
    experience: Iterable[Rows],
    /,
    *,
    passes: int,
    size: int,
    rate: float,
    random: Generator,
    gradient: Callable[[Rows], Tensor],
    stepped: Callable[[], None] = lambda: None,
) -> int:
    """Steps of Adam along a gradient, in training mode. One that is not finite leaves no trace, as in the learner.

    No step has a single row, of which norms make nothing: such a block joins the next, and is left out at the end.
    Returns how many steps were made.

    Args:
        model: whose weights are stepped.
        experience: its blocks are gone through in their order, the rows of each in one that is drawn.
        passes: how often.
        size: rows of a step, at least, where a block has as many.
        rate: of Adam, which begins without moments.
        random: draws the order.
        gradient: from the rows of a step, (p,).
        stepped: is called after every step.
    """
    import torch

    module, weights = model.module, model.weights
    adam = torch.optim.Adam([weights], lr=rate)
    buffers = tuple(module.buffers())
    training, steps = module.training, 0
    module.train()
    try:
        for _ in range(passes):
            for block in _blocks(experience):
                order = torch.randperm(len(block), generator=random, device="cpu").to(block.y.device)
                for index in order.tensor_split(max(len(block) // max(size, 2), 1)):
                    before = copies(buffers)
                    slope = gradient(take(block, index))
                    if not bool(torch.isfinite(slope.dot(slope))):
                        lay(buffers, before)
                        continue
                    weights.grad = slope
                    adam.step()
                    stepped()
                    steps += 1
    finally:
        weights.grad = None
        module.train(training)
    return steps


def _blocks(experience: Iterable[Rows]) -> Iterator[Rows]:
    """Blocks of more than one row."""
    single: Rows | None = None
    for rows in experience:
        block = rows if single is None else join([single, rows])
        single = block if len(block) == 1 else None
        if single is None:
            yield block
