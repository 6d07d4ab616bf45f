"""The laws of triggers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from retain import state
from retain.core import Report, Trigger
from retain.testing.compare import same_state

__all__ = ["check_trigger"]


def check_trigger(make: Callable[[], Trigger], reports: Sequence[Report], /) -> None:
    """Run every law of a trigger on reports at some of which it fires.

    Replay: the same reports, the same decisions. Resume: saved and loaded after every report, it goes on as if it had
    never been stopped, bit for bit. A report in which nothing landed and nothing arrived says nothing.
    """
    through, again, resumed = make(), make(), make()
    fired = [through(report) for report in reports]
    if not any(fired):
        raise AssertionError("the trigger never fires; give reports at some of which it does")
    if all(fired):
        raise AssertionError("the trigger always fires; give reports at some of which it does not")
    if [again(report) for report in reports] != fired:
        raise AssertionError("the same reports, folded by another trigger made alike, gave other decisions")
    for i, report in enumerate(reports):
        saved = state.encode(resumed.state_dict())
        resumed = make()
        resumed.load_state_dict(state.decode(saved))
        if resumed(report) is not fired[i]:
            raise AssertionError(f"after resuming before report {i} the trigger says {not fired[i]}, not {fired[i]}")
    same_state(resumed.state_dict(), through.state_dict(), 0.0, "state after resuming at every report")
    empty = Report(
        rows=reports[-1].rows,
        learnt=0,
        pending=0,
        lost=0,
        quarantined=0,
        seconds=0.0,
        cpu_seconds=0.0,
        time=reports[-1].time,
    )
    if through(empty) not in (True, False):
        raise AssertionError("the trigger does not say whether it fires")
