# pyright: reportMissingParameterType=false
"""The loop of events of `Conformal`, compiled.

Shapes: P rows, those due and then those that arrive; Q trackers, one for each number to learn, one for all classes; W
scores in a window; R rates; k classes.

    score      (P, Q)  how far the label lies from what was said; NaN where there is no label
    threshold  (P, Q)  the largest score within the bounds that a row was given; that of arrivals is found here
    size       (P, Q)  how wide these were: twice the threshold, or how many classes of p > 0
    doubt      (P, k)  score of each class, of classes; no columns for numbers
    recent     (Q, W)  scores in order of arrival
    ranked     (Q, W)  and of size, infinite where there is none
    counts     (2,)    scores in the window, place of the next one
    level      (Q, R)  share of rows to be left out, as each rate would have it
    trust      (Q, R)  in these
    own        (Q,)    what is added to their mean: it follows what came of the bounds that were given
    tally      (Q, 4)  weight of judged rows, of those covered, of those of a finite size, and their sizes
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

__all__ = ["cover", "thresholds"]

_FILLED, _NEXT = 0, 1


@njit(cache=True, nogil=True, error_model="numpy")
def _below(ranked_QW, q, filled, score):
    """How many scores in the window are smaller."""
    low, high = 0, filled
    while low < high:
        middle = (low + high) // 2
        if ranked_QW[q, middle] < score:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True, error_model="numpy")
def _wanted(q, level_QR, trust_QR, own_Q, left_out):
    """The share of rows to be left out now."""
    rates = level_QR.shape[1]
    if rates == 0:
        return left_out + own_Q[q]
    mean = 0.0
    for r in range(rates):
        mean += trust_QR[q, r] * level_QR[q, r]
    return mean + own_Q[q]


@njit(cache=True, nogil=True, error_model="numpy")
def _threshold(ranked_QW, q, filled, level, left_out):
    """The score that a share `level` of rows like those in the window exceeds.

    Of m exchangeable scores and one more, the last is above the r-th smallest with probability 1 - r / (m + 1). Where r
    is beyond m the largest is taken 1 + r - m times: infinity would be safe and of no use.
    """
    if math.ceil((filled + 1) * (1.0 - left_out)) > filled:
        return np.inf  # too few scores to tell
    rank = math.ceil((filled + 1) * (1.0 - level))
    if rank < 1:
        return 0.0
    if rank <= filled:
        return ranked_QW[q, rank - 1]
    largest = ranked_QW[q, filled - 1]
    return largest * (1.0 + rank - filled) if largest > 0.0 else np.inf


@njit(cache=True, nogil=True, error_model="numpy")
def thresholds(ranked_QW, counts, level_QR, trust_QR, own_Q, left_out, out_Q):
    """That of every tracker, as it is now."""
    for q in range(len(out_Q)):
        wanted = _wanted(q, level_QR, trust_QR, own_Q, left_out)
        out_Q[q] = _threshold(ranked_QW, q, counts[_FILLED], wanted, left_out)


@njit(cache=True, nogil=True, error_model="numpy")
def _remember(score_PQ, row, recent_QW, ranked_QW, counts):
    """Put a row's scores into the windows; the oldest go where these are full."""
    window = recent_QW.shape[1]
    place = counts[_NEXT]
    full = counts[_FILLED] == window
    filled = counts[_FILLED] - 1 if full else counts[_FILLED]
    for q in range(len(recent_QW)):
        score = score_PQ[row, q]
        if full:
            for j in range(_below(ranked_QW, q, window, recent_QW[q, place]), window - 1):
                ranked_QW[q, j] = ranked_QW[q, j + 1]
        at = _below(ranked_QW, q, filled, score)
        for j in range(filled, at, -1):
            ranked_QW[q, j] = ranked_QW[q, j - 1]
        ranked_QW[q, at] = score
        recent_QW[q, place] = score
    counts[_FILLED], counts[_NEXT] = filled + 1, (place + 1) % window


@njit(cache=True, nogil=True, error_model="numpy")
def _adapt(q, beta, missed, weight, level_QR, trust_QR, own_Q, rates_R, left_out, speed, share, pace):
    """Each rate's level, and the trust in it, follow beta, the largest level at which the label was within the bounds.

    Levels step as those of Gibbs & Candes 2021, each at its rate; trust falls with the pinball loss of its level.
    """
    rates = len(rates_R)
    total = 0.0
    for r in range(rates):
        away = beta - level_QR[q, r]
        trust_QR[q, r] *= math.exp(-speed * weight * (left_out * away - min(away, 0.0)))
        total += trust_QR[q, r]
        level_QR[q, r] += rates_R[r] * weight * (left_out - (1.0 if level_QR[q, r] >= beta else 0.0))
    for r in range(rates):
        trust_QR[q, r] = (1.0 - share) * trust_QR[q, r] / total + share / rates if total > 0.0 else 1.0 / rates
    own_Q[q] += pace * weight * (left_out - (1.0 if missed else 0.0))


@njit(cache=True, nogil=True, error_model="numpy")
def cover(
    score_PQ, threshold_PQ, size_PQ, doubt_Pk, classes, weight_P, order, recent_QW, ranked_QW, counts, level_QR,
    trust_QR, own_Q, tally_Q4, rates_R, left_out, speed, share, pace,
):  # fmt: skip
    """Give bounds to rows as they arrive, and learn from labels as they land.

    `left_out` is 1 - coverage, `pace` the rate of `own`; `speed` and `share` are those of trust.
    """
    due = len(score_PQ) - (order >= 0).sum()
    for event in order:
        if event >= 0:
            row = due + event
            for q in range(score_PQ.shape[1]):
                wanted = _wanted(q, level_QR, trust_QR, own_Q, left_out)
                bound = _threshold(ranked_QW, q, counts[_FILLED], wanted, left_out)
                threshold_PQ[row, q] = bound
                size_PQ[row, q] = 2.0 * bound
                if classes:
                    size_PQ[row, q] = 0.0
                    for c in range(doubt_Pk.shape[1]):
                        # p = 0 may mean that the class is yet to come, in this block; it is not counted.
                        size_PQ[row, q] += 1.0 if doubt_Pk[row, c] <= bound and doubt_Pk[row, c] < 1.0 else 0.0
            continue
        row = ~event
        weight = weight_P[row]
        lacks = False
        for q in range(score_PQ.shape[1]):
            lacks |= score_PQ[row, q] != score_PQ[row, q]
        if lacks or weight == 0.0:
            continue
        for q in range(score_PQ.shape[1]):
            missed = score_PQ[row, q] > threshold_PQ[row, q]
            tally_Q4[q, 0] += weight
            if not missed:
                tally_Q4[q, 1] += weight
            if size_PQ[row, q] < np.inf:
                tally_Q4[q, 2] += weight
                tally_Q4[q, 3] += weight * size_PQ[row, q]
            beta = 1.0 - _below(ranked_QW, q, counts[_FILLED], score_PQ[row, q]) / (counts[_FILLED] + 1.0)
            _adapt(q, beta, missed, weight, level_QR, trust_QR, own_Q, rates_R, left_out, speed, share, pace)
        _remember(score_PQ, row, recent_QW, ranked_QW, counts)
