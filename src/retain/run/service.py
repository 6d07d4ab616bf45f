"""The loop of a pipeline: a champion answers and learns, candidates stand trial beside it, rules decide.

Data flows one way: rows from the stream to the champion, to the candidate and to the ledger that scores what was
served; a report of all that to the rules; their judgement to the registry, and only then to who serves.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, final

import numpy as np

from retain.blocks import schema_to_state, take_batch
from retain.compose import Kept, LateLearner
from retain.core import (
    Array,
    Batch,
    Decision,
    Deed,
    Evidence,
    Features,
    Ints,
    Learner,
    Metric,
    Report,
    Schema,
    State,
    Stream,
    Verdict,
)
from retain.errors import RetainError, SettingError, StateError
from retain.metrics import state_bytes
from retain.registry import CHAMPION, FileRegistry
from retain.run.cursor import Clock, Mark, blocks
from retain.run.exam import Exam, drawn
from retain.run.landing import Delay, nothing, pad
from retain.run.lane import Lane, Terms, losses
from retain.run.prequential import honest
from retain.run.workshop import Bench, History, Trail
from retain.update import Canary, Overseer, RollBack, Rule
from retain.update.gates import verdict_from, verdict_state
from retain.update.watched import columns_of

__all__ = ["Service"]

_CANARY = 0xCA11  # seed of the rows that a canary answers; not those of an exam
_RECENT = 4_096  # losses that are remembered, for hindsight


@final
class _Relay(LateLearner):
    """Says what it was told to say: through it the ledger scores what was served, whoever served it."""

    def __init__(self) -> None:
        self.answer: Array = np.empty(0)

    def learn(self, batch: Batch, /) -> Array:  # noqa: ARG002 - whoever knows the rows has spoken
        return self.answer

    def predict(self, x: Features, /) -> Array:
        raise NotImplementedError

    def flow(
        self,
        arrivals: Batch,
        due: Kept | None,  # noqa: ARG002 - as above
        due_y: Array,  # noqa: ARG002
        order: Ints,  # noqa: ARG002
        /,
    ) -> tuple[Array, Kept]:
        return self.answer[: len(arrivals)], nothing(len(arrivals))

    def state_dict(self) -> State:
        return {}

    def load_state_dict(self, state: State, /) -> None:
        pass


@dataclass(slots=True)
class _Trial:
    """A candidate, and what its gate must be told of the rows that it has answered."""

    lane: Lane
    rule: int  # whose candidate it is
    opened: int  # the first row that it answers unseen
    columns: dict[str, Array]  # of the rows from `base` on
    base: int


@final
class Service:
    """The loop of a `retain.Pipeline`, which says what the settings mean.

    Resumable: its state between two reports is all that is needed to go on (see `retain.durable`).
    """

    def __init__(
        self,
        *,
        stream: Stream,
        template: Learner,
        rules: Sequence[Rule],
        registry: FileRegistry | None,
        metrics: Sequence[Metric] | None,
        delay: Delay | None,
        expire: float | None,
        warm: int,
        limit: int | None,
        step: int,
        exam: Exam | None,
        frozen: bool,
    ) -> None:
        self._stream, self._template, self._registry = stream, deepcopy(template), registry
        self._limit, self._step_rows, self._exam, self._frozen = limit, step, exam, frozen
        self._terms = Terms(delay, expire)
        self._champion = Lane(deepcopy(template), self._terms, metrics=(), baselines={})
        self._relay = _Relay()
        self._ledger = Lane(self._relay, Terms(delay, expire, warm), metrics=metrics, baselines=honest())
        self._overseer = Overseer(rules)
        self._trial: _Trial | None = None
        self._trail, self._mark = Trail(), Mark()
        needs = [rule.do.needs for rule in rules]
        self._reach = None if None in needs else max([_RECENT, *(rows for rows in needs if rows is not None)])
        self._recent: tuple[Ints, Array] = np.empty(0, dtype=np.int64), np.empty(0)
        self._version: str | None = None  # that the champion descends from
        self._due: list[tuple[str, int, str]] = []  # what was decided and is still to be done
        self._verdict: Verdict | None = None
        self._promoted = False  # whether a candidate ever was
        self._heard, self._asked = 0, -np.inf  # entries of the registry's log that are known, and when it was looked at
        self._actions, self._action_seconds = 0, 0.0
        self._clock = Clock()

    def __iter__(self) -> Iterator[Report]:
        yield from self.steps()
        yield from self.finish()

    @property
    def champion(self) -> Learner:
        """What serves now."""
        return self._champion.learner

    @property
    def candidate(self) -> Learner | None:
        """What is on trial."""
        return None if self._trial is None else self._trial.lane.learner

    @property
    def schema(self) -> Schema | None:
        """The schema as known so far, with the classes seen on the way; None before the first row."""
        return self._ledger.schema

    # ---------------------------------------------------------------------------------------------------- the loop

    def steps(self) -> Generator[Report]:
        """A report for every step of rows, from where the service stands to the end of the stream or the limit."""
        self._clock.start()
        if self._registry is not None:
            self._registry.own()  # whoever wrote before, and was thought dead, writes no more
            if not self._heard:
                self._heard = self._registry.head()[0]
        for batch, after in blocks(self._stream, self._mark, step=self._step_rows, until=self._limit):
            deeds = self._perform()  # what a failure kept from being done after the step before
            deeds += self._heed()
            report = self._step(batch, after)
            self._mark = after
            self._judge(report)
            deeds += self._perform()
            self._trail.add(after, self._champion.clock, oldest=self._oldest())
            yield replace(report, deeds=tuple(deeds), **self._clock.lap())

    def finish(self) -> Iterator[Report]:
        """Land the labels still on their way, and keep the champion as a version where there is a registry."""
        self._clock.start()
        deeds = self._perform()  # where a failure at the last step kept it from being done
        self._champion.finish()
        report = self._ledger.finish()
        if self._registry is not None and self._ledger.rows:
            self._keep("as it was at the end of the run")
        if report is not None:
            counted = replace(report, quarantined=self._mark.quarantined, deeds=tuple(deeds))
            yield self._told(replace(counted, **self._clock.lap()))

    def _step(self, batch: Batch, after: Mark) -> Report:
        first = self._champion.rows
        seen = batch if self._exam is None else self._exam.hide(batch, first)
        own = self._champion.step(seen)
        evidence, served = None, self._champion.said
        trial, shadow = self._trial, self._shadow(seen)
        if trial is not None and shadow is not None:
            served = self._served(first, served, trial.lane.said)
            evidence = self._evidence(trial, batch, own, shadow)
        self._relay.answer = served
        report = self._ledger.step(batch)
        if self._exam is not None:
            self._exam.arrive(batch, first)
            self._exam.land(report)
        self._remember(own)
        return self._told(replace(report, quarantined=after.quarantined, evidence=evidence))

    def _shadow(self, seen: Batch) -> Report | None:
        """The candidate's turn; one that breaks is set aside, and nobody who is served notices."""
        if self._trial is None:
            return None
        try:
            return self._trial.lane.step(seen)
        except RetainError as error:
            self._due.append(("broke", self._trial.rule, str(error)))
            self._trial = None
            self._overseer.close()
            return None

    def _told(self, report: Report) -> Report:
        return replace(report, actions=self._actions, action_seconds=self._action_seconds, hindsight=self._hindsight)

    def _served(self, first: int, own: Array, other: Array) -> Array:
        """What was answered: the champion's words, but for the rows of a canary."""
        gate = self._overseer.gate
        if not isinstance(gate, Canary):
            return own
        answers = pad([own, other])
        mine, theirs = answers[: len(own)], answers[len(own) :]
        chosen = drawn(np.arange(first, first + len(own)), _CANARY) < gate.share
        return np.where(chosen if own.ndim == 1 else chosen[:, None], theirs, mine)

    # ------------------------------------------------------------------------------------------- what rules look at

    def _evidence(self, trial: _Trial, batch: Batch, own: Report, shadow: Report) -> Evidence:
        row, mine, theirs = _paired(own, shadow)
        unseen = row >= trial.opened
        champion, candidate = (_masked(report.loss, place, unseen) for report, place in ((own, mine), (shadow, theirs)))
        gate = self._overseer.gate
        if gate is not None and gate.wants:
            for name, values in columns_of(batch, tuple(sorted(gate.wants))).items():
                trial.columns[name] = np.concatenate([trial.columns[name], values]) if name in trial.columns else values
        columns = {name: values[np.where(unseen, row - trial.base, 0)] for name, values in trial.columns.items()}
        oldest = int(self._champion.waiting.min(initial=self._champion.rows))
        if oldest > trial.base:
            trial.columns = {name: values[oldest - trial.base :] for name, values in trial.columns.items()}
            trial.base = oldest
        exam, serving, proposed = self._exam, self.champion, trial.lane.learner
        sample = take_batch(batch, slice(0, 1_000)).x
        return Evidence(
            champion,
            candidate,
            y=_taken(own.y, mine),
            champion_said=_taken(own.prediction, mine),
            candidate_said=_taken(shadow.prediction, theirs),
            columns=columns,
            past=None if exam is None else cache(lambda: exam.ask(serving, proposed)),
            costs=cache(lambda: _costs(serving, proposed, sample)),
        )

    def _remember(self, own: Report) -> None:
        if own.row is None or own.loss is None:
            return
        rows, losses_ = (
            np.concatenate(pair)[-_RECENT:] for pair in zip(self._recent, (own.row, own.loss), strict=True)
        )
        self._recent = rows, losses_

    def _hindsight(self, rows: int) -> tuple[Array, Array]:
        """See `Report.hindsight`."""
        if rows > _RECENT:
            raise SettingError(f"hindsight goes back {_RECENT} rows; {rows} were asked for")
        numbers, then = (part[-rows:] for part in self._recent)
        order = np.argsort(numbers)
        numbers, then = numbers[order], then[order]
        now: list[Array] = []
        for batch, first, _ in self._history().read(int(numbers.min(initial=self._champion.rows))):
            place = numbers[(numbers >= first) & (numbers < first + len(batch))] - first
            if len(place) and batch.y is not None:
                now.append(losses(batch.y[place], self.champion.predict(take_batch(batch, place).x)))
        return then, np.concatenate([np.empty(0), *now])

    def _history(self) -> History:
        rows = self._champion.rows
        return History(self._stream, self._trail, rows, self._step_rows, self._exam, self._champion.waiting)

    def _bench(self, why: str) -> Bench:
        keep = lambda: self._keep(why)  # noqa: E731 - where it is used
        return Bench(self._template, self._champion, self._terms, self._history(), self._registry, keep)

    def _oldest(self) -> int:
        """The first row that anyone may ask to see again."""
        if self._reach is None:
            return 0
        waiting = int(self._champion.waiting.min(initial=self._champion.rows))
        return min(waiting, self._champion.rows - self._reach, int(self._recent[0].min(initial=self._champion.rows)))

    # ------------------------------------------------------------------------------------------------ what rules do

    def _judge(self, report: Report) -> None:
        """Let the rules look; what they decide is due from now on, and part of the state until it is done."""
        judgement = self._overseer(report)
        if judgement.verdict is not None:
            self._verdict = judgement.verdict
            self._due.append(("verdict", -1, ""))
        self._due += [("held", rule, "") for rule in judgement.held]
        self._due += [("act", rule, why) for rule, why in judgement.fired]

    def _perform(self) -> list[Deed]:
        """Do what is due, in order. A failure leaves it due."""
        deeds: list[Deed] = []
        while self._due:
            what, rule, why = self._due[0]
            if what == "verdict":
                deeds.append(self._decide())
            elif what == "broke":
                deeds.append(self._deed(rule, "set aside", why))
            elif what == "held":
                deeds.append(self._deed(rule, "held", "a candidate is on trial"))
            else:
                deeds += self._act(rule, why)
            self._due.pop(0)
        return deeds

    def _heed(self) -> list[Deed]:
        """Obey people: who moves the champion by hand, by `retain rollback` or `promote`, moves what serves here.

        Looked at once a second at most. When it is seen depends on the clock, and so does not come out the same again.
        """
        now = time.monotonic()
        if self._registry is None or now - self._asked < 1.0:
            return []
        self._asked = now
        entries = self._registry.since(self._heard)
        self._heard += len(entries)
        by_hand = [
            e for e in entries if e.what == "point" and e.about["alias"] == CHAMPION and "decision" not in e.about
        ]
        if not by_hand or by_hand[-1].about["version"] == self._version:
            return []
        entry = by_hand[-1]
        self._champion, self._trial = self._bench("").version(entry.about["version"]), None
        self._version, self._promoted = entry.about["version"], True
        self._overseer.close()
        if self._frozen:
            self._champion.freeze()
        why = f"{entry.who} moved the champion" + (f": {entry.about['why']}" if entry.about["why"] else "")
        return [self._deed(-1, "returned", why)]

    def _deed(
        self, rule: int, what: str, why: str, *, seconds: float = 0.0, evidence: Mapping[str, float] | None = None
    ) -> Deed:
        name = self._overseer.rules[rule].name if rule >= 0 else "registry"
        clock = self._ledger.clock
        return Deed(
            self._ledger.rows,
            clock if np.isfinite(clock) else float("nan"),
            name,
            what,
            why,
            evidence or {},
            seconds,
        )

    def _act(self, number: int, why: str) -> list[Deed]:
        rule = self._overseer.rules[number]
        deeds = [self._deed(number, "fired", why)]
        start = time.process_time()
        try:
            candidate = rule.do(self._bench(rule.name))
        except StateError:
            raise  # the registry cannot be read or written: it stays due
        except RetainError as error:
            return [*deeds, self._deed(number, "failed", str(error))]
        seconds = time.process_time() - start
        if candidate is None:
            return deeds
        if not isinstance(candidate, Lane):
            raise SettingError(f"{rule.name} made {candidate!r}; expected what a workshop gave it")
        self._actions += 1
        self._action_seconds += seconds
        if self._trial is not None:
            deeds.append(self._deed(self._trial.rule, "set aside", f"{rule.name} made a newer candidate"))
        if self._promoted and self._frozen:
            candidate.freeze()
        self._trial = _Trial(candidate, number, self._champion.rows, {}, self._champion.rows)
        if rule.gate is None:
            what = "returned" if isinstance(rule.do, RollBack) else "promoted"
            self._promote(rule.name, {"rule": rule.name, "rows": self._ledger.rows, "gate": None})
            return [*deeds, self._deed(number, what, "", seconds=seconds)]
        self._overseer.open(number, self._champion.rows)
        return [*deeds, self._deed(number, "opened", "", seconds=seconds)]

    def _decide(self) -> Deed:
        trial, verdict = self._trial, self._verdict
        if trial is None or verdict is None:
            raise AssertionError  # for the type checker: a verdict is due only then
        rule = self._overseer.rules[trial.rule]
        told = {"rule": rule.name, "rows": self._ledger.rows, **(verdict_state(verdict) or {})}
        if verdict.decision is Decision.PROMOTE:
            self._promote(_why(rule.name, verdict), told)
            what = "promoted"
        else:
            if self._registry is not None and not self._registry.decided(told):
                self._registry.note("refused", told, why=_why(rule.name, verdict))
            what = "refused"
            self._trial = None
        self._verdict = None
        why = f"after {verdict.pairs:,} pairs" + (f", {verdict.why}" if verdict.why else "")
        return self._deed(trial.rule, what, why, evidence=verdict.evidence)

    def _promote(self, why: str, told: Mapping[str, Any]) -> None:
        """The candidate becomes the champion: in the registry first, for there it must not be lost."""
        trial = self._trial
        if trial is None:
            raise AssertionError  # for the type checker
        if self._registry is not None:
            old = self._pushed(self._champion, parent=self._version, why="as it was when it was replaced")
            new = self._pushed(trial.lane, parent=old, why=why)
            if not self._registry.decided(told):
                if self._registry.aliases().get(CHAMPION) != old:
                    self._registry.point(
                        CHAMPION, old, why="as it was when it was replaced", decision={"rows": told["rows"]}
                    )
                self._registry.point(CHAMPION, new, why=why, decision=told)
            self._version = new
        self._champion, self._trial, self._promoted = trial.lane, None, True
        if self._frozen:
            self._champion.freeze()

    def _keep(self, why: str) -> None:
        if self._registry is None:
            raise SettingError("there is no registry to keep a version in; give the pipeline one: registry=...")
        self._version = self._pushed(self._champion, parent=self._version, why=why)
        told = {"rows": self._ledger.rows, "kept": why}
        if not self._registry.decided(told):
            self._registry.point(CHAMPION, self._version, why=why, decision=told)

    def _pushed(self, lane: Lane, *, parent: str | None, why: str) -> str:
        """A lane's learner as a version. Its report holds nothing of clocks: done again, it is the same version."""
        if self._registry is None:
            raise AssertionError  # for the type checker
        schema = self._ledger.schema
        state = {"learner": lane.learner.state_dict(), "schema": None if schema is None else schema_to_state(schema)}
        report = {**self._ledger.values(), "rows": self._ledger.rows}
        return self._registry.push(state, parent=parent, report=report, why=why).name

    # --------------------------------------------------------------------------------------------------------- state

    def state_dict(self) -> State:
        trial = self._trial
        return {
            "champion": self._champion.state_dict(),
            "ledger": self._ledger.state_dict(),
            "trial": None
            if trial is None
            else {
                "lane": trial.lane.state_dict(),
                "rule": trial.rule,
                "opened": trial.opened,
                "base": trial.base,
                "columns": {name: values.copy() for name, values in trial.columns.items()},
            },
            "overseer": self._overseer.state_dict(),
            "trail": self._trail.state_dict(),
            "mark": self._mark.to_state(),
            "exam": None if self._exam is None else self._exam.state_dict(),
            "recent": {"rows": self._recent[0].copy(), "losses": self._recent[1].copy()},
            "version": self._version,
            "log": None if self._registry is None else [*self._registry.head(), self._heard],
            "due": [list(one) for one in self._due],
            "verdict": verdict_state(self._verdict),
            "promoted": self._promoted,
            "actions": [self._actions, self._action_seconds],
            "clocks": [self._clock.seconds, self._clock.cpu_seconds],
        }

    def load_state_dict(self, state: State, /) -> None:
        self._promoted = state["promoted"]
        self._champion = self._lane(state["champion"], frozen=self._promoted and self._frozen)
        self._ledger.load_state_dict(state["ledger"])
        self._trial = None
        if (kept := state["trial"]) is not None:
            lane = self._lane(kept["lane"], frozen=self._promoted and self._frozen)
            self._trial = _Trial(lane, kept["rule"], kept["opened"], dict(kept["columns"]), kept["base"])
        self._overseer.load_state_dict(state["overseer"])
        self._trail.load_state_dict(state["trail"])
        self._mark = Mark.from_state(state["mark"])
        if self._exam is not None:
            self._exam.load_state_dict(state["exam"])
        self._recent = state["recent"]["rows"].copy(), state["recent"]["losses"].copy()
        self._version = state["version"]
        if self._registry is not None and state["log"] is not None:
            number, digest, self._heard = state["log"]
            self._registry.vouch(number, digest)
        self._due = [(what, rule, why) for what, rule, why in state["due"]]
        self._verdict = verdict_from(state["verdict"])
        self._actions, self._action_seconds = state["actions"]
        self._clock.seconds, self._clock.cpu_seconds = state["clocks"]

    def _lane(self, state: State, *, frozen: bool) -> Lane:
        lane = Lane(deepcopy(self._template), self._terms, metrics=(), baselines={})
        if frozen:
            lane.freeze()
        lane.load_state_dict(state)
        return lane


def _paired(own: Report, shadow: Report) -> tuple[Ints, Ints, Ints]:
    """Rows that landed in both lanes: their numbers, and where they are in each."""
    mine, theirs = own.row, shadow.row
    if mine is None or theirs is None or np.array_equal(mine, theirs):
        row = np.empty(0, dtype=np.int64) if mine is None else mine
        place = np.arange(len(row))
        return row, place, place
    row, in_mine, in_theirs = np.intersect1d(mine, theirs, return_indices=True)
    order = np.argsort(in_mine)
    return row[order], in_mine[order], in_theirs[order]


def _masked(loss: Array | None, place: Ints, unseen: Array) -> Array:
    return np.where(unseen, np.empty(0) if loss is None else loss[place].astype(np.float64), np.nan)


def _taken(column: Array | None, place: Ints) -> Array | None:
    return None if column is None else column[place]


def _costs(champion: Learner, candidate: Learner, sample: Features) -> dict[str, tuple[float, float]]:
    """Seconds to answer a row, the best of five, in turns; bytes of the state."""
    seconds = [float("inf"), float("inf")]
    for _ in range(5):
        for i, learner in enumerate((champion, candidate)):
            start = time.perf_counter()
            learner.predict(sample)
            seconds[i] = min(seconds[i], time.perf_counter() - start)
    n = max(len(Batch(sample)), 1)
    sizes = state_bytes(champion.state_dict()), state_bytes(candidate.state_dict())
    return {"seconds": (seconds[0] / n, seconds[1] / n), "bytes": (float(sizes[0]), float(sizes[1]))}


def _why(rule: str, verdict: Verdict) -> str:
    return f"{rule}: {verdict.why}" if verdict.why else rule
