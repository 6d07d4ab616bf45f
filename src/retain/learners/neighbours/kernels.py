# pyright: reportMissingParameterType=false
"""Row loops of the learners that remember rows, compiled: every row is answered from what is remembered, then kept.

Shapes: n rows, d features, C room for rows, k classes known after the block, q outputs.

What is remembered lies transposed, feature by feature (d, C), float32, and in the order of arrival in `first` ..
`last`: distances to all rows are then one pass of vector instructions for each feature, without a sum over features
whose order could matter. Where there is no room behind the last row, all are moved to the front; with room for twice
as many as are kept, that is once in so many rows.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from retain.learners.draws import below, uniform

__all__ = ["classes", "numbers", "self_adjusting"]

_TILE = 1024  # rows whose distances stay in the nearest cache while features are gone through
_STRIDE = 64  # rows that are looked through at once for one that is near
_NEAR = np.float32(1e-30)  # a squared distance below is that of the same point
_LEVELS = 16  # bits of a row that say whether it was answered right from the newest half, quarter, ... of the memory
_MIND = 16  # the first of three bits: right from the short-term memory, the long-term one, both
_OLDER = 0.4  # share of the rows that are older ones where both memories are full, as in the paper
_PASSES = 10  # of Lloyd's algorithm


# --- scale ------------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True, error_model="numpy")
def _invert(scale_3d, inverse_d, scaled):
    """1 / deviation of each feature, 0 for one that does not vary; ones where features are taken as they are."""
    for j in range(len(inverse_d)):
        inverse_d[j] = 1.0
        if scaled:
            varies = scale_3d[2, j] > 1e-100
            inverse_d[j] = math.sqrt(scale_3d[0, j] / scale_3d[2, j]) if varies else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _measure(scale_3d, x, v, fade):
    """Take a row into the running weight, mean and sum of squares of each feature; past rows fade by fade^v."""
    kept = fade**v
    for j in range(len(x)):
        scale_3d[0, j] = scale_3d[0, j] * kept + v
        step = x[j] - scale_3d[1, j]
        scale_3d[1, j] += step * (v / scale_3d[0, j])
        scale_3d[2, j] = scale_3d[2, j] * kept + v * step * (x[j] - scale_3d[1, j])


# --- nearest rows -----------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True, error_model="numpy")
def _distances(x, store_dC, first, last, inverse_d, out):
    """Squared distances of x to the rows first .. last, into the same places of out."""
    for start in range(first, last, _TILE):
        stop = min(start + _TILE, last)
        for w in range(start, stop):
            out[w] = np.float32(0.0)
        for j in range(len(x)):
            s = np.float32(inverse_d[j])
            if s > np.float32(0.0):
                a, row, part = x[j], store_dC[j, start:stop], out[start:stop]
                for w in range(len(row)):
                    u = (a - row[w]) * s
                    part[w] += u * u


@njit(cache=True, nogil=True, error_model="numpy")
def _insert(far, w, v, wanted, near, away, power, count, total):
    """Put a row among the nearest, if it is one: they are sorted, and as few as weigh `wanted` together."""
    if total >= wanted and not far < away[count - 1]:
        return count, total
    if far != far:
        far = np.float32(np.inf)
    p = count
    while p > 0 and away[p - 1] > far:  # of equally near ones that comes first which came last
        near[p], away[p], power[p] = near[p - 1], away[p - 1], power[p - 1]
        p -= 1
    near[p], away[p], power[p] = w, far, v
    count += 1
    total += v
    while count > 1 and total - power[count - 1] >= wanted:
        count -= 1
        total -= power[count]
    return count, total


@njit(cache=True, nogil=True, error_model="numpy")
def _scan(far_C, first, last, weight_C, wanted, near, away, power, count, total):
    """Go on looking for the nearest among the rows first .. last, from the last one back."""
    stop = last
    while stop > first:
        start = max(stop - _STRIDE, first)
        hit = total < wanted
        if not hit:
            bound, part = away[count - 1], far_C[start:stop]
            for w in range(len(part)):
                hit |= part[w] < bound
        if hit:
            for w in range(stop - 1, start - 1, -1):
                if total < wanted or far_C[w] < away[count - 1]:
                    count, total = _insert(far_C[w], w, weight_C[w], wanted, near, away, power, count, total)
        stop = start
    return count, total


@njit(cache=True, nogil=True, error_model="numpy")
def _nearest(far_C, first, last, weight_C, wanted, near, away, power):
    """The nearest of the rows first .. last, newest first among equals; returns how many, `wanted` by weight."""
    return _scan(far_C, first, last, weight_C, wanted, near, away, power, 0, 0.0)[0]


@njit(cache=True, nogil=True, error_model="numpy")
def _share(away, power, count, wanted, weighted, share):
    """What each of the nearest counts: its weight, of which the last may bring only a part, by 1 / distance."""
    left, total = wanted, 0.0
    exact = weighted and count > 0 and away[0] <= _NEAR
    for p in range(count):
        part = min(power[p], left)
        left -= part
        if exact:
            part = part if away[p] <= _NEAR else 0.0
        elif weighted:
            part /= math.sqrt(away[p])
        share[p] = part
        total += part
    if total == 0.0:  # all infinitely far
        for p in range(count):
            share[p], total = 1.0, total + 1.0
    for p in range(count):
        share[p] /= total


@njit(cache=True, nogil=True, error_model="numpy")
def _pack(store_dC, first, last):
    """Move the rows first .. last to the front."""
    for j in range(len(store_dC)):
        store_dC[j, : last - first] = store_dC[j, first:last].copy()


# --- a sliding window -------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True, error_model="numpy")
def classes(x_nd, y_n, weight_n, store_dC, label_C, weight_C, span, scale_3d, k, out, setting):
    """Votes of the nearest of the last rows.

    span: first and last. setting: 0 neighbours, 1 window, 2 whether votes are weighted, 3 whether features are scaled,
    4 by what their scale fades.
    """
    n, d = x_nd.shape
    C = len(label_C)
    wanted, window, weighted, scaled, fade = setting[0], int(setting[1]), setting[2] > 0.0, setting[3] > 0.0, setting[4]
    far, inverse = np.empty(C, np.float32), np.empty(d)
    near, away = np.empty(C + 1, np.int64), np.empty(C + 1, np.float32)
    power, share = np.empty(C + 1), np.empty(C + 1)
    _invert(scale_3d, inverse, scaled)
    for i in range(n):
        x = x_nd[i]
        _distances(x, store_dC, span[0], span[1], inverse, far)
        count = _nearest(far, span[0], span[1], weight_C, wanted, near, away, power)
        _share(away, power, count, wanted, weighted, share)
        for p in range(count):
            out[i, label_C[near[p]]] += share[p]
        v = weight_n[i]
        if v <= 0.0 or y_n[i] < 0:
            continue
        if span[1] == C:
            _pack(store_dC, span[0], span[1])
            m = span[1] - span[0]
            label_C[:m] = label_C[span[0] : span[1]].copy()
            weight_C[:m] = weight_C[span[0] : span[1]].copy()
            span[0], span[1] = 0, m
        at = span[1]
        for j in range(d):
            store_dC[j, at] = x[j]
        label_C[at], weight_C[at] = y_n[i], v
        span[1] += 1
        span[0] = max(span[0], span[1] - window)
        if scaled:
            _measure(scale_3d, x, v, fade)
            _invert(scale_3d, inverse, scaled)


@njit(cache=True, nogil=True, error_model="numpy")
def numbers(x_nd, y_nq, weight_n, store_dC, label_Cq, weight_C, span, scale_3d, out, setting):
    """Mean of the nearest of the last rows; see `classes`."""
    n, d = x_nd.shape
    C, q = label_Cq.shape
    wanted, window, weighted, scaled, fade = setting[0], int(setting[1]), setting[2] > 0.0, setting[3] > 0.0, setting[4]
    far, inverse = np.empty(C, np.float32), np.empty(d)
    near, away = np.empty(C + 1, np.int64), np.empty(C + 1, np.float32)
    power, share = np.empty(C + 1), np.empty(C + 1)
    _invert(scale_3d, inverse, scaled)
    for i in range(n):
        x = x_nd[i]
        _distances(x, store_dC, span[0], span[1], inverse, far)
        count = _nearest(far, span[0], span[1], weight_C, wanted, near, away, power)
        _share(away, power, count, wanted, weighted, share)
        for p in range(count):
            for r in range(q):
                out[i, r] += share[p] * label_Cq[near[p], r]
        v = weight_n[i]
        if v <= 0.0:
            continue
        if span[1] == C:
            _pack(store_dC, span[0], span[1])
            m = span[1] - span[0]
            label_Cq[:m] = label_Cq[span[0] : span[1]].copy()
            weight_C[:m] = weight_C[span[0] : span[1]].copy()
            span[0], span[1] = 0, m
        at = span[1]
        for j in range(d):
            store_dC[j, at] = x[j]
        label_Cq[at], weight_C[at] = y_nq[i], v
        span[1] += 1
        span[0] = max(span[0], span[1] - window)
        if scaled:
            _measure(scale_3d, x, v, fade)
            _invert(scale_3d, inverse, scaled)


# --- a self-adjusting memory ------------------------------------------------------------------------------------------
# Short-term memory: the newest rows. Windows of it: level l holds the newest (m >> l) of its m rows, as long as these
# are `least` or more. Long-term memory: older rows and what they were compressed to, in no order.


@njit(cache=True, nogil=True, error_model="numpy")
def _votes(near, away, power, count, label_C, wanted, share, votes):
    """Shares of the classes among the nearest, by weight and 1 / distance."""
    votes[:] = 0.0
    _share(away, power, count, wanted, True, share)
    for p in range(count):
        votes[label_C[near[p]]] += share[p]


@njit(cache=True, nogil=True, error_model="numpy")
def _is_right(votes, y):
    """Whether class y has the most votes, and any; of equals the first has them."""
    return votes[y] > 0.0 and np.argmax(votes) == y


@njit(cache=True, nogil=True, error_model="numpy")
def _both(
    near_S, away_S, power_S, count_S, label_C, near_L, away_L, power_L, count_L, label_L, wanted, label, away, power
):
    """The nearest of two memories together: their labels, distances and weights."""
    a, b, total = 0, 0, 0.0
    while total < wanted and (a < count_S or b < count_L):
        at = a + b
        if b == count_L or (a < count_S and away_S[a] <= away_L[b]):
            label[at], away[at], power[at] = label_C[near_S[a]], away_S[a], power_S[a]
            a += 1
        else:
            label[at], away[at], power[at] = label_L[near_L[b]], away_L[b], power_L[b]
            b += 1
        total += power[at]
    return a + b


@njit(cache=True, nogil=True, error_model="numpy")
def _settle(bits_C, weight_C, last, m, levels, start_l, right_l, mass_l):
    """Let each window begin where its size now says."""
    for level in range(levels):
        while start_l[level] < last - (m >> level):
            w = start_l[level]
            mass_l[level] -= weight_C[w]
            if bits_C[w] >> level & 1:
                right_l[level] -= weight_C[w]
            start_l[level] += 1


@njit(cache=True, nogil=True, error_model="numpy")
def _replay(store_dC, label_C, weight_C, bits_C, first, last, level, inverse, wanted, k):
    """Answer the rows first .. last each from those before it, and note in their bits whether that was right."""
    right, mass = 0.0, 0.0
    x, far = np.empty(len(store_dC), np.float32), np.empty(last, np.float32)
    near, away = np.empty(last + 1, np.int64), np.empty(last + 1, np.float32)
    power, share, votes = np.empty(last + 1), np.empty(last + 1), np.empty(k)
    for i in range(first, last):
        for j in range(len(x)):
            x[j] = store_dC[j, i]
        _distances(x, store_dC, first, i, inverse, far)
        count = _nearest(far, first, i, weight_C, wanted, near, away, power)
        _votes(near, away, power, count, label_C, wanted, share, votes)
        bits_C[i] &= ~(1 << level)
        mass += weight_C[i]
        if _is_right(votes, label_C[i]):
            bits_C[i] |= 1 << level
            right += weight_C[i]
    return right, mass


@njit(cache=True, nogil=True, error_model="numpy")
def _clean(y, near_S, away_S, count_S, label_S, near_L, away_L, count_L, label_L, gone):
    """Mark of the rows near a new one those that contradict it: no farther than the farthest near one that agrees."""
    bound = np.float32(-1.0)
    for p in range(count_S):
        if label_S[near_S[p]] == y and away_S[p] < np.inf:
            bound = max(bound, away_S[p])
    for p in range(count_L):
        if away_L[p] <= bound and label_L[near_L[p]] != y:
            gone[near_L[p]] = True


@njit(cache=True, nogil=True, error_model="numpy")
def _keep(store_dC, label_C, weight_C, last, gone):
    """Close the gaps that rows leave that go; returns how many stay."""
    at = 0
    for w in range(last):
        if not gone[w]:
            if at != w:
                for j in range(len(store_dC)):
                    store_dC[j, at] = store_dC[j, w]
                label_C[at], weight_C[at] = label_C[w], weight_C[w]
            at += 1
    return at


@njit(cache=True, nogil=True, error_model="numpy")
def _seeds(rows_dm, weight_m, inverse, centres, random):
    """k-means++ (Arthur & Vassilvitskii 2007): the next centre is a row, by its squared distance to those there are."""
    m, count = len(weight_m), centres.shape[1]
    x, far, least = np.empty(len(rows_dm), np.float32), np.empty(m, np.float32), np.full(m, np.float32(np.inf))
    pick = below(random, m)
    for c in range(count):
        for j in range(len(x)):
            centres[j, c] = x[j] = rows_dm[j, pick]
        _distances(x, rows_dm, 0, m, inverse, far)
        total = 0.0
        for i in range(m):
            least[i] = min(least[i], far[i])
            total += weight_m[i] * np.float64(least[i])
        if not 0.0 < total < np.inf:
            pick = below(random, m)
            continue
        left = uniform(random) * total
        pick = m - 1
        for i in range(m):
            left -= weight_m[i] * np.float64(least[i])
            if left < 0.0:
                pick = i
                break


@njit(cache=True, nogil=True, error_model="numpy")
def _means(rows_dm, weight_m, inverse, count, random):
    """Rows in fewer: centres (d, count) of k-means, and the mean weight of the rows of each."""
    d, m = rows_dm.shape
    centres = np.empty((d, count), np.float32)
    _seeds(rows_dm, weight_m, inverse, centres, random)
    x, far, owner = np.empty(d, np.float32), np.empty(count, np.float32), np.full(m, -1)
    sums, power, members = np.empty((d, count)), np.empty(count), np.empty(count)
    for _ in range(_PASSES):
        moved = False
        sums[:], power[:], members[:] = 0.0, 0.0, 0.0
        for i in range(m):
            for j in range(d):
                x[j] = rows_dm[j, i]
            _distances(x, centres, 0, count, inverse, far)
            c = np.argmin(far)
            moved |= owner[i] != c
            owner[i] = c
            power[c] += weight_m[i]
            members[c] += 1.0
            for j in range(d):
                sums[j, c] += weight_m[i] * x[j]
        for c in range(count):
            if members[c] > 0.0:
                for j in range(d):
                    centres[j, c] = sums[j, c] / power[c]
        if not moved:
            break
    return centres, np.where(members > 0.0, power / members, 0.0)


@njit(cache=True, nogil=True, error_model="numpy")
def _compress(store_dC, label_C, weight_C, last, inverse, k, random):
    """Every class in half of its rows; returns how many there are then."""
    d = len(store_dC)
    rows, weight, label = store_dC[:, :last].copy(), weight_C[:last].copy(), label_C[:last].copy()
    at = 0
    for c in range(k):
        own = np.flatnonzero(label == c)
        if len(own) == 0:
            continue
        part, power = np.empty((d, len(own)), np.float32), np.empty(len(own))
        for i in range(len(own)):
            power[i] = weight[own[i]]
            for j in range(d):
                part[j, i] = rows[j, own[i]]
        centres, mean = _means(part, power, inverse, max(len(own) // 2, 1), random)
        for i in range(len(mean)):
            if mean[i] > 0.0:
                for j in range(d):
                    store_dC[j, at] = centres[j, i]
                label_C[at], weight_C[at] = c, mean[i]
                at += 1
    return at


@njit(cache=True, nogil=True, error_model="numpy")
def _hand_over(
    short_dC, label_C, weight_C, first, cut, last, long_dL, label_L, weight_L, held, inverse, wanted
):  # fmt: skip
    """Rows first .. cut of the short-term memory go to the long-term one, but for those that the rest contradicts."""
    d = len(short_dC)
    x, gone = np.empty(d, np.float32), np.zeros(last, np.bool_)
    far, near, away = np.empty(last, np.float32), np.empty(last + 1, np.int64), np.empty(last + 1, np.float32)
    older, away_older, power = np.empty(last + 1, np.int64), np.empty(last + 1, np.float32), np.empty(last + 1)
    for i in range(cut, last):
        for j in range(d):
            x[j] = short_dC[j, i]
        _distances(x, short_dC, first, last, inverse, far)
        far[i] = np.inf  # not itself
        for w in range(first, cut):
            if gone[w]:
                far[w] = np.inf
        count = _nearest(far, cut, last, weight_C, wanted, near, away, power)
        count_older = _nearest(far, first, cut, weight_C, wanted, older, away_older, power)
        _clean(label_C[i], near, away, count, label_C, older, away_older, count_older, label_C, gone)
    for w in range(first, cut):
        if not gone[w]:
            for j in range(d):
                long_dL[j, held] = short_dC[j, w]
            label_L[held], weight_L[held] = label_C[w], weight_C[w]
            held += 1
    return held


@njit(cache=True, nogil=True, error_model="numpy")
def _forget_answers(bits_C, weight_C, first, cut, mind):
    """Take answers to rows that leave the short-term memory out of the account."""
    for w in range(first, cut):
        for which in range(3):
            if bits_C[w] >> (_MIND + which) & 1:
                mind[which] -= weight_C[w]


@njit(cache=True, nogil=True, error_model="numpy")
def self_adjusting(
    x_nd, y_n, weight_n, short_dC, label_C, weight_C, bits_C, long_dL, label_L, weight_L, at, start_l, right_l, mass_l,
    mind, scale_3d, random, k, out, setting,
):  # fmt: skip
    """Short-term memory, long-term memory, and which of them, or both, did better lately.

    at       first and last of the short-term memory, rows of the long-term one, levels
    start_l, right_l, mass_l  of each window: its first row, the weight of rows that it answered right, and of all
    mind     (3,)  the weight of rows now in the short-term memory that this, the long-term one, both answered right
    setting  0 neighbours, 1 rows of both memories, 2 least window, 3 scaled, 4 fade
    """
    n, d = x_nd.shape
    C, L = len(label_C), len(label_L)
    wanted, most, least, scaled, fade = setting[0], int(setting[1]), int(setting[2]), setting[3] > 0.0, setting[4]
    far_S, far_L, inverse = np.empty(C, np.float32), np.empty(L, np.float32), np.empty(d)
    near_S, away_S, power_S = np.empty(C + 1, np.int64), np.empty(C + 1, np.float32), np.empty(C + 1)
    near_L, away_L, power_L = np.empty(L + 1, np.int64), np.empty(L + 1, np.float32), np.empty(L + 1)
    label_B, away_B, power_B = np.empty(C + L, np.int64), np.empty(C + L, np.float32), np.empty(C + L)
    share = np.empty(C + L + 1)
    votes, votes_3k, in_order = np.zeros(k), np.zeros((3, k)), np.arange(C + L)
    right, gone = np.zeros(_LEVELS, np.bool_), np.zeros(L, np.bool_)
    _invert(scale_3d, inverse, scaled)
    for i in range(n):
        x, v, y = x_nd[i], weight_n[i], y_n[i]
        learns = v > 0.0 and y >= 0
        first, last, levels = at[0], at[1], at[3]
        m = last - first
        _distances(x, short_dC, first, last, inverse, far_S)
        _distances(x, long_dL, 0, at[2], inverse, far_L)
        # One pass from the newest row on: each window's answer is that of the nearest so far where it ends.
        count, total, stop = 0, 0.0, last
        for level in range(levels - 1 if learns else 0, 0, -1):
            start = last - ((m + 1) >> level) + 1
            count, total = _scan(far_S, start, stop, weight_C, wanted, near_S, away_S, power_S, count, total)
            _votes(near_S, away_S, power_S, count, label_C, wanted, share, votes)
            right[level] = _is_right(votes, y)
            stop = start
        count, total = _scan(far_S, first, stop, weight_C, wanted, near_S, away_S, power_S, count, total)
        count_L = _nearest(far_L, 0, at[2], weight_L, wanted, near_L, away_L, power_L)
        count_B = _both(
            near_S, away_S, power_S, count, label_C, near_L, away_L, power_L, count_L, label_L, wanted,
            label_B, away_B, power_B,
        )  # fmt: skip
        _votes(near_S, away_S, power_S, count, label_C, wanted, share, votes_3k[0])
        _votes(near_L, away_L, power_L, count_L, label_L, wanted, share, votes_3k[1])
        _votes(in_order, away_B, power_B, count_B, label_B, wanted, share, votes_3k[2])
        if mind[0] >= mind[1] and mind[0] >= mind[2]:
            chosen = 0
        else:
            chosen = 1 if mind[1] >= mind[2] else 2
        if (chosen == 0 and count == 0) or (chosen == 1 and count_L == 0):
            chosen = 2
        out[i, :k] = votes_3k[chosen]
        if not learns:
            continue
        _clean(y, near_S, away_S, count, label_C, near_L, away_L, count_L, label_L, gone)
        at[2] = _keep(long_dL, label_L, weight_L, at[2], gone)
        gone[:] = False
        if last == C:
            _pack(short_dC, first, last)
            label_C[:m], weight_C[:m] = label_C[first:last].copy(), weight_C[first:last].copy()
            bits_C[:m] = bits_C[first:last].copy()
            start_l -= first
            first, last = 0, m
        for j in range(d):
            short_dC[j, last] = x[j]
        label_C[last], weight_C[last], bits_C[last] = y, v, 0
        for which in range(3):
            if _is_right(votes_3k[which], y):
                bits_C[last] |= 1 << (_MIND + which)
                mind[which] += v
        right[0] = _is_right(votes_3k[0], y)
        for level in range(levels):
            mass_l[level] += v
            if right[level]:
                bits_C[last] |= 1 << level
                right_l[level] += v
        last += 1
        m += 1
        _settle(bits_C, weight_C, last, m, levels, start_l, right_l, mass_l)
        while levels < _LEVELS and m >> levels >= least:
            start_l[levels] = last - (m >> levels)
            right_l[levels], mass_l[levels] = _replay(
                short_dC, label_C, weight_C, bits_C, start_l[levels], last, levels, inverse, wanted, k
            )
            levels += 1
        best = 0
        for level in range(1, levels):
            if right_l[level] * mass_l[best] > right_l[best] * mass_l[level]:
                best = level
        if best > 0:
            cut = start_l[best]
            at[2] = _hand_over(
                short_dC, label_C, weight_C, first, cut, last, long_dL, label_L, weight_L, at[2], inverse, wanted
            )
            _forget_answers(bits_C, weight_C, first, cut, mind)
            first = cut
            levels -= best
            for level in range(levels):
                start_l[level], right_l[level] = start_l[level + best], right_l[level + best]
                mass_l[level] = mass_l[level + best]
            for w in range(first, last):
                bits_C[w] = (bits_C[w] >> _MIND << _MIND) | ((bits_C[w] & ((1 << _MIND) - 1)) >> best)
        while last - first + at[2] > most:
            if at[2] > _OLDER * most:
                before = at[2]
                at[2] = _compress(long_dL, label_L, weight_L, at[2], inverse, k, random)
                if at[2] == before:  # one row of every class: the oldest goes
                    gone[0] = True
                    at[2] = _keep(long_dL, label_L, weight_L, at[2], gone)
                    gone[0] = False
            else:
                for j in range(d):
                    long_dL[j, at[2]] = short_dC[j, first]
                label_L[at[2]], weight_L[at[2]] = label_C[first], weight_C[first]
                at[2] += 1
                _forget_answers(bits_C, weight_C, first, first + 1, mind)
                first += 1
                _settle(bits_C, weight_C, last, last - first, levels, start_l, right_l, mass_l)
        at[0], at[1], at[3] = first, last, levels
        if scaled:
            _measure(scale_3d, x, v, fade)
            _invert(scale_3d, inverse, scaled)
