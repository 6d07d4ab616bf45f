"""Fewer units and channels: a smaller module of the same kind, which is faster wherever it runs and where it learns.

Shapes: n rows, c channels of a group, o outputs and i inputs of a layer, p trained weights before and q after.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from typing import final

import torch
from torch import Tensor, nn

from retain.compression.draft import Draft, Lessons, Step, end, ending
from retain.compression.lessons import some
from retain.compression.shape import fit
from retain.compression.tracing import Group, traced
from retain.errors import SettingError
from retain.learners.neural import Neural

__all__ = ["Shrink", "least", "worth"]

_ROWS = 1024  # by which units are judged


def worth(group: Group, layers: Mapping[str, nn.Module], activity: Mapping[str, Tensor], /) -> Tensor:
    """(c,) what channels give to the layers after them: mean squares of activity times those of the weights they meet.

    The expected square of what a layer would miss without one of them, were they independent.
    """
    total = torch.zeros(group.size, dtype=torch.float64)
    for path, channel in group.inputs:
        weight = layers[path].weight
        if not isinstance(weight, Tensor):
            continue
        square = weight.detach().double().square().transpose(0, 1).flatten(1).sum(1).cpu()
        total.index_add_(0, channel, square * activity[path])
    return total


def least(worth: Tensor, share: float, /, *, blocks: int) -> Tensor:
    """(c,) true for the channels that go: the least of each block, as many from each, and one at least stays."""
    each = worth.view(blocks, -1)
    count = min(round(share * each.shape[1]), each.shape[1] - 1)
    gone = torch.zeros_like(each, dtype=torch.bool)
    gone.scatter_(1, each.sort(dim=1, stable=True).indices[:, :count], value=True)
    return gone.flatten()


@final
class Shrink:
    """A step: takes a share of the units of every hidden layer, and of the channels of every convolution, out for good.

    Units that belong together (a convolution, its norm, the layers that read it) are found by tracing the module with a
    row. Of each group those go that give least to the layers after them, see `worth`, over rows of the lessons and of
    the learner's own memories. The answer's layer keeps its outputs. So do layers that several others add to: their
    width is that of the whole residual stream. Attention is left as it is; the wide layers between are cut.

    What follows from the shape follows: moments of the optimiser, penalties on weights, averages, teachers; see
    `rt.Neural.reshaped`.

    Args:
        share: of the units of each group, 0 < share < 1.
        recover: a step that teaches the smaller learner what the cut cost it, such as `Distil`.
        streams: also cut channels that several convolutions add to, as between the blocks of a ResNet.

    >>> import numpy as np, retain as rt
    >>> from retain.compression import Draft, Lessons
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(2000, 8)).astype(np.float32)
    >>> batch = rt.Batch(x, y=(x[:, 0] > 0).astype(int))
    >>> learner = rt.Neural(rt.neural.MLP(8, 32, 32, 2), batch_size=10)
    >>> said = learner.learn(batch)
    >>> small = Shrink(0.5)(Draft(learner), Lessons([batch], teacher=learner)).learner
    >>> small.module[1], learner.module[1]
    (Linear(in_features=8, out_features=16, bias=True), Linear(in_features=8, out_features=32, bias=True))
    >>> [f"{(one.predict(x).argmax(1) == batch.y).mean():.2f}" for one in (learner, small)]
    ['0.97', '0.88']

    Raises:
        SettingError: a share out of range; a learner that is no `rt.Neural`; a module that cannot be traced, in which
            nothing may be cut, or that does not work when it is.

    References:
        Fang et al. 2023, DepGraph. Judging units by activity and outgoing weights is common to Hu et al. 2016 (network
        trimming) and Sun et al. 2024 (Wanda), which judges single weights so.
    """

    def __init__(self, share: float, *, recover: Step | None = None, streams: bool = False) -> None:
        if not 0 < share < 1:
            raise SettingError(f"Shrink got share={share}; expected 0 < share < 1, the part of the units that goes")
        self._share, self._recover, self._streams = float(share), recover, streams

    @property
    def name(self) -> str:
        return f"shrink {self._share:.0%}"

    def __call__(self, draft: Draft, lessons: Lessons, /) -> Draft:
        learner = end(draft.learner, Neural, needs="Shrink cuts the module of an rt.Neural")
        rows = some(draft.learner, lessons, most=_ROWS)
        module, kept = shrunk(learner, rows, share=self._share, streams=self._streams)
        smaller = replace(draft, learner=ending(draft.learner, learner.reshaped(module, kept=kept)))
        return smaller if self._recover is None else self._recover(smaller, lessons)


def shrunk(learner: Neural, rows: Tensor, /, *, share: float, streams: bool) -> tuple[nn.Module, Tensor]:
    """The smaller module, and (q,) which of the trained weights each of its own was."""
    old = learner.module
    groups = traced(old, rows, head=learner.model.head, streams=streams)
    layers = dict(old.named_modules())
    activity = _activity(old, rows, [path for group in groups for path, _ in group.inputs])
    stays: dict[tuple[str, int], Tensor] = {}  # of a layer's outputs (0) and inputs (1), those that stay
    for group in groups:
        gone = least(worth(group, layers, activity), share, blocks=group.blocks)
        for side, parts in enumerate((group.outputs, group.inputs)):
            for path, channel in parts:
                stays[path, side] = (~gone[channel]).nonzero()[:, 0]
    module = deepcopy(old)
    index: dict[str, Tensor] = {}
    for path in {path for path, _ in stays}:
        layer = module.get_submodule(path)
        index |= {f"{path}.{name}": cut for name, cut in _cut(layer, stays.get((path, 0)), stays.get((path, 1)))}
        tensors = {**dict(layer.named_parameters(recurse=False)), **dict(layer.named_buffers(recurse=False))}
        smaller = {n: t.detach().flatten()[index[f"{path}.{n}"].to(t.device)] for n, t in tensors.items() if t.ndim}
        fit(layer, smaller)
    _check(learner, module, rows)
    numbers: list[Tensor] = []
    start = 0
    for name, p in old.named_parameters():
        if p.requires_grad:
            numbers.append(start + index.get(name, torch.arange(p.numel())).flatten())
            start += p.numel()
    return module, torch.cat(numbers)


def _cut(layer: nn.Module, outputs: Tensor | None, inputs: Tensor | None) -> Iterator[tuple[str, Tensor]]:
    """Of each parameter and buffer of a layer, which of its numbers stay, in the shape that it gets."""
    for name, tensor in [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]:
        if tensor.ndim:
            number = torch.arange(tensor.numel()).view(tensor.shape)
            if outputs is not None:
                number = number[outputs]
            yield name, number if inputs is None or name != "weight" else number[:, inputs]


def _activity(module: nn.Module, rows: Tensor, paths: Sequence[str]) -> dict[str, Tensor]:
    """(i,) for each layer the mean square of what it is given, in evaluation mode."""
    found: dict[str, Tensor] = {}

    def watch(path: str, layer: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def look(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            square = given[0].detach().double().square()
            channel = square.ndim - 1 if isinstance(layer, nn.Linear) else 1
            found[path] = square.transpose(0, channel).flatten(1).mean(1).cpu()

        return layer.register_forward_pre_hook(look)

    with _evaluating(module), torch.no_grad():
        handles = [watch(path, module.get_submodule(path)) for path in dict.fromkeys(paths)]
        try:
            module(rows)
        finally:
            for handle in handles:
                handle.remove()
    return found


def _check(learner: Neural, module: nn.Module, rows: Tensor) -> None:
    """Try the smaller module on a row. Raises SettingError where it fails, or says something of another shape."""
    with _evaluating(module), _evaluating(learner.module), torch.no_grad():
        expected = learner.module(rows[:1]).shape
        try:
            said = module(rows[:1]).shape
        except Exception as error:  # whatever the module raises
            first = (str(error).splitlines() or [""])[0]
            raise SettingError(
                f"with fewer units the module fails ({first}): its code counts on a width; keep its shape, or write "
                "the width as -1"
            ) from error
    if said != expected:
        raise SettingError(f"with fewer units the module answers with shape {tuple(said)}; expected {tuple(expected)}")


@contextmanager
def _evaluating(module: nn.Module) -> Generator[None]:
    """Evaluation mode, and every part in the mode that it was in afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
