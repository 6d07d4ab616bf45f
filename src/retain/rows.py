"""What is done to `Rows`, labelled rows as tensors, in every room: take, join, keep in a state.

Tensors enter a `State` as arrays: without their graph, on the CPU, copied. NumPy has no bfloat16, so such tensors
travel as their bits, and come back as what the tensor they are loaded into holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from retain.core import Array, Rows, State
from retain.errors import SettingError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["from_array", "from_state", "join", "take", "to_array", "to_state"]

_BITS = "bfloat16"  # under this name stand the bits of a tensor that NumPy has no type for


def take(rows: Rows, index: Tensor | slice, /) -> Rows:
    """The given rows, in the given order: views where `index` is a slice, copies where it is a tensor of numbers."""
    if isinstance(index, slice):
        extra = {name: column[index] for name, column in rows.extra.items()}
        return Rows(rows.x[index], rows.y[index], rows.weight[index], extra)
    extra = {name: column.index_select(0, index) for name, column in rows.extra.items()}
    return Rows(rows.x.index_select(0, index), rows.y.index_select(0, index), rows.weight.index_select(0, index), extra)


def join(parts: Sequence[Rows], /) -> Rows:
    """Rows of all parts, one after the other; every part has the same extra columns."""
    import torch

    if not parts:
        raise SettingError("nothing to join: expected at least one block of rows")
    if len(parts) == 1:
        return parts[0]
    names = {frozenset(part.extra) for part in parts}
    if len(names) > 1:
        raise SettingError(f"some rows have the extra columns {sorted(map(sorted, names))}; give the same to all")
    return Rows(
        torch.cat([part.x for part in parts]),
        torch.cat([part.y for part in parts]),
        torch.cat([part.weight for part in parts]),
        {name: torch.cat([part.extra[name] for part in parts]) for name in parts[0].extra},
    )


def to_array(tensor: Tensor, /) -> Any:
    """A tensor as an entry of a `State`."""
    import torch

    tensor = tensor.detach()
    if tensor.dtype is torch.bfloat16:
        return {_BITS: tensor.contiguous().view(torch.int16).cpu().numpy().copy()}
    return np.array(tensor.cpu().numpy())


def from_array(entry: Array | Mapping[str, Array], /, *, device: torch.device | str | None = None) -> Tensor:
    """The tensor that `to_array` put down; on torch's default device, which who loads a learner may set, if None."""
    import torch

    device = torch.get_default_device() if device is None else device
    if isinstance(entry, Mapping):
        return torch.from_numpy(entry[_BITS].copy()).view(torch.bfloat16).to(device)
    return torch.from_numpy(entry.copy()).to(device)


def to_state(rows: Rows, /) -> dict[str, Any]:
    """Rows as a `State`."""
    columns = {name: to_array(getattr(rows, name)) for name in ("x", "y", "weight")}
    return {**columns, "extra": {name: to_array(column) for name, column in rows.extra.items()}}


def from_state(state: State, /, *, device: torch.device | str | None = None) -> Rows:
    """What `to_state` put down."""
    columns = {name: from_array(state[name], device=device) for name in ("x", "y", "weight")}
    return Rows(**columns, extra={name: from_array(entry, device=device) for name, entry in state["extra"].items()})
