"""Gates made of gates: several at once, one for each slice of the rows, one that lets the candidate answer a few.

Shapes: m rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import final

import numpy as np

from retain.core import Array, Decision, Evidence, Gate, Ints, State, Verdict
from retain.errors import SettingError
from retain.update.gates import pairs, some, verdict_from, verdict_state
from retain.update.once import Once
from retain.update.watched import clocked

__all__ = ["Canary", "PerSlice", "Unanimous"]


@final
class Unanimous:
    """Promotes when all of its gates do, and refuses as soon as one of them does.

    All see the same pairs. Those that look at a moment only (`NotForgotten`, `NoSlower`, `NoLarger`) are asked once the
    others would promote, on the pairs that follow: what is not promoted anyway need not be asked what it costs. The
    chance that one that must not be promoted is promoted is at most that of the strictest gate.

    Args:
        gates: two or more.

    >>> import numpy as np, retain as rt
    >>> gate = rt.Unanimous(rt.Better(), rt.update.NoLarger(times=1.5))
    >>> errors = np.random.default_rng(0).random((2, 4000)) < [[0.3], [0.2]]
    >>> cost = lambda: {"bytes": (1e6, 2e6)}
    >>> verdict = gate(rt.Evidence(*errors.astype(float), costs=cost))
    >>> verdict.decision.value, verdict.why
    ('refuse', 'by NoLarger: bytes grew from 1,000,000 to 2,000,000, at most 1.5 times are allowed')
    """

    def __init__(self, *gates: Gate) -> None:
        if len(gates) < 2:
            raise SettingError(f"Unanimous got {len(gates)} gates; expected two or more")
        self._gates = gates
        moments = [gate for gate in gates if isinstance(gate, Once) and gate.moment]
        self._stages = tuple(stage for stage in ([g for g in gates if g not in moments], moments) if stage)
        self._pairs = 0
        self._passed = 0  # pairs after which the stages before the present one would promote
        self._stage = 0
        self._told: dict[str, float] = {}
        self._verdict: Verdict | None = None

    @property
    def clocked(self) -> bool:
        """Whether a gate in it looks at a clock."""
        return clocked(*self._gates)

    @property
    def wants(self) -> frozenset[str]:
        return frozenset[str]().union(*(gate.wants for gate in self._gates))

    def __call__(self, evidence: Evidence, /) -> Verdict:
        if self._verdict is not None:
            return self._verdict
        number = self._pairs + pairs(evidence)
        told: dict[str, float] = {}
        while self._stage < len(self._stages):
            begun = self._passed
            part = some(evidence, number > begun)
            verdicts = [(gate, gate(part)) for gate in self._stages[self._stage]]
            told = {
                f"{type(gate).__name__}.{name}": value
                for gate, verdict in verdicts
                for name, value in verdict.evidence.items()
            }
            refused = [(begun + v.pairs, i) for i, (_, v) in enumerate(verdicts) if v.decision is Decision.REFUSE]
            if refused:
                at, i = min(refused)
                gate, verdict = verdicts[i]
                why = f"by {type(gate).__name__}" + (f": {verdict.why}" if verdict.why else "")
                # Only what the gate that refused says does not depend on how the evidence was cut.
                own = {f"{type(gate).__name__}.{name}": value for name, value in verdict.evidence.items()}
                self._verdict = Verdict(Decision.REFUSE, at, self._told | own, why)
                break
            if any(v.decision is Decision.UNDECIDED for _, v in verdicts):
                break
            self._told |= told
            self._passed = begun + max(v.pairs for _, v in verdicts)
            self._stage += 1
        else:
            self._verdict = Verdict(Decision.PROMOTE, self._passed, self._told)
        self._pairs = int(number[-1]) if len(number) else self._pairs
        return self._verdict or Verdict(Decision.UNDECIDED, self._pairs, self._told | told)

    def state_dict(self) -> State:
        gates = {str(i): gate.state_dict() for i, gate in enumerate(self._gates)}
        decided = self._verdict is not None
        return {
            # What the gates would say of later pairs no longer matters.
            "gates": {} if decided else gates,
            "counts": [0, 0, 0] if decided else [self._pairs, self._passed, self._stage],
            "told": dict(self._told),
            "verdict": verdict_state(self._verdict),
        }

    def load_state_dict(self, state: State, /) -> None:
        for i, gate in enumerate(self._gates):
            if state["gates"]:
                gate.load_state_dict(state["gates"][str(i)])
        self._pairs, self._passed, self._stage = state["counts"]
        self._told, self._verdict = dict(state["told"]), verdict_from(state["verdict"])


@final
class Canary:
    """A gate that lets the candidate answer a share of the rows while it is on trial; both still see all rows.

    Which rows is decided by their number, at random and the same in every run.

    Args:
        gate: decides.
        share: of the rows, 0 < share < 1.

    >>> import retain as rt
    >>> rt.Canary(rt.Better(), share=0.05).share
    0.05
    """

    def __init__(self, gate: Gate, /, *, share: float = 0.05) -> None:
        if not 0 < share < 1:
            raise SettingError(f"Canary got share={share}; expected a number between 0 and 1")
        self.share = share
        self._gate = gate

    @property
    def clocked(self) -> bool:
        """Whether a gate in it looks at a clock."""
        return clocked(self._gate)

    @property
    def wants(self) -> frozenset[str]:
        return self._gate.wants

    def __call__(self, evidence: Evidence, /) -> Verdict:
        return self._gate(evidence)

    def state_dict(self) -> State:
        return self._gate.state_dict()

    def load_state_dict(self, state: State, /) -> None:
        self._gate.load_state_dict(state)


@final
class PerSlice:
    """Promotes when a gate of its own promotes in every slice that matters; refuses when one refuses in any.

    A slice is the rows that hold one value of a column. Those with at least a share of the first `least` pairs are
    waited for; the others are watched: harm in them refuses too.

    Args:
        gate: of which each slice gets a copy, usually `NotWorse(margin)`.
        by: the column, by name (its number, for a bare array).
        share: of the first pairs that a slice must hold to be waited for.
        least: how many pairs these are.
        most: how many slices are told apart; the values met after these are one slice together.

    >>> import numpy as np, retain as rt
    >>> rng = np.random.default_rng(0)
    >>> carrier = rng.choice(["AA", "UA"], 20_000)
    >>> champion = (rng.random(20_000) < 0.2).astype(float)
    >>> candidate = np.where(carrier == "AA", rng.random(20_000) < 0.1, rng.random(20_000) < 0.25).astype(float)
    >>> gate = rt.PerSlice(rt.NotWorse(0.02), by="carrier")
    >>> verdict = gate(rt.Evidence(champion, candidate, columns={"carrier": carrier}))
    >>> bool(champion.mean() > candidate.mean()), verdict.decision.value, verdict.why
    (True, 'refuse', 'carrier = UA')
    """

    def __init__(self, gate: Gate, /, *, by: str, share: float = 0.05, least: int = 500, most: int = 50) -> None:
        if not 0 < share <= 1 or least < 1 or most < 1:
            raise SettingError(
                f"PerSlice got share={share}, least={least}, most={most}; expected 0 < share <= 1, least and most >= 1"
            )
        self._make, self._by, self._share, self._least, self._most = gate, by, share, least, most
        self._gates: dict[str, Gate] = {}
        self._counts: dict[str, int] = {}  # pairs of each slice so far,
        self._early: dict[str, int] = {}  # and among the first
        self._decided: dict[str, tuple[int, Verdict]] = {}  # after how many of all pairs
        self._pairs = 0
        self._verdict: Verdict | None = None

    @property
    def clocked(self) -> bool:
        """Whether a gate in it looks at a clock."""
        return clocked(self._make)

    @property
    def wants(self) -> frozenset[str]:
        return self._make.wants | {self._by}

    def __call__(self, evidence: Evidence, /) -> Verdict:
        if self._verdict is not None:
            return self._verdict
        if self._by not in evidence.columns:
            raise SettingError(f"PerSlice looks at the column {self._by!r}; expected evidence that brings it")
        number = self._pairs + pairs(evidence)
        for name, rows in self._slices(evidence.columns[self._by]).items():
            self._watch(name, some(evidence, rows), number[rows])
        self._pairs = int(number[-1]) if len(number) else self._pairs
        self._judge()
        return self._verdict or Verdict(Decision.UNDECIDED, self._pairs)

    def _slices(self, column: Array) -> dict[str, Array]:
        """Which rows are in which slice, by name; new names in the order in which they were met."""
        values, first, code = np.unique(column.astype(np.str_), return_index=True, return_inverse=True)
        found: dict[str, Array] = {}
        for place in np.argsort(first):
            name = str(values[place])
            if name not in self._gates and len(self._gates) >= self._most:
                name = "others"
            self._gates.setdefault(name, deepcopy(self._make))
            rows = code == place
            found[name] = found[name] | rows if name in found else rows
        return found

    def _watch(self, name: str, evidence: Evidence, number: Ints) -> None:
        before = self._counts.get(name, 0)
        own = before + pairs(evidence)
        verdict = self._gates[name](evidence)
        self._counts[name] = int(own[-1]) if len(own) else before
        early = number <= self._least
        self._early[name] = max(self._early.get(name, 0), int(own[early].max(initial=0)))
        if verdict.decision is not Decision.UNDECIDED and name not in self._decided:
            self._decided[name] = int(number[np.searchsorted(own, verdict.pairs)]), verdict

    def _judge(self) -> None:
        refused = [(at, name) for name, (at, v) in self._decided.items() if v.decision is Decision.REFUSE]
        promoted = self._all_promoted()
        if refused and (promoted is None or min(refused)[0] <= promoted):
            at, name = min(refused)
            self._verdict = Verdict(Decision.REFUSE, at, self._told([name]), f"{self._by} = {name}")
        elif promoted is not None:
            self._verdict = Verdict(Decision.PROMOTE, promoted, self._told(self._awaited()))

    def _awaited(self) -> list[str]:
        return [name for name, count in self._early.items() if count >= self._share * self._least]

    def _all_promoted(self) -> int | None:
        """After how many pairs all that is waited for had promoted."""
        waits = self._awaited()
        if self._pairs < self._least or any(name not in self._decided for name in waits):
            return None
        if any(self._decided[name][1].decision is Decision.REFUSE for name in waits):
            return None
        return max([self._least, *(self._decided[name][0] for name in waits)])

    def _told(self, names: Sequence[str]) -> dict[str, float]:
        return {f"{name}.{key}": v for name in names for key, v in self._decided[name][1].evidence.items()}

    def state_dict(self) -> State:
        if self._verdict is not None:
            return {"verdict": verdict_state(self._verdict)}
        names = list(self._gates)
        return {
            "verdict": None,
            "names": names,
            "pairs": self._pairs,
            "counts": [[self._counts[name], self._early[name]] for name in names],
            "gates": {str(i): self._gates[name].state_dict() for i, name in enumerate(names)},
            "decided": [[name, at, verdict_state(verdict)] for name, (at, verdict) in self._decided.items()],
        }

    def load_state_dict(self, state: State, /) -> None:
        self._verdict = verdict_from(state["verdict"])
        if self._verdict is not None:
            return
        names = list(state["names"])
        self._pairs = state["pairs"]
        self._counts = {name: count for name, (count, _) in zip(names, state["counts"], strict=True)}
        self._early = {name: early for name, (_, early) in zip(names, state["counts"], strict=True)}
        self._gates = {name: deepcopy(self._make) for name in names}
        for i, name in enumerate(names):
            self._gates[name].load_state_dict(state["gates"][str(i)])
        self._decided = {
            name: (at, found) for name, at, kept in state["decided"] if (found := verdict_from(kept)) is not None
        }
