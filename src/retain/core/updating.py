"""The words of systematic update: reports, when to act, what to do, whether to dare, and the versions that result.

Shapes: m rows whose labels landed, k classes (or outputs).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from retain.core.data import Array, Batch, Learner, State, Stateful

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = [
    "Action",
    "Candidate",
    "Decision",
    "Deed",
    "Detector",
    "Drift",
    "Evidence",
    "Gate",
    "Level",
    "Registry",
    "Report",
    "Trigger",
    "Verdict",
    "Version",
    "Workshop",
]


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
class Evidence:
    """What a gate may look at: champion and candidate on the same m rows, in the order in which their labels landed.

    The candidate has learnt none of these rows before it was asked. What it was not asked is NaN.
    """

    champion: Array  # (m,) losses, as in `Report.loss`
    candidate: Array  # (m,)
    y: Array | None = None  # (m,) labels
    champion_said: Array | None = None  # (m,) or (m, k)
    candidate_said: Array | None = None
    columns: Mapping[str, Array] = field(default_factory=dict[str, Array])  # (m,) of each row, those that gates ask for
    past: Callable[[], Mapping[str, tuple[Array, Array]]] | None = None
    """The losses of both, now, on rows of each past experience that nobody has learnt; None where none are kept."""
    costs: Callable[[], Mapping[str, tuple[float, float]]] | None = None
    """Of both: "seconds", to answer a row, and "bytes", of its state."""


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that rules did, in a form that tables and plots can use."""

    rows: int  # that had arrived
    time: float  # event time
    rule: str
    what: str  # fired, held, opened, promoted, refused, set aside, returned, failed
    why: str = ""
    evidence: Mapping[str, float] = field(default_factory=dict[str, float])
    seconds: float = 0.0  # CPU time that the action took

    def __str__(self) -> str:
        return f"{self.rule}: {self.what}" + (f" ({self.why})" if self.why else "")


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
    arrived: Batch | None = None  # the rows that arrived in this step, as their source gave them
    row: Array | None = None  # (m,) numbers of the rows scored in this step, in the order in which their labels landed
    id: Array | None = None  # (m,) their ids; their numbers where they have none
    y: Array | None = None  # (m,) their labels
    prediction: Array | None = None  # (m,) or (m, k): what was said of them on arrival
    loss: Array | None = None  # (m,) per-row loss: 0-1 for classes, absolute error for numbers
    evidence: Evidence | None = None  # while a candidate is on trial
    hindsight: Callable[[int], tuple[Array, Array]] | None = None
    """Losses of the last so many rows that were learnt: when they were new, and as the champion sees them now."""
    actions: int = 0  # how many actions made a candidate so far,
    action_seconds: float = 0.0  # and what CPU time they took
    deeds: tuple[Deed, ...] = ()  # what rules did after this step
    events: tuple[str, ...] = ()  # what happened besides: damage found, warnings
    strays: int = 0  # labels that came apart and found no row: unknown or twice, or after `expire`


class Trigger(Stateful, Protocol):
    """When to act: a fold over reports."""

    def __call__(self, report: Report, /) -> bool:
        """Take in the next report; whether to act now."""
        ...


class Candidate(Protocol):
    """A model that may become the champion, together with the rows that it has seen and whose labels are to come."""

    @property
    def learner(self) -> Learner: ...


class Workshop(Protocol):
    """What an action may use. Nothing that it does here touches the champion, which goes on serving and learning."""

    def fresh(self, *, last: int | None) -> Candidate:
        """A learner as the pipeline was given it, taught the last so many rows of history (None: all), in order.

        Only labels that have landed by now are learnt, each when it landed.
        """
        ...

    def fork(self, *, last: int = 0) -> Candidate:
        """A copy of the champion as it is; with `last`, taught the last so many rows once more."""
        ...

    def taught(self, batches: Iterable[Batch], /) -> Candidate:
        """A learner as the pipeline was given it, taught these rows, which then waits for the same labels."""
        ...

    def version(self, ref: str, /) -> Candidate:
        """A version of the registry, as it was when it was kept. Raises StateError where there is none."""
        ...

    def keep(self) -> None:
        """Keep the champion as it is as a version. Raises SettingError where there is no registry."""
        ...

    def derive(self, alias: str, make: Callable[[], tuple[State, Mapping[str, Any]]], /) -> None:
        """Keep what is made of the champion, a state and a report, as a version that descends from it, under an alias.

        Raises SettingError where there is no registry.
        """
        ...

    def history(self, last: int | None, /) -> Iterable[Batch]:
        """The last so many rows whose labels have landed, in order of arrival; they can be gone through again."""
        ...


class Action(Protocol):
    """What to do: make a candidate, or nothing but tell."""

    @property
    def needs(self) -> int | None:
        """How many rows of history it goes back; None for all."""
        ...

    def __call__(self, workshop: Workshop, /) -> Candidate | None: ...


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
    why: str = ""  # which part of several decided


class Gate(Stateful, Protocol):
    """Whether to promote: a fold over paired evidence, champion and candidate on the same rows."""

    @property
    def wants(self) -> frozenset[str]:
        """Columns of the rows that evidence must bring, by name."""
        ...

    def __call__(self, evidence: Evidence, /) -> Verdict:
        """Take in m more rows, one after the other; those with NaN in either loss are no pair.

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
