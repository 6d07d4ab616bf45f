"""Gradient episodic memory: no step may go against the gradient of the old rows of any past experience.

Shapes: t past experiences, p parameters.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, final

import numpy as np

from retain.core import Floats, Forward, Memory, Model, Rows, State
from retain.errors import SettingError
from retain.rows import take
from retain.strategies.addend import offer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["GEM", "nonnegative", "shares"]

_EXPERIENCE = "experience"  # the column in memory that holds the number of a row's experience
_RIDGE = 1e-9  # of the mean square of the gradients: two experiences with the same gradient have one answer


def nonnegative(gram: Floats, slope: Floats, /) -> Floats:
    """The v >= 0 (t,) that minimises v'Pv / 2 + q'v, for P (t, t) positive definite and q (t,).

    An active set (Lawson and Hanson 1974; Bro and de Jong 1997): one number at a time is set free, the one that gains
    most; those that the solution over the free ones makes negative are bound again.
    """
    v = np.zeros(len(slope))
    free = np.zeros(len(slope), dtype=bool)
    tolerance = 1e-12 * max(float(np.abs(slope).max()), float(np.abs(gram).max()))
    for _ in range(3 * len(slope)):  # it ends sooner but where rounding frees and binds one number for ever
        gain = np.where(free, -np.inf, -(gram @ v + slope))
        best = int(gain.argmax())
        if not gain[best] > tolerance:
            return v
        free[best] = True
        while True:
            target = np.zeros(len(slope))
            target[free] = np.linalg.solve(gram[np.ix_(free, free)], -slope[free])
            below = free & (target <= 0)
            if not below.any():
                v = target
                break
            step = v[below] / (v[below] - target[below])
            v = v + step.min() * (target - v)
            free[np.flatnonzero(below)[step <= step.min()]] = False
            v[~free] = 0.0
    return v


def shares(gram: Floats, against: Floats, /, *, margin: float) -> Floats:
    """How much v >= margin (t,) of each old gradient is added to a gradient g: g + G'v is the nearest allowed to g.

    From the products of the old gradients with one another, GG' (t, t), and with the new one, Gg (t,). With u = v -
    margin the dual problem, v'GG'v / 2 + (Gg)'v at its least, is one over u >= 0.
    """
    if not (against < 0).any():
        return np.zeros(len(against))
    scale = float(np.trace(gram)) / len(gram)
    stiff = gram + _RIDGE * scale * np.eye(len(gram))
    return margin + nonnegative(stiff, against + margin * stiff.sum(1))


@final
class GEM:
    """A projection: the step nearest to the one wished for that does not raise the loss of any past experience.

    For the old gradients G (t, p), one for the rows in memory of each experience that has ended, g becomes g + G'v, v
    the answer to the dual of min |g' - g|^2 so that Gg' >= 0: as many numbers as there are past experiences. Every step
    goes through all old rows in memory: A-GEM does with a sample.

    Args:
        memory: what is remembered, with a column "experience"; an `ExperienceBalanced` fits. It belongs to this
            projection alone.
        margin: the least share of every old gradient that is added where any of them is gone against; gamma.

    >>> import numpy as np, retain as rt
    >>> from retain.memory import ExperienceBalanced
    >>> learner = rt.Neural(rt.neural.MLP(1, 16, 2), projection=GEM(ExperienceBalanced(50)), batch_size=5)
    >>> x = np.linspace(0.01, 1, 1000, dtype=np.float32)[:, None]
    >>> for sign in (-1, 1):  # first all of one class, then all of the other
    ...     batch = rt.Batch(sign * x, y=np.full(1000, int(sign > 0)))
    ...     said = learner.learn(batch)
    ...     learner.consolidate([batch])
    >>> learner.predict(np.float32([[-0.8], [0.8]])).argmax(1)
    array([0, 1])

    Raises:
        SettingError: a margin below 0.

    References:
        Lopez-Paz and Ranzato 2017, Gradient episodic memory for continual learning. There the memory of an experience
        is its last rows; here it is for the memory to say.
    """

    def __init__(self, memory: Memory, *, margin: float = 0.5) -> None:
        if not margin >= 0:
            raise SettingError(f"GEM got margin={margin}; expected a number >= 0")
        self._memory, self._margin = memory, float(margin)
        self._experience = 0

    @property
    def memory(self) -> Memory:
        return self._memory

    def project(self, model: Model, gradient: Tensor, /) -> None:
        import torch

        old = self._past(model)
        if not old:
            return
        stacked = torch.stack(old)
        against = (stacked @ gradient).double().cpu().numpy()
        if not (against < 0).any():
            return
        gram = (stacked @ stacked.t()).double().cpu().numpy()
        share = torch.from_numpy(shares(gram, against, margin=self._margin))
        gradient.add_(share.to(stacked) @ stacked)

    def _past(self, model: Model) -> list[Tensor]:
        """The gradients (p,) of the rows of every past experience of which there are any."""
        if not self._experience or not len(self._memory):
            return []
        rows = self._memory.rows()
        number = rows.extra[_EXPERIENCE]
        return [
            model.gradient(take(rows, (number == past).nonzero()[:, 0]))
            for past in number.unique().tolist()
            if past < self._experience
        ]

    def stepped(self, model: Model, new: Forward, /) -> None:
        import torch

        number = torch.full((len(new.rows),), self._experience, device=new.rows.y.device)
        offer(self._memory, model, new, extra={_EXPERIENCE: number})

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:
        self._memory.consolidate(model, experience)
        self._experience += 1

    def state_dict(self) -> State:
        return {"memory": self._memory.state_dict(), "experience": self._experience}

    def load_state_dict(self, state: State, /) -> None:
        self._memory.load_state_dict(state["memory"])
        self._experience = int(state["experience"])
