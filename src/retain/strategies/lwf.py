"""Learning without forgetting: new rows are to be answered as the module answered before, where old classes go.

Shapes: n rows, k outputs, c classes that compete, p parameters.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, final

from retain.core import Forward, Model, Rows, Slope, State
from retain.errors import SettingError
from retain.rows import from_array, to_array
from retain.strategies.addend import Addend, Carry

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LwF", "distilled"]


def distilled(output: Tensor, teacher: Tensor, /, *, temperature: float) -> tuple[Tensor, Tensor]:
    """T^2 KL(softmax(teacher / T) || softmax(output / T)), one for each row (n,), and its gradient by `output` (n, c).

    T^2 makes the gradient as long as that of the loss of labels, whatever the temperature (Hinton et al. 2015).
    """
    import torch

    target = torch.log_softmax(teacher / temperature, 1)
    said = torch.log_softmax(output / temperature, 1)
    share = target.exp()
    apart = (share * (target - said)).sum(1)
    return temperature**2 * apart, said.exp_().sub_(share).mul_(temperature)


def groups(seen: Tensor, classes: int, /) -> Tensor:
    """(groups, classes) which classes compete: those of each task, tasks with the same classes once; else all."""
    if not len(seen):
        return seen.new_ones((1, classes))
    return seen[seen.any(1)].unique(dim=0)


@final
class LwF(Addend):
    """Adds the distance of the new rows' outputs from those of a teacher, the module at the end of the last experience.

    strength * sqrt(e) * mean over rows of T^2 KL(teacher || now), over the softmax of the classes that the teacher had
    learnt; e is how many experiences there have been. Counted e times, the teacher forbids what is new where labels
    stay and inputs change, since it answers new rows with confidence and wrongly; counted once, too much is lost: see
    the references. With task masks the softmax is taken for each task alone, and the mean over tasks. It keeps no rows;
    before the first `consolidate`, which makes the teacher, it adds nothing.

    Where classes arrive in turn and nobody tells tasks, use it beside `rt.neural.ACE()`: with the plain cross-entropy
    every new row says that it is of no old class, which the teacher, asked which of them, does not contradict.
    Split-MNIST in this scenario: 65 % so, 20 % without.

    Args:
        strength: multiplies the addend.
        temperature: T, above 1 to look at how wrong answers compare too.
        name: unique among the strategies of a learner.

    >>> import numpy as np, torch, retain as rt
    >>> x = np.random.default_rng(0).normal(size=(1000, 2)).astype(np.float32)
    >>> for strategies in ([], [LwF()]):
    ...     module = rt.neural.MLP(2, 32, 2)
    ...     adam = torch.optim.Adam(module.parameters(), lr=0.01)
    ...     learner = rt.Neural(module, optimizer=adam, strategies=strategies)
    ...     for column in (0, 1):  # labels go by another column in either experience
    ...         batch = rt.Batch(x, y=(x[:, column] > 0).astype(int))
    ...         said = learner.learn(batch)
    ...         learner.consolidate([batch])
    ...     print(f"{(learner.predict(x).argmax(1) == (x[:, 0] > 0)).mean():.1f}")  # how much of the first is left
    0.5
    0.8

    Raises:
        SettingError: a strength or a temperature that is not above 0, or targets that are numbers.

    References:
        Li and Hoiem 2016, Learning without forgetting. There the strength is 1 for every old task; there is no warm-up
        of the new outputs here. Teachers have the module's present buffers (running means of a batch norm). Van de Ven
        and Tolias 2019, Three scenarios for continual learning, count the teacher e times. A fifth of Split-MNIST, new
        inputs for old labels, two seeds: e times 76.2, of which 72.9 right after learning; once 76.1 (85.0); sqrt(e)
        80.3 (78.5). Where tasks are told, or classes arrive beside `ACE`, all three end within 1 of each other.
    """

    def __init__(self, *, strength: float = 1.0, temperature: float = 2.0, name: str = "lwf") -> None:
        if not (strength > 0 and temperature > 0):
            raise SettingError(f"LwF got strength={strength}, temperature={temperature}; expected numbers > 0")
        self.name = name
        self._strength, self._temperature = float(strength), float(temperature)
        self._teacher: Tensor | None = None  # (p,) as wide as they were
        self._groups: Tensor | None = None  # (groups, classes) that compete in the teacher
        self._competing: list[slice | list[int]] = []  # the same as what to take outputs by
        self._experiences = 0

    def slope(self, model: Model, new: Forward, /, *, own: Forward | None) -> Slope | None:
        if self._teacher is None or self._groups is None:
            return None
        device = new.output.device  # a state that was loaded lies on the CPU
        teacher = model.outputs(new.rows.x, weights=model.widen(self._teacher.to(device)))
        share = new.rows.weight * (self._strength * self._experiences**0.5 / (len(self._groups) * len(new.rows)))
        loss, slope = new.output.new_zeros(()), new.output.new_zeros(new.output.shape)
        for classes in self._competing:
            apart, by = distilled(new.output[:, classes], teacher[:, classes], temperature=self._temperature)
            loss = loss + share.dot(apart)
            slope[:, classes] += by.mul_(share[:, None])
        return Slope(loss, new=slope)

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:
        if not model.classes:
            raise SettingError(
                "LwF compares how likely classes are, and none has been learnt; for targets that are numbers take DER, "
                "or a penalty on the weights"
            )
        self._teacher = model.weights.clone()
        self._compete(groups(model.seen, model.classes))
        self._experiences += 1

    def reshaped(self, model: Model, carry: Carry, /) -> None:
        if self._teacher is not None:
            self._teacher = model.weights.clone()

    def state_dict(self) -> State:
        return {
            "teacher": None if self._teacher is None else to_array(self._teacher),
            "groups": None if self._groups is None else to_array(self._groups),
            "experiences": self._experiences,
        }

    def load_state_dict(self, state: State, /) -> None:
        self._teacher = None if state["teacher"] is None else from_array(state["teacher"])
        self._compete(None if state["groups"] is None else from_array(state["groups"]))
        self._experiences = int(state["experiences"])

    def _compete(self, groups: Tensor | None) -> None:
        """Classes that follow one another are a slice, which copies nothing."""
        self._groups, self._competing = groups, []
        for group in () if groups is None else groups.cpu():
            classes: list[int] = group.nonzero()[:, 0].tolist()
            first, last = classes[0], classes[-1]
            self._competing.append(slice(first, last + 1) if last - first < len(classes) else classes)
