# pyright: reportMissingParameterType=false
"""The loops of events of `Calibrated`, compiled: one for each way of calibrating.

Shapes: P rows, those due and then those that arrive, n of them; k classes, K >= k the columns there is room for; W rows
in a window.

    said    (P, K)  probabilities of the learner inside, 0 for classes that were not known
    code    (P,)    class codes, -1 where there is no label
    weight  (P,)
    order           i >= 0: arrival i arrives; ~j: the label of row j lands
    known   (1,)    the highest code that has landed, plus 1: such a class is known, and one of which p > 0
    out     (n, K)  calibrated probabilities of the arrivals

A row of zeros stays one: nothing was known, or the row is of no known class.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

__all__ = ["isotonic", "platt", "temperature"]

_LEAST = 1e-4  # a probability counts as no less, and no more than 1 - this: the log-odds of 0 and 1 are infinite
_PARTS = 16  # steps that a heavy row is learnt in, at most
_STRIDE = 2.0  # what one step adds to slope, offset or log-odds, at most: where the loss is flat, Newton's has no end
_DAMPED = 1e-9  # share of the trace: squares of one heavy row have no inverse in float64


@njit(cache=True, nogil=True, error_model="numpy")
def _within(p):
    return min(max(p, _LEAST), 1.0 - _LEAST)


@njit(cache=True, nogil=True, error_model="numpy")
def _sigmoid(m):
    tail = math.exp(-abs(m))
    return (1.0 if m >= 0.0 else tail) / (1.0 + tail)


@njit(cache=True, nogil=True, error_model="numpy")
def _times(weight):
    """In how many steps a row is learnt: a row of weight 2 is two rows."""
    return int(min(math.ceil(weight), _PARTS))


@njit(cache=True, nogil=True, error_model="numpy")
def _says(said_PK, row):
    """Whether anything was said of a row."""
    most = 0.0
    for c in range(said_PK.shape[1]):
        most = max(most, said_PK[row, c])
    return most > 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _shared(out_NK, i, said_PK, row):
    """Make the probabilities of a row add up to 1; where none is left, they are what was said."""
    total = 0.0
    for c in range(out_NK.shape[1]):
        total += out_NK[i, c]
    if not total > 0.0:
        for c in range(out_NK.shape[1]):
            out_NK[i, c] = said_PK[row, c]
            total += out_NK[i, c]
    for c in range(out_NK.shape[1]):
        out_NK[i, c] /= total


@njit(cache=True, nogil=True, error_model="numpy")
def platt(said_PK, code_P, weight_P, order, known, out_NK, line_K2, precision_K3, keep, prior):
    """A line for the log-odds of each class, fitted by Newton's steps; `precision` holds h_aa, h_ab, h_bb."""
    due, room = len(said_PK) - (order >= 0).sum(), said_PK.shape[1]
    for event in order:
        k = known[0]
        if event >= 0:
            row = due + event
            if _says(said_PK, row):
                for c in range(room):
                    if c >= k and said_PK[row, c] == 0.0:
                        continue
                    p = _within(said_PK[row, c])
                    out_NK[event, c] = _sigmoid(line_K2[c, 0] * math.log(p / (1.0 - p)) + line_K2[c, 1])
                _shared(out_NK, event, said_PK, row)
            continue
        row = ~event
        code, weight = code_P[row], weight_P[row]
        if code < 0 or weight == 0.0:
            continue
        times = _times(weight)
        part = weight / times
        kept = keep**part
        for c in range(room):
            if said_PK[row, c] == 0.0:
                continue
            p = _within(said_PK[row, c])
            t = math.log(p / (1.0 - p))
            h = precision_K3[c]
            for _ in range(times):
                q = _sigmoid(line_K2[c, 0] * t + line_K2[c, 1])
                steep = part * q * (1.0 - q)
                h[0] = kept * h[0] + steep * t * t + (1.0 - kept) * prior
                h[1] = kept * h[1] + steep * t
                h[2] = kept * h[2] + steep + (1.0 - kept) * prior
                damp = _DAMPED * (h[0] + h[2])
                first, last = h[0] + damp, h[2] + damp
                slope = part * (q - (1.0 if code == c else 0.0)) / (first * last - h[1] * h[1])
                tilt, shift = slope * (last * t - h[1]), slope * (first - h[1] * t)
                far = max(abs(tilt), abs(shift), abs(tilt * t + shift))
                held = _STRIDE / far if far > _STRIDE else 1.0
                line_K2[c, 0] -= held * tilt
                line_K2[c, 1] -= held * shift
        known[0] = max(k, code + 1)


@njit(cache=True, nogil=True, error_model="numpy")
def temperature(said_PK, code_P, weight_P, order, known, out_NK, inverse, precision, keep, prior):
    """p^(1/T) made to add up to 1; `inverse` (1,) is 1/T, fitted by Newton's steps."""
    due, room = len(said_PK) - (order >= 0).sum(), said_PK.shape[1]
    q_K = np.zeros(said_PK.shape[1])
    for event in order:
        k = known[0]
        arrives = event >= 0
        row = due + event if arrives else ~event
        there = arrives or (code_P[row] >= 0 and weight_P[row] > 0.0)
        if there and _says(said_PK, row):
            most = 0.0
            for c in range(room):
                most = max(most, said_PK[row, c])
            total = 0.0
            for c in range(room):
                q_K[c] = 0.0
                if c >= k and said_PK[row, c] == 0.0:
                    continue
                q_K[c] = math.exp(inverse[0] * (math.log(_within(said_PK[row, c])) - math.log(_within(most))))
                total += q_K[c]
            if arrives:
                for c in range(room):
                    out_NK[event, c] = q_K[c] / total
            elif said_PK[row, code_P[row]] > 0.0:
                weight, mean, square = weight_P[row], 0.0, 0.0
                for c in range(room):
                    log = math.log(_within(said_PK[row, c]))
                    mean += q_K[c] / total * log
                    square += q_K[c] / total * log * log
                kept = keep**weight
                precision[0] = kept * precision[0] + weight * (square - mean * mean) + (1.0 - kept) * prior
                slope = weight * (mean - math.log(_within(said_PK[row, code_P[row]])))
                inverse[0] = min(max(inverse[0] - slope / precision[0], 0.01), 100.0)
        if there and not arrives:
            known[0] = max(k, code_P[row] + 1)


@njit(cache=True, nogil=True, error_model="numpy")
def _fit(past_WK, code_W, weight_W, filled, c, knots_KW, values_KW, sizes_K):
    """Weighted isotonic regression of "is of class c" on what was said of c: pool adjacent violators."""
    rank = np.argsort(past_WK[:filled, c], kind="mergesort")
    mean, mass, first = np.empty(filled), np.empty(filled), np.empty(filled, dtype=np.int64)
    points = 0  # where what was said differs
    blocks = 0
    i = 0
    while i < filled:
        x = past_WK[rank[i], c]
        hits, weight = 0.0, 0.0
        while i < filled and past_WK[rank[i], c] == x:
            w = weight_W[rank[i]]
            weight += w
            hits += w if code_W[rank[i]] == c else 0.0
            i += 1
        knots_KW[c, points] = x
        mean[blocks], mass[blocks], first[blocks] = hits / weight, weight, points
        points += 1
        blocks += 1
        while blocks > 1 and mean[blocks - 2] >= mean[blocks - 1]:
            both = mass[blocks - 2] + mass[blocks - 1]
            mean[blocks - 2] = (mean[blocks - 2] * mass[blocks - 2] + mean[blocks - 1] * mass[blocks - 1]) / both
            mass[blocks - 2] = both
            blocks -= 1
    for b in range(blocks):
        stop = first[b + 1] if b + 1 < blocks else points
        for j in range(first[b], stop):
            values_KW[c, j] = mean[b]
    sizes_K[c] = points


@njit(cache=True, nogil=True, error_model="numpy")
def _read(p, c, knots_KW, values_KW, size):
    """The fitted function at p: linear between the points it was fitted at, level beyond them."""
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        if knots_KW[c, middle] < p:
            low = middle + 1
        else:
            high = middle
    if low == size:
        return values_KW[c, size - 1]
    if low == 0 or knots_KW[c, low] == p:
        return values_KW[c, low]
    part = (p - knots_KW[c, low - 1]) / (knots_KW[c, low] - knots_KW[c, low - 1])
    return values_KW[c, low - 1] + part * (values_KW[c, low] - values_KW[c, low - 1])


@njit(cache=True, nogil=True, error_model="numpy")
def isotonic(
    said_PK, code_P, weight_P, order, known, out_NK, past_WK, past_code, past_weight, counts, knots_KW, values_KW,
    sizes_K, every,
):  # fmt: skip
    """`counts` holds labels landed, rows in the window, and the place of the next."""
    due, room = len(said_PK) - (order >= 0).sum(), said_PK.shape[1]
    window = len(past_code)
    for event in order:
        k = known[0]
        if event >= 0:
            row = due + event
            if _says(said_PK, row):
                for c in range(room):
                    p = said_PK[row, c]
                    if sizes_K[c] and (c < k or p > 0.0):
                        edge = 1.0 / (sizes_K[c] + 2.0)  # 0 and 1 would be said for sure of what was seen a few times
                        p = min(max(_read(p, c, knots_KW, values_KW, sizes_K[c]), edge), 1.0 - edge)
                    out_NK[event, c] = p
                _shared(out_NK, event, said_PK, row)
            continue
        row = ~event
        if code_P[row] < 0 or weight_P[row] == 0.0:
            continue
        place = counts[2]
        for c in range(room):
            past_WK[place, c] = said_PK[row, c]
        past_code[place], past_weight[place] = code_P[row], weight_P[row]
        counts[0], counts[1], counts[2] = counts[0] + 1, min(counts[1] + 1, window), (place + 1) % window
        known[0] = max(k, code_P[row] + 1)
        if counts[0] % every == 0:
            for c in range(room):
                if c >= known[0] and not past_WK[:, c].any():
                    continue
                _fit(past_WK, past_code, past_weight, counts[1], c, knots_KW, values_KW, sizes_K)
