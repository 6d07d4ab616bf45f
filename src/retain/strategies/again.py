"""An experience that has ended is gone through again: steps of a strategy's own, which the learner does not count.

Shapes: p weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from retain.core import Model, Rows
from retain.rows import take

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
    """Steps of Adam along a gradient, in training mode. One that is not finite is left out, as by the learner.

    Returns how many were made.

    Args:
        model: whose weights are stepped.
        experience: its blocks are gone through in their order, the rows of each in one that is drawn.
        passes: how often.
        size: rows of a step, at least, where a block has as many: none is left with a single row.
        rate: of Adam, which begins without moments.
        random: draws the order.
        gradient: from the rows of a step, (p,).
        stepped: is called after every step.
    """
    import torch

    module, weights = model.module, model.weights
    adam = torch.optim.Adam([weights], lr=rate)
    training, steps = module.training, 0
    module.train()
    try:
        for _ in range(passes):
            for block in experience:
                order = torch.randperm(len(block), generator=random, device="cpu").to(block.y.device)
                for index in order.chunk(max(len(block) // size, 1)):
                    slope = gradient(take(block, index))
                    if bool(torch.isfinite(slope.dot(slope))):
                        weights.grad = slope
                        adam.step()
                        stepped()
                        steps += 1
    finally:
        weights.grad = None
        module.train(training)
    return steps
