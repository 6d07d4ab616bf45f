"""What goes wrong around a pipeline: actions that fail, errors within a step, lost labels, people who meddle."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copytree, rmtree
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.run.turning import STEP, N, X, Y, deeds, drift, linear, pipeline, stream, timeless

import retain as rt
from retain import registry, state
from retain.core import Batch, Candidate, Report, Workshop
from retain.errors import SettingError, StateError

CLOCK = np.arange(N, dtype=float)


def swap(rows: int, **kwargs: Any) -> rt.Rule:
    return rt.Rule(when=rt.Every(rows=rows), do=rt.Retrain(last=500), **{"name": "swap", **kwargs})


def keeping(rows: int, times: int | None = None) -> rt.Rule:
    return rt.Rule(when=rt.Every(rows=rows), do=rt.update.Keep(), name="keep", times=times)


class Doing:
    """An action made of a function."""

    def __init__(self, do: Callable[[Workshop], Candidate | None], needs: int = 0) -> None:
        self.do, self.needs = do, needs

    def __call__(self, workshop: Workshop, /) -> Candidate | None:
        return self.do(workshop)


# ---------------------------------------------------------------------------------------------- actions and candidates


@pytest.mark.parametrize("do", [rt.RollBack(), rt.update.Blend()])
def test_a_version_that_is_not_there_fails_the_deed_and_not_the_service(tmp_path: Path, do: Any) -> None:
    rule = rt.Rule(when=rt.Every(rows=2_000), do=do, name="back")
    kept = rt.FileRegistry(tmp_path / "models")
    reports = list(pipeline(rules=[rule], registry=kept).run(tmp_path / "state"))
    assert reports[-1].rows == N
    failed = [deed for report in reports for deed in report.deeds if deed.what == "failed"]
    assert [deed.rows for deed in failed] == [2_000, 4_000, 6_000]
    assert "'previous'" in failed[0].why


def test_after_a_promotion_without_a_gate_gated_rules_are_free() -> None:
    slow = rt.Rule(
        when=rt.Every(rows=1_000), do=rt.Retrain(last=500), gate=rt.Better(least=50_000, most=100_000), name="slow",
        patience=100_000,
    )  # fmt: skip
    done = deeds(list(pipeline(rules=[slow, swap(1_500, times=1)]).run()))
    assert [what for rows, rule, what in done if rule == "slow" and rows == 1_000] == ["fired", "opened"]
    assert (1_500, "swap", "promoted") in done
    assert (2_000, "slow", "opened") in done
    assert (3_000, "slow", "held") in done


def test_of_two_rules_in_one_step_the_second_waits_for_the_first() -> None:
    rules = [swap(2_000, gate=rt.Better(most=500), name=name) for name in ("first", "second")]
    done = deeds(list(pipeline(rules=rules, stream=stream(3_000)).run()))
    assert done == [
        (2_000, "first", "fired"),
        (2_000, "first", "opened"),
        (2_000, "second", "held"),
        (2_500, "first", "refused"),
        (2_750, "second", "fired"),
        (2_750, "second", "opened"),
    ]


@pytest.mark.parametrize("what", ["raises", "is no number"])
def test_a_candidate_that_breaks_in_any_way_is_set_aside(what: str) -> None:
    """It would even be promoted, were rows that it does not answer no pairs."""

    def sabotage(workshop: Workshop) -> Candidate:
        lane: Any = workshop.fork()
        real = lane._model.learn

        def learn(batch: Batch) -> np.ndarray:
            if what == "raises":
                raise FloatingPointError("out of range")
            said = np.array(real(batch))
            hard = np.abs(np.asarray(batch.x)[:, 0]) > 0.3
            said[hard] = np.nan
            if batch.y is not None:
                said[~hard] = batch.y[~hard]
            return said

        lane._model.learn = learn
        return lane

    rule = rt.Rule(when=rt.Every(rows=1_000), do=Doing(sabotage), gate=rt.Better(largest=None), name="bad", times=1)
    given = {"stream": rt.streams.arrays(X, X[:, 0] - X[:, 1], block=130), "learner": rt.RLS(forgetting=0.9)}
    reports = list(pipeline(rules=[rule], **given).run())
    assert deeds(reports) == [(1_000, "bad", "fired"), (1_000, "bad", "opened"), (1_250, "bad", "set aside")]
    assert reports[-1].metrics == list(pipeline(rules=[], **given).run())[-1].metrics


def test_hindsight_is_that_of_whoever_serves() -> None:
    """Losses of an earlier champion are not held against the present one."""
    compared: list[tuple[int, int]] = []

    class Looks:
        def __call__(self, report: Report, /) -> bool:
            assert report.hindsight is not None
            then, now = report.hindsight(1_000)
            compared.append((report.rows, len(then)))
            assert len(now) == len(then)
            return False

        def state_dict(self) -> dict[str, Any]:
            return {}

        def load_state_dict(self, kept: Any, /) -> None:
            pass

    list(pipeline(rules=[swap(3_000, times=1), rt.Rule(when=Looks(), do=rt.Alert(), name="look")]).run())
    assert dict(compared)[3_000] == 1_000
    assert dict(compared)[3_250] == STEP
    assert dict(compared)[4_000] == 1_000


# ------------------------------------------------------------------------------------------------ errors within a step


class Falters:
    """A metric, the number of rows, that does not go beyond some number."""

    name = "rows"

    def __init__(self, most: int) -> None:
        self.most, self.rows = most, 0

    def update(self, y: np.ndarray, prediction: np.ndarray, weight: np.ndarray | None = None, /) -> None:
        if self.rows + len(y) > self.most:
            raise SettingError("this metric has had enough; expected fewer rows")
        self.rows += len(y)

    def value(self) -> float:
        return float(self.rows)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, kept: Any, /) -> None:
        self.rows = kept["rows"]


@pytest.mark.parametrize("kind", ["prequential", "pipeline"])
def test_an_error_within_a_step_is_not_saved_and_the_step_is_taken_again(tmp_path: Path, kind: str) -> None:
    """The learner had learnt the rows when the metric failed: saved, they would be learnt twice."""

    def build(most: int) -> Any:
        given: Any = {"stream": stream(), "learner": linear(), "metrics": [Falters(most)], "delay": rt.Delay(rows=30)}
        if kind == "pipeline":
            return rt.Pipeline(rules=[drift()], step=STEP, **given).service()
        return rt.Prequential(given.pop("stream"), given.pop("learner"), **given)

    with pytest.raises(SettingError, match="had enough"):
        list(rt.durable(build(2_000), tmp_path / "state", every=1e9))
    resumed, whole = build(10_000), build(10_000)
    *_, last = rt.durable(resumed, tmp_path / "state", resume=True)
    *_, expected = whole
    assert (last.rows, last.learnt, last.metrics) == (expected.rows, expected.learnt, expected.metrics)
    assert timeless(resumed.state_dict()) == timeless(whole.state_dict())


def test_a_service_that_failed_within_a_step_does_not_go_on() -> None:
    service = pipeline(metrics=[Falters(1_000)]).service()
    with pytest.raises(SettingError, match="had enough"):
        list(service.steps())
    with pytest.raises(StateError, match="in the middle of a step"):
        next(service.steps())


@pytest.mark.parametrize("what", ["gate", "exam"])
def test_a_column_that_is_not_there_is_told_at_the_first_row(tmp_path: Path, what: str) -> None:
    """Not when the first candidate is made, perhaps weeks later; and with the right name the same folder serves."""

    def build(name: str) -> rt.Pipeline:
        keyed = rt.streams.arrays(X, Y, key=np.arange(N) % 3, block=130)
        if what == "exam":
            return pipeline(stream=keyed, exam=rt.Exam(share=0.05, by=name), rules=[])
        return pipeline(stream=keyed, rules=[swap(1_000, gate=rt.PerSlice(rt.NotWorse(0.1), by=name))])

    with pytest.raises(SettingError, match="no column 'kye'"):
        list(build("kye").run(tmp_path / "state"))
    last = list(build("key").run(tmp_path / "state"))[-1]
    assert (last.rows, last.learnt) == (N, N)


RULES: dict[str, Callable[[], list[rt.Rule]]] = {
    "on trial": lambda: [drift()],
    "at once": lambda: [swap(2_000)],
    "kept": lambda: [keeping(2_000)],
    "returned": lambda: [keeping(1_000, times=1), rt.Rule(when=rt.Every(rows=3_000), do=rt.RollBack("champion"))],
}


@pytest.mark.parametrize("kind", RULES)
@pytest.mark.parametrize(("fault", "every"), [(errno.ENOSPC, 0.0), (errno.EIO, 1e9)])
def test_a_full_disk_loses_no_decision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: int, every: float, kind: str
) -> None:
    """Every write of the registry fails in turn; with space again, all is decided as if nothing had been."""
    expected = rt.FileRegistry(tmp_path / "whole", who="test")
    whole = list(pipeline(registry=expected, rules=RULES[kind]()).run())
    versions = [version.name for version in expected.versions()]
    moves = [entry.about["version"] for entry in expected.log() if entry.what == "point"]
    assert moves
    real, nth = registry.files.write_file, 0
    while True:
        nth += 1
        count = 0

        def failing(path: Path, data: bytes, nth: int = nth) -> None:
            nonlocal count
            count += 1
            if count == nth:
                raise OSError(fault, "no")
            real(path, data)

        monkeypatch.setattr(registry.files, "write_file", failing)
        monkeypatch.setattr(registry.journal, "write_file", failing)
        kept = rt.FileRegistry(tmp_path / f"{nth}", who="test")
        got: list[Report] = []
        failures = 0
        while True:
            service = pipeline(registry=kept, rules=RULES[kind]()).service()
            try:
                for report in rt.durable(service, tmp_path / f"{nth}-state", every=every):
                    got.append(report)  # noqa: PERF402 - an error in the middle must not lose those before
                break
            except StateError:
                failures += 1
                assert failures == 1
        assert [version.name for version in kept.versions()] == versions, nth
        assert [entry.about["version"] for entry in kept.log() if entry.what == "point"] == moves, nth
        assert kept.verify() == []
        assert got[-1].metrics == whole[-1].metrics
        if every == 0:  # a snapshot after every step: no report is told twice, and no deed
            assert deeds(got) == deeds(whole), nth
        if not failures:  # it has no such write
            break
    assert nth > 3


# ------------------------------------------------------------------------------------------- labels that are not there


@pytest.mark.parametrize("how", ["never", "too late"])
def test_labels_that_were_lost_are_not_taught_later(how: str) -> None:
    """Whoever serves could not learn them: a candidate that did would be judged by what nobody will have."""
    lost = np.arange(N) % 2 == 0
    lag = np.where(lost, np.nan if how == "never" else 50.0, 5.0)
    told: list[np.ndarray] = []
    look = Doing(lambda workshop: told.extend(np.asarray(batch.id) for batch in workshop.history(500)), needs=500)
    source = stream(time=CLOCK, label_time=CLOCK + lag, id=np.arange(N))
    given = {"stream": source, "limit": 1_000, "expire": None if how == "never" else 20.0}
    reports = list(pipeline(rules=[rt.Rule(when=rt.Every(rows=1_000), do=look)], **given).run())
    rows = np.concatenate(told)
    assert rows.tolist() == [row for row in range(500, 995) if not lost[row]]  # the last have not landed yet
    assert reports[-1].lost == 500


def test_an_exam_forgets_rows_whose_labels_are_lost() -> None:
    lag = np.where(np.arange(N) % 2 == 0, np.nan, 5.0)
    service = pipeline(
        stream=stream(time=CLOCK, label_time=CLOCK + lag), rules=[], exam=rt.Exam(share=0.2, rows=50)
    ).service()
    for _ in service.steps():
        assert service._exam is not None
        assert set(service._exam._waiting) <= set(service._ledger.waiting.tolist())


@pytest.mark.parametrize("loop", ["prequential", "pipeline"])
@pytest.mark.parametrize("kind", [np.uint8, np.bool_])
def test_labels_of_every_kind_may_come_late(kind: type, loop: str) -> None:
    """Neither unsigned numbers nor truths can hold a -1, the label that is not there."""

    class Typed:
        def __init__(self, kind: type) -> None:
            self.kind = kind

        def read(self, position: Any = None) -> Iterator[tuple[Batch, Any]]:
            for i in range(0 if position is None else position["rows"], 2_000, 100):
                yield Batch(X[i : i + 100], y=Y[i : i + 100].astype(self.kind)), {"rows": i + 100, "quarantined": 0}

        def __iter__(self) -> Iterator[Batch]:
            return (batch for batch, _ in self.read())

    def last(kind: type) -> Report:
        given: Any = {"delay": rt.Delay(rows=50)}
        if loop == "prequential":
            return list(rt.Prequential(Typed(kind), linear(), **given))[-1]
        return list(pipeline(stream=Typed(kind), rules=[], exam=rt.Exam(share=0.1), **given).run())[-1]

    assert last(kind).metrics == last(np.int64).metrics


def test_rows_that_wait_at_a_return_keep_their_categories() -> None:
    """The version returned to knows no "z"; the labels of rows with it are still to come, and must not be another's."""
    n, at = 2_400, 2_000
    rng = np.random.default_rng(0)
    shop = np.array(["a", "b"], dtype=object)[rng.integers(0, 2, n)]
    shop[at - 100 : at] = "z"  # only in rows that wait at the return
    shop[at:] = "w"  # after it comes one that nobody has seen: it gets the number that "z" had
    y = np.where(shop == "z", 1, (rng.random(n) < 0.5).astype(int))
    table = pa.table({"shop": pa.array(shop.tolist()), "label": y, "t": CLOCK[:n], "known": CLOCK[:n] + 150})

    def back(workshop: Workshop) -> Candidate:
        return workshop.version("champion")

    for do in (rt.RollBack("champion"), Doing(back)):
        with TemporaryDirectory() as folder:
            service = rt.Pipeline(
                stream=rt.streams.table(table, target="label", time="t", label_time="known", task="classification"),
                learner=rt.OneHot() | rt.Linear(loss=rt.Logistic(), update=rt.SGD(0.5)),
                rules=[
                    keeping(1_000, times=1),
                    rt.Rule(when=rt.Every(rows=at), do=do, name="back", times=1),
                ],
                registry=rt.FileRegistry(folder),
                step=50,
            ).service()
            seen = 0
            for report in service.steps():
                if any(deed.rule == "back" and deed.what in ("returned", "promoted") for deed in report.deeds):
                    seen = report.rows
                if report.rows == at + 100:  # labels of "z" have landed, those of "w" have not
                    said = service.champion.predict(pa.record_batch({"shop": pa.array(["w", "never seen"])}))
                    np.testing.assert_array_equal(said[0], said[1])
            assert seen == at


# ---------------------------------------------------------------------------------------------------------- two at work


def test_another_run_in_the_same_registry_moves_the_champion_again(tmp_path: Path) -> None:
    """Its decisions fall at the same rows and for the same reasons; they are others all the same."""
    kept = rt.FileRegistry(tmp_path)
    list(pipeline(registry=kept).run())
    first = kept.aliases()["champion"]
    moves = sum(entry.what == "point" for entry in kept.log())
    other = rt.Scale() | rt.Linear(loss=rt.Logistic(), update=rt.SGD(0.1))
    events = [text for report in pipeline(registry=kept, learner=other).run() for text in report.events]
    assert len(events) == 1
    assert f"has a champion of another run ({first[:12]})" in events[0]
    assert kept.aliases()["champion"] != first
    second = kept.aliases()["champion"]
    list(pipeline(registry=kept).run())  # and the first once more: the very same decisions
    assert kept.aliases()["champion"] == first != second
    assert sum(entry.what == "point" for entry in kept.log()) > 2 * moves


def test_a_person_who_moves_the_champion_outdoes_a_promotion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even one within the second in which nobody looks at the log: the candidate was judged beside another champion."""
    monkeypatch.setattr("retain.run.service.time.monotonic", lambda: 0.0)  # it never looks of itself
    kept = rt.FileRegistry(tmp_path, who="service")
    rules = [keeping(1_000, times=2), swap(3_000, times=1)]
    chosen = ""
    for report in pipeline(registry=kept, rules=rules).run():
        if report.rows == 2_750:
            hand = rt.FileRegistry(tmp_path, who="anna")
            chosen = hand.aliases()["previous"]
            hand.point("champion", chosen, why="by hand")
        if report.rows == 3_000:
            assert [(deed.rule, deed.what) for deed in report.deeds] == [("swap", "fired"), ("registry", "returned")]
            assert kept.aliases()["champion"] == chosen
            break
    assert chosen


def test_a_person_who_moves_the_champion_at_the_end_has_the_last_word(tmp_path: Path) -> None:
    kept = rt.FileRegistry(tmp_path, who="service")
    service = pipeline(registry=kept, rules=[keeping(1_000, times=2)]).service()
    list(service.steps())
    hand = rt.FileRegistry(tmp_path, who="anna")
    chosen = hand.aliases()["previous"]
    hand.point("champion", chosen, why="by hand")
    list(service.finish())
    assert rt.FileRegistry(tmp_path).aliases()["champion"] == chosen


def test_a_version_chosen_by_hand_that_cannot_be_read_is_chosen_when_it_can(tmp_path: Path) -> None:
    """The step before the error is saved; nobody's choice is taken for heard that was not followed."""
    kept = rt.FileRegistry(tmp_path / "models", who="service")

    def run() -> Iterator[Report]:
        return iter(pipeline(registry=kept, rules=[keeping(1_000, times=2)]).run(tmp_path / "state"))

    reports = run()
    for report in reports:
        if report.rows == 2_500:
            break
    reports.close()  # type: ignore[attr-defined]
    hand = rt.FileRegistry(tmp_path / "models", who="anna")
    chosen = hand.aliases()["previous"]
    hand.point("champion", chosen, why="by hand")
    (path,) = [one for one in (tmp_path / "models").rglob("*") if one.is_file() and chosen in one.name]
    away = path.with_suffix(".away")
    path.rename(away)
    with pytest.raises(StateError):
        list(run())
    away.rename(path)
    moved = [(deed.rows, deed.what) for report in run() for deed in report.deeds if deed.rule == "registry"]
    assert moved == [(2_500, "returned")]


def test_a_person_who_moves_the_champion_while_a_promotion_is_written_outdoes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two versions are written first, which takes its time where they are large."""
    kept = rt.FileRegistry(tmp_path, who="service")
    push, chosen = rt.FileRegistry.push, list[str]()

    def slow(self: rt.FileRegistry, *args: Any, **kwargs: Any) -> Any:
        version = push(self, *args, **kwargs)
        if kwargs["why"] == "swap":
            hand = rt.FileRegistry(tmp_path, who="anna")
            chosen.append(hand.aliases()["previous"])
            hand.point("champion", chosen[0], why="by hand")
        return version

    monkeypatch.setattr(rt.FileRegistry, "push", slow)
    for report in pipeline(registry=kept, rules=[keeping(1_000, times=2), swap(3_000, times=1)]).run():
        if report.rows == 3_000:
            assert [(deed.rule, deed.what) for deed in report.deeds] == [("swap", "fired"), ("registry", "returned")]
            assert kept.aliases()["champion"] == chosen[0]
            break
    assert chosen


def test_a_person_who_was_obeyed_is_obeyed_again_by_a_step_taken_again(tmp_path: Path) -> None:
    """What the run decided later, in a life of which no state is left, does not stand before that."""
    monotonic = iter(range(10**9))

    def run() -> Iterator[Report]:
        kept = rt.FileRegistry(tmp_path / "models", who="service")
        later = rt.Rule(when=rt.Every(rows=3_500), do=rt.update.Keep(), name="later")
        service = pipeline(registry=kept, rules=[keeping(1_000, times=2), later]).service()
        return rt.durable(service, tmp_path / "state", every=10**6)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("retain.run.service.time.monotonic", lambda: float(next(monotonic)))
        reports = run()
        for report in reports:
            if report.rows == 2_750:
                hand = rt.FileRegistry(tmp_path / "models", who="anna")
                hand.point("champion", hand.aliases()["previous"], why="by hand")
            if report.rows == 4_000:
                break
        assert [d.what for d in report.deeds if d.rule == "registry"] == []
        copytree(tmp_path / "state", tmp_path / "saved")
        reports.close()  # type: ignore[attr-defined] - it saves its last state, which a kill would not
        rmtree(tmp_path / "state")
        (tmp_path / "saved").rename(tmp_path / "state")
        moved = [(d.rows, d.what) for report in run() for d in report.deeds if d.rule == "registry"]
    assert [what for _, what in moved] == ["returned"]
    assert moved[0][0] < 3_500


def test_a_run_killed_in_its_first_step_decides_the_same_again(tmp_path: Path) -> None:
    rules = [
        rt.Rule(when=rt.Every(rows=STEP), do=rt.RollBack(), name="back", times=1),
        swap(STEP, times=1),
    ]

    def run(folder: Path) -> list[Report]:
        kept = rt.FileRegistry(folder / "models")
        return list(pipeline(registry=kept, rules=rules).run(folder / "state"))

    whole = run(tmp_path / "whole")
    real = rt.update.Overseer.follow

    class Killed(BaseException):
        pass

    def killed(self: Any, deed: Any, /) -> None:
        if deed.what == "promoted":
            raise Killed
        real(self, deed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rt.update.Overseer, "follow", killed)
        with pytest.raises(Killed):
            run(tmp_path / "cut")
    cut = run(tmp_path / "cut")
    assert deeds(cut) == deeds(whole)
    assert cut[-1].metrics == whole[-1].metrics
    logs = [rt.FileRegistry(tmp_path / name / "models").log() for name in ("cut", "whole")]
    told = [[(e.what, e.about.get("version")) for e in log if e.what != "own"] for log in logs]
    assert told[0] == told[1]


def test_a_version_of_another_learner_chosen_by_hand_is_told_and_the_champion_serves_on(tmp_path: Path) -> None:
    kept = rt.FileRegistry(tmp_path / "models", who="service")
    reports = iter(pipeline(registry=kept, rules=[]).run(tmp_path / "state"))
    assert next(reports).rows == STEP
    hand = rt.FileRegistry(tmp_path / "models", who="anna")
    other = rt.Scale() | rt.RLS()
    other.learn(Batch(X[:10], y=Y[:10].astype(float)))
    hand.point("champion", hand.push({"learner": other.state_dict()}, parent=None, report={}).name)
    reports.close()  # type: ignore[attr-defined]
    left = list(pipeline(registry=kept, rules=[]).run(tmp_path / "state"))
    told = [deed for report in left for deed in report.deeds if deed.rule == "registry"]
    assert [deed.what for deed in told] == ["failed"]
    assert "is not of this learner" in told[0].why
    assert left[-1].rows == N
    assert left[-1].metrics == list(pipeline(rules=[]).run())[-1].metrics


class Moody:
    """A trigger that fires when the clock strikes, which is at other rows every time."""

    clocked = True

    def __init__(self, *rows: int) -> None:
        self.rows = rows

    def __call__(self, report: Report, /) -> bool:
        return report.rows in self.rows

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, kept: Any, /) -> None:
        pass


def test_rules_that_look_at_a_clock_obey_what_they_said_the_first_time(tmp_path: Path) -> None:
    """As far as the log knows of it; what they say after that is theirs to say."""

    def build(*rows: int) -> Any:
        rule = rt.Rule(when=Moody(*rows), do=rt.Retrain(last=500), name="moody")
        return pipeline(registry=rt.FileRegistry(tmp_path, who="test"), rules=[rule]).service()

    first = build(2_000, 3_000)
    steps = first.steps()
    next(steps)
    saved = state.encode(first.state_dict())
    for _ in range(13):
        next(steps)
    moves = [entry.about["version"] for entry in rt.FileRegistry(tmp_path).log() if entry.what == "point"]
    assert len(moves) == 4
    again = build(1_000, 5_000)
    again.load_state_dict(state.decode(saved))
    reports = list(again.steps())
    assert [d for d in deeds(reports) if d[2] == "promoted"] == [
        (2_000, "moody", "promoted"),
        (3_000, "moody", "promoted"),
        (5_000, "moody", "promoted"),
    ]
    now = [entry.about["version"] for entry in rt.FileRegistry(tmp_path).log() if entry.what == "point"]
    assert now[:4] == moves
    assert len(now) == 6


def test_old_versions_go_where_only_some_are_kept(tmp_path: Path) -> None:
    kept = rt.FileRegistry(tmp_path)
    list(pipeline(registry=kept, rules=[swap(500)], versions=3).run())
    listed = kept.versions()
    assert len(listed) > 20
    left = [version for version in listed if version.kept]
    assert 3 <= len(left) <= 5
    assert {"champion", "previous"} <= {alias for version in left for alias in version.aliases}
    assert kept.verify() == []


def test_who_is_refused_again_and_again_asks_less_often() -> None:
    asks = swap(250, gate=rt.Better(most=200), cooldown=250, backoff=2.0, name="asks")
    fired = [rows for rows, _, what in deeds(list(pipeline(rules=[asks]).run())) if what == "fired"]
    assert fired[:4] == [250, 750, 1_750, 3_750]
    assert 4_000 in fired  # it was promoted, and may ask at once


def test_who_was_refused_ever_so_often_may_still_ask() -> None:
    overseer = rt.update.Overseer([swap(10, gate=rt.Better(), cooldown=10, backoff=4.0)])
    kept = overseer.state_dict()
    overseer.load_state_dict({**kept, "refused": [5_000], "acted": [10]})
    assert not overseer(Report(500, 0, 0, 0, 0, 0.0, 0.0)).fired
    assert overseer(Report(650, 0, 0, 0, 0, 0.0, 0.0)).fired


def test_keeping_a_copy_does_not_outdo_a_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retain.run.service.time.monotonic", lambda: 0.0)
    kept = rt.FileRegistry(tmp_path, who="service")
    chosen = ""
    for report in pipeline(registry=kept, rules=[keeping(1_000)]).run():
        if report.rows == 2_750:
            hand = rt.FileRegistry(tmp_path, who="anna")
            chosen = hand.aliases()["previous"]
            hand.point("champion", chosen, why="by hand")
        if report.rows == 3_000:
            assert kept.aliases()["champion"] == chosen
            break
    assert chosen


@pytest.mark.parametrize("versions", [None, 1])
def test_versions_that_steps_taken_again_need_are_still_there(tmp_path: Path, versions: int | None) -> None:
    """The state is that of the first step; what came after it was lost, but for the registry."""

    def build() -> Any:
        back = rt.Rule(when=rt.Every(rows=2_500), do=rt.RollBack(), name="back")
        kept = rt.FileRegistry(tmp_path, who="test")
        return pipeline(registry=kept, rules=[swap(1_000), keeping(750), back], versions=versions).service()

    first = build()
    steps = first.steps()
    next(steps)
    saved = state.encode(first.state_dict())
    told = list(steps)
    again = build()
    again.load_state_dict(state.decode(saved))
    assert deeds(list(again.steps())) == deeds(told)
    assert "failed" not in {what for _, _, what in deeds(told)}
