"""Nets that the tests of compression share, and the rows that they learn."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

import retain as rt
from retain.compression.session import parsed


@dataclass(frozen=True)
class Case:
    """A net that has learnt, the same net blank, and rows that it has not seen."""

    learner: rt.Neural
    blank: rt.Neural
    rows: rt.Batch
    exported: bytes

    def graph(self):
        return parsed(self.exported)


class Residual(nn.Module):
    """What a ResNet is made of, once."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm1 = nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32)
        self.second, self.norm2 = nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32)
        self.head = nn.Linear(32, 3)

    def forward(self, x):
        x = torch.relu(self.norm1(self.first(x)))
        return self.head(torch.relu(x + self.norm2(self.second(x))).mean((2, 3)))


def rows(n: int, *, seed: int = 0, columns: int = 32, classes: int = 4) -> rt.Batch:
    rng = np.random.default_rng(seed)
    middle = np.random.default_rng(99).normal(size=(classes, columns))
    y = rng.integers(classes, size=n)
    x = (middle[y] + 1.5 * rng.normal(size=(n, columns))).astype(np.float32)
    return rt.Batch(x, y=y, task=y // 2)


def net() -> rt.Neural:
    return rt.Neural(rt.neural.MLP(32, 96, 96, 4))
