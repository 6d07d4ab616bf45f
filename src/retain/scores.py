"""What a learner answers with, where that is a weighted sum of the features and a fixed function of it.

Shapes: n rows, d features, k scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, final, get_args

import numpy as np

from retain.core import Array, Floats
from retain.errors import SettingError

__all__ = ["LINKS", "Link", "Scores", "linked"]

Link: TypeAlias = Literal["numbers", "exp", "odds", "rest", "softmax", "shares"]
LINKS: tuple[Link, ...] = get_args(Link)


@final
@dataclass(frozen=True, slots=True)
class Scores:
    """Scores s = W x + b of a row x, and the link that makes answers of them, all in float64.

    Before the product features are held within -reach and reach, after it scores within low and high, where these are
    given. Links:

        "numbers"   the scores themselves
        "exp"       exp(s)
        "odds"      1 / (1 + exp(s)) and 1 / (1 + exp(-s)), of one score
        "rest"      1 / (1 + exp(-s)), divided by their sum
        "softmax"   exp(s), divided by their sum
        "shares"    max(s, 0), divided by their sum; alike where that is 0

    >>> import numpy as np
    >>> scores = Scores(np.array([[1.0, -1.0]]), np.zeros(1), "odds")
    >>> scores.answers(np.array([[2.0, 2.0], [9.0, 0.0]])).round(3)
    array([[0.5, 0.5],
           [0. , 1. ]])
    """

    weights: Floats  # (k, d)
    bias: Floats  # (k,)
    link: Link
    flat: bool = False  # whether answers are (n,)
    low: Floats | None = None  # (k,)
    high: Floats | None = None
    reach: Floats | None = None  # (d,)

    @property
    def classes(self) -> int:
        """How many classes are told apart; 0 where answers are numbers."""
        if self.link in ("numbers", "exp"):
            return 0
        return 2 if self.link == "odds" else len(self.bias)

    def answers(self, x: Array, /) -> Floats:
        """Of dense rows (n, d): numbers (n,) or (n, k), or probabilities (n, classes)."""
        rows = np.asarray(x, dtype=np.float64)
        if self.reach is not None:
            rows = np.clip(rows, -self.reach, self.reach)
        said = linked(self.link, self.held(rows @ self.weights.T + self.bias))
        return said[:, 0] if self.flat else said

    def held(self, scores: Floats, /) -> Floats:
        """Scores (n, k) within their bounds."""
        return np.clip(scores, self.low, self.high) if self.low is not None or self.high is not None else scores


def linked(link: Link, scores: Floats, /) -> Floats:
    """Answers of scores (n, k). Raises SettingError for an unknown link."""
    if link == "numbers":
        return scores
    if link == "exp":
        return np.exp(scores)
    if link == "odds":
        odds = np.concatenate([-scores, scores], axis=1)
        return np.exp(-np.logaddexp(0.0, -odds))
    if link == "shares":
        votes = np.maximum(scores, 0.0)
        total = votes.sum(axis=1, keepdims=True)
        return np.divide(votes, total, out=np.full_like(votes, 1 / votes.shape[1]), where=total > 0)
    if link not in LINKS:
        raise SettingError(f"there is no link {link!r}; expected one of {', '.join(LINKS)}")
    logs = -np.logaddexp(0.0, -scores) if link == "rest" else scores
    votes = np.exp(logs - logs.max(axis=1, keepdims=True))
    return votes / votes.sum(axis=1, keepdims=True)
