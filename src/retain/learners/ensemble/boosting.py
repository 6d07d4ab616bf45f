"""`OnlineBoosting`: trees of which each learns more of what those before it had wrong."""

from __future__ import annotations

from typing import final

from retain.learners.ensemble.bagged import Bagged, Plan, chances
from retain.learners.ensemble.bagged_kernels import Policy
from retain.learners.trees import HoeffdingTree

__all__ = ["OnlineBoosting"]


@final
class OnlineBoosting(Bagged):
    """AdaBoost of a stream: a member learns a row Poisson(r) times, and hands the row on with another r.

    r is 1 for the first member. One that has the row right halves, in the long run, the weight of all it has right,
    and one that has it wrong raises it so that both weigh the same to the next. A member with error e counts by
    ln((1 - e) / e), e weighted so.

    Args:
        trees: how many members.
        tree: what members are like; None: HoeffdingTree().
        drift: how probable a false alarm of ADWIN may be at one look, at which a member begins anew; 0: no detector.
        seed: of all random choices.

    Raises:
        SettingError: a setting out of range.
        PoisonError: from `learn` and `predict`: Inf, a wrong width or type.

    >>> import retain as rt
    >>> stream = rt.streams.Sine(seed=1, n=10_000)
    >>> run = rt.Prequential(stream, rt.OnlineBoosting(5), metrics=[rt.metrics.Accuracy()])
    >>> list(run)[-1].metrics["accuracy"] > 0.95
    True

    References:
        Oza, Russell 2001, Online bagging and boosting, AISTATS. A member is judged by what it said before it learnt
        the row.
    """

    def __init__(
        self, trees: int = 10, *, tree: HoeffdingTree | None = None, drift: float = 0.0, seed: int = 0
    ) -> None:
        policy = Policy(*chances("OnlineBoosting", 0.0, drift), weighted=False, boosting=True)
        super().__init__(trees, tree or HoeffdingTree(), Plan(policy, 1.0), seed=seed)
