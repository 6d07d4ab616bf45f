# pyright: reportMissingParameterType=false
# numba infers the types of arguments, for each that a kernel is called with.
"""What the trees of a boosted ensemble are to learn of each row, given the margins that those before them add up to.

Shapes: n rows, K classes.
"""

from __future__ import annotations

import math

from numba import njit

__all__ = ["centres", "shares", "slopes"]

_LEAST = 0.05  # curvature of the log-loss below which a step is no longer Newton's: a target is at most 1 / that


@njit(cache=True, nogil=True, error_model="numpy")
def shares(margin_nK, known_n, p_nK):
    """Probabilities of the classes known to each row (softmax)."""
    for i in range(len(margin_nK)):
        known = known_n[i]
        most = 0.0
        for c in range(known):
            most = max(most, margin_nK[i, c]) if c else margin_nK[i, 0]
        total = 0.0
        for c in range(known):
            p_nK[i, c] = math.exp(margin_nK[i, c] - most)
            total += p_nK[i, c]
        for c in range(known):
            p_nK[i, c] /= total


@njit(cache=True, nogil=True, error_model="numpy")
def slopes(margin_nK, y_n, w_n, known_n, p_nK, target_Kn, weight_Kn):
    """Newton's step of the log-loss in each margin, and what it weighs. With two classes the first one's is 0."""
    shares(margin_nK, known_n, p_nK)
    for i in range(len(margin_nK)):
        for c in range(margin_nK.shape[1]):
            if not w_n[i] > 0.0 or c >= known_n[i] or (c == 0 and known_n[i] < 3):
                target_Kn[c, i], weight_Kn[c, i] = 0.0, 0.0
                continue
            p = p_nK[i, c]
            curve = max(p * (1.0 - p), _LEAST)
            target_Kn[c, i] = ((1.0 if c == y_n[i] else 0.0) - p) / curve
            weight_Kn[c, i] = w_n[i] * curve


@njit(cache=True, nogil=True, error_model="numpy")
def centres(y_n, w_n, centre_2, out_n1):
    """The mean of the numbers before each row; centre_2 takes weight and mean."""
    for i in range(len(y_n)):
        out_n1[i, 0] = centre_2[1]
        if w_n[i] > 0.0:
            centre_2[0] += w_n[i]
            centre_2[1] += (y_n[i] - centre_2[1]) * w_n[i] / centre_2[0]
