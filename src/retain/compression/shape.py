"""The shape of a module as a `State`: what a module of the user's own is given so that smaller weights fit in it.

Nothing of a module is saved but its weights, and who loads them builds it as it once was. A plan says how large each
layer has become since, and which layers have become two: a layer "3" with 0.weight and 1.weight below it was factored.

Shapes: i inputs and o outputs of a layer, r its rank.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from torch import Tensor, nn

from retain.core import State
from retain.errors import SettingError
from retain.learners.neural import Neural

__all__ = ["Layer", "factors", "fit", "plan", "put", "reshape", "restored"]

Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def plan(module: nn.Module, /) -> State:
    """For each layer, by its path, the shapes of its parameters and buffers, and of a convolution the groups.

    >>> import retain as rt
    >>> plan(rt.neural.MLP(4, 8, 2))["1"]
    {'weight': [8, 4], 'bias': [8]}
    """
    layers: dict[str, Any] = {}
    for path, layer in module.named_modules():
        sizes: dict[str, Any] = {name: list(tensor.shape) for name, tensor in _own(layer).items()}
        if isinstance(layer, _CONVOLUTIONS):
            sizes["groups"] = layer.groups
        if sizes:
            layers[path] = sizes
    return layers


def reshape(module: nn.Module, plan: State, /) -> nn.Module:
    """A copy of a module in the shape of a plan; layers of another shape hold zeros until weights are loaded.

    Raises:
        SettingError: a layer that the module has and the plan has not, or one of another kind.

    >>> import retain as rt
    >>> small = reshape(rt.neural.MLP(4, 8, 2), plan(rt.neural.MLP(4, 3, 2)))
    >>> small[1]
    Linear(in_features=4, out_features=3, bias=True)
    """
    other = deepcopy(module)
    for path, layer in list(other.named_modules()):
        if _own(layer):
            other = put(other, path, _shaped(layer, path, plan))
    return other


def _shaped(layer: nn.Module, path: str, plan: State) -> nn.Module:
    """The layer as the plan has it, or what it has become."""
    sizes, first = plan.get(path), plan.get(f"{path}.0")
    if sizes is None and first is not None and isinstance(layer, Layer):
        pair = factors(layer, first["weight"][0])
        return nn.Sequential(*(_shaped(part, f"{path}.{i}", plan) for i, part in enumerate(pair)))
    own = _own(layer)
    if sizes is None or set(sizes) - {"groups"} != set(own):
        raise SettingError(
            f"the module's layer {path!r}, {type(layer).__name__}, is not in the plan, which has {sorted(plan)}; give "
            "the module that the plan was made of, as it was built first"
        )
    if any(list(own[name].shape) != list(sizes[name]) for name in own):
        blank = {name: tensor.new_zeros(tuple(sizes[name])) for name, tensor in own.items()}
        fit(layer, blank, groups=sizes.get("groups"))
    return layer


def restored(learner: Neural, plan: State, /) -> Neural:
    """A learner as the user builds it, in the shape of a plan: ready for `load_state_dict`."""
    return learner.reshaped(reshape(learner.module, plan))


def fit(layer: nn.Module, tensors: Mapping[str, Tensor], /, *, groups: int | None = None) -> None:
    """Give a layer other parameters and buffers of its own; what it says of its size follows."""
    for name, tensor in tensors.items():
        held = getattr(layer, name)
        if isinstance(held, nn.Parameter):
            setattr(layer, name, nn.Parameter(tensor, requires_grad=held.requires_grad))
        else:
            setattr(layer, name, tensor)
    size = {name: tensor.shape for name, tensor in tensors.items()}
    if isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = size["weight"]
    elif isinstance(layer, _CONVOLUTIONS):
        layer.groups = layer.groups if groups is None else groups
        layer.out_channels, layer.in_channels = size["weight"][0], size["weight"][1] * layer.groups
    elif isinstance(layer, _BATCH_NORMS):
        layer.num_features = size["weight" if "weight" in size else "running_mean"][0]
    elif isinstance(layer, nn.GroupNorm):
        layer.num_channels = size["weight"][0]
    elif isinstance(layer, nn.LayerNorm):
        layer.normalized_shape = tuple(size["weight"])
    elif isinstance(layer, nn.PReLU):
        layer.num_parameters = size["weight"][0]


def factors(layer: Layer, rank: int, /) -> nn.Sequential:
    """Two layers in place of one: i to r without a bias, and r to o; the weights are not set.

    Of a convolution the first has its kernel and its stride, the second looks at one place at a time.
    """
    bias = layer.bias is not None
    where: dict[str, Any] = {"device": layer.weight.device, "dtype": layer.weight.dtype}
    if isinstance(layer, nn.Linear):
        first: nn.Module = nn.Linear(layer.in_features, rank, bias=False, **where)
        second: nn.Module = nn.Linear(rank, layer.out_features, bias=bias, **where)
    else:
        kind: Any = type(layer)
        like = {name: getattr(layer, name) for name in ("kernel_size", "stride", "padding", "dilation", "padding_mode")}
        first = kind(layer.in_channels, rank, bias=False, **like, **where)
        second = kind(rank, layer.out_channels, 1, bias=bias, **where)
    return nn.Sequential(first, second).train(layer.training).requires_grad_(layer.weight.requires_grad)


def put(module: nn.Module, path: str, layer: nn.Module, /) -> nn.Module:
    """The module with another layer at a path; the layer itself where the path is empty."""
    if not path:
        return layer
    parent, _, name = path.rpartition(".")
    setattr(module.get_submodule(parent), name, layer)
    return module


def _own(layer: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers of a layer that are not those of a part of it, and are in its state."""
    own = dict(layer.named_parameters(recurse=False))
    kept = layer.state_dict()
    return {**own, **{name: b for name, b in layer.named_buffers(recurse=False) if name in kept}}
