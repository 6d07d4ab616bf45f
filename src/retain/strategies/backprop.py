"""Continual backprop: units that are of little use are begun anew, a few at a time, so that some always can learn.

Shapes: n rows, u units of a hidden layer, d inputs of it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, final

from retain.core import Forward, Model, State
from retain.errors import SettingError
from retain.rows import from_array, to_array
from retain.strategies.addend import Addend, Carry

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

__all__ = ["ContinualBackprop", "contribution"]


def contribution(activity: Tensor, outgoing: Tensor, /) -> Tensor:
    """(u,) what units give to the next layer: mean |activity| (n, u) times the sum of |outgoing weight| (next, u)."""
    return activity.abs().mean(0) * outgoing.abs().sum(0)


def chain(module: nn.Module, /) -> list[nn.Module]:
    """The layers of a plain chain that ends with a linear one. Raises SettingError for any other module."""
    from torch import nn

    plain = (nn.Linear, nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Flatten, nn.Identity)
    layers = list(module.children())
    linear = sum(isinstance(layer, nn.Linear) for layer in layers)
    if not isinstance(module, nn.Sequential) or linear < 2 or any(type(layer) not in plain for layer in layers):
        raise SettingError(
            f"ContinualBackprop got a {type(module).__name__}; expected nn.Sequential of at least two linear layers "
            "with activations between them: take ShrinkPerturb or L2Init for other modules"
        )
    return layers


def renew(here: nn.Linear, after: nn.Linear, units: Tensor, /, *, random: Generator) -> None:
    """Fresh incoming weights, no bias, and outgoing weights of zero: what the module says changes by what they said."""
    import torch

    bound = here.in_features**-0.5
    fresh = torch.rand((len(units), here.in_features), generator=random).mul_(2 * bound).sub_(bound)
    here.weight.data[units] = fresh.to(here.weight.data)
    after.weight.data[:, units] = 0
    if "bias" in dict(here.named_parameters()):
        here.bias.data[units] = 0


@final
class ContinualBackprop(Addend):
    """Begins the least useful hidden units anew. It adds no loss.

    A unit's utility is a running mean of its `contribution`, u += (1 - decay) (contribution - u), taken as
    u / (1 - decay^age) for how young it is. After every step a layer owes `replacement` times the number of its units
    older than `maturity`; for each whole unit owed, the least useful of them is begun anew: with fresh first weights,
    and with no say in the next layer until it has learnt something.

    Args:
        replacement: share of a layer's mature units begun anew in a step.
        maturity: steps for which a new unit is left alone.
        decay: of the utility.
        seed: of the fresh weights.
        name: the default comes before those of the strategies that remember weights.

    >>> import numpy as np, retain as rt
    >>> from torch import nn
    >>> module = rt.neural.MLP(2, 8, 2)
    >>> (
    ...     nn.init.constant_(module[1].weight.data[3], 0.0),
    ...     nn.init.constant_(module[1].bias.data[3:4], -1.0),
    ... )  # a dead unit
    (tensor([0., 0.]), tensor([-1.]))
    >>> rescue = ContinualBackprop(replacement=1e-3, maturity=20)
    >>> learner = rt.Neural(module, strategies=[rescue], batch_size=10)
    >>> x = np.random.default_rng(0).normal(size=(1600, 2)).astype(np.float32)
    >>> said = learner.learn(rt.Batch(x, y=(x[:, 0] > 0).astype(int)))  # 160 steps: one unit is owed
    >>> bool(module[1].weight[3].abs().sum() > 0)
    True

    Raises:
        SettingError: numbers out of range; at the first step, a module that is not a plain chain of linear layers.

    References:
        Dohare et al. 2024, Loss of plasticity in deep continual learning, Nature 632. The moments that an optimiser
        keeps for a unit's weights are not cleared here; maturity outlives them.
    """

    def __init__(
        self,
        replacement: float = 1e-4,
        *,
        maturity: int = 100,
        decay: float = 0.99,
        seed: int = 0,
        name: str = "backprop",
    ) -> None:
        if not (0 < replacement < 1 and maturity >= 1 and 0 <= decay < 1):
            raise SettingError(
                f"ContinualBackprop got replacement={replacement}, maturity={maturity}, decay={decay}; expected in "
                "(0, 1), >= 1, and in [0, 1)"
            )
        import torch

        self.name = name
        self._replacement, self._maturity, self._decay = float(replacement), maturity, float(decay)
        self._random = torch.Generator().manual_seed(seed)
        self._utilities: list[Tensor] = []  # (u,) for each hidden layer
        self._ages: list[Tensor] = []  # (u,) steps
        self._owed: list[float] = []

    def stepped(self, model: Model, new: Forward, /) -> None:
        import torch
        from torch import nn

        layers = chain(model.module)
        linear = [i for i, layer in enumerate(layers) if isinstance(layer, nn.Linear)]
        a = new.rows.x
        with torch.no_grad():
            for number, (i, j) in enumerate(pairwise(linear)):
                for layer in layers[i if number else 0 : j]:
                    a = layer(a)
                here, after = layers[i], layers[j]
                if isinstance(here, nn.Linear) and isinstance(after, nn.Linear):
                    self._judge(number, contribution(a, after.weight.data))
                    units = self._least(number)
                    if len(units):
                        renew(here, after, units, random=self._random)

    def _judge(self, number: int, given: Tensor) -> None:
        """Take in what the units of a hidden layer gave in a step."""
        if number == len(self._ages):
            self._utilities.append(given.new_zeros(len(given)))
            self._ages.append(given.new_zeros(len(given)))
            self._owed.append(0.0)
        self._utilities[number] = self._utilities[number].to(given).lerp_(given, 1 - self._decay)
        self._ages[number] = self._ages[number].to(given).add_(1)

    def _least(self, number: int) -> Tensor:
        """The units of a hidden layer to begin anew, as newborns from now on."""
        import torch

        utility, age = self._utilities[number], self._ages[number]
        mature = age > self._maturity
        many = int(mature.sum())
        self._owed[number] += self._replacement * many
        count = min(int(self._owed[number]), many)
        if not count:
            return torch.empty(0, dtype=torch.int64)
        self._owed[number] -= count
        worth = (utility / (1 - self._decay**age)).masked_fill(~mature, torch.inf)
        units = worth.topk(count, largest=False).indices
        utility[units] = 0
        age[units] = 0
        return units

    def reshaped(self, model: Model, carry: Carry, /) -> None:
        self._utilities, self._ages, self._owed = [], [], []  # units are others: all are young again

    def state_dict(self) -> State:
        layers = zip(self._utilities, self._ages, self._owed, strict=True)
        kept = [{"utility": to_array(u), "age": to_array(age), "owed": owed} for u, age, owed in layers]
        return {"random": to_array(self._random.get_state()), "layers": {str(i): one for i, one in enumerate(kept)}}

    def load_state_dict(self, state: State, /) -> None:
        self._random.set_state(from_array(state["random"], device="cpu"))
        layers = [state["layers"][str(i)] for i in range(len(state["layers"]))]
        self._utilities = [from_array(layer["utility"]) for layer in layers]
        self._ages = [from_array(layer["age"]) for layer in layers]
        self._owed = [float(layer["owed"]) for layer in layers]
