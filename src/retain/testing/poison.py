"""Rows with one thing wrong, and whether a part refuses them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np

from retain import state
from retain.core import CSR, Batch, Stateful
from retain.errors import PoisonError, RetainError
from retain.testing.compare import same_state

__all__ = ["poisoned", "refuses"]


def poisoned(batch: Batch, *, accepts_missing: bool) -> list[tuple[str, Batch]]:
    """Copies of a batch, each with one thing wrong in the middle."""
    row = len(batch) // 2
    found: list[tuple[str, Batch]] = []
    if isinstance(batch.x, np.ndarray):
        values = [("Inf", np.inf), ("-Inf", -np.inf)] + ([] if accepts_missing else [("NaN", np.nan)])
        for name, value in values:
            x = batch.x.copy()
            x[row, 1] = value
            found.append((f"{name} in row {row}", replace(batch, x=x)))
        found.append(("one column too many", replace(batch, x=np.hstack([batch.x, batch.x[:, :1]]))))
        found.append(("one column too few", replace(batch, x=batch.x[:, :-1])))
        found.append(("text", replace(batch, x=batch.x.astype(str))))
        found.append(("rows without a feature axis", replace(batch, x=batch.x[:, 0])))
    elif isinstance(batch.x, CSR):
        values = batch.x.values.copy()
        values[len(values) // 2] = np.nan
        found.append(("NaN in a sparse row", replace(batch, x=replace(batch.x, values=values))))
    else:
        found.extend(_poisoned_table(batch, row))
    if batch.y is not None:
        found.append(("label of another length", replace(batch, y=batch.y[:-1])))
        found.append(("label of text", replace(batch, y=np.full(len(batch), "a"))))
        bad = np.array(batch.y)
        bad[row] = -7 if bad.dtype.kind == "i" else np.inf
        found.append((f"label {bad[row]}", replace(batch, y=bad)))
    if batch.weight is not None:
        for value in (-1.0, np.nan):
            weight = np.array(batch.weight)
            weight[row] = value
            found.append((f"weight {value}", replace(batch, weight=weight)))
    return found


def _poisoned_table(batch: Batch, row: int) -> list[tuple[str, Batch]]:
    import pyarrow as pa

    x = cast("Any", batch.x)
    found: list[tuple[str, Batch]] = []
    for i, name in enumerate(x.schema.names):
        if pa.types.is_floating(x.column(i).type):
            column = x.column(i).to_numpy(zero_copy_only=False).astype(np.float64)
            column[row] = np.inf
            found.append((f"Inf in {name}", replace(batch, x=x.set_column(i, name, pa.array(column)))))
            text = pa.array(["a"] * x.num_rows)
            found.append((f"text in {name}", replace(batch, x=x.set_column(i, name, text))))
            break
    return found


def refuses(part: Stateful, call: Callable[[], object], what: str) -> None:
    """Raise AssertionError unless a call is refused with an error of ours, and the part is as it was."""
    before = state.copy(part.state_dict())
    try:
        call()
    except RetainError as error:
        if isinstance(error, PoisonError) and len(str(error)) < 20:
            raise AssertionError(
                f"{what}: the error says only {str(error)!r}; expected value, expectation and cure"
            ) from error
    else:
        raise AssertionError(f"{what} was accepted; expected a RetainError")
    same_state(part.state_dict(), before, 0.0, f"state after a refused {what}")
