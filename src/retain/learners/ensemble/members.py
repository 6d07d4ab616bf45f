"""What learners made of learners share: members that all learn, or none of them, and what they say, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from retain.core import CSR, Array, Features, Learner, State
from retain.errors import RetainError

__all__ = ["all_or_none", "stacked"]


def all_or_none(members: Sequence[Learner], x: Features, call: Callable[[Learner, int], Array], /) -> list[Array]:
    """All members learn, or none: what one refuses another may have learnt already."""
    before: list[State] = []
    if not _finite(x):  # the one input that members may disagree about; else the first of them refuses it
        before = [member.state_dict() for member in members]
    try:
        return [call(member, m) for m, member in enumerate(members)]
    except RetainError:
        for member, state in zip(members, before, strict=False):
            member.load_state_dict(state)
        raise


def stacked(said: Sequence[Array]) -> Array:
    """(M, n) or (M, n, k); a class that only some members know of has probability 0 from the others."""
    n = len(said[0])
    if any(answer.ndim == 1 for answer in said):
        # A baseline that has seen no label does not know yet that labels are numbers: it says nothing, which is 0.
        return np.stack([answer if answer.ndim == 1 else np.zeros(n) for answer in said], dtype=np.float64)
    out = np.zeros((len(said), n, max(answer.shape[1] for answer in said)))
    for own, answer in zip(out, said, strict=True):
        own[:, : answer.shape[1]] = answer
    return out


def _finite(x: Features) -> bool:
    if isinstance(x, CSR):
        return bool(np.isfinite(x.values).all())
    # Tables are given to members that read tables; whether nulls are missing values is for each of them to say.
    return isinstance(x, np.ndarray) and x.dtype.kind in "fiub" and bool(np.isfinite(x).all())
