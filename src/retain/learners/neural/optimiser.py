"""What a torch optimiser remembers, as a `State`, and through the growth of a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy, deepcopy
from typing import Any, cast

import torch
from torch import Tensor, nn

from retain.core import State
from retain.errors import SettingError
from retain.learners.neural.weights import Weights, padded
from retain.rows import from_array, to_array

__all__ = ["check", "forget", "from_state", "grow", "moved", "to_state"]


def check(optimizer: torch.optim.Optimizer, parameters: Sequence[nn.Parameter], /) -> None:
    """Refuse an optimiser that trains something else than the module's parameters. Raises SettingError."""
    theirs = {id(p) for group in optimizer.param_groups for p in group["params"]}
    ours = {id(p) for p in parameters}
    if theirs - ours:
        raise SettingError(
            f"the optimiser was built for other parameters ({len(theirs - ours)} of its {len(theirs)} are not the "
            "module's): build it with module.parameters() of this very module"
        )
    if ours - theirs:
        raise SettingError(
            f"the optimiser leaves out {len(ours - theirs)} of the {len(ours)} parameters that the module trains: give "
            "it all of them, or set requires_grad_(False) on those to be frozen"
        )


def to_state(optimizer: torch.optim.Optimizer, /) -> dict[str, Any]:
    """Slots of every parameter by its number, and the settings of the groups."""
    state = optimizer.state_dict()
    slots = {str(i): {name: _down(v) for name, v in slot.items()} for i, slot in state["state"].items()}
    groups = [{name: _down(v) for name, v in group.items()} for group in state["param_groups"]]
    return {"slots": slots, "groups": groups}


def from_state(optimizer: torch.optim.Optimizer, state: State, /) -> None:
    """Load what `to_state` put down; settings that hold pairs come back as pairs."""
    slots = {int(i): {name: _up(v) for name, v in slot.items()} for i, slot in state["slots"].items()}
    groups = [
        {name: tuple(v) if isinstance(own.get(name), tuple) else _up(v) for name, v in group.items()}
        for own, group in zip(optimizer.param_groups, state["groups"], strict=True)
    ]
    optimizer.load_state_dict({"state": slots, "param_groups": groups})


def forget(optimizer: torch.optim.Optimizer, /) -> None:
    """Begin again: no momentum, no second moments."""
    optimizer.state.clear()


def grow(optimizer: torch.optim.Optimizer, parameters: Sequence[nn.Parameter], before: Sequence[torch.Size], /) -> None:
    """Slots of the shape that a parameter had get its new shape, with zeros for what is new."""
    for p, shape in zip(parameters, before, strict=True):
        slot = cast("dict[str, Any]", optimizer.state.get(p, {}))
        for name, value in slot.items():
            if isinstance(value, Tensor) and value.shape == shape and p.shape != shape:
                slot[name] = padded(value, len(p))


def moved(optimizer: torch.optim.Optimizer, before: Weights, after: Weights, kept: Tensor, /) -> torch.optim.Optimizer:
    """One of the same class and settings for other parameters.

    What it remembers of weights that were kept goes along, `kept` (q,) saying which of those before each of them was,
    -1 for none. A parameter belongs to the group of the one of its name, or of the layer that it is a part of now.
    """
    other = copy(optimizer)
    other.state = type(optimizer.state)(dict)
    named = dict(zip(before.names, before.parameters, strict=True))
    place = {id(p): i for i, group in enumerate(optimizer.param_groups) for p in group["params"]}
    groups: list[list[nn.Parameter]] = [[] for _ in optimizer.param_groups]
    starts = dict(zip(before.names, _starts(before), strict=True))
    for name, p, index in zip(after.names, after.parameters, after.views(kept), strict=True):
        origin = _origin(name, named)
        groups[place[id(named[origin])]].append(p)
        slot = cast("Mapping[str, Any]", optimizer.state.get(named[origin], {}))
        if slot and bool((index >= 0).all()):
            size, own = named[origin].shape, index - starts[origin]
            other.state[p] = {
                key: value.reshape(-1)[own] if isinstance(value, Tensor) and value.shape == size else deepcopy(value)
                for key, value in slot.items()
            }
    other.param_groups = [{**group, "params": own} for group, own in zip(optimizer.param_groups, groups, strict=True)]
    return other


def _starts(layout: Weights) -> list[int]:
    """Where each parameter begins in the vector of all."""
    starts = [0]
    for p in layout.parameters:
        starts.append(starts[-1] + p.numel())
    return starts[:-1]


def _origin(name: str, named: Mapping[str, nn.Parameter]) -> str:
    """The parameter that one was, or is a part of: "3.1.weight" of "3.weight" where a layer has become two."""
    path = name.split(".")
    found = next((one for one in (name, ".".join([*path[:-2], path[-1]])) if one in named), None)
    if found is None:
        raise SettingError(
            f"the module has a trained parameter {name!r} that the one before had not; expected one made of it: build "
            "a new learner for another kind of module"
        )
    return found


def _down(value: Any) -> Any:
    if isinstance(value, Tensor):
        return to_array(value)
    return list(cast("tuple[Any, ...]", value)) if isinstance(value, tuple) else value


def _up(value: Any) -> Any:
    import numpy as np

    return from_array(value) if isinstance(value, (np.ndarray, Mapping)) else value
