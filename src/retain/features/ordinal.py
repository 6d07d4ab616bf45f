"""Categories as whole numbers, in order of first appearance."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, final

import numpy as np
import pyarrow as pa

from retain import buffers
from retain.compose import Composable
from retain.core import Batch, Features, State
from retain.errors import SettingError
from retain.features.columns import NULL, NUMBER, TEXT, as_text, kind_of, only_table, places, refuse_kind, strings
from retain.features.interner import Interner

__all__ = ["Ordinal"]

_READER = "Ordinal"


@final
class Ordinal(Composable):
    """Replaces each category by its number: 0 for the first one that appeared in the column, 1 for the next, ...

    Rows of a bare array of numbers stay as they are: where they stand for categories, they are codes already.

    Codes are never changed. They are for learners that split or look up (trees, embeddings); to a linear learner they
    say nothing, use `OneHot` there. A category that was not known before the row is missing (null), in `learn` as in
    `apply`; so are a missing category and those beyond the bound.

    Args:
        columns: names of the columns to replace, of text or numbers; none means every column of text.
        max_categories: how many categories a column may have; memory is bounded by that many strings in each.

    Raises:
        SchemaError: a column that is not there, or rows without names.
        PoisonError: a named column of times, lists or the like.

    >>> import pyarrow as pa, retain as rt
    >>> ordinal = rt.Ordinal()
    >>> rows = pa.record_batch({"colour": ["red", "blue", "red", None]})
    >>> ordinal.learn(rt.Batch(rows)).x["colour"].to_pylist()
    [None, None, 0, None]
    >>> ordinal.apply(rows)["colour"].to_pylist()
    [0, 1, 0, None]
    >>> ordinal.categories("colour")
    ('red', 'blue')
    """

    def __init__(self, *columns: str, max_categories: int = 10_000) -> None:
        if max_categories < 1:
            raise SettingError(f"max_categories is {max_categories}; expected at least 1")
        self.columns = columns
        self.max_categories = max_categories
        self._known: dict[str, Interner] = {}

    def categories(self, column: str, /) -> tuple[str, ...]:
        """The categories of a column, in the order of their codes."""
        return tuple(self._known[column].names) if column in self._known else ()

    def learn(self, batch: Batch, /) -> Batch:
        return replace(batch, x=self._encode(batch.x, learning=True))

    def apply(self, x: Features, /) -> Features:
        return self._encode(x, learning=False)

    def state_dict(self) -> State:
        return {"columns": [[name, interner.state_dict()] for name, interner in self._known.items()]}

    def load_state_dict(self, state: State, /) -> None:
        self._known = {}
        for name, saved in state["columns"]:
            self._known[name] = Interner(limit=self.max_categories)
            self._known[name].load_state_dict(saved)

    def _encode(self, x: Features, *, learning: bool) -> Features:
        if isinstance(x, np.ndarray) and x.dtype.kind in "fiub":
            return x
        table = only_table(x, reader=_READER, what="categories in named columns")
        where = self._look(table)
        columns: list[Any] = list(table.columns)
        fields: list[Any] = list(table.schema)
        words = [strings(as_text(columns[i])) for i in where]
        for i, word in zip(where, words, strict=True):
            name = fields[i].name
            interner = self._known.get(name) or Interner(limit=self.max_categories)
            codes = np.empty(word.rows, dtype=np.int32)
            if learning:
                born, _, _ = interner.learn(word, codes)
                codes[born] = -1  # not known before this row
                self._known[name] = interner
            else:
                interner.find(word, codes)
            columns[i] = buffers.column(np.maximum(codes, 0), codes < 0)
            fields[i] = pa.field(name, pa.int32())
        return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))

    def _look(self, x: pa.RecordBatch) -> list[int]:
        """Which columns are encoded; those encoded once stay so, whatever their type becomes."""
        if self.columns:
            where = places(x, self.columns, reader=_READER)
        else:
            where = [i for i, field in enumerate(x.schema) if kind_of(field.type) == TEXT or field.name in self._known]
        for i in where:
            if kind_of(x.schema.field(i).type) not in (TEXT, NUMBER, NULL):
                refuse_kind(x, i, reader=_READER, expected="categories")
        return where
