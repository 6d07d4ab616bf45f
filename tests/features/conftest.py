"""Late labels, played through a label transform in blocks of events."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from retain import blocks


@pytest.fixture(scope="session")
def events():
    """Arrivals ("a", i) and landings ("l", i) in order; row i lands `delay[i]` rows after it arrived, or never."""

    def build(delay):
        n = len(delay)
        times = [(i, 0, i, "a") for i in range(n)]
        times += [(i + delay[i], 1, i, "l") for i in range(n) if np.isfinite(delay[i])]
        return [(what, i) for _, _, i, what in sorted(times)]

    return build


@pytest.fixture(scope="session")
def play():
    """Run events through a transform, cut into blocks at the given events; returns the transformed rows."""

    def run(transform, batch, events, cuts=()):
        out, kept = [], {}
        edges = [0, *sorted(cuts), len(events)]
        for a, b in itertools.pairwise(edges):
            arriving = [i for what, i in events[a:b] if what == "a"]
            landing = [i for what, i in events[a:b] if what == "l"]
            arrivals = blocks.take_batch(replace(batch, y=None), np.array(arriving, dtype=np.int64))
            view = transform.keep(arrivals.x)
            for place, i in enumerate(arriving):
                kept[i] = blocks.take(view, slice(place, place + 1))
            rows = np.array(landing, dtype=np.int64)
            if landing:
                landed = replace(blocks.take_batch(batch, rows), x=blocks.concat([kept[i] for i in landing]))
            else:
                landed = replace(blocks.take_batch(batch, rows), x=blocks.take(view, slice(0, 0)))
            order, seen = [], {"a": 0, "l": 0}
            for what, _ in events[a:b]:
                order.append(seen[what] if what == "a" else ~seen[what])
                seen[what] += 1
            out.append(transform.interleave(arrivals, landed, np.array(order, dtype=np.int64)).x)
        return blocks.concat([part for part in out if len(part if isinstance(part, np.ndarray) else part.columns[0])])

    return run
