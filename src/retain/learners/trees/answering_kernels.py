# pyright: reportMissingParameterType=false
# numba infers the types of arguments, for each that a kernel is called with.
"""What trees that do not learn say of rows.

Shapes: n rows, d features, T trees, N nodes, L leaves, K classes; B leaves that say Bayes, of m features each; Q
nominal features of V buckets.

    x        (n, d) float32
    root     (T,) int32              the first node of each tree; of a node the left child is the next one
    trust    (T,) float64
    test     (N,) int32              the feature asked for; -1 at a leaf
    value    (N,) float32            at most this goes left; a nominal feature's bucket is this
    right    (N,) int32              the right child; at a leaf its number
    missing  (N,) int8               1: what is missing goes right
    place    (d,) int32              number among nominal features; -1 for numbers
    shares   (L, K) float32
    bayes    (L,) int32              a row of the following; -1: the leaf says shares
    pick     (B, m) int32
    mean     (B, K, m) float32       less `centre`, so that float32 is precise
    narrow   (B, K, m) float32       1 / (2 variance)
    prior    (B, K) float32
    values   (B, Q, V, K) float32
    centre   (d,) float64
    out      (n, K) float64          zeros
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

__all__ = ["votes"]


@njit(forceinline=True, cache=True, nogil=True, error_model="numpy")
def _bucket(x, values):
    return int(np.floor(x) % values)


@njit(cache=True, nogil=True, error_model="numpy")
def _bayes(b, x_d, place, pick, mean, narrow, prior, values, centre, p_K):
    """Naive Bayes of one leaf into p_K; see `retain.branches.Bayes`."""
    most = -np.inf
    for c in range(len(p_K)):
        score = np.float64(prior[b, c])
        if score > -np.inf:
            for j in range(pick.shape[1]):
                f = pick[b, j]
                x = np.float64(x_d[f])
                if x != x:
                    if narrow[b, c, j] > 0.0:
                        score -= 0.5 * math.log(narrow[b, c, j])
                elif place[f] >= 0:
                    score += values[b, place[f], _bucket(x, values.shape[2]), c]
                else:
                    gap = x - centre[f] - mean[b, c, j]
                    score -= gap * gap * narrow[b, c, j]
        p_K[c] = score
        most = max(most, score)
    total = 0.0
    for c in range(len(p_K)):
        p_K[c] = math.exp(p_K[c] - most) if p_K[c] > -np.inf else 0.0
        total += p_K[c]
    for c in range(len(p_K)):
        p_K[c] /= total


@njit(cache=True, nogil=True, error_model="numpy")
def votes(
    x, root, trust, test, value, right, missing, place, shares, bayes, pick, mean, narrow, prior, values, centre, out
):
    """What the trees say, by what each counts for, divided by the sum over the classes.

    Tree by tree, so that the nodes of one stay in the caches while rows go by.
    """
    known, nominal = out.shape[1], values.shape[2]
    p_K = np.empty(known)
    for t in range(len(root)):
        for i in range(len(x)):
            node = root[t]
            f = test[node]
            while f >= 0:
                v = x[i, f]
                if nominal and place[f] >= 0 and v == v:
                    left = _bucket(v, nominal) == value[node]
                elif v == v:
                    left = v <= value[node]
                else:
                    left = missing[node] == 0
                node = node + 1 if left else right[node]
                f = test[node]
            leaf = right[node]
            if bayes[leaf] >= 0:
                _bayes(bayes[leaf], x[i], place, pick, mean, narrow, prior, values, centre, p_K)
                for c in range(known):
                    out[i, c] += trust[t] * p_K[c]
            else:
                for c in range(known):
                    out[i, c] += trust[t] * shares[leaf, c]
    for i in range(len(x)):
        total = 0.0
        for c in range(known):
            total += out[i, c]
        if total > 0.0:
            for c in range(known):
                out[i, c] /= total
