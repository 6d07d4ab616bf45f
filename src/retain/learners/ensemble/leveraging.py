"""`LeveragingBagging`: bagging whose members learn more of each row, and begin anew when they fail."""

from __future__ import annotations

from typing import final

from retain.learners.ensemble.bagged import Bagged, Plan, chances
from retain.learners.ensemble.bagged_kernels import Policy
from retain.learners.trees import HoeffdingTree, RegressionTree

__all__ = ["LeveragingBagging"]


@final
class LeveragingBagging(Bagged):
    """Bagging with more chance: every member learns every row k times, k ~ Poisson(6), and begins anew at a drift.

    Args:
        trees: how many members.
        tree: what members are like; None: HoeffdingTree(). A `RegressionTree` makes it a learner of numbers.
        rate: how often a member learns a row, in the mean.
        drift: how probable a false alarm of ADWIN may be at one look; 0: no detector.
        seed: of all random choices.

    Raises:
        SettingError: a setting out of range.
        PoisonError: from `learn` and `predict`: Inf, a wrong width or type, labels that its trees do not learn.

    >>> import retain as rt
    >>> stream = rt.streams.Sine(seed=1, n=10_000)
    >>> run = rt.Prequential(stream, rt.LeveragingBagging(5), metrics=[rt.metrics.Accuracy()])
    >>> list(run)[-1].metrics["accuracy"] > 0.97
    True

    References:
        Bifet, Holmes, Pfahringer 2010, Leveraging bagging for evolving data streams, ECML PKDD. There a drift of any
        member lets the worst one begin anew; here the one that saw it does, so that members need not wait for each
        other.
    """

    def __init__(
        self,
        trees: int = 10,
        *,
        tree: HoeffdingTree | RegressionTree | None = None,
        rate: float = 6.0,
        drift: float = 0.002,
        seed: int = 0,
    ) -> None:
        policy = Policy(*chances("LeveragingBagging", 0.0, drift), weighted=False, boosting=False)
        super().__init__(trees, tree or HoeffdingTree(), Plan(policy, rate), seed=seed)
