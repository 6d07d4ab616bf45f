"""What is learnt one after the other: experiences, cut out of a data set in the ways that continual learning is tried.

A scenario says which rows come when, how they look, what the learner is told, and what is tested. The three kinds of
van de Ven and Tolias (2019, Three scenarios for continual learning) differ in what a test asks:

    class    which of all classes?                 the learner is told nothing of experiences
    domain   which class, in whichever domain?     the classes stay, the inputs change
    task     which of the classes of this task?    the task of every row is told, also in the test

Shapes: n rows, k classes, T experiences.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, final

import numpy as np

from retain.blocks import concat_batches, take_batch
from retain.core import Array, Batch, Features, Ints, Schema
from retain.errors import SchemaError, SettingError
from retain.run.views import Permute, Rotate, flat_rows, unit_pixels
from retain.streams.sets import TrainTest

__all__ = [
    "Experience",
    "Scenario",
    "View",
    "blurry",
    "by_task",
    "class_incremental",
    "cumulative",
    "domain_incremental",
    "flat",
    "joint",
    "online",
    "permuted",
    "rotated",
    "split",
    "task_free",
    "task_incremental",
]

View: TypeAlias = Callable[[Array], Array]
"""How rows look in an experience: a pure function of dense rows, applied to each block when it is needed."""


@final
@dataclass(frozen=True, slots=True)
class Experience:
    """Rows to learn together and rows to be tested on, all labelled with class codes, as they look through `views`."""

    train: Batch
    test: Batch
    name: str
    views: tuple[View, ...] = ()

    @property
    def classes(self) -> Ints:
        """The codes that occur in it, in rising order."""
        return np.union1d(_labels(self.train), _labels(self.test))


@final
@dataclass(frozen=True, slots=True)
class Scenario:
    """Experiences, and in which stages they are learnt.

    Args:
        name: what it is called in reports.
        experiences: T of them; each is tested on after every stage.
        stages: the experiences (0, 1, ...) learnt together, stage by stage; by default one after the other.
        tasks: every row tells its task (`Batch.task`), and a test asks for one of the classes of its experience only.
        boundaries: the learner is told when a stage has ended (`consolidate`).
        once: rows may be gone through only once.
        fresh: every stage is learnt by a new learner.

    Raises SettingError where there are no experiences, or a stage names one that does not exist.
    """

    name: str
    experiences: tuple[Experience, ...]
    stages: tuple[tuple[int, ...], ...] = ()
    tasks: bool = False
    boundaries: bool = True
    once: bool = False
    fresh: bool = False

    def __post_init__(self) -> None:
        known = range(len(self.experiences))
        if not self.stages:
            object.__setattr__(self, "stages", tuple((i,) for i in known))
        wrong = [stage for stage in self.stages if not stage or not set(stage) <= set(known)]
        if wrong or not self.stages:
            raise SettingError(f"stages={self.stages} of {len(known)} experiences; expected numbers of experiences")

    @property
    def classes(self) -> int:
        """One more than the greatest class code."""
        return 1 + max(int(experience.classes.max()) for experience in self.experiences)

    def stage(self, number: int, /) -> Stage:
        """What is learnt in a stage, counted from 0."""
        numbers = self.stages[number]
        return Stage(tuple(self.experiences[i] for i in numbers), numbers if self.tasks else None)


@final
@dataclass(frozen=True, slots=True)
class Stage:
    """The rows of some experiences, one experience after the other, as if they were one."""

    experiences: tuple[Experience, ...]
    tasks: tuple[int, ...] | None  # what is told of them, if anything, counted from 0

    def __len__(self) -> int:
        return sum(len(experience.train) for experience in self.experiences)

    def block(self, rows: Ints, /) -> Batch:
        """The given rows, in the given order, as their experiences show them."""
        ends = np.cumsum([len(experience.train) for experience in self.experiences])
        owner = np.searchsorted(ends, rows, side="right")
        parts: list[Batch] = []
        for i, experience in enumerate(self.experiences):
            own = rows[owner == i]
            if len(own):
                part = seen(take_batch(experience.train, own - ends[i] + len(experience.train)), experience.views)
                task = None if self.tasks is None else np.full(len(own), self.tasks[i] + 1)
                parts.append(replace(part, task=task))
        if len(parts) == 1:
            return parts[0]
        together = np.argsort(owner, kind="stable")  # where the rows of the parts, one part after the other, belong
        return take_batch(concat_batches(parts), np.argsort(together))


def seen(batch: Batch, views: Sequence[View], /) -> Batch:
    """Rows as they look through views, the first one first."""
    x: Features = batch.x
    for view in views:
        if not isinstance(x, np.ndarray):
            raise SettingError(f"rows are a {type(x).__name__}; views such as permutations need an array of numbers")
        x = view(x)
    return replace(batch, x=x)


# --- classes come one after the other ---------------------------------------------------------------------------------


def class_incremental(data: TrainTest, /, *, experiences: int = 5, order: Sequence[int] | None = None) -> Scenario:
    """New classes in every experience, and tests among all of them.

    Args:
        data: the data set.
        experiences: how many; they share the classes as evenly as can be.
        order: codes of the classes in the order in which they come; by default 0, 1, ...

    Raises SettingError for more experiences than classes, or an order that is none.

    >>> from retain.streams import digits
    >>> scenario = class_incremental(digits(), experiences=5)
    >>> [experience.name for experience in scenario.experiences]
    ['0 1', '2 3', '4 5', '6 7', '8 9']
    """
    groups = _groups(data, experiences, order)
    return Scenario("class", tuple(_of_classes(data, group) for group in groups))


def task_incremental(data: TrainTest, /, *, experiences: int = 5, order: Sequence[int] | None = None) -> Scenario:
    """As `class_incremental`, with the task of every row told: the test asks for one of the classes of its task."""
    return replace(class_incremental(data, experiences=experiences, order=order), name="task", tasks=True)


def domain_incremental(data: TrainTest, /, *, experiences: int = 5, order: Sequence[int] | None = None) -> Scenario:
    """As `class_incremental`, with labels that say which class of its experience a row has: 0, 1, ...

    The inputs change and the classes stay. On MNIST with five experiences the question is: odd or even?
    (Hsu et al. 2018, Re-evaluating continual learning scenarios.)

    >>> from retain.streams import digits
    >>> domain_incremental(digits(), experiences=5).classes
    2
    """
    groups = _groups(data, experiences, order)
    width = max(len(group) for group in groups)
    names = tuple("|".join(_names(data)[group[j]] for group in groups if j < len(group)) for j in range(width))
    found: list[Experience] = []
    for group in groups:
        place = np.full(len(_names(data)), -1)
        place[group] = np.arange(len(group))
        experience = _of_classes(data, group)
        train, test = (
            replace(part, y=place[_labels(part)], schema=replace(part.schema or Schema(), classes=names))
            for part in (experience.train, experience.test)
        )
        found.append(replace(experience, train=train, test=test))
    return Scenario("domain", tuple(found))


def blurry(data: TrainTest, /, *, experiences: int = 5, blur: float = 0.1, seed: int = 0) -> Scenario:
    """As `class_incremental`, with boundaries that are not sharp: a share of the rows comes in another experience.

    Args:
        data: the data set.
        experiences: how many.
        blur: the share of each class's rows that is dealt evenly to all other experiences.
        seed: which ones, and to which.

    Raises SettingError for a share outside [0, 1].

    Bang et al. 2021, Rainbow memory ("blurry-M"): here M = 100 blur.
    """
    if not 0 <= blur <= 1:
        raise SettingError(f"blur={blur}; expected a share between 0 and 1, e.g. .1")
    sharp = class_incremental(data, experiences=experiences)
    rng = np.random.default_rng(seed)
    y = _labels(data.train)
    home = np.full(len(y), -1)
    for i, experience in enumerate(sharp.experiences):
        home[np.isin(y, experience.classes)] = i
    stray = rng.random(len(y)) < blur if experiences > 1 else np.zeros(len(y), dtype=bool)
    away = rng.integers(1, max(experiences, 2), len(y))
    place = np.where(stray & (home >= 0), (home + away) % experiences, home)
    found = tuple(
        replace(experience, train=take_batch(data.train, np.flatnonzero(place == i)))
        for i, experience in enumerate(sharp.experiences)
    )
    return Scenario("blurry", found)


# --- inputs change ----------------------------------------------------------------------------------------------------


def permuted(data: TrainTest, /, *, experiences: int = 10, seed: int = 0) -> Scenario:
    """All rows in every experience, their inputs in another order each time; the first is as it was.

    Goodfellow et al. 2013; Kirkpatrick et al. 2017.
    """
    _check_count(experiences)
    rng = np.random.default_rng(seed)
    size = _size(data)
    views = [Permute(np.arange(size) if i == 0 else rng.permutation(size)) for i in range(experiences)]
    names = ["as it was", *(f"order {i}" for i in range(1, experiences))]
    return Scenario("permuted", _shown(data, views, names))


def rotated(data: TrainTest, /, *, experiences: int = 20, degrees: float = 180.0, seed: int | None = None) -> Scenario:
    """All images in every experience, turned further each time: experience i by (i - 1) / T of `degrees`.

    With a seed each is turned by an angle drawn between 0 and `degrees` instead, so that what comes late may be near to
    what came early (Buzzega et al. 2020); in order, the first are furthest from all that follow (Lopez-Paz and Ranzato
    2017). Raises SettingError where rows are no images (n, c, h, w).
    """
    _check_count(experiences)
    x = data.train.x
    if not isinstance(x, np.ndarray) or x.ndim != 4:
        raise SettingError("only images (n, c, h, w) can be rotated; reshape the rows, or choose another scenario")
    steps = np.arange(experiences) if seed is None else np.random.default_rng(seed).uniform(0, experiences, experiences)
    turns = [round(float(degrees * step / experiences), 1) for step in steps]
    views = [Rotate(turn, height=x.shape[2], width=x.shape[3]) for turn in turns]
    return Scenario("rotated", _shown(data, views, [f"{turn:g}°" for turn in turns]))


def split(data: TrainTest, /, *, experiences: int = 5, seed: int = 0) -> Scenario:
    """Rows dealt to the experiences at random: nothing changes between them. What is lost here is not due to change."""
    _check_count(experiences)
    rng = np.random.default_rng(seed)
    deals = [np.array_split(rng.permutation(len(part)), experiences) for part in (data.train, data.test)]
    found = tuple(
        Experience(take_batch(data.train, np.sort(learn)), take_batch(data.test, np.sort(test)), f"part {i + 1}", v)
        for i, (learn, test) in enumerate(zip(*deals, strict=True))
        for v in [_views(data)]
    )
    return Scenario("split", found)


def by_task(data: TrainTest, /) -> Scenario:
    """Experiences as the rows themselves tell: one for each number in `Batch.task`, in rising order.

    Raises SchemaError where rows have no such number, or an experience has no rows to test on.
    """
    learn, test = data.train.task, data.test.task
    if learn is None or test is None:
        raise SchemaError("the rows do not tell their experience; give its number as `experience=` to streams.arrays")
    numbers = np.unique(learn)
    if not np.isin(numbers, test).all():
        raise SchemaError(f"experiences {np.setdiff1d(numbers, test)} have no rows to test on; set some of each aside")
    found = tuple(
        Experience(
            replace(take_batch(data.train, np.flatnonzero(learn == number)), task=None),
            replace(take_batch(data.test, np.flatnonzero(test == number)), task=None),
            str(number),
            _views(data),
        )
        for number in numbers
    )
    return Scenario("domain", found)


# --- what the learner is told, and how often it may look -------------------------------------------------------------


def online(scenario: Scenario, /) -> Scenario:
    """The same, with rows that may be gone through only once."""
    return replace(scenario, name=f"{scenario.name}, online", once=True)


def task_free(scenario: Scenario, /) -> Scenario:
    """The same, with nothing told of where experiences end (Aljundi et al. 2019): no tasks, no `consolidate`."""
    return replace(scenario, name=f"{scenario.name}, task-free", tasks=False, boundaries=False)


def joint(scenario: Scenario, /) -> Scenario:
    """The same rows all at once: what can be reached when nothing has to be retained. The upper bound."""
    everything = tuple(range(len(scenario.experiences)))
    return replace(scenario, name=f"{scenario.name}, joint", stages=(everything,))


def cumulative(scenario: Scenario, /, *, fresh: bool = True) -> Scenario:
    """In every stage the rows of all experiences so far, by a new learner or, warm, by the one that there is."""
    stages = tuple(tuple(range(i + 1)) for i in range(len(scenario.experiences)))
    return replace(scenario, name=f"{scenario.name}, cumulative", stages=stages, fresh=fresh)


def flat(scenario: Scenario, /) -> Scenario:
    """The same, with images laid out as rows (n, d), for learners that know nothing of pixels beside each other."""
    found = tuple(replace(one, views=(*one.views, flat_rows)) for one in scenario.experiences)
    return replace(scenario, experiences=found)


# --- parts ------------------------------------------------------------------------------------------------------------


def _labels(batch: Batch) -> Ints:
    if batch.y is None or batch.y.dtype.kind not in "iu" or (len(batch.y) and int(batch.y.min()) < 0):
        raise SchemaError(
            "rows of a scenario need a class each; expected labels that are codes 0, 1, ..., none missing"
        )
    return batch.y


def _names(data: TrainTest) -> tuple[str, ...]:
    return data.classes or tuple(map(str, range(1 + int(_labels(data.train).max()))))


def _groups(data: TrainTest, experiences: int, order: Sequence[int] | None) -> list[Ints]:
    """The classes of each experience."""
    known = np.unique(_labels(data.train))
    if not np.isin(_labels(data.test), known).all():
        raise SchemaError("the rows to test on have classes that the rows to learn have not; give some of each to both")
    codes = known if order is None else np.asarray(order)
    if order is not None and not np.array_equal(np.sort(codes), known):
        raise SettingError(f"order={list(order)}; expected each of the {len(known)} classes once: {known.tolist()}")
    if not 1 <= experiences <= len(known):
        raise SettingError(f"experiences={experiences} of {len(known)} classes; expected 1 to {len(known)}")
    return np.array_split(codes, experiences)


def _of_classes(data: TrainTest, group: Ints) -> Experience:
    train, test = (take_batch(part, np.flatnonzero(np.isin(_labels(part), group))) for part in (data.train, data.test))
    names = [_names(data)[code] for code in group]
    name = " ".join(names) if len(names) <= 5 else f"{names[0]} … {names[-1]}"
    return Experience(train, test, name, _views(data))


def _shown(data: TrainTest, views: Sequence[View], names: Sequence[str]) -> tuple[Experience, ...]:
    _labels(data.train)
    first = _views(data)
    return tuple(
        Experience(data.train, data.test, name, (*first, view)) for view, name in zip(views, names, strict=True)
    )


def _views(data: TrainTest) -> tuple[View, ...]:
    """Bytes are pixels, and learners want numbers about as large as one."""
    x = data.train.x
    return (unit_pixels,) if isinstance(x, np.ndarray) and x.dtype == np.uint8 else ()


def _size(data: TrainTest) -> int:
    x = data.train.x
    if not isinstance(x, np.ndarray):
        raise SettingError(f"rows are a {type(x).__name__}; only arrays of numbers can be permuted")
    return int(np.prod(x.shape[1:]))


def _check_count(experiences: int) -> None:
    if experiences < 1:
        raise SettingError(f"experiences={experiences}; expected at least one")
