"""Experiences one after the other: learn the rows of each, tell the learner that it has ended, test on all of them.

Epochs belong to this loop and not to the learner, which cuts its mini-batches itself. The loop is a generator of steps;
printing, plotting and stopping belong to whoever iterates over it.

Shapes: n rows, k classes, T experiences, S stages.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np

from retain.blocks import take_batch
from retain.compose import consolidate
from retain.core import Array, Batch, Floats, Ints, Learner
from retain.errors import SchemaError, SettingError
from retain.report.continual import Continual, Run
from retain.run.scenarios import Experience, Scenario, Stage, seen

__all__ = ["Experiences", "Make", "Step", "Watch", "continual"]

Make: TypeAlias = Callable[[int], Learner]
"""A recipe: from a seed, a learner that has learnt nothing."""

BLOCK = 4096  # rows; large enough to cost nothing, small enough for progress to be seen


@final
@dataclass(frozen=True, slots=True)
class Step:
    """How far a run has come: after every block learnt, after every stage, and before the first."""

    stage: int  # 1 ... S; 0 before any learning
    epoch: int  # 1 ... epochs; 0 before any learning
    samples: int  # rows learnt so far, each as often as it was gone through
    accuracy: Floats | None  # (T,) where a stage has ended: on the held-out rows of every experience


Watch: TypeAlias = Callable[[int, Step], None]
"""Is told the seed of a run and how far it has come."""


@final
class Experiences:
    """A learner's way through a scenario. Iterating yields a `Step` after every block and every test.

    In each stage the loop goes through the rows `epochs` times, in a new random order each time, tells the learner that
    the experience has ended (unless the scenario keeps that from it), and tests on the held-out rows of all of them.
    A row counts as right where its class has the largest probability; where the learner says nothing at all of a row,
    as one that has learnt nothing, it counts as a guess, 1/k. With tasks told, only the classes of the row's experience
    are compared, whatever the learner: the test asks for no other.

    Args:
        scenario: what is learnt when.
        make: from a seed, a new learner.
        epochs: how often the rows of a stage are gone through.
        block: rows handed to the learner at a time. Learners cut mini-batches themselves: nothing depends on it.
        seed: of the order of rows, and of the learner.

    Raises:
        SettingError: a number below 1; more than one epoch where rows may be seen only once.
        SchemaError: the learner predicts numbers, not classes.

    >>> import retain as rt
    >>> from retain.run import scenarios
    >>> scenario = scenarios.flat(scenarios.class_incremental(rt.streams.digits(), experiences=5))
    >>> loop = Experiences(scenario, lambda seed: rt.RLS())
    >>> for step in loop:
    ...     if step.accuracy is not None:
    ...         print(step.stage, step.accuracy.round(2))
    0 [0.1 0.1 0.1 0.1 0.1]
    1 [1. 0. 0. 0. 0.]
    2 [1.   0.99 0.   0.   0.  ]
    3 [0.99 0.96 0.99 0.   0.  ]
    4 [1.   0.96 0.97 0.99 0.  ]
    5 [0.97 0.93 0.96 0.99 0.85]
    """

    def __init__(
        self, scenario: Scenario, make: Make, /, *, epochs: int = 1, block: int = BLOCK, seed: int = 0
    ) -> None:
        if epochs < 1 or block < 1:
            raise SettingError(f"epochs={epochs}, block={block}; expected whole numbers of at least 1")
        if scenario.once and epochs > 1:
            raise SettingError(f"epochs={epochs} where rows may be gone through only once; leave it at 1")
        self.scenario = scenario
        self.total = epochs * sum(len(scenario.stage(i)) for i in range(len(scenario.stages)))
        self._make = make
        self._epochs = epochs
        self._block = block
        self._seed = seed
        self._rows: list[Floats] = []
        self._samples = 0
        self._spent = np.zeros(3)  # wall clock, CPU seconds, CPU seconds of learning

    def __iter__(self) -> Iterator[Step]:
        rng = np.random.default_rng(self._seed)
        learner = self._make(self._seed)
        yield self._test(learner, stage=0, epoch=0)
        for i in range(len(self.scenario.stages)):
            if self.scenario.fresh and i:
                learner = self._make(self._seed)
            yield from self._learn(learner, i, rng)
            yield self._test(learner, stage=i + 1, epoch=self._epochs)

    def run(self) -> Run:
        """What came of it, once the iteration has ended."""
        if len(self._rows) <= len(self.scenario.stages):
            raise SettingError(
                f"{len(self._rows)} of {len(self.scenario.stages) + 1} tests are done; iterate to the end"
            )
        seconds, cpu, learning = (float(value) for value in self._spent)
        return Run(self._seed, np.array(self._rows), self._samples, seconds, cpu, learning)

    def _learn(self, learner: Learner, number: int, rng: np.random.Generator) -> Iterator[Step]:
        stage = self.scenario.stage(number)
        arrival = np.empty(0, dtype=np.int64)
        for epoch in range(1, self._epochs + 1):
            order = rng.permutation(len(stage))
            arrival = order if epoch == 1 else arrival
            for start in range(0, len(order), self._block):
                clock = _Clock()
                rows = order[start : start + self._block]
                learner.learn(stage.block(rows))
                self._samples += len(rows)
                self._spent += clock.lap(learning=True)
                yield Step(number + 1, epoch, self._samples, None)
        if self.scenario.boundaries:
            clock = _Clock()
            consolidate(learner, _Blocks(stage, arrival, self._block))
            self._spent += clock.lap(learning=True)

    def _test(self, learner: Learner, *, stage: int, epoch: int) -> Step:
        clock = _Clock()
        k, tasks = self.scenario.classes, self.scenario.tasks
        found = [
            accuracy(learner, experience, classes=experience.classes if tasks else np.arange(k), block=self._block)
            for experience in self.scenario.experiences
        ]
        self._rows.append(np.array(found))
        self._spent += clock.lap(learning=False)
        return Step(stage, epoch, self._samples, self._rows[-1])


def accuracy(learner: Learner, experience: Experience, /, *, classes: Ints, block: int = BLOCK) -> float:
    """The share of an experience's held-out rows whose class is likeliest among the given ones; NaN without rows."""
    right = 0.0
    for start in range(0, len(experience.test), block):
        batch = seen(take_batch(experience.test, slice(start, start + block)), experience.views)
        if batch.y is None:
            raise SchemaError(f"the rows of {experience.name} have no labels to test on")
        right += float(_right(learner.predict(batch.x), batch.y, classes).sum())
    return right / len(experience.test) if len(experience.test) else float("nan")


def _right(said: Array, y: Ints, classes: Ints) -> Floats:
    """(n,) 1 where the likeliest class is the true one, 0 where not, 1 / their number where nothing is said."""
    if said.ndim != 2:
        raise SchemaError(
            f"the learner's predictions have the shape {said.shape}; expected (rows, classes): a classifier"
        )
    wide = np.zeros((len(y), max(said.shape[1], int(classes.max()) + 1)), dtype=said.dtype)
    wide[:, : said.shape[1]] = said
    among = wide[:, classes]
    top = among.argmax(axis=1)
    return np.where(among.max(axis=1) > 0, classes[top] == y, 1.0 / len(classes))


# --- several seeds ----------------------------------------------------------------------------------------------------


def continual(
    scenario: Scenario,
    make: Make,
    /,
    *,
    epochs: int = 1,
    block: int = BLOCK,
    seeds: int | Sequence[int] = 1,
    workers: int = 1,
    settings: Mapping[str, Any] | None = None,
    watch: Watch | None = None,
) -> Continual:
    """Run a recipe through a scenario, once for each seed.

    Args:
        scenario: what is learnt when.
        make: from a seed, a new learner. With several workers it must be a function of a module (or a
            `functools.partial` of one), so that other processes find it.
        epochs: how often the rows of a stage are gone through.
        block: rows handed to the learner at a time.
        seeds: which ones, or how many: 0, 1, ...
        workers: processes, each with one thread.
        settings: kept with the result, as plain data.
        watch: is told how far each run has come; with several workers, only when one has ended.

    Raises SettingError as `Experiences`, and where a recipe cannot be sent to other processes.

    >>> import retain as rt
    >>> from retain.run import scenarios
    >>> scenario = scenarios.flat(scenarios.class_incremental(rt.streams.digits(), experiences=5))
    >>> result = continual(scenario, lambda seed: rt.RLS(), seeds=2)
    >>> print(f"{result.acc.mean:.2f}, forgetting {result.forgetting.mean:.2f}")
    0.94, forgetting 0.03
    """
    numbers = range(seeds) if isinstance(seeds, int) else seeds
    if not len(numbers) or len(set(numbers)) < len(numbers) or workers < 1:
        raise SettingError(
            f"seeds={seeds}, workers={workers}; expected at least one seed, no seed twice, and one worker"
        )
    Experiences(scenario, make, epochs=epochs, block=block)  # settings that make no sense are told before any work
    if workers == 1 or len(numbers) == 1:
        runs = [_run(scenario, make, epochs, block, seed, watch) for seed in numbers]
    else:
        runs = _spread(scenario, make, epochs, block, numbers, min(workers, len(numbers)), watch)
    names = tuple(experience.name for experience in scenario.experiences)
    return Continual(scenario.name, names, tuple(runs), settings or {})


def _run(scenario: Scenario, make: Make, epochs: int, block: int, seed: int, watch: Watch | None) -> Run:
    loop = Experiences(scenario, make, epochs=epochs, block=block, seed=seed)
    for step in loop:
        if watch is not None:
            watch(seed, step)
    return loop.run()


def _spread(
    scenario: Scenario, make: Make, epochs: int, block: int, seeds: Sequence[int], workers: int, watch: Watch | None
) -> list[Run]:
    """The runs of all seeds, in their order, by processes started anew: torch's threads do not survive a fork."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing.reduction import ForkingPickler

    try:
        ForkingPickler.dumps(make)
    except Exception as error:
        raise SettingError(
            f"the recipe {make!r} cannot be sent to other processes ({error}); make it a function of a module, or a "
            "functools.partial of one, or use one worker"
        ) from error
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, context, _begin, (scenario, make, epochs, block)) as pool:
            jobs = [pool.submit(_job, seed) for seed in seeds]
            for job in as_completed(jobs):
                run = job.result()
                if watch is not None:
                    watch(run.seed, Step(len(scenario.stages), epochs, run.samples, run.matrix[-1]))
    except BrokenProcessPool as error:
        raise SettingError(
            "a worker died: out of memory, or the module of the recipe cannot be imported; see why with workers=1"
        ) from error
    return [job.result() for job in jobs]


_given: list[tuple[Scenario, Make, int, int]] = []  # what a worker runs: sent once, and not for every seed


def _begin(scenario: Scenario, make: Make, epochs: int, block: int) -> None:
    """A worker begins: one thread each, since there are as many workers as are to be busy."""
    import os
    import sys

    os.environ["OMP_NUM_THREADS"] = "1"
    torch = sys.modules.get("torch")
    if torch is not None:  # imported with the recipe, before the line above could tell it
        torch.set_num_threads(1)
    _given.append((scenario, make, epochs, block))


def _job(seed: int) -> Run:
    scenario, make, epochs, block = _given[0]
    return _run(scenario, make, epochs, block, seed, None)


@final
@dataclass(frozen=True, slots=True)
class _Blocks:
    """The rows of a stage in the order in which they arrived, each time they are gone through."""

    stage: Stage
    order: Ints
    block: int

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.order), self.block):
            yield self.stage.block(self.order[start : start + self.block])


@final
class _Clock:
    """Wall clock, CPU seconds, and CPU seconds of learning since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def lap(self, *, learning: bool) -> Floats:
        cpu = time.process_time() - self._cpu
        return np.array([time.perf_counter() - self._wall, cpu, cpu if learning else 0.0])
