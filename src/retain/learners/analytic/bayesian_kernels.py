# pyright: reportMissingParameterType=false
"""The row loop of `BayesianLinear`, compiled.

Shapes: n rows, d features, k outputs.

Sums over features are taken in their order: features that are 0 so far then change no bit, so that it does not matter
which block a wider row comes in.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["posterior"]

_NOTHING = 1e-9  # where less is left of past rows, nothing is
_LEAST = 1e-100  # of a precision: what is divided by it stays a float


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def posterior(
    x_nd,
    y_nk,
    weight_n,
    rows,
    mean_d,
    mean_k,
    square_dd,
    product_dk,
    square_k,
    inverse_dd,
    weight_dk,
    left_k,
    out,
    setting,
):
    """Answer and take in row after row.

    rows           (2,)  0 their weight, 1 how many
    mean_d, mean_k       of the features and of the targets
    square_dd, product_dk, square_k  sums around the means: x x', x y, y^2
    inverse_dd           (square + prior)^-1
    weight_dk            inverse product
    left_k               what is left of y^2, and of the prior: square_k - weight' product
    setting              0 forgetting, 1 prior precision, in rows
    """
    n, d = x_nd.shape
    k = out.shape[1]
    forgetting, prior = setting[0], setting[1]
    away, gain, error = np.empty(d), np.empty(d), np.empty(k)
    for i in range(n):
        for j in range(d):
            away[j] = x_nd[i, j] - mean_d[j]
        for q in range(k):
            said = mean_k[q]
            for j in range(d):
                said += away[j] * weight_dk[j, q]
            out[i, q] = said
        v = weight_n[i]
        if v <= 0.0:
            continue
        if forgetting < 1.0:
            kept = forgetting**v
            if kept < _NOTHING:  # begins anew
                kept = 1.0
                rows[0] = 0.0
                square_dd[:], product_dk[:], square_k[:] = 0.0, 0.0, 0.0
                inverse_dd[:], weight_dk[:], left_k[:] = 0.0, 0.0, 0.0
                for j in range(d):
                    inverse_dd[j, j] = 1.0
            rows[0] *= kept
            square_dd *= kept
            product_dk *= kept
            square_k *= kept
            left_k *= kept
            inverse_dd /= kept  # the prior fades too, until it is chosen again
        before = rows[0]
        rows[0] += v
        rows[1] += 1.0
        share = v / rows[0]
        u = v * before / rows[0]
        if u > 0.0:
            for j in range(d):
                if square_dd[j, j] == 0.0 and away[j] != 0.0:  # begins to vary: now it has a unit
                    inverse_dd[j, j] = 1.0 / max(prior * u * away[j] * away[j] / rows[0], _LEAST)
            gain[:] = 0.0
            for a in range(d):
                if away[a] != 0.0:
                    for j in range(d):
                        gain[j] += away[a] * inverse_dd[a, j]
            leverage = 0.0
            for j in range(d):
                leverage += gain[j] * away[j]
            step = u / (1.0 + u * leverage)
            for q in range(k):
                error[q] = y_nk[i, q] - out[i, q]
                left_k[q] += step * error[q] * error[q]
                y_away = y_nk[i, q] - mean_k[q]
                square_k[q] += u * y_away * y_away
                for j in range(d):
                    weight_dk[j, q] += step * gain[j] * error[q]
                    product_dk[j, q] += u * away[j] * y_away
            for a in range(d):
                for j in range(d):
                    inverse_dd[a, j] -= step * gain[a] * gain[j]
                if away[a] != 0.0:
                    for j in range(d):
                        square_dd[a, j] += u * away[a] * away[j]
        for j in range(d):
            mean_d[j] += share * away[j]
        for q in range(k):
            mean_k[q] += share * (y_nk[i, q] - mean_k[q])
