"""Ready modules, so that nothing else is needed to start; any `torch.nn.Module` of yours does as well."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TypeVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from retain.errors import SettingError

__all__ = ["GRU", "MLP", "ConvNet", "ResNet18"]

_Module = TypeVar("_Module", bound=nn.Module)


def _seeded(make: Callable[[], _Module], seed: int) -> _Module:
    """Torch draws first weights from its global generator; it is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def MLP(*widths: int, seed: int = 0) -> nn.Sequential:  # noqa: N802 - read as the name of what it makes
    """Linear layers with ReLU between them: `MLP(784, 400, 400, 10)`. Rows of any shape are flattened.

    >>> MLP(4, 8, 2)(torch.zeros(3, 2, 2)).shape
    torch.Size([3, 2])

    Raises:
        SettingError: fewer than two widths.
    """
    if len(widths) < 2:
        raise SettingError(f"MLP got the widths {widths}; expected at least inputs and outputs, as in MLP(784, 10)")

    def make() -> nn.Sequential:
        layers: list[nn.Module] = [nn.Flatten()]
        for a, b in pairwise(widths):
            layers += [nn.Linear(a, b), nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    return _seeded(make, seed)


def ConvNet(channels: int, outputs: int, *, width: int = 32, seed: int = 0) -> nn.Sequential:  # noqa: N802 - as above
    """A small convolutional net for images (n, channels, h, w), from 8 x 8 on: three blocks, then the mean over places.

    A block is a convolution, group norm, ReLU and pooling.

    Group norm (Wu, He 2018) and not batch norm: statistics of a batch mix what is new with what is replayed, and what
    the module says of a row would depend on its neighbours.

    >>> ConvNet(3, 10)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def make() -> nn.Sequential:
        layers: list[nn.Module] = []
        for a, b in pairwise((channels, width, 2 * width, 4 * width)):
            layers += [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.GroupNorm(8, b), nn.ReLU(), nn.MaxPool2d(2)]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, outputs))

    return _seeded(make, seed)


@final
class _Block(nn.Module):
    """Two convolutions and a way around them (He et al. 2016)."""

    def __init__(self, a: int, b: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(a, b, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(b)
        self.conv2 = nn.Conv2d(b, b, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(b)
        around = [nn.Conv2d(a, b, 1, stride=stride, bias=False), nn.BatchNorm2d(b)]
        self.around = nn.Sequential(*(around if stride != 1 or a != b else []))

    def forward(self, x: Tensor) -> Tensor:
        inner = self.norm2(self.conv2(functional.relu(self.norm1(self.conv1(x)))))
        return functional.relu(inner + self.around(x))


def ResNet18(outputs: int, *, channels: int = 3, width: int = 64, seed: int = 0) -> nn.Sequential:  # noqa: N802 - as above
    """The residual net of 18 layers for 32 x 32 images: no pooling before the blocks (He et al. 2016).

    >>> ResNet18(10, width=8)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def make() -> nn.Sequential:
        first = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        layers: list[nn.Module] = [first, nn.BatchNorm2d(width), nn.ReLU()]
        a = width
        for b, stride in ((width, 1), (2 * width, 2), (4 * width, 2), (8 * width, 2)):
            layers += [_Block(a, b, stride), _Block(b, b, 1)]
            a = b
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(a, outputs))

    return _seeded(make, seed)


@final
class _GRU(nn.Module):
    def __init__(self, inputs: int, hidden: int, outputs: int, layers: int) -> None:
        super().__init__()
        self.gru = nn.GRU(inputs, hidden, num_layers=layers, batch_first=True)
        self.head = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.gru(x)[0][:, -1])


def GRU(inputs: int, outputs: int, *, hidden: int = 64, layers: int = 1, seed: int = 0) -> nn.Module:  # noqa: N802 - as above
    """A gated recurrent net for sequences (n, steps, inputs): answers from its state after the last step (Cho 2014).

    >>> GRU(3, 2)(torch.zeros(5, 7, 3)).shape
    torch.Size([5, 2])
    """
    return _seeded(lambda: _GRU(inputs, hidden, outputs, layers), seed)
