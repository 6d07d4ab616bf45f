"""The laws of gates."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from retain import state
from retain.core import Array, Decision, Gate, Verdict
from retain.testing.compare import bounds, same_state, with_cuts
from retain.testing.poison import refuses

__all__ = ["check_gate", "gate_blocks", "gate_poison", "gate_resume", "gate_stands"]


def check_gate(make: Callable[[], Gate], champion: Array, candidate: Array, /, *, tries: int = 10) -> None:
    """Run every law of a gate on paired losses (m,) on which it comes to a decision."""
    gate_stands(make, champion, candidate)
    gate_poison(make, champion, candidate)
    with_cuts(len(champion), tries, lambda cuts: gate_blocks(make, champion, candidate, cuts))
    with_cuts(len(champion), tries, lambda cuts: gate_resume(make, champion, candidate, cuts))


def gate_stands(make: Callable[[], Gate], champion: Array, candidate: Array) -> None:
    """The first decision stands: neither what comes later in the same call, nor in others, changes it."""
    gate = make()
    first = gate(champion, candidate)
    if first.decision is Decision.UNDECIDED:
        raise AssertionError(f"the gate is undecided after {len(champion)} pairs; give losses on which it decides")
    if not 0 < first.pairs <= len(champion):
        raise AssertionError(f"the verdict fell after {first.pairs} of {len(champion)} pairs")
    _same(gate(candidate, champion), first, "the verdict after more pairs")
    until = make()
    _same(until(champion[: first.pairs], candidate[: first.pairs]), first, "the verdict without what came later")


def gate_blocks(make: Callable[[], Gate], champion: Array, candidate: Array, cuts: Sequence[int]) -> None:
    """Block law: pairs in pieces are the same pairs, bit for bit; the verdict names the same pair."""
    whole, parts = make(), make()
    expected = whole(champion, candidate)
    got = [parts(champion[a:b], candidate[a:b]) for a, b in bounds(len(champion), cuts)]
    _same(got[-1], expected, f"the verdict, split at {list(cuts)}")
    same_state(parts.state_dict(), whole.state_dict(), 0.0, f"state, split at {list(cuts)}")


def gate_resume(make: Callable[[], Gate], champion: Array, candidate: Array, cuts: Sequence[int]) -> None:
    """Resume law: saved and loaded at every cut, it comes to the same verdict, bit for bit."""
    through, resumed = make(), make()
    for a, b in bounds(len(champion), cuts):
        expected = through(champion[a:b], candidate[a:b])
        saved = state.encode(resumed.state_dict())
        resumed = make()
        resumed.load_state_dict(state.decode(saved))
        _same(resumed(champion[a:b], candidate[a:b]), expected, f"the verdict after resuming, cuts {list(cuts)}")
    same_state(resumed.state_dict(), through.state_dict(), 0.0, f"state after resuming, cuts {list(cuts)}")


def gate_poison(make: Callable[[], Gate], champion: Array, candidate: Array) -> None:
    """Poison law: infinite losses, text and losses of other rows are refused; NaN in either is no pair."""
    few = 5  # too few for a decision
    for what, bad in (("Inf", np.inf), ("-Inf", -np.inf)):
        gate = make()
        gate(champion[:few], candidate[:few])
        poisoned = candidate.astype(np.float64)
        poisoned[len(poisoned) // 2] = bad
        refuses(gate, lambda gate=gate, poisoned=poisoned: gate(champion, poisoned), what)
    for what, wrong in (("text", candidate.astype(str)), ("one pair less", candidate[:-1])):
        gate = make()
        refuses(gate, lambda gate=gate, wrong=wrong: gate(champion, wrong), what)
    plain, holed = make(), make()
    nothing = np.full(few, np.nan)
    holed(nothing, candidate[:few])
    holed(champion[:few], nothing)
    same_state(holed.state_dict(), plain.state_dict(), 0.0, "state after rows that are no pairs")


def _same(got: Verdict, expected: Verdict, what: str) -> None:
    if state.encode(_plain(got)) != state.encode(_plain(expected)):
        raise AssertionError(f"{what} is {got}; expected {expected}")


def _plain(verdict: Verdict) -> dict[str, object]:
    return {"decision": verdict.decision.value, "pairs": verdict.pairs, "evidence": dict(verdict.evidence)}
