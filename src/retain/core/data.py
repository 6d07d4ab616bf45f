"""The words of rows and of whoever learns from them.

Shapes: n rows, d features, k classes (or outputs).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "CSR",
    "Array",
    "Batch",
    "Column",
    "Features",
    "Floats",
    "Ints",
    "Kind",
    "Learner",
    "Metric",
    "Predictor",
    "Schema",
    "State",
    "Stateful",
    "Stream",
    "Transform",
]

Array: TypeAlias = npt.NDArray[Any]
Floats: TypeAlias = npt.NDArray[np.floating[Any]]
Ints: TypeAlias = npt.NDArray[np.integer[Any]]

State: TypeAlias = Mapping[str, Any]
"""What a part remembers: nested mappings (string keys) of arrays, numbers, strings, booleans, None and lists of these.

Nothing in it may need code to be read back. `retain.state` writes it to safetensors and reads it again.
"""


class Kind(str, Enum):
    """What a column holds, and so how it may be used."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    TEXT = "text"
    TIME = "time"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class Column:
    """A named column of the input and its kind."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Schema:
    """What a source turned out to hold. Columns and classes are append-only: codes never change their meaning.

    `classes[c]` is the label whose code is c; None where the target is a number.
    """

    columns: tuple[Column, ...] = ()
    target: str | None = None
    classes: tuple[str, ...] | None = None
    time: str | None = None
    label_time: str | None = None
    key: str | None = None
    id: str | None = None
    weight: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the feature columns, in order."""
        return tuple(column.name for column in self.columns if column.kind is not Kind.IGNORED)


@dataclass(frozen=True, slots=True)
class CSR:
    """Sparse rows: row i holds `values[indptr[i]:indptr[i + 1]]` at `indices[indptr[i]:indptr[i + 1]]`.

    `width` bounds the indices from above and may grow from one block to the next (hashing and one-hot encoders).
    """

    indptr: npt.NDArray[np.int64]  # (n + 1,)
    indices: npt.NDArray[np.int32]  # (nnz,)
    values: npt.NDArray[np.float32]  # (nnz,)
    width: int

    def __len__(self) -> int:
        return len(self.indptr) - 1


Features: TypeAlias = "Array | CSR | pa.RecordBatch"
"""Rows of input: dense (n, d) or images (n, c, h, w), sparse, or an Arrow record batch of mixed columns."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Labels that were heard before the last row of a block arrived, of its rows or earlier ones, in order of time.

    Shapes: m labels.
    """

    id: Array  # (m,) of the rows they belong to
    y: Array  # (m,) or (m, k), as those of a batch
    time: Array  # (m,) float64, the clock of the rows, not running backwards

    def __len__(self) -> int:
        return len(self.id)


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples in arrival order; every column has n rows.

    A row whose label is missing (code -1, or NaN where the target is a number) is predicted and not learnt. That one
    rule carries late labels: a block may interleave rows that arrive with rows whose labels land.
    """

    x: Features
    y: Array | None = None  # (n,) int64 codes of the schema's classes, -1 missing; or (n,), (n, k) floats, NaN missing
    weight: Array | None = None  # (n,) >= 0
    time: Array | None = None  # (n,) float64 seconds since the epoch, or any clock that does not run backwards
    label_time: Array | None = None
    """(n,) float64, the same clock: when the label becomes known; NaN never, inf not yet, -inf kept secret."""
    key: Array | None = None  # (n,) entity the row belongs to
    id: Array | None = None  # (n,) prediction id, by which a late label finds its row
    task: Array | None = None  # (n,) experience number, where known; no method may require it silently
    schema: Schema | None = None
    answers: Answers | None = None  # where labels come apart from the rows, by their ids; None: they do not

    def __len__(self) -> int:
        if isinstance(self.x, (np.ndarray, CSR)):
            return len(self.x)
        return self.x.num_rows


class Stateful(Protocol):
    """Saves and restores itself exactly: the one state protocol, from which checkpoint, fork and rollback follow."""

    def state_dict(self) -> State:
        """Everything that later behaviour depends on; later changes of the part do not reach into it."""
        ...

    def load_state_dict(self, state: State, /) -> None:
        """Become the part that `state` was taken from, bit for bit."""
        ...


class Predictor(Stateful, Protocol):
    """Answers for rows of input; also what a compressed artefact is."""

    def predict(self, x: Features, /) -> Array:
        """Means (n,) or (n, outputs), or probabilities (n, k) with column j for class code j. Changes nothing."""
        ...


@runtime_checkable
class Learner(Predictor, Protocol):
    """Learns from rows in arrival order."""

    def learn(self, batch: Batch, /) -> Array:
        """Learn the rows in order; return what `predict` said of each row just before its update.

        k = classes known after the block; a row predicted before a class was known holds 0 there.
        """
        ...


class Transform(Stateful, Protocol):
    """Turns rows into other rows and learns how on the way; composes with `|` in front of a learner.

    A transform that needs labels descends from `retain.compose.LabelTransform`, which says how late ones reach it.
    """

    def learn(self, batch: Batch, /) -> Batch:
        """Transform each row with what was known before it, then take it in."""
        ...

    def apply(self, x: Features, /) -> Features:
        """Transform every row with what is known now. Changes nothing."""
        ...


class Stream(Protocol):
    """Where examples come from: a description that can be read again and again, from any position."""

    def read(self, position: State | None = None, /) -> Iterator[tuple[Batch, State]]:
        """Blocks in arrival order, each with the position after it; from `position` on where one is given.

        Reading from a position gives exactly the rows that reading on would have given, in blocks that end at the
        same rows. The position is a State and holds the schema as known there.
        """
        ...


@runtime_checkable
class Rereadable(Protocol):
    """A stream that does something besides when it is read (notes refused rows), which a second reader must not do."""

    def again(self) -> Stream:
        """The same rows and nothing else."""
        ...


@runtime_checkable
class Trailing(Protocol):
    """A stream whose labels come apart from its rows, and may go on coming behind the last of them."""

    def rest(self, position: State | None, /) -> tuple[Answers, int]:
        """All labels from a position on, and how many rows and labels in all could not be read by their end."""
        ...


class Metric(Stateful, Protocol):
    """A running measure. It is a fold over rows: how they are split into blocks changes nothing, bit for bit."""

    @property
    def name(self) -> str:
        """Short lower-case name, as in reports and on the command line."""
        ...

    @property
    def higher_is_better(self) -> bool: ...

    def update(self, y: Array, prediction: Array, weight: Array | None = None, /) -> None:
        """Take in n labels and the predictions made of them."""
        ...

    def value(self) -> float:
        """The measure so far; NaN while it is undefined."""
        ...
