"""A way through a module that sees other weights than those that are trained.

Shapes: n rows, p parameters.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from retain.learners.neural.passes import Pass
from retain.learners.neural.weights import Weights
from retain.strategies.addend import Viewing

__all__ = ["Viewed"]


@final
class Viewed(Pass):
    """Another way, by weights as a part makes them of those that there are.

    From a pass forwards to the one back they lie where the module looks for its own: the graph, where there is one,
    reads them again on its way.
    """

    def __init__(self, inner: Pass, weights: Weights, by: Viewing, /) -> None:
        self._inner, self._weights, self._by = inner, weights, by
        self._masters: Tensor | None = None  # (p,) what is trained, while others lie in its place

    def view(self, vector: Tensor, /) -> Tensor:
        """(p,) what is seen of weights (p,)."""
        return torch.cat([self._by.viewed(piece).reshape(-1) for piece in self._weights.views(vector)])

    def release(self) -> None:
        """The weights that are trained return to their place; no `backward` comes after the last `forward`."""
        masters, self._masters = self._masters, None
        if masters is not None:
            self._weights.flat.copy_(masters)

    def forward(self, x: Tensor, /) -> Tensor:
        self._lay()
        return self._inner.forward(x)

    def backward(self, slope: Tensor, into: Tensor, /) -> float:
        try:
            return self._inner.backward(slope, into)
        finally:
            self.release()

    def outputs(self, x: Tensor, weights: Tensor, /) -> Tensor:
        return self._inner.outputs(x, self._seen(weights))

    def features(self, x: Tensor, weights: Tensor, /) -> Tensor:
        return self._inner.features(x, self._seen(weights))

    def magnitudes(self, x: Tensor, slope: Tensor, /, *, power: int) -> Tensor:
        self._lay()
        try:
            return self._inner.magnitudes(x, slope, power=power)
        finally:
            self.release()

    def _lay(self) -> None:
        self.release()
        self._masters = self._weights.flat.clone()
        self._weights.flat.copy_(self.view(self._masters))

    def _seen(self, weights: Tensor) -> Tensor:
        """What is seen of these weights; those of the pass under way are laid out already."""
        return weights if weights is self._weights.flat and self._masters is not None else self.view(weights)
