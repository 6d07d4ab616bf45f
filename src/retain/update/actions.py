"""What to do when a rule fires: each action makes a candidate of a copy, and never touches the champion."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, final

import numpy as np

from retain.blocks import labelled, take_batch
from retain.compose import Blending, Paced, Renewing, consolidate, learns
from retain.core import Array, Batch, Candidate, Ints, Learner, State, Workshop
from retain.errors import BudgetError, SettingError

if TYPE_CHECKING:
    from retain.compression import Step, Within

T = TypeVar("T")

_TAKEN = ("champion", "candidate", "previous")  # aliases that mean a learner

__all__ = ["Alert", "Blend", "Compress", "Consolidate", "Keep", "Pace", "Renew", "Retrain", "RollBack"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Retrain:
    """Trains a model on the history, as it came: from scratch, or a copy of the champion once more.

    The history is read again from the source, so nothing has to be stored; labels that have not landed yet are not
    learnt before they do. A sample of it (`rows`) is what a memory of that size would hold, drawn anew every time: rare
    classes keep all of their rows while common ones are thinned out.

    Args:
        last: so many rows; None: all since the beginning.
        warm: begin with a copy of the champion.
        rows: learn at most so many of these, as many of each class; of numbers, evenly. None: all.
        passes: how often the rows are gone through; from the second time on, and with `rows`, labels come with them.
        seed: of the drawing.

    >>> Retrain(last=20_000)
    Retrain(last=20000, warm=False, rows=None, passes=1, seed=0)
    """

    last: int | None = None
    warm: bool = False
    rows: int | None = None
    passes: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.last is not None and self.last < 1:
            raise SettingError(f"Retrain got last={self.last}; expected a number of rows >= 1, or None for all")
        if self.warm and self.last is None:
            raise SettingError("Retrain got warm=True without last; say how many rows the copy is to see once more")
        if (self.rows is not None and self.rows < 1) or self.passes < 1:
            raise SettingError(f"Retrain got rows={self.rows}, passes={self.passes}; expected numbers >= 1")
        if self.warm and (self.rows is not None or self.passes > 1):
            raise SettingError("Retrain got warm=True with rows or passes; a copy sees the latest rows once")

    @property
    def needs(self) -> int | None:
        return self.last

    def __call__(self, workshop: Workshop, /) -> Candidate:
        if self.warm and self.last is not None:
            return workshop.fork(last=self.last)
        if self.rows is None and self.passes == 1:
            return workshop.fresh(last=self.last)
        history = workshop.history(self.last)
        chosen = None if self.rows is None else _sample(history, self.rows, self.seed)
        return workshop.taught(batch for _ in range(self.passes) for batch in _some(history, chosen))


@final
@dataclass(frozen=True, slots=True)
class Consolidate:
    """Tells a copy of the champion that an experience has ended: strategies anchor, teachers and means are renewed.

    Args:
        last: so many rows are the experience.

    >>> import retain as rt
    >>> rt.Rule(when=rt.Every(seconds=7 * 86_400), do=rt.update.Consolidate(last=50_000), gate=rt.NotWorse()).name
    'Consolidate when Every'
    """

    last: int = 10_000

    @property
    def needs(self) -> int:
        return self.last

    def __call__(self, workshop: Workshop, /) -> Candidate:
        candidate = workshop.fork()
        consolidate(candidate.learner, workshop.history(self.last))
        return candidate


@final
@dataclass(frozen=True, slots=True)
class Pace:
    """Changes the learning rate of a copy of the champion: up where the world moves, down where it stands still.

    Args:
        factor: by which the rate is multiplied.

    >>> import retain as rt
    >>> rt.Rule(when=rt.OnDrift(rt.detectors.ADWIN()), do=rt.update.Pace(2.0), gate=rt.Better()).name
    'Pace when OnDrift'
    """

    factor: float

    @property
    def needs(self) -> int:
        return 0

    def __call__(self, workshop: Workshop, /) -> Candidate:
        candidate = workshop.fork()
        _end(candidate.learner, Paced, "Pace needs a learner with a learning rate").pace(self.factor)
        return candidate


@final
@dataclass(frozen=True, slots=True)
class Renew:
    """Lets the worst member of a copy of the champion begin anew; for learners of learners.

    >>> import retain as rt
    >>> rt.Rule(when=rt.Every(rows=50_000), do=rt.update.Renew(), gate=rt.Better(), name="fresh blood").name
    'fresh blood'
    """

    @property
    def needs(self) -> int:
        return 0

    def __call__(self, workshop: Workshop, /) -> Candidate:
        candidate = workshop.fork()
        worst = _end(candidate.learner, Renewing, "Renew needs a learner of learners, e.g. rt.Hedge")
        worst.renew(learns(workshop.fresh(last=0).learner))
        return candidate


@final
@dataclass(frozen=True, slots=True)
class Blend:
    """Mixes the champion's weights with those of a version: what was forgotten comes back, what is new stays.

    The share is the one that loses least on the last rows. The champion has learnt these, which favours small shares;
    whether the mixture is better is for the gate to say, on rows that follow.

    Args:
        with_: a version of the registry, or an alias.
        shares: of the version's weights, to be tried; 0 is the champion.
        last: rows on which they are tried.

    >>> Blend("previous", shares=(0.25, 0.5)).needs
    2000

    References:
        Wortsman et al. 2022, Robust fine-tuning of zero-shot models (WiSE-FT), CVPR.
    """

    with_: str = "previous"
    shares: Sequence[float] = (0.1, 0.25, 0.5, 0.75)
    last: int = 2_000

    @property
    def needs(self) -> int:
        return self.last

    def __call__(self, workshop: Workshop, /) -> Candidate | None:
        other = learns(workshop.version(self.with_).learner)
        best: tuple[float, Candidate | None] = (_loss(workshop.fork().learner, workshop, self.last), None)
        for share in self.shares:
            candidate = workshop.fork()
            _end(candidate.learner, Blending, "Blend needs a learner whose weights can be mixed").blend(other, share)
            loss = _loss(candidate.learner, workshop, self.last)
            if loss < best[0]:
                best = loss, candidate
        return best[1]


@final
@dataclass(frozen=True, slots=True)
class RollBack:
    """Returns to a version as it was when it was kept. Without a gate it serves at once.

    Args:
        to: a version of the registry, or an alias.

    When the last 2,000 answers were right in fewer than 7 of 10 cases, the version before serves again:

    >>> import retain as rt
    >>> recent = rt.metrics.Windowed(rt.metrics.Accuracy(), rows=2_000)
    >>> rt.Rule(when=rt.WhenWorse(recent, than=0.7), do=rt.RollBack(), cooldown=20_000).name
    'RollBack when WhenWorse'
    """

    to: str = "previous"

    @property
    def needs(self) -> int:
        return 0

    def __call__(self, workshop: Workshop, /) -> Candidate:
        return workshop.version(self.to)


@final
@dataclass(frozen=True, slots=True)
class Keep:
    """Keeps the champion, as it is, as a version: a place to return to. Nothing else changes.

    >>> import retain as rt
    >>> rt.Rule(when=rt.Every(cron="0 3 * * *"), do=rt.Keep(), name="nightly copy").name
    'nightly copy'
    """

    @property
    def needs(self) -> int:
        return 0

    def __call__(self, workshop: Workshop, /) -> None:
        workshop.keep()


@final
class Compress:
    """Makes a smaller, faster model of the champion, as far as a budget allows, and keeps it under an alias.

    The champion goes on learning in float32 and is still what answers here; who serves the alias takes the newest
    artefact. The last rows judge: the champion has learnt them, which favours it, so that a loss is taken too seriously
    rather than too lightly. What is measured depends on the machine, and so may what is taken. Where nothing is within
    the budget the rule failed, and the alias stays where it is.

    Args:
        steps: rungs of the ladder; if none, those of `retain.compression.ladder`.
        budget: what may be lost, and what must be gained.
        last: so many rows judge, but every fifth of them, which teaches.
        alias: what is moved.
        seconds: about how long each model is measured, as in `rt.compress`.

    >>> import retain as rt
    >>> smaller = rt.Compress(rt.compression.Int8(), budget=rt.Within(accuracy=0.005, smaller=3))
    >>> rt.Rule(when=rt.Every(rows=100_000), do=smaller).name
    'Compress when Every'
    """

    def __init__(
        self,
        *steps: Step,
        budget: Within | None = None,
        last: int = 20_000,
        alias: str = "serving",
        seconds: float = 0.25,
    ) -> None:
        if last < 1:
            raise SettingError(f"Compress got last={last}; expected a number of rows >= 1")
        if not alias.isidentifier() or alias in _TAKEN:
            raise SettingError(f"Compress got alias={alias!r}; expected a word of its own, such as 'serving'")
        self._steps, self._budget, self._last, self._alias, self._seconds = steps, budget, last, alias, seconds

    @property
    def needs(self) -> int:
        return self._last

    def __call__(self, workshop: Workshop, /) -> None:
        from retain.compression import compress

        def make() -> tuple[State, Mapping[str, object]]:
            champion = workshop.fork().learner
            try:
                recent = workshop.history(self._last)
                made = compress(champion, *self._steps, data=recent, budget=self._budget, seconds=self._seconds)
            except BudgetError as error:
                raise BudgetError(str(error).partition("\n")[0]) from error
            report = {} if made.report is None else {"compression": made.report.to_dict()}
            return {"artifact": made.state_dict()}, report

        workshop.derive(self._alias, make)


@final
@dataclass(frozen=True, slots=True)
class Alert:
    """Does nothing: that the rule fired stands in the report, for whoever reads it.

    >>> import retain as rt
    >>> rt.Rule(when=rt.update.Quality(missing=0.1), do=rt.Alert(), name="missing data").name
    'missing data'
    """

    @property
    def needs(self) -> int:
        return 0

    def __call__(self, workshop: Workshop, /) -> None:
        pass


def _sample(history: Iterable[Batch], rows: int, seed: int) -> Ints:
    """Numbers of some of the rows with labels, in order: as many of each class, or evenly."""
    labels = [batch.y for batch in history if batch.y is not None]
    y = np.concatenate(labels) if labels else np.empty(0)
    draws = np.random.default_rng(seed).random(len(y))
    if y.dtype.kind not in "iub":
        return np.sort(np.argsort(draws)[:rows])
    # Every class in the order of its draws; the first of each, then the second of each, ...
    order = np.lexsort((draws, y))
    _, first, count = np.unique(y[order], return_index=True, return_counts=True)
    turn = np.arange(len(y)) - np.repeat(first, count)
    return np.sort(order[np.lexsort((draws[order], turn))[:rows]])


def _some(history: Iterable[Batch], chosen: Ints | None) -> Iterator[Batch]:
    """The chosen rows, or all of them."""
    first = 0
    for batch in history:
        if chosen is None:
            yield batch
            continue
        begin, end = np.searchsorted(chosen, [first, first + len(batch)])
        if end > begin:
            yield take_batch(batch, chosen[begin:end] - first)
        first += len(batch)


def _end(learner: Learner, kind: type[T], needs: str) -> T:
    """The learner at the end of a chain, if it is of a kind."""
    end = learns(learner)
    if not isinstance(end, kind):
        raise SettingError(f"{needs}; got {type(end).__name__}")
    return end


def _loss(learner: Learner, workshop: Workshop, last: int) -> float:
    """The mean log-loss, or squared error, on rows of history."""
    total, count = 0.0, 0
    for batch in workshop.history(last):
        if batch.y is None:
            continue
        known = labelled(batch.y, len(batch))
        losses = _losses(batch.y[known], learner.predict(batch.x)[known])
        total, count = total + float(losses.sum()), count + len(losses)
    return total / count if count else float("inf")


def _losses(y: Array, said: Array) -> Array:
    if y.dtype.kind not in "iub":
        return (y - said) ** 2
    p = np.zeros(len(y))
    there = y < said.shape[1]
    p[there] = said[there, y[there]]
    return -np.log(np.maximum(p, 1e-12))
