"""Silence: rows whose labels are not heard are of a class, and labels that are heard after that correct them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.run.turning import N, X, Y, deeds, drift, linear, pipeline, timeless

import retain as rt
from retain import state
from retain.core import Report
from retain.errors import PoisonError, SettingError

RNG = np.random.default_rng(5)
TIME = np.cumsum(RNG.integers(0, 3, N)).astype(float)
# Ones are reported, half of them late; zeros never are, or once in a while.
KNOWN = np.where(RNG.random(N) < np.where(Y == 1, 0.95, 0.1), np.floor(TIME + RNG.exponential(60, N)) + 0.5, np.nan)
ID = RNG.permutation(10 * N)[:N]
AFTER = 40.0
SILENT = rt.Silence(after=AFTER, means=0)
LISTENING = rt.Silence(after=AFTER, means=0, until=300)


def beforehand(block: int = 130, x: np.ndarray = X) -> rt.streams.Arrays:
    return rt.streams.arrays(x, Y, time=TIME, label_time=KNOWN, id=ID, block=block)


def apart(block: int = 130, x: np.ndarray = X) -> rt.streams.join.Joined:
    order = np.flatnonzero(~np.isnan(KNOWN))
    order = order[np.argsort(KNOWN[order], kind="stable")]
    labels = rt.streams.arrays(np.zeros((len(order), 1)), Y[order], time=KNOWN[order], id=ID[order], block=97)
    return rt.streams.join(rt.streams.arrays(x, time=TIME, id=ID, block=block), labels)


def seen(reports: list[Report]) -> tuple[Any, ...]:
    rows, y = (np.concatenate([getattr(r, name) for r in reports[:-1]]) for name in ("row", "y"))
    last = reports[-1]
    return last.metrics, last.baselines, last.rows, last.learnt, rows.tolist(), y.tolist()


@pytest.mark.parametrize("make", [beforehand, apart])
@pytest.mark.parametrize("block", [19, 130, 6_000])
def test_silence_is_the_label_of_rows_that_nobody_reports(make: Any, block: int) -> None:
    """As a stream in which it had been written down so."""
    in_time = KNOWN - TIME <= AFTER
    written = rt.streams.arrays(
        X,
        np.where(in_time, Y, 0),
        time=TIME,
        label_time=np.where(in_time, KNOWN, np.nextafter(TIME + AFTER, np.inf)),
        block=130,
    )
    expected, got = rt.Prequential(written, linear()), rt.Prequential(make(block), linear(), expire=SILENT)
    list(expected.steps())
    list(got.steps())
    assert state.equal(got.learner.state_dict(), expected.learner.state_dict())


@pytest.mark.parametrize("expire", [SILENT, LISTENING])
def test_however_rows_are_cut_and_wherever_labels_come_from_it_learns_the_same(expire: rt.Silence) -> None:
    runs = [
        rt.Prequential(make(block), linear(), expire=expire)
        for make in (beforehand, apart)
        for block in (19, 130, 6_000)
    ]
    told = [list(run.steps()) for run in runs]
    first = told[0]
    for run, reports in zip(runs[1:], told[1:], strict=True):
        assert state.equal(run.learner.state_dict(), runs[0].learner.state_dict())
        assert (reports[-1].metrics, reports[-1].learnt) == (first[-1].metrics, first[-1].learnt)
    assert first[-1].learnt + first[-1].pending == N
    assert first[-1].lost == 0
    too_late = (expire.until or expire.after) < KNOWN - TIME
    heard = TIME.max() > KNOWN
    assert [reports[-1].strays for reports in told] == 3 * [0] + 3 * [int((too_late & heard).sum())]


def test_a_correction_and_what_silence_taught_are_together_the_true_label() -> None:
    """With steps so small that only their sum counts."""
    x, tiny = X[:1], rt.SGD(1e-6)
    true, fixed = (rt.Linear(loss=rt.Logistic(), update=tiny) for _ in range(2))
    for learner in (true, fixed):
        learner.learn(rt.Batch(np.zeros((2, 3), dtype=np.float32), y=np.array([0, 1])))
    true.learn(rt.Batch(x, y=np.array([1])))
    rows = rt.streams.arrays(np.repeat(x, 3, axis=0), time=[0, 20, 40], id=[0, 1, 2])
    labels = rt.streams.arrays(np.zeros((1, 1)), [1], time=[15], id=[0])
    before = fixed.weights.copy()
    run = rt.Prequential(rt.streams.join(rows, labels), fixed, expire=rt.Silence(after=10, means=0, until=18), limit=2)
    list(run.steps())
    np.testing.assert_allclose(fixed.weights - before, true.weights - before, rtol=1e-5)
    assert np.abs(true.weights - before).max() > 0


def test_corrections_mend_the_rate_of_what_is_reported_late() -> None:
    """Two fifths of the frauds come after silence has spoken: without them, they are underrated by so much."""
    n = 40_000
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 2))
    p = 1 / (1 + np.exp(2 - x[:, 0]))
    fraud = (rng.random(n) < p).astype(int)
    time = np.arange(n, dtype=float)
    known = np.where(fraud == 1, time + np.where(rng.random(n) < 0.4, 300.5, 20.5), np.nan)
    rates: dict[str, float] = {}
    for name, until in (("deaf", None), ("hearing", 500)):
        learner = rt.Linear(loss=rt.Logistic(), update=rt.SGD(0.005))
        stream = rt.streams.arrays(x, fraud, time=time, label_time=known)
        list(rt.Prequential(stream, learner, expire=rt.Silence(after=100, means=0, until=until)).steps())
        rates[name] = float(learner.predict(x[-10_000:])[:, 1].mean() / p[-10_000:].mean())
    assert 0.5 < rates["deaf"] < 0.65  # three fifths
    assert 0.9 < rates["hearing"] < 1.1


RULES: dict[str, dict[str, Any]] = {
    "on trial": {"rules": [drift()]},
    "at once": {"rules": [rt.Rule(when=rt.Every(rows=2_000), do=rt.Retrain(last=700))]},
    "exam": {
        "rules": [drift(gate=rt.Unanimous(rt.Better(most=3_000), rt.NotForgotten(margin=1.0)))],
        "exam": rt.Exam(share=0.05, rows=30, every=500, most=6),
    },
}


@pytest.mark.parametrize("kind", RULES)
@pytest.mark.parametrize("make", [beforehand, apart])
def test_saved_and_resumed_after_every_report_it_ends_the_same(kind: str, make: Any) -> None:
    def build() -> Any:
        return pipeline(stream=make(), expire=LISTENING, **RULES[kind]).service()

    whole, resumed = build(), build()
    expected = list(whole)
    got: list[Report] = []
    while (report := next(resumed.steps(), None)) is not None:
        got.append(report)
        saved = state.encode(resumed.state_dict())
        resumed = build()
        resumed.load_state_dict(state.decode(saved))
    got += list(resumed.finish())
    assert deeds(expected)
    assert deeds(got) == deeds(expected)
    assert got[-1].metrics == expected[-1].metrics
    assert timeless(resumed.state_dict()) == timeless(whole.state_dict())


@pytest.mark.parametrize("kind", RULES)
def test_rules_decide_the_same_wherever_labels_come_from(kind: str) -> None:
    runs = [list(pipeline(stream=make(), expire=LISTENING, **RULES[kind]).run()) for make in (beforehand, apart)]
    assert deeds(runs[0]) == deeds(runs[1])
    assert runs[0][-1].metrics == runs[1][-1].metrics


def test_a_poisoned_row_leaves_everything_as_it_was() -> None:
    """Though the rows before it in its block had to be learnt in several turns."""
    x = X.copy()
    x[1_000, 1] = np.nan
    for make in (beforehand, apart):
        run = rt.Prequential(make(block=500, x=x), linear(), expire=LISTENING)
        states = ((timeless(run.state_dict()), report.rows) for report in run.steps())
        seen = []
        with pytest.raises(PoisonError):
            seen.extend(states)
        before, rows = seen[-1]
        assert 900 < rows <= 1_000
        assert timeless(run.state_dict()) == before


def test_what_makes_no_sense_is_told() -> None:
    for bad in ({"after": 0}, {"after": 5, "until": 4}, {"after": float("inf")}, {"after": 5, "means": -1}):
        with pytest.raises(SettingError, match="makes no sense"):
            rt.Silence(**{"means": 0, **bad})
    with pytest.raises(SettingError, match="no sense together"):
        rt.Prequential(beforehand(), linear(), expire=SILENT, delay=rt.Delay(rows=3))
    with pytest.raises(SettingError, match="have no label_time"):
        list(rt.Prequential(rt.streams.arrays(X, Y, time=TIME), linear(), expire=SILENT))
    named = rt.streams.arrays(X, Y, time=TIME, label_time=KNOWN, classes=["no", "yes"])
    with pytest.raises(SettingError, match="'maybe', which is no class; expected one of no, yes"):
        list(rt.Prequential(named, linear(), expire=rt.Silence(after=5, means="maybe")))
    numbers = rt.streams.arrays(X, X[:, 0], time=TIME, label_time=KNOWN)
    with pytest.raises(SettingError, match="labels are numbers"):
        list(rt.Prequential(numbers, rt.RLS(), expire=SILENT))


@pytest.mark.parametrize("make", [beforehand, apart])
@pytest.mark.parametrize("do", ["retrain", "sample", "return"])
def test_corrections_reach_whoever_serves(make: Any, do: str, tmp_path: Any) -> None:
    """Labels that come after silence has spoken, and after the champion has changed, are learnt by the new one too."""
    taught: list[tuple[int, int]] = []

    class Counts:
        """Notes what it is taught at more than its usual weight."""

        def __init__(self) -> None:
            self.inner = rt.Linear(loss=rt.Logistic())

        def learn(self, batch: Any, /) -> np.ndarray:
            if batch.weight is not None and batch.y is not None:
                taught.extend(
                    (int(i), int(y)) for i, y, w in zip(batch.id, batch.y, batch.weight, strict=True) if w > 1
                )
            return self.inner.learn(batch)

        def predict(self, x: Any, /) -> np.ndarray:
            return self.inner.predict(x)

        def state_dict(self) -> Any:
            return self.inner.state_dict()

        def load_state_dict(self, kept: Any, /) -> None:
            self.inner.load_state_dict(kept)

    at = 1_000
    actions: dict[str, Any] = {
        "retrain": rt.Retrain(),
        "sample": rt.Retrain(rows=400),
        "return": rt.RollBack("champion"),
    }
    keep = rt.Rule(when=rt.Every(rows=500), do=rt.update.Keep(), name="keep", times=1)
    rule = rt.Rule(when=rt.Every(rows=at), do=actions[do], name="do", times=1)
    given: dict[str, Any] = {"stream": make(), "learner": Counts(), "expire": LISTENING, "limit": 2_000, "step": 100}
    for rules in ([], [keep, rule]):
        taught.clear()
        folder = rt.FileRegistry(tmp_path / f"{len(rules)}")
        service = rt.Pipeline(rules=rules, registry=folder, **given).service()
        told = [d.what for report in service.steps() for d in report.deeds]
        assert not rules or {"promoted", "returned"} & set(told)
        last = {i for i, _ in taught[-20:]}  # by the one that serves at the end
        if not rules:
            expected = last
    assert last == expected
    assert len(last) == 20


def test_who_said_nothing_is_corrected_by_a_weight_of_one() -> None:
    """Rows that are answered before any class is known, wherever they wait and however they are cut."""
    time, label_time, y = np.array([2.0, 3, 5, 5, 6, 6, 7, 7, 7, 9]), np.full(10, np.nan), np.zeros(10, np.int64)
    label_time[1], y[1] = 8.5, 1
    ones, ids = np.ones((10, 1)), np.arange(10)

    def model(block: int, *, together: bool) -> np.ndarray:
        if together:
            stream: Any = rt.streams.arrays(ones, y, time=time, label_time=label_time, block=block)
        else:
            told = rt.streams.arrays(ones[:1], [1], time=[8.5], id=[1], classes=["0", "1"])
            stream = rt.streams.join(rt.streams.arrays(ones, time=time, id=ids, block=block), told)
        expire = rt.Silence(after=4, means=0, until=20)
        run = rt.Prequential(stream, rt.Linear(loss=rt.Logistic()), expire=expire)
        list(run.steps())
        return run.learner.predict(ones[:1])

    first, *others = [model(block, together=together) for block in (1, 3, 10) for together in (True, False)]
    for other in others:
        np.testing.assert_array_equal(other, first)


@pytest.mark.parametrize("do", [rt.Retrain(last=50, warm=True), rt.Retrain(last=500, warm=True), rt.update.Pace(1.0)])
def test_a_copy_hears_what_corrects_the_lessons_that_came_with_it(do: Any) -> None:
    n = 1_000
    time, y, known = np.arange(float(n)), np.zeros(n, np.int64), np.full(n, np.nan)
    known[:400:4], y[:400:4] = 700.5 + time[:400:4] / 100, 1
    stream = rt.streams.arrays(X[:n], y, time=time, label_time=known)
    listening: list[set[int]] = []
    for rules in ([], [rt.Rule(when=rt.Every(rows=600), do=do, name="copy", times=1)]):
        given: dict[str, Any] = {"learner": rt.Linear(loss=rt.Logistic()), "stream": stream, "step": 100}
        run = rt.Pipeline(rules=rules, expire=rt.Silence(after=10, means=0, until=5_000), **given).service()
        next(report for report in run.steps() if report.rows == 700)
        listening.append(set(run._champion.listening.tolist()))
    assert listening[0] == listening[1] == set(range(0, 400, 4))


def test_a_version_does_not_hear_what_corrects_lessons_it_never_had(tmp_path: Any) -> None:
    """It was kept before silence spoke of some rows: their late labels are no corrections to it."""
    heard: list[set[int]] = []

    def look(workshop: Any) -> None:
        lane = workshop.version("champion")
        heard.append(set(lane.listening.tolist()))
        heard.append(set(workshop.fork().listening.tolist()))

    class Looks:
        needs = 0

        def __call__(self, workshop: Any, /) -> None:
            look(workshop)

    n = 1_000
    x, time = np.zeros((n, 1), np.float32), np.arange(float(n))
    y, known = np.zeros(n, np.int64), np.full(n, np.nan)
    known[::10], y[::10] = time[::10] + 900.0, 1
    keep = rt.Rule(when=rt.Every(rows=300), do=rt.update.Keep(), name="keep", times=1)
    rule = rt.Rule(when=rt.Every(rows=500), do=Looks(), name="look", times=1)
    stream = rt.streams.arrays(x, y, time=time, label_time=known, id=np.arange(n))
    given: dict[str, Any] = {"stream": stream, "learner": rt.Linear(loss=rt.Logistic()), "step": 100}
    silence = rt.Silence(after=100, means=0, until=950)
    folder = rt.FileRegistry(tmp_path)
    list(rt.Pipeline(rules=[keep, rule], registry=folder, expire=silence, **given).run())
    version, champion = heard
    assert version == {i for i in champion if i < 200}
    assert max(champion) > 300


def test_hindsight_knows_what_silence_said() -> None:
    seen: list[tuple[float, float]] = []

    class Looks:
        def __call__(self, report: Report, /) -> bool:
            if report.rows == 4_000 and report.hindsight is not None:
                then, now = report.hindsight(1_000)
                seen.append((float(then.mean()), float(now.mean())))
            return False

        def state_dict(self) -> Any:
            return {}

        def load_state_dict(self, kept: Any, /) -> None:
            pass

    list(pipeline(stream=beforehand(), expire=SILENT, rules=[rt.Rule(when=Looks(), do=rt.Alert(), name="look")]).run())
    ((then, now),) = seen
    assert now < 0.6
    assert abs(now - then) < 0.2


def test_times_that_silence_cannot_tell_apart_do_no_harm() -> None:
    time = 1.7e18 + np.arange(6.0)  # nanoseconds: floats are 256 apart
    stream = rt.streams.arrays(X[:6], Y[:6], time=time, label_time=time + 1_000, block=6)
    last = list(rt.Prequential(stream, linear(), expire=rt.Silence(after=10, means=0)))[-1]
    assert last.rows == 6
    time[2] = np.nan
    stream = rt.streams.arrays(X[:6], Y[:6], time=time, label_time=time + 1_000, block=6)
    with pytest.raises(PoisonError, match="time nan"):
        list(rt.Prequential(stream, linear(), expire=rt.Silence(after=10, means=0)))
