"""All trained parameters of a module in one flat vector, and a last layer that grows.

Shapes: p parameters, k outputs of the last linear layer, d inputs of it.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, final

import torch
from torch import Tensor, nn

from retain.errors import SettingError

__all__ = ["Weights", "padded"]


@final
class Weights:
    """The parameters that are trained, laid end to end: the module's own become views of `flat`.

    Their gradients become views of `gradient`. What is done to all of them is then one operation: a penalty, a
    projection, an average. Parameters stay the objects that they are, so an optimiser built for them stays valid, also
    after the head has grown.

    Raises:
        SettingError: nothing to train, or parameters of several types or devices.
    """

    def __init__(self, module: nn.Module) -> None:
        named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        if not named:
            raise SettingError("the module has no parameter that is trained; give one with requires_grad=True")
        kinds = {(p.dtype, p.device) for _, p in named}
        if len(kinds) > 1:
            raise SettingError(
                f"the module's parameters are of several kinds, {sorted(map(str, kinds))}; expected one type on one "
                "device: call module.to(...) first"
            )
        self.names = tuple(name for name, _ in named)
        self.parameters = tuple(p for _, p in named)
        self.head = _head(module)
        self.flat = torch.cat([p.detach().reshape(-1) for p in self.parameters])
        self._bind()

    def _bind(self) -> None:
        """Make parameters and their gradients views of the two vectors."""
        self.gradient = torch.zeros_like(self.flat)
        shapes = [p.shape for p in self.parameters]
        self._values, self._slopes = _cut(self.flat, shapes), _cut(self.gradient, shapes)
        for p, value, slope in zip(self.parameters, self._values, self._slopes, strict=True):
            p.data = value
            p.grad = slope

    def __deepcopy__(self, memo: dict[int, Any]) -> Weights:
        """A copy whose vector is, again, where its parameters live: torch copies each of them on its own."""
        other = object.__new__(Weights)
        memo[id(self)] = other
        other.names = self.names
        other.parameters = tuple(deepcopy(p, memo) for p in self.parameters)
        other.head = deepcopy(self.head, memo)
        other.flat = self.flat.clone()
        other._bind()
        other.gradient.copy_(self.gradient)
        return other

    def views(self, vector: Tensor, /) -> tuple[Tensor, ...]:
        """A vector (p,) cut into pieces of the shapes of the parameters."""
        # Every step asks for these two; to cut them anew takes as long as a product of ten rows.
        if vector is self.flat:
            return self._values
        if vector is self.gradient:
            return self._slopes
        return _cut(vector, [p.shape for p in self.parameters])

    def named(self, vector: Tensor, /) -> dict[str, Tensor]:
        """As `views`, by the names of the parameters."""
        return dict(zip(self.names, self.views(vector), strict=True))

    @property
    def version(self) -> int:
        """A number that grows whenever torch changes weights in place, be it by the vector or by the parameters."""
        tensors = (self.flat, *self.parameters)  # a parameter's storage is the vector's, its count is not
        return sum(tensor._version for tensor in tensors)  # noqa: SLF001 - there is no public way to ask

    @property
    def outputs(self) -> int | None:
        """How many outputs the last linear layer has; None where the module has no linear layer."""
        return None if self.head is None else self.head.out_features

    def resize(self, outputs: int, /) -> None:
        """Give the last linear layer so many outputs: those that stay say what they said, new ones begin at zero."""
        if self.head is None or outputs == self.head.out_features:
            return
        for p in self._own():
            p.grad = None
            p.data = padded(p.detach(), outputs)
        self.head.out_features = outputs
        self.flat = torch.cat([p.detach().reshape(-1) for p in self.parameters])
        self._bind()

    def _own(self) -> list[nn.Parameter]:
        """The parameters of the last linear layer that are trained."""
        own = {id(p) for p in self.head.parameters()} if self.head is not None else set[int]()
        return [p for p in self.parameters if id(p) in own]

    def fits(self, other: Weights, /) -> bool:
        """Whether `widen` makes the other's vector one over these weights: the same layers, of no more outputs."""
        own = {id(p) for p in self._own()}
        pairs = list(zip(self.parameters, other.parameters, strict=False))
        return len(self.parameters) == len(other.parameters) and all(
            p.shape[1:] == q.shape[1:] and (len(q) <= len(p) if id(p) in own else len(q) == len(p)) for p, q in pairs
        )

    def widen(self, vector: Tensor, /) -> Tensor:
        """A vector over the weights as they once were, over the weights as they are: zeros where the head grew."""
        if len(vector) == len(self.flat) or self.head is None:
            return vector
        own = {id(p) for p in self._own()}
        rest = sum(p.numel() for p in self.parameters if id(p) not in own)
        each = sum(p.numel() for p in self.parameters if id(p) in own) // self.head.out_features
        before = (len(vector) - rest) // each
        shapes = [torch.Size((before, *p.shape[1:])) if id(p) in own else p.shape for p in self.parameters]
        pieces = zip(self.parameters, _cut(vector, shapes), strict=True)
        return torch.cat([(padded(v, len(p)) if id(p) in own else v).reshape(-1) for p, v in pieces])


def _cut(vector: Tensor, shapes: list[torch.Size]) -> tuple[Tensor, ...]:
    pieces = torch.split(vector, [shape.numel() for shape in shapes])
    return tuple(piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True))


def padded(tensor: Tensor, rows: int, /) -> Tensor:
    """The first rows of a tensor, with rows of zeros after them where there are too few."""
    wide = tensor.new_zeros((rows, *tensor.shape[1:]))
    wide[: min(rows, len(tensor))] = tensor[:rows]
    return wide


def _head(module: nn.Module) -> nn.Linear | None:
    linear = [part for part in module.modules() if isinstance(part, nn.Linear)]
    return linear[-1] if linear else None
