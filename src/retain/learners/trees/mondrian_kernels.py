# pyright: reportMissingParameterType=false
"""The row loops of Mondrian trees, compiled.

Shapes: n rows, d features, K classes known (or outputs), k >= K columns there is room for, N nodes there is room for.

A tree is four arrays, node 0 the root, nodes 0 .. size - 1 in use:
    link_N4    int32    parent, left, right (-1: none), feature it splits on
    real_N8    float64  the columns named below
    box_Nrd    float32  least and largest value of every feature of the rows of a node; where r is 3 also the last row
                        of a leaf. NaN: none yet
    stat_Nk    float64  weight of the rows of each class; or means of the targets

The logarithm of the weight of the subtree below a node (context tree weighting) is kept by its parent, and the share
that it gives a node's own prediction by the node: a row looks at no node beside its path, and who predicts needs no
exponential.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from retain.learners.draws import exponential, uniform

__all__ = ["answer", "learn", "prune"]

PARENT, LEFT, RIGHT, FEATURE = 0, 1, 2, 3
SPLIT = 0  # time of its split, inf of a leaf; a node begins when its parent splits, the root at 0
THRESHOLD = 1  # rows of at most that go left; a number that float32 holds
WEIGHT = 2  # logarithm: -step times the loss of the node's own predictions
TOTAL = 3  # weight of its rows
SHARE = 4  # of a node that is split: what its own prediction counts for, the rest is what those below say
SEEN = 5  # number of the last row learnt that passed
BELOW = 6  # and 7: logarithm of the weight of the subtree to the left, to the right
LEAST, MOST, LAST = 0, 1, 2  # rows of a box
SIZE, CLOCK = 0, 1  # tally: nodes in use, rows learnt
ERROR, ROWS = 0, 1  # sums, of numbers: squared error of the answers, weight of the rows
STEP, DIRICHLET, SPLIT_PURE, SCALED = 0, 1, 2, 3  # settings

_HALF = math.log(2.0)
_SURE = 40.0  # e^-40 is nothing beside 1 in float64


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
def _prior(dirichlet, known):
    """How many rows of every class each node is taken to have seen; 0 stands for the rule of thumb."""
    if dirichlet > 0.0:
        return dirichlet
    return 0.5 if known <= 2 else 0.01


@njit(cache=True, nogil=True, error_model="numpy")
def _predict(x_d, tree, outputs, known, prior, out_K):
    """The mean over all prunings of the tree of what the leaf says that a row falls into."""
    link_N4, real_N8, _, stat_Nk = tree
    node, left, even = 0, 1.0, 0.0
    for c in range(outputs):
        out_K[c] = 0.0
    while True:
        leaf = link_N4[node, LEFT] < 0
        share = left if leaf else left * real_N8[node, SHARE]
        if share > 0.0:
            if known >= 0:
                share /= real_N8[node, TOTAL] + prior * known
                even += share * prior
            for c in range(outputs):
                out_K[c] += share * stat_Nk[node, c]
        if leaf:
            break
        left *= 1.0 - real_N8[node, SHARE]
        node = _next(node, x_d, link_N4, real_N8)
    for c in range(known):
        out_K[c] += even


@njit(cache=True, nogil=True, error_model="numpy")
def answer(x_nd, known, settings, tree, out_nK):
    """Predict every row. `known` classes, -1 where targets are numbers."""
    outputs = known if known >= 0 else out_nK.shape[1]
    prior = _prior(settings[DIRICHLET], known)
    for i in range(len(x_nd)):
        _predict(x_nd[i], tree, outputs, known, prior, out_nK[i])


@njit(cache=True, nogil=True, error_model="numpy")
def _rate(span_2d, j, settings):
    """How fast feature j is split: 1 / the range it has been seen to have, or 1."""
    if settings[SCALED] == 0.0:
        return 1.0
    wide = span_2d[MOST, j] - span_2d[LEAST, j]
    return 1.0 / wide if wide > 0.0 else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _widen(x_d, span_2d, rate_d, settings):
    """Take a row into the ranges of the features."""
    for j in range(len(x_d)):
        value = np.float64(x_d[j])
        if value == value and not (span_2d[LEAST, j] <= value <= span_2d[MOST, j]):
            if not (value >= span_2d[LEAST, j]):
                span_2d[LEAST, j] = value
            if not (value <= span_2d[MOST, j]):
                span_2d[MOST, j] = value
            rate_d[j] = _rate(span_2d, j, settings)


@njit(cache=True, nogil=True, error_model="numpy")
def _count(node, code, weight, known, prior, step, tree):
    """A node takes in a row of a class: loss -log (w_c + a) / (w + K a), of all rows but its first; then w_c += v."""
    _, real_N8, _, stat_Nk = tree
    total = real_N8[node, TOTAL]
    mine, all_ = stat_Nk[node, code] + prior, total + prior * known
    if weight != 1.0:  # what v such rows gain one after the other, for any v
        free = 0.0 if total > 0.0 else min(weight, 1.0)
        gain = math.lgamma(mine + weight) - math.lgamma(mine + free)
        real_N8[node, WEIGHT] += step * (gain - math.lgamma(all_ + weight) + math.lgamma(all_ + free))
    elif total > 0.0:
        real_N8[node, WEIGHT] += step * math.log(mine / all_)
    stat_Nk[node, code] += weight
    real_N8[node, TOTAL] = total + weight


@njit(cache=True, nogil=True, error_model="numpy")
def _average(node, y_K, weight, step, unit, tree):
    """A node takes in a row of numbers: loss |y - m|^2 in a unit, then the mean moves."""
    _, real_N8, _, stat_Nk = tree
    total = real_N8[node, TOTAL]
    loss, part = 0.0, weight / (total + weight)
    for c in range(len(y_K)):
        miss = y_K[c] - stat_Nk[node, c]
        loss += miss * miss
        stat_Nk[node, c] += part * miss
    if total > 0.0:
        real_N8[node, WEIGHT] -= step * weight * unit * loss
    real_N8[node, TOTAL] = total + weight


@njit(cache=True, nogil=True, error_model="numpy")
def _outside(x_d, box_rd):
    """Whether a row lies outside of a box; also where a value is missing, or the box has none."""
    beyond = 0
    for j in range(len(x_d)):  # without a branch: the compiler compares many at a time
        beyond += not ((x_d[j] >= box_rd[LEAST, j]) & (x_d[j] <= box_rd[MOST, j]))
    return beyond > 0


@njit(cache=True, nogil=True, error_model="numpy")
def _grow(x_d, box_rd):
    """A box takes in a row."""
    for j in range(len(x_d)):
        value = x_d[j]
        if value == value:
            if not (value >= box_rd[LEAST, j]):
                box_rd[LEAST, j] = value
            if not (value <= box_rd[MOST, j]):
                box_rd[MOST, j] = value


@njit(cache=True, nogil=True, error_model="numpy")
def _reach(x_d, low_d, high_d, rate_d):
    """The rate at which a box is split between it and a row: how far the row lies outside, over all features."""
    reach = 0.0
    for j in range(len(x_d)):
        if x_d[j] > high_d[j]:
            reach += rate_d[j] * (np.float64(x_d[j]) - np.float64(high_d[j]))
        elif x_d[j] < low_d[j]:
            reach += rate_d[j] * (np.float64(low_d[j]) - np.float64(x_d[j]))
    return reach


@njit(cache=True, nogil=True, error_model="numpy")
def _draw(x_d, low_d, high_d, rate_d, reach, random_1):
    """A feature, by its share in the reach, whether the row lies above, and a threshold between the box and the row."""
    drawn = uniform(random_1) * reach
    feature, above, low, high = -1, False, 0.0, 0.0
    for j in range(len(x_d)):
        value, least, most = np.float64(x_d[j]), np.float64(low_d[j]), np.float64(high_d[j])
        if rate_d[j] > 0.0 and (value > most or value < least):
            feature, above = j, value > most
            low, high = (most, value) if above else (value, least)
            drawn -= rate_d[j] * (high - low)
            if drawn < 0.0:
                break
    threshold = np.float32(low + uniform(random_1) * (high - low))
    if threshold >= high or threshold < low:  # rounding
        threshold = np.float32(low)
    return feature, above, threshold


@njit(cache=True, nogil=True, error_model="numpy")
def _blank(node, parent, tree):
    """A new leaf that has seen no row."""
    link_N4, real_N8, box_Nrd, stat_Nk = tree
    link_N4[node, PARENT] = parent
    link_N4[node, LEFT] = link_N4[node, RIGHT] = link_N4[node, FEATURE] = -1
    real_N8[node, :] = 0.0
    real_N8[node, SPLIT] = np.inf
    box_Nrd[node, :, :] = np.nan
    stat_Nk[node, :] = 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _weigh(node, real_N8):
    """The logarithm of the weight of the subtree of a node that is split: of half its own and half that of those below.

    Notes the share of its own.
    """
    own, below = real_N8[node, WEIGHT], real_N8[node, BELOW] + real_N8[node, BELOW + 1]
    odds = below - own
    if odds > _SURE:
        real_N8[node, SHARE] = 0.0
        return below - _HALF
    if odds < -_SURE:
        real_N8[node, SHARE] = 1.0
        return own - _HALF
    e = math.exp(odds)
    real_N8[node, SHARE] = 1.0 / (1.0 + e)
    return own + math.log1p(e) - _HALF


@njit(cache=True, nogil=True, error_model="numpy")
def _climb(node, link_N4, real_N8):
    """Bring the weights of a node and of those above it up to date."""
    below = real_N8[node, WEIGHT] if link_N4[node, LEFT] < 0 else _weigh(node, real_N8)
    parent = link_N4[node, PARENT]
    while parent >= 0:
        real_N8[parent, BELOW if link_N4[parent, LEFT] == node else BELOW + 1] = below
        below = _weigh(parent, real_N8)
        node, parent = parent, link_N4[parent, PARENT]


@njit(cache=True, nogil=True, error_model="numpy")
def _evidence(stat_k, total, known, prior):
    """What a node gains (minus its loss) over rows of so much weight of each class, the same in any order."""
    gain = min(total, 1.0) * math.log(known) - math.lgamma(prior * known + total) + math.lgamma(prior * known)
    for c in range(known):
        if stat_k[c] > 0.0:
            gain += math.lgamma(prior + stat_k[c]) - math.lgamma(prior)
    return gain


@njit(cache=True, nogil=True, error_model="numpy")
def _deal(moved, leaf, drawn, known, prior, step, tree):
    """A leaf was split through its box: each side has the part of its rows that it has of the box."""
    _, real_N8, box_Nrd, stat_Nk = tree
    feature, above, threshold = drawn
    box_Nrd[leaf, :LAST] = box_Nrd[moved, :LAST]
    least, most = np.float64(box_Nrd[leaf, LEAST, feature]), np.float64(box_Nrd[leaf, MOST, feature])
    share = 1.0 - (most - threshold) / (most - least)
    if above:
        share = 1.0 - share
        box_Nrd[moved, MOST, feature] = box_Nrd[leaf, LEAST, feature] = threshold
    else:
        box_Nrd[moved, LEAST, feature] = box_Nrd[leaf, MOST, feature] = threshold
    for c in range(known):
        stat_Nk[leaf, c] = share * stat_Nk[moved, c]
        stat_Nk[moved, c] = (1.0 - share) * stat_Nk[moved, c]
    real_N8[leaf, TOTAL] = share * real_N8[moved, TOTAL]
    real_N8[moved, TOTAL] = (1.0 - share) * real_N8[moved, TOTAL]
    for side in (leaf, moved):
        real_N8[side, WEIGHT] = step * _evidence(stat_Nk[side], real_N8[side, TOTAL], known, prior)


@njit(cache=True, nogil=True, error_model="numpy")
def _part(node, drawn, time, within, known, prior, step, tally, tree):
    """Split a node; returns the new leaf, which has not seen the row yet.

    The node stays where it is and is what lies above the split. What it was, with all below it, moves to node `size`;
    the new leaf is the one after. `within`: it is a leaf, and the split goes through its box.
    """
    link_N4, real_N8, box_Nrd, stat_Nk = tree
    feature, above, threshold = drawn
    moved, leaf = tally[SIZE], tally[SIZE] + 1
    tally[SIZE] += 2
    link_N4[moved] = link_N4[node]
    real_N8[moved] = real_N8[node]
    box_Nrd[moved] = box_Nrd[node]
    stat_Nk[moved] = stat_Nk[node]
    link_N4[moved, PARENT] = node
    _blank(leaf, node, tree)
    if within:
        _deal(moved, leaf, drawn, known, prior, step, tree)
    below = real_N8[moved, WEIGHT]
    if link_N4[moved, LEFT] >= 0:
        link_N4[link_N4[moved, LEFT], PARENT] = moved
        link_N4[link_N4[moved, RIGHT], PARENT] = moved
        below = _weigh(moved, real_N8)
    link_N4[node, LEFT], link_N4[node, RIGHT] = (moved, leaf) if above else (leaf, moved)
    link_N4[node, FEATURE] = feature
    real_N8[node, SPLIT], real_N8[node, THRESHOLD] = time, threshold
    real_N8[node, BELOW], real_N8[node, BELOW + 1] = (below, 0.0) if above else (0.0, below)
    return leaf


@njit(cache=True, nogil=True, error_model="numpy")
def learn(x_nd, y_nK, weight_n, start, known, settings, random_1, tally, sums, span_2d, tree, out_nK):
    """Predict every row from `start` on, then learn it where its weight is not 0, until there is no room for a split.

    Returns the number of the row that found no room (n: none), and of the classes known by then. `known` is the number
    of classes known before, -1 where targets are numbers.
    """
    link_N4, real_N8, box_Nrd, stat_Nk = tree
    n, d = x_nd.shape
    step, split_pure, classes = settings[STEP], settings[SPLIT_PURE] > 0.0, known >= 0
    keeps_last = box_Nrd.shape[1] > LAST
    rate_d = np.empty(d)
    for j in range(d):
        rate_d[j] = _rate(span_2d, j, settings)
    prior = _prior(settings[DIRICHLET], known)
    code, unit = 0, 0.0
    for i in range(start, n):
        weight = weight_n[i]
        if tally[SIZE] + 2 > len(link_N4):  # also where nothing is to be learnt: a full tree is pruned at once
            return i, known
        x_d, y_K, out_K = x_nd[i], y_nK[i], out_nK[i]
        if tally[SIZE] > 0:
            _predict(x_d, tree, known if classes else len(out_K), known, prior, out_K)
        if weight == 0.0:
            continue
        if classes:
            code = int(y_K[0])
            if code >= known:
                known = code + 1
                prior = _prior(settings[DIRICHLET], known)
        elif tally[SIZE] > 0:
            # A squared error counts in units of twice the mean one so far, as if these were Gaussians.
            for c in range(len(out_K)):
                sums[ERROR] += weight * (y_K[c] - out_K[c]) ** 2
            sums[ROWS] += weight
            unit = 0.5 * sums[ROWS] / sums[ERROR] if sums[ERROR] > 0.0 else 0.0
        _widen(x_d, span_2d, rate_d, settings)
        if tally[SIZE] == 0:
            _blank(0, -1, tree)
            tally[SIZE] = 1
        tally[CLOCK] += 1
        now = np.float64(tally[CLOCK])
        node, begun = 0, 0.0
        while True:
            leaf = link_N4[node, LEFT] < 0
            new = -1
            outside = _outside(x_d, box_Nrd[node])
            if (outside or (leaf and keeps_last)) and (
                split_pure or not classes or stat_Nk[node, code] != real_N8[node, TOTAL]
            ):
                # A leaf of one class was not split while its box grew, which tells nothing of what lies within: there
                # the split is drawn between this row and the leaf's last.
                low_d = box_Nrd[node, LEAST if outside else LAST]
                high_d = box_Nrd[node, MOST if outside else LAST]
                reach = _reach(x_d, low_d, high_d, rate_d)
                if reach > 0.0:
                    time = begun + exponential(random_1) / reach
                    if time < real_N8[node, SPLIT]:
                        drawn = _draw(x_d, low_d, high_d, rate_d, reach, random_1)
                        new = _part(node, drawn, time, not outside, known, prior, step, tally, tree)
            if outside:
                _grow(x_d, box_Nrd[node])
            if classes:
                _count(node, code, weight, known, prior, step, tree)
            else:
                _average(node, y_K, weight, step, unit, tree)
            real_N8[node, SEEN] = now
            if new >= 0:
                _grow(x_d, box_Nrd[new])
                if classes:
                    _count(new, code, weight, known, prior, step, tree)
                else:
                    _average(new, y_K, weight, step, unit, tree)
                real_N8[new, SEEN] = now
                node = new
                break
            if leaf:
                break
            begun = real_N8[node, SPLIT]
            node = _next(node, x_d, link_N4, real_N8)
        if keeps_last:
            last_d = box_Nrd[node, LAST]
            for j in range(d):
                if x_d[j] == x_d[j]:
                    last_d[j] = x_d[j]
        _climb(node, link_N4, real_N8)
    return n, known


@njit(cache=True, nogil=True, error_model="numpy")
def prune(tally, most, tree):
    """Make leaves of the splits that no row has passed for longest, until at most `most` nodes are left.

    A row that passes a node has passed all above it, so that what no row has passed since some time is whole subtrees.
    Nodes keep their order.
    """
    link_N4, real_N8, box_Nrd, stat_Nk = tree
    size = tally[SIZE]
    splits = (size - 1) // 2
    too_many = splits - (most - 1) // 2
    if too_many <= 0:
        return
    seen = np.empty(splits)
    found = 0
    for node in range(size):
        if link_N4[node, LEFT] >= 0:
            seen[found] = real_N8[node, SEEN]
            found += 1
    seen.sort()
    oldest = seen[too_many - 1]
    place = np.empty(size, np.int32)
    left = 0
    for node in range(size):
        parent = link_N4[node, PARENT]
        gone = parent >= 0 and real_N8[parent, SEEN] <= oldest
        place[node] = -1 if gone else left
        left += not gone
    for node in range(size):
        if place[node] >= 0 and link_N4[node, LEFT] >= 0 and real_N8[node, SEEN] <= oldest:
            link_N4[node, LEFT] = link_N4[node, RIGHT] = link_N4[node, FEATURE] = -1
            real_N8[node, SPLIT] = np.inf
            box_Nrd[node, :, :] = np.nan  # begins anew: rows within a box would never split it again
            _climb(node, link_N4, real_N8)
    for node in range(size):
        to = place[node]
        if to >= 0:
            link_N4[to] = link_N4[node]
            real_N8[to] = real_N8[node]
            box_Nrd[to] = box_Nrd[node]
            stat_Nk[to] = stat_Nk[node]
            for way in (PARENT, LEFT, RIGHT):
                if link_N4[to, way] >= 0:
                    link_N4[to, way] = place[link_N4[to, way]]
    tally[SIZE] = left
