"""Rules that are good without a choice."""

from __future__ import annotations

from retain.compose import Paced, learns
from retain.core import Learner
from retain.detectors import ADWIN
from retain.update.actions import Pace, Retrain
from retain.update.gates import Better
from retain.update.rules import Rule
from retain.update.triggers import Every, OnDrift

__all__ = ["recommended"]


def recommended(learner: Learner, /, *, classes: bool = True) -> list[Rule]:
    """Rules for a learner that learns on: copies with other learning rates stand trial, on drift and in turn.

    What slows a learner down on a moving stream is most often its rate, and the right one is not known beforehand. A
    copy with another rate costs less than a new model and, on the streams of `benchmarks/bench_update.py`, gains more.
    A learner without a rate is taught anew on the latest 20,000 rows instead. The gate is strict (`alpha` .01) and
    waits for 2,000 rows: what is better for an hour is not yet better. Who is refused again and again asks less often
    (`backoff`): where there is nothing to gain, trials cost next to nothing.

    Args:
        learner: that the rules are for.
        classes: whether it predicts classes; else numbers, whose losses have no bound.

    >>> import retain as rt
    >>> [rule.name for rule in recommended(rt.Scale() | rt.Linear())]
    ['faster on drift', 'slower in turn', 'faster in turn']
    >>> [rule.name for rule in recommended(rt.RLS())]
    ['retrain on drift']
    """
    gate = Better(alpha=0.01, least=2_000, most=5_000, largest=1.0 if classes else None)
    if not isinstance(learns(learner), Paced):
        return [
            Rule(
                when=OnDrift(ADWIN()),
                do=Retrain(last=20_000),
                gate=gate,
                name="retrain on drift",
                cooldown=5_000,
                backoff=4.0,
            )
        ]
    return [
        Rule(when=OnDrift(ADWIN()), do=Pace(2.0), gate=gate, name="faster on drift", cooldown=5_000, backoff=4.0),
        Rule(when=Every(rows=20_000), do=Pace(0.5), gate=gate, name="slower in turn", cooldown=20_000, backoff=4.0),
        Rule(when=Every(rows=30_000), do=Pace(2.0), gate=gate, name="faster in turn", cooldown=30_000, backoff=4.0),
    ]
