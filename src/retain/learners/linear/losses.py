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

    >>> import numpy as np, retain as rt
    >>> x = np.random.default_rng(0).normal(size=(2000, 2))
    >>> learner = rt.Linear(loss=rt.Squared())
    >>> before = learner.learn(rt.Batch(x, y=np.column_stack([x[:, 0], 2 * x[:, 1] - x[:, 0]])))
    >>> learner.predict(np.ones((1, 2))).round(1)
    array([[1., 1.]])
    """


@final
@dataclass(frozen=True, slots=True)
class Logistic:
    """Classes, by the odds of each against the rest: L = log(1 + exp(-m)) for its rows, log(1 + exp(m)) for others.

    Two classes share one output, the log-odds of class 1. From the third on there is one output for each class and the
    probabilities 1 / (1 + exp(-m)) are divided by their sum. An arriving class starts with weights 0; what was learnt
    of the others does not move (class 0 takes the negated weights of class 1 when the third class arrives).

    Where the features say nothing, what is left is how frequent the classes are:

    >>> import numpy as np, retain as rt
    >>> nothing, y = np.zeros((2000, 1)), (np.random.default_rng(0).random(2000) < 0.3).astype(int)
    >>> learner = rt.Linear(loss=rt.Logistic())
    >>> before = learner.learn(rt.Batch(nothing, y=y))
    >>> np.allclose(learner.predict(nothing[:1]), [0.7, 0.3], atol=0.1)
    True
    """


@final
@dataclass(frozen=True, slots=True)
class Multinomial:
    """Classes, jointly: L = log(sum_j exp(m_j)) - m_y. Predicts the softmax; an arriving class starts with weights 0.

    >>> import numpy as np, retain as rt
    >>> nothing, y = np.zeros((2000, 1)), np.random.default_rng(0).choice(3, 2000, p=[0.5, 0.3, 0.2])
    >>> learner = rt.Linear(loss=rt.Multinomial())
    >>> before = learner.learn(rt.Batch(nothing, y=y))
    >>> np.allclose(learner.predict(nothing[:1]), [0.5, 0.3, 0.2], atol=0.1)
    True
    """


@final
@dataclass(frozen=True, slots=True)
class Hinge:
    """Classes, by a margin of at least 1: L = max(0, 1 - m) for rows of the class, max(0, 1 + m) for others.

    A margin is not a probability. What is predicted is 1 / (1 + exp(-2 m)), for more than two classes divided by the
    sum: the order of the classes is that of the margins, the values are a convention (.88 at m = 1).

    >>> import numpy as np, retain as rt
    >>> x = np.random.default_rng(0).normal(size=(2000, 2))
    >>> learner = rt.Linear(loss=rt.Hinge())
    >>> before = learner.learn(rt.Batch(x, y=(x[:, 0] > x[:, 1]).astype(int)))
    >>> learner.predict(np.array([[1.0, 0.0], [0.0, 1.0]])).argmax(axis=1)
    array([1, 0])
    """


@final
@dataclass(frozen=True, slots=True)
class Quantile:
    """The q-quantile of a number: L = q (y - m) where y > m, (1 - q) (m - y) elsewhere (Koenker & Bassett 1978).

    Args:
        q: which quantile, 0 < q < 1; the median by default.

    Raises:
        SettingError: q lies outside (0, 1).

    Nine in ten waiting times lie below what is learnt here:

    >>> import numpy as np, retain as rt
    >>> nothing, wait = np.zeros((5000, 1)), np.random.default_rng(0).exponential(size=5000)
    >>> learner = rt.Linear(loss=rt.Quantile(0.9))
    >>> before = learner.learn(rt.Batch(nothing, y=wait))
    >>> np.allclose(np.mean(wait < learner.predict(nothing)), 0.9, atol=0.07)
    True
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

    One row in twenty is wrong by a thousand, and hardly matters:

    >>> import numpy as np, retain as rt
    >>> nothing, rng = np.zeros((5000, 1)), np.random.default_rng(0)
    >>> y = rng.normal(5, size=5000) + 1000 * (rng.random(5000) < 0.05)
    >>> learner = rt.Linear(loss=rt.Huber(), update=rt.SGD(0.01))
    >>> before = learner.learn(rt.Batch(nothing, y=y))
    >>> np.allclose(learner.predict(nothing[:1]), 5, atol=1)
    True
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.delta < float("inf"):
            raise SettingError(f"Huber got delta={self.delta}; expected a positive number in units of the target")


@final
@dataclass(frozen=True, slots=True)
class Poisson:
    """The mean of a count, on a log scale: L = exp(m) - y m, y >= 0. Predicts exp(m).

    >>> import numpy as np, retain as rt
    >>> rng = np.random.default_rng(0)
    >>> x = rng.random((5000, 1))
    >>> learner = rt.Linear(loss=rt.Poisson())
    >>> before = learner.learn(rt.Batch(x, y=rng.poisson(np.exp(1 + x[:, 0])).astype(float)))
    >>> np.allclose(learner.predict(np.array([[0.0], [1.0]])), np.exp([1, 2]), rtol=0.3)
    True
    """


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
