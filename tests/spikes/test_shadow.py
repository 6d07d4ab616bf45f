"""Spike 3: a candidate shadows the champion under late labels and the process is killed in mid-gate."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

import retain
from retain.blocks import concat_batches, from_state, take_batch, to_state
from retain.compose import Chain, Kept
from retain.core import Array, Batch, Decision, Gate, Report, State, Trigger, Verdict
from retain.state import decode, encode, equal, read_snapshot, snapshots, write_snapshot

ROWS, BLOCK = 3000, 40


class Logistic:
    """One step down the log-loss for each labelled row."""

    def __init__(self, *, rate: float) -> None:
        self.rate, self.w = rate, np.zeros(5)

    def learn(self, batch: Batch, /) -> Array:
        said = np.empty(len(batch))
        for i, (x, y) in enumerate(zip(batch.x, batch.y, strict=True)):
            said[i] = 1 / (1 + np.exp(-(x @ self.w)))
            if y >= 0:
                self.w = self.w + self.rate * (y - said[i]) * x
        return said

    def predict(self, x: Array, /) -> Array:
        return np.array([1 / (1 + np.exp(-(row @ self.w))) for row in x])

    def state_dict(self) -> State:
        return {"w": self.w.copy()}

    def load_state_dict(self, state: State, /) -> None:
        self.w = state["w"].copy()


class OnLoss:
    """Fires when the mean loss of the last 200 labels exceeds a level."""

    def __init__(self, *, above: float) -> None:
        self.above, self.last = above, np.zeros(0)

    def __call__(self, report: Report, /) -> bool:
        if report.loss is not None:
            self.last = np.concatenate([self.last, report.loss])[-200:]
        return len(self.last) == 200 and self.last.mean() > self.above

    def state_dict(self) -> State:
        return {"last": self.last.copy()}

    def load_state_dict(self, state: State, /) -> None:
        self.last = state["last"].copy()


class Better:
    """Two bets, for and against the candidate; the first to multiply its stake by 1 / alpha wins (Ville 1939)."""

    def __init__(self, *, alpha: float = 0.01, stake: float = 0.2) -> None:
        self.alpha, self.stake = alpha, stake
        self.wealth, self.pairs, self.decision = [1.0, 1.0], 0, Decision.UNDECIDED

    def __call__(self, champion: Array, candidate: Array, /) -> Verdict:
        for difference in champion - candidate:
            if self.decision is Decision.UNDECIDED and not np.isnan(difference):
                bet = self.stake * float(difference)
                self.wealth, self.pairs = [self.wealth[0] * (1 + bet), self.wealth[1] * (1 - bet)], self.pairs + 1
                if max(self.wealth) >= 1 / self.alpha:
                    self.decision = Decision.PROMOTE if self.wealth[0] > self.wealth[1] else Decision.REFUSE
        return Verdict(self.decision, self.pairs, {"for": self.wealth[0], "against": self.wealth[1]})

    def state_dict(self) -> State:
        return {"wealth": list(self.wealth), "pairs": self.pairs, "decision": self.decision.value}

    def load_state_dict(self, state: State, /) -> None:
        self.wealth, self.pairs = list(state["wealth"]), state["pairs"]
        self.decision = Decision(state["decision"])


@dataclass
class Pending:
    """Rows that wait for their labels: what each model must see again, and what each said (NaN: it was not asked)."""

    row: Array
    kept: dict[str, Batch]
    said: dict[str, Array]


RECIPES = {"slow": lambda: Chain((), Logistic(rate=0.002)), "fast": lambda: Chain((), Logistic(rate=0.3))}


class Loop:
    """Champion, perhaps a candidate, trigger and gate; all that it remembers is one state."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.x = rng.normal(size=(ROWS, 5))
        weights = np.where(np.arange(ROWS)[:, None] < ROWS // 3, [3.0, -2, 1, 0, 0], [-3.0, 2, 0, 1, 2])  # a drift
        self.y = (rng.random(ROWS) < 1 / (1 + np.exp(-(self.x * weights).sum(1)))).astype(np.int64)
        self.lands = np.arange(ROWS) + rng.integers(1, 80, size=ROWS) + 0.5
        self.row = 0
        self.recipes = {"champion": "slow"}  # a state says what was learnt, not how to build what learns
        self.models: dict[str, Chain] = {"champion": RECIPES["slow"]()}
        self.trigger: Trigger = OnLoss(above=0.55)
        self.gate: Gate = Better()
        self.verdict: Verdict | None = None
        empty = Batch(np.zeros((0, 5)))
        self.pending = Pending(np.zeros(0, dtype=np.int64), {"champion": empty}, {"champion": np.zeros(0)})

    def steps(self, *, seam: str | None = None, at: int = -1) -> Iterator[Report]:
        while self.row < ROWS:
            report = self._step(min(self.row + BLOCK, ROWS), die=seam == "between" and self.row >= at)
            self._decide(report)
            if seam == "decided" and self.row >= at:
                os.kill(os.getpid(), signal.SIGKILL)
            yield report

    def _step(self, stop: int, *, die: bool) -> Report:
        new = np.arange(self.row, stop)
        pool = np.concatenate([self.pending.row, new])
        landing = np.flatnonzero(self.lands[pool] < stop - 0.25)
        time, event = np.concatenate([new, self.lands[pool[landing]]]), np.concatenate([np.arange(len(new)), ~landing])
        order = event[np.lexsort((np.concatenate([new, pool[landing]]), time))]
        kept, said = {}, {}
        for name, model in self.models.items():
            due = Kept((self.pending.kept[name],))
            answer, more = model.flow(Batch(self.x[new]), due if len(due) else None, self.y[pool], order)
            kept[name] = concat_batches([self.pending.kept[name], replace(more.views[-1], y=None)])
            said[name] = np.concatenate([self.pending.said[name], answer])
            if die:
                os.kill(os.getpid(), signal.SIGKILL)  # the champion has learnt, the candidate has not
        landed, waits = ~order[order < 0], np.setdiff1d(np.arange(len(pool)), landing)
        y = self.y[pool[landed]]
        loss = {k: np.where(np.isnan(p[landed]), np.nan, (p[landed] > 0.5) != y) for k, p in said.items()}
        self.row = stop
        self.pending = Pending(
            pool[waits], {k: take_batch(b, waits) for k, b in kept.items()}, {k: p[waits] for k, p in said.items()}
        )
        champion = loss.pop("champion")
        count = {"rows": stop, "learnt": stop - len(waits), "pending": len(waits), "lost": 0, "quarantined": 0}
        return Report(**count, seconds=0.0, cpu_seconds=0.0, id=pool[landed], y=y, loss=champion, shadows=loss)

    def _decide(self, report: Report) -> None:
        if "candidate" in self.models:
            self.verdict = self.gate(report.loss, report.shadows["candidate"])
            if self.verdict.decision is not Decision.UNDECIDED:
                winner = "candidate" if self.verdict.decision is Decision.PROMOTE else "champion"
                self.models, self.recipes = {"champion": self.models[winner]}, {"champion": self.recipes[winner]}
                self.pending.kept = {"champion": self.pending.kept[winner]}
                said = self.pending.said[winner]
                self.pending.said = {"champion": np.where(np.isnan(said), self.pending.said["champion"], said)}
        elif self.verdict is None and self.trigger(report):
            candidate = RECIPES["fast"]()
            candidate.load_state_dict(decode(encode(self.models["champion"].state_dict())))  # a fork
            self.models["candidate"], self.recipes["candidate"] = candidate, "fast"
            self.pending.kept["candidate"] = self.pending.kept["champion"]  # labels on their way teach it too,
            self.pending.said["candidate"] = np.full(len(self.pending.row), np.nan)  # but it did not predict those rows

    def state_dict(self) -> State:
        v = self.verdict
        return {
            "row": self.row,
            "recipes": dict(self.recipes),
            "models": {name: model.state_dict() for name, model in self.models.items()},
            "trigger": self.trigger.state_dict(),
            "gate": self.gate.state_dict(),
            "verdict": v and {"decision": v.decision.value, "pairs": v.pairs, "evidence": dict(v.evidence)},
            "pending": {
                "row": self.pending.row,
                "kept": {name: to_state(batch) for name, batch in self.pending.kept.items()},
                "said": self.pending.said,
            },
        }

    def load_state_dict(self, state: State, /) -> None:
        self.row = state["row"]
        self.recipes = dict(state["recipes"])
        self.models = {name: RECIPES[recipe]() for name, recipe in self.recipes.items()}
        for name, model in self.models.items():
            model.load_state_dict(state["models"][name])
        self.trigger.load_state_dict(state["trigger"])
        self.gate.load_state_dict(state["gate"])
        if (verdict := state["verdict"]) is not None:
            self.verdict = Verdict(Decision(verdict["decision"]), verdict["pairs"], verdict["evidence"])
        kept = {name: from_state(batch) for name, batch in state["pending"]["kept"].items()}
        self.pending = Pending(state["pending"]["row"], kept, dict(state["pending"]["said"]))


def main(folder: Path, seam: str | None, at: int) -> None:
    loop = Loop()
    for _, path in snapshots(folder):
        loop.load_state_dict(read_snapshot(path))
        break
    for _ in loop.steps(seam=seam, at=at):
        write_snapshot(folder, loop.row, loop.state_dict())
    sys.stdout.write(json.dumps({"decision": loop.verdict.decision.value, "pairs": loop.verdict.pairs}))


def process(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(retain.__file__).parents[1])}
    command = [sys.executable, __file__, str(folder), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def whole() -> tuple[Loop, list[Report], dict[int, State]]:
    loop, reports, states = Loop(), [], {}
    for report in loop.steps():
        reports.append(report)
        states[loop.row] = decode(encode(loop.state_dict()))
    return loop, reports, states


def test_the_gate_decides_late_and_for_the_better_model(whole: tuple[Loop, list[Report], dict[int, State]]) -> None:
    loop, _, states = whole
    opened = [row for row, state in states.items() if "candidate" in state["models"]]
    assert loop.verdict.decision is Decision.PROMOTE
    assert len(opened) >= 3
    assert opened[0] > ROWS // 3  # after the drift
    assert loop.verdict.evidence["for"] >= 100


@pytest.mark.parametrize("seam", ["between", "decided"])  # before the candidate has learnt; before the snapshot
def test_killed_in_mid_gate_it_ends_in_the_same_verdict_and_weights(
    whole: tuple[Loop, list[Report], dict[int, State]], tmp_path: Path, seam: str
) -> None:
    loop, _, states = whole
    opened = [row for row, state in states.items() if "candidate" in state["models"] and state["gate"]["pairs"]]
    at = opened[len(opened) // 2]
    killed = process(tmp_path, seam, str(at))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    number, path = next(iter(snapshots(tmp_path)))
    there = read_snapshot(path)
    assert (there["gate"]["decision"], "candidate" in there["models"]) == ("undecided", True)  # in mid-gate indeed
    assert 0 < there["gate"]["pairs"] < loop.verdict.pairs
    assert number in (at - BLOCK, at)
    again = process(tmp_path)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == {"decision": loop.verdict.decision.value, "pairs": loop.verdict.pairs}
    assert equal(read_snapshot(next(iter(snapshots(tmp_path)))[1]), states[ROWS])


def test_killed_after_promotion_the_new_champion_goes_on(
    whole: tuple[Loop, list[Report], dict[int, State]], tmp_path: Path
) -> None:
    _, _, states = whole
    at = next(row for row, state in states.items() if state["recipes"] == {"champion": "fast"})
    assert at < ROWS - BLOCK
    assert process(tmp_path, "between", str(at)).returncode == -signal.SIGKILL
    assert process(tmp_path).returncode == 0
    assert equal(read_snapshot(next(iter(snapshots(tmp_path)))[1]), states[ROWS])


def test_the_log_of_reports_replays_the_decisions(whole: tuple[Loop, list[Report], dict[int, State]]) -> None:
    loop, reports, _ = whole
    gate = Better()
    verdicts = [gate(r.loss, r.shadows["candidate"]) for r in reports if r.shadows]
    assert verdicts[-1] == loop.verdict
    shadowed = np.concatenate([r.shadows["candidate"] for r in reports if r.shadows])
    assert loop.verdict.pairs < np.count_nonzero(
        ~np.isnan(shadowed)
    )  # within a report, and what followed moved nothing
    assert np.isnan(shadowed).any()  # rows on which the candidate was not asked are no pairs
    cut = Better()
    for report in (r for r in reports if r.shadows):
        for i in range(len(report.loss)):
            last = cut(report.loss[i : i + 1], report.shadows["candidate"][i : i + 1])
    assert last == loop.verdict  # the row of the verdict does not depend on how the reports were cut


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None, int(sys.argv[3]) if len(sys.argv) > 3 else -1)
