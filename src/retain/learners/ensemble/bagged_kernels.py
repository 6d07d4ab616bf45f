# pyright: reportMissingParameterType=false
# numba infers the types of arguments, for each that a kernel is called with.
"""One member of an ensemble of trees: what it says, what it learns, and when it begins anew.

Shapes: n rows, d features, K classes; L ladders of C places (see `detectors.adwin`); 2 detectors: 0 of warning, 1 of
drift. A member is two trees: the one that answers, and the one that grows behind it from a warning on.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from retain.core import Array
from retain.detectors.adwin import rose
from retain.learners.draws import below, poisson
from retain.learners.trees.kernels import CLASSES, answer, cramped, learn, replant, route
from retain.learners.uncounted import uncounted

__all__ = ["Member", "Policy", "begin", "draw_patch", "member_rows", "trust", "watch"]

_WARNING, _DRIFT = 0, 1
_OFTEN = 30.0  # a row is learnt so many times at most, in the mean


class Member(NamedTuple):
    """What a member remembers beside its trees."""

    which: Array  # (2,) int64 the tree that answers, 0 or 1; whether the other one grows
    score: (
        Array  # (2,) float64 weight of right answers and of all, since the tree that answers began; (3, 2) for numbers
    )
    boost: Array  # (2,) float64 online boosting: weight of rows it had right, and wrong
    total: Array  # (2, L, C) ADWIN's
    spread: Array  # (2, L, C)
    first: Array  # (2, L)
    used: Array  # (2, L)
    window: Array  # (2, 4)
    seed: Array  # (1,) uint64


class Policy(NamedTuple):
    """What members of an ensemble have in common."""

    warning: float  # chance of a false alarm, at one look; 0: no detector
    drift: float
    weighted: bool  # members count by the share they had right
    boosting: bool  # members count by the log-odds of being right, and the next one learns more of what is wrong
    once: bool = False  # every member learns each row once


@njit(forceinline=True, cache=True, nogil=True, error_model="numpy")
def _changed(member, which, delta, value):
    """Whether a detector says that a mean has become larger."""
    ladders = member.total[which], member.spread[which], member.first[which], member.used[which]
    return rose(value, *ladders, member.window[which], delta)


@njit(cache=True, nogil=True, error_model="numpy")
def _forget(member, which):
    member.used[which] = 0
    member.window[which] = 0.0


@njit(forceinline=True, cache=True, nogil=True, error_model="numpy")
def watch(member, policy, wrong):
    """What the detectors say of one more error: 1 for a warning, plus 2 for drift."""
    alarm = 0
    if policy.warning > 0.0 and _changed(member, _WARNING, policy.warning, wrong):
        _forget(member, _WARNING)
        alarm = 1
    if policy.drift > 0.0 and _changed(member, _DRIFT, policy.drift, wrong):
        _forget(member, _WARNING)
        _forget(member, _DRIFT)
        alarm += 2
    return alarm


@njit(cache=True, nogil=True, error_model="numpy")
def draw_patch(forms, seed):
    """Where all leaves of a tree look at the same features, those are drawn anew."""
    m = len(forms.subset)
    d = len(forms.place)
    left = m
    for f in range(d if m < d else 0):
        if left and below(seed, d - f) < left:
            forms.subset[m - left] = f
            left -= 1


@njit(cache=True, nogil=True, error_model="numpy")
def begin(tree, forms, seed):
    """A tree begins anew."""
    draw_patch(forms, seed)
    replant(tree, forms)


@njit(cache=True, nogil=True, error_model="numpy")
def trust(member, policy):
    """What a member's answers count for."""
    if policy.boosting:
        right, wrong = member.boost[0], member.boost[1]
        # None counts for nothing: where all are worse than chance, what they say is still their mean.
        return max(math.log((right + 1e-3) / (wrong + 1e-3)), 1e-6) if right + wrong > 0.0 else 1.0
    if policy.weighted:
        return (member.score[0] + 1.0) / (member.score[1] + 2.0)
    return 1.0


@njit(cache=True, nogil=True, error_model="numpy")
def _boosted(member, right, rate, w):
    """How much of a row of weight w the next member learns, given how much this one did (Oza and Russell 2001)."""
    at = 0 if right else 1
    member.boost[at] += rate * w
    return min(rate * (member.boost[0] + member.boost[1]) / (2.0 * member.boost[at]), _OFTEN)


@njit(cache=True, nogil=True, error_model="numpy")
def _heed(member, alarm, near, far, near_forms, far_forms):
    """What the detectors say is heeded; returns whether the tree behind takes over.

    From a warning on, a tree grows behind the one that answers, and replaces it when the drift is certain; where none
    grows by then, the tree begins anew.
    """
    if alarm & 1:
        begin(far, far_forms, member.seed)
        member.which[1] = 1
    if alarm < 2:
        return False
    member.score[:] = 0.0
    if member.which[1] == 0:
        begin(near, near_forms, member.seed)
        return False
    member.which[0] = 1 - member.which[0]
    member.which[1] = 0
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def member_rows(near, far, near_forms, far_forms, member, policy, x_nd, y_n, w_n, rate_n, out_nK, start):
    """Answer and learn rows from `start` on; returns the row to go on from, or n.

    That is a row that there may be no room for, or the one after the tree behind has taken over: trees are handed over
    in the order of `Member.which`, since a loop in which they changed places would be half as fast.

    Answers are shares of the classes times what the member counts for. `rate_n` is the mean of how often each row is
    learnt; where members boost, it is changed to that of the next member.
    """
    near, far, member = uncounted(near), uncounted(far), uncounted(member)
    near_forms, far_forms = uncounted(near_forms), uncounted(far_forms)
    x_nd, y_n, w_n, rate_n, out_nK = uncounted((x_nd, y_n, w_n, rate_n, out_nK))
    x_m, other_m = np.empty(near.pick.shape[1]), np.empty(near.pick.shape[1])
    said_2, other_2 = np.empty(2, dtype=np.int64), np.empty(2, dtype=np.int64)
    room_3K, out_5 = np.empty((3, out_nK.shape[1])), np.empty(5)
    other_K = np.empty(out_nK.shape[1])
    for i in range(start, len(x_nd)):
        x_d, y, w = x_nd[i], y_n[i], w_n[i]
        learns = y >= 0 and w > 0.0
        if learns and (cramped(near, y, 2, 1) or (member.which[1] == 1 and cramped(far, y, 2, 1))):
            return i
        times = poisson(member.seed, rate_n[i]) if learns else 0
        v = w * times
        node = route(near, near_forms, x_d, v)
        answer(near, near_forms, node, x_d, x_m, out_nK[i], said_2)
        best = -1
        for c in range(near.size[CLASSES]):
            if out_nK[i, c] > 0.0 and (best < 0 or out_nK[i, c] > out_nK[i, best]):
                best = c
        counts_for = trust(member, policy)
        for c in range(near.size[CLASSES]):
            out_nK[i, c] *= counts_for
        if not learns:
            continue
        right = best == y
        if policy.boosting:
            rate_n[i] = _boosted(member, right, rate_n[i], w)
        member.score[0] += w if right else 0.0
        member.score[1] += w
        if times > 0:
            learn(near, near_forms, x_d, y, v, said_2, node, x_m, room_3K, out_5)
            if member.which[1] == 1:
                node = route(far, far_forms, x_d, v)
                answer(far, far_forms, node, x_d, other_m, other_K, other_2)
                learn(far, far_forms, x_d, y, v, other_2, node, other_m, room_3K, out_5)
        alarm = watch(member, policy, 0.0 if right else 1.0)
        if alarm and _heed(member, alarm, near, far, near_forms, far_forms):
            return i + 1
    return len(x_nd)
