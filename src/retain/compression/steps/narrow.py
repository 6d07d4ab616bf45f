"""Narrowing: random features that an analytic learner can do without are no longer computed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import final

import numpy as np

from retain.compose import Narrowing, learns
from retain.compression.draft import Draft, Lessons, end, ending, swapped, transforms
from retain.core import Learner
from retain.errors import SettingError
from retain.features.random_features import RandomFeatures

__all__ = ["Narrow"]

_AT_ONCE = 0.25  # of the features: what the others are worth changes when some are gone


@final
class Narrow:
    """A step: of the `rt.RandomFeatures` right in front of an analytic learner a share goes, those worth least.

    What a feature is worth is by how much the learner's sum of squares grows without it, exactly: |w|^2 over the place
    of the feature in the inverse of G + l2 I (the optimal brain surgeon's measure; `SLDA` and `NearestMean`: how much
    nearer the class means come). It is asked anew after each quarter that went. The learner then is, to rounding, the
    one that had only ever had the features that are left: it goes on learning so. Nothing has to be taught again.

    Half of the features take half of the time to compute, and where the learner learns, a quarter of the room for sums.

    Args:
        share: of the features, that goes.

    >>> import numpy as np, retain as rt
    >>> from retain.compression import Draft, Lessons, Narrow
    >>> x = np.random.default_rng(0).uniform(-1, 1, size=(2000, 2)).astype(np.float32)
    >>> rows = rt.Batch(x, y=(x[:, 0] * x[:, 1] > 0).astype(int))
    >>> learner = rt.RandomFeatures(200) | rt.Ridge()
    >>> said = learner.learn(rows)
    >>> small = Narrow(0.8)(Draft(learner), Lessons([], teacher=learner)).learner
    >>> small.transforms[0].outputs, bool((small.predict(x).argmax(axis=1) == rows.y).mean() > 0.95)
    (40, True)

    Raises:
        SettingError: a share out of range, a chain that does not end with `rt.RandomFeatures` and `Ridge`, `RLS`,
            `SLDA` or `NearestMean`.

    References:
        Hassibi and Stork 1993, Second order derivatives for network pruning: optimal brain surgeon.
    """

    def __init__(self, share: float) -> None:
        if not 0 < share < 1:
            raise SettingError(f"Narrow got share={share}; expected 0 < share < 1, the part of the features that goes")
        self._share = float(share)

    @property
    def name(self) -> str:
        return f"narrow {self._share:.0%}"

    def __call__(self, draft: Draft, lessons: Lessons, /) -> Draft:
        needs = "Narrow takes rt.RandomFeatures away that are right in front of Ridge, RLS, SLDA or NearestMean"
        last: Learner = learns(draft.learner)
        *_, features = (None, *transforms(draft.learner))
        if not isinstance(features, RandomFeatures):
            raise SettingError(f"{needs}; got {type(features).__name__} there")
        wanted = max(round((1 - self._share) * features.outputs), 1)
        kept = np.arange(features.outputs)
        while len(kept) > wanted:
            left = max(wanted, math.floor((1 - _AT_ONCE) * len(kept)))
            wide = end(last, Narrowing, needs=needs)
            best = np.sort(np.argsort(-wide.worth(), kind="stable")[:left])
            kept, last = kept[best], wide.narrowed(best)
        if len(kept) == features.outputs:
            raise SettingError(f"Narrow({self._share:g}) takes none of {len(kept)} features away; give a larger share")
        chain = swapped(draft.learner, features, features.narrowed(kept))
        return replace(draft, learner=ending(chain, last))
