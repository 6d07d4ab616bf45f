"""Averaged gradient episodic memory: no step may go against the gradient of old rows, taken together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, final

from retain.core import Forward, Memory, Model, Rows, State
from retain.errors import SettingError
from retain.strategies.addend import offer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["AGEM"]


def turn(gradient: Tensor, reference: Tensor, /) -> None:
    """Take out of a gradient (p,), in place, what goes against the reference (p,): g - (g'r / r'r) r where g'r < 0.

    >>> import torch
    >>> gradient = torch.tensor([1.0, -1.0])
    >>> turn(gradient, torch.tensor([0.0, 2.0]))
    >>> gradient
    tensor([1., 0.])
    """
    against = gradient.dot(reference)
    if against < 0:
        gradient.addcmul_(reference, -against / reference.dot(reference))


@final
class AGEM:
    """A projection: where the step would raise the loss of rows drawn from memory, that part of it is taken out.

    Args:
        memory: what is remembered; it belongs to this projection alone.
        size: rows drawn for every step, for one pass more through the module.

    >>> import numpy as np, retain as rt
    >>> from retain.memory import Reservoir
    >>> x = np.linspace(-1, 1, 1000, dtype=np.float32)[:, None]  # first all of one class, then all of the other
    >>> for projection in (None, AGEM(Reservoir(200), size=100)):
    ...     learner = rt.Neural(rt.neural.MLP(1, 16, 2), projection=projection, batch_size=5)
    ...     said = learner.learn(rt.Batch(x, y=(x[:, 0] > 0).astype(int)))
    ...     print(f"{learner.predict(np.float32([[-1]]))[0, 0]:.1f}")  # how sure it is of the class of the first row
    0.2
    0.5

    Raises:
        SettingError: a size below 1.

    References:
        Chaudhry et al. 2019, Efficient lifelong learning with A-GEM. There rows are drawn of past tasks only; here of
        all that went by, so that nobody has to say where a task ends.
    """

    def __init__(self, memory: Memory, *, size: int) -> None:
        if size < 1:
            raise SettingError(f"AGEM got size={size}; expected at least 1")
        self._memory, self.size = memory, size

    @property
    def memory(self) -> Memory:
        return self._memory

    def project(self, model: Model, gradient: Tensor, /) -> None:
        if len(self._memory):
            turn(gradient, model.gradient(self._memory.sample(self.size)))

    def stepped(self, model: Model, new: Forward, /) -> None:
        offer(self._memory, model, new)

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:
        self._memory.consolidate(model, experience)

    def state_dict(self) -> State:
        return {"memory": self._memory.state_dict()}

    def load_state_dict(self, state: State, /) -> None:
        self._memory.load_state_dict(state["memory"])
