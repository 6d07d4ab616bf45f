"""A way through a module on a GPU whose kernels are launched all at once.

A small layer is done sooner than its kernel is launched. Once rows of a shape have come a few times, the kernels of a
pass are recorded as a graph (CUDA graphs), and a step launches that.
"""

from __future__ import annotations

import math
from collections import Counter
from copy import deepcopy
from typing import Any, final

import torch
from torch import Tensor

from retain.learners.neural.passes import Pass
from retain.learners.neural.weights import Weights

__all__ = ["Captured"]

_TIMES = 3  # that rows of a shape have come before their kernels are recorded
_MOST = 8  # shapes, each of which keeps its own activations


@final
class Captured(Pass):
    """Another way, recorded for each shape of rows; what is recorded says the same bit for bit, or is not used.

    The module must be one that does the same in every pass: no layer that draws, counts or looks at its mode.
    """

    def __init__(self, inner: Pass, weights: Weights, /) -> None:
        self._inner, self._weights = inner, weights
        self._flat = weights.flat  # that graphs write to and read from
        self._came: Counter[tuple[torch.Size, torch.dtype]] = Counter()
        self._graphs: dict[tuple[torch.Size, torch.dtype], _Graph | None] = {}
        self._last: _Graph | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Captured:
        """A copy that records anew: graphs know the addresses of what they were recorded on."""
        return Captured(deepcopy(self._inner, memo), deepcopy(self._weights, memo))

    def forward(self, x: Tensor, /) -> Tensor:
        self._last = self._graph(x)
        return self._inner.forward(x) if self._last is None else self._last.forward(x)

    def backward(self, slope: Tensor, into: Tensor, /) -> float:
        if self._last is None:
            return self._inner.backward(slope, into)
        into.copy_(self._last.backward(slope))
        return math.inf

    def outputs(self, x: Tensor, weights: Tensor, /) -> Tensor:
        return self._inner.outputs(x, weights)

    def features(self, x: Tensor, weights: Tensor, /) -> Tensor:
        return self._inner.features(x, weights)

    def magnitudes(self, x: Tensor, slope: Tensor, /, *, power: int) -> Tensor:
        return self._inner.magnitudes(x, slope, power=power)

    def _graph(self, x: Tensor) -> _Graph | None:
        if self._flat is not self._weights.flat:  # the head has grown
            self._flat = self._weights.flat
            self._graphs.clear()
        key = x.shape, x.dtype
        if key in self._graphs:
            return self._graphs[key]
        self._came[key] += 1
        if self._came[key] <= _TIMES or len(self._graphs) == _MOST:
            return None
        graph = _Graph(self._inner, x, self._flat)
        self._graphs[key] = graph if graph.agrees(self._inner, x) else None
        return self._graphs[key]


@final
class _Graph:
    """The kernels of a pass forwards and of one backwards, recorded on rows of one shape."""

    def __init__(self, inner: Pass, x: Tensor, flat: Tensor, /) -> None:
        self._x, self._into = x.clone(), torch.empty_like(flat)
        stream = torch.cuda.Stream(x.device)
        stream.wait_stream(torch.cuda.current_stream(x.device))
        with torch.cuda.stream(stream):  # once there without recording: libraries set up what they need
            self._slope = inner.forward(self._x).clone()
            inner.backward(self._slope, self._into)
        torch.cuda.current_stream(x.device).wait_stream(stream)
        self._there, self._back = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._there, stream=stream):
            self._output = inner.forward(self._x)
        with torch.cuda.graph(self._back, pool=self._there.pool(), stream=stream):
            inner.backward(self._slope, self._into)

    def forward(self, x: Tensor, /) -> Tensor:
        self._x.copy_(x)
        self._there.replay()
        return self._output.clone()  # the next pass writes where this one did

    def backward(self, slope: Tensor, /) -> Tensor:
        """The gradient (p,), valid until the next call."""
        self._slope.copy_(slope)
        self._back.replay()
        return self._into

    def agrees(self, inner: Pass, x: Tensor, /) -> bool:
        """Whether outputs and gradient are those of the way that was recorded, bit for bit."""
        output, gradient = inner.forward(x), torch.empty_like(self._into)
        inner.backward(output, gradient)
        return torch.equal(self.forward(x), output) and torch.equal(self.backward(output), gradient)
