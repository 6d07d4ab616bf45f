# pyright: reportMissingParameterType=false
"""The row loop of `OnlineMLP`, compiled.

Shapes: n rows, d features, M nets, hidden layers of H_1 ... H_L units, k outputs or classes, K >= k the room for
them, E = M (L + 1) experts: net m's answer at depth l, 0 from the inputs themselves, is expert m (L + 1) + l. The
inputs are layer 0; each layer has the constant 1 as one more unit, the inputs in front, where the width can grow, and
hidden layers at the end.

    acts         L + 1 times  (M, H_l + 1)           what the units of a layer put out; (1, 1 + d) for the inputs
    deltas       L + 1 times  (1, H_l + 1)           slopes of a net's loss by what goes into its units
    weights      L times      (M, H_l + 1, H_l+1)    from a layer to the next; (M, 1 + d, H_1) from the inputs
    heads        L + 1 times  (M, K, H_l + 1)        from a layer to its answer
    second_*     as those     mean or sum of squared slopes; not looked at where steps are plain
    inputs       (4, d)       weight, mean, sum of squared deviations and 1 / deviation of every feature
    targets      (k, 5)       weight, mean, sum of squared deviations, least and largest of every number
    scale        (2,)         squared error of the mixture and its weight
    ring_*       (W, ...)     rows that are rehearsed
    progress     (4,)         rehearsals due, weight learnt, place of the next row in the ring, rows in the ring

Arrays are handed on whole, with the number of a net: cutting a piece out of one costs as much as a row of weights.
Weights and steps are float32, with whole rows of a matrix in the innermost loops, so that they become vector
instructions. Sums may be taken in any one order (`reassoc`), which is fixed at compilation, hence the same for every
call. `predict` is `learn` without labels: the two cannot differ.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from retain.learners.draws import below

__all__ = ["learn"]

_FAST = {"contract", "nsz"}  # and, where a width cannot change, "reassoc"
_ZERO, _ONE = np.float32(0.0), np.float32(1.0)
_LEAK = np.float32(0.01)  # slope of a unit below 0: none of them dies for good
_FAR = 8.0  # deviations from the mean: inputs beyond count as this far
_STEEPEST = 4.0  # deviations: farther targets pull no harder
_OUTLYING = 100.0  # deviations: farther numbers count as this far in means and deviations, which one of them would ruin
_LOST = 14.0  # loss of an expert that no longer says a number, beyond the best: about -log(_LEAST)
_LEAST = 1e-6  # a probability is never taken for less: one confident mistake must not silence an expert for good
_TINY = np.float32(1e-16)  # added to squared slopes: a unit that is off for long has a mean of them above 0
_CONSTANT = 1e-12  # share of the squared mean below which a variance is rounding error
_LOOK_BACK = 10_000.0  # rows over which means and deviations are taken, so that they follow
_REPEATS = 16  # of a heavy row, at most
_DUE, _LEARNT, _NEXT, _FILLED = 0, 1, 2, 3


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _normalise(x_nd, i, inputs, z_1D):
    """Inputs in deviations from their means; 0 for what is missing, or has never varied."""
    z_1D[0, 0] = _ONE
    for j in range(x_nd.shape[1]):
        z = (x_nd[i, j] - inputs[1, j]) * inputs[3, j]
        z = z if z == z else 0.0
        z_1D[0, j + 1] = min(max(z, -_FAR), _FAR)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _moved(moments, c, value, weight):
    """Take a number into its weight, mean and sum of squared deviations (Welford 1962; West 1979)."""
    total = moments[c, 0] + weight
    kept = min(_LOOK_BACK / total, 1.0)
    away = value - moments[c, 1]
    if moments[c, 2] > 0.0:
        limit = _OUTLYING * math.sqrt(moments[c, 2] / moments[c, 0])
        away = min(max(away, -limit), limit)
    moments[c, 1] += away * weight / total
    moments[c, 2] = (moments[c, 2] + weight * away * away * moments[c, 0] / total) * kept
    moments[c, 0] = total * kept


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _see(x_nd, i, weight, inputs):
    """Means and deviations of the inputs follow: as `_moved`, without a branch, hence for several features at once."""
    for j in range(x_nd.shape[1]):
        value = np.float64(x_nd[i, j])
        there = value == value
        counted = weight if there else 0.0
        value = value if there else 0.0
        total = inputs[0, j] + counted
        inverse = 1.0 / (total if total > 0.0 else 1.0)
        kept = min(_LOOK_BACK * inverse, 1.0)
        limit = _OUTLYING / inputs[3, j] if inputs[3, j] > 0.0 else np.inf
        away = min(max(value - inputs[1, j], -limit), limit)
        mean = inputs[1, j] + away * counted * inverse
        squares = (inputs[2, j] + counted * away * away * inputs[0, j] * inverse) * kept
        total *= kept
        varies = squares > _CONSTANT * total * mean * mean
        inputs[0, j], inputs[1, j], inputs[2, j] = total, mean, squares
        inputs[3, j] = math.sqrt(total / (squares if varies else 1.0)) if varies else 0.0


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST, inline="always")
def _multiply(z, from_, w, m, out):
    """out[m] = z[from_] w[m], the rows of w four at a time: sums stay in registers for longer."""
    wide, size = w.shape[1], w.shape[2]
    for u in range(size):
        out[m, u] = _ZERO
    whole = wide - wide % 4
    for j in range(0, whole, 4):
        a, b, c, e = z[from_, j], z[from_, j + 1], z[from_, j + 2], z[from_, j + 3]
        if a != _ZERO or b != _ZERO or c != _ZERO or e != _ZERO:
            for u in range(size):
                out[m, u] += (a * w[m, j, u] + b * w[m, j + 1, u]) + (c * w[m, j + 2, u] + e * w[m, j + 3, u])
    for j in range(whole, wide):
        a = z[from_, j]
        for u in range(size):
            out[m, u] += a * w[m, j, u]


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _dot(a, b):
    """a'b, four sums side by side, in an order that zeros behind do not change."""
    n = len(a)
    s0, s1, s2, s3 = _ZERO, _ZERO, _ZERO, _ZERO
    whole = n - n % 4
    for u in range(0, whole, 4):
        s0 += a[u] * b[u]
        s1 += a[u + 1] * b[u + 1]
        s2 += a[u + 2] * b[u + 2]
        s3 += a[u + 3] * b[u + 3]
    if whole < n:
        s0 += a[whole] * b[whole]
    if whole + 1 < n:
        s1 += a[whole + 1] * b[whole + 1]
    if whole + 2 < n:
        s2 += a[whole + 2] * b[whole + 2]
    return (s0 + s1) + (s2 + s3)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST | {"reassoc"}, forceinline=True)
def _inner(a, b):
    """a'b in whatever order is fastest."""
    total = _ZERO
    for u in range(len(a)):
        total += a[u] * b[u]
    return total


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST, inline="always")
def _forward(acts, weights, heads, m, k, score):
    """Activations of one net, and what it answers at each depth."""
    depths = len(heads)
    for depth in range(depths):
        act, head = acts[depth], heads[depth]
        at = m if depth > 0 else 0
        if depth > 0:
            _multiply(acts[depth - 1], m if depth > 1 else 0, weights[depth - 1], m, act)
            for u in range(act.shape[1] - 1):
                act[m, u] = max(act[m, u], _LEAK * act[m, u])
        for c in range(k):
            score[m * depths + depth, c] = _inner(head[m, c], act[at]) if depth > 0 else _dot(head[m, c], act[at])


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _step(w, second, m, rows, factors, of, slopes, at, size, rate, keep, add):
    """One step of net m's weights (rows, size), whose slopes are `factors[of, row] slopes[at]`."""
    plain = keep < _ZERO
    for j in range(rows):
        factor = factors[of, j]
        if factor == _ZERO:
            continue
        if plain:
            move = rate * factor
            for u in range(size):
                w[m, j, u] -= move * slopes[at, u]
        else:
            for u in range(size):
                slope = factor * slopes[at, u]
                before = second[m, j, u]
                # What an input of 0 does not move does not age either: so a column may have been there before.
                square = keep * before + add * (slope * slope + _TINY) if slope != _ZERO else before
                second[m, j, u] = square
                w[m, j, u] -= rate * slope / math.sqrt(square)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST, inline="always")
def _backward(acts, deltas, weights, heads, second_weights, second_heads, m, k, slope, rate, keep, add):
    """One step of one net, down the sum of its losses at all depths; `slope` is that of each loss by its score."""
    depths = len(heads)
    for depth in range(depths - 1, 0, -1):
        act, delta, head = acts[depth], deltas[depth], heads[depth]
        size = act.shape[1] - 1
        for u in range(size):
            delta[0, u] = _ZERO
        for c in range(k):
            factor = slope[m * depths + depth, c]
            for u in range(size):
                delta[0, u] += factor * head[m, c, u]
        if depth + 1 < depths:
            above, w = deltas[depth + 1], weights[depth]
            for u in range(size):
                delta[0, u] += _inner(w[m, u], above[0, : w.shape[2]])
        for u in range(size):
            delta[0, u] = delta[0, u] if act[m, u] > _ZERO else _LEAK * delta[0, u]
    for depth in range(depths):
        act, head, second = acts[depth], heads[depth], second_heads[depth]
        at = m if depth > 0 else 0
        _step(head, second, m, k, slope, m * depths + depth, act, at, act.shape[1], rate, keep, add)
        if depth + 1 < depths:
            w, second, delta = weights[depth], second_weights[depth], deltas[depth + 1]
            _step(w, second, m, act.shape[1], act, at, delta, 0, w.shape[2], rate, keep, add)


@njit(cache=True, nogil=True, error_model="numpy")
def _shares(score_EK, k, share_EK):
    """Probabilities of each expert."""
    for e in range(len(score_EK)):
        most = score_EK[e, 0]
        for c in range(1, k):
            most = max(most, score_EK[e, c])
        total = 0.0
        for c in range(k):
            share_EK[e, c] = math.exp(score_EK[e, c] - most)
            total += share_EK[e, c]
        for c in range(k):
            share_EK[e, c] /= total


@njit(cache=True, nogil=True, error_model="numpy")
def _unit(targets, c):
    """The deviation of output c, 1 while there is none."""
    spread = targets[c, 2] > _CONSTANT * targets[c, 0] * targets[c, 1] * targets[c, 1] and targets[c, 2] > 0.0
    return math.sqrt(targets[c, 2] / targets[c, 0]) if spread else 1.0


@njit(cache=True, nogil=True, error_model="numpy")
def _numbers(score_EK, targets, vote_EK):
    """What each expert says, no farther from the targets learnt than these lie apart."""
    for c in range(len(targets)):
        low, high, unit = targets[c, 3], targets[c, 4], _unit(targets, c)
        if low > high:  # nothing is learnt yet
            vote_EK[:, c] = 0.0
            continue
        for e in range(len(vote_EK)):
            said = targets[c, 1] + unit * score_EK[e, c]
            vote_EK[e, c] = min(max(said, low - (high - low)), high + (high - low))


@njit(cache=True, nogil=True, error_model="numpy")
def _judge(loss_E, weight, rate, share, trust_E):
    """Exponential weights, of which a share is dealt out anew; a loss that is not finite is the largest there is."""
    least, most = np.inf, 0.0
    for e in range(len(loss_E)):
        if math.isfinite(loss_E[e]):
            least, most = min(least, loss_E[e]), max(most, loss_E[e])
    if least == np.inf:
        return
    for e in range(len(loss_E)):
        if not math.isfinite(loss_E[e]):
            loss_E[e] = max(most, least + _LOST)
    total = 0.0
    for e in range(len(trust_E)):
        trust_E[e] *= math.exp(-rate * weight * (loss_E[e] - least))
        total += trust_E[e]
    if not total > 0.0:  # the best experts had next to no trust
        trust_E[:] = 1.0
        total = float(len(trust_E))
    dealt = share if weight == 1.0 else 1.0 - (1.0 - share) ** weight
    for e in range(len(trust_E)):
        trust_E[e] = (1.0 - dealt) / total * trust_E[e] + dealt / len(trust_E)


@njit(cache=True, nogil=True, error_model="numpy")
def _slopes(code, y_q, vote_EK, targets, score_EK, experts, k, slope_EK):
    """The slopes of the first experts' losses by their scores; for numbers in deviations."""
    for e in range(experts):
        for c in range(k):
            if code >= 0:
                slope = vote_EK[e, c] - (1.0 if c == code else 0.0)
            else:
                unit = _unit(targets, c)
                slope = min(max(score_EK[e, c] - (y_q[c] - targets[c, 1]) / unit, -_STEEPEST), _STEEPEST)
            slope_EK[e, c] = slope


@njit(cache=True, nogil=True, error_model="numpy")
def _answer(classes, k, score_EK, targets, trust_E, vote_EK, out_nk, i):
    """What the experts say of row i, and the mean of those that say finite numbers; without any, what is known of all.

    A net whose steps are too long for it ends in NaN; the others go on.
    """
    if classes:
        _shares(score_EK, k, vote_EK)
    else:
        _numbers(score_EK, targets, vote_EK)
    heard, silent = 0.0, 0
    for c in range(k):
        out_nk[i, c] = 0.0
    for e in range(len(trust_E)):
        finite = True
        for c in range(k):
            finite = finite and math.isfinite(score_EK[e, c]) and math.isfinite(vote_EK[e, c])
        if not finite:
            silent += 1
            vote_EK[e, :] = np.nan
            continue
        heard += trust_E[e]
        for c in range(k):
            out_nk[i, c] += trust_E[e] * vote_EK[e, c]
    if silent > 0:
        for c in range(k):
            if heard > 0.0:
                out_nk[i, c] /= heard
            else:
                out_nk[i, c] = 1.0 / k if classes else targets[c, 1]


@njit(cache=True, nogil=True, error_model="numpy")
def _hear(code, y_nq, i, k, weight, vote_EK, out_nk, targets, scale, trust_E, loss_E, settings):
    """The label of row i moves the trust, and what is known of numbers."""
    if code >= 0:
        for e in range(len(trust_E)):
            said = vote_EK[e, code]
            loss_E[e] = -math.log(max(said, _LEAST)) if said == said else np.inf
        _judge(loss_E, weight, settings[1], settings[2], trust_E)
        return
    own = 0.0
    loss_E[:] = 0.0
    for c in range(k):
        own += (y_nq[i, c] - out_nk[i, c]) ** 2
        for e in range(len(trust_E)):
            loss_E[e] += (y_nq[i, c] - vote_EK[e, c]) ** 2
    scale[0] += weight * own
    scale[1] += weight
    if scale[0] > 0.0:
        loss_E /= 2.0 * scale[0] / scale[1]
        _judge(loss_E, weight, settings[1], settings[2], trust_E)
    for c in range(k):
        _moved(targets, c, y_nq[i, c], weight)
        targets[c, 3], targets[c, 4] = min(targets[c, 3], y_nq[i, c]), max(targets[c, 4], y_nq[i, c])


@njit(cache=True, nogil=True, error_model="numpy")
def _due(weight, rehearsals, window, progress):
    """How many rows to rehearse now: fewer, the more have been learnt, and the more of them is in the weights."""
    progress[_LEARNT] += weight
    progress[_DUE] += min(weight, float(_REPEATS)) * rehearsals * min(1.0, window / max(progress[_LEARNT], 1.0))
    if progress[_FILLED] == 0.0:
        progress[_DUE] = 0.0
    again = int(progress[_DUE])
    progress[_DUE] -= again
    return again


@njit(cache=True, nogil=True, error_model="numpy")
def _remember(x_nd, y_nq, i, weight, ring_x, ring_y, ring_weight, progress):
    """Put a row into the ring."""
    place = int(progress[_NEXT])
    for j in range(x_nd.shape[1]):
        ring_x[place, j] = x_nd[i, j]
    for c in range(y_nq.shape[1]):
        ring_y[place, c] = y_nq[i, c]
    ring_weight[place] = weight
    progress[_NEXT] = (place + 1) % len(ring_x)
    progress[_FILLED] = min(progress[_FILLED] + 1.0, float(len(ring_x)))


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def learn(
    x_nd, y_nq, weight_n, known, rates_M, memory_M, rehearsing, acts, deltas, weights, heads, second_weights,
    second_heads, inputs, targets, scale, trust_E, ring_x, ring_y, ring_weight, progress, random, out_nk, settings,
):  # fmt: skip
    """Answer every row, then learn it where its weight is not 0; arguments as at the top of the file.

    `known` is the number of classes known before the block, -1 where targets are numbers; a memory of 0 rows is a plain
    step, one of infinitely many a sum; the first `rehearsing` nets rehearse; `settings` are rehearsals of a row, rate
    of trust and share dealt out.
    """
    n, nets, depths = len(x_nd), len(rates_M), len(heads)
    classes = known >= 0
    k = known if classes else out_nk.shape[1]
    room = heads[0].shape[1]
    score = np.zeros((nets * depths, room), dtype=np.float32)
    slope = np.zeros((nets * depths, room), dtype=np.float32)
    vote = np.zeros((nets * depths, room))
    loss_E = np.zeros(nets * depths)
    y_q = np.zeros(y_nq.shape[1])
    for i in range(n):
        weight = weight_n[i]
        code = int(y_nq[i, 0]) if classes and weight > 0.0 else -1
        after = max(k, code + 1)
        _normalise(x_nd, i, inputs, acts[0])
        times, turns, turn = 1, 1, 0  # how often the row is learnt, and rows are in all; first it is answered
        while turn < turns:
            part, active = weight / times, nets
            if turn >= times:
                row = below(random, int(progress[_FILLED]))
                part, active = min(ring_weight[row], 1.0), rehearsing
                code = int(ring_y[row, 0]) if classes else -1
                for c in range(y_nq.shape[1]):
                    y_q[c] = ring_y[row, c]
                _normalise(ring_x, row, inputs, acts[0])
            for m in range(active):
                _forward(acts, weights, heads, m, after, score)
            if turn == 0:
                _answer(classes, k, score, targets, trust_E, vote, out_nk, i)
                if not weight > 0.0:
                    break
                if code < k:
                    _hear(code, y_nq, i, k, weight, vote, out_nk, targets, scale, trust_E, loss_E, settings)
                k = after
                for c in range(y_nq.shape[1]):
                    y_q[c] = y_nq[i, c]
                times = min(math.ceil(weight), _REPEATS)  # a row of weight 2 is two rows, to steps of fixed length too
                part = weight / times
                turns = times + (_due(weight, settings[0], len(ring_x), progress) if rehearsing > 0 else 0)
            if classes:
                _shares(score[: active * depths], k, vote)
            _slopes(code, y_q, vote, targets, score, active * depths, k, slope)
            for m in range(active):
                keep, add = _ONE, np.float32(part)
                if memory_M[m] == 0.0:
                    keep = -_ONE
                elif memory_M[m] < np.inf:
                    keep = np.float32((1.0 - 1.0 / memory_M[m]) ** part)
                    add = _ONE - keep
                rate = np.float32(rates_M[m] * part)
                _backward(acts, deltas, weights, heads, second_weights, second_heads, m, k, slope, rate, keep, add)
            turn += 1
        if weight > 0.0:
            _see(x_nd, i, weight, inputs)
            if rehearsing > 0:
                _remember(x_nd, y_nq, i, weight, ring_x, ring_y, ring_weight, progress)
