"""An average of the weights along the way, to predict with: it forgets less and wavers less than the last ones.

Shapes: p weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, final

from retain.core import Forward, Model, Rows, State
from retain.errors import SettingError
from retain.rows import from_array, to_array
from retain.strategies.addend import Carry, Reshaping
from retain.strategies.quadratic import fitted

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["EMA", "rate"]

_RECENT = 10  # while young, an average looks back on about a tenth of the steps there have been


def rate(step: int, /, *, decay: float) -> float:
    """What the newest weights count in the average after a step, the first being 0: max(1 - decay, 10 / (10 + step)).

    At first the newest count alone, so the weights before learning are never a part of it.
    """
    return max(1 - decay, _RECENT / (_RECENT + step))


@final
class EMA(Reshaping):
    """An averaging: the exponential moving average of the weights, avg += r (w - avg), with a warm-up.

    r is 1 - decay, larger while the average is young (`rate` above). Running statistics of the module (batch norm) are
    the present ones.

    Args:
        decay: what the average keeps of itself in a step; 1 / (1 - decay) is about how many steps it looks back on.

    >>> import numpy as np, retain as rt
    >>> x = np.random.default_rng(0).normal(size=(2000, 2)).astype(np.float32)
    >>> learner = rt.Neural(rt.neural.MLP(2, 16, 2), averaging=EMA(0.99), batch_size=10)
    >>> said = learner.learn(rt.Batch(x, y=(x[:, 0] * x[:, 1] > 0).astype(int)))
    >>> learner.predict(np.float32([[1, 1], [-1, 1]])).argmax(1)
    array([1, 0])

    Raises:
        SettingError: a decay outside [0, 1).

    References:
        Polyak and Juditsky 1992, Acceleration of stochastic approximation by averaging; the warm-up is the polynomial
        decay of Shamir and Zhang 2013, Stochastic gradient descent for non-smooth optimization.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise SettingError(f"EMA got decay={decay}; expected 0 <= decay < 1")
        self._decay = float(decay)
        self._average: Tensor | None = None
        self.steps = 0

    def weights(self, model: Model, /) -> Tensor:
        return model.weights if self._average is None else fitted(self._average, model)

    def stepped(self, model: Model, new: Forward, /) -> None:
        if self._average is None:
            self._average = model.weights.clone()
        else:
            self._average = fitted(self._average, model).lerp_(model.weights, rate(self.steps, decay=self._decay))
        self.steps += 1

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:
        """Nothing: what ends for the strategies goes on for the average."""

    def reshaped(self, model: Model, carry: Carry, /) -> None:
        if self._average is not None:
            self._average = model.weights.clone()

    def state_dict(self) -> State:
        return {"average": None if self._average is None else to_array(self._average), "steps": self.steps}

    def load_state_dict(self, state: State, /) -> None:
        self._average = None if state["average"] is None else from_array(state["average"])
        self.steps = int(state["steps"])
