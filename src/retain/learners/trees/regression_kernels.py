# pyright: reportMissingParameterType=false
# numba infers the types of arguments, for each that a kernel is called with.
"""Row loops of trees of numbers: what a leaf says, what it learns, and whether it splits.

Shapes: n rows, d features, C nodes, S slots, m features that a leaf looks at, L that its line is of (those m, or all
where each leaf has its own m), B bins, Q nominal features of V values each. Where rows go, and how room is made, is as
in `kernels`, whose functions read these trees, too.

A leaf keeps, for each number, a histogram of bins of one width: the weight that fell in, and the sum of how far the
targets were off: off a fixed centre where leaves say means, off what the line said where they have lines. The second
asks what lines leave unexplained (Friedman's function, noise 1: an error of 1.45 beside 2.0). Widths are powers of two
and edges multiples of them, so that an edge is exact; a bin holds what lies above its lower edge, up to its upper one,
as a test does. A value outside of all bins doubles their width. The cut that parts the targets best is found from these
sums alone, for the variance within is the variance of all less that between: no squares, which cancel, are kept.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from retain.core import Array
from retain.learners.draws import below
from retain.learners.trees.kernels import bucket, gather, measure, route
from retain.learners.uncounted import uncounted

__all__ = [
    "BINS",
    "EITHER",
    "FULL",
    "LINE",
    "MEAN",
    "NODES",
    "SLOTS",
    "Tree",
    "answer",
    "best_splits",
    "cramped",
    "learn",
    "replant",
    "rows",
]

MEAN, LINE, EITHER = 0, 1, 2  # what leaves say
NODES, SLOTS = 0, 1  # places in `Tree.size`
BINS = 32
FULL = 32  # features up to which a line knows how they vary together
_LOG_BINS = 5
_FADE = 0.99  # of the errors that mean and line are compared by, each row
_BELIEF = 20.0  # rows that the line of a new leaf's parent counts for
_FEW = 10.0  # rows before which no slope is learnt: features have no scale yet
_ORIGIN, _WIDTH, _INVERSE = 0, 1, 2  # places in `Tree.grid`


class Tree(NamedTuple):
    """A tree as arrays, node 0 first; see the top of this file for the shapes."""

    size: Array  # (2,) int64 nodes and slots in use
    limit: Array  # (2,) int64 how many nodes and slots there may be
    test: Array  # (C,) int32 the feature that a node asks for; -1 at a leaf
    value: Array  # (C,) float64 numbers up to it go left; of nominal features, this value does
    child: Array  # (C, 2) int32
    slot: Array  # (C,) int32 of a leaf; -1: it does not look at features
    depth: Array  # (C,) int32
    weight: Array  # (C, 2) float64 of the rows that came by; the same when a leaf last thought of a split
    target: Array  # (C, 3) float64 weight, mean, and squared deviations of the targets
    error: Array  # (C, 2) float64 faded squared errors of the mean, and of the line
    pick: Array  # (S, m) int32 the features that are looked at, ascending
    bins: Array  # (S, m, B, 2) float64 weight, and sum of how far targets are off
    grid: Array  # (S, m, 3) float64 lower edge of the first bin, width (0: one value was seen, the edge), 1 / width
    centre: Array  # (S,) float64 the mean when the leaf was born
    values: Array  # (S, Q, V, 2) float64 the same, of nominal values
    middle: Array  # (S, 2 + L) float64 weight, mean target, and mean features that the line goes through
    slope: Array  # (S, L) float64 of the line; L is 0 where leaves say means
    inverse: Array  # (S, L, L) or (S, L, 1) float64 inverse of the sums of products of features, or of squares only
    scale: Array  # (4, d) float64 weight, mean, squared deviations and variance of all rows learnt
    span: Array  # (2,) float64 the least and the largest target
    seed: Array  # (1,) uint64 see `draws`


# --- what a leaf says -------------------------------------------------------------------------------------------------


@njit(forceinline=True, cache=True, nogil=True, error_model="numpy")
def _lined(forms, j):
    """The j-th feature of lines."""
    return forms.subset[j] if len(forms.subset) else j


@njit(forceinline=True, cache=True, nogil=True, error_model="numpy")
def answer(tree, forms, node, x_d, room_3L, said_2):
    """What a leaf says; said_2 takes the mean and the line's number, room_3L the features and how far off they are."""
    mean = tree.target[node, 1]
    said_2[0] = mean
    said_2[1] = mean
    slot = tree.slot[node]
    if slot < 0:
        return mean
    gather(tree, forms, slot, x_d, room_3L[0, : tree.pick.shape[1]])
    if forms.leaf == MEAN:
        return mean
    said = tree.middle[slot, 1]
    for j in range(tree.slope.shape[1]):
        f = _lined(forms, j)
        gap = x_d[f] - tree.middle[slot, 2 + j]
        if forms.place[f] >= 0 or gap != gap:
            gap = 0.0  # what is missing is as the others are
        room_3L[1, j] = gap
        said += tree.slope[slot, j] * gap
    if tree.span[0] <= tree.span[1]:
        said = min(max(said, tree.span[0]), tree.span[1])
    said_2[1] = said if said == said else mean
    if forms.leaf == EITHER and tree.error[node, 0] < tree.error[node, 1]:
        return mean
    return said_2[1]


# --- what it learns ---------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True, error_model="numpy")
def _first_width(bins_Bs, grid_3, x):
    """A second value: bins of which a quarter, at most, lies between the two."""
    one = grid_3[_ORIGIN]
    low = min(one, x)
    _, exponent = math.frexp(abs(x - one))
    width = math.ldexp(1.0, exponent + 2 - _LOG_BINS)
    origin = (math.floor(low / width) - 3 * BINS // 8) * width
    grid_3[_ORIGIN], grid_3[_WIDTH], grid_3[_INVERSE] = origin, width, 1.0 / width
    k = math.ceil((one - origin) / width) - 1
    weight, total = bins_Bs[0, 0], bins_Bs[0, 1]
    bins_Bs[0] = 0.0
    bins_Bs[k, 0], bins_Bs[k, 1] = weight, total


@njit(cache=True, nogil=True, error_model="numpy")
def _stretch(bins_Bs, grid_3, x):
    """Double the width until a value lies inside; returns how far it does, in bins."""
    half = BINS // 2
    at = (x - grid_3[_ORIGIN]) * grid_3[_INVERSE]
    while not 0.0 < at <= BINS:
        if at > 0.0:
            for k in range(half):
                for s in range(2):
                    bins_Bs[k, s] = bins_Bs[2 * k, s] + bins_Bs[2 * k + 1, s]
            bins_Bs[half:] = 0.0
        else:
            grid_3[_ORIGIN] -= BINS * grid_3[_WIDTH]
            for k in range(BINS - 1, half - 1, -1):
                for s in range(2):
                    bins_Bs[k, s] = bins_Bs[2 * k - BINS, s] + bins_Bs[2 * k + 1 - BINS, s]
            bins_Bs[:half] = 0.0
        grid_3[_WIDTH] *= 2.0
        grid_3[_INVERSE] *= 0.5
        at = (x - grid_3[_ORIGIN]) * grid_3[_INVERSE]
    return at


@njit(cache=True, nogil=True, error_model="numpy")
def _observe(bins_mBs, grid_m3, x_m, off, w):
    """A row, its target so far off the leaf's centre, falls into a bin of each feature; NaN is passed over."""
    for j in range(len(x_m)):
        x = x_m[j]
        if x != x:
            continue
        width = grid_m3[j, _WIDTH]
        k = 0
        if not width > 0.0:
            if width < 0.0:  # nothing was seen yet
                grid_m3[j, _ORIGIN], grid_m3[j, _WIDTH] = x, 0.0
            elif x != grid_m3[j, _ORIGIN]:
                _first_width(bins_mBs[j], grid_m3[j], x)
                width = 1.0
        if width > 0.0:
            at = (x - grid_m3[j, _ORIGIN]) * grid_m3[j, _INVERSE]
            if not 0.0 < at <= BINS:
                at = _stretch(bins_mBs[j], grid_m3[j], x)
            k = math.ceil(at) - 1
        bins_mBs[j, k, 0] += w
        bins_mBs[j, k, 1] += w * off


@njit(forceinline=True, cache=True, nogil=True, error_model="numpy")
def _regress(tree, forms, slot, y, w, room_3L):
    """A step of recursive least squares on what features and target are off their means by, which is that of a line.

    A row of weight w adds w n / (n + w) times the product of how far it is off the means of the n before it.
    """
    middle_M, slope_L, inverse_Lp = tree.middle[slot], tree.slope[slot], tree.inverse[slot]
    gap_L, gain_L = room_3L[1], room_3L[2]
    m = len(slope_L)
    whole = inverse_Lp.shape[1] == m
    off = y - middle_M[1]
    miss = off
    begins = tree.scale[0, 0] >= _FEW
    for j in range(m):
        miss -= slope_L[j] * gap_L[j]
        own = j if whole else 0
        if inverse_Lp[j, own] == 0.0 and gap_L[j] != 0.0 and begins:
            # The penalty on a slope is as of one row: its unit is known once the feature varies.
            inverse_Lp[j, own] = 1.0 / (tree.scale[3, _lined(forms, j)] + gap_L[j] * gap_L[j])
    share = w * middle_M[0] / (middle_M[0] + w)
    reach = 0.0
    for j in range(m):
        gain = 0.0
        if whole:
            for i in range(m):
                gain += inverse_Lp[j, i] * gap_L[i]
        else:
            gain = inverse_Lp[j, 0] * gap_L[j]
        gain_L[j] = gain
        reach += gain * gap_L[j]
    step = share / (1.0 + share * reach)
    for j in range(m):
        slope_L[j] += step * gain_L[j] * miss
        if whole:
            for i in range(m):
                # The same product for both halves: what they differ by would never shrink, and grow with each belief.
                inverse_Lp[j, i] -= gain_L[j] * gain_L[i] * step
        else:
            inverse_Lp[j, 0] -= step * gain_L[j] * gain_L[j]
    middle_M[0] += w
    moved = w / middle_M[0]
    middle_M[1] += moved * off
    for j in range(m):
        middle_M[2 + j] += moved * gap_L[j]


@njit(forceinline=True, cache=True, nogil=True, error_model="numpy")
def _take_in(tree, forms, node, x_d, y, w, said_2, room_3L):
    """A row's target and features, at a leaf; said_2 and room_3L as `answer` left them."""
    target_3 = tree.target[node]
    target_3[0] += w
    off = y - target_3[1]
    target_3[1] += off * w / target_3[0]
    target_3[2] += w * off * (y - target_3[1])
    slot = tree.slot[node]
    if slot < 0:
        return
    off = y - (tree.centre[slot] if forms.leaf == MEAN else said_2[1])
    _observe(tree.bins[slot], tree.grid[slot], room_3L[0, : tree.pick.shape[1]], off, w)
    if tree.values.shape[1]:
        for j in range(tree.pick.shape[1]):
            f = tree.pick[slot, j]
            q = forms.place[f]
            if q >= 0 and x_d[f] == x_d[f]:
                v = bucket(x_d[f], tree.values.shape[2])
                tree.values[slot, q, v, 0] += w
                tree.values[slot, q, v, 1] += w * off
    if forms.leaf != MEAN:
        _regress(tree, forms, slot, y, w, room_3L)


# --- splits -----------------------------------------------------------------------------------------------------------


@njit(forceinline=True, cache=True, nogil=True, error_model="numpy")
def _between(left, total_left, weight, total, branch):
    """The variance between two branches; -inf where one has next to nothing."""
    right = weight - left
    if not min(left, right) > branch * weight:
        return -np.inf
    gap = total_left / left - (total - total_left) / right
    return left * right * gap * gap / (weight * weight)


@njit(cache=True, nogil=True, error_model="numpy")
def _best_cut(bins_Bs, grid_3, branch):
    """The best cut of a number's histogram: merit, value, weight and sum of what lies up to it."""
    weight, total = 0.0, 0.0
    for k in range(BINS):
        weight += bins_Bs[k, 0]
        total += bins_Bs[k, 1]
    left, total_left, last = 0.0, 0.0, -1
    merit, value, best_left, best_total = -np.inf, 0.0, 0.0, 0.0
    for k in range(BINS):
        if not bins_Bs[k, 0] > 0.0:
            continue
        if last >= 0:
            found = _between(left, total_left, weight, total, branch)
            if found > merit:
                # in the middle of the bins between them that are empty
                merit, value = found, grid_3[_ORIGIN] + 0.5 * (last + 1 + k) * grid_3[_WIDTH]
                best_left, best_total = left, total_left
        left += bins_Bs[k, 0]
        total_left += bins_Bs[k, 1]
        last = k
    return merit, value, best_left, best_total, weight, total


@njit(cache=True, nogil=True, error_model="numpy")
def _best_value(values_Vs, branch):
    """The best value of a nominal feature to stand against the others; returns what `_best_cut` does."""
    weight, total = 0.0, 0.0
    for v in range(len(values_Vs)):
        weight += values_Vs[v, 0]
        total += values_Vs[v, 1]
    merit, value, best_left, best_total = -np.inf, 0.0, 0.0, 0.0
    for v in range(len(values_Vs)):
        found = _between(values_Vs[v, 0], values_Vs[v, 1], weight, total, branch)
        if found > merit:
            merit, value, best_left, best_total = found, float(v), values_Vs[v, 0], values_Vs[v, 1]
    return merit, value, best_left, best_total, weight, total


@njit(cache=True, nogil=True, error_model="numpy")
def best_splits(tree, forms, node, out_8):
    """The best split of a leaf's features and the merit of the second best feature; no split has merit 0.

    A histogram without any cut that leaves something on both sides begins anew.

    out_8: variance between the branches, that of the second, feature (-1: no split), value; weight on the left, sum of
    how far targets are off there; and both of all rows that have the feature.
    """
    slot = tree.slot[node]
    out_8[:] = 0.0
    out_8[2] = -1.0
    for j in range(tree.pick.shape[1]):
        f = tree.pick[slot, j]
        q = forms.place[f]
        if q >= 0:
            merit, value, left, total_left, weight, total = _best_value(tree.values[slot, q], forms.branch)
        else:
            merit, value, left, total_left, weight, total = _best_cut(
                tree.bins[slot, j], tree.grid[slot, j], forms.branch
            )
            if merit == -np.inf:  # an outlier may have widened the bins until one held all
                tree.bins[slot, j] = 0.0
                tree.grid[slot, j, _WIDTH] = -1.0
        if merit > out_8[0]:
            out_8[1] = out_8[0]
            out_8[0], out_8[2], out_8[3] = merit, f, value
            out_8[4], out_8[5], out_8[6], out_8[7] = left, total_left, weight, total
        elif merit > out_8[1]:
            out_8[1] = merit


@njit(cache=True, nogil=True, error_model="numpy")
def _clear(tree, forms, slot, centre):
    """A slot of a new leaf, with the features that it will look at; its line stays."""
    tree.bins[slot] = 0.0
    tree.grid[slot, :, _WIDTH] = -1.0
    tree.centre[slot] = centre
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
def _level(tree, slot):
    """A line through nothing yet."""
    tree.middle[slot] = 0.0
    tree.slope[slot] = 0.0
    tree.inverse[slot] = 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _believe(tree, forms, slot):
    """A new leaf's line is its parent's, worth a few rows."""
    middle_M, inverse_Lp = tree.middle[slot], tree.inverse[slot]
    if not middle_M[0] > _BELIEF:
        return
    inverse_Lp *= middle_M[0] / _BELIEF
    middle_M[0] = _BELIEF
    m = tree.slope.shape[1]
    whole = inverse_Lp.shape[1] == m
    for j in range(m):
        own = inverse_Lp[j, j if whole else 0]
        most = 1.0 / tree.scale[3, _lined(forms, j)]
        if own > most:  # a feature that did not vary here is not known any less than at first
            ratio = math.sqrt(most / own)
            inverse_Lp[j] *= ratio
            if whole:
                inverse_Lp[:, j] *= ratio
            else:
                inverse_Lp[j] *= ratio


@njit(cache=True, nogil=True, error_model="numpy")
def _slot_for(tree, forms, node):
    """A slot for a leaf: a free one, or that of the leaf that promises least, if it promises less than half as much.

    A leaf promises the squared deviations of its targets.
    """
    slot = -1
    if tree.size[SLOTS] < min(len(tree.pick), tree.limit[1]):
        slot = tree.size[SLOTS]
        tree.size[SLOTS] += 1
    else:
        least, poorest = 0.5 * tree.target[node, 2], -1
        for other in range(tree.size[NODES]):
            if tree.test[other] < 0 and tree.slot[other] >= 0 and other != node and tree.target[other, 2] < least:
                least, poorest = tree.target[other, 2], other
        if poorest >= 0:
            slot = tree.slot[poorest]
            tree.slot[poorest] = -1
    tree.slot[node] = slot
    if slot >= 0:
        _clear(tree, forms, slot, tree.target[node, 1])
        _level(tree, slot)
    return slot


@njit(cache=True, nogil=True, error_model="numpy")
def _plant(tree, node, depth):
    """A leaf that has learnt nothing and looks at nothing yet."""
    tree.test[node] = -1
    tree.value[node] = 0.0
    tree.child[node] = 0
    tree.slot[node] = -1
    tree.depth[node] = depth
    tree.weight[node] = 0.0
    tree.target[node] = 0.0
    tree.error[node] = 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def replant(tree, forms):
    """The whole tree becomes one leaf that has learnt nothing."""
    tree.size[NODES], tree.size[SLOTS] = 1, 1
    _plant(tree, 0, 0)
    tree.slot[0] = 0
    _clear(tree, forms, 0, 0.0)
    _level(tree, 0)


@njit(cache=True, nogil=True, error_model="numpy")
def _deepen(tree, forms, node, found_8):
    """A leaf becomes a test with two leaves, which know the mean of what would have come to them."""
    slot = tree.slot[node]
    first = tree.size[NODES]
    tree.size[NODES] += 2
    tree.test[node], tree.value[node] = int(found_8[2]), found_8[3]
    tree.slot[node] = -1
    left, weight = found_8[4], found_8[6]
    within = max(tree.target[node, 2] - found_8[0] * weight, 0.0)
    for s in range(2):
        new = first + s
        tree.child[node, s] = new
        _plant(tree, new, tree.depth[node] + 1)
        own = left if s == 0 else weight - left
        total = found_8[5] if s == 0 else found_8[7] - found_8[5]
        tree.weight[new] = own
        if forms.leaf == MEAN:
            tree.target[new, 0] = own
            tree.target[new, 1] = tree.centre[slot] + total / own
        else:  # as far as the line of the parent left the two apart: no more than a first guess
            tree.target[new, 0] = min(own, _BELIEF)
            tree.target[new, 1] = tree.target[node, 1] + total / own - found_8[7] / weight
        tree.target[new, 2] = within * own / weight
        tree.error[new] = tree.error[node]
    heavy = first if left >= weight - left else first + 1
    light = first if heavy != first else first + 1
    tree.slot[heavy] = slot
    _believe(tree, forms, slot)
    _clear(tree, forms, slot, tree.target[heavy, 1])
    other = _slot_for(tree, forms, light)
    if other >= 0 and other != slot:
        tree.middle[other] = tree.middle[slot]
        tree.slope[other] = tree.slope[slot]
        tree.inverse[other] = tree.inverse[slot]


@njit(cache=True, nogil=True, error_model="numpy")
def _consider(tree, forms, node, out_8):
    """Split a leaf if its best feature is better than the second best beyond chance, or no worse and both matter."""
    tree.weight[node, 1] = tree.weight[node, 0]
    if not tree.target[node, 2] > 0.0:
        return
    if tree.slot[node] < 0:
        _slot_for(tree, forms, node)
        return
    if tree.depth[node] >= forms.deepest or tree.size[NODES] + 2 > min(len(tree.test), tree.limit[0]):
        return
    best_splits(tree, forms, node, out_8)
    if out_8[2] < 0.0:
        return
    slack = math.sqrt(math.log(1.0 / forms.delta) / (2.0 * tree.weight[node, 0]))
    if out_8[1] < (1.0 - slack) * out_8[0] or slack < forms.tie:
        _deepen(tree, forms, node, out_8)


@njit(forceinline=True, cache=True, nogil=True, error_model="numpy")
def cramped(tree):
    """Whether a split may want more room than the arrays have, and may have it."""
    nodes = tree.size[NODES] + 2 > len(tree.test) and len(tree.test) < tree.limit[0]
    slots = tree.size[SLOTS] + 1 > len(tree.pick) and len(tree.pick) < tree.limit[1]
    return nodes or slots


@njit(forceinline=True, cache=True, nogil=True, error_model="numpy")
def learn(tree, forms, x_d, y, w, said_2, node, room_3L, out_8):
    """Learn a row at the leaf that has just answered it."""
    if forms.leaf != MEAN:
        if not tree.target[node, 0] > 0.0:
            said_2[:] = y  # a tree that has learnt nothing says 0, which is no measure of anything
        for s in range(2):
            tree.error[node, s] = _FADE * tree.error[node, s] + w * (y - said_2[s]) ** 2
        measure(tree.scale, x_d, w)
        tree.span[0] = min(tree.span[0], y)
        tree.span[1] = max(tree.span[1], y)
    _take_in(tree, forms, node, x_d, y, w, said_2, room_3L)
    if tree.weight[node, 0] - tree.weight[node, 1] >= forms.grace:
        _consider(tree, forms, node, out_8)


@njit(cache=True, nogil=True, error_model="numpy")
def rows(tree, forms, x_nd, y_n, w_n, out_n, start):
    """Answer and learn rows from `start` on; returns the row that there may be no room for, or n."""
    tree, forms = uncounted(tree), uncounted(forms)
    x_nd, y_n, w_n, out_n = uncounted((x_nd, y_n, w_n, out_n))
    room_3L, said_2, out_8 = np.zeros((3, max(tree.pick.shape[1], tree.slope.shape[1]))), np.empty(2), np.empty(8)
    for i in range(start, len(x_nd)):
        w = w_n[i]
        if w > 0.0 and cramped(tree):
            return i
        node = route(tree, forms, x_nd[i], w)
        out_n[i] = answer(tree, forms, node, x_nd[i], room_3L, said_2)
        if w > 0.0:
            learn(tree, forms, x_nd[i], y_n[i], w, said_2, node, room_3L, out_8)
    return len(x_nd)
