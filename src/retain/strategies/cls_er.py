"""Replay with two averages of the weights as teachers: one that follows fast, one that follows slowly.

Shapes: n rows, k outputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from retain.core import Forward, Memory, Model, State
from retain.errors import SettingError
from retain.strategies.addend import Carry, Rehearsal, offer
from retain.strategies.ema import EMA

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CLSER", "surer"]


def surer(first: Tensor, second: Tensor, losses: tuple[Tensor, Tensor], /) -> Tensor:
    """(n, k) for each row the outputs of the teacher whose loss (n,) is smaller, the first where they are alike."""
    import torch

    return torch.where((losses[0] <= losses[1])[:, None], first, second)


@final
class CLSER(Rehearsal):
    """Adds mean loss + strength * mean |output - teacher|^2 of rows drawn from a memory of all that went by.

    The teachers are two averages of the weights, a plastic one that follows in some hundred steps and a stable one that
    follows in some thousand; each row is taught by the one whose loss on it is smaller. The stable one is the learner's
    averaging, and answers: `rt.Neural(..., strategies=[CLSER(memory, size=32, stable=stable)], averaging=stable)`.

    Args:
        memory: what is remembered; it belongs to this strategy alone.
        size: rows drawn for every step.
        stable: the learner's averaging, which the learner itself keeps up.
        plastic: the decay of the other average, smaller than that of the stable one.
        strength: what the mean squared distance from the teacher's outputs is multiplied by.
        times: what both are multiplied by. If None, the number of experiences that have ended, as of `Replay`.
        name: unique among the strategies of a learner.

    >>> import numpy as np, retain as rt
    >>> from retain.memory import Reservoir
    >>> stable = EMA(0.99)
    >>> parts = {"strategies": [CLSER(Reservoir(50), size=10, stable=stable, plastic=0.9)], "averaging": stable}
    >>> learner = rt.Neural(rt.neural.MLP(2, 16, 2), batch_size=10, **parts)
    >>> x = np.random.default_rng(0).normal(size=(2000, 2)).astype(np.float32)
    >>> said = learner.learn(rt.Batch(x, y=(x[:, 0] > 0).astype(int)))
    >>> learner.predict(np.float32([[1, 0], [-1, 0]])).argmax(1)
    array([1, 0])

    Raises:
        SettingError: numbers out of range; at the second step, a stable average that is not the learner's averaging.

    References:
        Arani, Sarfraz and Zonooz 2022, Learning fast, learning slow. There the averages take a step with a certain
        probability; here they take every step, shorter by as much. The distance counts the outputs of all classes.
    """

    def __init__(
        self,
        memory: Memory,
        *,
        size: int,
        stable: EMA,
        plastic: float = 0.99,
        strength: float = 0.15,
        times: float | None = 1.0,
        name: str = "cls-er",
    ) -> None:
        if not strength > 0:
            raise SettingError(f"CLSER got strength={strength}; expected a number > 0")
        super().__init__(memory, size=size, times=times, name=name)
        self._strength = float(strength)
        self._stable, self._plastic = stable, EMA(plastic)

    def loss(self, model: Model, new: Forward, /, *, own: Forward | None) -> Tensor | None:
        if own is None:
            return None
        if not self._stable.steps:
            raise SettingError("CLSER's stable average takes no steps; give it to the learner, averaging=stable")
        teachers = [model.outputs(own.rows.x, weights=ema.weights(model)) for ema in (self._stable, self._plastic)]
        slow, fast = (model.losses(Forward(own.rows, output)) for output in teachers)
        distance = (own.output - surer(teachers[0], teachers[1], (slow, fast))).square().mean(1)
        return self.times * (own.rows.weight * (model.losses(own) + self._strength * distance)).mean()

    def stepped(self, model: Model, new: Forward, /) -> None:
        self._plastic.stepped(model, new)
        offer(self._memory, model, new)

    def reshaped(self, model: Model, carry: Carry, /) -> None:
        self._plastic.reshaped(model, carry)

    def state_dict(self) -> State:
        return {**super().state_dict(), "plastic": self._plastic.state_dict()}

    def load_state_dict(self, state: State, /) -> None:
        super().load_state_dict(state)
        self._plastic.load_state_dict(state["plastic"])
