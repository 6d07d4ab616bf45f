"""The laws of gates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from retain import state
from retain.core import Decision, Evidence, Gate, Verdict
from retain.testing.compare import bounds, same_state, with_cuts
from retain.testing.poison import refuses

__all__ = ["check_gate", "gate_blocks", "gate_poison", "gate_resume", "gate_stands"]


def check_gate(make: Callable[[], Gate], evidence: Evidence, /, *, tries: int = 10) -> None:
    """Run every law of a gate on evidence (m rows) on which it comes to a decision."""
    gate_stands(make, evidence)
    gate_poison(make, evidence)
    m = len(evidence.champion)
    with_cuts(m, tries, lambda cuts: gate_blocks(make, evidence, cuts))
    with_cuts(m, tries, lambda cuts: gate_resume(make, evidence, cuts))


def gate_stands(make: Callable[[], Gate], evidence: Evidence) -> None:
    """The first decision stands: neither what comes later in the same call, nor in others, changes it."""
    gate = make()
    m = len(evidence.champion)
    first = gate(evidence)
    if first.decision is Decision.UNDECIDED:
        raise AssertionError(f"the gate is undecided after {m} pairs; give evidence on which it decides")
    if not 0 < first.pairs <= m:
        raise AssertionError(f"the verdict fell after {first.pairs} of {m} pairs")
    turned = replace(evidence, champion=evidence.candidate, candidate=evidence.champion)
    _same(gate(turned), first, "the verdict after more pairs")


def gate_blocks(make: Callable[[], Gate], evidence: Evidence, cuts: Sequence[int]) -> None:
    """Block law: pairs in pieces are the same pairs, bit for bit; the verdict names the same pair."""
    whole, parts = make(), make()
    expected = whole(evidence)
    got = [parts(_part(evidence, a, b)) for a, b in bounds(len(evidence.champion), cuts)]
    _same(got[-1], expected, f"the verdict, split at {list(cuts)}")
    same_state(parts.state_dict(), whole.state_dict(), 0.0, f"state, split at {list(cuts)}")


def gate_resume(make: Callable[[], Gate], evidence: Evidence, cuts: Sequence[int]) -> None:
    """Resume law: saved and loaded at every cut, it comes to the same verdict, bit for bit."""
    through, resumed = make(), make()
    for a, b in bounds(len(evidence.champion), cuts):
        expected = through(_part(evidence, a, b))
        saved = state.encode(resumed.state_dict())
        resumed = make()
        resumed.load_state_dict(state.decode(saved))
        _same(resumed(_part(evidence, a, b)), expected, f"the verdict after resuming, cuts {list(cuts)}")
    same_state(resumed.state_dict(), through.state_dict(), 0.0, f"state after resuming, cuts {list(cuts)}")


def gate_poison(make: Callable[[], Gate], evidence: Evidence) -> None:
    """Poison law: infinite losses, text and losses of other rows are refused; NaN in either is no pair."""
    few = 5  # too few for a decision
    candidate = evidence.candidate
    for what, bad in (("Inf", np.inf), ("-Inf", -np.inf)):
        gate = make()
        gate(_part(evidence, 0, few))
        poisoned = candidate.astype(np.float64)
        poisoned[len(poisoned) // 2] = bad
        refuses(gate, lambda gate=gate, poisoned=poisoned: gate(replace(evidence, candidate=poisoned)), what)
    for what, wrong in (("text", candidate.astype(str)), ("one pair less", candidate[:-1])):
        gate = make()
        refuses(gate, lambda gate=gate, wrong=wrong: gate(replace(evidence, candidate=wrong)), what)
    plain, holed = make(), make()
    nothing = np.full(few, np.nan)
    start = _part(evidence, 0, few)
    holed(replace(start, champion=nothing))
    holed(replace(start, candidate=nothing))
    plain(replace(start, champion=nothing, candidate=nothing))
    same_state(holed.state_dict(), plain.state_dict(), 0.0, "state after rows that are no pairs")


def _part(evidence: Evidence, a: int, b: int) -> Evidence:
    """Rows a to b of the evidence."""
    y, own, other = (
        None if column is None else column[a:b]
        for column in (evidence.y, evidence.champion_said, evidence.candidate_said)
    )
    return replace(
        evidence,
        champion=evidence.champion[a:b],
        candidate=evidence.candidate[a:b],
        y=y,
        champion_said=own,
        candidate_said=other,
        columns={name: column[a:b] for name, column in evidence.columns.items()},
    )


def _same(got: Verdict, expected: Verdict, what: str) -> None:
    if state.encode(_plain(got)) != state.encode(_plain(expected)):
        raise AssertionError(f"{what} is {got}; expected {expected}")


def _plain(verdict: Verdict) -> dict[str, object]:
    return {
        "decision": verdict.decision.value,
        "pairs": verdict.pairs,
        "evidence": dict(verdict.evidence),
        "why": verdict.why,
    }
