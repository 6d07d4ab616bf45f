"""Pipelines on a small stream whose labels turn round in the middle: what the tests of services share."""

from __future__ import annotations

from typing import Any

import numpy as np

import retain as rt
from retain import state
from retain.core import Report, State

N, AT, STEP = 6_000, 3_000, 250
RNG = np.random.default_rng(3)
X = RNG.normal(size=(N, 3)).astype(np.float32)
SIGN = np.where(np.arange(N) < AT, 1.0, -1.0)
Y = ((X[:, 0] + 0.5 * X[:, 1]) * SIGN + 0.3 * RNG.normal(size=N) > 0).astype(np.int64)


def stream(n: int = N, **kwargs: Any) -> rt.streams.Arrays:
    return rt.streams.arrays(X[:n], Y[:n], block=130, **kwargs)


def linear() -> rt.Chain:
    return rt.Scale() | rt.Linear(loss=rt.Logistic(), update=rt.FTRL())


def drift(**kwargs: Any) -> rt.Rule:
    kwargs = {"gate": rt.Better(most=2_000), **kwargs}
    return rt.Rule(when=rt.OnDrift(rt.detectors.ADWIN()), do=rt.Retrain(last=600), name="drift", **kwargs)


def pipeline(**kwargs: Any) -> rt.Pipeline:
    given: dict[str, Any] = {"stream": stream(), "learner": linear(), "rules": [drift()], "step": STEP, **kwargs}
    return rt.Pipeline(**given)


def deeds(reports: list[Report]) -> list[tuple[int, str, str]]:
    return [(deed.rows, deed.rule, deed.what) for report in reports for deed in report.deeds]


def timeless(kept: State) -> bytes:
    return state.encode({**kept, "clocks": None, "actions": None})
