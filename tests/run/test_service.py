"""Pipelines: rules decide the same however often they are stopped, and nothing but what they say happens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.run.turning import AT, RNG, SIGN, STEP, N, X, Y, deeds, drift, linear, pipeline, stream, timeless

import retain as rt
from retain import state
from retain.core import Decision, Deed, Report
from retain.errors import SettingError, StateError
from retain.update import Overseer

# --------------------------------------------------------------------------------------------------- what it computes


@pytest.mark.parametrize("delay", [None, rt.Delay(rows=77)])
def test_without_rules_it_is_the_prequential_loop(delay: rt.Delay | None) -> None:
    plain = list(rt.Prequential(stream(), linear(), delay=delay))[-1]
    ruled = list(pipeline(rules=[], delay=delay).run())[-1]
    assert (ruled.metrics, ruled.baselines) == (plain.metrics, plain.baselines)
    assert (ruled.rows, ruled.learnt, ruled.pending, ruled.lost) == (
        plain.rows,
        plain.learnt,
        plain.pending,
        plain.lost,
    )


def test_steps_end_at_the_same_rows_however_the_stream_is_cut() -> None:
    runs = [list(pipeline(stream=rt.streams.arrays(X, Y, block=b)).run()) for b in (37, 250, 5_000)]
    assert {tuple(report.rows for report in run) for run in runs} == {tuple(range(STEP, N + 1, STEP))}
    assert deeds(runs[0]) == deeds(runs[1]) == deeds(runs[2])
    assert len({tuple(run[-1].metrics.values()) for run in runs}) == 1


def test_after_a_drift_a_retrained_model_is_promoted_and_does_better() -> None:
    ruled, plain = list(pipeline().run()), list(pipeline(rules=[]).run())
    whats = [what for _, _, what in deeds(ruled)]
    assert whats.count("promoted") >= 1
    assert deeds(ruled)[0][0] > AT
    assert ruled[-1].metrics["accuracy"] > plain[-1].metrics["accuracy"] + 0.05


@pytest.mark.parametrize(("last", "lag"), [(600, 0), (600, 90), (50, 200)])
def test_a_candidate_is_what_learning_the_same_rows_apart_makes(last: int, lag: int) -> None:
    """Its answers, row by row, beside those of a learner taught on a copy of the same rows by the plain loop.

    Rows that still waited for their labels when it began are seen by both, however old they are.
    """
    delay = rt.Delay(rows=lag) if lag else None
    patient = rt.Rule(
        when=rt.OnDrift(rt.detectors.ADWIN()), do=rt.Retrain(last=last), gate=rt.Better(least=1_500), name="drift"
    )
    said: dict[int, np.ndarray] = {}
    opened = 0
    for report in pipeline(delay=delay, rules=[patient]).run():
        if report.evidence is not None and report.evidence.candidate_said is not None and report.row is not None:
            pair = ~np.isnan(report.evidence.candidate)
            said |= dict(zip(report.row[pair], report.evidence.candidate_said[pair], strict=True))
        opened = next((d.rows for d in report.deeds if d.what == "opened"), opened)
        if any(d.what == "promoted" for d in report.deeds):
            break
    since = min(opened - last, opened - 1 - lag if lag else opened)
    expected = {
        int(row) + since: p
        for report in rt.Prequential(rt.streams.arrays(X[since:], Y[since:]), linear(), delay=delay)
        if report.row is not None and report.prediction is not None
        for row, p in zip(report.row, report.prediction, strict=True)
    }
    assert min(said) == opened
    assert len(said) >= 1_500
    rows = sorted(said)
    np.testing.assert_array_equal([said[row] for row in rows], [expected[row] for row in rows])


def test_a_rule_without_a_gate_promotes_at_once_and_retraining_costs_no_answers() -> None:
    every = rt.Rule(when=rt.Every(rows=1_000), do=rt.Retrain(last=500), name="nightly")
    reports = list(pipeline(rules=[every], delay=rt.Delay(rows=300)).run())
    assert [d for d in deeds(reports) if d[2] == "promoted"] == [
        (r, "nightly", "promoted") for r in range(1000, 6001, 1000)
    ]
    assert reports[-1].learnt == N
    assert reports[-1].actions == 6


def test_rows_that_waited_when_the_champion_changed_are_scored_by_what_was_served() -> None:
    every = rt.Rule(when=rt.Every(rows=2_000), do=rt.Retrain(last=500), name="nightly")
    lag = 300
    served: dict[int, np.ndarray] = {}
    reports = list(pipeline(rules=[every], delay=rt.Delay(rows=lag)).run())
    scored = {
        int(row): p
        for report in reports
        if report.row is not None and report.prediction is not None
        for row, p in zip(report.row, report.prediction, strict=True)
    }
    service = pipeline(rules=[every], delay=rt.Delay(rows=lag)).service()
    before = service.champion
    for report in service.steps():
        if report.rows == 2_000:
            assert service.champion is not before
            break
        served |= {report.rows - STEP + i: p for i, p in enumerate(service._ledger.said)}
    for row in range(1_800, 1_999):  # they waited at row 2,000
        np.testing.assert_array_equal(scored[row][: len(served.get(row, scored[row]))], served.get(row, scored[row]))


def test_a_rule_keeps_to_its_warmup_cooldown_and_times() -> None:
    def fired(**kwargs: Any) -> list[int]:
        rule = rt.Rule(when=rt.Every(rows=500), do=rt.Alert(), **kwargs)
        return [rows for rows, _, _ in deeds(list(pipeline(rules=[rule]).run()))]

    assert fired() == list(range(500, 6_001, 500))
    assert fired(warmup=4_800) == [5_000, 5_500, 6_000]
    assert fired(cooldown=1_600) == [500, 2_500, 4_500]
    assert fired(times=2) == [500, 1_000]


# ------------------------------------------------------------------------------------------------------ kill and resume


def neural() -> rt.Neural:
    strategy = rt.strategies.Replay(rt.memory.Reservoir(50, seed=1), size=8)
    return rt.Neural(rt.neural.MLP(3, 8, 2, seed=0), batch_size=16, strategies=[strategy], seed=0)


KINDS: dict[str, dict[str, Any]] = {
    "late labels": {"delay": rt.Delay(rows=77)},
    "canary": {"rules": [drift(gate=rt.Canary(rt.Better(most=2_000), share=0.3))]},
    "slices, exam": {
        "rules": [
            drift(
                gate=rt.Unanimous(
                    rt.Better(most=3_000), rt.PerSlice(rt.NotWorse(0.1), by="key"), rt.NotForgotten(margin=1.0)
                )
            )
        ],
        "stream": rt.streams.arrays(X, Y, key=np.arange(N) % 3, block=130),
        "exam": rt.Exam(share=0.05, rows=30, every=500, most=6),
        "delay": rt.Delay(rows=40),
    },
    "frozen": {"rules": [rt.Rule(when=rt.Every(rows=1_000), do=rt.Retrain(last=800))], "frozen": True},
    "neural, replay": {"learner": neural(), "stream": stream(3_500), "delay": rt.Delay(rows=30)},
    "analytic": {"learner": rt.RLS(forgetting=0.999), "stream": rt.streams.arrays(X, X[:, 0] * SIGN, block=130),
                 "rules": [drift(gate=rt.Better(largest=None, most=2_000))]},
    "several rules": {
        "rules": [
            rt.Rule(when=rt.Every(rows=750), do=rt.Retrain(last=400), gate=rt.NotWorse(0.01, most=500), patience=500),
            rt.Rule(when=rt.WhenWorse(rt.metrics.Windowed(rt.metrics.Accuracy(), rows=500), than=0.7), do=rt.Alert()),
            rt.Rule(when=rt.Every(rows=1_600), do=rt.Retrain(last=200, warm=True), name="warm"),
        ]
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_resumed_after_every_report_it_ends_the_same(kind: str) -> None:
    whole = pipeline(**KINDS[kind]).service()
    expected = list(whole)
    resumed = pipeline(**KINDS[kind]).service()
    got: list[Report] = []
    while True:
        report = next(resumed.steps(), None)
        if report is None:
            break
        got.append(report)
        saved = state.encode(resumed.state_dict())
        resumed = pipeline(**KINDS[kind]).service()
        resumed.load_state_dict(state.decode(saved))
    got += list(resumed.finish())
    assert deeds(got) == deeds(expected)
    assert deeds(expected)
    assert [report.metrics for report in got] == [report.metrics for report in expected]
    assert timeless(resumed.state_dict()) == timeless(whole.state_dict())


def test_durable_pipelines_resume_with_their_registry(tmp_path: Path) -> None:
    def build(folder: Path) -> rt.Pipeline:
        return pipeline(registry=rt.FileRegistry(folder / "models", who="test"), delay=rt.Delay(rows=77))

    expected = list(build(tmp_path / "a").run(tmp_path / "a" / "state"))
    got: list[Report] = []
    for _ in range(100):
        run = build(tmp_path / "b").run(tmp_path / "b" / "state")
        fresh = [report for report, _ in zip(run, range(3), strict=False)]
        run.close()  # type: ignore[attr-defined]
        got += fresh
        if len(fresh) < 3:
            break
    first, second = (rt.FileRegistry(tmp_path / name / "models") for name in "ab")
    assert [v.name for v in first.versions()] == [v.name for v in second.versions()]
    assert first.aliases() == second.aliases()
    assert [d for d in deeds(got) if d[2] == "promoted"] == [d for d in deeds(expected) if d[2] == "promoted"]
    points = [[e.about["version"] for e in r.log() if e.what == "point"] for r in (first, second)]
    assert points[0] == points[1]


# ----------------------------------------------------------------------------------------------------------- decisions


DONE = {Decision.PROMOTE: "promoted", Decision.REFUSE: "refused"}


def test_the_log_of_reports_replays_the_decisions() -> None:
    """An overseer that hears what was reported and done says what is done next, and nothing else."""
    rules = [
        drift(),
        rt.Rule(when=rt.Every(rows=1_000), do=rt.Alert(), name="alert"),
        rt.Rule(when=rt.Every(rows=2_000), do=rt.Retrain(last=300), gate=rt.Better(most=1_500), name="night"),
        rt.Rule(when=rt.Every(rows=4_250), do=rt.Retrain(last=300), name="swap"),
    ]
    reports = list(pipeline(rules=rules).run())
    overseer, got = Overseer(rules), []
    for report in reports:
        judgement = overseer(report)
        told = list(report.deeds)
        if judgement.verdict is not None:
            decided = told.pop(0)
            got.append((report.rows, decided.rule, DONE[judgement.verdict.decision]))
            overseer.follow(decided)
        for number, _ in judgement.fired:
            rule = rules[number]
            what = "held" if overseer.holds(number, report.rows) else "fired"
            got.append((report.rows, rule.name, what))
            overseer.follow(told.pop(0))
            while what == "fired" and told and told[0].what not in ("fired", "held"):
                got.append((report.rows, told[0].rule, told[0].what))
                overseer.follow(told.pop(0))
        assert not told
    assert got == deeds(reports)
    assert {"held", "fired", "opened", "promoted", "refused", "set aside"} <= {what for _, _, what in got}


def test_a_candidate_that_is_better_overall_and_worse_on_a_past_experience_is_refused() -> None:
    """Two sites with opposite labels, told apart by a column; one taught on the new site alone forgets the old."""
    n = 8_000
    x = RNG.normal(size=(n, 2)).astype(np.float32)
    site = np.repeat([0, 1], n // 2)
    y = (x[:, 0] * np.where(site == 0, 1, -1) > 0).astype(np.int64)
    x = np.column_stack([x, site, x[:, 0] * site]).astype(np.float32)
    x[:, 3] *= (RNG.random(n) < 0.6).astype(np.float32)  # the old model can hold both, though not perfectly
    source = rt.streams.arrays(x, y, key=site)
    rule = rt.Rule(
        when=rt.Every(rows=6_000), do=rt.Retrain(last=1_500), gate=rt.Better(most=1_800), name="local", cooldown=10_000
    )
    careful = rt.Rule(
        when=rt.Every(rows=6_000),
        do=rt.Retrain(last=1_500),
        gate=rt.Unanimous(rt.Better(most=1_800), rt.NotForgotten(margin=0.05)),
        name="local",
        cooldown=10_000,
    )
    made = {"stream": source, "exam": rt.Exam(share=0.03, by="key"), "step": 500, "learner": linear()}
    alone = deeds(list(rt.Pipeline(rules=[rule], **made).run()))
    watched = [d for r in rt.Pipeline(rules=[careful], **made).run() for d in r.deeds]
    assert ("local", "promoted") in [(rule, what) for _, rule, what in alone]
    assert [d.what for d in watched][-1] == "refused"
    assert "experience 0" in watched[-1].why


def test_what_the_exam_keeps_is_learnt_by_nobody() -> None:
    exam = rt.Exam(share=0.2, rows=10)
    hidden = exam.hidden(0, N)
    assert 0.15 < hidden.mean() < 0.25
    base = list(pipeline(rules=[], exam=exam).run())[-1]
    y = Y.copy()
    y[hidden] = -1
    expected = rt.Prequential(rt.streams.arrays(X, y, block=130), linear())
    list(expected)
    service = pipeline(rules=[], exam=exam).service()
    list(service)
    assert state.equal(service.champion.state_dict(), expected.learner.state_dict())
    assert base.learnt == N  # they are scored all the same


def test_a_candidate_that_breaks_is_set_aside_and_nobody_notices() -> None:
    rule = rt.Rule(when=rt.Every(rows=1_000), do=Sabotage(), gate=rt.Better(), name="bad", cooldown=10_000)
    reports = list(pipeline(rules=[rule]).run())
    assert deeds(reports) == [(1_000, "bad", "fired"), (1_000, "bad", "opened"), (1_250, "bad", "set aside")]
    assert reports[-1].metrics == list(pipeline(rules=[]).run())[-1].metrics


class Sabotage:
    """Makes a candidate that refuses every row."""

    needs = 0

    def __call__(self, workshop: Any) -> Any:
        lane = workshop.fork()

        def refuse(*_: Any) -> Any:
            raise rt.errors.PoisonError("a row holds what no row should; expected another")

        lane._model.learn = refuse
        return lane


def test_an_action_that_cannot_be_done_is_told_and_the_service_goes_on() -> None:
    rule = rt.Rule(when=rt.Every(rows=1_000), do=rt.RollBack(), name="back")
    reports = list(pipeline(rules=[rule]).run())
    failed = [d for r in reports for d in r.deeds if d.what == "failed"]
    assert len(failed) == 6
    assert "registry" in failed[0].why


# ------------------------------------------------------------------------------------------------------------ registry


def test_promotions_and_refusals_stand_in_the_registry_with_their_evidence(tmp_path: Path) -> None:
    kept = rt.FileRegistry(tmp_path, who="test")
    never = rt.Rule(
        when=rt.Every(rows=500), do=rt.Retrain(last=100), gate=rt.Better(most=200), cooldown=10_000, name="no"
    )
    reports = list(pipeline(registry=kept, rules=[never, drift()]).run())
    whats = {deed.what for report in reports for deed in report.deeds}
    assert {"promoted", "refused"} <= whats
    entries = {entry.what: entry.about for entry in kept.log()}
    assert entries["refused"]["decision"]["rule"] == "no"
    promoted = [
        e.about["decision"] for e in kept.log() if e.what == "point" and "decision" in e.about.get("decision", {})
    ]
    assert promoted[0]["decision"] == "promote"
    assert promoted[0]["evidence"]["log_e_for"] >= np.log(20)
    listed = {v.name: v for v in kept.versions()}
    assert listed[kept.name("champion")].parent in listed
    assert kept.verify() == []


def test_rolled_back_it_answers_exactly_as_before(tmp_path: Path) -> None:
    kept = rt.FileRegistry(tmp_path, who="test")
    rules = [
        rt.Rule(when=rt.Every(rows=2_000), do=rt.Retrain(last=300), name="swap", cooldown=100_000),
        rt.Rule(when=rt.Every(rows=3_000), do=rt.RollBack(), name="back", cooldown=100_000),
    ]
    service = pipeline(registry=kept, rules=rules, delay=rt.Delay(rows=77)).service()
    answers: dict[int, np.ndarray] = {}
    for report in service.steps():
        for deed in report.deeds:
            if deed.what == "promoted":
                previous = kept.pull("previous")["learner"]
                old = linear()
                old.load_state_dict(previous)
                answers[0] = old.predict(X[:50])
            if deed.what == "returned":
                answers[1] = service.champion.predict(X[:50])
    np.testing.assert_array_equal(answers[0], answers[1])
    assert service._ledger.rows == N


@pytest.mark.parametrize("delay", [None, rt.Delay(rows=77)])
def test_who_moves_the_champion_by_hand_moves_what_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, delay: rt.Delay | None
) -> None:
    clock = iter(range(10**6))
    monkeypatch.setattr("retain.run.service.time.monotonic", lambda: float(next(clock)))
    kept = rt.FileRegistry(tmp_path, who="test")
    every = rt.Rule(when=rt.Every(rows=1_000), do=rt.Retrain(last=300), name="swap", cooldown=100_000)
    service = pipeline(registry=kept, rules=[every], delay=delay).service()
    moved: list[tuple[int, str]] = []
    expected = np.empty(0)
    for report in service.steps():
        moved += [(d.rows, d.why) for d in report.deeds if d.what == "returned"]
        if report.rows == 2_000:
            rt.FileRegistry(tmp_path, who="anna").rollback(why="complaints")
            old = linear()
            old.load_state_dict(kept.pull("champion")["learner"])
            expected = old.predict(X[2_000:2_001])
        if report.rows == 2_250 and delay is None:  # the first row after it is answered by what anna chose;
            # with late labels one has landed before
            np.testing.assert_array_equal(service._ledger.said[0], expected[0])
    assert moved == [(2_000, "anna moved the champion: complaints")]


def test_a_log_that_was_rewritten_is_seen_when_a_run_goes_on(tmp_path: Path) -> None:
    service = pipeline(registry=rt.FileRegistry(tmp_path / "a", who="test")).service()
    list(service)
    saved = service.state_dict()
    other = pipeline(registry=rt.FileRegistry(tmp_path / "b", who="test")).service()
    with pytest.raises(StateError, match="not the one that this run wrote to"):
        other.load_state_dict(saved)


def test_an_owner_that_slept_writes_no_more(tmp_path: Path) -> None:
    old = pipeline(registry=rt.FileRegistry(tmp_path, who="old"), rules=[]).service()
    steps = old.steps()
    next(steps)
    new = pipeline(registry=rt.FileRegistry(tmp_path, who="new")).service()
    list(new)
    before = rt.FileRegistry(tmp_path).aliases()
    list(steps)  # nothing is promoted here: what writes is the end
    with pytest.raises(StateError, match="another owner"):
        list(old.finish())
    assert rt.FileRegistry(tmp_path).aliases() == before


# ------------------------------------------------------------------------------------------------------------ bad input


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(SettingError, match="step=0"):
        pipeline(step=0)
    with pytest.raises(SettingError, match="two rules are called"):
        pipeline(rules=[drift(), drift()]).service()
    with pytest.raises(SettingError, match=r"exam=rt\.Exam"):
        list(pipeline(rules=[drift(gate=rt.NotForgotten())]).run())
    with pytest.raises(SettingError, match="no column 'site'"):
        list(pipeline(rules=[drift(gate=rt.PerSlice(rt.NotWorse(), by="site"))]).run())


def test_a_poisoned_row_stops_it_before_anything_has_changed() -> None:
    x = X.copy()
    x[1_000, 1] = np.nan
    service = pipeline(stream=rt.streams.arrays(x, Y, block=130)).service()
    reports: Iterator[Report] = service.steps()
    for _ in range(4):
        next(reports)
    before = timeless(service.state_dict())
    with pytest.raises(rt.errors.PoisonError, match=r"row 0|1000"):
        next(reports)
    assert timeless(service.state_dict()) == before


def test_a_deed_reads_as_a_line() -> None:
    deed = Deed(1_000, float("nan"), "drift", "promoted", "after 300 pairs")
    assert str(deed) == "drift: promoted (after 300 pairs)"
    assert str(replace(deed, why="")) == "drift: promoted"
