"""How a module is gone through forwards and backwards: by autograd, or by hand where it is a plain chain of layers.

Shapes: n rows, k outputs, p parameters. `Chain` below does what autograd does, with the same kernels in the same order,
writes gradients where they are wanted instead of adding them up there, and keeps no graph: with ten rows a step that is
half of the time.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap

from retain.learners.neural.weights import Weights

__all__ = ["Autograd", "Layers", "Pass", "passes"]

_MOST_NUMBERS = 1 << 25  # in gradients of single rows that are held at a time


class Pass(ABC):
    """One way through a module. Outputs are (n, k) in float32, without a graph that anyone else may see."""

    @abstractmethod
    def forward(self, x: Tensor, /) -> Tensor:
        """The outputs, remembering what `backward` needs."""

    @abstractmethod
    def backward(self, slope: Tensor, into: Tensor, /) -> float:
        """From the loss's gradient by the outputs of the last `forward` (n, k), that by the weights, written (p,).

        Returns a number that its squared length does not exceed; infinity where none is at hand.
        """

    @abstractmethod
    def outputs(self, x: Tensor, weights: Tensor, /) -> Tensor:
        """The outputs, with these weights (p,), remembering nothing."""

    @abstractmethod
    def features(self, x: Tensor, weights: Tensor, /) -> Tensor:
        """What the last linear layer is given, (n, d)."""

    @abstractmethod
    def magnitudes(self, x: Tensor, slope: Tensor, /, *, power: int) -> Tensor:
        """The sum over rows of |gradient of the row's outputs times its slope (n, k)|^power, (p,)."""


def passes(module: nn.Module, weights: Weights, /, *, compiled: bool) -> Pass:
    """By hand where the module allows it, else by autograd, through `torch.compile` if so wished."""
    layers = _plain(module)
    if layers is not None and weights.flat.dtype is torch.float32 and not compiled:
        return Layers(layers, weights)
    return Autograd(module, weights, compiled=compiled)


@final
class Autograd(Pass):
    """Any module."""

    def __init__(self, module: nn.Module, weights: Weights, /, *, compiled: bool) -> None:
        self._module, self._weights = module, weights
        self._call = torch.compile(module) if compiled else module
        # A recurrent layer is one kernel for all rows and steps, into which vmap cannot look.
        self._opaque = any(isinstance(part, nn.RNNBase) for part in module.modules())
        self._output = torch.empty(0)

    def forward(self, x: Tensor, /) -> Tensor:
        with torch.enable_grad():
            self._output = _rows(self._call(x))
        return self._output.detach().float()

    def backward(self, slope: Tensor, into: Tensor, /) -> float:
        parameters = self._weights.parameters
        output, self._output = self._output, torch.empty(0)
        slopes = torch.autograd.grad(output, parameters, slope.to(output.dtype), materialize_grads=True)
        torch.cat([piece.reshape(-1) for piece in slopes], out=into)
        return math.inf

    @torch.no_grad()
    def outputs(self, x: Tensor, weights: Tensor, /) -> Tensor:
        if weights is self._weights.flat:
            return _rows(self._call(x)).float()
        return _rows(functional_call(self._module, self._weights.named(weights), (x,))).float()

    @torch.no_grad()
    def features(self, x: Tensor, weights: Tensor, /) -> Tensor:
        seen: list[Tensor] = []
        head = self._weights.head
        if head is None:
            return _rows(functional_call(self._module, self._weights.named(weights), (x,)))
        handle = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            functional_call(self._module, self._weights.named(weights), (x,))
        finally:
            handle.remove()
        return seen[-1].flatten(1)

    @torch.no_grad()
    def magnitudes(self, x: Tensor, slope: Tensor, /, *, power: int) -> Tensor:
        total = torch.zeros_like(self._weights.flat)
        most = max(_MOST_NUMBERS // len(total), 1)
        for some, theirs in zip(x.split(most), slope.to(total.dtype).split(most), strict=True):
            total += self._gradients(some, theirs).abs_().pow_(power).sum(0)
        return total

    def _gradients(self, x: Tensor, slope: Tensor) -> Tensor:
        """The gradient of each row's outputs times its slope, (n, p)."""
        own = [p.detach() for p in self._weights.parameters]

        def gradient(row: Tensor, times: Tensor) -> Tensor:
            def output(*parameters: Tensor) -> Tensor:
                named = dict(zip(self._weights.names, parameters, strict=True))
                return _rows(functional_call(self._module, named, (row[None],)))[0]

            return torch.cat([piece.reshape(-1) for piece in vjp(output, *own)[1](times)])

        if self._opaque:
            return torch.stack([gradient(row, times) for row, times in zip(x, slope, strict=True)])
        return vmap(gradient)(x, slope)


@final
class Layers(Pass):
    """Linear layers with ReLU or tanh between them; pieces of the flat vector ask for no graph, unlike parameters."""

    def __init__(self, layers: Sequence[tuple[nn.Linear, str]], weights: Weights, /) -> None:
        self._weights = weights
        self._rules = tuple(rule for _, rule in layers)
        self._biased = tuple("bias" in dict(layer.named_parameters()) for layer, _ in layers)
        self._inputs: list[Tensor] = []
        self._width = sum(
            layer.in_features + layer.out_features for layer, _ in layers
        )  # about how many numbers a row becomes

    def _pieces(self, vector: Tensor) -> list[tuple[Tensor, Tensor | None]]:
        views = iter(self._weights.views(vector))
        return [(next(views), next(views) if biased else None) for biased in self._biased]

    def forward(self, x: Tensor, /) -> Tensor:
        self._inputs = []
        return self._through(x, self._weights.flat, keep=True)

    def backward(self, slope: Tensor, into: Tensor, /) -> float:
        return self._back(slope, into, lambda part: part)

    def magnitudes(self, x: Tensor, slope: Tensor, /, *, power: int) -> Tensor:
        self.forward(x)
        total = torch.empty_like(self._weights.flat)
        # A row's gradient by a layer is the outer product of its slope and its input, and so is any power of it.
        self._back(slope, total, lambda part: part.abs().pow_(power))
        return total

    def _back(self, slope: Tensor, into: Tensor, each: Callable[[Tensor], Tensor]) -> float:
        """Sums over rows of the outer products of slopes and inputs, both as `each` makes them, written (p,).

        Returns as `backward`: a sum of outer products is no longer than the lengths of both sides multiplied.
        """
        own, sums = self._pieces(self._weights.flat), self._pieces(into)
        # Lengths of both sides, where these are far fewer numbers than the gradient, and need not be waited for.
        short = into.device.type == "cpu" and 4 * len(slope) * self._width < len(into)
        ceiling = 0.0 if short else math.inf
        for i in reversed(range(len(own))):
            a = self._inputs[i]
            (weight, _), (by_weight, by_bias) = own[i], sums[i]
            made, given = each(slope), each(a)
            torch.mm(made.t(), given, out=by_weight)
            if short:
                ceiling += _square(made) * (_square(given) + len(made))
            if by_bias is not None:
                torch.sum(made, 0, out=by_bias)
            if i:
                slope = torch.mm(slope, weight)
                if self._rules[i - 1] == "relu":
                    torch.ops.aten.threshold_backward.grad_input(slope, a, 0, grad_input=slope)
                elif self._rules[i - 1] == "tanh":
                    torch.ops.aten.tanh_backward.grad_input(slope, a, grad_input=slope)
        self._inputs = []
        return ceiling

    def outputs(self, x: Tensor, weights: Tensor, /) -> Tensor:
        return self._through(x, weights, keep=False)

    def features(self, x: Tensor, weights: Tensor, /) -> Tensor:
        return self._through(x, weights, keep=False, last=False)

    def _through(self, x: Tensor, weights: Tensor, *, keep: bool, last: bool = True) -> Tensor:
        a = x.flatten(1)
        pieces = self._pieces(weights)
        for (weight, bias), rule in zip(pieces if last else pieces[:-1], self._rules, strict=False):
            if keep:
                self._inputs.append(a)
            a = nn.functional.linear(a, weight, bias)
            if rule == "relu":
                a = a.relu_()
            elif rule == "tanh":
                a = a.tanh_()
        return a


def _square(tensor: Tensor) -> float:
    """The sum of squares."""
    long = tensor.reshape(-1)
    return long.dot(long).item()


def _rows(output: Tensor) -> Tensor:
    return output[:, None] if output.ndim == 1 else output


def _plain(module: nn.Module) -> list[tuple[nn.Linear, str]] | None:
    """The linear layers of a chain and what follows each; None where something else is in it."""
    if type(module) is not nn.Sequential:
        return None
    layers: list[tuple[nn.Linear, str]] = []
    for i, part in enumerate(_flat(module)):
        if _hooked(part) or any(not p.requires_grad for p in part.parameters()):
            return None
        if type(part) is nn.Linear:
            layers.append((part, ""))
        elif type(part) in (nn.ReLU, nn.Tanh) and layers and not layers[-1][1]:
            layers[-1] = layers[-1][0], "relu" if type(part) is nn.ReLU else "tanh"
        elif type(part) is nn.Flatten and i == 0 and (part.start_dim, part.end_dim) == (1, -1):
            continue
        else:
            return None
    # The last layer's outputs are the answer: what is done to them belongs to the criterion.
    return layers if layers and not layers[-1][1] and len({id(layer) for layer, _ in layers}) == len(layers) else None


def _flat(module: nn.Sequential) -> list[nn.Module]:
    """The parts of a chain, and of chains in it, in their order; a chain that someone listens to stays one part."""
    if _hooked(module):
        return [module]
    parts = (_flat(part) if type(part) is nn.Sequential else [part] for part in module)
    return [one for some in parts for one in some]


def _hooked(module: nn.Module) -> bool:
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(module, name) for name in hooks)  # there is no public way to ask
