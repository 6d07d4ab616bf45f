"""Progress and compress: an experience is learnt freely, and then taught to what knows all that were before.

Shapes: n rows, k outputs, p weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, final

from retain.core import Forward, Model, Rows, State
from retain.errors import SettingError
from retain.rows import from_array, to_array
from retain.strategies.addend import Addend, Carry
from retain.strategies.again import again
from retain.strategies.aside import copies, from_state, lay, lent, or_as_before, to_state
from retain.strategies.ewc import importance
from retain.strategies.lwf import distilled
from retain.strategies.quadratic import Quadratic, fitted

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ProgressCompress", "towards"]


def towards(model: Model, forward: Forward, said: Tensor, /, *, temperature: float) -> Tensor:
    """(n, k) the gradient by the outputs of the mean over rows of weight times how far they are from what was `said`.

    That is T^2 KL(said || output), over the classes of a row's task where it is told and all that were learnt where
    not; of numbers, the mean over outputs of (output - said)^2.
    """
    import torch

    rows, output = forward.rows, forward.output
    if not model.classes:
        slope = (output - said).mul_(2 / output.shape[1])
    else:
        slope = torch.zeros_like(output)
        for which, classes in _competing(model, rows):
            place = which[:, None], classes
            slope[place] = distilled(output[place], said[place], temperature=temperature)[1]
    return slope.mul_((rows.weight / len(rows))[:, None])


def _competing(model: Model, rows: Rows) -> Iterator[tuple[Tensor, Tensor]]:
    """Numbers of rows, and of the classes that compete in them."""
    import torch

    task = rows.extra.get("task")
    device = rows.y.device
    if task is None:
        yield torch.arange(len(rows), device=device), torch.arange(model.classes, device=device)
        return
    for number in task.unique().tolist():
        known = model.seen[number] if 0 <= number < len(model.seen) else model.seen.new_ones(model.classes)
        yield (task == number).nonzero()[:, 0], known.nonzero()[:, 0].to(device)


@final
class ProgressCompress(Addend):
    """Learns an experience as if nothing had been before; when it ends, teaches it to a base under online EWC.

    While an experience is learnt nothing holds the weights (the active copy); they begin where the base is, and answer.
    When it ends they are the teacher: weights and running statistics go back to those of the base, which is taught for
    some passes over the experience to answer as the teacher does, T^2 KL(teacher || base) + strength * 1/2 sum_j F_j
    (w_j - w*_j)^2. The base is then what answers, and where the next experience begins. F and its decay are those of
    `OnlineEWC`; with it they hold the base only, so that what is new is learnt in full before anything is weighed
    against it.

    Until an experience ends, the learner forgets as one that nothing holds. A first experience needs no teacher.

    Args:
        strength: as of `OnlineEWC`.
        decay: as of `OnlineEWC`.
        passes: over the experience, to teach the base: about as many as taught the active copy.
        size: rows of a step of these.
        rate: of Adam in these.
        temperature: T, above 1 to look at how wrong answers compare too.
        seed: of the order of rows in these.
        name: unique among the strategies of a learner; those that remember weights when an experience ends, and come
            before it by name, remember the active ones.

    >>> import numpy as np, retain as rt
    >>> x = np.random.default_rng(0).normal(size=(600, 2)).astype(np.float32)
    >>> first = rt.Batch(x * np.float32([1, 0]), y=(x[:, 0] > 0).astype(int))
    >>> then = rt.Batch(x * np.float32([0, 1]), y=(x[:, 1] > 0.5).astype(int))  # another input tells
    >>> learner = rt.Neural(rt.neural.MLP(2, 16, 2), strategies=[ProgressCompress()], batch_size=10)
    >>> for batch in (first, then):
    ...     for _ in range(6):
    ...         said = learner.learn(batch)
    ...     before = (learner.predict(first.x).argmax(1) == first.y).mean()
    ...     learner.consolidate([batch])
    >>> bool((learner.predict(first.x).argmax(1) == first.y).mean() > before + 0.05)
    True

    Raises:
        SettingError: numbers out of range.

    References:
        Schwarz et al. 2018, Progress and compress. There the active copy is a column of its own, which looks into the
        base through layers between them; here, for modules of any kind, it begins with the base's weights.
    """

    def __init__(
        self,
        strength: float = 10.0,
        *,
        decay: float = 0.95,
        passes: int = 4,
        size: int = 32,
        rate: float = 1e-3,
        temperature: float = 2.0,
        seed: int = 0,
        name: str = "progress",
    ) -> None:
        if not (strength > 0 and 0 < decay <= 1 and rate > 0 and temperature > 0) or passes < 1 or size < 1:
            raise SettingError(
                f"ProgressCompress got strength={strength}, decay={decay}, passes={passes}, size={size}, rate={rate}, "
                f"temperature={temperature}; expected numbers > 0, whole ones >= 1, and a decay in (0, 1]"
            )
        import torch

        self.name = name
        self._strength, self._decay, self._temperature = float(strength), float(decay), float(temperature)
        self._passes, self._size, self._rate = passes, size, float(rate)
        self._random = torch.Generator().manual_seed(seed)
        self._quadratic = Quadratic()
        self._base: Tensor | None = None  # (p,) None before the first experience has ended
        self._buffers: tuple[Tensor, ...] = ()  # of the base: running statistics, in the module's order

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:
        with or_as_before(model, self._random):
            if self._base is not None:
                self._compress(model, experience, fitted(self._base, model))
            found = importance(model, experience)
        self._quadratic.move(model, found, decay=self._decay)
        self._put_aside(model)

    def _compress(self, model: Model, experience: Iterable[Rows], base: Tensor) -> None:
        buffers = tuple(model.module.buffers())
        active, measured = model.weights.clone(), copies(buffers)
        model.weights.copy_(base)
        lay(buffers, self._buffers)

        def gradient(rows: Rows) -> Tensor:
            with lent(buffers, measured):
                said = model.outputs(rows.x, weights=active)
            found = model.gradient(rows, slope=lambda now: towards(model, now, said, temperature=self._temperature))
            spring = self._quadratic.spring(model, found, strength=self._strength)
            if spring is not None and spring.bend is not None and spring.rest is not None:
                found.addcmul_(spring.bend, model.weights - spring.rest, value=spring.times)
            return found

        steps = again(
            model,
            experience,
            passes=self._passes,
            size=self._size,
            rate=self._rate,
            random=self._random,
            gradient=gradient,
        )
        if not steps:  # no rows to teach by: what was learnt is not thrown away
            model.weights.copy_(active)
            lay(buffers, measured)

    def _put_aside(self, model: Model) -> None:
        """What there is now is the base."""
        self._base, self._buffers = model.weights.clone(), copies(tuple(model.module.buffers()))

    def reshaped(self, model: Model, carry: Carry, /) -> None:
        """The base begins again with the weights that there are."""
        self._quadratic.reshaped(model, carry)
        if self._base is not None:
            self._put_aside(model)

    def state_dict(self) -> State:
        return {
            "base": None if self._base is None else to_array(self._base),
            "buffers": to_state(self._buffers),
            "quadratic": self._quadratic.state_dict(),
            "random": to_array(self._random.get_state()),
        }

    def load_state_dict(self, state: State, /) -> None:
        self._base = None if state["base"] is None else from_array(state["base"])
        self._buffers = from_state(state["buffers"])
        self._quadratic.load_state_dict(state["quadratic"])
        self._random.set_state(from_array(state["random"], device="cpu"))
