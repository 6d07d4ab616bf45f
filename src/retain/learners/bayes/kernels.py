# pyright: reportMissingParameterType=false
"""Row loops of the naive Bayes learners, compiled: every row is answered, then learnt.

Shapes: n rows, d (dense) or D (room for) features, K room for classes, k classes known after the block.

Classes are known to a kernel by their weight: one of weight 0 has the probability 0.

Forgetting. Where counts are many (D K) nothing is multiplied at each row: the weight of new rows grows instead, by
1 / s, s the product of all factors so far, and so does the smoothing that counts are added to. Where s is too small
to go on, all counts are multiplied by it once.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

__all__ = ["bernoulli", "counted", "gaussian", "logged"]

_LEAST = 1e-9  # share of a feature's variance below which no class's goes
_SMALL = 1e-100  # s is renewed below it
_CHUNK = (
    8  # as many factors have a product that a float holds, and share a logarithm; room for features comes in eights
)


@njit(cache=True, nogil=True, error_model="numpy")
def _normalise(score, k, out, i):
    """Probabilities out[i, :k] of scores, -inf for classes that are not known; zeros where none is."""
    top = -np.inf
    for c in range(k):
        top = max(top, score[c])
    if top == -np.inf:
        return
    total = 0.0
    for c in range(k):
        out[i, c] = math.exp(score[c] - top)
        total += out[i, c]
    for c in range(k):
        out[i, c] /= total


# --- Gaussian ---------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _eight_far(start, x, weight_d, mean_d, square_d, centre_d, inverse_d, smoothing):
    """Of eight features: the product of variances, and the sum of squared distances in units of them."""
    product, total = 1.0, 0.0
    for j in range(start, start + _CHUNK):
        there = x[j] == x[j] and inverse_d[j] > 0.0
        rows = weight_d[j] + smoothing
        share = (square_d[j] * inverse_d[j] + smoothing) / rows if rows > 0.0 else 1.0
        share = max(share, _LEAST)
        away = x[j] - (mean_d[j] if weight_d[j] > 0.0 else centre_d[j])
        product *= share if there else 1.0
        total += away * away * inverse_d[j] / share if there else 0.0
    return product, total


@njit(cache=True, nogil=True, error_model="numpy")
def _far(x, weight_d, mean_d, square_d, centre_d, inverse_d, smoothing):
    """-2 log p of a row under the Gaussian of a class, up to what the classes share.

    Variances come as shares of those of all rows: then their product has no unit, and stays a float for longer. Within
    eight features sums may be taken in any order; eights are added up in theirs, so that more room changes no bit.
    """
    total = 0.0
    for start in range(0, len(x), _CHUNK):
        product, squares = _eight_far(start, x, weight_d, mean_d, square_d, centre_d, inverse_d, smoothing)
        total += squares
        total += math.log(product)
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _inverse(weight, square):
    """One over the variance; 0 where nothing varies."""
    return weight / square if square > _SMALL else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def gaussian(x_nd, y_n, weight_n, power_K, weight_KD, mean_KD, square_KD, all_3D, k, out, setting):
    """Gaussians by class and feature. A NaN tells nothing, and so does a feature that has been constant so far.

    power_K                  weight of the rows of a class
    weight, mean, square     of the values of a feature in a class: weight, mean, sum of squares around it
    all_3D                   the three of all rows
    setting                  0 smoothing, 1 forgetting, 2 whether classes are taken to be equally frequent
    """
    n, d = x_nd.shape
    D = all_3D.shape[1]
    smoothing, forgetting, balanced = setting[0], setting[1], setting[2]
    score, inverse, x = np.empty(k), np.zeros(D), np.zeros(D)
    for j in range(d):
        inverse[j] = _inverse(all_3D[0, j], all_3D[2, j])
    for i in range(n):
        x[:d] = x_nd[i]
        for c in range(k):
            score[c] = -np.inf
            if power_K[c] > 0.0:
                prior = 0.0 if balanced > 0.0 else math.log(power_K[c])
                far = _far(x, weight_KD[c], mean_KD[c], square_KD[c], all_3D[1], inverse, smoothing)
                score[c] = prior - 0.5 * far
        _normalise(score, k, out, i)
        v, c = weight_n[i], y_n[i]
        if v <= 0.0 or c < 0:
            continue
        if forgetting < 1.0:
            kept = forgetting**v
            power_K *= kept
            weight_KD *= kept
            square_KD *= kept
            all_3D[0] *= kept
            all_3D[2] *= kept
        power_K[c] += v
        for j in range(d):
            if x[j] == x[j]:
                weight_KD[c, j] += v  # West 1979
                step = x[j] - mean_KD[c, j]
                mean_KD[c, j] += step * (v / weight_KD[c, j])
                square_KD[c, j] += v * step * (x[j] - mean_KD[c, j])
                all_3D[0, j] += v
                step = x[j] - all_3D[1, j]
                all_3D[1, j] += step * (v / all_3D[0, j])
                all_3D[2, j] += v * step * (x[j] - all_3D[1, j])
            inverse[j] = _inverse(all_3D[0, j], all_3D[2, j])


# --- multinomial and complement ---------------------------------------------------------------------------------------


@njit(cache=True, nogil=True, error_model="numpy")
def logged(cells, logs, alpha):
    """log(count + alpha) of every count."""
    for j in range(len(logs)):
        for c in range(logs.shape[1]):
            logs[j, c] = math.log(cells[j, 1 + c] + alpha)


@njit(cache=True, nogil=True, error_model="numpy")
def counted(indptr, indices, values, y_n, weight_n, cells, logs, power_K, sums_K, clock, k, out, setting):
    """Counts of features by class.

    cells   (D, 1 + K)  of each feature: its count in all rows, then that in each class
    logs    (D, K)      log(count + alpha), kept for the multinomial that does not forget: one of k changes with a row
    power_K, sums_K     of each class: the weight of its rows, and the sum of its counts
    clock   (3,)        0 scale s, 1 features seen, 2 sum of all counts
    setting             0 complement or not, 1 alpha, 2 forgetting, 3 whether classes are equally frequent
    """
    n = len(weight_n)
    complement, alpha, forgetting, balanced = setting[0] > 0.0, setting[1], setting[2], setting[3]
    kept_logs = not complement and forgetting == 1.0
    score = np.empty(k)
    for i in range(n):
        start, stop = indptr[i], indptr[i + 1]
        smooth = alpha / clock[0]
        score[:] = 0.0
        size = 0.0
        for e in range(start, stop):
            j, x = np.uint64(indices[e]), np.float64(values[e])
            if cells[j, 0] == 0.0:  # never seen: tells nothing
                continue
            size += x
            if kept_logs:
                for c in range(k):
                    score[c] += x * logs[j, c]
            elif complement:
                for c in range(k):
                    score[c] -= x * math.log(max(cells[j, 0] - cells[j, 1 + c], 0.0) + smooth)
            else:
                for c in range(k):
                    score[c] += x * math.log(cells[j, 1 + c] + smooth)
        for c in range(k):
            if power_K[c] == 0.0:
                score[c] = -np.inf
                continue
            if size > 0.0:
                if complement:
                    score[c] += size * math.log(max(clock[2] - sums_K[c], 0.0) + smooth * clock[1])
                else:
                    score[c] -= size * math.log(sums_K[c] + smooth * clock[1])
            if not complement and balanced == 0.0:
                score[c] += math.log(power_K[c])
        _normalise(score, k, out, i)
        v, c = weight_n[i], y_n[i]
        if v <= 0.0 or c < 0:
            continue
        if forgetting < 1.0:
            clock[0] *= forgetting**v
            if clock[0] < _SMALL:
                cells *= clock[0]
                power_K *= clock[0]
                sums_K *= clock[0]
                clock[2] *= clock[0]
                clock[0] = 1.0
                clock[1] = np.count_nonzero(cells[:, 0])  # what has faded to nothing was never seen
            v /= clock[0]
        power_K[c] += v
        for e in range(start, stop):
            j, x = np.uint64(indices[e]), v * np.float64(values[e])
            if x == 0.0:
                continue
            if cells[j, 0] == 0.0:
                clock[1] += 1.0
            cells[j, 0] += x
            cells[j, 1 + c] += x
            sums_K[c] += x
            clock[2] += x
            if kept_logs:
                logs[j, c] = math.log(cells[j, 1 + c] + alpha)


# --- Bernoulli --------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True, error_model="numpy")
def _lacks(count, rows, smooth, whole):
    """1 - count / whole, exact where the count is nearly all."""
    return (max(rows - count, 0.0) + smooth) / whole


@njit(cache=True, nogil=True, error_model="numpy")
def _absent(count_D, rows, smooth):
    """Sum over features of log(1 - count / (rows + smooth)): what a row says in which none occurs."""
    whole = rows + smooth
    total = 0.0
    for j in range(0, len(count_D), _CHUNK):
        # Written out, not left to `reassoc`: where no feature occurs, this must be exactly 1.
        a = _lacks(count_D[j], rows, smooth, whole) * _lacks(count_D[j + 1], rows, smooth, whole)
        b = _lacks(count_D[j + 2], rows, smooth, whole) * _lacks(count_D[j + 3], rows, smooth, whole)
        c = _lacks(count_D[j + 4], rows, smooth, whole) * _lacks(count_D[j + 5], rows, smooth, whole)
        d = _lacks(count_D[j + 6], rows, smooth, whole) * _lacks(count_D[j + 7], rows, smooth, whole)
        product = (a * b) * (c * d)
        if product < 1.0:
            total += math.log(product)
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def bernoulli(
    indptr, indices, values, y_n, weight_n, count_KS, place_D, rest_K, stale_K, power_K, clock, k, out, setting
):
    """In how many rows of each class each feature occurs (is beyond a threshold).

    count_KS         of the S features there is room for, in the order in which they first came
    place_D          where in that order a feature is, -1 for one that never came
    rest_K, stale_K  `_absent` of each class, and whether it must be worked out anew
    clock   (2,)     0 scale s, 1 features that came
    setting          0 threshold, 1 alpha, 2 forgetting, 3 whether classes are equally frequent
    """
    n = len(weight_n)
    threshold, alpha, forgetting, balanced = setting[0], setting[1], setting[2], setting[3]
    score = np.empty(k)
    for i in range(n):
        start, stop = indptr[i], indptr[i + 1]
        smooth = alpha / clock[0]
        for c in range(k):
            score[c] = -np.inf
            rows = power_K[c]
            if rows == 0.0:
                continue
            if stale_K[c]:
                rest_K[c] = _absent(count_KS[c], rows, smooth)
                stale_K[c] = False
            told = rest_K[c] + clock[1] * math.log((rows + smooth) / (rows + 2.0 * smooth))
            if balanced == 0.0:
                told += math.log(rows)
            product, factors = 1.0, 0
            for e in range(start, stop):
                j = place_D[np.uint64(indices[e])]
                if values[e] > threshold and j >= 0:
                    count = count_KS[c, np.uint64(j)]
                    product *= (count + smooth) / (max(rows - count, 0.0) + smooth)
                    factors += 1
                    if factors == _CHUNK:
                        told += math.log(product)
                        product, factors = 1.0, 0
            score[c] = told + math.log(product)
        _normalise(score, k, out, i)
        v, c = weight_n[i], y_n[i]
        if v <= 0.0 or c < 0:
            continue
        if forgetting < 1.0:
            clock[0] *= forgetting**v
            if clock[0] < _SMALL:
                count_KS *= clock[0]
                power_K *= clock[0]
                clock[0] = 1.0
            v /= clock[0]
            stale_K[:] = True
        power_K[c] += v
        stale_K[c] = True
        for e in range(start, stop):
            j = np.uint64(indices[e])
            if values[e] > threshold:
                if place_D[j] < 0:
                    place_D[j] = int(clock[1])
                    clock[1] += 1.0
                count_KS[c, np.uint64(place_D[j])] += v
