"""One slot for every number and for every category, in order of first appearance."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, final

import numpy as np
import numpy.typing as npt
from numba import njit

from retain import blocks
from retain.compose import Composable
from retain.core import CSR, Array, Batch, Features, Floats, Ints, Kind, Schema, State
from retain.errors import PoisonError, SchemaError, SettingError
from retain.features.columns import (
    NULL,
    NUMBER,
    TEXT,
    as_text,
    kind_of,
    numbers,
    only_table,
    place,
    refuse_kind,
    strings,
)
from retain.features.interner import Interner

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["OneHot"]

_READER = "OneHot"
_NONE = -1  # no slot
_NUMBERS, _CATEGORY, _MISSING, _OTHER = range(4)  # what a slot stands for


@njit(cache=True, nogil=True)
def _emit(
    number_NP: Array,  # NaN: missing
    slot_P: Array,
    missing_P: Array,  # slots of the indicators, -1 where there is none yet
    code_CN: Array,  # codes of the categories
    slot_L: Array,  # slots by code, for one column after the other; those of negative codes come last
    start_C: Array,  # (c + 1,) where each column's slots begin
    indptr: Array,
    indices: Array,
    values: Array,
) -> Any:  # pragma: no cover - compiled
    """Write the rows one after the other, numbers first, zeros left out; returns how many entries there are."""
    at = 0
    indptr[0] = 0
    for i in range(number_NP.shape[0]):
        for j in range(number_NP.shape[1]):
            x = number_NP[i, j]
            slot = slot_P[j]
            if x != x:
                slot, x = missing_P[j], np.float32(1.0)
            if slot >= 0 and x != 0.0:
                indices[at] = slot
                values[at] = x
                at += 1
        for c in range(code_CN.shape[0]):
            code = code_CN[c, i]
            slot = slot_L[start_C[c] + code] if code >= 0 else slot_L[start_C[c + 1] + code]
            if slot >= 0:
                indices[at] = slot
                values[at] = 1.0
                at += 1
        indptr[i + 1] = at
    return at


@dataclass(slots=True)
class _Column:
    """What is known of one column of the table."""

    kind: int  # NUMBER or TEXT; NULL while no value has been seen
    number: int = _NONE  # slot of the value itself
    missing: int = _NONE  # slot that says that it is missing
    other: int = _NONE  # slot that all categories beyond the bound share
    categories: Interner | None = None
    slots: npt.NDArray[np.int32] = field(default_factory=lambda: np.empty(0, dtype=np.int32))  # of the categories

    def lookup(self) -> npt.NDArray[np.int32]:
        """Slots by code; the negative codes ABSENT, UNKNOWN and FULL find theirs from the end."""
        return np.concatenate([self.slots, np.array([self.other, _NONE, self.missing], dtype=np.int32)])


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a table of one Arrow schema is read."""

    schema: pa.Schema
    hints: Schema | None
    number_names: tuple[str, ...]
    number_where: list[int]
    text_names: tuple[str, ...]
    text_where: list[int]


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the values of a table go, as far as is known."""

    plan: _Plan
    number: npt.NDArray[np.int32]  # slots of the numbers
    missing: npt.NDArray[np.int32]  # slots of their indicators
    text: list[Interner]
    slots: npt.NDArray[np.int32]  # of the categories, see _emit
    starts: npt.NDArray[np.int64]
    width: int


@final
class OneHot(Composable):
    """Turns a table into a matrix for learners: numbers as they are, one column of zeros and ones for every category.

    The columns of the matrix are called slots. Slots are never renumbered: the numeric columns of the first block come
    first, in their order; then every category gets the next slot as it first appears, row after row and, within a row,
    column after column. So the matrix grows to the right, and how rows are split into blocks changes nothing.

    - A missing category is a category of its own, in the slot `column=?`.
    - A missing number is 0, and an indicator slot `column=?` says so, from the first missing one on.
    - A category that `apply` has never seen has no entry; `learn` gives it its slot at once.
    - Booleans are the numbers 0 and 1. Times are refused (put `DateParts` in front), long texts too (use `Hash`).

    The result is dense float32 as long as all columns are numeric and nothing is missing, and `CSR` otherwise. Bare
    arrays and sparse rows hold numbers already and pass unchanged.

    Args:
        columns: names of columns to be taken as categories even if they hold numbers; text always is.
        max_categories: how many categories a column may have; later ones share the slot `column=*`. Memory is bounded
            by that many strings in each column.

    Raises:
        PoisonError: infinite numbers or NaN that is not a null; a column of times; text where numbers were before.
        SchemaError: a column of text by the schema, or a named column that is not there.

    >>> import pyarrow as pa, retain as rt
    >>> table = pa.record_batch({"size": [1.5, None, 2.0], "colour": ["red", "blue", "red"]})
    >>> onehot = rt.OneHot()
    >>> rows = onehot.learn(rt.Batch(table)).x
    >>> onehot.names
    ('size', 'colour=red', 'size=?', 'colour=blue')
    >>> rt.OneHot().apply(table.select(["size"]).slice(2))
    array([[2.]], dtype=float32)
    """

    def __init__(self, *columns: str, max_categories: int = 10_000) -> None:
        if max_categories < 1:
            raise SettingError(f"max_categories is {max_categories}; expected at least 1")
        self.columns = columns
        self.max_categories = max_categories
        self._known: dict[str, _Column] = {}
        self._names: list[str] = []  # of the slots
        self._dense: int | None = None  # width of the dense rows that the first block became, if it did
        self._bare: int | None = None  # width of bare arrays
        self._plan: _Plan | None = None
        self._layout: _Layout | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """What each slot stands for: `column`, `column=category`, `column=?` (missing) or `column=*` (all others)."""
        return tuple(self._names)

    def learn(self, batch: Batch, /) -> Batch:
        x = batch.x
        if isinstance(x, (np.ndarray, CSR)):
            rows = self._pass(x)
            if isinstance(rows, np.ndarray):
                self._bare = rows.shape[1]
            return replace(batch, x=rows)
        plan = self._look(x, batch.schema)
        number, absent = numbers(x, plan.number_where, reader=_READER, dtype=np.float32)
        if plan is not self._plan:
            self._meet(x, plan)
            self._plan, self._layout = plan, None
        rows = self._rows(x, plan, number, absent, learning=True)
        schema = None if batch.schema is None else replace(batch.schema, columns=())  # slots have `names`
        return replace(batch, x=rows, schema=schema)

    def apply(self, x: Features, /) -> Features:
        if isinstance(x, (np.ndarray, CSR)):
            return self._pass(x)
        plan = self._look(x, None if self._plan is None else self._plan.hints)
        number, absent = numbers(x, plan.number_where, reader=_READER, dtype=np.float32)
        return self._rows(x, plan, number, absent, learning=False)

    def state_dict(self) -> State:
        columns: list[Any] = []
        for name, column in self._known.items():
            entry: dict[str, Any] = {"name": name, "kind": column.kind, "number": column.number}
            entry |= {"missing": column.missing, "other": column.other, "slots": column.slots.copy()}
            entry["categories"] = None if column.categories is None else column.categories.state_dict()
            columns.append(entry)
        return {"columns": columns, "width": len(self._names), "dense": self._dense, "bare": self._bare}

    def load_state_dict(self, state: State, /) -> None:
        known: dict[str, _Column] = {}
        names = [""] * state["width"]
        for entry in state["columns"]:
            name = entry["name"]
            column = _Column(entry["kind"], entry["number"], entry["missing"], entry["other"])
            column.slots = np.array(entry["slots"], dtype=np.int32)
            if entry["categories"] is not None:
                column.categories = Interner(limit=self.max_categories)
                column.categories.load_state_dict(entry["categories"])
                for slot, category in zip(column.slots, column.categories.names, strict=True):
                    names[slot] = f"{name}={category}"
            for slot, text in ((column.number, name), (column.missing, f"{name}=?"), (column.other, f"{name}=*")):
                if slot != _NONE:
                    names[slot] = text
            known[name] = column
        self._known, self._names, self._dense, self._bare = known, names, state["dense"], state["bare"]
        self._plan = self._layout = None

    def _pass(self, x: Array | CSR) -> Floats | CSR:
        """Rows that hold numbers already."""
        if self.columns or self._known:
            only_table(x, reader=_READER, what="the columns that it knows")
        return blocks.matrix(x, reader=_READER, columns=self._bare)

    def _look(self, x: pa.RecordBatch, hints: Schema | None) -> _Plan:
        """Which columns are numbers and which are categories; refuses all others. Changes nothing."""
        plan = self._plan
        if plan is not None and (plan.hints is hints or plan.hints == hints) and plan.schema.equals(x.schema):
            return plan
        if self._bare is not None:
            raise PoisonError("OneHot got a table after bare arrays; expected arrays as before: start a new OneHot")
        for name in self.columns:
            place(x, name, reader=_READER)
        kinds = {} if hints is None else {column.name: column.kind for column in hints.columns}
        number: list[int] = []
        text: list[int] = []
        names = x.schema.names
        for i, name in enumerate(names):
            place(x, name, reader=_READER)
            kind = kind_of(x.schema.field(i).type)
            if kinds.get(name) is Kind.TEXT and name not in self.columns:
                raise SchemaError(
                    f'OneHot got the column {name!r} of long texts; use rt.Hash(), or name it: rt.OneHot("{name}")'
                )
            if kind not in (NUMBER, TEXT, NULL):
                refuse_kind(x, i, reader=_READER, expected="numbers or categories")
            column = self._known.get(name)
            before = NULL if column is None else column.kind
            if name in self.columns or (kinds.get(name) is Kind.CATEGORICAL) or (before == TEXT and kind == NUMBER):
                kind = TEXT
            elif before == NUMBER and kind == TEXT:
                refuse_kind(x, i, reader=_READER, expected="numbers as before")
            (number if NUMBER in (kind, before) else text).append(i)
        return _Plan(x.schema, hints, tuple(names[i] for i in number), number, tuple(names[i] for i in text), text)

    def _meet(self, x: pa.RecordBatch, plan: _Plan) -> None:
        """Columns that are new: numbers get their slot at once, before any row."""
        first = not self._known
        for i, name in enumerate(x.schema.names):
            kind = NUMBER if i in plan.number_where else TEXT if kind_of(x.schema.field(i).type) != NULL else NULL
            column = self._known.setdefault(name, _Column(kind))
            if column.kind == NULL:
                column.kind = kind
            if i in plan.text_where and column.categories is None:
                column.categories = Interner(limit=self.max_categories)
            if column.kind == NUMBER and column.number == _NONE:
                column.number = self._slot(name)
        if first and not plan.text_names:
            self._dense = len(self._names)

    def _slot(self, name: str) -> int:
        self._names.append(name)
        return len(self._names) - 1

    def _rows(self, x: pa.RecordBatch, plan: _Plan, number: Floats, absent: int, *, learning: bool) -> Floats | CSR:
        """The rows as a matrix; with `learning`, what is new gets its slot."""
        n = len(number)
        layout = self._lay_out(plan)
        code = np.empty((len(plan.text_where), n), dtype=np.int32)
        births: list[tuple[int, int, int, str]] = []  # (row, column, what, name)
        for c, i in enumerate(plan.text_where):
            words = strings(as_text(x.column(i)))
            if not learning:
                layout.text[c].find(words, code[c])
                continue
            born, missing, other = layout.text[c].learn(words, code[c])
            name = plan.text_names[c]
            if len(born):
                births.extend((row, i, _CATEGORY, name) for row in born.tolist())
            if missing >= 0 and self._known[name].missing == _NONE:
                births.append((missing, i, _MISSING, name))
            if other >= 0 and self._known[name].other == _NONE:
                births.append((other, i, _OTHER, name))
        if learning and absent:
            for j in np.flatnonzero((layout.missing == _NONE) & np.isnan(number).any(axis=0)):
                row = int(np.argmax(np.isnan(number[:, j])))
                births.append((row, plan.number_where[j], _MISSING, plan.number_names[j]))
        if births:
            self._give_slots(births)
            self._layout = None
            layout = self._lay_out(plan)
        if not (plan.text_where or absent) and layout.width == (self._dense if self._known else layout.width):
            return _dense(number, layout.number, layout.width)
        most = n * (number.shape[1] + len(code))
        indptr = np.empty(n + 1, dtype=np.int64)
        indices, values = np.empty(most, dtype=np.int32), np.empty(most, dtype=np.float32)
        where = layout.number, layout.missing, code, layout.slots, layout.starts
        used = _emit(number, *where, indptr, indices, values)
        return CSR(indptr, indices[:used], values[:used], layout.width)

    def _give_slots(self, births: list[tuple[int, int, int, str]]) -> None:
        """Slots for what is new, in the order in which it appeared."""
        grown: dict[str, list[int]] = {}
        for _, _, what, name in sorted(births):
            column = self._known[name]
            if what == _MISSING:
                column.missing = self._slot(f"{name}=?")
            elif what == _OTHER:
                column.other = self._slot(f"{name}=*")
            elif column.categories is not None:
                new = grown.setdefault(name, [])
                new.append(self._slot(f"{name}={column.categories.names[len(column.slots) + len(new)]}"))
        for name, new in grown.items():
            column = self._known[name]
            column.slots = np.concatenate([column.slots, np.array(new, dtype=np.int32)])

    def _lay_out(self, plan: _Plan) -> _Layout:
        """Where everything goes; numbers not met yet come where they would."""
        if self._layout is not None and self._layout.plan is plan:
            return self._layout
        width = len(self._names)
        number = np.empty(len(plan.number_names), dtype=np.int32)
        missing = np.empty(len(number), dtype=np.int32)
        for j, name in enumerate(plan.number_names):
            column = self._known.get(name, _UNKNOWN)
            number[j], missing[j] = column.number, column.missing
            if column.number == _NONE:
                number[j] = width
                width += 1
        columns = [self._known.get(name, _UNKNOWN) for name in plan.text_names]
        text = [column.categories or Interner(limit=self.max_categories) for column in columns]
        slots = [column.lookup() for column in columns]
        starts = np.cumsum([0, *map(len, slots)])
        joined = np.concatenate([np.empty(0, dtype=np.int32), *slots])
        self._layout = _Layout(plan, number, missing, text, joined, starts, width)
        return self._layout


_UNKNOWN = _Column(NULL)


def _dense(number: Floats, slot: Ints, width: int) -> Floats:
    if len(slot) == width and (slot == np.arange(width)).all():
        return number
    rows = np.zeros((len(number), width), dtype=np.float32)
    rows[:, slot] = number
    return rows
