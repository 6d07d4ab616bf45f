"""A run's side of the registry's log: what it decided, once, however often a step is taken, and what people did.

A decision in the log holds the rows after which it fell. Those of this run at or after a step's rows show that the step
is taken again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from retain.core import State, Verdict
from retain.registry import CHAMPION, Entry, FileRegistry
from retain.update import Judgement, Rule
from retain.update.gates import verdict_from

__all__ = ["Chronicle", "Content"]


@final
@dataclass(frozen=True, slots=True)
class Content:
    """What a version is made of. It holds nothing of clocks: made again, it is the same version."""

    state: State
    report: Mapping[str, float]


@final
class Chronicle:
    """Versions and decisions of one run.

    Args:
        registry: where they are kept.
        most: versions that are kept besides those with an alias; None: all.
    """

    def __init__(self, registry: FileRegistry, /, *, most: int | None) -> None:
        self.registry, self._most = registry, most
        self.version: str | None = None
        """That the champion descends from."""
        self._begun: int | None = None  # the entry with which the run began
        self._heard = 0  # entries that are known
        self._saved: tuple[int, int] | None = None  # how long the log was when the state was asked for, the last times

    def begin(self) -> tuple[str, ...]:
        """Own the registry: whoever wrote before, and was thought dead, writes no more. Returns what to tell of it."""
        token = self.registry.own()
        if self._begun is not None:
            return ()
        self._begun = self._heard = token
        if (other := self.registry.aliases().get(CHAMPION)) is None:
            return ()
        folder = self.registry.folder
        return (
            f"{folder} has a champion of another run ({other[:12]}), whose place this run's first version will take",
        )

    # --------------------------------------------------------------------------------------------------- what it did

    def promote(self, old: Content, new: Content, why: str, told: Mapping[str, Any]) -> bool:
        """Keep the champion as it is, and put another in its place.

        False, and it stands, where somebody has moved it by hand meanwhile.
        """
        before = "as it was when it was replaced"
        first = self._push(old, parent=self.version, why=before)
        second = self._push(new, parent=first, why=why)
        moved = self._point(first, before, {"rows": told["rows"], "kept": before}) and self._point(second, why, told)
        self.version = second if moved else self.version
        self._retire()
        return moved

    def keep(self, content: Content, why: str, rows: int) -> bool:
        """Keep the champion as it is; False where somebody has moved it by hand meanwhile, to what is a version."""
        version = self._push(content, parent=self.version, why=why)
        moved = self._point(version, why, {"rows": rows, "kept": why})
        self.version = version if moved else self.version
        self._retire()
        return moved

    def derive(
        self, champion: Content, alias: str, state: State, report: Mapping[str, Any], told: Mapping[str, Any]
    ) -> None:
        """Keep something that was made of the champion, which is kept before it, and point an alias to it.

        Where the step is taken again nothing is done twice: what was measured the first time stands.
        """
        if self.registry.decided(told, since=self._begun or 0):
            return
        parent = self._push(champion, parent=self.version, why=f"as it was when {alias} was made of it")
        version = self.registry.push(state, parent=parent, report=report, why=str(told["rule"]))
        self.registry.point(alias, version.name, why=str(told["rule"]), decision=told)
        self._retire()

    def note(self, what: str, told: Mapping[str, Any], why: str) -> None:
        """Write down a decision that moves nothing."""
        if not self.registry.decided(told, since=self._begun or 0):
            self.registry.note(what, told, why=why)

    def _push(self, content: Content, *, parent: str | None, why: str) -> str:
        return self.registry.push(content.state, parent=parent, report=content.report, why=why).name

    def _point(self, version: str, why: str, told: Mapping[str, Any]) -> bool:
        decision = {**told, "version": version}
        if self.registry.decided(decision, since=self._begun or 0):
            return True
        return self.registry.point(CHAMPION, version, why=why, decision=decision, seen=self._heard)

    def _retire(self) -> None:
        if self._most is not None:
            # What is saved last may be lost, and steps be taken again from what was saved before.
            self.registry.retire(keep=self._most, since=None if self._saved is None else self._saved[0])

    # -------------------------------------------------------------------------------------- steps that are taken again

    def before(self, rows: int) -> int | None:
        """How long the log was before what was decided after so many rows; None where nothing was, by now."""
        first = next((entry for entry in self._own() if entry.about["decision"]["rows"] >= rows), None)
        return None if first is None else first.number - 1

    def obey(self, judgement: Judgement, rules: Sequence[Rule], trial: int | None, rows: int) -> Judgement:
        """What rules that look at clocks said the first time, where the step is taken again.

        Of a decision at these rows, or of later ones, the log knows; what it does not know of has moved nothing.
        """
        if self.before(rows) is None:
            return judgement
        told = [(entry.what, entry.about["decision"]) for entry in self._own()]
        told = [(what, decision) for what, decision in told if decision["rows"] == rows]
        fired = [(i, why) for i, why in judgement.fired if not rules[i].clocked]
        names = {decision["rule"]: decision["why"] for what, decision in told if what == "fired"}
        fired += [(i, names[rule.name]) for i, rule in enumerate(rules) if rule.name in names]
        verdict = judgement.verdict
        if trial is not None and rules[trial].clocked:
            verdict = self._verdict(rules[trial].name, told)
        return Judgement(verdict, tuple(sorted(fired)))

    def _verdict(self, rule: str, told: Sequence[tuple[str, Mapping[str, Any]]]) -> Verdict | None:
        kept = [about for what, about in told if what in ("point", "refused") and about.get("rule") == rule]
        return verdict_from(kept[0]) if kept and "decision" in kept[0] else None

    def _own(self) -> list[Entry]:
        """The decisions of this run."""
        entries = () if self._begun is None else self.registry.since(self._begun)
        return [entry for entry in entries if "rows" in (entry.about.get("decision") or {})]

    # ------------------------------------------------------------------------------------------------ what people did

    def by_hand(self, rows: int) -> Entry | None:
        """Who moved the champion by hand last, if no decision before these rows has moved it since, nor it serves.

        Decisions of this run at these rows or later ones fell in a life that was cut off, and are taken again.
        """
        cut_off = {entry.number for entry in self._own() if entry.about["decision"]["rows"] >= rows}
        moves = [
            entry
            for entry in self.registry.since(self._heard)
            if entry.what == "point" and entry.about["alias"] == CHAMPION and entry.number not in cut_off
        ]
        last = moves[-1] if moves and "decision" not in moves[-1].about else None
        return None if last is None or last.about["version"] == self.version else last

    def head(self) -> int:
        """The number of the newest entry."""
        return self.registry.head()[0]

    def followed(self, entry: Entry | None, head: int) -> None:
        """What was done up to an entry is known, and where somebody moved the champion, it serves."""
        self._heard = head
        if entry is not None:
            self.version = entry.about["version"]

    # ---------------------------------------------------------------------------------------------------------- state

    def state_dict(self) -> State:
        number, digest = self.registry.head()
        self._saved = (number if self._saved is None else self._saved[1], number)
        return {
            "number": number,
            "hash": digest,
            "begun": self._begun,
            "heard": self._heard,
            "version": self.version,
        }

    def load_state_dict(self, state: State, /) -> None:
        self.registry.vouch(state["number"], state["hash"])
        self._begun, self._heard, self.version = state["begun"], state["heard"], state["version"]
        self._saved = state["number"], state["number"]
