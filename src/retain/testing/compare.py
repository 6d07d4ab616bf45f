"""How laws cut rows into blocks, and how they compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, cast

import numpy as np

from retain import blocks, state
from retain.core import CSR, Array, Batch, Features, State
from retain.errors import MissingExtraError

__all__ = [
    "bounds",
    "pieces",
    "same_batches",
    "same_bytes",
    "same_features",
    "same_number",
    "same_rows",
    "same_state",
    "stack",
    "with_cuts",
]


def with_cuts(n: int, tries: int, body: Callable[[Sequence[int]], None]) -> None:
    """Run `body` on sorted split points of n rows, chosen by Hypothesis; always on every single row too."""
    try:
        from hypothesis import HealthCheck, given, settings, strategies
    except ImportError as error:
        raise MissingExtraError("the laws need hypothesis; pip install hypothesis") from error
    body(list(range(1, n)))
    cuts = strategies.lists(strategies.integers(0, n), max_size=5).map(sorted)
    quiet = settings(
        max_examples=tries,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
    quiet(given(cuts)(body))()


def bounds(n: int, cuts: Sequence[int]) -> list[tuple[int, int]]:
    """Where the pieces between the cuts begin and end."""
    edges = [0, *cuts, n]
    return list(pairwise(edges))


def pieces(batch: Batch, cuts: Sequence[int]) -> list[Batch]:
    """Pieces between the cuts; some are empty, which is a block like others."""
    return [blocks.take_batch(batch, slice(a, b)) for a, b in bounds(len(batch), cuts)]


def stack(parts: Sequence[Array], *, width: int | None = None) -> Array:
    """Rows of predictions one after the other, zero-padded to the widest: classes arrive on the way."""
    if any(part.ndim == 1 for part in parts):
        # Before the first label a baseline knows no task: (n, 0), which is 0 where answers turn out to be numbers.
        return np.concatenate([part if part.ndim == 1 else np.zeros(len(part)) for part in parts])
    widest = max(part.shape[1] for part in parts) if width is None else width
    return np.concatenate([np.pad(part, ((0, 0), (0, widest - part.shape[1]))) for part in parts])


def same_rows(got: Array, expected: Array, tolerance: float, what: str) -> None:
    """Raise AssertionError, naming the first entry that differs, unless rows agree within a tolerance."""
    if got.shape != expected.shape:
        raise AssertionError(f"{what}: shape {got.shape}, expected {expected.shape}")
    same = (
        np.isclose(got, expected, rtol=tolerance, atol=tolerance, equal_nan=True)
        if tolerance
        else (got == expected) | ((got != got) & (expected != expected))
    )
    if not same.all():
        where = tuple(int(i) for i in np.argwhere(~np.asarray(same))[0])
        raise AssertionError(
            f"{what}: {int((~np.asarray(same)).sum())} of {same.size} entries differ (tolerance {tolerance}), "
            f"first at {where}: {got[where]!r}, expected {expected[where]!r}"
        )


def same_state(got: State, expected: State, tolerance: float, what: str, where: str = "state") -> None:
    """Raise AssertionError, naming the entry that differs, unless states agree; floats within a tolerance."""
    if got.keys() != expected.keys():
        raise AssertionError(f"{what}: {where} has {sorted(got)}, expected {sorted(expected)}")
    for key in expected:
        _same_leaf(got[key], expected[key], tolerance, what, f"{where}.{key}")


def _same_leaf(got: Any, expected: Any, tolerance: float, what: str, where: str) -> None:
    if isinstance(expected, dict):
        same_state(got, cast("State", expected), tolerance, what, where)
    elif isinstance(expected, np.ndarray) and expected.dtype.kind == "f":
        same_rows(np.asarray(got), cast("Array", expected), tolerance, f"{what}: {where}")
    elif isinstance(expected, float):
        same_rows(np.atleast_1d(got), np.atleast_1d(expected), tolerance, f"{what}: {where}")
    elif isinstance(expected, (list, tuple)) and len(got) == len(cast("list[Any]", expected)):
        for i, (a, b) in enumerate(zip(got, cast("list[Any]", expected), strict=True)):
            _same_leaf(a, b, tolerance, what, f"{where}[{i}]")
    elif not state.equal(got, expected):
        raise AssertionError(f"{what}: {where} is {got!r}, expected {expected!r}")


def same_bytes(got: bytes, expected: bytes, what: str) -> None:
    """Raise AssertionError, naming the entry that differs, unless saved states are equal."""
    if got != expected:
        same_state(state.decode(got), state.decode(expected), 0.0, what)
        raise AssertionError(f"{what}: {len(got)} bytes differ from {len(expected)} expected")


def same_number(got: float, expected: float, what: str) -> None:
    """Raise AssertionError unless numbers are equal, or both NaN."""
    if not (got == expected or (np.isnan(got) and np.isnan(expected))):
        raise AssertionError(f"{what}: {got!r}, expected {expected!r}")


def same_features(got: Features, expected: Features, tolerance: float, what: str, *, subset: bool = False) -> None:
    """Compare rows of any form; with `subset`, the columns that `expected` has not may hold anything in `got`."""
    if isinstance(got, (np.ndarray, CSR)) and isinstance(expected, (np.ndarray, CSR)):
        narrow = blocks.width(expected)
        columns = max(blocks.width(got), narrow)
        a, b = blocks.dense(got, columns), blocks.dense(expected, columns)
        same_rows(a[:, :narrow], b[:, :narrow], tolerance, what) if subset else same_rows(a, b, tolerance, what)
        return
    a, b = cast("Any", got), cast("Any", expected)
    if a.schema.names != b.schema.names or a.num_rows != b.num_rows:
        raise AssertionError(
            f"{what}: {a.num_rows} rows of {a.schema.names}, expected {b.num_rows} of {b.schema.names}"
        )
    for name in a.schema.names:
        left, right = a.column(name), b.column(name)
        if tolerance and left.type == right.type and str(left.type) in ("float", "double"):
            same_rows(
                left.to_numpy(zero_copy_only=False), right.to_numpy(zero_copy_only=False), tolerance, f"{what}: {name}"
            )
        elif str(left.to_pylist()) != str(right.to_pylist()):
            raise AssertionError(
                f"{what}: column {name} is {left.to_pylist()[:5]}..., expected {right.to_pylist()[:5]}..."
            )


def same_batches(got: Batch, expected: Batch, what: str) -> None:
    """Raise AssertionError, naming the column that differs, unless batches are equal."""
    same_features(got.x, expected.x, 0.0, f"{what}: x")
    for name in ("y", "weight", "time", "label_time", "key", "id", "task"):
        a, b = getattr(got, name), getattr(expected, name)
        if (a is None) != (b is None) or (a is not None and not _equal_columns(a, b)):
            raise AssertionError(f"{what}: {name} is {a!r}, expected {b!r}")


def _equal_columns(a: Array, b: Array) -> bool:
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f" and b.dtype.kind == "f")
