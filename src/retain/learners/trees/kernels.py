# pyright: reportMissingParameterType=false
# numba infers the types of arguments, for each that a kernel is called with.
"""Row loops of trees of classes: where a row goes, what its leaf says, what it learns, and whether it splits.

Shapes: n rows, d features, C nodes, S slots, m features that a leaf looks at, K classes, Q nominal features of V values
(or buckets of values) each. Only leaves have observers, which are most of the memory: a leaf's lie in a slot, that
the first of its children takes over when it splits. All arrays are longer than what is used of them; `Tree.size` tells.

A kernel stops before a row for which there may be no room, and returns its number; whoever called it doubles the
arrays and goes on from there. So nothing depends on when that happens.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from retain.core import Array
from retain.learners.draws import below
from retain.learners.uncounted import uncounted

__all__ = [
    "BAYES",
    "CLASSES",
    "EITHER",
    "MAJORITY",
    "NODES",
    "SLOTS",
    "SPARE_NODES",
    "SPARE_SLOTS",
    "Forms",
    "Tree",
    "answer",
    "best_splits",
    "bound",
    "cramped",
    "deepen",
    "discard",
    "gather",
    "learn",
    "look",
    "measure",
    "merit",
    "replant",
    "room",
    "route",
    "rows",
    "side",
    "sprout",
    "take_in",
]

MAJORITY, BAYES, EITHER = 0, 1, 2  # what leaves say
NODES, SLOTS, CLASSES, SPARE_NODES, SPARE_SLOTS = 0, 1, 2, 3, 4  # places in `Tree.size`
_WEIGHT, _MEAN, _SPREAD, _NARROW = 0, 1, 2, 3  # places in `Tree.stats`
_LOW, _HIGH = 0, 1  # places in `Tree.span`
_CUTS = 10  # thresholds that are tried for a number, evenly between the least and the largest
_ROOT2 = math.sqrt(2.0)
_PRIOR = 0.01  # a class varies by this share of what all rows vary, as far as one row can tell


class Tree(NamedTuple):
    """A tree as arrays, node 0 first; see the top of this file for the shapes."""

    size: Array  # (5,) int64 nodes, slots and classes so far; nodes and slots among them that were given back
    limit: Array  # (2,) int64 how many nodes and slots there may be
    test: Array  # (C,) int32 the feature that a node asks for; -1 at a leaf
    value: Array  # (C,) float64 numbers up to it go left; of nominal features, this value does
    child: Array  # (C, 2) int32
    slot: Array  # (C,) int32 of a leaf; -1: it does not look at features
    depth: Array  # (C,) int32
    weight: Array  # (C, 2) float64 of the rows that came by; the same when a leaf last thought of a split
    right: Array  # (C, 2) float64 how often the majority, and how often Bayes, was right
    counts: Array  # (C, K) float64 weight of the classes
    pick: Array  # (S, m) int32 the features that are looked at, ascending
    stats: Array  # (S, K, 4, m) float64 weight, mean, squared deviations, and 1 / (2 variance)
    span: Array  # (S, K, 2, m) float32 the least and the largest
    fit: Array  # (S, K, 2) float64 weight of the class in this slot, and sum of ln(1 / (2 variance)) / 2
    values: Array  # (S, Q, V, K) float64 weight of each value of nominal features
    spare_node: Array  # (C,) int32 nodes to be used again, the last one first
    spare_slot: Array  # (S,) int32
    scale: Array  # (4, d) float64 weight, mean, squared deviations and variance of all rows learnt
    seed: Array  # (1,) uint64 see `draws`


class Forms(NamedTuple):
    """How a tree grows."""

    leaf: int  # MAJORITY, BAYES, EITHER
    grace: float  # weight between two thoughts of a split
    delta: float  # chance that a split is not the best one
    tie: float  # a bound below which the two best are as good as each other
    branch: float  # share of the weight that two branches must have
    deepest: int
    place: Array  # (d,) int32 number among the nominal features; -1 for numbers
    subset: Array  # (m,) int32 the features every leaf looks at; empty: m of them, drawn for each leaf


# --- where a row goes -------------------------------------------------------------------------------------------------


@njit(forceinline=True, cache=True, nogil=True, error_model="numpy")
def bucket(x, values):
    """The place of a nominal value among so many: itself, or where there are more, one shared with others."""
    return int(np.floor(x) % values)


@njit(forceinline=True, cache=True, nogil=True, error_model="numpy")
def side(tree, forms, node, x_d):
    """0 or 1: left or right. What is missing goes where most went."""
    f = tree.test[node]
    x = x_d[f]
    if x != x:
        left, right = tree.child[node, 0], tree.child[node, 1]
        return 0 if tree.weight[left, 0] >= tree.weight[right, 0] else 1
    if forms.place[f] >= 0:
        return 0 if bucket(x, tree.values.shape[2]) == tree.value[node] else 1
    return 0 if x <= tree.value[node] else 1


@njit(forceinline=True, cache=True, nogil=True, error_model="numpy")
def route(tree, forms, x_d, w):
    """The leaf that a row comes to; its weight is left on the way, which no answer looks at."""
    node = 0
    tree.weight[0, 0] += w
    while tree.test[node] >= 0:
        node = tree.child[node, side(tree, forms, node, x_d)]
        tree.weight[node, 0] += w
    return node


# --- what a leaf says -------------------------------------------------------------------------------------------------


@njit(forceinline=True, cache=True, nogil=True, error_model="numpy")
def gather(tree, forms, slot, x_d, x_m):
    """The features that a leaf looks at, 0 for nominal ones; returns whether one of them is missing."""
    missing = False
    for j in range(len(x_m)):
        f = tree.pick[slot, j]
        x = x_d[f]
        missing |= x != x
        x_m[j] = 0.0 if forms.place[f] >= 0 and x == x else x
    return missing


@njit(forceinline=True, cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _distance(mean_m, narrow_m, x_m):
    total = 0.0
    for j in range(len(x_m)):
        gap = x_m[j] - mean_m[j]
        total += gap * gap * narrow_m[j]
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _bayes(tree, forms, node, x_d, x_m, missing, p_K):
    """Naive Bayes: a Gaussian for each number, shares for nominal ones. The likeliest class, or -1: none was seen."""
    slot = tree.slot[node]
    known = tree.size[CLASSES]
    most, best = -np.inf, -1
    for c in range(known):
        if not (tree.fit[slot, c, 0] > 0.0 and tree.counts[node, c] > 0.0):
            p_K[c] = -np.inf
            continue
        score = math.log(tree.counts[node, c]) + tree.fit[slot, c, 1]
        stats = tree.stats[slot, c]
        if missing:
            for j in range(len(x_m)):
                if x_m[j] == x_m[j]:
                    gap = x_m[j] - stats[_MEAN, j]
                    score -= gap * gap * stats[_NARROW, j]
                elif stats[_NARROW, j] > 0.0:
                    score -= 0.5 * math.log(stats[_NARROW, j])
        else:
            score -= _distance(stats[_MEAN], stats[_NARROW], x_m)
        if tree.values.shape[1]:
            for j in range(len(x_m)):
                f = tree.pick[slot, j]
                q = forms.place[f]
                if q >= 0 and x_m[j] == x_m[j]:
                    values = tree.values.shape[2]
                    share = tree.values[slot, q, bucket(x_d[f], values), c] + 1.0
                    score += math.log(share / (stats[_WEIGHT, j] + values))
        p_K[c] = score
        if score > most or best < 0:
            most, best = score, c
    if best < 0:
        return -1
    total = 0.0
    for c in range(known):
        p_K[c] = math.exp(p_K[c] - most) if p_K[c] > -np.inf else 0.0
        total += p_K[c]
    for c in range(known):
        p_K[c] /= total
    return best


@njit(forceinline=True, cache=True, nogil=True, error_model="numpy")
def _majority(tree, node, p_K):
    """The shares of the classes; the largest, or -1 where nothing was learnt."""
    known = tree.size[CLASSES]
    total, best = 0.0, -1
    for c in range(known):
        total += tree.counts[node, c]
        if tree.counts[node, c] > 0.0 and (best < 0 or tree.counts[node, c] > tree.counts[node, best]):
            best = c
    for c in range(known):
        p_K[c] = tree.counts[node, c] / total if best >= 0 else 0.0
    return best


@njit(cache=True, nogil=True, error_model="numpy")
def answer(tree, forms, node, x_d, x_m, p_K, said_2):
    """What a leaf says into p_K (known classes); said_2 takes what the majority and what Bayes hold for the likeliest.

    Returns whether a feature is missing; x_m holds the features that the leaf looks at.
    """
    missing = False
    said_2[0] = _majority(tree, node, p_K)
    said_2[1] = said_2[0]
    slot = tree.slot[node]
    if slot < 0:
        return missing
    missing = gather(tree, forms, slot, x_d, x_m)
    if forms.leaf == MAJORITY:
        return missing
    said_2[1] = _bayes(tree, forms, node, x_d, x_m, missing, p_K)
    if said_2[1] < 0:
        said_2[1] = said_2[0]
        _majority(tree, node, p_K)
    elif forms.leaf == EITHER and tree.right[node, 0] > tree.right[node, 1]:
        _majority(tree, node, p_K)
    return missing


# --- what it learns ---------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True, error_model="numpy")
def measure(scale_4d, x_d, w):
    """How the features of all rows lie and vary; NaN is passed over."""
    for f in range(len(x_d)):
        x = x_d[f]
        there = x == x
        v = w if there else 0.0
        weight = scale_4d[0, f] + v
        gap = x - scale_4d[1, f] if there else 0.0
        mean = scale_4d[1, f] + gap * (v / weight if weight > 0.0 else 0.0)
        spread = scale_4d[2, f] + v * gap * ((x - mean) if there else 0.0)
        scale_4d[0, f] = weight
        scale_4d[1, f] = mean
        scale_4d[2, f] = spread
        scale_4d[3, f] = spread / weight if weight > 0.0 else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _observe(stats_4m, span_2m, x_m, w, pick_m, scale_4d):
    """A row of one class: weight, mean, deviations and range of each number; NaN is passed over."""
    for j in range(len(x_m)):
        x = x_m[j]
        there = x == x
        v = w if there else 0.0
        weight = stats_4m[0, j] + v
        gap = x - stats_4m[1, j] if there else 0.0
        mean = stats_4m[1, j] + gap * (v / weight if weight > 0.0 else 0.0)
        spread = stats_4m[2, j] + v * gap * ((x - mean) if there else 0.0)
        stats_4m[0, j] = weight
        stats_4m[1, j] = mean
        stats_4m[2, j] = spread
        # One more row, of a small variance: a class seen with one value only would shut all others out. And numbers
        # that never vary may vary by what float32 could not tell.
        n = weight - 1.0 if weight >= 2.0 else weight
        floor = _PRIOR * scale_4d[3, pick_m[j]] + n * (1e-14 * mean * mean) + 1e-30
        if n > 0.0:
            stats_4m[3, j] = 0.5 * (n + 1.0) / (spread + floor)
        else:  # of a feature that this class never had: what all rows have
            stats_4m[1, j] = scale_4d[1, pick_m[j]]
            stats_4m[3, j] = 0.5 / scale_4d[3, pick_m[j]] if scale_4d[3, pick_m[j]] > 0.0 else 0.0
        span_2m[0, j] = min(span_2m[0, j], x) if there else span_2m[0, j]
        span_2m[1, j] = max(span_2m[1, j], x) if there else span_2m[1, j]


@njit(cache=True, nogil=True, error_model="numpy")
def _half_log(narrow_m):
    """Half the sum of the logarithms: of products, while they fit."""
    total, product = 0.0, 1.0
    for j in range(len(narrow_m)):
        product *= narrow_m[j] if narrow_m[j] > 0.0 else 1.0
        if product > 1e150 or product < 1e-150:
            total += math.log(product)
            product = 1.0
    return 0.5 * (total + math.log(product))


@njit(cache=True, nogil=True, error_model="numpy")
def take_in(tree, forms, node, x_d, x_m, y, w):
    """A row's class and features, at a leaf; x_m as `answer` left it."""
    tree.counts[node, y] += w
    slot = tree.slot[node]
    if slot < 0:
        return
    _observe(tree.stats[slot, y], tree.span[slot, y], x_m, w, tree.pick[slot], tree.scale)
    tree.fit[slot, y, 0] += w
    if forms.leaf != MAJORITY:
        tree.fit[slot, y, 1] = _half_log(tree.stats[slot, y, _NARROW])
    if tree.values.shape[1]:
        for j in range(len(x_m)):
            f = tree.pick[slot, j]
            q = forms.place[f]
            if q >= 0 and x_m[j] == x_m[j]:
                tree.values[slot, q, bucket(x_d[f], tree.values.shape[2]), y] += w


# --- splits -----------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True, error_model="numpy")
def _entropy(weight_K, total):
    """In bits."""
    if not total > 0.0:
        return 0.0
    e = 0.0
    for c in range(len(weight_K)):
        if weight_K[c] > 0.0:
            share = weight_K[c] / total
            e -= share * math.log2(share)
    return e


@njit(cache=True, nogil=True, error_model="numpy")
def _below(tree, slot, j, cut, left_K, right_K):
    """How much of each class lies at or below a cut, by its Gaussian, and how much above."""
    for c in range(len(left_K)):
        n = tree.stats[slot, c, _WEIGHT, j]
        share = 0.0
        if n > 0.0:
            if cut >= tree.span[slot, c, _HIGH, j]:
                share = 1.0
            elif cut >= tree.span[slot, c, _LOW, j]:
                z = (cut - tree.stats[slot, c, _MEAN, j]) * math.sqrt(2.0 * tree.stats[slot, c, _NARROW, j])
                share = 0.5 * (1.0 + math.erf(z / _ROOT2))
        left_K[c] = n * share
        right_K[c] = n - left_K[c]


@njit(cache=True, nogil=True, error_model="numpy")
def _alike(tree, slot, q, v, left_K, right_K):
    """How much of each class has a nominal value, and how much has another."""
    for c in range(len(left_K)):
        left_K[c] = tree.values[slot, q, v, c]
        other = 0.0
        for u in range(tree.values.shape[2]):
            if u != v:
                other += tree.values[slot, q, u, c]
        right_K[c] = other


@njit(cache=True, nogil=True, error_model="numpy")
def _gain(left_K, right_K, both_K, branch):
    """Information gain in bits; -inf where one branch has next to nothing."""
    left, right = 0.0, 0.0
    for c in range(len(left_K)):
        left += left_K[c]
        right += right_K[c]
        both_K[c] = left_K[c] + right_K[c]
    total = left + right
    if not min(left, right) > branch * total:
        return -np.inf
    after = (left * _entropy(left_K, left) + right * _entropy(right_K, right)) / total
    return _entropy(both_K, total) - after


@njit(cache=True, nogil=True, error_model="numpy")
def merit(tree, forms, node, feature, value, room_3K):
    """Of one split of a node that looks at all features, in bits."""
    slot, known = tree.slot[node], tree.size[CLASSES]
    left_K, right_K = room_3K[0, :known], room_3K[1, :known]
    q = forms.place[feature]
    if q >= 0:
        _alike(tree, slot, q, int(value), left_K, right_K)
    else:
        _below(tree, slot, feature, value, left_K, right_K)
    return _gain(left_K, right_K, room_3K[2, :known], forms.branch)


@njit(cache=True, nogil=True, error_model="numpy")
def best_splits(tree, forms, node, room_3K, out_5):
    """The best split of a leaf's features and the merit of the second best feature, in bits; no split has merit 0.

    out_5: merit, merit of the second, feature (-1: no split), value, and its place among those looked at.
    """
    slot = tree.slot[node]
    known = tree.size[CLASSES]
    left_K, right_K, both_K = room_3K[0, :known], room_3K[1, :known], room_3K[2, :known]
    out_5[0], out_5[1], out_5[2], out_5[3], out_5[4] = 0.0, -np.inf, -1.0, 0.0, -1.0
    for j in range(tree.pick.shape[1]):
        f = tree.pick[slot, j]
        q = forms.place[f]
        merit, at = -np.inf, 0.0
        if q >= 0:
            for v in range(tree.values.shape[2]):
                _alike(tree, slot, q, v, left_K, right_K)
                gain = _gain(left_K, right_K, both_K, forms.branch)
                if gain > merit:
                    merit, at = gain, float(v)
        else:
            low, high = np.inf, -np.inf
            for c in range(known):
                low = min(low, tree.span[slot, c, _LOW, j])
                high = max(high, tree.span[slot, c, _HIGH, j])
            if low < high:
                for k in range(1, _CUTS + 1):
                    cut = low + (high - low) * k / (_CUTS + 1)
                    _below(tree, slot, j, cut, left_K, right_K)
                    gain = _gain(left_K, right_K, both_K, forms.branch)
                    if gain > merit:
                        merit, at = gain, cut
        if merit > out_5[0]:
            out_5[1] = out_5[0]
            out_5[0], out_5[2], out_5[3], out_5[4] = merit, f, at, j
        elif merit > out_5[1]:
            out_5[1] = merit


@njit(cache=True, nogil=True, error_model="numpy")
def bound(tree, node, delta):
    """Hoeffding's: how far a mean of gains may be from its expectation, with probability 1 - delta."""
    there = 0
    for c in range(tree.size[CLASSES]):
        there += tree.counts[node, c] > 0.0
    reach = math.log2(max(there, 2))
    return math.sqrt(reach * reach * math.log(1.0 / delta) / (2.0 * tree.weight[node, 0]))


@njit(cache=True, nogil=True, error_model="numpy")
def _clear(tree, forms, slot):
    """A slot of a new leaf, with the features that it will look at."""
    tree.stats[slot] = 0.0
    tree.span[slot, :, _LOW] = np.inf
    tree.span[slot, :, _HIGH] = -np.inf
    tree.fit[slot] = 0.0
    tree.values[slot] = 0.0
    m, d = tree.pick.shape[1], len(forms.place)
    if len(forms.subset):
        tree.pick[slot] = forms.subset
        return
    # m of d without a second look at any (Knuth's selection), in ascending order
    left = m
    for f in range(d):
        if left and below(tree.seed, d - f) < left:
            tree.pick[slot, m - left] = f
            left -= 1


@njit(cache=True, nogil=True, error_model="numpy")
def room(tree):
    """How many more nodes and slots there may be: where arrays are too short, they were made longer in time."""
    nodes = tree.limit[0] - tree.size[NODES] + tree.size[SPARE_NODES]
    slots = tree.limit[1] - tree.size[SLOTS] + tree.size[SPARE_SLOTS]
    return nodes, slots


@njit(cache=True, nogil=True, error_model="numpy")
def sprout(tree, depth):
    """A new leaf that has learnt nothing and looks at nothing yet; there is room for it."""
    if tree.size[SPARE_NODES]:
        tree.size[SPARE_NODES] -= 1
        node = tree.spare_node[tree.size[SPARE_NODES]]
    else:
        node = tree.size[NODES]
        tree.size[NODES] += 1
    tree.test[node] = -1
    tree.value[node] = 0.0
    tree.child[node] = 0
    tree.slot[node] = -1
    tree.depth[node] = depth
    tree.weight[node] = 0.0
    tree.right[node] = 0.0
    tree.counts[node] = 0.0
    return node


@njit(cache=True, nogil=True, error_model="numpy")
def discard(tree, node):
    """Give a node back, and its slot."""
    if tree.slot[node] >= 0:
        tree.spare_slot[tree.size[SPARE_SLOTS]] = tree.slot[node]
        tree.size[SPARE_SLOTS] += 1
    tree.test[node], tree.slot[node], tree.depth[node] = -1, -1, 0
    tree.spare_node[tree.size[SPARE_NODES]] = node
    tree.size[SPARE_NODES] += 1


@njit(cache=True, nogil=True, error_model="numpy")
def _promise(tree, node):
    """What a leaf gets wrong: what a split could gain."""
    total, most = 0.0, 0.0
    for c in range(tree.size[CLASSES]):
        total += tree.counts[node, c]
        most = max(most, tree.counts[node, c])
    return total - most


@njit(cache=True, nogil=True, error_model="numpy")
def look(tree, forms, node):
    """A slot for a leaf: a free one, or that of the leaf that promises least, if it promises less than half as much."""
    slot = -1
    if tree.size[SPARE_SLOTS]:
        tree.size[SPARE_SLOTS] -= 1
        slot = tree.spare_slot[tree.size[SPARE_SLOTS]]
    elif tree.size[SLOTS] < min(len(tree.pick), tree.limit[1]):
        slot = tree.size[SLOTS]
        tree.size[SLOTS] += 1
    else:
        least, poorest = 0.5 * _promise(tree, node), -1
        for other in range(tree.size[NODES]):
            if tree.test[other] < 0 and tree.slot[other] >= 0 and other != node:
                promise = _promise(tree, other)
                if promise < least:
                    least, poorest = promise, other
        if poorest >= 0:
            slot = tree.slot[poorest]
            tree.slot[poorest] = -1
    tree.slot[node] = slot
    if slot >= 0:
        _clear(tree, forms, slot)


@njit(cache=True, nogil=True, error_model="numpy")
def replant(tree, forms):
    """The whole tree becomes one leaf that has learnt nothing. The classes stay known."""
    tree.size[NODES], tree.size[SLOTS], tree.size[SPARE_NODES], tree.size[SPARE_SLOTS] = 0, 0, 0, 0
    tree.spare_node[:] = 0
    tree.spare_slot[:] = 0
    look(tree, forms, sprout(tree, 0))


@njit(cache=True, nogil=True, error_model="numpy")
def deepen(tree, forms, node, feature, value, place, room_3K, keeps):
    """A leaf becomes a test with two leaves, which know what of each class would have come to them.

    Its slot goes to the heavier of them, unless it `keeps` looking at features.
    """
    slot = tree.slot[node]
    known = tree.size[CLASSES]
    left_K, right_K = room_3K[0, :known], room_3K[1, :known]
    q = forms.place[feature]
    if q >= 0:
        _alike(tree, slot, q, int(value), left_K, right_K)
    else:
        _below(tree, slot, place, value, left_K, right_K)
    tree.test[node], tree.value[node] = feature, value
    heavy = 0 if left_K.sum() >= right_K.sum() else 1
    for s in range(2):
        new = sprout(tree, tree.depth[node] + 1)
        tree.child[node, s] = new
        share_K = left_K if s == 0 else right_K
        for c in range(known):
            tree.counts[new, c] = share_K[c]
            tree.weight[new, 0] += share_K[c]
        tree.weight[new, 1] = tree.weight[new, 0]
    if not keeps:
        tree.slot[node] = -1
        tree.slot[tree.child[node, heavy]] = slot
        _clear(tree, forms, slot)
    else:
        look(tree, forms, tree.child[node, heavy])
    look(tree, forms, tree.child[node, 1 - heavy])


@njit(cache=True, nogil=True, error_model="numpy")
def _consider(tree, forms, node, room_3K, out_5):
    """Split a leaf if its best feature is better than the second best beyond chance, or no worse and both matter."""
    tree.weight[node, 1] = tree.weight[node, 0]
    if not _promise(tree, node) > 0.0:
        return
    if tree.slot[node] < 0:
        look(tree, forms, node)
        return
    if tree.depth[node] >= forms.deepest or room(tree)[0] < 2:
        return
    best_splits(tree, forms, node, room_3K, out_5)
    if out_5[2] < 0.0:
        return
    slack = bound(tree, node, forms.delta)
    if out_5[0] - out_5[1] > slack or slack < forms.tie:
        deepen(tree, forms, node, int(out_5[2]), out_5[3], int(out_5[4]), room_3K, False)


@njit(forceinline=True, cache=True, nogil=True, error_model="numpy")
def cramped(tree, y, nodes, slots):
    """Whether a class is new to the arrays, or a row may want more room than they have, and may have it."""
    few = len(tree.test) < tree.limit[0] and tree.size[NODES] - tree.size[SPARE_NODES] + nodes > len(tree.test)
    none = len(tree.pick) < tree.limit[1] and tree.size[SLOTS] - tree.size[SPARE_SLOTS] + slots > len(tree.pick)
    return few or none or y >= tree.counts.shape[1]


@njit(cache=True, nogil=True, error_model="numpy")
def learn(tree, forms, x_d, y, w, said_2, node, x_m, room_3K, out_5):
    """Learn a row at the leaf that has just answered it."""
    tree.size[CLASSES] = max(tree.size[CLASSES], y + 1)
    tree.right[node, 0] += w * (said_2[0] == y)
    tree.right[node, 1] += w * (said_2[1] == y)
    measure(tree.scale, x_d, w)
    take_in(tree, forms, node, x_d, x_m, y, w)
    if tree.weight[node, 0] - tree.weight[node, 1] >= forms.grace:
        _consider(tree, forms, node, room_3K, out_5)


@njit(cache=True, nogil=True, error_model="numpy")
def rows(tree, forms, x_nd, y_n, w_n, out_nK, start):
    """Answer and learn rows from `start` on; returns the row that there may be no room for, or n."""
    tree, forms = uncounted(tree), uncounted(forms)
    x_nd, y_n, w_n, out_nK = uncounted((x_nd, y_n, w_n, out_nK))
    x_m = np.empty(tree.pick.shape[1])
    said_2 = np.empty(2, dtype=np.int64)
    room_3K, out_5 = np.empty((3, tree.counts.shape[1])), np.empty(5)
    for i in range(start, len(x_nd)):
        learns = y_n[i] >= 0 and w_n[i] > 0.0
        if learns and cramped(tree, y_n[i], 2, 1):
            return i
        node = route(tree, forms, x_nd[i], w_n[i] if learns else 0.0)
        answer(tree, forms, node, x_nd[i], x_m, out_nK[i], said_2)
        if learns:
            learn(tree, forms, x_nd[i], y_n[i], w_n[i], said_2, node, x_m, room_3K, out_5)
    return len(x_nd)
