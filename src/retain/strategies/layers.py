"""What heads answer by, as layers in place of the last linear one.

Shapes: n rows, d features, k outputs.
"""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from retain.core import Floats
from retain.errors import SettingError
from retain.scores import Scores

__all__ = ["Nearest", "Votes"]


@final
class Nearest(nn.Module):
    """Features (n, d) to -|f - m| (n, k), f the direction of a row's features, m that of a class.

    Args:
        means: (classes, d) directions; NaN for a class that has none.
        outputs: k; of classes without a direction the score is minus infinity.

    >>> Nearest(torch.tensor([[1.0, 0.0]]), outputs=2)(torch.tensor([[3.0, 0.0], [0.0, 2.0]]))
    tensor([[ 0.0000,    -inf],
            [-1.4142,    -inf]])
    """

    means: Tensor
    offset: Tensor

    def __init__(self, means: Tensor, /, *, outputs: int) -> None:
        super().__init__()
        wide = torch.full((outputs, means.shape[1]), torch.nan, dtype=means.dtype, device=means.device)
        wide[: len(means)] = means
        self.register_buffer("means", wide.nan_to_num())
        self.register_buffer("offset", torch.zeros_like(wide[:, 0]).masked_fill_(wide.isnan().any(1), -torch.inf))

    def forward(self, x: Tensor, /) -> Tensor:
        # By differences: see `retain.strategies.NearestMean.answer`.
        return self.offset - torch.linalg.vector_norm(functional.normalize(x).unsqueeze(1) - self.means, dim=2)


@final
class Votes(nn.Module):
    """Features (n, d) to the logarithms (n, k) of what scores and their link say of classes, up to a number for a row.

    Args:
        scores: of classes.
        outputs: k; that of classes beyond those of the scores is minus infinity.

    >>> votes = Votes(Scores(np.array([[1.0], [-1.0]]), np.zeros(2), "shares"), outputs=3)
    >>> votes(torch.tensor([[2.0], [0.0]])).softmax(1)
    tensor([[1.0000, 0.0000, 0.0000],
            [0.5000, 0.5000, 0.0000]])

    Raises:
        SettingError: scores that are no votes for classes, or are held within bounds.
    """

    weight: Tensor
    bias: Tensor
    alike: Tensor

    def __init__(self, scores: Scores, /, *, outputs: int) -> None:
        super().__init__()
        bounds = any(bound is not None for bound in (scores.low, scores.high, scores.reach))
        if bounds or not scores.classes:
            raise SettingError(
                f"scores {'within bounds' if bounds else 'of numbers'} cannot be written as a layer of votes; take a "
                "learner of classes such as SLDA, NearestMean, Ridge(balanced=True)"
            )
        self._link = scores.link
        weights, bias = scores.weights, scores.bias
        if scores.link == "odds":  # the softmax of 0 and s
            weights, bias = np.pad(weights, ((1, 0), (0, 0))), np.pad(bias, (1, 0))
        self.register_buffer("weight", _tall(weights, outputs))
        self.register_buffer("bias", _tall(bias, outputs, beyond=-np.inf))
        self.register_buffer("alike", _tall(np.ones(len(bias)), outputs))

    def forward(self, x: Tensor, /) -> Tensor:
        scores = functional.linear(x, self.weight, self.bias)
        if self._link == "rest":
            return functional.logsigmoid(scores)
        if self._link == "shares":
            votes = scores.relu()
            return torch.where(votes.sum(1, keepdim=True) > 0, votes, self.alike).log()
        return scores


def _tall(array: Floats, rows: int, *, beyond: float = 0.0) -> Tensor:
    """In float32, with so many rows."""
    tall = np.full((rows, *array.shape[1:]), beyond, dtype=np.float32)
    tall[: len(array)] = array
    return torch.from_numpy(tall)
