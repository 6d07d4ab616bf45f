"""Low rank: one layer becomes two narrower ones, where that saves work.

Shapes: i inputs, o outputs, r rank, k places of a kernel.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import final

import torch
from torch import Tensor, nn

from retain.compression.draft import Draft, Lessons, Step, end, ending
from retain.compression.shape import Layer, factors, put
from retain.errors import SettingError
from retain.learners.neural import Neural

__all__ = ["LowRank", "halves"]


def halves(weight: Tensor, rank: int, /) -> tuple[Tensor, Tensor]:
    """(r, i k) and (o, r), whose product is the nearest to a weight (o, i, ...) that a rank allows.

    Eckart and Young 1936: the largest singular values. Their roots go to either side, so that both learn alike.

    >>> weight = torch.outer(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))
    >>> first, second = halves(weight, 1)
    >>> second @ first
    tensor([[3.0000, 4.0000],
            [6.0000, 8.0000]])
    """
    u, s, v = torch.linalg.svd(weight.detach().flatten(1).double(), full_matrices=False)
    root = s[:rank].sqrt()
    return (root[:, None] * v[:rank]).to(weight.dtype), (u[:, :rank] * root).to(weight.dtype)


@final
class LowRank:
    """A step: linear layers and convolutions become pairs of rank r, wherever a pair takes fewer multiply-adds.

    A layer of i inputs, o outputs and k places of a kernel takes i k o of them at every place, its pair r (i k + o).
    Layers of which no rank below the full one saves any, as the small last layer of a classifier, stay as they are; so
    do convolutions in groups, and both layers of a pair.

    Args:
        share: of the multiply-adds that goes at least, in each layer that becomes two: r is the largest rank for it.
        recover: a step that teaches the learner what this cost it, such as `Distil`.

    >>> import numpy as np, retain as rt
    >>> from retain.compression import Draft, Lessons
    >>> learner = rt.Neural(rt.neural.MLP(64, 64, 10))
    >>> batch = rt.Batch(np.zeros((1, 64)), y=np.zeros(1, dtype=int))
    >>> LowRank(0.5)(Draft(learner), Lessons([batch], teacher=learner)).learner.module[1]
    Sequential(
      (0): Linear(in_features=64, out_features=16, bias=False)
      (1): Linear(in_features=16, out_features=64, bias=True)
    )

    Raises:
        SettingError: a share out of range, a learner that is no `rt.Neural`, a module without a layer that it helps.

    References:
        Denton et al. 2014, Exploiting linear structure within convolutional networks; Jaderberg et al. 2014.
    """

    def __init__(self, share: float, *, recover: Step | None = None) -> None:
        if not 0 < share < 1:
            raise SettingError(f"LowRank got share={share}; expected 0 < share < 1, the part of the work that goes")
        self._share, self._recover = float(share), recover

    @property
    def name(self) -> str:
        return f"low rank {self._share:.0%}"

    def __call__(self, draft: Draft, lessons: Lessons, /) -> Draft:
        learner = end(draft.learner, Neural, needs="LowRank factors the module of an rt.Neural")
        module, kept = self._factored(learner)
        smaller = replace(draft, learner=ending(draft.learner, learner.reshaped(module, kept=kept)))
        return smaller if self._recover is None else self._recover(smaller, lessons)

    def _factored(self, learner: Neural) -> tuple[nn.Module, Tensor]:
        """The module with pairs in it, and (q,) which of the weights each of its own was: none, in a pair."""
        module = deepcopy(learner.module)
        head = learner.model.head
        last = next((path for path, part in learner.module.named_modules() if part is head), None)
        done = 0
        for path, layer in list(module.named_modules()):
            if not isinstance(layer, Layer) or path == last or not self._whole(module, path, layer):
                continue
            rank = self._rank(layer)
            if rank:
                pair = factors(layer, rank)
                first, second = halves(layer.weight, rank)
                with torch.no_grad():
                    pair.get_parameter("0.weight").copy_(first.view_as(pair.get_parameter("0.weight")))
                    pair.get_parameter("1.weight").copy_(second.view_as(pair.get_parameter("1.weight")))
                    if layer.bias is not None:
                        pair.get_parameter("1.bias").copy_(layer.bias)
                module = put(module, path, pair)
                done += 1
        if not done:
            raise SettingError(
                f"no layer of the module takes {self._share:.0%} fewer multiply-adds as a pair; give a smaller share, "
                "or take Shrink"
            )
        return module, _kept(learner.module, module)

    def _whole(self, module: nn.Module, path: str, layer: Layer) -> bool:
        """Whether a layer is one that a rank may be taken of: in no groups, and no half of a pair."""
        if not isinstance(layer, nn.Linear) and layer.groups > 1:
            return False
        if type(layer) not in (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d):
            return False  # others know their weights by name
        around = module.get_submodule(path.rpartition(".")[0])
        parts = list(around.children())
        pair = type(around) is nn.Sequential and len(parts) == 2 and all(isinstance(p, Layer) for p in parts)
        return not (pair and "bias" not in dict(parts[0].named_parameters()))

    def _rank(self, layer: Layer) -> int:
        """The largest rank that saves the share; 0 where none does."""
        outputs, inputs = len(layer.weight), layer.weight[0].numel()
        rank = int((1 - self._share) * inputs * outputs / (inputs + outputs))
        return min(rank, min(inputs, outputs) - 1)


def _kept(before: nn.Module, after: nn.Module) -> Tensor:
    starts: dict[str, int] = {}
    count = 0
    for name, p in before.named_parameters():
        if p.requires_grad:
            starts[name] = count
            count += p.numel()
    numbers: list[Tensor] = []
    for name, p in after.named_parameters():
        if p.requires_grad:
            path, _, own = name.rpartition(".")
            origin = name if name in starts else f"{path.removesuffix('.1')}.{own}" if own == "bias" else ""
            old = starts.get(origin)
            numbers.append(torch.full((p.numel(),), -1) if old is None else old + torch.arange(p.numel()))
    return torch.cat(numbers)
