"""`FirstSession`: a net learns what to look at in the first experience, and is frozen; what comes then is solved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import final

from retain.compose import Consolidating, consolidate
from retain.core import Array, Batch, Features, Learner, State
from retain.learners.neural.neural import Neural

__all__ = ["FirstSession"]


@final
class FirstSession(Consolidating, Learner):
    """A net that is trained until the first experience ends, and a learner over its features that goes on.

    The net, mostly one that was trained before, comes to know the domain; then it is frozen. From then on the learner
    learns what the net's last linear layer would be given, beginning with all rows of the first experience. If it is an
    analytic one nothing is forgotten any more: classes that come later end where all at once would have ended, on
    these features. How often the first experience is gone through is for the loop to say.

    Args:
        net: answers until the first experience ends.
        learner: of the features; `RandomFeatures(2000) | Ridge()` is the paper's.

    >>> import numpy as np, retain as rt
    >>> from retain.compose import consolidate
    >>> x = np.random.default_rng(0).normal(size=(900, 2)).astype(np.float32)
    >>> y = (x[:, 0] * x[:, 1] > 0) + 2 * (x[:, 0] > 0)  # a class for each quarter
    >>> learner = rt.neural.FirstSession(rt.Neural(rt.neural.MLP(2, 64, 2), batch_size=10), rt.Ridge())
    >>> for codes in ([0, 1], [2, 3]):
    ...     batch = rt.Batch(x[np.isin(y, codes)], y=y[np.isin(y, codes)])
    ...     said = learner.learn(batch)
    ...     consolidate(learner, [batch])
    >>> bool((learner.predict(x).argmax(1) == y).mean() > 0.9)
    True

    References:
        Panos et al. 2023, First session adaptation; McDonnell et al. 2023, RanPAC. There some of the weights are
        tuned, as adapters; here all that the net's optimiser was built for.
    """

    def __init__(self, net: Neural, learner: Learner, /) -> None:
        self.net, self.learner = net, learner
        self._frozen = False

    def learn(self, batch: Batch, /) -> Array:
        if not self._frozen:
            return self.net.learn(batch)
        return self.learner.learn(replace(batch, x=self.net.features(batch.x)))

    def predict(self, x: Features, /) -> Array:
        """Probabilities (n, k), or numbers. Changes nothing."""
        return self.learner.predict(self.net.features(x)) if self._frozen else self.net.predict(x)

    def consolidate(self, experience: Iterable[Batch], /) -> None:
        seen = _Seen(experience, self.net)
        if not self._frozen:
            self.net.consolidate(experience)
            for batch in seen:
                self.learner.learn(batch)
            self._frozen = True
        consolidate(self.learner, seen)

    def state_dict(self) -> State:
        return {"net": self.net.state_dict(), "learner": self.learner.state_dict(), "frozen": self._frozen}

    def load_state_dict(self, state: State, /) -> None:
        self.net.load_state_dict(state["net"])
        self.learner.load_state_dict(state["learner"])
        self._frozen = bool(state["frozen"])


@final
@dataclass(frozen=True, slots=True)
class _Seen:
    """Blocks as the net sees them, each time they are gone through."""

    batches: Iterable[Batch]
    net: Neural

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.batches:
            yield replace(batch, x=self.net.features(batch.x))
