"""What a matrix of accuracies says of continual learning: pure functions of R.

Shapes: T experiences. R is (T + 1, T): R[i, j] is the accuracy on held-out rows of experience j + 1 after learning
experiences 1 ... i, so that R[0] is that of a model that has learnt nothing. The definitions are those of the glossary;
libraries differ, so each function says whose it is.

A model that learnt all experiences at once has a matrix of two rows. Of the measures only the final accuracy is then
defined; the others are NaN.
"""

from __future__ import annotations

import numpy as np

from retain.core import Floats
from retain.errors import SettingError

__all__ = [
    "backward_transfer",
    "final_accuracy",
    "forgetting",
    "forward_transfer",
    "learning_accuracy",
    "seen_accuracy",
]

_NAN = float("nan")


def final_accuracy(matrix: Floats, /) -> float:
    """ACC: the mean over experiences of the accuracy at the end, 1/T sum_j R[T, j] (Lopez-Paz & Ranzato 2017).

    >>> R = np.array([[0.5, 0.5], [0.9, 0.5], [0.6, 0.8]])
    >>> final_accuracy(R)
    0.7
    """
    return float(_checked(matrix)[-1].mean())


def learning_accuracy(matrix: Floats, /) -> float:
    """Mean accuracy on each experience just after it was learnt, 1/T sum_j R[j, j] (Riemer et al. 2019).

    A model that never learnt cannot forget: read the transfer and the forgetting beside this.

    >>> R = np.array([[0.5, 0.5], [0.9, 0.5], [0.6, 0.8]])
    >>> round(learning_accuracy(R), 3)
    0.85
    """
    return float(np.diag(matrix[1:]).mean()) if _in_turn(matrix) else _NAN


def backward_transfer(matrix: Floats, /) -> float:
    """BWT: what later experiences did to earlier ones, 1/(T-1) sum_{j<T} (R[T, j] - R[j, j]); negative is harm.

    NaN for a single experience. (Lopez-Paz & Ranzato 2017, Gradient episodic memory for continual learning.)

    >>> R = np.array([[0.5, 0.5], [0.9, 0.5], [0.6, 0.8]])
    >>> round(backward_transfer(R), 3)
    -0.3
    """
    if not _in_turn(matrix) or len(matrix) < 3:
        return _NAN
    return float((matrix[-1] - np.diag(matrix[1:]))[:-1].mean())


def forward_transfer(matrix: Floats, /) -> float:
    """FWT: what earlier experiences did for later ones, 1/(T-1) sum_{j>1} (R[j-1, j] - R[0, j]).

    NaN for a single experience. (Lopez-Paz & Ranzato 2017; their b, the accuracy of a random model, is R[0].)

    >>> R = np.array([[0.5, 0.5], [0.9, 0.6], [0.6, 0.8]])
    >>> round(forward_transfer(R), 3)
    0.1
    """
    if not _in_turn(matrix) or len(matrix) < 3:
        return _NAN
    return float((np.diag(matrix[1:], 1) - matrix[0, 1:]).mean())


def forgetting(matrix: Floats, /) -> float:
    """How far each experience has fallen from its best, 1/(T-1) sum_{j<T} (max_{j<=i<T} R[i, j] - R[T, j]).

    It may be negative, and NaN stands for a single experience. (Chaudhry et al. 2018, Riemannian walk. They let i begin
    at 1; nothing can be forgotten before it was learnt, so ours begins at j.)

    >>> R = np.array([[0.5, 0.5], [0.9, 0.5], [0.6, 0.8]])
    >>> round(forgetting(R), 3)
    0.3
    """
    if not _in_turn(matrix) or len(matrix) < 3:
        return _NAN
    last = len(matrix) - 1
    best = [float(matrix[j + 1 : last, j].max()) for j in range(last - 1)]
    return float((np.array(best) - matrix[-1, :-1]).mean())


def seen_accuracy(matrix: Floats, /) -> Floats:
    """(T,) mean accuracy on the experiences learnt so far, after each: 1/i sum_{j<=i} R[i, j] (Rebuffi et al. 2017).

    >>> seen_accuracy(np.array([[0.5, 0.5], [0.9, 0.5], [0.6, 0.8]]))
    array([0.9, 0.7])
    """
    if not _in_turn(matrix):
        return np.full(matrix.shape[1], _NAN)
    return np.array([matrix[i, :i].mean() for i in range(1, len(matrix))])


def _checked(matrix: Floats) -> Floats:
    if matrix.ndim != 2 or matrix.shape[1] < 1 or len(matrix) < 2:
        raise SettingError(
            f"the matrix has the shape {matrix.shape}; expected (T + 1, T): a row before any learning, then one after "
            "each of T experiences"
        )
    return matrix


def _in_turn(matrix: Floats) -> bool:
    """Whether the experiences were learnt one after the other."""
    return len(_checked(matrix)) == matrix.shape[1] + 1
