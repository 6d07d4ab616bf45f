# pyright: reportMissingParameterType=false
# numba infers the types of arguments, for each that a kernel is called with.
"""Row loops of the linear learners: one compiled function per update, and the slopes, steps and links they share.

Every kernel has the same arguments, and answers each row before it learns from it:

    values   (nnz,) float32        the rows: dense ones one after the other, or the entries of a CSR
    indptr   (n + 1,) int64        where rows begin and end; not read for dense rows
    indices  (nnz,) uint32         the features of entries; not read for dense rows; unsigned, since numba looks at
                                   the sign of every other index
    d        int                   number of features of dense rows; -1 for sparse ones
    y        (n, q) float64        class codes (q = 1), or targets; negative and NaN where the label is missing
    weight   (n,) float64          sample weights; a row of weight 0 is not learnt
    cells    (C, D) or (D, C)      what is remembered of each feature: C numbers ("slots")
    bias     (C,)                  the same for the constant feature 1
    total    (4,)                  running sums over learnt rows, see each kernel
    span     (R, 5)                per output: lowest, highest, weight, centre and deviations of its targets
    out      (n, K)                predictions; zero beyond the k columns that are known
    k        int                   number of known columns: classes or outputs
    a        float                 the setting of the loss
    setting  (8,)                  bias or not, l1, l2, then those of the update

R = outputs, S = slots of an output, H = slots shared by the outputs; slot s of output r lies at H + r S + s. Sparse
rows touch features all over memory, so a feature's slots lie side by side (D, C); dense rows touch all features in
order, so that there each slot is a row (C, D) and loops over it become vector instructions.

A kernel is made for one loss (`losses.code`), and for one output or any number: both are then constants to the
compiler, which halves the time of a row. `answer` and friends take them as arguments all the same and are inlined.

`predict` is `learn` without labels: the two cannot differ. Sums over features may be taken in any one order
(`reassoc`), which is fixed at compilation, hence the same for every call. All of it lives in this one file, because
numba's cache on disk does not notice when a function of *another* file changed.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numba import njit

from retain.learners.linear.losses import HINGE, HUBER, LOGISTIC, MULTINOMIAL, POISSON, QUANTILE, SQUARED
from retain.learners.linear.prefetch import prefetch

__all__ = ["adaptive_dense", "adaptive_sparse", "advance", "coin_dense", "coin_sparse", "ftrl", "plain", "slope"]

_STEEPEST = 1e60  # slopes are cut here, so that plain gradient steps that diverge still leave finite weights


# --- one output, one row ----------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True, error_model="numpy")
def sigmoid(m, tail):
    """1 / (1 + exp(-m)), given tail = exp(-|m|): precise at both ends, and the exponential is shared."""
    return (1.0 if m >= 0.0 else tail) / (1.0 + tail)


@njit(cache=True, nogil=True, error_model="numpy")
def slope(loss, a, m, y, tail):
    """dL/dm. For classes y is 0 or 1; multinomial margins come as log-odds against the rest, so they are logistic."""
    if loss == LOGISTIC or loss == MULTINOMIAL:
        return sigmoid(m, tail) if y == 0.0 else -sigmoid(-m, tail)
    if loss == SQUARED:
        s = m - y
    elif loss == HINGE:
        s = 1.0 - 2.0 * y if (2.0 * y - 1.0) * m < 1.0 else 0.0
    elif loss == QUANTILE:
        s = 0.0 if y == m else (-a if y > m else 1.0 - a)
    elif loss == HUBER:
        s = min(max(m - y, -a), a)
    else:
        s = math.exp(m) - y
    return min(max(s, -_STEEPEST), _STEEPEST)


@njit(cache=True, nogil=True, error_model="numpy")
def _logistic_advance(z, tail, c):
    """The root x >= 0 of x + exp(z) (exp(x) - 1) = c: how far a margin moves in time c, z > 0 on the right side."""
    q = sigmoid(z, tail)
    u = c * sigmoid(-z, tail)
    if u < 0.25:  # series of the inverse function
        b2, b3, b4, b5 = q / 2.0, q / 6.0, q / 24.0, q / 120.0
        c3 = 2.0 * b2 * b2 - b3
        c4 = 5.0 * b2 * b2 * b2 - 5.0 * b2 * b3 + b4
        c5 = 14.0 * b2 * b2 * b2 * b2 - 21.0 * b2 * b2 * b3 + 6.0 * b2 * b4 + 3.0 * b3 * b3 - b5
        x = u * (1.0 - u * (b2 - u * (c3 - u * (c4 - u * c5))))
        if u < 0.01:
            return x  # to a relative 1e-10; beyond, one of Newton's steps makes it so
        t = 1.0 + x / 6.0 * (1.0 + x / 7.0 * (1.0 + x / 8.0 * (1.0 + x / 9.0)))
        e = q * x * (1.0 + x / 2.0 * (1.0 + x / 3.0 * (1.0 + x / 4.0 * (1.0 + x / 5.0 * t))))  # q (exp(x) - 1)
        return x - ((1.0 - q) * x + e - u) / (1.0 + e)
    # The function is convex, and both of these are right of its root: Newton's steps come down to it. Logarithms,
    # since far on the wrong side q vanishes where exp(x) overflows.
    log_q = min(z, 0.0) - math.log1p(tail)
    x = min(u, math.log1p(u) - log_q)
    for _ in range(60):
        e = math.exp(x + log_q) - q  # q (exp(x) - 1)
        move = ((1.0 - q) * x + e - u) / (1.0 + e)
        x -= move
        if move <= 1e-14 * x:
            break
    return x


@njit(cache=True, nogil=True, error_model="numpy")
def advance(loss, a, m, y, tail, h, c):
    """u such that m + h u is where the margin ends that follows dm/dt = -h s(m, y) for the time c (importance, rate).

    Karampatziakis & Langford 2011: a row of weight 2 is two rows of weight 1, however large the rate, and no step
    goes beyond the label. u is the multiple of the (scaled) row that is added to the weights.
    """
    if not h * c > 1e-12:  # so short a way that it is straight
        return -c * slope(loss, a, m, y, tail)
    if loss == LOGISTIC or loss == MULTINOMIAL:
        sign = 2.0 * y - 1.0
        return sign * _logistic_advance(sign * m, tail, c * h) / h
    if loss == SQUARED:
        return -(y - m) * math.expm1(-c * h) / h
    if loss == HINGE:
        sign = 2.0 * y - 1.0
        return sign * max(min(c, (1.0 - sign * m) / h), 0.0)
    if loss == QUANTILE:
        return min(a * c, (y - m) / h) if y > m else max((a - 1.0) * c, (y - m) / h)
    if loss == HUBER:
        gap = abs(y - m)
        linear = max(gap - a, 0.0)
        if linear >= c * h * a:
            way = c * h * a
        else:  # the time left is spent in the squared part
            left = c * h - linear / a
            way = linear - (gap - linear) * math.expm1(-left)
        return math.copysign(way / h, y - m)
    # Poisson: exp(-m) =: v obeys dv/dt = h (1 - v y), which is linear; here v after / v before
    if y * h * c < 1e-9:
        return -math.log1p(h * c * (math.exp(m) - y)) / h
    e = math.expm1(-y * h * c)
    ratio = math.exp(m) / y
    change = e * (1.0 - ratio)
    return -(math.log1p(change) if abs(change) < 0.5 else math.log(1.0 + e - e * ratio)) / h


@njit(cache=True, nogil=True, error_model="numpy")
def target_of(loss, y, i, r, outputs):
    """The target of output r in row i: a number, or 0 / 1 where y holds class codes."""
    if loss == LOGISTIC or loss == HINGE:
        return 1.0 if y[i, 0] == (1.0 if outputs == 1 else r) else 0.0
    if loss == MULTINOMIAL:
        return 1.0 if y[i, 0] == r else 0.0
    return y[i, r]


@njit(cache=True, nogil=True, error_model="numpy")
def is_labelled(loss, y, weight, i):
    """Whether row i is learnt."""
    if loss == LOGISTIC or loss == MULTINOMIAL or loss == HINGE:
        return y[i, 0] >= 0.0 and weight[i] > 0.0  # NaN is not
    for q in range(y.shape[1]):
        if math.isnan(y[i, q]):
            return False
    return weight[i] > 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _within(loss, m, low, high):
    """The margin held within the range of the targets learnt so far; nothing is known before the first."""
    if loss == SQUARED or loss == QUANTILE or loss == HUBER:
        return min(max(m, low), high) if low <= high else m
    if loss == POISSON and high > 0.0:
        return min(m, math.log(high))
    return m


@njit(cache=True, nogil=True, error_model="numpy")
def odds(loss, m):
    """`answer` for two classes, the usual case: exp(-|m|) and the two probabilities.

    Kernels ask for it in a branch of their own: where they hand their arrays to `answer` a row takes half as long
    again (measured), since what follows must then expect them to have changed.
    """
    tail = math.exp(-(2.0 if loss == HINGE else 1.0) * abs(m))
    return tail, sigmoid(-m, tail), sigmoid(m, tail)


@njit(cache=True, nogil=True, error_model="numpy")
def answer(loss, k, margin, tail, out, i):
    """Turn the margins (R,) of row i into its prediction out[i, :k]; for two classes see `odds`.

    Leaves in `margin` what slopes are taken at (for softmax the log-odds of each class against the rest), and in `tail`
    exp(-|margin|), where there is use for it.
    """
    if loss == LOGISTIC or loss == HINGE:
        steep = 2.0 if loss == HINGE else 1.0
        for r in range(len(margin)):
            tail[r] = math.exp(-steep * abs(margin[r]))
        if k == 1:
            out[i, 0] = 1.0
        elif k > 2:
            top = margin[:k].max()
            total = 0.0
            for r in range(k):
                # Where every class is denied, sigmoids are exponentials: taken from the top they cannot all vanish.
                out[i, r] = sigmoid(margin[r], tail[r]) if top > -300.0 else math.exp(steep * (margin[r] - top))
                total += out[i, r]
            for r in range(k):
                out[i, r] /= total
    elif loss == MULTINOMIAL:
        top = margin[0]
        for r in range(1, k):
            top = max(top, margin[r])
        total = 0.0
        for r in range(k):
            out[i, r] = math.exp(margin[r] - top)
            total += out[i, r]
        for r in range(k):
            rest = 0.0
            for j in range(k):  # not total - out[r]: where one class has it all, that would be 0
                if j != r:
                    rest += out[i, j]
            margin[r] -= top + math.log(rest)
            tail[r] = math.exp(-abs(margin[r]))
        for r in range(k):
            out[i, r] /= total
    elif loss == POISSON:
        for r in range(k):
            margin[r] = min(margin[r], 80.0)
            out[i, r] = math.exp(margin[r])
    else:
        for r in range(k):
            out[i, r] = margin[r]


@njit(cache=True, nogil=True, error_model="numpy")
def _see_target(loss, span, r, y, weight):
    """Take a target into the running range, centre and deviations of output r; see `_pace`."""
    span[r, 3] = span[r, 3] if span[r, 2] > 0.0 else y
    span[r, 0], span[r, 1] = min(span[r, 0], y), max(span[r, 1], y)
    span[r, 2] += weight
    step = y - span[r, 3]
    if loss == HUBER or loss == QUANTILE:  # roots, and no far step: outliers that sway no slope sway no rate either
        span[r, 4] += weight * math.sqrt(abs(step))
        unit = (span[r, 4] / span[r, 2]) ** 2
        span[r, 3] += min(max(step, -unit), unit) * (weight / span[r, 2])
    else:  # mean and squares (West 1979)
        span[r, 3] += step * (weight / span[r, 2])
        span[r, 4] += weight * step * (y - span[r, 3])


@njit(cache=True, nogil=True, error_model="numpy")
def _shrink(w, rate, l1, l2):
    """The proximal step of l1 |w| + l2 w^2 / 2 at the given rate."""
    return math.copysign(max(abs(w) - rate * l1, 0.0) / (1.0 + rate * l2), w)


# --- adaptive ---------------------------------------------------------------------------------------------------------
# Shared slots: 0 scale s (largest |x| learnt), 1 its inverse (0 for s = 0).
# Output slots: 0 weight w, 1 sum G of g^2 x^2.
# total: 0 weight of rows, 1 sum of (x / s)^2. setting: 3 learning rate, 4 unit of targets (0 = learnt).


@njit(cache=True, nogil=True, error_model="numpy")
def _pace(loss, setting, span, r):
    """The learning rate in units of the target: the given one, or how far targets lie from their centre."""
    if loss == LOGISTIC or loss == MULTINOMIAL or loss == HINGE or loss == POISSON:
        return setting[3]
    spread = span[r, 4] / span[r, 2]
    unit = math.sqrt(spread) if loss == SQUARED else spread * spread
    return setting[3] * (setting[4] if setting[4] > 0.0 else unit)


@njit(cache=True, nogil=True, error_model="numpy")
def _begins(loss, setting, span, r, bias, target, weight):
    """Take in a target; True where it was the first of numbers, with which the bias begins."""
    if loss == LOGISTIC or loss == MULTINOMIAL or loss == HINGE:
        return False
    first = span[r, 2] == 0.0 and loss != POISSON and setting[4] == 0.0 and setting[0] > 0.0
    _see_target(loss, span, r, target, weight)
    if first:
        bias[2 + 2 * r] = target
    return first


@cache
def adaptive_dense(loss, single):
    """Normalised adaptive importance-invariant gradient steps on dense rows; see `updates.Adaptive` for the maths."""

    @njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
    def adaptive_dense(values, indptr, indices, d, y, weight, cells, bias, total, span, out, k, a, setting):
        n, outputs = len(weight), 1 if single else span.shape[0]
        two = k == 2 and (loss == LOGISTIC or loss == HINGE)
        constant, l1, l2 = setting[0], setting[1], setting[2]
        margin, tail = np.empty(outputs), np.empty(outputs)
        move = np.empty(d)
        for i in range(n):
            x = values[i * d : (i + 1) * d]
            grown = False
            for j in range(d):
                grown |= abs(x[j]) > cells[0, j]
            for r in range(outputs):
                m = 0.0
                if grown:  # a new largest value speaks with the voice of the former one
                    for j in range(d):
                        m += cells[2 + 2 * r, j] * min(max(x[j], -cells[0, j]), cells[0, j])
                else:
                    for j in range(d):
                        m += cells[2 + 2 * r, j] * x[j]
                margin[r] = _within(loss, bias[2 + 2 * r] + m, span[r, 0], span[r, 1])
            if two:
                tail[0], out[i, 0], out[i, 1] = odds(loss, margin[0])
            else:
                answer(loss, k, margin, tail, out, i)
            if not is_labelled(loss, y, weight, i):
                continue
            if grown:
                for j in range(d):
                    size = np.float64(abs(x[j]))
                    if size > cells[0, j]:
                        for r in range(outputs):
                            cells[2 + 2 * r, j] *= cells[0, j] / size
                        cells[0, j] = size
                        cells[1, j] = 1.0 / size
            norm = constant
            for j in range(d):
                u = x[j] * cells[1, j]
                norm += u * u
            total[0] += weight[i]
            total[1] += weight[i] * norm
            share = math.sqrt(total[0] / total[1]) if total[1] > 0.0 else 1.0
            for r in range(outputs):
                target = target_of(loss, y, i, r, outputs)
                if _begins(loss, setting, span, r, bias, target, weight[i]):
                    continue
                g = slope(loss, a, margin[r], target, tail[r])
                if g == 0.0 and l1 == 0.0 and l2 == 0.0:
                    continue
                g2 = weight[i] * g * g
                h = 0.0
                for j in range(d):
                    x2 = np.float64(x[j]) * x[j]
                    G = cells[3 + 2 * r, j] + g2 * x2
                    cells[3 + 2 * r, j] = G
                    rate = cells[1, j] / math.sqrt(G) if G > 0.0 else 0.0
                    move[j] = rate
                    h += rate * x2
                rate = 0.0
                if constant > 0.0:
                    bias[3 + 2 * r] += g2
                    rate = 1.0 / math.sqrt(bias[3 + 2 * r]) if bias[3 + 2 * r] > 0.0 else 0.0
                    h += rate
                c = _pace(loss, setting, span, r) * weight[i]
                u = advance(loss, a, margin[r], target, tail[r], h * share, c) * share
                bias[2 + 2 * r] += u * rate
                for j in range(d):
                    cells[2 + 2 * r, j] += u * move[j] * x[j]
                if l1 > 0.0 or l2 > 0.0:
                    for j in range(d):
                        if x[j] != 0.0:
                            cells[2 + 2 * r, j] = _shrink(cells[2 + 2 * r, j], c * share * move[j], l1, l2)

    return adaptive_dense


@cache
def adaptive_sparse(loss, single):
    """The update of `adaptive_dense` on sparse rows: cells (D, C).

    What a row needs of its cells is gathered into arrays of its own, on which the arithmetic is vector instructions;
    entries of one row with the same index are learnt side by side.
    """

    @njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
    def adaptive_sparse(values, indptr, indices, d, y, weight, cells, bias, total, span, out, k, a, setting):
        n, outputs = len(weight), 1 if single else span.shape[0]
        two = k == 2 and (loss == LOGISTIC or loss == HINGE)
        constant, l1, l2 = setting[0], setting[1], setting[2]
        margin, tail = np.empty(outputs), np.empty(outputs)
        room = longest(indptr)
        x, inverse, move, G = np.empty(room), np.empty(room), np.empty(room), np.empty((outputs, room))
        for i in range(n):
            start, stop = indptr[i], indptr[i + 1]
            at, row = indices[start:stop], values[start:stop]
            size = len(row)
            if i + 1 < n:
                for j in indices[stop : indptr[i + 2]]:
                    prefetch(cells, j)  # pyright: ignore[reportCallIssue] - numba adds the first argument
            grown = False
            for r in range(outputs):
                m = 0.0
                for e in range(size):
                    j, v = at[e], np.float64(row[e])
                    s = cells[j, 0]
                    if r == 0:
                        x[e], inverse[e] = v, cells[j, 1]
                        grown |= abs(v) > s
                    m += cells[j, 2 + 2 * r] * min(max(v, -s), s)
                    G[r, e] = cells[j, 3 + 2 * r]
                margin[r] = _within(loss, bias[2 + 2 * r] + m, span[r, 0], span[r, 1])
            if two:
                tail[0], out[i, 0], out[i, 1] = odds(loss, margin[0])
            else:
                answer(loss, k, margin, tail, out, i)
            if not is_labelled(loss, y, weight, i):
                continue
            if grown:
                for e in range(size):
                    j, v = at[e], abs(x[e])
                    if v > cells[j, 0]:
                        for r in range(outputs):
                            cells[j, 2 + 2 * r] *= cells[j, 0] / v
                        cells[j, 0] = v
                        cells[j, 1] = 1.0 / v
                for e in range(size):
                    inverse[e] = cells[at[e], 1]
            norm = constant
            for e in range(size):
                norm += (x[e] * inverse[e]) * (x[e] * inverse[e])
            total[0] += weight[i]
            total[1] += weight[i] * norm
            share = math.sqrt(total[0] / total[1]) if total[1] > 0.0 else 1.0
            for r in range(outputs):
                target = target_of(loss, y, i, r, outputs)
                if _begins(loss, setting, span, r, bias, target, weight[i]):
                    continue
                g = slope(loss, a, margin[r], target, tail[r])
                if g == 0.0 and l1 == 0.0 and l2 == 0.0:
                    continue
                g2 = weight[i] * g * g
                h = 0.0
                for e in range(size):
                    now = G[r, e] + g2 * (x[e] * x[e])
                    rate = inverse[e] / math.sqrt(now) if now > 0.0 else 0.0
                    move[e] = rate
                    h += rate * (x[e] * x[e])
                rate = 0.0
                if constant > 0.0:
                    bias[3 + 2 * r] += g2
                    rate = 1.0 / math.sqrt(bias[3 + 2 * r]) if bias[3 + 2 * r] > 0.0 else 0.0
                    h += rate
                c = _pace(loss, setting, span, r) * weight[i]
                u = advance(loss, a, margin[r], target, tail[r], h * share, c) * share
                bias[2 + 2 * r] += u * rate
                for e in range(size):
                    j = at[e]
                    cells[j, 2 + 2 * r] += u * move[e] * x[e]
                    cells[j, 3 + 2 * r] += g2 * (x[e] * x[e])
                if l1 > 0.0 or l2 > 0.0:
                    for e in range(size):
                        j = at[e]
                        cells[j, 2 + 2 * r] = _shrink(cells[j, 2 + 2 * r], c * share * move[e], l1, l2)

    return adaptive_sparse


@njit(cache=True, nogil=True, error_model="numpy")
def longest(indptr):
    """Number of entries of the longest sparse row."""
    top = 0
    for i in range(len(indptr) - 1):
        top = max(top, indptr[i + 1] - indptr[i])
    return top


# --- plain gradient and passive-aggressive ----------------------------------------------------------------------------
# Output slot: 0 weight w; cells (D, R), dense rows too. total: 0 weight of rows.
# setting: 3 kind of step (0 gradient, 1 PA-I, 2 PA-II, 3 along the flow), 4 rate or C, 5 power of t, 6 t0.


@cache
def plain(loss, single):
    """w -= rate g x (gradient descent), or the shortest w that satisfies the margin (passive-aggressive)."""

    @njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
    def plain(values, indptr, indices, d, y, weight, cells, bias, total, span, out, k, a, setting):
        n, outputs = len(weight), 1 if single else span.shape[0]
        two = k == 2 and (loss == LOGISTIC or loss == HINGE)
        constant, l1, l2, kind = setting[0], setting[1], setting[2], setting[3]
        margin, tail = np.empty(outputs), np.empty(outputs)
        for i in range(n):
            start, stop = (i * d, (i + 1) * d) if d >= 0 else (indptr[i], indptr[i + 1])
            x, at, size = values[start:stop], indices[start:stop], stop - start
            for r in range(outputs):
                m = 0.0
                if d >= 0:
                    for e in range(size):
                        m += cells[e, r] * x[e]
                else:
                    for e in range(size):
                        m += cells[at[e], r] * x[e]
                margin[r] = bias[r] + m
            if two:
                tail[0], out[i, 0], out[i, 1] = odds(loss, margin[0])
            else:
                answer(loss, k, margin, tail, out, i)
            if not is_labelled(loss, y, weight, i):
                continue
            norm = constant
            if kind > 0.0:
                for e in range(size):
                    norm += np.float64(x[e]) * x[e]
            rate = setting[4] / (setting[6] + total[0]) ** setting[5] if setting[5] != 0.0 else setting[4]
            total[0] += weight[i]
            for r in range(outputs):
                target = target_of(loss, y, i, r, outputs)
                if kind == 0.0:
                    u = -rate * weight[i] * slope(loss, a, margin[r], target, tail[r])
                elif norm == 0.0:
                    u = 0.0
                elif kind == 3.0:
                    u = advance(loss, a, margin[r], target, tail[r], norm, rate * weight[i])
                else:
                    u = passive(loss, a, margin[r], target, tail[r], norm, setting[4] * weight[i], kind)
                if constant > 0.0:
                    bias[r] += u
                if d >= 0:
                    for e in range(size):
                        cells[e, r] += u * x[e]
                else:
                    for e in range(size):
                        cells[at[e], r] += u * x[e]
                if l1 > 0.0 or l2 > 0.0:
                    for e in range(size):
                        j = np.uint64(e) if d >= 0 else np.uint64(at[e])
                        if x[e] != 0.0:
                            cells[j, r] = _shrink(cells[j, r], rate * weight[i], l1, l2)

    return plain


@njit(cache=True, nogil=True, error_model="numpy")
def passive(loss, a, m, y, tail, norm, c, kind):
    """The step of Crammer 2006 on a loss that is piecewise linear: hinge or quantile.

    PA-I minimises |w' - w|^2 / 2 + c L(w'), which is where the flow of `advance` ends too; PA-II charges c L^2.
    """
    if kind == 1.0:
        return advance(loss, a, m, y, tail, norm, c)
    if loss == HINGE:
        sign = 2.0 * y - 1.0
        return sign * max(1.0 - sign * m, 0.0) / (norm + 1.0 / (2.0 * c))
    pull = a if y > m else 1.0 - a
    return (y - m) / (norm + 1.0 / (2.0 * c * pull * pull))


# --- follow the regularised leader ------------------------------------------------------------------------------------
# Output slots: 0 weight w, 1 z, 2 n; cells (D, C), dense rows too. setting: 3 alpha, 4 beta.


@njit(cache=True, nogil=True, error_model="numpy")
def _lead(w, z, n, g, alpha, beta, l1, l2):
    """w, z and n of one weight after the gradient g (McMahan 2013, algorithm 1)."""
    root = math.sqrt(n)
    n += g * g
    after = math.sqrt(n)
    z += g - (after - root) / alpha * w
    if abs(z) <= l1:
        return 0.0, z, n
    return (math.copysign(l1, z) - z) / ((beta + after) / alpha + l2), z, n


@cache
def ftrl(loss, single):
    """FTRL-Proximal."""

    @njit(cache=True, nogil=True, error_model="numpy")
    def ftrl(values, indptr, indices, d, y, weight, cells, bias, total, span, out, k, a, setting):
        n, outputs = len(weight), 1 if single else span.shape[0]
        two = k == 2 and (loss == LOGISTIC or loss == HINGE)
        constant, l1, l2, alpha, beta = setting[0], setting[1], setting[2], setting[3], setting[4]
        margin, tail = np.empty(outputs), np.empty(outputs)
        for i in range(n):
            start, stop = (i * d, (i + 1) * d) if d >= 0 else (indptr[i], indptr[i + 1])
            for r in range(outputs):
                margin[r] = bias[3 * r]
            for e in range(start, stop):
                x, j = np.float64(values[e]), (np.uint64(e - start) if d >= 0 else np.uint64(indices[e]))
                for r in range(outputs):
                    margin[r] += cells[j, 3 * r] * x
            if two:
                tail[0], out[i, 0], out[i, 1] = odds(loss, margin[0])
            else:
                answer(loss, k, margin, tail, out, i)
            if not is_labelled(loss, y, weight, i):
                continue
            total[0] += weight[i]
            for r in range(outputs):
                g = weight[i] * slope(loss, a, margin[r], target_of(loss, y, i, r, outputs), tail[r])
                if g == 0.0:
                    continue
                s = 3 * r
                if constant > 0.0:
                    c = bias
                    c[s], c[s + 1], c[s + 2] = _lead(c[s], c[s + 1], c[s + 2], g, alpha, beta, 0.0, 0.0)
                for e in range(start, stop):
                    x, j = np.float64(values[e]), (np.uint64(e - start) if d >= 0 else np.uint64(indices[e]))
                    if x != 0.0:
                        c = cells[j]
                        c[s], c[s + 1], c[s + 2] = _lead(c[s], c[s + 1], c[s + 2], g * x, alpha, beta, l1, l2)

    return ftrl


# --- coin betting -----------------------------------------------------------------------------------------------------
# Shared slot: 0 scale s (largest |x| learnt). Output slots: 0 sum of -g x, 1 sum of |g x|, 2 reward, 3 largest |g|.
# total: 0 weight of rows, 1 sum of (x / s)^2. setting: 3 initial wealth, 4 least |g|.


@njit(cache=True, nogil=True, error_model="numpy")
def _bet(gain, spread, reward, steepest, scale, wealth):
    """The weight: the fraction of its wealth that this feature bets (COCOB, Orabona & Tommasi 2017)."""
    bound = steepest * scale
    return (wealth + reward) / (bound * (bound + spread)) * gain if bound > 0.0 else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _settle(c, s, scale, wealth, g, x, least, bet):
    """Take the outcome of a bet into account; its slots begin at s."""
    if abs(g) > c[s + 3] and x != 0.0:  # the stake was too high for such an outcome
        c[s + 3] = max(abs(g), least)
        bet = _bet(c[s], c[s + 1], c[s + 2], c[s + 3], scale, wealth)
    reward = -g * x
    c[s] += reward
    c[s + 1] += abs(reward)
    # The bound on |g| may turn out to have been too low: a bettor then stops at nothing left, and never owes.
    c[s + 2] = max(c[s + 2] + reward * bet, -wealth)


@cache
def coin_dense(loss, single):
    """Coin betting on every weight, no learning rate, on dense rows: cells (C, D)."""

    @njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
    def coin_dense(values, indptr, indices, d, y, weight, cells, bias, total, span, out, k, a, setting):
        n, outputs = len(weight), 1 if single else span.shape[0]
        two = k == 2 and (loss == LOGISTIC or loss == HINGE)
        constant, wealth, least = setting[0], setting[3], setting[4]
        margin, tail, bias_bet = np.empty(outputs), np.empty(outputs), np.empty(outputs)
        scale, bet = np.empty(d), np.empty((outputs, d))
        for i in range(n):
            x = values[i * d : (i + 1) * d]
            norm = constant
            for j in range(d):
                scale[j] = max(cells[0, j], np.float64(abs(x[j])))
                u = x[j] / scale[j] if scale[j] > 0.0 else 0.0
                norm += u * u
            mean = (total[1] + norm + 1e-6) / (total[0] + 1.0)
            for r in range(outputs):
                s = 1 + 4 * r
                bias_bet[r] = m = constant * _bet(bias[s], bias[s + 1], bias[s + 2], bias[s + 3], 1.0, wealth)
                for j in range(d):
                    b = _bet(cells[s, j], cells[s + 1, j], cells[s + 2, j], cells[s + 3, j], scale[j], wealth)
                    bet[r, j] = b
                    m += b * x[j]
                margin[r] = _within(loss, m / mean, span[r, 0], span[r, 1])
            if two:
                tail[0], out[i, 0], out[i, 1] = odds(loss, margin[0])
            else:
                answer(loss, k, margin, tail, out, i)
            if not is_labelled(loss, y, weight, i):
                continue
            total[0] += weight[i]
            total[1] += weight[i] * norm
            for j in range(d):
                cells[0, j] = scale[j]
            for r in range(outputs):
                s = 1 + 4 * r
                target = target_of(loss, y, i, r, outputs)
                if loss != LOGISTIC and loss != MULTINOMIAL and loss != HINGE:
                    _see_target(loss, span, r, target, weight[i])
                g = weight[i] * slope(loss, a, margin[r], target, tail[r])
                if g == 0.0:
                    continue
                if constant > 0.0:
                    _settle(bias, s, 1.0, wealth, g, 1.0, least, bias_bet[r])
                beyond = False
                for j in range(d):
                    beyond |= abs(g) > cells[s + 3, j]
                if beyond:  # as in `_settle`; apart, so that the loop over all features has no branch
                    for j in range(d):
                        if abs(g) > cells[s + 3, j] and x[j] != 0.0:
                            cells[s + 3, j] = max(abs(g), least)
                            b = _bet(cells[s, j], cells[s + 1, j], cells[s + 2, j], cells[s + 3, j], scale[j], wealth)
                            bet[r, j] = b
                for j in range(d):
                    reward = -g * np.float64(x[j])
                    cells[s, j] += reward
                    cells[s + 1, j] += abs(reward)
                    cells[s + 2, j] = max(cells[s + 2, j] + reward * bet[r, j], -wealth)

    return coin_dense


@cache
def coin_sparse(loss, single):
    """The update of `coin_dense` on sparse rows: cells (D, C); entries with the same index bet side by side."""

    @njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
    def coin_sparse(values, indptr, indices, d, y, weight, cells, bias, total, span, out, k, a, setting):
        n, outputs = len(weight), 1 if single else span.shape[0]
        two = k == 2 and (loss == LOGISTIC or loss == HINGE)
        constant, wealth, least = setting[0], setting[3], setting[4]
        margin, tail, bias_bet = np.empty(outputs), np.empty(outputs), np.empty(outputs)
        room = longest(indptr)
        scale, bet = np.empty(room), np.empty((outputs, room))
        for i in range(n):
            start, stop = indptr[i], indptr[i + 1]
            x, at, size = values[start:stop], indices[start:stop], stop - start
            norm = constant
            for e in range(size):
                scale[e] = max(cells[at[e], 0], np.float64(abs(x[e])))
                u = x[e] / scale[e] if scale[e] > 0.0 else 0.0
                norm += u * u
            mean = (total[1] + norm + 1e-6) / (total[0] + 1.0)
            for r in range(outputs):
                s = 1 + 4 * r
                bias_bet[r] = m = constant * _bet(bias[s], bias[s + 1], bias[s + 2], bias[s + 3], 1.0, wealth)
                for e in range(size):
                    c = cells[at[e]]
                    bet[r, e] = _bet(c[s], c[s + 1], c[s + 2], c[s + 3], scale[e], wealth)
                    m += bet[r, e] * x[e]
                margin[r] = _within(loss, m / mean, span[r, 0], span[r, 1])
            if two:
                tail[0], out[i, 0], out[i, 1] = odds(loss, margin[0])
            else:
                answer(loss, k, margin, tail, out, i)
            if not is_labelled(loss, y, weight, i):
                continue
            total[0] += weight[i]
            total[1] += weight[i] * norm
            for e in range(size):
                cells[at[e], 0] = max(cells[at[e], 0], scale[e])
            for r in range(outputs):
                s = 1 + 4 * r
                target = target_of(loss, y, i, r, outputs)
                if loss != LOGISTIC and loss != MULTINOMIAL and loss != HINGE:
                    _see_target(loss, span, r, target, weight[i])
                g = weight[i] * slope(loss, a, margin[r], target, tail[r])
                if g == 0.0:
                    continue
                if constant > 0.0:
                    _settle(bias, s, 1.0, wealth, g, 1.0, least, bias_bet[r])
                for e in range(size):
                    _settle(cells[at[e]], s, scale[e], wealth, g, np.float64(x[e]), least, bet[r, e])

    return coin_sparse
