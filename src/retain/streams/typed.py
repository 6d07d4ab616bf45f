"""Pieces of sources whose columns have types: Parquet, Arrow and tables in memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from retain import buffers
from retain.core import State
from retain.errors import SchemaError
from retain.streams.bad_rows import Refused
from retain.streams.columns import conform
from retain.streams.infer import Layout
from retain.streams.tabular import Origin, Piece, refuse

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["PIECE", "check_names", "typed_piece"]

PIECE = 1 << 16  # rows


def typed_piece(
    raw: pa.RecordBatch, layout: Layout, *, file: str, row: int, place: Callable[[int], State], start: int = 0
) -> Piece:
    """Rows as their source stores them, as a piece; `row` is the number of the first of them in the file."""

    def origin(number: int) -> Origin:
        values = {name: raw.column(name)[number].as_py() for name in layout.types}
        return Origin(file, row + number, json.dumps(values, default=str), "row")

    rows, faults = conform(raw.select(list(layout.types)), layout)
    numbers = np.arange(raw.num_rows)
    refused: list[Refused] = []
    if faults:
        refused = [refuse(f.row, f, origin) for f in faults]
        keep = np.ones(len(numbers), dtype=bool)
        keep[[f.row for f in faults]] = False
        rows, numbers = rows.filter(buffers.column(keep)), numbers[keep]
    return Piece(rows, numbers, refused, raw.num_rows, place, origin, start=start)


def check_names(names: list[str], source: str, /) -> None:
    """Raises SchemaError where two columns have one name."""
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SchemaError(f"{source}: column {twice!r} is there {names.count(twice)} times; expected distinct names")
