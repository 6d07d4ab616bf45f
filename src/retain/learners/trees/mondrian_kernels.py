# pyright: reportMissingParameterType=false
"""The row loops of Mondrian trees, compiled.

Shapes: n rows, d features, K classes known (or outputs), k >= K columns there is room for, N nodes there is room for.

A tree is four arrays, node 0 the root, nodes 0 .. size - 1 in use:
    link_N4    int32    parent, left, right (-1: none), feature it splits on
    real_N8    float64  the columns named below
    box_N2d    float32  least and largest value of every feature of its rows; NaN: none yet
    stat_Nk    float64  weight of each class; or means of the targets

The logarithm of the weight of the subtree below a node (context tree weighting) lies in its parent, so that a path
touches no sibling: a row costs the cache lines of the nodes it passes, and no others.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from retain.learners.draws import exponential, uniform

__all__ = ["answer", "learn", "prune"]

PARENT, LEFT, RIGHT, FEATURE = 0, 1, 2, 3
SPLIT = 0  # time of its split, inf of a leaf; a node begins at the time its parent splits, the root at 0
THRESHOLD = 1  # rows of at most that go left; a number that float32 holds
WEIGHT = 2  # -step times the loss of the node's own predictions
TOTAL = 3  # weight of its rows
SHARE = 4  # of the mean that the node's own prediction has, of a node that is split
SEEN = 5  # number of the last row learnt that passed
BELOW = 6  # and 7: logarithm of the weight of the subtree to the left, to the right

SIZE, CLOCK = 0, 1  # tally: nodes in use, rows learnt
ERROR, ROWS = 0, 1  # sums: squared error of the answers, weight of the rows


@njit(cache=True, nogil=True, error_model="numpy")
def _next(node, x_d, link_N4, real_N8):
    """The child that a row goes to; a missing value goes where most rows went."""
    value = x_d[link_N4[node, FEATURE]]
    if value <= real_N8[node, THRESHOLD]:
        return link_N4[node, LEFT]
    if value > real_N8[node, THRESHOLD]:
        return link_N4[node, RIGHT]
    left, right = link_N4[node, LEFT], link_N4[node, RIGHT]
    return left if real_N8[left, TOTAL] >= real_N8[right, TOTAL] else right


@njit(cache=True, nogil=True, error_model="numpy")
def _predict(x_d, link_N4, real_N8, stat_Nk, outputs, known, prior, out_K):
    """The mean over all prunings of the tree, of their leaves' predictions for a row."""
    node, left, even = 0, 1.0, 0.0
    for c in range(outputs):
        out_K[c] = 0.0
    while True:
        leaf = link_N4[node, LEFT] < 0
        share = left if leaf else left * real_N8[node, SHARE]
        if known >= 0:
            share_of_one = share / (real_N8[node, TOTAL] + prior * known)
            even += share_of_one * prior
        else:
            share_of_one = share
        for c in range(outputs):
            out_K[c] += share_of_one * stat_Nk[node, c]
        if leaf:
            break
        left *= 1.0 - real_N8[node, SHARE]
        node = _next(node, x_d, link_N4, real_N8)
    for c in range(known):
        out_K[c] += even


@njit(cache=True, nogil=True, error_model="numpy")
def _prior(dirichlet, known):
    """Rows of every class that each node is taken to have seen."""
    if dirichlet > 0.0:
        return dirichlet
    return 0.5 if known <= 2 else 0.01


@njit(cache=True, nogil=True, error_model="numpy")
def answer(x_nd, link_N4, real_N8, stat_Nk, known, dirichlet, out_nK):
    """Predict every row. `known` classes, -1 where targets are numbers."""
    outputs = known if known >= 0 else out_nK.shape[1]
    prior = _prior(dirichlet, known)
    for i in range(len(x_nd)):
        _predict(x_nd[i], link_N4, real_N8, stat_Nk, outputs, known, prior, out_nK[i])


@njit(cache=True, nogil=True, error_model="numpy")
def _rates(x_d, span_4d, rows, mode, rate_d):
    """Take a row into what is known of the features, and how fast each of them splits: 1 / its unit."""
    for j in range(len(x_d)):
        value = float(x_d[j])
        if value != value:
            continue
        if not (value >= span_4d[0, j]):
            span_4d[0, j] = value
        if not (value <= span_4d[1, j]):
            span_4d[1, j] = value
        if mode == 0:
            rate_d[j] = 1.0
        elif mode == 1:
            wide = span_4d[1, j] - span_4d[0, j]
            rate_d[j] = span_4d[3, j] / wide if wide > 0.0 else 0.0
        elif mode == 2:
            delta = value - span_4d[2, j]
            span_4d[2, j] += delta / rows
            span_4d[3, j] += delta * (value - span_4d[2, j])
            rate_d[j] = 1.0 / math.sqrt(span_4d[3, j] / rows) if span_4d[3, j] > 0.0 else 0.0
        else:
            delta = value - span_4d[2, j]
            span_4d[2, j] += delta / rows
            span_4d[3, j] += abs(delta)
            rate_d[j] = 1.0 / (span_4d[3, j] / rows) if span_4d[3, j] > 0.0 else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _update(node, x_d, y_K, code, weight, known, prior, step, unit, now, link_N4, real_N8, box_N2d, stat_Nk, outside):
    """A node takes in a row: its loss, its statistics, its box."""
    total = real_N8[node, TOTAL]
    if known >= 0:
        if total > 0.0:
            there = stat_Nk[node, code] + prior
            if weight == 1.0:
                gain = math.log(there / (total + prior * known))
            else:  # of the rows one by one, also of parts of a row
                gain = math.lgamma(there + weight) - math.lgamma(there)
                gain -= math.lgamma(total + prior * known + weight) - math.lgamma(total + prior * known)
            real_N8[node, WEIGHT] += step * gain
        stat_Nk[node, code] += weight
    else:
        loss, part = 0.0, weight / (total + weight)
        for c in range(len(y_K)):
            miss = y_K[c] - stat_Nk[node, c]
            loss += miss * miss
            stat_Nk[node, c] += part * miss
        if total > 0.0:
            real_N8[node, WEIGHT] -= step * weight * unit * loss
    real_N8[node, TOTAL] = total + weight
    real_N8[node, SEEN] = now
    if outside:
        for j in range(len(x_d)):
            value = x_d[j]
            if value == value:
                if not (value >= box_N2d[node, 0, j]):
                    box_N2d[node, 0, j] = value
                if not (value <= box_N2d[node, 1, j]):
                    box_N2d[node, 1, j] = value


@njit(cache=True, nogil=True, error_model="numpy")
def _weigh(node, real_N8):
    """The logarithm of the weight of the subtree of a node that is split; notes the share of its own prediction."""
    odds = real_N8[node, BELOW] + real_N8[node, BELOW + 1] - real_N8[node, WEIGHT]
    if odds <= 0.0:
        e = math.exp(odds)
        real_N8[node, SHARE] = 1.0 / (1.0 + e)
        return real_N8[node, WEIGHT] + math.log1p(e) - math.log(2.0)
    e = math.exp(-odds)
    real_N8[node, SHARE] = e / (1.0 + e)
    return real_N8[node, BELOW] + real_N8[node, BELOW + 1] + math.log1p(e) - math.log(2.0)


@njit(cache=True, nogil=True, error_model="numpy")
def _climb(node, link_N4, real_N8):
    """Bring the weights above a node up to date."""
    below = real_N8[node, WEIGHT] if link_N4[node, LEFT] < 0 else _weigh(node, real_N8)
    parent = link_N4[node, PARENT]
    while parent >= 0:
        real_N8[parent, BELOW + (0 if link_N4[parent, LEFT] == node else 1)] = below
        below = _weigh(parent, real_N8)
        node, parent = parent, link_N4[parent, PARENT]


@njit(cache=True, nogil=True, error_model="numpy")
def _blank(node, parent, link_N4, real_N8, box_N2d, stat_Nk):
    """A new leaf that has seen no row."""
    link_N4[node, PARENT] = parent
    link_N4[node, LEFT] = link_N4[node, RIGHT] = link_N4[node, FEATURE] = -1
    real_N8[node, :] = 0.0
    real_N8[node, SPLIT] = np.inf
    box_N2d[node, :, :] = np.nan
    stat_Nk[node, :] = 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _part(node, x_d, rate_d, reach, time, random_1, tally, link_N4, real_N8, box_N2d, stat_Nk):
    """Split a node between its box and a row outside of it; returns the new leaf, which is empty.

    The node stays where it is, above the split. What it was, with all below it, moves to the new node `size`; the new
    leaf is the one after.
    """
    drawn = uniform(random_1) * reach
    feature, right, low, high = -1, False, 0.0, 0.0
    for j in range(len(x_d)):
        value, least, most = float(x_d[j]), float(box_N2d[node, 0, j]), float(box_N2d[node, 1, j])
        if value > most:
            step, above, a, b = value - most, True, most, value
        elif value < least:
            step, above, a, b = least - value, False, value, least
        else:
            continue
        if rate_d[j] <= 0.0:
            continue
        feature, right, low, high = j, above, a, b
        drawn -= rate_d[j] * step
        if drawn < 0.0:
            break
    threshold = np.float32(low + uniform(random_1) * (high - low))
    if threshold >= high:  # rounding
        threshold = np.float32(low)
    moved, leaf = tally[SIZE], tally[SIZE] + 1
    tally[SIZE] += 2
    link_N4[moved] = link_N4[node]
    real_N8[moved] = real_N8[node]
    box_N2d[moved] = box_N2d[node]
    stat_Nk[moved] = stat_Nk[node]
    link_N4[moved, PARENT] = node
    below = real_N8[node, WEIGHT]
    if link_N4[moved, LEFT] >= 0:
        link_N4[link_N4[moved, LEFT], PARENT] = moved
        link_N4[link_N4[moved, RIGHT], PARENT] = moved
        below = _weigh(moved, real_N8)
    _blank(leaf, node, link_N4, real_N8, box_N2d, stat_Nk)
    link_N4[node, LEFT], link_N4[node, RIGHT] = (moved, leaf) if right else (leaf, moved)
    link_N4[node, FEATURE] = feature
    real_N8[node, SPLIT], real_N8[node, THRESHOLD] = time, threshold
    real_N8[node, BELOW], real_N8[node, BELOW + 1] = (below, 0.0) if right else (0.0, below)
    return leaf


@njit(cache=True, nogil=True, error_model="numpy")
def learn(
    x_nd, y_nK, weight_n, start, known, settings, random_1, tally, sums, span_4d, link_N4, real_N8, box_N2d, stat_Nk,
    out_nK, point_Nd,
):
    """Predict every row from `start` on, then learn it where its weight is not 0, until there is no room for a split.

    Returns the number of the row that found no room, and of the classes known by then. `known` is the number of classes
    known before, -1 where targets are numbers.
    """
    n, d = x_nd.shape
    outputs = out_nK.shape[1]
    step, dirichlet, split_pure, mode, scaled = settings[0], settings[1], settings[2] > 0.0, settings[3], settings[4]
    rate_d = np.zeros(d)
    prior = _prior(dirichlet, known)
    for i in range(start, n):
        weight = weight_n[i]
        if weight > 0.0 and tally[SIZE] + 2 > len(link_N4):
            return i, known
        x_d, y_K = x_nd[i], y_nK[i]
        if tally[SIZE] > 0:
            _predict(x_d, link_N4, real_N8, stat_Nk, known if known >= 0 else outputs, known, prior, out_nK[i])
        if weight == 0.0:
            continue
        tally[CLOCK] += 1
        now = float(tally[CLOCK])
        code, unit = 0, 0.5
        if known >= 0:
            code = int(y_K[0])
            if code >= known:
                known = code + 1
                prior = _prior(dirichlet, known)
        elif tally[SIZE] > 0 and scaled > 0.0:
            # A squared error counts in units of twice the mean one so far: Gaussians of that variance.
            for c in range(outputs):
                sums[ERROR] += weight * (y_K[c] - out_nK[i, c]) ** 2
            sums[ROWS] += weight
            unit = 0.5 * sums[ROWS] / sums[ERROR] if sums[ERROR] > 0.0 else 0.0
        _rates(x_d, span_4d, now, mode, rate_d)
        if tally[SIZE] == 0:
            _blank(0, -1, link_N4, real_N8, box_N2d, stat_Nk)
            tally[SIZE] = 1
        node, begun = 0, 0.0
        while True:
            beyond = 0
            for j in range(d):
                beyond += not ((x_d[j] >= box_N2d[node, 0, j]) & (x_d[j] <= box_N2d[node, 1, j]))
            leaf = -1
            whole = box_N2d[node].copy()
            inside = False
            if settings[5] >= 3.0 and (beyond == 0 or (settings[5] == 5.0 and uniform(random_1) < 0.5) or settings[5] == 6.0) and known >= 0 and not split_pure and link_N4[node, LEFT] < 0 and stat_Nk[node, code] != real_N8[node, TOTAL]:
                inside = True
                beyond = 1
                for j in range(d):
                    box_N2d[node, 0, j] = box_N2d[node, 1, j] = point_Nd[node, j]
            if beyond > 0 and (known < 0 or split_pure or stat_Nk[node, code] != real_N8[node, TOTAL]):
                reach = 0.0
                for j in range(d):
                    if x_d[j] > box_N2d[node, 1, j]:
                        reach += rate_d[j] * (float(x_d[j]) - float(box_N2d[node, 1, j]))
                    elif x_d[j] < box_N2d[node, 0, j]:
                        reach += rate_d[j] * (float(box_N2d[node, 0, j]) - float(x_d[j]))
                if reach > 0.0:
                    time = begun + exponential(random_1) / reach
                    if time < real_N8[node, SPLIT]:
                        leaf = _part(
                            node, x_d, rate_d, reach, time, random_1, tally, link_N4, real_N8, box_N2d, stat_Nk
                        )
            if inside:
                if leaf >= 0:
                    moved = leaf - 1
                    f = link_N4[node, FEATURE]
                    box_N2d[moved] = whole
                    t = np.float32(real_N8[node, THRESHOLD])
                    if link_N4[node, LEFT] == moved:
                        box_N2d[moved, 1, f] = min(box_N2d[moved, 1, f], t)
                    else:
                        box_N2d[moved, 0, f] = max(box_N2d[moved, 0, f], t)
                    point_Nd[moved] = point_Nd[node]
                box_N2d[node] = whole
                beyond = 1
            elif leaf >= 0:
                point_Nd[leaf - 1] = point_Nd[node]
            if leaf >= 0:
                point_Nd[leaf] = x_d
            elif link_N4[node, LEFT] < 0:
                point_Nd[node] = x_d
            pure = known >= 0 and not split_pure and stat_Nk[node, code] == real_N8[node, TOTAL] and real_N8[node, TOTAL] > 0.0
            if pure and settings[5] == 2.0:
                for j in range(d):
                    box_N2d[node, 0, j] = box_N2d[node, 1, j] = x_d[j]
            _update(
                node, x_d, y_K, code, weight, known, prior, step, unit, now, link_N4, real_N8, box_N2d, stat_Nk,
                beyond > 0 and not (pure and settings[5] > 0.0 and settings[5] < 3.0),
            )
            if leaf >= 0:
                _update(
                    leaf, x_d, y_K, code, weight, known, prior, step, unit, now, link_N4, real_N8, box_N2d, stat_Nk,
                    True,
                )
                break
            if link_N4[node, LEFT] < 0:
                break
            begun = real_N8[node, SPLIT]
            node = _next(node, x_d, link_N4, real_N8)
        _climb(node, link_N4, real_N8)
    return n, known


@njit(cache=True, nogil=True, error_model="numpy")
def prune(tally, most, link_N4, real_N8, box_N2d, stat_Nk):
    """Make leaves of the splits that no row has passed for longest, until at most `most` nodes are left.

    A row that passes a node passed all above it: what no row has passed since some time is whole subtrees. Nodes keep
    their order.
    """
    size = tally[SIZE]
    splits = (size - 1) // 2
    too_many = splits - (most - 1) // 2
    if too_many <= 0:
        return
    seen = np.empty(splits)
    s = 0
    for node in range(size):
        if link_N4[node, LEFT] >= 0:
            seen[s] = real_N8[node, SEEN]
            s += 1
    seen.sort()
    oldest = seen[too_many - 1]
    place = np.empty(size, np.int32)
    left = 0
    for node in range(size):
        parent = link_N4[node, PARENT]
        if parent >= 0 and real_N8[parent, SEEN] <= oldest:
            place[node] = -1
        else:
            place[node] = left
            left += 1
    for node in range(size):
        if place[node] >= 0 and link_N4[node, LEFT] >= 0 and real_N8[node, SEEN] <= oldest:
            link_N4[node, LEFT] = link_N4[node, RIGHT] = link_N4[node, FEATURE] = -1
            real_N8[node, SPLIT] = np.inf
            box_N2d[node, :, :] = np.nan  # begun anew: rows within a box never split it
            _climb(node, link_N4, real_N8)
    for node in range(size):
        to = place[node]
        if to < 0:
            continue
        link_N4[to] = link_N4[node]
        real_N8[to] = real_N8[node]
        box_N2d[to] = box_N2d[node]
        stat_Nk[to] = stat_Nk[node]
        for way in range(3):
            if link_N4[to, way] >= 0:
                link_N4[to, way] = place[link_N4[to, way]]
    tally[SIZE] = left
