"""`compress`: a ladder of steps, each of which is taken only if it pays and costs no more than a budget allows.

Shapes: n rows.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from operator import is_not
from typing import Any, final

import numpy as np

from retain.blocks import codes, concat_batches, labelled, numbers, take, take_batch
from retain.compose import Composable, Narrowing, learns, within
from retain.compression.artifact import Artifact
from retain.compression.budget import Within
from retain.compression.cost import Cost, Latency, cost_as, cost_of, latencies
from retain.compression.draft import Draft, Lessons, Step, neural, transforms
from retain.compression.forms import Form, formed
from retain.compression.report import CompressionReport, Rung
from retain.compression.source import branching, scored, source
from retain.compression.steps.fewer_bits import FewerBits
from retain.compression.steps.half import Half
from retain.compression.steps.int8 import Int8
from retain.compression.steps.majority_leaves import MajorityLeaves
from retain.compression.steps.narrow import Narrow
from retain.compression.steps.prune_branches import PruneBranches
from retain.compression.steps.prune_members import PruneMembers
from retain.compression.steps.truncate import Truncate
from retain.core import Array, Batch, Features, Learner, Predictor
from retain.errors import BudgetError, RetainError, SettingError
from retain.features.hash import Hash
from retain.features.random_features import RandomFeatures
from retain.learners.linear import Linear

__all__ = ["compress"]

_SIZES = (1, 64)  # rows at once
_SMALLER, _FASTER = 1.05, 1.1  # a step must gain as much, or it is not worth its risk; times are noisy
_SHARES = (0.5, 0.25)  # of the units that are left, each twice if it was within
_TRUNCATED = (0.1, 0.25, 0.5)  # of the weights that are left
_LESS = (2, 4)  # bits, than the hash has
_PASSES = 5  # through the lessons, to learn again what a cut cost
_TAUGHT = 5  # every fifth row teaches where no others are given
_AT_ONCE = 256  # rows answered at once by either model when they are judged


def compress(
    learner: Learner,
    /,
    *steps: Step,
    data: Batch | Iterable[Batch],
    budget: Within | None = None,
    lessons: Batch | Iterable[Batch] | None = None,
    seconds: float = 0.25,
    threads: int = 1,
    seed: int = 0,
    told: Callable[[Rung], None] | None = None,
) -> Artifact:
    """Make a model smaller and faster, as far as a budget allows, measured on this machine; the learner stays as it is.

    Rung by rung: a step makes a smaller model of the last one that was taken; what it would run as is timed beside the
    parent, and asked the same held-out rows. It is taken if it is within the budget and smaller or faster here than
    the one before; else it is dropped, the report says why, and the next step starts from the last one taken. A step
    that was dropped is not tried again before another was taken.

    Args:
        learner: what is to be made smaller; a chain too.
        steps: rungs, in order; if none, those of `retain.compression.ladder`.
        data: labelled rows that the learner has not learnt, to judge by; with `Batch.task`, forgetting is judged too.
        budget: what may be lost and what must be gained; `Within()` if None.
        lessons: labelled rows that steps may calibrate by and learn from. If None, every fifth row of `data`, which
            then does not judge.
        seconds: about how long to measure each model, for each number of rows at once.
        threads: for parent and artefact alike, while they are measured; the artefact keeps to them.
        seed: of what steps draw.
        told: hears of each rung.

    Returns:
        The model of the last rung that was taken.

    Raises:
        SettingError: rows that cannot judge so small a margin, or a learner of which nothing can be made.
        BudgetError: nothing that was tried is as small and as fast as the budget asks.

    >>> import numpy as np, retain as rt
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(12_000, 64)).astype(np.float32)
    >>> rows = rt.Batch(x, y=(x[:, 0] * x[:, 1] > 0).astype(int))
    >>> learner = rt.Neural(rt.neural.MLP(64, 256, 256, 2))
    >>> said = learner.learn(rt.Batch(x[:8000], y=rows.y[:8000]))
    >>> artifact = rt.compress(learner, rt.compression.Int8(), data=rt.Batch(x[8000:], y=rows.y[8000:]))
    >>> artifact.report.taken.name, artifact.report.taken.smaller > 3.5
    ('int8', True)
    """
    budget = budget or Within()
    steps = steps or ladder(learner)
    transforms(learner)  # refuses what has no end of which a graph could be made
    classes = source(learner).classes
    judges, taught = _shares(data, lessons, classes=classes, seed=seed)
    budget.enough(np.asarray(judges.y))
    with _threaded(threads):
        kept = Lessons(taught, learner, seed)
        trial = _Trial(learner, judges, kept, budget=budget, seconds=seconds, threads=threads)
        return _climb(trial, steps, budget, told or (lambda _: None))


def ladder(learner: Learner, /) -> tuple[Step, ...]:
    """The rungs that `compress` tries where none are given: shorter numbers, then cuts, large ones first.

    For nets these are smaller shapes, for a hashed linear learner fewer weights and fewer bits, for an analytic learner
    behind random features fewer of these. Of trees the leaves say shares first, and last there are fewer branches and
    fewer trees. What a large cut leaves is taught as long as what small ones would leave, so that small ones come where
    it failed. Raises SettingError for what compression does not know.
    """
    last, front = learns(learner), transforms(learner)
    if neural(last):
        from retain.compression.steps.distil import Distil
        from retain.compression.steps.shrink import Shrink

        cuts: list[Step] = [Shrink(share, recover=Distil(passes=_PASSES)) for share in _SHARES]
        return (Half(), Int8(), *(cut for cut in cuts for _ in range(2)))
    if branching(last):
        cuts = [PruneBranches(share) for share in _SHARES]
        return (MajorityLeaves(), Half(), Int8(), *(cut for cut in cuts for _ in range(2)), *map(PruneMembers, _SHARES))
    scored(last)
    steps: tuple[Step, ...] = ()
    match front[-1:]:
        case (Hash() as hashing,) if isinstance(last, Linear):
            fewer = (hashing.bits - less for less in _LESS if hashing.bits > less)
            steps = (*map(Truncate, _TRUNCATED), *map(FewerBits, fewer))
        case (RandomFeatures(),) if isinstance(last, Narrowing):
            steps = tuple(cut for cut in map(Narrow, _SHARES) for _ in range(2))
        case _:
            pass
    return (Half(), Int8(), *steps)


@final
class _Trial:
    """The parent, the rows that judge, and how what a draft runs as is measured beside it."""

    def __init__(
        self, parent: Learner, judges: Batch, lessons: Lessons, *, budget: Within, seconds: float, threads: int
    ) -> None:
        self.parent, self._judges, self._budget, self._seconds = parent, judges, budget, seconds
        self.lessons = lessons
        self._said = _answers(parent, judges)
        self._threads = threads
        self.first = Draft(deepcopy(parent))
        self._given: tuple[tuple[Composable, ...], Features] | None = None
        self._formed: tuple[Learner, Form] | None = None
        self.rows, self.classes = len(judges), self._labels().dtype.kind in "iub"
        self.parents = self._first()

    def _first(self) -> Rung:
        """The parent, as it is."""
        times = self._timed({"parent": self.parent.predict})["parent"]
        found = self._budget.judge(self._labels(), self._said, self._said)
        cost = cost_of(self.parent, self._end(self.first.learner), latency=times)
        return Rung("parent", "parent", cost=cost, judgement=found)

    def made(self, draft: Draft) -> Artifact:
        """What a draft runs as. To export takes seconds, so it is done once for each shape."""
        try:
            rows = self._end(draft.learner)
            if self._formed is None or self._formed[0] is not draft.learner:
                self._formed = draft.learner, formed(draft.learner, rows, threads=self._threads)
            form = self._formed[1].formatted(draft.learner, draft.format, rows)
        except RetainError:
            raise
        except Exception as error:  # what ONNX Runtime and the exporter make of a module of the user's
            raise SettingError(f"no graph can be made of it ({type(error).__name__}: {error})") from error
        return Artifact.of(self.parent, draft.learner, form)

    def _end(self, learner: Learner) -> Features:
        """What the learner at the end is given of the lessons; transforms may take long, so once for each chain."""
        front = transforms(learner)
        if self._given is None or len(front) != len(self._given[0]) or any(map(is_not, front, self._given[0])):
            self._given = front, next(iter(within(learner, self.lessons.batches))).x
        return self._given[1]

    def whole(self, artifact: Artifact) -> Rung:
        """The parent as it would run, which is taken whatever it gains: it answers as the parent does.

        Raises SettingError where even that cannot be told from the rows.
        """
        form = artifact.form.name
        rung = self.rung(form, artifact, artifact, self.parents)
        verdict = "" if rung.judgement is None else rung.judgement.verdict
        if verdict == "outside":
            raise SettingError(
                f"the {form} answers otherwise than the learner ({rung.why}); report the learner to retain"
            )
        if verdict == "undecided":
            raise SettingError(
                f"the rows in data= are too few for this budget ({rung.why}); give more, or a wider margin"
            )
        return replace(rung, fate="taken", why="")

    def rung(self, name: str, artifact: Artifact, last: Artifact, before: Rung) -> Rung:
        """What an artefact costs and loses, and what it gains beside the last one that was taken, of rung `before`."""
        times = self._timed({"parent": self.parent.predict, "last": last.predict, "this": artifact.predict})
        master, form = artifact.master, artifact.form
        cost = cost_as(master, self._end(master), form.data, memory=form.memory, latency=times["this"])
        said = _answers(artifact, self._judges)
        found = self._budget.judge(self._labels(), self._said, said, task=self._judges.task)
        faster, gained, held = (
            _ratios(times[slow], times[fast])
            for slow, fast in (("parent", "this"), ("last", "this"), ("parent", "last"))
        )
        whole = self.parents.cost or cost
        rung = Rung(name, "taken", "", cost, found, whole.bytes / cost.bytes, faster)
        if found.verdict != "within":
            return replace(rung, fate=found.verdict, why=found.why)
        why = _lost(rung, before, faster=min(held.values()), budget=self._budget) or _ungained(
            cost, before.cost, gained
        )
        return replace(rung, fate="no gain", why=why) if why else rung

    def _timed(self, models: Mapping[str, Callable[[Features], Array]]) -> dict[str, dict[int, Latency]]:
        return latencies(models, self._judges.x, sizes=_SIZES, seconds=self._seconds)

    def _labels(self) -> Array:
        return np.asarray(self._judges.y)


def _lost(rung: Rung, before: Rung, *, faster: float, budget: Within) -> str:
    """Why a rung may not follow one that had what the budget asks for; `faster` as that one is now."""
    if budget.faster is not None and min(rung.faster.values()) < budget.faster <= faster:
        return f"it is no longer {budget.faster:g} times as fast as the parent"
    if budget.smaller is not None and rung.smaller < budget.smaller <= before.smaller:
        return f"it is no longer {budget.smaller:g} times as small as the parent"
    return ""


def _ungained(cost: Cost, before: Cost | None, gained: Mapping[int, float]) -> str:
    """Why a rung is not worth its risk, if it is not."""
    if before is None or any(
        old >= _SMALLER * new
        for old, new in ((before.bytes, cost.bytes), (before.packed, cost.packed), (before.memory, cost.memory))
    ):
        return ""
    if math.prod(gained.values()) >= _FASTER ** len(gained):
        return ""
    return "it is neither smaller nor faster here than what was taken before"


def _climb(trial: _Trial, steps: Sequence[Step], budget: Within, told: Callable[[Rung], None]) -> Artifact:
    """Step by step, from the last draft that was taken."""
    rungs = [trial.parents]
    told(rungs[0])
    draft = trial.first
    best = trial.made(draft)
    last = trial.whole(best)
    rungs.append(last)
    told(last)
    dropped: list[Step] = []  # since one was taken
    for step in steps:
        if step in dropped:
            continue
        dropped.append(step)
        try:
            next_draft = step(draft, trial.lessons)
            artifact = trial.made(next_draft)
        except Exception as error:  # noqa: BLE001 - whatever a step makes of a module, the others are tried
            why = str(error) if isinstance(error, RetainError) else f"{type(error).__name__}: {error}"
            rungs.append(Rung(step.name, "failed", why))
            told(rungs[-1])
            continue
        rung = trial.rung(step.name, artifact, best, last)
        rungs.append(rung)
        told(rung)
        if rung.fate == "taken":
            draft, best, last = next_draft, artifact, rung
            dropped.clear()
    report = CompressionReport(
        tuple(rungs),
        rows=trial.rows,
        taught=sum(len(batch) for batch in trial.lessons.batches),
        classes=trial.classes,
        missed=_missed(last, budget),
    )
    if report.missed:
        wanted = " and ".join(f"{times:g} times {what}" for what, times in report.missed.items())
        raise BudgetError(
            f"nothing that was tried is {wanted} within the budget; widen it, or give more steps\n{report}"
        )
    best.report = report
    return best


def _ratios(slow: Mapping[int, Latency], fast: Mapping[int, Latency]) -> dict[int, float]:
    return {n: slow[n].median / fast[n].median for n in slow}


@contextmanager
def _threaded(threads: int) -> Generator[None]:
    if threads < 1:
        raise SettingError(f"compress() got threads={threads}; expected a number >= 1")
    torch = sys.modules.get("torch")  # who has not imported it computes nothing by it
    before = torch and torch.get_num_threads()
    try:
        if torch:
            torch.set_num_threads(threads)
        yield
    finally:
        if torch:
            torch.set_num_threads(before)


def _missed(last: Rung, budget: Within) -> dict[str, float]:
    missed: dict[str, float] = {}
    if budget.faster is not None and min(last.faster.values()) < budget.faster:
        missed["faster"] = budget.faster
    if budget.smaller is not None and last.smaller < budget.smaller:
        missed["smaller"] = budget.smaller
    return missed


def _answers(predictor: Predictor, rows: Batch, /) -> Array:
    """What a model says of many rows, some at a time."""
    return np.concatenate(
        [predictor.predict(take(rows.x, slice(i, i + _AT_ONCE))) for i in range(0, len(rows), _AT_ONCE)]
    )


def _shares(
    data: Batch | Iterable[Batch], lessons: Batch | Iterable[Batch] | None, *, classes: int, seed: int
) -> tuple[Batch, tuple[Batch, ...]]:
    """Labelled rows that judge, and rows that teach: a fifth of each class and experience, drawn, if none are given."""
    judges = _labelled(data, classes)
    if lessons is not None:
        return judges, (_labelled(lessons, classes),)
    draws = np.random.default_rng(seed).random(len(judges))
    keys: list[Any] = [draws, *([judges.y] if classes else []), *([] if judges.task is None else [judges.task])]
    teaches = np.zeros(len(judges), dtype=np.bool_)
    teaches[np.lexsort(keys)[_TAUGHT - 1 :: _TAUGHT]] = True
    if not teaches.any():
        raise SettingError(f"compress() got {len(judges)} labelled rows, too few to judge and teach; give more of them")
    return take_batch(judges, np.flatnonzero(~teaches)), (take_batch(judges, np.flatnonzero(teaches)),)


def _labelled(data: Batch | Iterable[Batch], classes: int) -> Batch:
    """All rows with labels as one block, labels as the learner has them. Raises SettingError where there are none."""
    some: list[Batch] = []
    for batch in [data] if isinstance(data, Batch) else data:
        if batch.y is None:
            continue
        read = codes if classes else numbers
        whole = replace(batch, y=read(batch.y, len(batch), reader="compress()"))
        some.append(take_batch(whole, np.flatnonzero(labelled(whole.y, len(whole)))))
    if not sum(map(len, some)):
        raise SettingError("compress() got no labelled rows; give recent ones that the learner has not learnt")
    return concat_batches([batch for batch in some if len(batch)])
