"""Weights are drawn back to where they began: at the start of each experience (L2-SP), or at the very start (L2-init).

Shapes: p weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, final

from retain.core import Model, Rows, State
from retain.errors import SettingError
from retain.rows import from_array, to_array
from retain.strategies.addend import Addend, Carry
from retain.strategies.quadratic import fitted

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["L2SP", "L2Init"]


class _Drawn(Addend):
    """Adds strength / 2 * |w - start|^2, start the first weights it saw."""

    def __init__(self, strength: float, *, name: str) -> None:
        if not strength > 0:
            raise SettingError(f"{type(self).__name__} got strength={strength}; expected a number > 0")
        self.name = name
        self._strength = float(strength)
        self._start: Tensor | None = None

    def pull(self, model: Model, gradient: Tensor, /) -> None:
        self._start = model.weights.clone() if self._start is None else fitted(self._start, model)
        gradient.add_(model.weights, alpha=self._strength).sub_(self._start, alpha=self._strength)

    def reshaped(self, model: Model, carry: Carry, /) -> None:
        if self._start is not None:
            self._start = carry(self._start, new=model.weights)

    def state_dict(self) -> State:
        return {"start": None if self._start is None else to_array(self._start)}

    def load_state_dict(self, state: State, /) -> None:
        self._start = None if state["start"] is None else from_array(state["start"])


@final
class L2SP(_Drawn):
    """Adds strength / 2 * |w - w*|^2, w* the weights where the experience began: a pretrained module stays near itself.

    Outputs of classes that are new begin at zero and are drawn to zero.

    Args:
        strength: multiplies half of the squared distance; it is the rate at which an idle weight returns, beside that
            of the optimiser.
        name: unique among the strategies of a learner.

    >>> import numpy as np, retain as rt
    >>> batch = rt.Batch(np.ones((500, 2), dtype=np.float32), y=np.arange(500) % 5 // 4)
    >>> for strength in (1e-9, 1.0):
    ...     learner = rt.Neural(rt.neural.MLP(2, 2), strategies=[L2SP(strength)], batch_size=5)
    ...     before = learner.module[-1].weight.detach().clone()
    ...     said = learner.learn(batch)
    ...     print(round(float((learner.module[-1].weight.detach() - before).norm()), 2))
    0.12
    0.06

    Raises:
        SettingError: a strength that is not above 0.

    References:
        Li, Grandvalet and Davoine 2018, Explicit inductive bias for transfer learning with convolutional networks.
        There is no other strength for layers that are new.
    """

    def __init__(self, strength: float = 1e-2, *, name: str = "l2-sp") -> None:
        super().__init__(strength, name=name)

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:
        self._start = model.weights.clone()


@final
class L2Init(_Drawn):
    """Adds strength / 2 * |w - w0|^2, w0 the first weights of all: a module that has learnt much can still learn.

    Weights that nothing needs go back to where learning began, and units that had gone dead or large come alive again.

    Args:
        strength: multiplies half of the squared distance.
        name: unique among the strategies of a learner.

    >>> import numpy as np, retain as rt
    >>> batch = rt.Batch(np.ones((500, 2), dtype=np.float32), y=np.arange(500) % 5 // 4)
    >>> learner = rt.Neural(rt.neural.MLP(2, 2), strategies=[L2Init(1.0)], batch_size=5)
    >>> before = learner.module[-1].weight.detach().clone()
    >>> for _ in range(3):  # however many experiences there are
    ...     said = learner.learn(batch)
    ...     learner.consolidate([batch])
    >>> round(float((learner.module[-1].weight.detach() - before).norm()), 2)
    0.06

    Raises:
        SettingError: a strength that is not above 0.

    References:
        Kumar, Marklund and Van Roy 2023, Maintaining plasticity in continual learning via regenerative regularization.
    """

    def __init__(self, strength: float = 1e-3, *, name: str = "l2-init") -> None:
        super().__init__(strength, name=name)
