# pyright: reportMissingParameterType=false
# numba infers the types of arguments, for each that a kernel is called with.
"""One member of an ensemble of trees of numbers; as `bagged_kernels`, where the shapes are, has it for classes.

`Member.score` is (3, 2) here: faded squared errors of either tree and their weight, and the sum of absolute errors of
the one that answers, with its weight, since it began.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from retain.learners.draws import poisson
from retain.learners.ensemble.bagged_kernels import draw_patch, watch
from retain.learners.trees.kernels import route
from retain.learners.trees.regression_kernels import answer, cramped, learn, replant
from retain.learners.uncounted import uncounted

__all__ = ["begin_numbers", "member_numbers"]

_FADE = 0.999  # of the squared errors that members count by, each row
_UNKNOWN = 1e-200  # what a member counts for that has not been asked yet


@njit(cache=True, nogil=True, error_model="numpy")
def begin_numbers(tree, forms, seed):
    """A tree begins anew."""
    draw_patch(forms, seed)
    replant(tree, forms)


@njit(forceinline=True, cache=True, nogil=True, error_model="numpy")
def _trust(near, member, policy):
    """What a member's answers count for: one, or the inverse of its mean squared error; nothing before it has learnt.

    The 0 of a tree that chance has not given a row yet is no answer, however much others count for.
    """
    if not near.target[0, 0] > 0.0:
        return 0.0
    if not policy.weighted:
        return 1.0
    squares, weight = member.score[member.which[0]]
    if not weight > 0.0:
        return _UNKNOWN
    typical = member.score[2, 0] / member.score[2, 1] if member.score[2, 1] > 0.0 else 0.0
    return 1.0 / (squares / weight + 1e-12 * typical * typical + 1e-100)


@njit(forceinline=True, cache=True, nogil=True, error_model="numpy")
def _judge(score_32, which, miss, w):
    """How far off a tree was."""
    score_32[which, 0] = _FADE * score_32[which, 0] + w * miss * miss
    score_32[which, 1] = _FADE * score_32[which, 1] + w


@njit(forceinline=True, cache=True, nogil=True, error_model="numpy")
def _alarm(member, policy, miss, w):
    """As `watch`: an error is measured by what is usual, a / (a + mean of a), so that it is below 1."""
    size = abs(miss)
    member.score[2, 0] += w * size
    member.score[2, 1] += w
    usual = member.score[2, 0] / member.score[2, 1]
    return watch(member, policy, size / (size + usual) if usual > 0.0 else 0.0)


@njit(cache=True, nogil=True, error_model="numpy")
def _heed(member, alarm, near, far, near_forms, far_forms):
    """As in `bagged_kernels`: returns whether the tree behind takes over."""
    other = 1 - member.which[0]
    if alarm & 1:
        begin_numbers(far, far_forms, member.seed)
        member.score[other] = 0.0
        member.which[1] = 1
    if alarm < 2:
        return False
    member.score[2] = 0.0
    if member.which[1] == 0:
        begin_numbers(near, near_forms, member.seed)
        member.score[1 - other] = 0.0
        return False
    member.which[0] = other
    member.which[1] = 0
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def _first(tree, forms, x_d, y, w, room_3L, said_2, out_8):
    """A tree that has just begun, and is to answer, learns the row at which the alarm was."""
    if tree.target[0, 0] > 0.0:
        return
    node = route(tree, forms, x_d, w)
    answer(tree, forms, node, x_d, room_3L, said_2)
    learn(tree, forms, x_d, y, w, said_2, node, room_3L, out_8)


@njit(cache=True, nogil=True, error_model="numpy")
def member_numbers(near, far, near_forms, far_forms, member, policy, x_nd, y_n, w_n, rate_n, out_n2, start):
    """Answer and learn rows from `start` on; returns the row to go on from, or n: see `bagged_kernels.member_rows`.

    Answers are numbers times what the member counts for, and that; of members that learn each row once, what they say
    before and after. `rate_n` is the mean of how often each row is learnt.
    """
    near, far, member = uncounted(near), uncounted(far), uncounted(member)
    near_forms, far_forms = uncounted(near_forms), uncounted(far_forms)
    x_nd, y_n, w_n, rate_n, out_n2 = uncounted((x_nd, y_n, w_n, rate_n, out_n2))
    looked = max(near.pick.shape[1], near.slope.shape[1])
    room_3L, other_3L, said_2, out_8 = np.zeros((3, looked)), np.zeros((3, looked)), np.empty(2), np.empty(8)
    for i in range(start, len(x_nd)):
        x_d, y, w = x_nd[i], y_n[i], w_n[i]
        learns = w > 0.0
        if learns and (cramped(near) or (member.which[1] == 1 and cramped(far))):
            return i
        times = 0
        if learns:
            times = 1 if policy.once else poisson(member.seed, rate_n[i])
        v = w * times
        node = route(near, near_forms, x_d, v)
        said = answer(near, near_forms, node, x_d, room_3L, said_2)
        trust = _trust(near, member, policy)
        out_n2[i, 0] = trust * said
        out_n2[i, 1] = said if policy.once else trust
        if not learns:
            continue
        alarm = 0
        if near.target[0, 0] > 0.0:  # one that has learnt nothing is not judged
            _judge(member.score, member.which[0], y - said, w)
            alarm = _alarm(member, policy, y - said, w)
        if times > 0:
            learn(near, near_forms, x_d, y, v, said_2, node, room_3L, out_8)
            if policy.once:
                node = route(near, near_forms, x_d, 0.0)
                out_n2[i, 1] = answer(near, near_forms, node, x_d, room_3L, said_2)
        if member.which[1] == 1:
            node = route(far, far_forms, x_d, v)
            other = answer(far, far_forms, node, x_d, other_3L, said_2)
            if far.target[0, 0] > 0.0:
                _judge(member.score, 1 - member.which[0], y - other, w)
            if times > 0:
                learn(far, far_forms, x_d, y, v, said_2, node, other_3L, out_8)
        if alarm == 0:
            continue
        over = _heed(member, alarm, near, far, near_forms, far_forms)
        if not policy.once:  # all members may begin anew at one row, and then nobody would know anything
            if over:
                _first(far, far_forms, x_d, y, w, other_3L, said_2, out_8)
            else:
                _first(near, near_forms, x_d, y, w, room_3L, said_2, out_8)
        if over:
            return i + 1
    return len(x_nd)
