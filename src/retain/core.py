"""The words that every room shares: `Batch`, `Schema`, `State`, `Report` and the protocols. It computes nothing.

Shapes: n rows, d features, k classes (or outputs).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor
    from torch.nn import Linear, Module

__all__ = [
    "CSR",
    "Array",
    "Averaging",
    "Batch",
    "Column",
    "Decision",
    "Drift",
    "Features",
    "Floats",
    "Forward",
    "Gate",
    "Head",
    "Ints",
    "Kind",
    "Learner",
    "Level",
    "Memory",
    "Metric",
    "Model",
    "Predictor",
    "Projection",
    "Registry",
    "Report",
    "Rows",
    "Schema",
    "Slope",
    "Spring",
    "State",
    "Stateful",
    "Strategy",
    "Stream",
    "Transform",
    "Trigger",
    "Verdict",
    "Version",
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
class Batch:
    """Examples in arrival order; every column has n rows.

    A row whose label is missing (code -1, or NaN where the target is a number) is predicted and not learnt. That one
    rule carries late labels: a block may interleave rows that arrive with rows whose labels land.
    """

    x: Features
    y: Array | None = None  # (n,) int64 codes of the schema's classes, -1 missing; or (n,), (n, k) floats, NaN missing
    weight: Array | None = None  # (n,) >= 0
    time: Array | None = None  # (n,) float64 seconds since the epoch, or any clock that does not run backwards
    label_time: Array | None = None  # (n,) float64, the same clock: when the label becomes known; NaN never
    key: Array | None = None  # (n,) entity the row belongs to
    id: Array | None = None  # (n,) prediction id, by which a late label finds its row
    task: Array | None = None  # (n,) experience number, where known; no method may require it silently
    schema: Schema | None = None

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


@dataclass(frozen=True, slots=True)
class Rows:
    """Labelled rows as tensors: what a neural learner steps on and what a memory keeps; every column has n rows."""

    x: Tensor  # (n, ...)
    y: Tensor  # (n,) int64 codes, or (n,) or (n, k) floats; none missing
    weight: Tensor  # (n,) >= 0, ones where none were given
    extra: Mapping[str, Tensor] = field(default_factory=dict[str, "Tensor"])  # (n, ...) logits, features, ...

    def __len__(self) -> int:
        return self.y.shape[0]  # len(tensor) takes a microsecond, and steps ask often


@dataclass(frozen=True, slots=True)
class Forward:
    """Rows and what the module said of them in the one forward pass of a step."""

    rows: Rows
    output: Tensor  # (n, k), k the width of the module's output; part of a graph only in `Addend.loss`


@dataclass(frozen=True, slots=True)
class Slope:
    """A loss, and its gradient by the outputs that it depends on."""

    loss: Tensor  # ()
    new: Tensor | None = None  # (n, k) by those of the new rows; None where it does not depend on them
    own: Tensor | None = None  # (m, k) by those of the strategy's own


@dataclass(slots=True)
class Spring:
    """A pull at the weights w that the learner adds to the gradient, on the way of the step: times * bend * (w - rest).

    With `credit`, -g * (the step) is added to it after the step, g being the gradient without this pull. `times` is not
    finite where the pull is not: the step is then skipped.
    """

    bend: Tensor | None = None  # (p,) None for no pull
    rest: Tensor | None = None  # (p,)
    times: float = 1.0
    credit: Tensor | None = None  # (p,) changed in place
    square: float | None = None  # |g|^2, for who knows it already
    left: float | None = (
        None  # told after the step: about |bend * (w - rest)|^2, as long as the weights stay as they are
    )


class Model(Protocol):
    """What strategies and memories see of a neural learner."""

    @property
    def module(self) -> Module: ...

    @property
    def weights(self) -> Tensor:
        """(p,) all parameters that are trained, laid end to end: the module's own are views of it."""
        ...

    @property
    def head(self) -> Linear | None:
        """The last linear layer; None where the module has none."""
        ...

    @property
    def classes(self) -> int:
        """How many classes have been learnt, those of the step under way included; 0 where targets are numbers."""
        ...

    @property
    def seen(self) -> Tensor:
        """(tasks, classes) which classes occurred in which task; (0, 0) without task masks."""
        ...

    def scores(self, output: Tensor, /) -> Tensor:
        """What the module says (n, k) of the classes that have been learnt (n, classes); all of it, for numbers."""
        ...

    def losses(self, forward: Forward, /) -> Tensor:
        """The criterion, one loss for each row (n,), weights of rows not applied."""
        ...

    def slope(self, forward: Forward, /) -> tuple[Tensor, Tensor]:
        """The mean over rows of weight times the criterion, (), and its gradient by the outputs (n, k)."""
        ...

    def outputs(self, x: Tensor, /, *, weights: Tensor | None = None) -> Tensor:
        """What the module says of rows (n, k), in evaluation mode and without a graph; with other weights if given."""
        ...

    def features(self, x: Tensor, /) -> Tensor:
        """What the last linear layer is given for rows (n, d), in evaluation mode and without a graph."""
        ...

    def gradient(self, rows: Rows, /) -> Tensor:
        """(p,) the gradient of the mean loss of rows, in training mode."""
        ...

    def magnitudes(self, x: Tensor, slope: Tensor, /, *, power: int) -> Tensor:
        """(p,) the sum over rows of |g|^power, g the gradient of one row's outputs times its slope (n, k).

        In evaluation mode: with power 2 and the slopes of the losses, n times the diagonal Fisher information.
        """
        ...

    def widen(self, vector: Tensor, /) -> Tensor:
        """A vector over the weights as they once were, over the weights as they are: zeros where the head grew.

        Returns `vector` itself where nothing has grown.
        """
        ...


class Strategy(Stateful, Protocol):
    """One addend of the training loss of a neural learner.

    A step calls `rows`, makes one forward pass over the new rows and those of every strategy, adds up `slope`, goes
    back through the module once, calls `pull`, steps the optimiser and calls `stepped`, each in the order of the names,
    so that the order of listing cannot matter. A strategy that draws at random has a generator of its own. Those that
    need only a part of this descend from `retain.strategies.Addend`.
    """

    @property
    def name(self) -> str:
        """What its state is kept under; no two strategies of a learner share it."""
        ...

    @property
    def memory(self) -> Memory | None:
        """The rows that it keeps, if it keeps any; no two parts of a learner share a memory."""
        ...

    def rows(self, new: Rows, /) -> Rows | None:
        """The rows it wants in the forward pass beside the new ones (replay)."""
        ...

    def slope(self, model: Model, new: Forward, /, *, own: Forward | None) -> Slope | None:
        """The addend as a function of the outputs, and its gradient by them; None for nothing. Changes nothing."""
        ...

    def pull(self, model: Model, gradient: Tensor, /) -> Spring | None:
        """The addend as a function of the weights: its gradient is added, in place, to that of the loss (p,).

        Or it is returned, for the learner to add; that costs less, since the optimiser goes through all weights anyway.
        """
        ...

    def stepped(self, model: Model, new: Forward, /) -> None:
        """The optimiser has stepped: remember the new rows and their outputs, follow the weights.

        The outputs are those from before the step, without their graph. Called after a step only: one that was
        skipped, because a loss or a gradient was not finite, leaves no trace.
        """
        ...

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:
        """An experience has ended: Fisher, anchors, teachers. Its blocks can be gone through again and again."""
        ...


class Projection(Stateful, Protocol):
    """What is done to the gradient of the whole loss before the step (GEM, A-GEM). A learner has at most one."""

    @property
    def memory(self) -> Memory | None:
        """As `Strategy.memory`."""
        ...

    def project(self, model: Model, gradient: Tensor, /) -> None:
        """Change the gradient (p,) in place."""
        ...

    def stepped(self, model: Model, new: Forward, /) -> None:
        """As `Strategy.stepped`."""
        ...

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:
        """As `Strategy.consolidate`."""
        ...


class Averaging(Stateful, Protocol):
    """Other weights to predict with than those that are trained (EMA, interpolation). A learner has at most one."""

    def weights(self, model: Model, /) -> Tensor:
        """(p,) what to predict with now. Changes nothing."""
        ...

    def stepped(self, model: Model, new: Forward, /) -> None:
        """As `Strategy.stepped`."""
        ...

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:
        """As `Strategy.consolidate`."""
        ...


class Head(Stateful, Protocol):
    """How what the module says becomes an answer (nearest mean, bias correction). A learner has at most one."""

    @property
    def memory(self) -> Memory | None:
        """As `Strategy.memory`; None where it only reads that of a strategy."""
        ...

    def answer(self, model: Model, x: Tensor, /) -> Tensor:
        """Scores (n, k) of the classes it knows: the larger the likelier; a softmax turns them into probabilities."""
        ...

    def stepped(self, model: Model, new: Forward, /) -> None:
        """As `Strategy.stepped`."""
        ...

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:
        """As `Strategy.consolidate`; called after the strategies have consolidated."""
        ...


class Memory(Stateful, Protocol):
    """Rows kept of all that went by, under a fixed budget. It has its own generator, so that `sample` may draw."""

    @property
    def wants(self) -> frozenset[str]:
        """Extra columns that rows must bring for it to choose by ("loss"); they are kept like others."""
        ...

    def __len__(self) -> int: ...

    def add(self, rows: Rows, /) -> None:
        """Offer n rows, one after the other; how they are split into calls changes nothing."""
        ...

    def sample(self, n: int, /) -> Rows:
        """Draw n different rows, all there are where there are fewer. Raises SettingError while it is empty."""
        ...

    def rows(self) -> Rows:
        """All that it holds. Raises SettingError while it is empty."""
        ...

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:
        """An experience has ended, all of whose rows were offered: choose among them (herding), start a new share."""
        ...


class Stream(Protocol):
    """Where examples come from: a description that can be read again and again, from any position."""

    def read(self, position: State | None = None, /) -> Iterator[tuple[Batch, State]]:
        """Blocks in arrival order, each with the position after it; from `position` on where one is given.

        Reading from a position gives exactly the rows that reading on would have given, in blocks that end at the
        same rows. The position is a State and holds the schema as known there.
        """
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


class Level(Enum):
    """What a drift detector says of a row."""

    STABLE = 0
    WARNING = 1
    DRIFT = 2


@dataclass(frozen=True, slots=True)
class Drift:
    """What a detector saw in a block: one level per row, as the values of `Level`."""

    levels: npt.NDArray[np.int8]  # (n,)


class Detector(Stateful, Protocol):
    """Watches a sequence of numbers for a change of its distribution."""

    def update(self, values: Array, /) -> Drift:
        """Take in n values, one row after the other."""
        ...


@dataclass(frozen=True, slots=True)
class Report:
    """What one step of a loop did. Rules fold over the log of these, so a report holds all that they may look at."""

    rows: int  # arrived so far
    learnt: int  # labels learnt so far
    pending: int  # rows that wait for their labels
    lost: int  # labels that came too late or never
    quarantined: int  # rows that could not be read
    seconds: float  # wall clock so far
    cpu_seconds: float
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    baselines: Mapping[str, Mapping[str, float]] = field(default_factory=dict[str, Mapping[str, float]])
    time: float = float("nan")  # event time of the last row
    id: Array | None = None  # (m,) row numbers or ids scored in this step, in the order in which their labels landed
    y: Array | None = None  # (m,) their labels
    prediction: Array | None = None  # (m,) or (m, k): what was said of them on arrival
    loss: Array | None = None  # (m,) per-row loss: 0-1 for classes, absolute error for numbers
    shadows: Mapping[str, Array] = field(default_factory=dict[str, Array])  # (m,) losses of candidates; NaN: not asked
    events: tuple[str, ...] = ()  # what happened besides: drifts, decisions, warnings


class Trigger(Stateful, Protocol):
    """When to act: a fold over reports."""

    def __call__(self, report: Report, /) -> bool: ...


class Decision(Enum):
    """What a gate decides: tests are sequential, so it may not know yet."""

    UNDECIDED = "undecided"
    PROMOTE = "promote"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision, after how many pairs it fell, and why."""

    decision: Decision
    pairs: int  # seen until it was taken, or so far: an exact row, however reports were cut
    evidence: Mapping[str, float] = field(default_factory=dict[str, float])  # differences, bounds, e-values, by name


class Gate(Stateful, Protocol):
    """Whether to promote: a fold over paired evidence, champion and candidate on the same rows."""

    def __call__(self, champion: Array, candidate: Array, /) -> Verdict:
        """Take in the per-row losses (m,) of both on the same m rows, one after the other; NaN in either is no pair.

        The first decision stands: what comes later, in the same call or in others, does not change it.
        """
        ...


@dataclass(frozen=True, slots=True)
class Version:
    """An immutable checkpoint in a registry, named by its content: its state, its parent and its report."""

    name: str
    parent: str | None
    report: Mapping[str, Any]


class Registry(Protocol):
    """Versions are immutable, aliases move; the live learner descends from a version."""

    def push(self, state: State, /, *, parent: str | None, report: Mapping[str, Any]) -> Version:
        """Keep a state, durably, as a version that descends from `parent`; the same again is the same version."""
        ...

    def pull(self, ref: str, /) -> State:
        """The state of a version, by its name or an alias. Raises StateError where it is damaged or unknown."""
        ...

    def version(self, ref: str, /) -> Version:
        """Where a version comes from and how it did: what rollback and lineage walk along."""
        ...

    def point(self, alias: str, version: str, /) -> None:
        """Move an alias, whole or not at all; to promote and to roll back are both this."""
        ...
