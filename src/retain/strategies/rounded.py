"""Weights that are learnt to be rounded: the module computes with short numbers, and long ones take the steps.

Shapes: o outputs of a layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from retain.core import State
from retain.errors import SettingError
from retain.strategies.addend import Addend, Viewing

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Rounded", "rounded"]


def rounded(weight: Tensor, /, *, bits: int) -> Tensor:
    """Each weight of output c (o, ...) as s_c round(w / s_c), s_c = max |w_c| / (2^(bits - 1) - 1)."""
    import torch

    wide = weight.reshape(len(weight), -1)
    steps = float(2 ** (bits - 1) - 1)
    scale = wide.abs().amax(1, keepdim=True) / steps
    whole = (wide / scale).nan_to_num_(nan=0.0).round_().clamp_(-steps, steps)
    return torch.where(scale > 0, whole * scale, wide).view_as(weight)


@final
class Rounded(Addend, Viewing):
    """Quantisation-aware updates: the learner learns, and answers, with weights rounded to a few bits. It adds no loss.

    Every way through the module, forwards and back, sees weights rounded as `retain.compression.Int8` rounds them: each
    output of a layer in steps of its own, symmetric about 0 (of a transposed convolution, whose weights begin with the
    inputs, each input); biases and gains of norms are left as they are. The step is made by the weights in full, as if
    rounding had the slope 1 (straight-through), so that moves smaller than a step add up. What the learner answers is
    then what is shipped, but for the rounding of activations.

    Args:
        bits: of a weight, 2 to 16.
        name: unique among the strategies of a learner.

    >>> import numpy as np, retain as rt
    >>> x = np.random.default_rng(0).normal(size=(2000, 2)).astype(np.float32)
    >>> learner = rt.Neural(rt.neural.MLP(2, 32, 2), strategies=[Rounded(bits=3)], batch_size=10)
    >>> said = learner.learn(rt.Batch(x, y=(x[:, 0] * x[:, 1] > 0).astype(int)))
    >>> len(learner.serving()["1.weight"][0].unique()), len(learner.module[3].weight[0].unique())
    (2, 32)

    Raises:
        SettingError: bits out of range; beside it another such strategy.

    References:
        Jacob et al. 2018, Quantization and training of neural networks for efficient integer-arithmetic-only inference;
        the slope is that of Bengio et al. 2013, Estimating or propagating gradients through stochastic neurons.
        Activations are not rounded in training here.
    """

    def __init__(self, bits: int = 8, *, name: str = "rounded") -> None:
        if not 2 <= bits <= 16:
            raise SettingError(f"Rounded got bits={bits}; expected 2 to 16")
        self.name = name
        self._bits = bits

    def viewed(self, weight: Tensor, /) -> Tensor:
        return rounded(weight, bits=self._bits) if weight.ndim > 1 else weight

    def state_dict(self) -> State:
        return {}

    def load_state_dict(self, state: State, /) -> None:
        pass
