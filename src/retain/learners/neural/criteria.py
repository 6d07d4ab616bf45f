"""What a neural learner makes small: one loss for each row, as a function of the module's outputs.

Shapes: n rows, k outputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, final

import torch
from torch import Tensor
from torch.nn import functional

from retain.errors import SettingError

__all__ = ["ACE", "Criterion", "CrossEntropy", "Huber", "Squared"]


class Criterion(ABC):
    """One loss for each row; a criterion of your own needs `classes` and `losses` only."""

    classes: ClassVar[bool]  # whether y holds class codes, and outputs are logits; else y holds numbers
    unseen: bool = False  # whether outputs that stand for no class yet compete in training too

    @abstractmethod
    def losses(self, output: Tensor, y: Tensor, /) -> Tensor:
        """One loss (n,) for each row, from outputs (n, k) and y: (n,) codes below k, or (n, k) numbers."""

    def incoming(self, output: Tensor, y: Tensor, /) -> Tensor:
        """The loss of rows that are new, where it differs from that of rows replayed."""
        return self.losses(output, y)

    def slope(self, output: Tensor, y: Tensor, weight: Tensor, /, *, incoming: bool) -> tuple[Tensor, Tensor]:
        """The mean over rows, new ones if `incoming`, of weight times loss, and its gradient by the outputs (n, k)."""
        leaf = output.detach().requires_grad_()
        with torch.enable_grad():
            loss = (weight * (self.incoming if incoming else self.losses)(leaf, y)).mean()
            (slope,) = torch.autograd.grad(loss, leaf)
        return loss.detach(), slope


@final
class CrossEntropy(Criterion):
    """-log p(y), p the softmax of the outputs; part of the label may be spread over all classes.

    Args:
        smoothing: the part of the label that is spread evenly.
        unseen: let outputs that stand for no class yet compete too, in training: they are pushed down. What the module
            says of a row then tells of classes to come as well, by which `retain.strategies.DER` keeps old rows apart
            from those. Of use where a module has as many outputs from the start as there will be classes.

    >>> import torch
    >>> CrossEntropy().losses(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))  # log 2
    tensor([0.6931])
    """

    classes = True

    def __init__(self, *, smoothing: float = 0.0, unseen: bool = False) -> None:
        if not 0 <= smoothing < 1:
            raise SettingError(f"CrossEntropy got smoothing={smoothing}; expected 0 <= smoothing < 1")
        self._smoothing, self.unseen = smoothing, unseen

    def losses(self, output: Tensor, y: Tensor, /) -> Tensor:
        return functional.cross_entropy(output, y, reduction="none", label_smoothing=self._smoothing)

    def slope(self, output: Tensor, y: Tensor, weight: Tensor, /, *, incoming: bool) -> tuple[Tensor, Tensor]:  # noqa: ARG002 - the same for all
        return _cross_entropy(output, y, weight, smoothing=self._smoothing)


@final
class ACE(Criterion):
    """Asymmetric cross-entropy (ER-ACE): new rows compete with the classes of their own mini-batch only.

    Old classes are then not pushed down just because their rows do not come any more; replay, which sees all classes,
    keeps them in order. Use it beside `retain.strategies.Replay`.

    References:
        Caccia et al. 2022, New insights on reducing abrupt representation change in online continual learning.
    """

    classes = True

    def losses(self, output: Tensor, y: Tensor, /) -> Tensor:
        return functional.cross_entropy(output, y, reduction="none")

    def incoming(self, output: Tensor, y: Tensor, /) -> Tensor:
        return functional.cross_entropy(_present(output, y), y, reduction="none")

    def slope(self, output: Tensor, y: Tensor, weight: Tensor, /, *, incoming: bool) -> tuple[Tensor, Tensor]:
        return _cross_entropy(_present(output, y) if incoming else output, y, weight)


@final
class Squared(Criterion):
    """(output - y)^2, the mean over the outputs of a row."""

    classes = False

    def losses(self, output: Tensor, y: Tensor, /) -> Tensor:
        return (output - y).square().mean(1)


@final
class Huber(Criterion):
    """Squared where the error is below `delta`, linear beyond: outliers pull no harder than that (Huber 1964)."""

    classes = False

    def __init__(self, delta: float = 1.0) -> None:
        if not delta > 0:
            raise SettingError(f"Huber got delta={delta}; expected a number > 0")
        self._delta = delta

    def losses(self, output: Tensor, y: Tensor, /) -> Tensor:
        return functional.huber_loss(output, y, reduction="none", delta=self._delta).mean(1)


def _present(output: Tensor, y: Tensor) -> Tensor:
    """Outputs (n, k), minus infinity for the classes that none of the labels (n,) is of."""
    absent = torch.ones(output.shape[1], dtype=torch.bool, device=output.device)
    absent[y] = False
    return output.masked_fill(absent, -torch.inf)


def _cross_entropy(output: Tensor, y: Tensor, weight: Tensor, *, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """The mean of weight times cross-entropy, and its gradient by the outputs, which is 0 where these are -infinity.

    By hand: at ten rows a step, a graph of five nodes takes longer than the sums that it stands for.
    """
    n, k = output.shape
    log = torch.log_softmax(output, 1)
    label = y[:, None]
    told = log.gather(1, label)[:, 0]
    if smoothing:
        told = (1 - smoothing) * told + smoothing * log.mean(1)
    slope = log.exp_()
    slope.scatter_add_(1, label, slope.new_full((n, 1), smoothing - 1))
    if smoothing:
        slope.sub_(smoothing / k)
    share = weight / n
    return -share.dot(told), slope.mul_(share[:, None])
