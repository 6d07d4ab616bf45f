"""The loop of a pipeline: a champion answers and learns, candidates stand trial beside it, rules decide.

Data flows one way: rows from the stream to the champion, to the candidate and to the ledger that scores what was
served; a report of all that to the rules; their judgement to the registry, and only then to who serves.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any, final

import numpy as np

from retain.blocks import concat_arrays, schema_to_state, take_batch
from retain.core import (
    Array,
    Batch,
    Decision,
    Deed,
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
from retain.registry import FileRegistry
from retain.run.chronicle import Chronicle, Content
from retain.run.cursor import Clock, Mark, blocks, rest
from retain.run.exam import Exam, drawn
from retain.run.landing import Delay, Silence, Terms
from retain.run.lane import Lane, Still, losses
from retain.run.prequential import honest
from retain.run.trial import Trial
from retain.run.workshop import Bench, History, Trail
from retain.update import Canary, Overseer, RollBack, Rule
from retain.update.gates import verdict_state
from retain.update.watched import columns_of

__all__ = ["Service"]

_CANARY = 0xCA11  # seed of the rows that a canary answers; not those of an exam
_RECENT = 4_096  # losses that are remembered, for hindsight


@final
class _Relay:
    """A predictor that says what it was told to say: by it the ledger scores what was served, whoever served it."""

    def __init__(self) -> None:
        self.answer: Array = np.empty(0)

    def predict(self, x: Features, /) -> Array:
        n = len(Batch(x))  # none, where labels land after the last row
        said, self.answer = self.answer[:n], self.answer[n:]
        return said

    def state_dict(self) -> State:
        return {}

    def load_state_dict(self, state: State, /) -> None:
        pass


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
        expire: float | Silence | None,
        warm: int,
        limit: int | None,
        step: int,
        exam: Exam | None,
        frozen: bool,
        versions: int | None,
    ) -> None:
        self._stream, self._template = stream, deepcopy(template)
        self._chronicle = None if registry is None else Chronicle(registry, most=versions)
        self._limit, self._step_rows, self._exam, self._frozen = limit, step, exam, frozen
        self._terms = Terms(delay, expire)
        self._champion = Lane(deepcopy(template), self._terms, metrics=(), baselines={})
        self._relay = _Relay()
        self._ledger = Lane(Still(self._relay), Terms(delay, expire, warm), metrics=metrics, baselines=honest())
        self._overseer = Overseer(rules)
        self._trial: Trial | None = None
        self._trail, self._mark = Trail(), Mark()
        needs = [rule.do.needs for rule in rules]
        self._reach = None if None in needs else max([_RECENT, *(rows for rows in needs if rows is not None)])
        self._recent: tuple[Ints, Array] = np.empty(0, dtype=np.int64), np.empty(0)
        self._promoted = False  # whether a candidate ever was
        self._asked = -np.inf  # when the registry's log was looked at
        self._torn = False
        self._checked = False
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

    @property
    def whole(self) -> bool:
        """Whether it stands between two steps; see `retain.run.durable.Resumable`."""
        return not self._torn

    # ---------------------------------------------------------------------------------------------------- the loop

    def steps(self) -> Generator[Report]:
        """A report for every step of rows, from where the service stands to the end of the stream or the limit.

        A step is whole or not at all. Where something in it fails (a registry that cannot be written, say), what
        stands in memory is of no use; whoever goes on from the last snapshot takes the same steps again, and what the
        registry knows already is not done twice.
        """
        if self._torn:
            raise StateError("this service failed in the middle of a step; build it anew and load its last state")
        self._clock.start()
        return self._steps(() if self._chronicle is None else self._chronicle.begin())

    def _steps(self, events: tuple[str, ...]) -> Generator[Report]:
        for batch, after in blocks(self._stream, self._mark, step=self._step_rows, until=self._limit):
            deeds = self._heed()
            report, broke = self._step(batch, after)
            self._torn = True
            deeds += [*broke, *self._judge(report)]
            self._mark = after
            self._trail.add(after, self._champion.clock, oldest=self._oldest())
            self._torn = False
            yield replace(report, deeds=tuple(deeds), events=events, **self._clock.lap())
            events = ()

    def finish(self) -> Iterator[Report]:
        """Land the labels still on their way, and keep the champion as a version where there is a registry."""
        self._clock.start()
        answers, quarantined = rest(self._stream, self._mark)
        self._champion.finish(answers)
        more = quarantined > self._mark.quarantined
        report = self._ledger.finish(answers, limited=self._mark.rows == self._limit, more=more)
        # Who has moved the champion by hand since the last step has the last word.
        rows = self._ledger.rows
        if self._chronicle is not None and rows and self._chronicle.by_hand(rows) is None:
            self._chronicle.keep(self._content(self._champion), "as it was at the end of the run", rows)
        if report is not None:
            yield self._told(replace(report, quarantined=quarantined, **self._clock.lap()))

    def _step(self, batch: Batch, after: Mark) -> tuple[Report, list[Deed]]:
        self._check(batch)
        first = self._champion.rows
        seen = batch if self._exam is None else self._exam.hide(batch, first)
        own = self._champion.step(seen)
        self._torn = True
        evidence, served = None, self._champion.said
        shadow, broken = self._shadow(seen)
        if self._trial is not None and shadow is not None:
            served = self._served(first, served, self._trial.lane.said)
            gate = self._overseer.gate
            evidence = self._trial.evidence(batch, own, shadow, champion=self._champion, gate=gate, exam=self._exam)
        self._relay.answer = served
        report = self._ledger.step(batch)
        if self._exam is not None:
            self._exam.arrive(batch, first)
            self._exam.land(report, self._ledger.waiting)
        self._remember(own)
        told = self._told(replace(report, quarantined=after.quarantined, evidence=evidence))
        return told, self._set_aside(broken) if broken else []

    def _check(self, batch: Batch) -> None:
        """Columns that gates and the exam will ask for are there: better now than when the first candidate is made."""
        if self._checked:
            return
        none = take_batch(batch, slice(0, 0))
        for rule in self._overseer.rules:
            if rule.gate is not None and rule.gate.wants:
                columns_of(none, tuple(rule.gate.wants))
        if self._exam is not None:
            self._exam.check(none)
        self._checked = True

    def _shadow(self, seen: Batch) -> tuple[Report | None, str]:
        """The candidate's turn, and what is wrong with it, if anything; nobody who is served notices."""
        if self._trial is None:
            return None, ""
        lane = self._trial.lane
        try:
            report = lane.step(seen)
        except Exception as error:  # noqa: BLE001 - whatever it is, the champion serves on
            return None, f"{type(error).__name__}: {error}"
        if not np.isfinite(lane.said).all():
            return None, "it answers with what is no number"
        return report, ""

    def _told(self, report: Report) -> Report:
        return replace(report, actions=self._actions, action_seconds=self._action_seconds, hindsight=self._hindsight)

    def _served(self, first: int, own: Array, other: Array) -> Array:
        """What was answered: the champion's words, but for the rows of a canary."""
        gate = self._overseer.gate
        if not isinstance(gate, Canary):
            return own
        answers = concat_arrays([own, other])
        mine, theirs = answers[: len(own)], answers[len(own) :]
        chosen = drawn(np.arange(first, first + len(own)), _CANARY) < gate.share
        return np.where(chosen if own.ndim == 1 else chosen[:, None], theirs, mine)

    # ------------------------------------------------------------------------------------------- what rules look at

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
        past = self._history()
        for block, first, clock in past.read(int(numbers.min(initial=self._champion.rows))):
            batch = past.told(block, first, clock)
            place = numbers[(numbers >= first) & (numbers < first + len(batch))] - first
            if len(place) and batch.y is not None:
                now.append(losses(batch.y[place], self.champion.predict(take_batch(batch, place).x)))
        return then, np.concatenate([np.empty(0), *now])

    def _history(self) -> History:
        rows = self._champion.rows
        lane = self._champion
        return History(
            self._stream,
            self._trail,
            rows,
            self._step_rows,
            self._exam,
            self._terms,
            lane.clock,
            lane.waiting,
            lane.listening,
        )

    def _bench(self) -> Bench:
        registry, until = None, None
        if self._chronicle is not None:  # aliases mean what they meant before this step decided, if it is taken again
            registry, until = self._chronicle.registry, self._chronicle.before(self._ledger.rows)
        return Bench(self._template, self._champion, self._history(), registry, until)

    def _oldest(self) -> int:
        """The first row that anyone may ask to see again."""
        if self._reach is None:
            return 0
        lane = self._champion
        waiting = int(np.union1d(lane.waiting, lane.listening).min(initial=lane.rows))
        return min(waiting, self._champion.rows - self._reach, int(self._recent[0].min(initial=self._champion.rows)))

    # ------------------------------------------------------------------------------------------------ what rules do

    def _judge(self, report: Report) -> list[Deed]:
        """Let the rules look, and do what they say, in order."""
        judgement, rules = self._overseer(report), self._overseer.rules
        if self._chronicle is not None and any(rule.clocked for rule in rules):
            trial = None if self._trial is None else self._trial.rule
            judgement = self._chronicle.obey(judgement, rules, trial, report.rows)
        deeds: list[Deed] = [] if judgement.verdict is None else self._decide(judgement.verdict)
        for rule, why in judgement.fired:
            deeds += self._act(rule, why)
        return deeds

    def _deed(
        self, rule: int | None, what: str, why: str = "", *, seconds: float = 0.0, verdict: Verdict | None = None
    ) -> Deed:
        """Something that was done, of which the overseer takes note."""
        deed = Deed(
            self._ledger.rows,
            self._ledger.clock if np.isfinite(self._ledger.clock) else float("nan"),
            "registry" if rule is None else self._overseer.rules[rule].name,
            what,
            why,
            {} if verdict is None else verdict.evidence,
            seconds,
        )
        self._overseer.follow(deed)
        return deed

    def _act(self, number: int, why: str) -> list[Deed]:
        rule = self._overseer.rules[number]
        if self._overseer.holds(number, self._ledger.rows):
            return [self._deed(number, "held", "a candidate is on trial")]
        deeds = [self._deed(number, "fired", why)]
        if self._chronicle is not None and rule.clocked:
            self._chronicle.note("fired", {"rule": rule.name, "rows": self._ledger.rows, "why": why}, why)
        bench, start = self._bench(), time.process_time()
        try:
            candidate = rule.do(bench)
        except RetainError as error:
            return [*deeds, self._deed(number, "failed", str(error))]
        seconds = time.process_time() - start
        if "keep" in bench.wants and self._chronicle is not None:
            kept = False
            while not kept:
                if moved := self._heed(now=True):  # what a person chose is a version already
                    return [*deeds, *moved]
                kept = self._chronicle.keep(self._content(self._champion), rule.name, self._ledger.rows)
        for alias, (state, report) in bench.derived.items():
            told = {"rule": rule.name, "rows": self._ledger.rows, "derived": alias}
            if self._chronicle is not None:
                self._chronicle.derive(self._content(self._champion), alias, state, report, told)
            deeds.append(self._deed(number, "derived", alias, seconds=seconds))
        if candidate is None:
            return deeds
        if not isinstance(candidate, Lane):
            raise SettingError(f"{rule.name} made {candidate!r}; expected what a workshop gave it")
        self._actions += 1
        self._action_seconds += seconds
        deeds += self._set_aside(f"{rule.name} made a newer candidate")
        if rule.gate is None:
            what = "returned" if isinstance(rule.do, RollBack) else "promoted"
            moved = self._promote(candidate, rule.name, {"rule": rule.name, "rows": self._ledger.rows})
            return [*deeds, *(moved or [self._deed(number, what, seconds=seconds)])]
        if self._promoted and self._frozen:
            candidate.freeze()
        self._trial = Trial(candidate, number, self._champion.rows)
        return [*deeds, self._deed(number, "opened", seconds=seconds)]

    def _set_aside(self, why: str) -> list[Deed]:
        """Let the candidate on trial go, if there is one."""
        trial, self._trial = self._trial, None
        return [] if trial is None else [self._deed(trial.rule, "set aside", why)]

    def _decide(self, verdict: Verdict) -> list[Deed]:
        trial, self._trial = self._trial, None
        if trial is None:
            raise AssertionError  # for the type checker: a verdict falls on a trial
        name = self._overseer.rules[trial.rule].name
        told = {"rule": name, "rows": self._ledger.rows, **(verdict_state(verdict) or {})}
        said = f"{name}: {verdict.why}" if verdict.why else name
        why = f"after {verdict.pairs:,} pairs" + (f", {verdict.why}" if verdict.why else "")
        if verdict.decision is Decision.PROMOTE:
            moved = self._promote(trial.lane, said, told)
            return moved or [self._deed(trial.rule, "promoted", why, verdict=verdict)]
        if self._chronicle is not None:
            self._chronicle.note("refused", told, said)
        return [self._deed(trial.rule, "refused", why, verdict=verdict)]

    def _promote(self, lane: Lane, why: str, told: Mapping[str, Any]) -> list[Deed]:
        """A candidate becomes the champion: in the registry first, for there it must not be lost.

        Unless somebody has moved the champion by hand meanwhile: it was judged beside another. Returns what was done
        then; nothing where it is promoted.
        """
        promoted = False
        while not promoted:
            if moved := self._heed(now=True):
                return moved
            old, new = self._content(self._champion), self._content(lane)
            promoted = self._chronicle is None or self._chronicle.promote(old, new, why, told)
        self._serve(lane)
        return []

    def _serve(self, lane: Lane) -> None:
        self._champion, self._trial, self._promoted = lane, None, True
        self._recent = np.empty(0, dtype=np.int64), np.empty(0)  # what another lost is no hindsight of this one
        if self._frozen:
            lane.freeze()

    def _heed(self, *, now: bool = False) -> list[Deed]:
        """Obey people: who moves the champion by hand, by `retain rollback` or `promote`, moves what serves here.

        Looked at once a second at most, and before every promotion. When it is seen depends on the clock, and so does
        not come out the same again.
        """
        chronicle = self._chronicle
        if chronicle is None or (not now and time.monotonic() - self._asked < 1.0):
            return []
        self._asked = time.monotonic()
        head = chronicle.head()
        entry = chronicle.by_hand(self._ledger.rows)  # after the head: what comes between is seen again
        if entry is None:
            chronicle.followed(None, head)
            return []
        why = f"{entry.who} moved the champion" + (f": {entry.about['why']}" if entry.about["why"] else "")
        try:
            lane = self._bench().version(entry.about["version"])
        except SettingError as error:  # a version of another learner
            chronicle.followed(None, head)
            return [self._deed(None, "failed", f"{why}; {error}")]
        self._serve(lane)
        chronicle.followed(entry, head)
        return [self._deed(None, "returned", why)]

    def _content(self, lane: Lane) -> Content:
        schema = self._ledger.schema
        state = {
            "learner": lane.learner.state_dict(),
            "schema": None if schema is None else schema_to_state(schema),
            "listening": np.setdiff1d(lane.listening, lane.waiting),  # those of which it has learnt what silence says
        }
        return Content(state, {**self._ledger.values(), "rows": self._ledger.rows})

    # --------------------------------------------------------------------------------------------------------- state

    def state_dict(self) -> State:
        return {
            "champion": self._champion.state_dict(),
            "ledger": self._ledger.state_dict(),
            "trial": None if self._trial is None else self._trial.state_dict(),
            "overseer": self._overseer.state_dict(),
            "trail": self._trail.state_dict(),
            "mark": self._mark.to_state(),
            "exam": None if self._exam is None else self._exam.state_dict(),
            "recent": {"rows": self._recent[0].copy(), "losses": self._recent[1].copy()},
            "log": None if self._chronicle is None else self._chronicle.state_dict(),
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
            self._trial = Trial(lane, kept["rule"], kept["opened"])
            self._trial.load_columns(kept)
        self._overseer.load_state_dict(state["overseer"])
        self._trail.load_state_dict(state["trail"])
        self._mark = Mark.from_state(state["mark"])
        if self._exam is not None:
            self._exam.load_state_dict(state["exam"])
        self._recent = state["recent"]["rows"].copy(), state["recent"]["losses"].copy()
        if self._chronicle is not None and state["log"] is not None:
            self._chronicle.load_state_dict(state["log"])
        self._actions, self._action_seconds = state["actions"]
        self._clock.seconds, self._clock.cpu_seconds = state["clocks"]

    def _lane(self, state: State, *, frozen: bool) -> Lane:
        lane = Lane(deepcopy(self._template), self._terms, metrics=(), baselines={})
        if frozen:
            lane.freeze()
        lane.load_state_dict(state)
        return lane
