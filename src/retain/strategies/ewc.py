"""Elastic weight consolidation: weights are held where old experiences left them, by their Fisher information.

Shapes: p weights, k outputs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, final

from retain.core import Model, Rows
from retain.errors import SettingError
from retain.strategies.quadratic import Penalty, sensitivity

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["EWC", "OnlineEWC", "importance"]


def importance(model: Model, experience: Iterable[Rows], /) -> Tensor:
    """(p,) F = mean(g^2) / mean(|s|^2), g a row's gradient by the weights and s by its outputs, g = J's.

    The numerator is the Fisher information. Its size says how well the rows were learnt, and little else: the better,
    the smaller s, by orders of magnitude between one scenario and the next. Divided by the mean |s|^2 it is the mean
    squared derivative of the outputs along s, whatever the loss. 1/2 sum_j F_j d_j^2 is then half of the square by
    which outputs move when the weights move by d, so far as weights act on their own.
    """
    fisher, square = sensitivity(model, experience, power=2)
    return fisher.div_(square) if square > 0 else fisher


@final
class EWC(Penalty):
    """Adds strength * sum over old experiences e of 1/2 sum_j F_ej (w_j - w_ej)^2: what mattered to them stays.

    F_e is the Fisher information of experience e, as `importance` above scales it, and w_e the weights at its end. All
    experiences together take two vectors, (sum F_e, sum F_e w_e), so neither a step nor the state grows with them. The
    pull is never longer than the gradient that it is added to, so that no strength makes a step overshoot.

    Args:
        strength: what half a squared move of the outputs counts beside the loss. It is relative: from 1 to 1000 what is
            kept of old experiences changes by some points of accuracy.
        name: unique among the strategies of a learner.

    >>> import numpy as np, retain as rt
    >>> x = np.random.default_rng(0).normal(size=(600, 2)).astype(np.float32)
    >>> first = rt.Batch(x * np.float32([1, 0]), y=(x[:, 0] > 0).astype(int))  # two experiences that do not conflict:
    >>> then = rt.Batch(x * np.float32([0, 1]), y=(x[:, 1] > 0.5).astype(int))  # each looks at an input of its own
    >>> def kept(*strategies):
    ...     learner = rt.Neural(rt.neural.MLP(2, 16, 2), strategies=strategies, batch_size=10)
    ...     for batch in (first, first, first, then, then, then, then, then, then):
    ...         said = learner.learn(batch)
    ...         if batch is first:
    ...             learner.consolidate([batch])
    ...     return (learner.predict(first.x).argmax(1) == first.y).mean()
    >>> bool(kept(EWC()) > kept() + 0.05)
    True

    Raises:
        SettingError: a strength that is not above 0.

    References:
        Kirkpatrick et al. 2017, Overcoming catastrophic forgetting in neural networks. The Fisher information is the
        empirical one, of the labels that came; its scale and the bound on the pull are ours.
    """

    def __init__(self, strength: float = 10.0, *, name: str = "ewc") -> None:
        super().__init__(strength, name=name)

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:
        self._quadratic.add(model, importance(model, experience))


@final
class OnlineEWC(Penalty):
    """EWC that fades: adds strength * 1/2 sum_j F_j (w_j - w*_j)^2, w* the weights when the last experience ended.

    When an experience ends, F = decay * F + F_e. What is old counts less and less, so that there is room for new things
    however many experiences come. Scale and bound are those of `EWC`.

    Args:
        strength: as of `EWC`.
        decay: gamma, what an experience's importance is multiplied by at the end of each later one, in (0, 1].
        name: unique among the strategies of a learner.

    >>> import numpy as np, retain as rt
    >>> ewc = OnlineEWC()
    >>> learner = rt.Neural(rt.neural.MLP(2, 16, 2), strategies=[ewc], batch_size=10)
    >>> batch = rt.Batch(np.ones((40, 2), dtype=np.float32), y=np.arange(40) % 2)
    >>> said = learner.learn(batch)
    >>> learner.consolidate([batch])
    >>> ewc.state_dict()["bend"].shape  # 2 * 16 + 16 + 16 * 2 + 2
    (82,)

    Raises:
        SettingError: a strength that is not above 0, a decay outside (0, 1].

    References:
        Schwarz et al. 2018, Progress and compress. Their Fisher information is scaled per experience as well.
    """

    def __init__(self, strength: float = 10.0, *, decay: float = 0.95, name: str = "ewc") -> None:
        if not (strength > 0 and 0 < decay <= 1):
            raise SettingError(f"OnlineEWC got strength={strength}, decay={decay}; expected > 0, and in (0, 1]")
        super().__init__(strength, name=name)
        self._decay = float(decay)

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:
        self._quadratic.move(model, importance(model, experience), decay=self._decay)
