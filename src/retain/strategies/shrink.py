"""Shrink and perturb: weights are made shorter and a little noise is added, so that learning can begin anew.

Shapes: p weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, final

from retain.core import Forward, Model, Rows, State
from retain.errors import SettingError
from retain.rows import from_array, to_array
from retain.strategies.addend import Addend

if TYPE_CHECKING:
    from torch import Generator, Tensor

__all__ = ["ShrinkPerturb", "shaken"]


def shaken(weight: Tensor, /, *, shrink: float, noise: float, random: Generator) -> Tensor:
    """shrink * weight + noise * u, u as large as first weights are: uniform, of variance 1 / (3 inputs)."""
    import torch

    bound = weight[0].numel() ** -0.5
    fresh = torch.rand(weight.shape, generator=random).mul_(2 * bound).sub_(bound)
    return shrink * weight + noise * fresh.to(weight)


@final
class ShrinkPerturb(Addend):
    """Multiplies weights by `shrink` and adds `noise` times fresh first weights, now and then. It adds no loss.

    Much of what was learnt stays; but gradients are of one size again for rows that are known and rows that are new,
    and units that were alike or dead part ways. Matrices and kernels only: a bias or the gain of a norm is no place for
    noise.

    Args:
        shrink: what weights are multiplied by, in (0, 1].
        noise: how much of a fresh first weight is added.
        every: steps between two times; None for the ends of experiences.
        seed: of the noise.
        name: the default comes after those of the strategies that remember weights.

    >>> import numpy as np, retain as rt
    >>> learner = rt.Neural(rt.neural.MLP(2, 2), strategies=[ShrinkPerturb(0.5, noise=0.0)])
    >>> before = learner.module[-1].weight.detach().clone()
    >>> learner.consolidate([])
    >>> bool((learner.module[-1].weight == before / 2).all())
    True

    Raises:
        SettingError: numbers out of range.

    References:
        Ash and Adams 2020, On warm-starting neural network training.
    """

    def __init__(
        self,
        shrink: float = 0.8,
        *,
        noise: float = 0.1,
        every: int | None = None,
        seed: int = 0,
        name: str = "shrink-perturb",
    ) -> None:
        if not (0 < shrink <= 1 and noise >= 0 and (every is None or every >= 1)):
            raise SettingError(
                f"ShrinkPerturb got shrink={shrink}, noise={noise}, every={every}; expected in (0, 1], >= 0, and >= 1"
            )
        import torch

        self.name = name
        self._shrink, self._noise, self._every = float(shrink), float(noise), every
        self._random = torch.Generator().manual_seed(seed)
        self._steps = 0

    def stepped(self, model: Model, new: Forward, /) -> None:
        self._steps += 1
        if self._every is not None and self._steps % self._every == 0:
            self._shake(model)

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:
        if self._every is None:
            self._shake(model)

    def _shake(self, model: Model) -> None:
        for parameter in model.module.parameters():
            if parameter.requires_grad and parameter.ndim > 1:
                weight = parameter.data
                weight.copy_(shaken(weight, shrink=self._shrink, noise=self._noise, random=self._random))

    def state_dict(self) -> State:
        return {"random": to_array(self._random.get_state()), "steps": self._steps}

    def load_state_dict(self, state: State, /) -> None:
        self._random.set_state(from_array(state["random"], device="cpu"))
        self._steps = int(state["steps"])
