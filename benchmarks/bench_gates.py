"""Gates: how often they promote what they should not, how often and how soon what they should, and what they cost.

Streams of paired errors of 0 and 1, champion and candidate sharing most of them, as two versions of a model do: both
err in 20 % of the rows, and answer differently in about a tenth. 1,000 streams of 20,000 pairs for each line. The bar:
at a nominal 5 %, at most 61 of 1,000 (a gate that errs in exactly 5 % exceeds that in one of twenty trials).
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from measure import record
from rich.progress import track

from retain.core import Decision, Evidence, Gate
from retain.update import Better, NotWorse

STREAMS, PAIRS, ERROR, APART = 1_000, 20_000, 0.2, 0.1


def pairs(rng: np.random.Generator, gain: float) -> tuple[np.ndarray, np.ndarray]:
    """Errors of both: the candidate's are the champion's, but for a tenth of the rows, and fewer by `gain`."""
    champion = rng.random(PAIRS) < ERROR
    # Of the champion's errors a share is put right, of the others a share goes wrong: apart in APART of the rows.
    right, wrong = (APART + gain) / 2 / ERROR, (APART - gain) / 2 / (1 - ERROR)
    u = rng.random(PAIRS)
    candidate = np.where(champion, u >= right, u < wrong)
    return champion.astype(np.float64), candidate.astype(np.float64)


def line(name: str, make: Callable[[], Gate], gain: float, bar: str) -> str:
    rng = np.random.default_rng(0)
    found = [make()(Evidence(*pairs(rng, gain))) for _ in track(range(STREAMS), description=name)]
    for_it = [verdict.pairs for verdict in found if verdict.decision is Decision.PROMOTE]
    refused = sum(verdict.decision is Decision.REFUSE for verdict in found)
    soon = f"{np.median(for_it):,.0f}" if for_it else ""
    return f"| {name} | {gain:+.3f} | {len(for_it)} | {refused} | {soon} | {bar} |"


def main() -> None:
    lines = [
        "## Gates",
        "",
        f"{STREAMS:,} candidates for each line, {PAIRS:,} pairs at most; gain: how much less often the candidate errs.",
        "",
        "| | gain | promoted | refused | pairs until promoted, median | bar |",
        "|---|---|---|---|---|---|",
        line("Better", Better, 0.0, "promoted <= 61"),
        line("NotWorse(0.02)", lambda: NotWorse(0.02), -0.02, "promoted <= 61"),
        line("NotWorse(0.002)", lambda: NotWorse(0.002), -0.002, "promoted <= 61"),
        *(line("Better", Better, gain, "") for gain in (0.01, 0.02, 0.05)),
        line("NotWorse(0.02)", lambda: NotWorse(0.02), 0.0, ""),
        line("NotWorse(0.01)", lambda: NotWorse(0.01), 0.0, ""),
        *(line("Better", Better, gain, "") for gain in (-0.01, -0.05)),
    ]
    champion, candidate = pairs(np.random.default_rng(1), 0.0)
    gate, start = Better(most=10**9, alpha=1e-12, beta=1e-12), time.process_time()
    gate(Evidence(champion, candidate))
    cost = (time.process_time() - start) / PAIRS
    record("gates", "\n".join([*lines, "", f"A pair costs {1e9 * cost:.0f} ns."]))


if __name__ == "__main__":
    main()
