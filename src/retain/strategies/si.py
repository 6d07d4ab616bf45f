"""Synaptic intelligence: weights are held by how much of the loss's fall is owed to each of them.

Shapes: p weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, final

from retain.core import Model, Rows, Spring, State
from retain.errors import SettingError
from retain.rows import from_array, to_array
from retain.strategies.addend import Addend, Carry
from retain.strategies.quadratic import Quadratic, fitted

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SI", "importance"]


def importance(credit: Tensor, moved: Tensor, /, *, damping: float) -> Tensor:
    """(p,) 2 q / (moved^2 + damping * mean(moved^2)), q a weight's share of the credit: max(credit, 0) over their sum.

    A parabola that falls by q from where a weight was to its lowest point, `moved` away, has that curvature without
    damping, which keeps it finite for weights that came back to where they were; relative to how far weights move on
    average it means the same for every module and rate. All parabolas together fall by 1: see `SI` why.
    """
    square, gained = moved.square(), credit.clamp(min=0)
    gained.mul_(2 / gained.sum().clamp_(min=1e-30))
    return gained.div_(square.add_(damping * square.mean()).clamp_(min=1e-30))


@final
class SI(Addend):
    """Adds strength * 1/2 sum_j O_j (w_j - w*_j)^2, w* the weights when the last experience ended.

    While an experience is learnt every weight is credited with -g_j * (its step), g the gradient of the loss, which
    adds up to how far the loss fell; O is the sum over experiences of what `importance` above makes of it. Nothing is
    computed at the end of an experience, and no row is gone through again. The pull is never longer than the gradient
    that it is added to.

    Of the credit only its shares count. Gradients of mini-batches overstate it, since each step follows the very
    gradient that it is credited with: by 1.5 to 7 times the fall of the loss, as measured on digits, the more, the more
    steps there are. (What is overstated is close to the root of the Fisher information: Benzing 2022.) So no strength
    would do for every module, rate and number of steps.

    Args:
        strength: what it costs, at most, to undo all that an experience changed, beside the mean loss of the rows that
            are learnt. Targets that are numbers should therefore be about as large as 1.
        damping: see `importance`.
        name: unique among the strategies of a learner. g holds what strategies whose names come before this one add to
            the gradient, and no pull of its own: beside other penalties on weights let it be the first.

    >>> import numpy as np, retain as rt
    >>> si = SI()
    >>> learner = rt.Neural(rt.neural.MLP(2, 16, 2), strategies=[si], batch_size=10)
    >>> x = np.random.default_rng(0).normal(size=(600, 2)).astype(np.float32) * np.float32([1, 0])
    >>> said = learner.learn(rt.Batch(x, y=(x[:, 0] > 0).astype(int)))
    >>> credit = si.state_dict()["credit"][:32].reshape(16, 2).sum(0)  # of the first layer's weights, by input
    >>> bool(credit[0] > 0), bool(credit[1] == 0)
    (True, True)

    Raises:
        SettingError: a strength or a damping that is not above 0.

    References:
        Zenke, Poole and Ganguli 2017, Continual learning through synaptic intelligence. The bound on the pull and that
        credit and damping are relative are ours. Benzing 2022, Unifying importance based regularisation methods for
        continual learning.
    """

    def __init__(self, strength: float = 1.0, *, damping: float = 1.0, name: str = "si") -> None:
        if not (strength > 0 and damping > 0):
            raise SettingError(f"SI got strength={strength}, damping={damping}; expected both > 0")
        self.name = name
        self._strength, self._damping = float(strength), float(damping)
        self._quadratic = Quadratic()
        self._credit: Tensor | None = None  # (p,) since the experience began
        self._start: Tensor | None = None  # (p,) the weights when it began

    def pull(self, model: Model, gradient: Tensor, /) -> Spring | None:
        if self._start is None:
            self._start = model.weights.clone()
        credit = model.weights.new_zeros(len(model.weights)) if self._credit is None else fitted(self._credit, model)
        self._credit = credit
        return self._quadratic.spring(model, gradient, strength=self._strength, credit=credit)

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:
        if self._credit is not None and self._start is not None:
            moved = model.weights - fitted(self._start, model)
            credit = fitted(self._credit, model)
            self._quadratic.move(model, importance(credit, moved, damping=self._damping))
        self._credit, self._start = None, model.weights.clone()

    def reshaped(self, model: Model, carry: Carry, /) -> None:
        self._quadratic.reshaped(model, carry)
        self._credit = None if self._credit is None else carry(self._credit)
        self._start = None if self._start is None else carry(self._start, new=model.weights)

    def state_dict(self) -> State:
        vectors = {"credit": self._credit, "start": self._start}
        kept = {name: None if vector is None else to_array(vector) for name, vector in vectors.items()}
        return {"quadratic": self._quadratic.state_dict(), **kept}

    def load_state_dict(self, state: State, /) -> None:
        self._quadratic.load_state_dict(state["quadratic"])
        entries = (state["credit"], state["start"])
        self._credit, self._start = (None if entry is None else from_array(entry) for entry in entries)
