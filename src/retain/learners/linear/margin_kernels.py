# pyright: reportMissingParameterType=false
"""Row loops of the updates that know how sure each weight is, or how wide the margin: arguments as in `kernels`.

What the loops share is read from `kernels`: numba's cache on disk does not see that a function changed there, so who
changes `answer`, `odds`, `target` or `slope` must touch this file.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numba import njit

from retain.learners.linear.kernels import answer, is_labelled, odds, slope, target_of
from retain.learners.linear.losses import HINGE, LOGISTIC

__all__ = ["alma", "confident"]


# --- a variance, or a curvature, for every weight ---------------------------------------------------------------------
# Output slots: 0 weight w, 1 what was added to 1 / variance, or to the curvature; cells (D, 2 R), dense rows too.
# total: 0 weight of rows. setting: 3 kind of step (0 AROW, 1 SCW-I, 2 SCW-II, 3 Newton), 4 r, C or rate, 5 the quantile
# or epsilon.


@njit(cache=True, nogil=True, error_model="numpy")
def _soft(m, spread, phi, c, squared):
    """How far SCW goes at the margin m = y w'x of variance `spread`: a of Wang 2012, propositions 1 and 2."""
    if squared:
        n = spread + 0.5 / max(c, 1e-100)  # its square must be a float
        root = phi * math.sqrt(phi * phi * m * m * spread * spread + 4.0 * n * spread * (n + spread * phi * phi))
        top = -(2.0 * m * n + phi * phi * m * spread) + root
        return max(0.0, top / (2.0 * (n * n + n * spread * phi * phi)))
    psi, zeta = 1.0 + phi * phi / 2.0, 1.0 + phi * phi
    root = math.sqrt(m * m * phi * phi * phi * phi / 4.0 + spread * phi * phi * zeta)
    return min(c, max(0.0, (root - m * psi) / (spread * zeta)))


@cache
def confident(loss, single):
    """AROW, SCW and diagonal Newton steps; see `updates` for the maths."""

    @njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
    def confident(values, indptr, indices, d, y, weight, cells, bias, total, span, out, k, a, setting):
        n, outputs = len(weight), 1 if single else span.shape[0]
        two = k == 2 and (loss == LOGISTIC or loss == HINGE)
        constant, kind, c, phi = setting[0], setting[3], setting[4], setting[5]
        margin, tail = np.empty(outputs), np.empty(outputs)
        for i in range(n):
            start, stop = (i * d, (i + 1) * d) if d >= 0 else (indptr[i], indptr[i + 1])
            for r in range(outputs):
                margin[r] = bias[2 * r]
            for e in range(start, stop):
                x, j = np.float64(values[e]), (np.uint64(e - start) if d >= 0 else np.uint64(indices[e]))
                for r in range(outputs):
                    margin[r] += cells[j, 2 * r] * x
            if two:
                tail[0], out[i, 0], out[i, 1] = odds(loss, margin[0])
            else:
                answer(loss, k, margin, tail, out, i)
            if not is_labelled(loss, y, weight, i):
                continue
            v = weight[i]
            total[0] += v
            for r in range(outputs):
                s, target = 2 * r, target_of(loss, y, i, r, outputs)
                if kind == 3.0:
                    g = slope(loss, a, margin[r], target, tail[r])
                    if g == 0.0:
                        continue
                    if constant > 0.0:
                        bias[s + 1] += v * g * g
                        bias[s] -= c * v * g / (phi + bias[s + 1])
                    for e in range(start, stop):
                        x, j = np.float64(values[e]), (np.uint64(e - start) if d >= 0 else np.uint64(indices[e]))
                        cells[j, s + 1] += v * g * g * x * x
                        cells[j, s] -= c * v * g * x / (phi + cells[j, s + 1])
                    continue
                sign = 2.0 * target - 1.0
                m = sign * margin[r]
                spread = constant / (1.0 + bias[s + 1])
                for e in range(start, stop):
                    x, j = np.float64(values[e]), (np.uint64(e - start) if d >= 0 else np.uint64(indices[e]))
                    spread += x * x / (1.0 + cells[j, s + 1])
                if spread == 0.0:
                    continue
                if kind == 0.0:
                    step, surer = max(1.0 - m, 0.0) / (spread + c / v), v / c
                else:
                    step = _soft(m, spread, phi, v * c, kind == 2.0)
                    far = step * spread * phi
                    surer = step * phi / (0.5 * (math.sqrt(far * far + 4.0 * spread) - far))
                if step == 0.0:
                    continue
                if constant > 0.0:
                    bias[s] += sign * step / (1.0 + bias[s + 1])
                    bias[s + 1] += surer
                for e in range(start, stop):
                    x, j = np.float64(values[e]), (np.uint64(e - start) if d >= 0 else np.uint64(indices[e]))
                    cells[j, s] += sign * step * x / (1.0 + cells[j, s + 1])
                for e in range(start, stop):  # apart: entries of one row with the same index are learnt side by side
                    x, j = np.float64(values[e]), (np.uint64(e - start) if d >= 0 else np.uint64(indices[e]))
                    cells[j, s + 1] += surer * x * x

    return confident


# --- approximate large margin -----------------------------------------------------------------------------------------
# Output slot: 0 the dual t of a weight, times a scale; cells (D, R), dense rows too. span, of which classes use nothing
# else: 2 corrections so far, 3 sum of |slot|^p, 4 the scale less 1. total: 0 weight of rows. setting: 3 p, 4 alpha.


_FARTHEST = 1e3  # in norms: a step so far leaves nothing of the weights before it
_SCALE = 1e4  # beyond it, slots are told in a new one, so that their powers stay floats


@njit(cache=True, nogil=True, error_model="numpy")
def _power(u, p):
    """sign(u) |u|^p."""
    if p == 1.0:
        return u
    return math.copysign(u * u if p == 2.0 else abs(u) ** p, u)


@njit(cache=True, nogil=True, error_model="numpy")
def _norm(x, constant, p):
    """|x|_p, of a row with the constant feature."""
    top = constant
    for e in range(len(x)):
        top = max(top, np.float64(abs(x[e])))
    if top == 0.0:
        return 0.0
    total = constant * (1.0 / top) ** p
    for e in range(len(x)):
        total += _power(abs(x[e]) / top, p)
    return top * total ** (1.0 / p)


@cache
def alma(loss, single):
    """ALMA_p. Dividing all duals by their norm is growing the scale that they are told in: a row touches its own."""

    @njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
    def alma(values, indptr, indices, d, y, weight, cells, bias, total, span, out, k, a, setting):
        n, outputs = len(weight), 1 if single else span.shape[0]
        two = k == 2 and (loss == LOGISTIC or loss == HINGE)
        constant, p, alpha = setting[0], setting[3], setting[4]
        margin, tail = np.empty(outputs), np.empty(outputs)
        for i in range(n):
            start, stop = (i * d, (i + 1) * d) if d >= 0 else (indptr[i], indptr[i + 1])
            for r in range(outputs):
                size = span[r, 3] ** ((p - 2.0) / p) * (1.0 + span[r, 4])
                m = constant * _power(bias[r], p - 1.0)
                for e in range(start, stop):
                    x, j = np.float64(values[e]), (np.uint64(e - start) if d >= 0 else np.uint64(indices[e]))
                    m += _power(cells[j, r], p - 1.0) * x
                margin[r] = m / size if size > 0.0 else 0.0
            if two:
                tail[0], out[i, 0], out[i, 1] = odds(loss, margin[0])
            else:
                answer(loss, k, margin, tail, out, i)
            if not is_labelled(loss, y, weight, i):
                continue
            v = weight[i]
            total[0] += v
            norm = _norm(values[start:stop], constant, p)
            if norm == 0.0:
                continue
            for r in range(outputs):
                sign = 2.0 * target_of(loss, y, i, r, outputs) - 1.0
                counted = 1.0 + span[r, 2]
                if sign * margin[r] / norm > (1.0 - alpha) / alpha * math.sqrt((p - 1.0) / counted):
                    continue
                step = sign * min(v * math.sqrt(2.0 / ((p - 1.0) * counted)), _FARTHEST) * (1.0 + span[r, 4]) / norm
                span[r, 2] += v
                if constant > 0.0:
                    before = _power(abs(bias[r]), p)
                    bias[r] += step
                    span[r, 3] += _power(abs(bias[r]), p) - before
                for e in range(start, stop):
                    x, j = np.float64(values[e]), (np.uint64(e - start) if d >= 0 else np.uint64(indices[e]))
                    before = _power(abs(cells[j, r]), p)
                    cells[j, r] += step * x
                    span[r, 3] += _power(abs(cells[j, r]), p) - before
                span[r, 3] = max(span[r, 3], 0.0)
                span[r, 4] = max(span[r, 4], span[r, 3] ** (1.0 / p) - 1.0)
                if span[r, 4] > _SCALE:
                    scale = 1.0 + span[r, 4]
                    bias[r] /= scale
                    span[r, 3], span[r, 4] = _power(abs(bias[r]), p), 0.0
                    for j in range(len(cells)):
                        cells[j, r] /= scale
                        span[r, 3] += _power(abs(cells[j, r]), p)

    return alma
