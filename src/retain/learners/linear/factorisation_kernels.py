# pyright: reportMissingParameterType=false
"""The row loop of `FactorisationMachine`, compiled.

Shapes: n rows, D features there is room for, R outputs, F factors, K columns of the answer.

    cells    (D, R (2 + 2 F))      of each feature, output after output: weight, sum of its squared slopes, then its
                                   F factors, and the sums of theirs; all 0 where a feature never came
    bias     (R, 2)                the weight of the constant feature, and the sum of its squared slopes
    sign     (R,)                  -1 where an output answers with the negative of what its weights say
    span     (R, 5)                of targets that are numbers: lowest, highest, weight, mean, sum of squares around it

What is shared with `Linear` is read from `kernels`: who changes it there must touch this file.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from retain.learners.draws import normal
from retain.learners.linear.kernels import answer, odds, slope
from retain.learners.linear.losses import LOGISTIC, SQUARED

__all__ = ["factorised"]

_APART = np.uint64(0xD1342543DE82EF95)  # states of the features' generators lie so far apart


@njit(cache=True, nogil=True, error_model="numpy")
def _sum(values, indices, start, stop, cells, at, factors, sums_F):
    """w'x + sum over pairs <v_i, v_j> x_i x_j of one output, whose slots begin at `at`; sums_F = sum of v x."""
    sums_F[:] = 0.0
    line, own = 0.0, 0.0
    for e in range(start, stop):
        x = np.float64(values[e])
        if x == 0.0:
            continue
        c = cells[np.uint64(indices[e])]
        line += c[at] * x
        for f in range(factors):
            u = c[at + 2 + f] * x
            sums_F[f] += u
            own += u * u
    both = 0.0
    for f in range(factors):
        both += sums_F[f] * sums_F[f]
    return line + 0.5 * (both - own)


@njit(cache=True, nogil=True, error_model="numpy")
def _draw(values, indices, start, stop, cells, at, factors, sums_F, seed, spread, state_1):
    """Small random factors for features that come for the first time: by their number alone, whenever that is."""
    for e in range(start, stop):
        x, c = np.float64(values[e]), cells[np.uint64(indices[e])]
        if x != 0.0 and c[at + 2] == 0.0:
            state_1[0] = seed + np.uint64(indices[e]) * _APART
            for f in range(factors):
                c[at + 2 + f] = spread * normal(state_1)
                sums_F[f] += c[at + 2 + f] * x


@njit(cache=True, nogil=True, error_model="numpy")
def _see(span, r, y, v):
    """Take a target into the range, mean and squares of output r (West 1979)."""
    span[r, 0], span[r, 1] = min(span[r, 0], y), max(span[r, 1], y)
    span[r, 2] += v
    step = y - span[r, 3]
    span[r, 3] += step * (v / span[r, 2])
    span[r, 4] += v * step * (y - span[r, 3])


@njit(cache=True, nogil=True, error_model="numpy")
def factorised(values, indptr, indices, y, weight, cells, bias, sign, span, seed, out, k, loss, setting):
    """Adaptive gradient steps (Duchi et al. 2011) on weights and factors.

    setting: 0 factors, 1 rate, 2 l2, 3 spread.
    """
    n, outputs = len(weight), len(sign)
    factors, rate, l2, spread = int(setting[0]), setting[1], setting[2], setting[3]
    own = 2 + 2 * factors
    margin, tail, state_1 = np.empty(outputs), np.empty(outputs), np.empty(1, np.uint64)
    sums = np.empty((outputs, factors))
    for i in range(n):
        start, stop = indptr[i], indptr[i + 1]
        for r in range(outputs):
            m = bias[r, 0] + _sum(values, indices, start, stop, cells, r * own, factors, sums[r])
            margin[r] = sign[r] * m
        if loss == SQUARED:
            for r in range(outputs):
                unit = math.sqrt(span[r, 4] / span[r, 2]) if span[r, 2] > 0.0 else 0.0
                said = span[r, 3] + unit * margin[r]
                out[i, r] = min(max(said, span[r, 0]), span[r, 1]) if span[r, 2] > 0.0 else 0.0
        elif k == 2:
            tail[0], out[i, 0], out[i, 1] = odds(LOGISTIC, margin[0])
        else:
            answer(LOGISTIC, k, margin, tail, out, i)
        v = weight[i]
        if v <= 0.0:
            continue
        for r in range(outputs):
            if loss == SQUARED:
                _see(span, r, y[i, r], v)
                unit = math.sqrt(span[r, 4] / span[r, 2])
                held = min(max(span[r, 3] + unit * margin[r], span[r, 0]), span[r, 1])
                g = (held - y[i, r]) / unit if unit > 0.0 else 0.0
            else:
                target = 1.0 if y[i, 0] == (1.0 if outputs == 1 else r) else 0.0
                g = slope(LOGISTIC, 0.0, margin[r], target, math.exp(-abs(margin[r])))
            g *= sign[r] * v
            if g == 0.0:
                continue
            at, total = r * own, sums[r]
            _draw(values, indices, start, stop, cells, at, factors, total, seed, spread, state_1)
            bias[r, 1] += g * g
            bias[r, 0] -= rate * g / math.sqrt(1.0 + bias[r, 1])
            for e in range(start, stop):
                x = np.float64(values[e])
                if x == 0.0:
                    continue
                c = cells[np.uint64(indices[e])]
                s = g * x + l2 * v * c[at]
                c[at + 1] += s * s
                c[at] -= rate * s / math.sqrt(1.0 + c[at + 1])
                for f in range(factors):
                    p, q = at + 2 + f, at + 2 + factors + f
                    s = g * x * (total[f] - c[p] * x) + l2 * v * c[p]
                    c[q] += s * s
                    c[p] -= rate * s / math.sqrt(1.0 + c[q])
