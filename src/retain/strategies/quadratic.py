"""A quadratic that holds weights where they were, each as firmly as it matters: what EWC, SI and MAS have in common.

Shapes: p weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, final

from retain.core import Forward, Model, Rows, State
from retain.errors import SettingError
from retain.rows import from_array, take, to_array
from retain.strategies.addend import Addend

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Penalty", "Quadratic", "add_bounded", "fitted", "scratch", "sensitivity"]

_CHUNK = 512  # rows gone through at a time, so that memory does not grow with the blocks of an experience


def add_bounded(gradient: Tensor, pull: Tensor, /, *, strength: float) -> None:
    """gradient += c * pull, in place, c = min(strength, |gradient| / |pull|): the sum is at most twice as long.

    A quadratic of curvature a overshoots, and ends in nothing, where strength * a * rate > 2; and neither the rate nor
    what an optimiser makes of it is known here. The loss's own gradient is what the rate was chosen for, so a pull that
    is never longer cannot overshoot by more than an ordinary step, whatever the strength.
    """
    import torch

    longest = torch.linalg.vector_norm(gradient) / torch.linalg.vector_norm(pull)
    # Where there is nothing to pull the ratio is infinite or, without a gradient, undefined: both mean no bound.
    gradient.addcmul_(pull, longest.nan_to_num_(strength).clamp_(max=strength))


def sensitivity(model: Model, experience: Iterable[Rows], /, *, power: int) -> tuple[Tensor, float]:
    """Means over rows, by weight, of |g|^power and of |s|^power: how the weights move the outputs, and along which s.

    With power 2, s is the gradient of a row's loss by its outputs, and g = J's, J the derivatives of its outputs by the
    weights: the mean of g^2 is the diagonal of the (empirical) Fisher information. With power 1, s = 2 * outputs, and g
    is the gradient of their squared length.

    Returns (p,) and a number. One row at a time is what counts: the square of a mean gradient is next to nothing where
    rows agree on no direction.
    """
    import torch

    total = torch.zeros_like(model.weights)
    length = weight = 0.0
    for rows in _chunks(experience):
        output = model.outputs(rows.x)
        slope = 2 * output if power == 1 else _slope(model, rows, output)
        slope = slope * (rows.weight ** (1 / power))[:, None]
        total += model.magnitudes(rows.x, slope, power=power)
        length += float((torch.linalg.vector_norm(slope, dim=1) ** power).sum())
        weight += float(rows.weight.sum())
    return (total.div_(weight), length / weight) if weight > 0 else (total, 0.0)


def _slope(model: Model, rows: Rows, output: Tensor) -> Tensor:
    """The gradient of each row's loss by its outputs (n, k)."""
    import torch

    leaf = output.detach().requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad(model.losses(Forward(rows, leaf)).sum(), leaf)[0]


def _chunks(experience: Iterable[Rows]) -> Iterator[Rows]:
    for rows in experience:
        for start in range(0, len(rows), _CHUNK):
            yield take(rows, slice(start, start + _CHUNK))


def fitted(vector: Tensor, model: Model, /) -> Tensor:
    """A vector (p,) over the weights as they are: on their device, with zeros where the head has grown."""
    return model.widen(vector.to(model.weights.device))


def scratch(vector: Tensor | None, like: Tensor, /) -> Tensor:
    """A vector to write into: the one there is, or a new one where its size does not fit."""
    import torch

    return vector if vector is not None and vector.shape == like.shape else torch.empty_like(like)


@final
class Quadratic:
    """1/2 sum_j a_j w_j^2 - b_j w_j: any sum of 1/2 sum_j F_j (w_j - w*_j)^2, but for a constant, in two vectors."""

    def __init__(self) -> None:
        self._bend: Tensor | None = None  # (p,) a, the curvature; None before the first experience
        self._lift: Tensor | None = None  # (p,) -b, so that the gradient is one fused product and sum
        self._scratch: Tensor | None = None  # (p,) a fresh vector in every step would cost more than the sums

    def add(self, model: Model, importance: Tensor, /) -> None:
        """An experience more, held where the weights are now; the others stay: a += F, b += F w."""
        bend, lift = self._fitted(model)
        self._bend = importance.clone() if bend is None else bend.add_(importance)
        lift = -importance * model.weights if lift is None else lift.addcmul_(importance, model.weights, value=-1)
        self._lift = lift

    def move(self, model: Model, importance: Tensor, /, *, decay: float = 1.0) -> None:
        """An experience more, and all of them held where the weights are now: a = decay * a + F, b = a w."""
        bend, _ = self._fitted(model)
        self._bend = importance.clone() if bend is None else bend.mul_(decay).add_(importance)
        self._lift = -self._bend * model.weights

    def pull(self, model: Model, gradient: Tensor, /, *, strength: float) -> None:
        """Add its gradient a w - b, times strength, but never longer than the gradient that there is."""
        import torch

        self._bend, self._lift = self._fitted(model)
        if self._bend is not None and self._lift is not None:
            self._scratch = scratch(self._scratch, gradient)
            torch.addcmul(self._lift, self._bend, model.weights, out=self._scratch)
            add_bounded(gradient, self._scratch, strength=strength)

    def state_dict(self) -> State:
        vectors = {"bend": self._bend, "lift": self._lift}
        return {name: None if vector is None else to_array(vector) for name, vector in vectors.items()}

    def load_state_dict(self, state: State, /) -> None:
        entries = (state["bend"], state["lift"])
        self._bend, self._lift = (None if entry is None else from_array(entry) for entry in entries)

    def _fitted(self, model: Model) -> tuple[Tensor | None, Tensor | None]:
        """Both vectors, with zeros where the head has grown: weights that are new are free."""
        if self._bend is None or self._lift is None:
            return None, None
        return fitted(self._bend, model), fitted(self._lift, model)


class Penalty(Addend):
    """A strategy that is one `Quadratic` times a strength; what descends from it says how firmly weights are held."""

    def __init__(self, strength: float, *, name: str) -> None:
        if not strength > 0:
            raise SettingError(f"{type(self).__name__} got strength={strength}; expected a number > 0")
        self.name = name
        self._strength = float(strength)
        self._quadratic = Quadratic()

    def pull(self, model: Model, gradient: Tensor, /) -> None:
        self._quadratic.pull(model, gradient, strength=self._strength)

    def state_dict(self) -> State:
        return self._quadratic.state_dict()

    def load_state_dict(self, state: State, /) -> None:
        self._quadratic.load_state_dict(state)
