"""Where rows are kept: numbered slots, one preallocated tensor for each column, written and read at many slots at once.

Every memory has one `Slots` and only decides which row goes to which slot. Slots are filled in order and never left
empty: what is held lies in the slots 0 ... count - 1.

Shapes: n rows, m slots.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np

from retain.core import Ints, Rows, State
from retain.errors import PoisonError, SettingError, StateError
from retain.memory.stores import Book, Store
from retain.rows import from_array, to_array

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["Bytes", "Slots"]

_EXTRA = "extra."  # before the name of an extra column: one may be called "x"


@final
@dataclass(frozen=True, slots=True)
class Bytes:
    """A budget in bytes instead of rows: as many rows as fit, by the size of the first as it is stored.

    All columns count, a store's codebooks too; what a memory knows of its slots, some bytes each, does not.

    >>> Bytes(2_000_000)
    Bytes(count=2000000)
    """

    count: int


# --- columns: x, y, weight and the extra ones, by name ----------------------------------------------------------------


def _columns(rows: Rows) -> dict[str, Tensor]:
    columns = {"x": rows.x, "y": rows.y, "weight": rows.weight}
    return columns | {_EXTRA + name: column for name, column in rows.extra.items()}


def _rows(columns: Mapping[str, Tensor]) -> Rows:
    extra = {name.removeprefix(_EXTRA): column for name, column in columns.items() if name.startswith(_EXTRA)}
    return Rows(columns["x"], columns["y"], columns["weight"], extra)


def _bytes(like: Tensor) -> int:
    """Bytes of one row of a column."""
    return math.prod(like.shape[1:]) * like.element_size()


def _check_values(columns: Mapping[str, Tensor], n: int) -> None:
    """Every column has a finite value for every row, and codes of classes are not negative."""
    for name, column in columns.items():
        if column.shape[0] != n:
            raise PoisonError(f"{name} has {column.shape[0]} rows beside {n} labels; give every column the same rows")
    if not n:
        return
    # A sum is a quarter of the work of looking at every entry, and only finite numbers have a finite one; a negative
    # code has no root. All are added up, so that a device is waited for once.
    y, numbers = columns["y"], [column.detach() for column in columns.values() if column.is_floating_point()]
    codes = 0.0 if y.is_floating_point() else y.min().float().sqrt()
    told = sum((column.sum() for column in numbers), start=codes)
    if math.isfinite(float(told)):
        return
    for name, column in columns.items():
        if column.is_floating_point():
            _check_each(name, column, column.isfinite())
        elif name == "y":
            _check_each(name, column, column >= 0)


def _check_each(name: str, column: Tensor, good: Tensor) -> None:
    if bool(good.all()):  # a sum of finite numbers may overflow
        return
    where = (~good).nonzero()[0].tolist()
    raise PoisonError(
        f"{name} of row {where[0]} holds {column[tuple(where)].item()!r}; expected finite numbers and codes from 0 on: "
        "a memory would replay it for ever, so leave such rows out"
    )


def _like(columns: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """No rows (0, ...) of the shape, type and device of each column."""
    return {name: column.new_empty((0, *column.shape[1:])) for name, column in columns.items()}


def _wider(held: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The columns that have grown: extra ones (n, k) may, to the right. Raises PoisonError where others differ."""
    if held.keys() != given.keys():
        raise PoisonError(
            f"rows have the columns {sorted(given)}; expected {sorted(held)} as before: "
            "give the same extra columns to all rows"
        )
    wider: dict[str, Tensor] = {}
    for name, new in given.items():
        old = held[name]
        if new.dtype != old.dtype:
            raise PoisonError(
                f"{name} is of {new.dtype}; expected {old.dtype} as before: convert it, or start a new memory"
            )
        if new.shape[1:] == old.shape[1:]:
            continue
        if not (name.startswith(_EXTRA) and new.ndim == old.ndim == 2 and new.shape[1] > old.shape[1]):
            raise PoisonError(
                f"{name} has rows of shape {tuple(new.shape[1:])}; expected {tuple(old.shape[1:])} as before "
                "(only extra columns of two axes may grow to the right): reshape it, or start a new memory"
            )
        wider[name] = new
    return _like(wider)


def _allocate(like: Tensor, m: int, device: torch.device, folder: Path | None) -> Tensor:
    """Room for m rows, all zeros: on a device, or in a file in `folder` that has no name and goes with the process."""
    import torch

    if folder is None:
        return torch.zeros((m, *like.shape[1:]), dtype=like.dtype, device=device)
    size = m * _bytes(like)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            # Reserved at once: a disk that is full later would kill the process in the middle of a write.
            os.posix_fallocate(file.fileno(), 0, max(size, 1))
            data = np.memmap(file, dtype=np.uint8, mode="r+", shape=(max(size, 1),))
    except OSError as error:
        raise SettingError(
            f"cannot reserve {size} bytes in {folder}: {error.strerror or error}; free some space, choose another "
            "folder, or a smaller budget"
        ) from error
    return torch.from_numpy(data[:size]).view(like.dtype).view(m, *like.shape[1:])


def _last(slots: Ints) -> Ints:
    """Positions of the last write to each slot: writing them all at once is writing one after the other."""
    _, first = np.unique(slots[::-1], return_index=True)
    return len(slots) - 1 - first


# --- the slots --------------------------------------------------------------------------------------------------------


@final
class Slots:
    """Rows at numbered slots, within a budget.

    Args:
        budget: how many rows (m), or `Bytes`.
        store: how inputs are put down.
        at: a folder for the rows, instead of memory; what is in it is never read back, the state holds everything.
    """

    def __init__(self, budget: int | Bytes, *, store: Store, at: Path | None) -> None:
        if (budget.count if isinstance(budget, Bytes) else budget) < 1:
            raise SettingError(f"the budget of a memory is {budget}; expected at least 1 row")
        self._budget = budget
        self._store = store
        self._folder = at
        self._room = 0 if isinstance(budget, Bytes) else budget
        self._count = 0
        self._like: dict[str, Tensor] = {}  # (0, ...) shape and type of each column as given; empty before any rows
        self._held: dict[str, Tensor] = {}  # (m, ...) as stored; x is (fits_on, ...) as given while there is no book
        self._book: Book | None = None
        if self._room:
            self._check_fit(self._room)

    def __len__(self) -> int:
        return self._count

    @property
    def room(self) -> int:
        """How many slots there are (m); 0 while a budget in bytes has seen no rows."""
        return self._room

    def check(self, rows: Rows, /, *, wants: frozenset[str] = frozenset()) -> int:
        """How many slots there will be with these rows. Raises PoisonError or SettingError; changes nothing."""
        given = _columns(rows)
        if absent := sorted(wants - rows.extra.keys()):
            raise PoisonError(
                f"rows have the extra columns {sorted(rows.extra)}; expected {absent} too: this memory chooses by them"
            )
        n = len(rows)
        _check_values(given, n)
        if not self._like:
            return self._fitting(_like(given))
        wider = _wider(self._like, given)
        return self._fitting(self._like | wider) if wider else self._room

    def admit(self, rows: Rows, /, *, room: int) -> None:
        """Make room for rows that were checked. Of what is held, no more than `room` rows may be left."""
        given = _columns(rows)
        if not self._like:
            self._lay_out(_like(given), set(given), room)
            return
        self._move(rows.x.device)
        if wider := _wider(self._like, given):
            like = self._like | wider
            self._lay_out(like, set(wider) if room == self._room else set(like), room)

    def write(self, slots: Ints, rows: Rows, /) -> None:
        """Put rows that were admitted into slots (n,), one after the other; -1 is a row that is not kept."""
        kept = np.flatnonzero(slots >= 0)
        columns = _columns(rows)
        if self._book is None:
            # Every memory fills its slots in order first, so these are the same rows however they are split.
            first, kept = np.split(kept, [self._store.fits_on - self._count])
            self._put(slots, first, columns)
            if self._count == self._store.fits_on:
                self._fit()
        self._put(slots, kept, columns)

    def read(self, slots: Ints, /) -> Rows:
        """Rows at slots (n,), as copies."""
        import torch

        device = self._like["x"].device
        at = torch.from_numpy(slots).to(device)
        taken = {name: column.index_select(0, at.to(column.device)).to(device) for name, column in self._held.items()}
        if self._book is not None:
            taken["x"] = self._store.decode(taken["x"], self._book, like=self._like["x"])
        return _rows(taken)

    def keep(self, slots: Ints, /) -> None:
        """Hold only the rows of these slots (n,), which become slots 0 ... n - 1."""
        import torch

        at = torch.from_numpy(slots)
        for column in self._held.values():
            column[: len(slots)] = column.index_select(0, at.to(column.device))
        self._count = len(slots)

    def state_dict(self) -> State:
        columns = {name: to_array(column[: self._count]) for name, column in self._held.items()}
        # No rows, but their shape and type: codes do not tell them.
        like = to_array(self._like["x"]) if self._like else None
        book = None if self._book is None else {name: to_array(entry) for name, entry in self._book.items()}
        return {"count": self._count, "columns": columns, "x": like, "book": book}

    def load_state_dict(self, state: State, /) -> None:
        device = self._like["x"].device if self._like else None  # whose it is tells
        columns = {name: from_array(entry, device=device) for name, entry in state["columns"].items()}
        self._held, self._like, self._book, self._count = {}, {}, None, 0
        if not columns:
            return
        like = _like(columns) | {"x": from_array(state["x"], device=device)}
        if state["book"] is not None:
            self._book = {name: from_array(entry, device=device) for name, entry in state["book"].items()}
        room = self._fitting(like)
        if state["count"] > room:
            raise StateError(
                f"the state holds {state['count']} rows, this memory has room for {room}; load it into one with the "
                "budget that it was saved with"
            )
        self._lay_out(like, set(like), room)
        for name, column in columns.items():
            if column.shape[1:] != self._held[name].shape[1:] or column.dtype != self._held[name].dtype:
                raise StateError(
                    f"the state holds {name} as {column.dtype} of shape {tuple(column.shape[1:])}; load it into a "
                    "memory with the store that it was saved with"
                )
            self._held[name][: len(column)] = column
        self._count = int(state["count"])

    def _fitting(self, like: Mapping[str, Tensor]) -> int:
        """How many rows like these the budget holds."""
        code = self._store.code(like["x"])
        if not isinstance(self._budget, Bytes):
            return self._budget
        rest = sum(_bytes(column) for name, column in like.items() if name != "x")
        row = rest + _bytes(code)
        room = (self._budget.count - self._store.book_bytes(like["x"])) // row
        if room < 1:
            raise SettingError(f"one row takes {row} bytes and the budget is {self._budget.count}; give more bytes")
        # While the first rows are kept as they are, these too stay within the budget.
        plain = self._budget.count // (rest + _bytes(like["x"]))
        self._check_fit(min(room, plain) if self._store.fits_on else room)
        return room

    def _check_fit(self, room: int) -> None:
        if room < self._store.fits_on:
            raise SettingError(
                f"the budget holds {room} rows and the store is fitted on {self._store.fits_on}; fit it on fewer, or "
                "give a larger budget"
            )

    def _lay_out(self, like: dict[str, Tensor], changed: set[str], room: int) -> None:
        """Allocate the columns that have changed and carry over what is held; where rows are wider now, with zeros."""
        device = like["x"].device
        if self._book is None and not self._store.fits_on:
            self._book = self._store.book(like["x"])
        for name in changed:
            if name == "x" and self._book is None:
                new = _allocate(like["x"], self._store.fits_on, device, self._folder)
            else:
                code = self._store.code(like["x"]) if name == "x" else like[name]
                new = _allocate(code, room, device, self._folder)
            if self._count:
                old = self._held[name][: self._count]
                (new[: self._count, : old.shape[1]] if old.ndim == 2 else new[: self._count])[:] = old
            self._held[name] = new
        self._like, self._room = like, room

    def _move(self, device: torch.device) -> None:
        """Be where the rows are; what lies in a file stays there."""
        if self._like["x"].device == device:
            return
        self._like = {name: column.to(device) for name, column in self._like.items()}
        if self._folder is None:
            self._held = {name: column.to(device) for name, column in self._held.items()}
        if self._book is not None:
            self._book = {name: entry.to(device) for name, entry in self._book.items()}

    def _put(self, slots: Ints, index: Ints, columns: Mapping[str, Tensor]) -> None:
        """Write the rows `index` of the columns to their slots."""
        import torch

        if not len(index):
            return
        index = index[_last(slots[index])]
        # Told to the device once, and not once for every column.
        source, target = (torch.from_numpy(at).to(columns["x"].device) for at in (index, slots[index]))
        for name, given in columns.items():
            column = given.detach().index_select(0, source)
            if name == "x" and self._book is not None:
                column = self._store.encode(column, self._book)
            held = self._held[name]
            held.index_copy_(0, target.to(held.device), column.to(held.device))
        self._count = max(self._count, int(slots[index].max()) + 1)

    def _fit(self) -> None:
        """The first rows are there: learn the book from them and put them down by it."""
        device = self._like["x"].device
        x = self._held["x"].to(device)
        self._book = self._store.book(x)
        code = self._store.encode(x, self._book)
        held = _allocate(code[:0], self._room, device, self._folder)
        held[: len(code)] = code
        self._held["x"] = held
