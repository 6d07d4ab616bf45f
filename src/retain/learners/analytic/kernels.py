"""The row loop of `RLS`, compiled.

Shapes: n rows, d features, D = d + 1 with the constant feature in front, k outputs or classes.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from retain.core import Floats, Ints

__all__ = ["least_squares"]

_NO_PIVOT = 1e-24  # as in rls.py


@njit(cache=True, nogil=True, error_model="numpy")
def _rotate(row_D: Floats, target_k: Floats, factor_DD: Floats, right_Dk: Floats) -> None:
    """Givens rotations that take a row and its targets into the triangle; both are used up."""
    D, k = right_Dk.shape
    for i in range(D):
        if row_D[i] == 0.0:
            continue
        r = math.hypot(factor_DD[i, i], row_D[i])
        c, s = factor_DD[i, i] / r, row_D[i] / r
        factor_DD[i, i] = r
        for j in range(i + 1, D):
            a, b = factor_DD[i, j], row_D[j]
            factor_DD[i, j] = c * a + s * b
            row_D[j] = c * b - s * a
        for j in range(k):
            a, b = right_Dk[i, j], target_k[j]
            right_Dk[i, j] = c * a + s * b
            target_k[j] = c * b - s * a


@njit(cache=True, nogil=True, error_model="numpy")
def least_squares(
    x_nd: Floats,
    y_nq: Floats,
    weight_n: Floats,
    factor_DD: Floats,
    right_Dk: Floats,
    norms_D: Floats,
    rows: Ints,
    spare: Floats,  # (1 + k,) the weight of all rows, and of each output the squares that no weights explain
    out_nk: Floats,
    known: int,
    settings: Floats,
) -> None:
    """Predict every row, then rotate it into the triangle R and the right-hand side Z, where its weight is not 0.

    `known` is the number of classes known before the block, -1 where targets are numbers.
    """
    n, d = x_nd.shape
    D, k = right_Dk.shape
    outputs = out_nk.shape[1]
    l2, forgetting, bias = settings[0], settings[1], settings[2]
    row, solved, target = np.empty(D), np.empty(D), np.empty(k)
    for i in range(n):
        # x W = x R^-1 Z: one triangular solve for all outputs. It needs R only, so it is also good for rank < D.
        row[0] = bias
        for j in range(d):
            row[j + 1] = x_nd[i, j]
        for j in range(D):
            solved[j] = 0.0
            if factor_DD[j, j] * factor_DD[j, j] > _NO_PIVOT * norms_D[j]:
                solved[j] = row[j] / factor_DD[j, j]
                for m in range(j + 1, D):
                    row[m] -= solved[j] * factor_DD[j, m]
        for q in range(outputs):
            score = 0.0
            for j in range(D):
                score += solved[j] * right_Dk[j, q]
            out_nk[i, q] = score
        if known >= 0:
            _normalise(out_nk[i], known)
        weight = weight_n[i]
        if weight == 0.0:
            continue
        if known >= 0:
            known = max(known, int(y_nq[i, 0]) + 1)
        if forgetting < 1.0:
            kept = forgetting**weight
            _fade(factor_DD, right_Dk, norms_D, kept)
            spare *= kept
            if l2 > 0.0 and d > 0:
                for j in range(D):
                    row[j] = 0.0
                target[:] = 0.0
                again = 1 + rows[0] % d
                row[again] = math.sqrt((1.0 - kept) * d * l2)
                norms_D[again] += row[again] * row[again]
                _rotate(row, target, factor_DD, right_Dk)
                for q in range(k):
                    spare[1 + q] += target[q] * target[q]
        rows[0] += 1
        root = math.sqrt(weight)
        row[0] = root * bias
        for j in range(d):
            row[j + 1] = root * x_nd[i, j]
        for j in range(D):
            norms_D[j] += row[j] * row[j]
        for q in range(k):
            label = (1.0 if y_nq[i, 0] == q else 0.0) if known >= 0 else y_nq[i, q]
            target[q] = root * label
        _rotate(row, target, factor_DD, right_Dk)
        spare[0] += weight
        for q in range(k):
            spare[1 + q] += target[q] * target[q]


@njit(cache=True, nogil=True, error_model="numpy")
def _normalise(score_k: Floats, known: int) -> None:
    """Scores as probabilities over the known classes: negative ones cut, then divided by their sum."""
    total = 0.0
    for q in range(known):
        score_k[q] = max(score_k[q], 0.0)
        total += score_k[q]
    for q in range(len(score_k)):
        score_k[q] = (score_k[q] / total if total > 0.0 else 1.0 / known) if q < known else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _fade(factor_DD: Floats, right_Dk: Floats, norms_D: Floats, kept: float) -> None:
    """Multiply all past rows by `kept`."""
    root = math.sqrt(kept)
    D, k = right_Dk.shape
    for i in range(D):
        norms_D[i] *= kept
        for j in range(i, D):
            factor_DD[i, j] *= root
        for j in range(k):
            right_Dk[i, j] *= root
