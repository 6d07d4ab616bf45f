"""Experiences one after the other: learn the rows of each, tell the learner that it has ended, test on all of them.

Epochs belong to this loop and not to the learner, which cuts its mini-batches itself. The loop is a generator of steps;
printing, plotting and stopping belong to whoever iterates over it.

Shapes: n rows, k classes, T experiences, S stages.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, final

import numpy as np

from retain.blocks import take_batch
from retain.compose import consolidate, late
from retain.core import Array, Batch, Floats, Ints, Learner, State
from retain.errors import SchemaError, SettingError
from retain.report.continual import Continual, Run
from retain.run.durable import durable
from retain.run.scenarios import Experience, Scenario, Stage, seen

__all__ = ["Experiences", "Make", "Step", "Watch", "continual"]

Make: TypeAlias = Callable[[int], Learner]
"""A recipe: from a seed, a learner that has learnt nothing."""

BLOCK = 4096  # rows; large enough to cost nothing, small enough for progress to be seen
_EVERY = 10.0  # seconds between snapshots: nets and memories are large, and what is lost is learnt again, bit for bit


@final
@dataclass(frozen=True, slots=True)
class Step:
    """How far a run has come: after every block learnt, after every stage, and before the first."""

    stage: int  # 1 ... S; 0 before any learning
    epoch: int  # 1 ... epochs; 0 before any learning
    samples: int  # rows learnt so far, each as often as it was gone through
    accuracy: Floats | None  # (T,) where a stage has ended: on the held-out rows of every experience
    events: tuple[str, ...] = ()  # what happened to the run and should be told


Watch: TypeAlias = Callable[[int, Step], None]
"""Is told the seed of a run and how far it has come."""


@final
class Experiences:
    """A learner's way through a scenario. Iterating yields a `Step` after every block and every test.

    Between any two steps it can be saved, and goes on in another process as if it had never stopped: iterate through
    `retain.run.durable`, which sees to that. Iterating again goes on from where it stands.

    In each stage the loop goes through the rows `epochs` times, in a new random order each time, tells the learner that
    the experience has ended (unless the scenario keeps that from it), and tests on the held-out rows of all of them.
    A row counts as right where its class has the largest probability; where the learner says nothing at all of a row,
    as one that has learnt nothing, it counts as a guess, 1/k. With tasks told, learners that take late labels are told
    them in the test too, and only the classes of the row's experience are compared, whatever the learner.

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
        self._learner: Learner | None = None
        self._stage = 0  # stages that have ended
        self._epoch = 0  # epochs of the stage under way that have ended
        self._start = 0  # rows of its epoch under way that have been learnt
        self._random = np.random.default_rng(seed).bit_generator.state  # as the stage under way began
        self._rows: list[Floats] = []
        self._samples = 0
        self._spent = np.zeros(3)  # wall clock, CPU seconds, CPU seconds of learning

    def __iter__(self) -> Iterator[Step]:
        yield from self.steps()

    @property
    def learner(self) -> Learner:
        """What has learnt so far; where every stage begins anew, that of the stage under way."""
        if self._learner is None:
            self._learner = self._make(self._seed)
        return self._learner

    @property
    def whole(self) -> bool:
        """Always: an error of the library leaves the state as it was before the step."""
        return True

    def steps(self) -> Generator[Step]:
        """From where the run stands to the end."""
        if not self._rows:
            yield self._test(stage=0, epoch=0)
        while self._stage < len(self.scenario.stages):
            yield from self._learn()
            self._stage += 1
            step = self._test(stage=self._stage, epoch=self._epochs)
            if self.scenario.fresh and self._stage < len(self.scenario.stages):
                self._learner = None
            yield step

    def finish(self) -> Iterator[Step]:
        """Nothing is left to do after the last step."""
        return iter(())

    def state_dict(self) -> State:
        """Everything: the learner, how far it has come, the order of rows, the tests so far, the clocks."""
        return {
            "learner": self.learner.state_dict(),
            "at": [self._stage, self._epoch, self._start, self._samples],
            "random": self._random,
            "rows": [row.copy() for row in self._rows],
            "spent": self._spent.copy(),
        }

    def load_state_dict(self, state: State, /) -> None:
        """Stand where `state` was saved. Scenario, recipe, epochs and seed must be what they were."""
        learner = self._make(self._seed)
        learner.load_state_dict(state["learner"])
        self._learner = learner
        self._stage, self._epoch, self._start, self._samples = state["at"]
        self._random = state["random"]
        self._rows = [row.copy() for row in state["rows"]]
        self._spent = state["spent"].copy()

    def run(self) -> Run:
        """What came of it, once the iteration has ended."""
        if len(self._rows) <= len(self.scenario.stages):
            raise SettingError(
                f"{len(self._rows)} of {len(self.scenario.stages) + 1} tests are done; iterate to the end"
            )
        seconds, cpu, learning = (float(value) for value in self._spent)
        return Run(self._seed, np.array(self._rows), self._samples, seconds, cpu, learning)

    def _learn(self) -> Iterator[Step]:
        learner, stage = self.learner, self.scenario.stage(self._stage)
        rng = np.random.default_rng()
        rng.bit_generator.state = self._random
        arrival = np.empty(0, dtype=np.int64)
        for epoch in range(1, self._epochs + 1):
            order = rng.permutation(len(stage))  # drawn for epochs that have ended too: a state need not hold orders
            arrival = order if epoch == 1 else arrival
            if epoch <= self._epoch:
                continue
            for start in range(self._start, len(order), self._block):
                clock = _Clock()
                rows = order[start : start + self._block]
                learner.learn(stage.block(rows))
                self._start += len(rows)
                self._samples += len(rows)
                self._spent += clock.lap(learning=True)
                yield Step(self._stage + 1, epoch, self._samples, None)
            self._epoch, self._start = epoch, 0
        if self.scenario.boundaries:
            clock = _Clock()
            consolidate(learner, _Blocks(stage, arrival, self._block))
            self._spent += clock.lap(learning=True)
        self._epoch, self._random = 0, rng.bit_generator.state

    def _test(self, *, stage: int, epoch: int) -> Step:
        clock = _Clock()
        k, tasks = self.scenario.classes, self.scenario.tasks
        found = [
            accuracy(
                self.learner,
                one,
                classes=one.classes if tasks else np.arange(k),
                task=i + 1 if tasks else None,
                block=self._block,
            )
            for i, one in enumerate(self.scenario.experiences)
        ]
        self._rows.append(np.array(found))
        self._spent += clock.lap(learning=False)
        return Step(stage, epoch, self._samples, self._rows[-1])


def accuracy(
    learner: Learner, experience: Experience, /, *, classes: Ints, task: int | None = None, block: int = BLOCK
) -> float:
    """The share of an experience's held-out rows whose class is likeliest among the given ones; NaN without rows.

    With a task, it is told to who is asked.
    """
    right = 0.0
    for start in range(0, len(experience.test), block):
        batch = seen(take_batch(experience.test, slice(start, start + block)), experience.views)
        if batch.y is None:
            raise SchemaError(f"the rows of {experience.name} have no labels to test on")
        if task is None:
            said = learner.predict(batch.x)
        else:
            said, _ = late(learner).meet(replace(batch, y=None, task=np.full(len(batch), task)))
        right += float(_right(said, batch.y, classes).sum())
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
    state: str | Path | None = None,
    resume: bool | None = None,
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
        settings: kept with the result, as plain data; a state made with others is not gone on from.
        watch: is told how far each run has come; with several workers, only when one has ended.
        state: a folder in which every run keeps its state, so that none is begun again after a kill; a run that has
            ended is not run again.
        resume: as in `retain.run.durable`.

    Raises SettingError as `Experiences`, and where a recipe cannot be sent to other processes; StateError as `durable`.

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
    plan = _Plan(scenario, make, epochs, block, settings or {}, None if state is None else Path(state), resume)
    plan.loop(numbers[0])  # settings that make no sense are told before any work
    if workers == 1 or len(numbers) == 1:
        runs = [plan.run(seed, watch) for seed in numbers]
    else:
        runs = _spread(plan, numbers, min(workers, len(numbers)), watch)
    names = tuple(experience.name for experience in scenario.experiences)
    return Continual(scenario.name, names, tuple(runs), settings or {})


@final
@dataclass(frozen=True, slots=True)
class _Plan:
    """What is run for every seed."""

    scenario: Scenario
    make: Make
    epochs: int
    block: int
    settings: Mapping[str, Any]
    state: Path | None
    resume: bool | None

    def loop(self, seed: int) -> Experiences:
        return Experiences(self.scenario, self.make, epochs=self.epochs, block=self.block, seed=seed)

    def run(self, seed: int, watch: Watch | None) -> Run:
        loop = self.loop(seed)
        with closing(loop.steps() if self.state is None else self._kept(loop, self.state, seed)) as steps:
            for step in steps:
                if watch is not None:
                    watch(seed, step)
        return loop.run()

    def _kept(self, loop: Experiences, folder: Path, seed: int) -> Generator[Step]:
        names = [experience.name for experience in self.scenario.experiences]
        told = {**self.settings, "scenario": self.scenario.name, "experiences": names, "epochs": self.epochs}
        return durable(loop, folder / f"seed-{seed}", resume=self.resume, settings={**told, "seed": seed}, every=_EVERY)


def _spread(plan: _Plan, seeds: Sequence[int], workers: int, watch: Watch | None) -> list[Run]:
    """The runs of all seeds, in their order, by processes started anew: torch's threads do not survive a fork."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing.reduction import ForkingPickler

    try:
        ForkingPickler.dumps(plan.make)
    except Exception as error:
        raise SettingError(
            f"the recipe {plan.make!r} cannot be sent to other processes ({error}); make it a function of a module, or "
            "a functools.partial of one, or use one worker"
        ) from error
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, context, _begin, (plan,)) as pool:
            jobs = [pool.submit(_job, seed) for seed in seeds]
            for job in as_completed(jobs):
                run = job.result()
                if watch is not None:
                    watch(run.seed, Step(len(plan.scenario.stages), plan.epochs, run.samples, run.matrix[-1]))
    except BrokenProcessPool as error:
        raise SettingError(
            "a worker died: out of memory, or the module of the recipe cannot be imported; see why with workers=1"
        ) from error
    return [job.result() for job in jobs]


_given: list[_Plan] = []  # what a worker runs: sent once, and not for every seed


def _begin(plan: _Plan) -> None:
    """A worker begins: one thread each, since there are as many workers as are to be busy."""
    import os
    import sys

    os.environ["OMP_NUM_THREADS"] = "1"
    torch = sys.modules.get("torch")
    if torch is not None:  # imported with the recipe, before the line above could tell it
        torch.set_num_threads(1)
    _given.append(plan)


def _job(seed: int) -> Run:
    return _given[0].run(seed, None)


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
