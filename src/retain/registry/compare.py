"""What became of a model from one version to another."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast, final

import numpy as np

from retain.core import State

__all__ = ["Change", "changes", "moved"]


@final
@dataclass(frozen=True, slots=True)
class Change:
    """An entry of a state that differs."""

    where: str  # its keys, joined by dots
    before: str  # shape and length of an array, or the value; empty where it was not there
    after: str
    distance: float  # |after - before| / |before| of arrays of one shape; NaN where there is no such number


def changes(before: State, after: State, /) -> list[Change]:
    """The entries of two states that differ, in the order of their keys.

    >>> changes({"w": np.array([3.0, 4.0])}, {"w": np.array([3.0, 4.5]), "rows": 9})
    [Change(where='rows', before='', after='9', distance=nan),
     Change(where='w', before='(2,)', after='(2,)', distance=0.1)]
    """
    old, new = dict(_leaves(before, "")), dict(_leaves(after, ""))
    found: list[Change] = []
    for where in sorted({*old, *new}):
        a, b = old.get(where), new.get(where)
        if not _same(a, b):
            found.append(Change(where, _told(a), _told(b), _distance(a, b)))
    return found


def moved(before: Mapping[str, Any], after: Mapping[str, Any], /) -> dict[str, tuple[Any, Any]]:
    """The entries of two reports that differ: what each says, None where it says nothing."""
    names = sorted({*before, *after})
    return {name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)}


def _leaves(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in cast("Mapping[str, Any]", value).items():
            yield from _leaves(item, f"{where}.{key}" if where else key)
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(cast("list[Any]", value)):
            yield from _leaves(item, f"{where}[{i}]")
    elif value is not None:
        yield where, value


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        first, second = cast("np.ndarray[Any, Any]", a), cast("np.ndarray[Any, Any]", b)
        return first.dtype == second.dtype and np.array_equal(first, second, equal_nan=first.dtype.kind == "f")
    return type(a) is type(b) and bool(a == b)


def _told(value: Any) -> str:
    if value is None:
        return ""
    return str(cast("np.ndarray[Any, Any]", value).shape) if isinstance(value, np.ndarray) else repr(value)


def _distance(a: Any, b: Any) -> float:
    if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray)):
        return math.nan
    first, second = cast("np.ndarray[Any, Any]", a), cast("np.ndarray[Any, Any]", b)
    if first.shape != second.shape or first.dtype.kind not in "fiub" or second.dtype.kind not in "fiub":
        return math.nan
    far = float(np.linalg.norm((second.astype(np.float64) - first.astype(np.float64)).ravel()))
    own = float(np.linalg.norm(first.astype(np.float64).ravel()))
    return far / own if own else math.inf
