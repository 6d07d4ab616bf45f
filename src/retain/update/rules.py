"""When, what and whether: rules, and the fold over reports that says what they would do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from typing import NamedTuple, final

from retain.core import Action, Decision, Deed, Gate, Report, State, Trigger, Verdict
from retain.errors import SettingError
from retain.update.watched import Telling, clocked

__all__ = ["Judgement", "Overseer", "Rule"]

_LONGEST = 64.0  # times the cooldown


@final
class Rule:
    """When a trigger fires, an action makes a candidate, and a gate decides whether it becomes the champion.

    Args:
        when: the trigger.
        do: the action.
        gate: None: what the action makes serves at once.
        name: as in reports and logs; by default what it is made of.
        warmup: rows before which it never acts.
        cooldown: rows after it has acted before it may act again.
        backoff: each refusal in a row makes the cooldown so many times as long, 64 times at most; a promotion ends it.
        times: how often it acts at most, in the whole run: a cap on returns, say; None: no limit.
        patience: a candidate that has been on trial for more rows than this gives way to a newer one; a rule that
            fires before is held, and acts once another rule's candidate has been refused. A promotion answers it: who
            serves then is another model, which the trigger goes on watching.

    >>> import retain as rt
    >>> rt.Rule(when=rt.OnDrift(rt.detectors.ADWIN()), do=rt.Retrain(last=20_000), gate=rt.Better()).name
    'Retrain when OnDrift'
    """

    def __init__(
        self,
        *,
        when: Trigger,
        do: Action,
        gate: Gate | None = None,
        name: str | None = None,
        warmup: int = 0,
        cooldown: int = 0,
        backoff: float = 1.0,
        times: int | None = None,
        patience: int = 10_000,
    ) -> None:
        if min(warmup, cooldown, patience) < 0 or (times is not None and times < 1) or not backoff >= 1:
            raise SettingError(
                f"warmup={warmup}, cooldown={cooldown}, patience={patience}, backoff={backoff}, times={times}; "
                "expected rows >= 0, backoff >= 1, and times >= 1 or None"
            )
        self.when, self.do, self.gate = when, do, gate
        self.name = f"{type(do).__name__} when {type(when).__name__}" if name is None else name
        self.warmup, self.cooldown, self.patience, self.backoff = warmup, cooldown, patience, backoff
        self.times = times

    @property
    def clocked(self) -> bool:
        """Whether the trigger or the gate looks at a clock, so that what they say is not a matter of the rows alone."""
        return clocked(self.when, self.gate)


class Judgement(NamedTuple):
    """What rules say of a report."""

    verdict: Verdict | None  # on the candidate on trial; None: undecided, or there is none
    fired: tuple[tuple[int, str], ...]  # rules that want to act, by number, and why


@final
class Overseer:
    """Folds reports through rules. What it says depends on the reports alone: the same reports, the same decisions.

    Whoever obeys it tells it of every deed (`follow`), and asks before an action whether the rule is held (`holds`);
    the deeds of past reports do as well.

    Args:
        rules: names must differ.

    >>> import retain as rt
    >>> overseer = Overseer([rt.Rule(when=rt.Every(rows=500), do=rt.Alert(), warmup=1000)])
    >>> [rows for rows in range(250, 2001, 250) if overseer(rt.Report(rows, 0, 0, 0, 0, 0.0, 0.0)).fired]
    [1000, 1500, 2000]
    """

    def __init__(self, rules: Sequence[Rule], /) -> None:
        names = [rule.name for rule in rules]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise SettingError(f"two rules are called {twice!r}; give them names: Rule(..., name=...)")
        # What folds is copied, so that one set of rules may serve in several runs.
        self.rules = tuple(rules)
        self._number = {name: i for i, name in enumerate(names)}
        self._triggers = [deepcopy(rule.when) for rule in rules]
        self._acted: list[int | None] = [None] * len(rules)  # after how many rows it did last,
        self._times = [0] * len(rules)  # and how often
        self._refused = [0] * len(rules)  # candidates of it, in a row
        self._held = [False] * len(rules)  # whether it waits for the candidate on trial
        self._opened = 0  # after how many rows the candidate on trial was made
        self._trial: int | None = None  # the rule that made it
        self._gate: Gate | None = None

    @property
    def gate(self) -> Gate | None:
        """What judges the candidate on trial; None where there is none."""
        return self._gate

    def __call__(self, report: Report, /) -> Judgement:
        verdict: Verdict | None = None
        if self._gate is not None and report.evidence is not None:
            verdict = self._gate(report.evidence)
            if verdict.decision is Decision.UNDECIDED:
                verdict = None
        fired: list[tuple[int, str]] = []
        for i, trigger in enumerate(self._triggers):
            wants = trigger(report) or (self._held[i] and self._trial is None)
            refused = self._refused[i]
            if i == self._trial and verdict is not None:
                refused = refused + 1 if verdict.decision is Decision.REFUSE else 0
            if wants and self._may(i, report.rows, refused):
                fired.append((i, trigger.why if isinstance(trigger, Telling) else ""))
        return Judgement(verdict, tuple(fired))

    def _may(self, i: int, rows: int, refused: int) -> bool:
        """Whether a rule is neither warming up nor cooling down, nor has acted as often as it may."""
        rule, acted = self.rules[i], self._acted[i]
        if rows < rule.warmup or (rule.times is not None and self._times[i] >= rule.times):
            return False
        longer = math.exp(min(refused * math.log(rule.backoff), math.log(_LONGEST)))
        return acted is None or rows - acted >= math.floor(rule.cooldown * longer + 0.5)

    def holds(self, rule: int, rows: int, /) -> bool:
        """Whether a rule that fired must let the candidate on trial be, after so many rows."""
        wanted = self.rules[rule]
        return self._trial is not None and wanted.gate is not None and rows - self._opened <= wanted.patience

    def follow(self, deed: Deed, /) -> None:
        """Take note of what was done."""
        rule = self._number.get(deed.rule)
        match deed.what:
            case "fired" if rule is not None:
                self._acted[rule], self._held[rule] = deed.rows, False
                self._times[rule] += 1
            case "held" if rule is not None:
                self._held[rule] = rule != self._trial  # its own candidate's refusal answers it
            case "opened" if rule is not None:
                self._trial, self._opened = rule, deed.rows
                self._gate = deepcopy(self.rules[rule].gate)
            case "refused" | "set aside":
                if rule is not None and deed.what == "refused":
                    self._refused[rule] += 1
                self._trial = self._gate = None
            case "promoted" | "returned":
                if rule is not None:
                    self._refused[rule] = 0
                self._trial = self._gate = None
                self._held = [False] * len(self.rules)
            case _:
                pass

    def state_dict(self) -> State:
        return {
            "triggers": {str(i): trigger.state_dict() for i, trigger in enumerate(self._triggers)},
            "acted": list(self._acted),
            "times": list(self._times),
            "held": list(self._held),
            "refused": list(self._refused),
            "trial": self._trial,
            "opened": self._opened,
            "gate": None if self._gate is None else self._gate.state_dict(),
        }

    def load_state_dict(self, state: State, /) -> None:
        for i, trigger in enumerate(self._triggers):
            trigger.load_state_dict(state["triggers"][str(i)])
        self._acted, self._times, self._held, self._refused = (
            list(state[name]) for name in ("acted", "times", "held", "refused")
        )
        self._trial, self._opened, self._gate = state["trial"], state["opened"], None
        if self._trial is not None:
            self._gate = deepcopy(self.rules[self._trial].gate)
            if self._gate is not None:
                self._gate.load_state_dict(state["gate"])
