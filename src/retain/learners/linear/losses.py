"""What a linear learner minimises: one small part per loss.

Notation: m is the margin w'x + b of one output, y its target, L(m, y) the loss, s(m, y) = dL/dm its slope. The maths
that runs is in `kernels`; the parts here hold the settings and say what the learner predicts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, final

from retain.errors import SettingError

__all__ = ["Hinge", "Huber", "Logistic", "Loss", "Multinomial", "Poisson", "Quantile", "Squared"]

Shape: TypeAlias = Literal["numbers", "one-vs-all", "softmax"]


@final
@dataclass(frozen=True, slots=True)
class Squared:
    """The mean of a number: L = (m - y)^2 / 2. Predicts m; targets (n, k) make k outputs.

    >>> Squared()
    Squared()
    """


@final
@dataclass(frozen=True, slots=True)
class Logistic:
    """Classes, by the odds of each against the rest: L = log(1 + exp(-m)) for its rows, log(1 + exp(m)) for others.

    Two classes share one output, the log-odds of class 1. From the third on there is one output for each class and the
    probabilities 1 / (1 + exp(-m)) are divided by their sum. An arriving class starts with weights 0; what was learnt of
    the others does not move (class 0 takes the negated weights of class 1 when the third class arrives).
    """


@final
@dataclass(frozen=True, slots=True)
class Multinomial:
    """Classes, jointly: L = log(sum_j exp(m_j)) - m_y. Predicts the softmax; an arriving class starts with weights 0."""


@final
@dataclass(frozen=True, slots=True)
class Hinge:
    """Classes, by a margin of at least 1: L = max(0, 1 - m) for rows of the class, max(0, 1 + m) for others.

    A margin is not a probability. What is predicted is 1 / (1 + exp(-2 m)), for more than two classes divided by the
    sum: the order of the classes is that of the margins, the values are a convention (.88 at m = 1).
    """


@final
@dataclass(frozen=True, slots=True)
class Quantile:
    """The q-quantile of a number: L = q (y - m) where y > m, (1 - q) (m - y) elsewhere (Koenker & Bassett 1978).

    Args:
        q: which quantile, 0 < q < 1; the median by default.

    Raises:
        SettingError: q lies outside (0, 1).
    """

    q: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.q < 1:
            raise SettingError(f"Quantile got q={self.q}; expected 0 < q < 1: .9 is the ninth decile")


@final
@dataclass(frozen=True, slots=True)
class Huber:
    """The mean of a number, not carried away by outliers: squared up to `delta`, linear beyond it (Huber 1964).

    Args:
        delta: the residual, in units of the target, beyond which the slope stays +-delta.

    Raises:
        SettingError: delta is not a positive number.
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.delta < float("inf"):
            raise SettingError(f"Huber got delta={self.delta}; expected a positive number in units of the target")


@final
@dataclass(frozen=True, slots=True)
class Poisson:
    """The mean of a count, on a log scale: L = exp(m) - y m, y >= 0. Predicts exp(m)."""


Loss: TypeAlias = Squared | Logistic | Multinomial | Hinge | Quantile | Huber | Poisson


def shape(loss: Loss, /) -> Shape:
    """Whether a loss is about numbers, classes one against the rest, or classes jointly."""
    if isinstance(loss, (Logistic, Hinge)):
        return "one-vs-all"
    return "softmax" if isinstance(loss, Multinomial) else "numbers"


# The numbers by which kernels know the losses.
SQUARED, LOGISTIC, MULTINOMIAL, HINGE, QUANTILE, HUBER, POISSON = range(7)


def code(loss: Loss, /) -> tuple[int, float]:
    """A loss as kernels know it: its number and its setting."""
    match loss:
        case Squared():
            return SQUARED, 0.0
        case Logistic():
            return LOGISTIC, 0.0
        case Multinomial():
            return MULTINOMIAL, 0.0
        case Hinge():
            return HINGE, 0.0
        case Quantile(q):
            return QUANTILE, q
        case Huber(delta):
            return HUBER, delta
        case Poisson():
            return POISSON, 0.0
