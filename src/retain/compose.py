"""Transforms in front of a learner: `Scale() | OneHot() | Linear()`, and how late labels flow through them.

Rows arrive at the first stage and flow down to the learner; labels land later, in another order. `Chain.flow` takes
both in the order of their events, one call per stage, so that a block of a thousand interleaved events costs a thousand
rows and not a thousand calls.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, final, overload

import numpy as np

from retain.blocks import check_labels, concat_batches, from_state, labelled, take_batch, to_state
from retain.branches import Branches
from retain.core import Array, Batch, Features, Floats, Ints, Learner, State
from retain.errors import RetainError, SettingError
from retain.scores import Scores

__all__ = [
    "Blending",
    "Bounding",
    "Branching",
    "Chain",
    "Composable",
    "Consolidating",
    "Kept",
    "LabelTransform",
    "LateLearner",
    "Narrowing",
    "Paced",
    "Renewing",
    "Scoring",
    "Settling",
    "Steps",
    "Wary",
    "Wrapper",
    "consolidate",
    "doubt",
    "interval",
    "late",
    "learns",
    "novelty",
    "steps",
    "within",
]


class Composable(ABC):
    """A transform that composes with `|`; every transform of the library descends from it."""

    @overload
    def __or__(self, other: Composable, /) -> Steps: ...
    @overload
    def __or__(self, other: Learner, /) -> Chain: ...
    def __or__(self, other: Composable | Learner, /) -> Steps | Chain:
        """`a | b`: what a turns rows into is b's input."""
        if isinstance(other, Composable):
            return Steps((*steps(self), *steps(other)))
        if isinstance(other, Chain):
            return Chain((*steps(self), *other.transforms), other.learner)
        return Chain(steps(self), other)

    @abstractmethod
    def learn(self, batch: Batch, /) -> Batch: ...

    @abstractmethod
    def apply(self, x: Features, /) -> Features: ...

    @abstractmethod
    def state_dict(self) -> State: ...

    @abstractmethod
    def load_state_dict(self, state: State, /) -> None: ...

    def mark(self) -> Callable[[], None]:
        """What takes back all that is learnt from now on; of use until the next mark.

        A transform whose state grows with the stream does better than this copy, which is made for every block.
        """
        return partial(self.load_state_dict, self.state_dict())


class LabelTransform(Composable):
    """A transform that needs labels (target encoders, lags of the label), which may land long after their rows."""

    @abstractmethod
    def keep(self, x: Features, /) -> Features:
        """What of each row this transform wants to see again when the row's label lands."""

    @abstractmethod
    def interleave(self, arrivals: Batch, landed: Batch, order: Ints, /) -> Batch:
        """Arrivals (n rows) and landed labels (m rows of what `keep` kept, y not missing) in the order of their events.

        `order` has n + m entries: i >= 0 says that row i of `arrivals` arrives, ~j that row j of `landed` lands.
        Returns the n arrivals, each transformed with what was known before it.
        """

    def learn(self, batch: Batch, /) -> Batch:
        """Each row arrives and, where it has a label, the label lands before the next row arrives."""
        n = len(batch)
        check_labels(batch.y, n, reader=type(self).__name__)
        rows = np.flatnonzero(labelled(batch.y, n))
        landed = take_batch(replace(batch, x=self.keep(batch.x)), rows)
        key = np.concatenate([2 * np.arange(n), 2 * rows + 1])
        order = np.concatenate([np.arange(n), ~np.arange(len(rows))])[np.argsort(key)]
        return self.interleave(batch, landed, order)


@final
class Steps(Composable):
    """Several transforms in a row, without a learner yet."""

    def __init__(self, transforms: Sequence[Composable], /) -> None:
        self.transforms = tuple(transforms)

    def learn(self, batch: Batch, /) -> Batch:
        return _through(self.transforms, batch)

    def apply(self, x: Features, /) -> Features:
        return _seen(self.transforms, x)

    def state_dict(self) -> State:
        return _states(self.transforms)

    def load_state_dict(self, state: State, /) -> None:
        _load(self.transforms, state)


@final
@dataclass(frozen=True, slots=True)
class Kept:
    """What a learner must see again of rows whose labels are still to come; every view and part has n rows.

    For a chain: one view for each label transform, then the row as it was on arrival; where the learner at its end
    keeps things of its own, these are the one part. A learner made of learners has a part for each.
    """

    views: tuple[Batch, ...]
    parts: tuple[Kept, ...] = ()

    def take(self, rows: Ints | slice, /) -> Kept:
        """The given rows of everything."""
        return Kept(tuple(take_batch(view, rows) for view in self.views), tuple(part.take(rows) for part in self.parts))

    def weighed(self, factor: Array, /) -> Kept:
        """The same rows, each of them counting so many times as much."""
        views = (replace(v, weight=factor if v.weight is None else v.weight * factor) for v in self.views)
        return Kept(tuple(views), tuple(part.weighed(factor) for part in self.parts))

    @staticmethod
    def join(many: Sequence[Kept], /) -> Kept:
        """Rows of all, one after the other."""
        views = zip(*(one.views for one in many), strict=True)
        parts = zip(*(one.parts for one in many), strict=True)
        return Kept(tuple(concat_batches(v) for v in views), tuple(Kept.join(p) for p in parts))

    def to_state(self) -> dict[str, Any]:
        """As a `State`."""
        views = {str(i): to_state(view) for i, view in enumerate(self.views)}
        return {"views": views, "parts": {str(i): part.to_state() for i, part in enumerate(self.parts)}}

    @staticmethod
    def from_state(state: State, /) -> Kept:
        """What `to_state` saved."""
        views, parts = (state[name] for name in ("views", "parts"))
        return Kept(
            tuple(from_state(views[str(i)]) for i in range(len(views))),
            tuple(Kept.from_state(parts[str(i)]) for i in range(len(parts))),
        )

    def __len__(self) -> int:
        return len(self.views[-1]) if self.views else len(self.parts[0])


class LateLearner(ABC):
    """A learner that wants to know when a row arrived, and what it said then, once the label lands.

    Other learners meet late labels as rows like others: see `retain.core.Batch`.
    """

    @abstractmethod
    def learn(self, batch: Batch, /) -> Array: ...

    @abstractmethod
    def predict(self, x: Features, /) -> Array: ...

    @abstractmethod
    def flow(self, arrivals: Batch, due: Kept | None, due_y: Array, order: Ints, /) -> tuple[Array, Kept]:
        """Rows arrive and labels land, in the order of their events.

        Args:
            arrivals: n rows without labels.
            due: what was kept of m rows that arrived in earlier blocks and whose labels land now; None for m = 0.
            due_y: (m + n,) labels of the due rows, then of the arrivals (those that do not land now are not looked at).
            order: i >= 0: arrival i arrives; ~j: the label of row j of (due rows, then arrivals) lands.

        Returns:
            The predictions of the arrivals, each made when it arrived, and what to keep of all of them.
        """

    @abstractmethod
    def meet(self, arrivals: Batch, /) -> tuple[Array, Kept]:
        """As `flow`, of rows alone: they are answered and kept, and nothing is learnt, not even how rows look."""

    @abstractmethod
    def state_dict(self) -> State: ...

    @abstractmethod
    def load_state_dict(self, state: State, /) -> None: ...


class Consolidating(ABC):
    """A learner that wants to know that an experience (a task, a day, a site) has ended."""

    @abstractmethod
    def consolidate(self, experience: Iterable[Batch], /) -> None:
        """All rows of the experience have been learnt; its blocks can be gone through again and again."""


class Settling(ABC):
    """A learner in which rows may wait until there are enough of them."""

    @abstractmethod
    def settle(self) -> None:
        """Learn the rows that wait now."""


class Paced(ABC):
    """A learner whose learning rate may be changed while it learns."""

    @abstractmethod
    def pace(self, factor: float, /) -> None:
        """Multiply the learning rate. Raises SettingError where the update has none."""


class Renewing(ABC):
    """A learner of learners, of which the worst may begin anew."""

    @abstractmethod
    def renew(self, blank: Learner, /) -> int:
        """The worst member becomes what it is in `blank`, which has learnt nothing; return its number."""


class Blending(ABC):
    """A learner whose weights may be mixed with those of another of its kind."""

    @abstractmethod
    def blend(self, other: Learner, share: float, /) -> None:
        """w <- (1 - share) w + share w', w' the other's; all else stays. Raises SettingError where they do not fit."""


class Bounding(ABC):
    """A learner of numbers that says within which bounds a label will lie."""

    @abstractmethod
    def interval(self, x: Features, /, *, coverage: float = 0.9) -> Array:
        """Lower and upper bounds that hold such a share of labels: (n, 2), or (n, k, 2) for k outputs."""


class Wary(ABC):
    """A learner of classes with a measure of its own of how new a row looks."""

    @abstractmethod
    def novelty(self, x: Features, /) -> Floats:
        """(n,) how far each row is from all that is known, infinite while nothing is. Changes nothing."""

    @abstractmethod
    def learn_novelty(self, batch: Batch, /) -> tuple[Array, Floats]:
        """Learn the rows in order; return the predictions and the novelty (n,), each from just before the update."""


class Scoring(ABC):
    """A learner whose answers are a weighted sum of the features, and a fixed function of it."""

    @abstractmethod
    def scores(self) -> Scores:
        """What it answers with now. Raises SettingError where nothing is learnt, or weights depend on the row."""


class Narrowing(ABC):
    """A learner that can do with fewer features, as if it had never had the others."""

    @abstractmethod
    def worth(self) -> Floats:
        """(d,) what each feature gives that the others cannot; only how they compare means something."""

    @abstractmethod
    def narrowed(self, kept: Ints, /) -> Learner:
        """A copy that has only ever had these features, given in ascending order; this learner stays as it is."""


class Branching(ABC):
    """A learner whose answers are a weighted mean of what leaves of trees say, and that can do with less of them.

    Shapes: T trees, N nodes, K classes, all as `branches` counts them.
    """

    @abstractmethod
    def branches(self) -> Branches:
        """What it answers with now. Raises SettingError where nothing is learnt."""

    @abstractmethod
    def thinned(self, kept: Ints, /) -> Learner:
        """A copy that has only these trees, given in ascending order; this learner stays as it is."""

    @abstractmethod
    def pruned(self, nodes: Ints, /) -> Learner:
        """A copy in which these nodes are leaves, which know the shares of what came to them."""

    @abstractmethod
    def counting(self, more: Floats, /) -> Learner:
        """A copy whose leaves say shares of their classes from now on; their counts grow by (N, K) of each node."""


class Wrapper(ABC):
    """A learner around another one: who asks for what learns (`learns`, `consolidate`) means the one inside."""

    learner: Learner


@final
class Chain(LateLearner):
    """Transforms in front of a learner: itself a learner.

    >>> import numpy as np, retain as rt
    >>> pipe = rt.Scale() | rt.Linear()
    >>> rows = rt.Batch(np.array([[1.0], [2.0], [3.0]]), y=np.array([1.0, 2.0, 3.0]))
    >>> pipe.learn(rows).shape
    (3,)
    """

    def __init__(self, transforms: Sequence[Composable], learner: Learner, /) -> None:
        self.transforms = tuple(transforms)
        self.learner = learner

    def learn(self, batch: Batch, /) -> Array:
        """Learn rows whose labels come with them (see `retain.core.Learner`); an error leaves every stage as it was."""
        with self._whole():
            return self.learner.learn(_through(self.transforms, batch))

    def predict(self, x: Features, /) -> Array:
        """Predict rows with what is known now."""
        return self.learner.predict(_seen(self.transforms, x))

    def flow(self, arrivals: Batch, due: Kept | None, due_y: Array, order: Ints, /) -> tuple[Array, Kept]:
        """Each stage takes all events of the block in one call; an error leaves every stage as it was."""
        check_labels(due_y, len(due_y), reader="the chain")
        with self._whole():
            return self._flow(arrivals, due, due_y, order)

    def meet(self, arrivals: Batch, /) -> tuple[Array, Kept]:
        """As `retain.compose.LateLearner.meet`: transforms apply what they know; what is new to them stays unknown."""
        batch = replace(arrivals, y=None)
        views: list[Batch] = []
        for transform in self.transforms:
            if isinstance(transform, LabelTransform):
                views.append(replace(batch, x=transform.keep(batch.x)))
            batch = replace(batch, x=transform.apply(batch.x))
        if isinstance(self.learner, LateLearner):
            prediction, kept = self.learner.meet(batch)
            return prediction, Kept(tuple(views), (kept,))
        return self.learner.predict(batch.x), Kept((*views, batch))

    def _flow(self, arrivals: Batch, due: Kept | None, due_y: Array, order: Ints) -> tuple[Array, Kept]:
        if due_y.dtype.kind in "ub":  # a missing label is -1, which these cannot hold
            due_y = due_y.astype(np.int64)
        landing = ~order[order < 0]
        event = order.copy()
        event[order < 0] = ~np.arange(len(landing))
        batch = replace(arrivals, y=None)
        views: list[Batch] = []
        for transform in self.transforms:
            if isinstance(transform, LabelTransform):
                view = replace(batch, x=transform.keep(batch.x))
                batch = transform.interleave(batch, _landed(view, due, len(views), due_y, landing), event)
                views.append(view)
            else:
                batch = transform.learn(batch)
        if isinstance(self.learner, LateLearner):
            part = None if due is None else due.parts[0]
            prediction, kept = self.learner.flow(batch, part, due_y, order)
            return prediction, Kept(tuple(views), (kept,))
        landed = _landed(batch, due, len(views), due_y, landing)
        missing = np.full((len(batch), *due_y.shape[1:]), -1 if due_y.dtype.kind == "i" else np.nan, dtype=due_y.dtype)
        both = concat_batches([replace(batch, y=missing), landed]) if len(landed) else replace(batch, y=missing)
        rows = np.where(event >= 0, event, len(batch) + ~event)
        events = take_batch(both, rows) if len(landed) else both
        prediction = self.learner.learn(events)
        return prediction[event >= 0], Kept((*views, batch))

    def state_dict(self) -> State:
        return {"transforms": _states(self.transforms), "learner": self.learner.state_dict()}

    def load_state_dict(self, state: State, /) -> None:
        _load(self.transforms, state["transforms"])
        self.learner.load_state_dict(state["learner"])

    @contextmanager
    def _whole(self) -> Generator[None]:
        """All stages learn or none does."""
        marks = [transform.mark() for transform in self.transforms]
        try:
            yield
        except RetainError:
            for undo in marks:
                undo()
            raise


def late(learner: Learner, /) -> LateLearner:
    """Any learner as one that takes late labels; those that do as themselves."""
    return learner if isinstance(learner, LateLearner) else Chain((), learner)


def consolidate(learner: Learner, experience: Iterable[Batch], /) -> None:
    """Tell whoever wants to know, at the end of a chain too, that an experience has ended; others go on as they are."""
    end = learns(learner)
    if isinstance(end, Consolidating):
        end.consolidate(within(learner, experience))


def learns(learner: Learner, /) -> Learner:
    """The learner at the end of a chain, or inside a wrapper; any other as itself."""
    return learns(learner.learner) if isinstance(learner, (Chain, Wrapper)) else learner


def within(learner: Learner, batches: Iterable[Batch], /) -> Iterable[Batch]:
    """Blocks as the learner at the end of a chain, or inside a wrapper, sees them, each time they are gone through."""
    if isinstance(learner, Chain):
        return within(learner.learner, _Applied(learner.transforms, batches))
    return within(learner.learner, batches) if isinstance(learner, Wrapper) else batches


def novelty(learner: Learner, x: Features, /) -> Floats:
    """(n,) how new rows look to a learner of classes, at the end of a chain too: the larger, the stranger.

    It is the learner's own measure (`SLDA`, `NearestMean`, `FeCAM`: what is odd beside all classes), or else
    1 less the largest probability; infinite while nothing is known. Raises SettingError for a learner of numbers.

    >>> import numpy as np, retain as rt
    >>> learner = rt.NearestMean(batch_size=4)
    >>> said = learner.learn(rt.Batch(np.float32([[0, 1], [0, -1], [4, 1], [4, -1]]), y=np.array([0, 0, 1, 1])))
    >>> rt.novelty(learner, np.float32([[0, 0], [2, 0], [2, 9]])).round(1)
    array([ -1.4,   8. , 140.8])
    """
    if isinstance(learner, Chain):
        return novelty(learner.learner, _seen(learner.transforms, x))
    return learner.novelty(x) if isinstance(learner, Wary) else doubt(learner.predict(x))


def interval(learner: Learner, x: Features, /, *, coverage: float = 0.9) -> Array:
    """Bounds within which labels of rows will lie, at the end of a chain too: (n, 2), or (n, k, 2) for k outputs.

    Args:
        learner: one that says how sure it is: `Ridge`, `RLS`, or any in `Conformal`.
        x: n rows.
        coverage: share of labels that lie within, 0 < coverage < 1.

    Raises SettingError for another learner, class codes as labels, or a coverage out of range.

    >>> import numpy as np, retain as rt
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(500, 3))
    >>> learner = rt.RLS()
    >>> said = learner.learn(rt.Batch(x, y=x @ [1.0, 2.0, 3.0] + rng.normal(size=500)))
    >>> rt.interval(learner, np.array([[0.0, 0.0, 0.0], [100.0, 0.0, 0.0]]), coverage=0.95).round(1)
    array([[ -2.1,   2. ],
           [ 94.3, 113.3]])
    """
    if isinstance(learner, Chain):
        return interval(learner.learner, _seen(learner.transforms, x), coverage=coverage)
    if not isinstance(learner, Bounding):
        raise SettingError(
            f"{type(learner).__name__} says no intervals; expected Ridge, RLS or Conformal(...), or a chain that "
            "ends so"
        )
    return learner.interval(x, coverage=coverage)


def doubt(said: Array, /) -> Floats:
    """1 less the largest probability, infinite where nothing was said: (n,). Raises SettingError for numbers."""
    if said.ndim != 2:
        raise SettingError(
            f"novelty is asked of a learner that said numbers of shape {said.shape}; expected one of classes, "
            "whose answers are probabilities (n, k)"
        )
    most = said.max(axis=1, initial=0.0)
    return np.where(most > 0, 1.0 - most, np.inf)


@final
@dataclass(frozen=True, slots=True)
class _Applied:
    """Blocks as the learner at the end of a chain sees them, each time they are gone through."""

    transforms: Sequence[Composable]
    batches: Iterable[Batch]

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.batches:
            yield replace(batch, x=_seen(self.transforms, batch.x))


def steps(transform: Composable, /) -> tuple[Composable, ...]:
    """The single transforms that a transform is made of."""
    return transform.transforms if isinstance(transform, Steps) else (transform,)


def _seen(transforms: Sequence[Composable], x: Features) -> Features:
    """Rows as who stands behind the transforms sees them. Changes nothing."""
    for transform in transforms:
        x = transform.apply(x)
    return x


def _through(transforms: Sequence[Composable], batch: Batch) -> Batch:
    for transform in transforms:
        batch = transform.learn(batch)
    return batch


def _landed(view: Batch, due: Kept | None, stage: int, due_y: Array, landing: Ints) -> Batch:
    """The rows whose labels land in this block, in landing order, with their labels."""
    pool = replace(view, y=None)
    if due is not None and len(due):
        pool = concat_batches([replace(due.views[stage], y=None), pool])
    return take_batch(replace(pool, y=due_y), landing)


def _states(transforms: Sequence[Composable]) -> dict[str, Any]:
    return {str(i): transform.state_dict() for i, transform in enumerate(transforms)}


def _load(transforms: Sequence[Composable], state: State) -> None:
    for i, transform in enumerate(transforms):
        transform.load_state_dict(state[str(i)])
