"""A quadratic that holds weights where they were, each as firmly as it matters: what EWC, SI and MAS have in common.

Shapes: p weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, final

import numpy as np
from numba import njit

from retain.core import Floats, Forward, Model, Rows, Spring, State
from retain.errors import SettingError
from retain.rows import from_array, take, to_array
from retain.strategies.addend import Addend, Carry

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Penalty", "Quadratic", "bounded", "fitted", "sensitivity"]

_CHUNK = 512  # rows gone through at a time, so that memory does not grow with the blocks of an experience


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
def _squares(bend: Floats, rest: Floats, w: Floats, g: Floats) -> tuple[float, float]:
    """|bend * (w - rest)|^2 and |g|^2, every number read once and none written."""
    pull = gradient = 0.0
    for j in range(len(w)):
        one, other = np.float64(bend[j] * (w[j] - rest[j])), np.float64(g[j])
        pull += one * one
        gradient += other * other
    return pull, gradient


def bounded(bend: Tensor, rest: Tensor, weights: Tensor, gradient: Tensor, /, *, strength: float) -> float:
    """min(strength, |gradient| / |bend * (weights - rest)|): times that, the pull is no longer than the gradient.

    A quadratic of curvature a overshoots, and ends in nothing, where strength * a * rate > 2; and neither the rate nor
    what an optimiser makes of it is known here. The loss's own gradient is what the rate was chosen for, so a pull that
    is never longer cannot overshoot by more than an ordinary step, whatever the strength. NaN for a pull without end.
    """
    if gradient.device.type == "cpu" and gradient.element_size() == 4:
        pull, own = _squares(bend.numpy(), rest.numpy(), weights.numpy(), gradient.numpy())
    else:
        pull, own = (float(v.double().square().sum()) for v in (bend * (weights - rest), gradient))
    if not pull:
        return strength
    return min(strength, math.sqrt(own / pull)) if math.isfinite(pull) else math.nan


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


@final
class Quadratic:
    """1/2 sum_j a_j (w_j - r_j)^2: any sum of 1/2 sum_j F_j (w_j - w*_j)^2, but for a constant, in two vectors.

    r is the mean of the w*, by F. Where there is one w* only, nothing pulls there: a w - b would leave the rounding of
    b, which is more than what a weight feels that hardly moved.
    """

    def __init__(self) -> None:
        self._bend: Tensor | None = None  # (p,) a, the curvature; None before the first experience
        self._rest: Tensor | None = None  # (p,) r
        self._last = Spring()  # of the last step

    def add(self, model: Model, importance: Tensor, /) -> None:
        """An experience more, held where the weights are now; the others stay: a += F, r += F / a (w - r)."""
        self._last = Spring()
        bend, rest = self._fitted(model)
        if bend is None or rest is None:
            self._bend, self._rest = importance.clone(), model.weights.clone()
            return
        self._bend = bend.add_(importance)
        share = (importance / self._bend).nan_to_num_(1.0)  # what is held by nobody may rest anywhere
        self._rest = rest.addcmul_(share, model.weights - rest)

    def move(self, model: Model, importance: Tensor, /, *, decay: float = 1.0) -> None:
        """An experience more, and all of them held where the weights are now: a = decay * a + F, r = w."""
        self._last = Spring()
        bend, _ = self._fitted(model)
        self._bend = importance.clone() if bend is None else bend.mul_(decay).add_(importance)
        self._rest = model.weights.clone()

    def spring(
        self, model: Model, gradient: Tensor, /, *, strength: float, credit: Tensor | None = None
    ) -> Spring | None:
        """Its gradient a (w - r), times strength, but never longer than the gradient that there is."""
        self._bend, self._rest = self._fitted(model)
        if self._bend is None or self._rest is None:
            return None if credit is None else Spring(credit=credit)
        square = gradient.dot(gradient).item()
        # The last step told how long the pull is now, but for the rounding of p sums. Mostly that is far too short for
        # the bound; then the three vectors need not be gone through to know it exactly.
        longest = math.inf if self._last.left is None else self._last.left * (1 + 1e-7 * len(gradient))
        if strength * strength * longest <= square:
            times = strength
        else:
            times = bounded(self._bend, self._rest, model.weights, gradient, strength=strength)
        self._last = Spring(self._bend, self._rest, times, credit, square)
        return self._last

    def reshaped(self, model: Model, carry: Carry, /) -> None:
        """Weights that were kept are held as firmly as before, where they are now; new ones are free."""
        self._last = Spring()
        if self._bend is not None:
            self._bend, self._rest = carry(self._bend), model.weights.clone()

    def state_dict(self) -> State:
        vectors = {"bend": self._bend, "rest": self._rest}
        return {name: None if vector is None else to_array(vector) for name, vector in vectors.items()}

    def load_state_dict(self, state: State, /) -> None:
        self._last = Spring()
        entries = (state["bend"], state["rest"])
        self._bend, self._rest = (None if entry is None else from_array(entry) for entry in entries)

    def _fitted(self, model: Model) -> tuple[Tensor | None, Tensor | None]:
        """Both vectors, with zeros where the head has grown: weights that are new are free."""
        if self._bend is None or self._rest is None:
            return None, None
        return fitted(self._bend, model), fitted(self._rest, model)


class Penalty(Addend):
    """A strategy that is one `Quadratic` times a strength; what descends from it says how firmly weights are held."""

    def __init__(self, strength: float, *, name: str) -> None:
        if not strength > 0:
            raise SettingError(f"{type(self).__name__} got strength={strength}; expected a number > 0")
        self.name = name
        self._strength = float(strength)
        self._quadratic = Quadratic()

    def pull(self, model: Model, gradient: Tensor, /) -> Spring | None:
        return self._quadratic.spring(model, gradient, strength=self._strength)

    def reshaped(self, model: Model, carry: Carry, /) -> None:
        self._quadratic.reshaped(model, carry)

    def state_dict(self) -> State:
        return self._quadratic.state_dict()

    def load_state_dict(self, state: State, /) -> None:
        self._quadratic.load_state_dict(state)
