"""Which channels of which layers belong together, so that one can be taken out of all of them at once.

What depends on what is traced by Torch-Pruning (Fang et al. 2023, DepGraph: towards any structural pruning), and
nothing else is left to it: it would cut the width of a transformer's residual stream, of attention heads in the middle,
or of anything it once took for element-wise, without a word. Here a group is cut only if every layer and operation in
it is one of those below, which treat each channel by itself or are known to follow.
"""

from __future__ import annotations

import math
import re
import warnings
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from retain.errors import MissingExtraError, SettingError

__all__ = ["Group", "traced"]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm, nn.LayerNorm, nn.PReLU)
_PLAIN = re.compile(  # names of autograd's nodes
    "(T|Addmm|Mm|Clone|NativeDropout|Mean|.*Pool.*|Threshold|Hardtanh|Hardswish|Hardsigmoid|.*Relu|.*Elu|Gelu|Silu|Mish|"
    "Tanh|Sigmoid|Softplus|Convolution|Squeeze)Backward[0-9]*"
)
_ADDING = re.compile("AddBackward[0-9]*")


@final
@dataclass(frozen=True, slots=True)
class Group:
    """Channels that can be taken out, and where each of them is found."""

    size: int  # channels
    blocks: int  # equal stretches of channels that must stay equally long (groups of a group norm)
    makers: tuple[str, ...]  # paths of the layers that make the channels
    outputs: tuple[tuple[str, Tensor], ...]  # (layer, (o,) which channel is in each place of its outputs)
    inputs: tuple[tuple[str, Tensor], ...]  # (layer, (i,) which channel is in each place of its inputs)


def traced(module: nn.Module, rows: Tensor, /, *, head: nn.Module | None, streams: bool) -> tuple[Group, ...]:
    """The groups of channels that may be cut, by a way through the module with a row.

    Args:
        module: is not changed.
        rows: the first is what the module is traced with.
        head: the layer whose outputs are the answer.
        streams: whether channels that several convolutions add to may go too.

    Raises:
        SettingError: a module that cannot be traced, or in which nothing may be cut.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import torch_pruning
    except ModuleNotFoundError as error:
        raise MissingExtraError("layers are cut with torch-pruning: pip install 'retain[deploy]'") from error
    double = deepcopy(module).eval().requires_grad_()
    path = {part: name for name, part in double.named_modules()}
    ignored = [part for part, name in path.items() if head is not None and name == _path(module, head)]
    try:
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")  # it prints what it takes parameters for that are of no layer
            graph = torch_pruning.DependencyGraph().build_dependency(double, example_inputs=rows[:1])
            found = list(graph.get_all_groups(ignored_layers=ignored))
    except Exception as error:  # whatever the module, or what goes through it, raises
        first = (str(error).splitlines() or [""])[0]
        raise SettingError(
            f"the module cannot be traced ({type(error).__name__}: {first}); give one that is made of torch's layers, "
            "or keep its shape and make its numbers smaller"
        ) from error
    groups: list[Group] = []
    kept: list[str] = []
    for items in found:
        group = _group(items, path, streams=streams)
        if isinstance(group, Group):
            groups.append(group)
        else:
            kept.append(group)
    if not groups:
        why = "; ".join(kept) or "it has no hidden layer that was traced"
        raise SettingError(
            f"nothing in the module may be cut: {why}. Expected linear layers or convolutions in a row; keep its "
            "shape, and make its numbers smaller instead"
        )
    return tuple(groups)


def _path(module: nn.Module, part: nn.Module) -> str:
    return next(name for name, other in module.named_modules() if other is part)


def _group(items: Any, path: dict[nn.Module, str], *, streams: bool) -> Group | str:
    """What Torch-Pruning found to belong together, or why that is left alone."""
    root = items[0].dep.target.module
    size, what = len(items[0].idxs), path[root]
    makers: list[nn.Module] = []
    outputs: list[tuple[str, Tensor]] = []
    inputs: list[tuple[str, Tensor]] = []
    norms: list[int] = []
    added = False
    for item in items:
        layer, handler = item.dep.target.module, item.dep.handler.__name__
        if layer not in path:
            name = _named(layer)
            added = added or _ADDING.fullmatch(name) is not None
            if not (name == "reshape" or _PLAIN.fullmatch(name) or _ADDING.fullmatch(name)):
                return f"{what} goes through {name}"
            continue
        if sorted(item.idxs) != list(range(len(item.idxs))):
            return f"{what} is only a part of what {path[layer]} is given"
        place = torch.empty(len(item.idxs), dtype=torch.int64)
        place[torch.tensor(item.idxs)] = torch.tensor(item.root_idxs)
        if isinstance(layer, _NORMS):
            outputs.append((path[layer], place))
            norms.extend([layer.num_groups] if isinstance(layer, nn.GroupNorm) else [])
        elif isinstance(layer, nn.Linear) or (isinstance(layer, _CONVOLUTIONS) and layer.groups == 1):
            if handler == "prune_in_channels":
                inputs.append((path[layer], place))
            else:
                makers.append(layer)
                outputs.append((path[layer], place))
        else:
            return f"{what} goes with {path[layer]}, a {type(layer).__name__}"
    if not inputs:
        return f"{what} is the answer"
    if added or len(makers) > 1:
        if not all(isinstance(maker, _CONVOLUTIONS) for maker in makers) or len(makers) < 2:
            return f"{what} is one of several that add to one stream"
        if not streams:
            return f"{what} is one of several convolutions that add to one stream (streams=True cuts it)"
    return Group(size, math.lcm(1, *norms), tuple(path[maker] for maker in makers), tuple(outputs), tuple(inputs))


def _named(operation: Any) -> str:
    """What stands between layers, by the name of autograd's node; "reshape" for any change of shape."""
    kind = type(operation).__name__
    if kind == "_ReshapeOp":
        return "reshape"
    return str(operation).partition("(")[2].rstrip(")") if kind == "_ElementWiseOp" else kind
