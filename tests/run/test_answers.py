"""Labels that come apart from their rows, by ids: the same as labels known beforehand, learnt when they are heard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.run.turning import N, X, Y, deeds, drift, linear, pipeline, timeless

import retain as rt
from retain import state
from retain.core import Answers, Batch, Report
from retain.errors import PoisonError, SchemaError, SettingError

RNG = np.random.default_rng(11)
TIME = np.cumsum(RNG.integers(0, 3, N)).astype(float)  # rows often come at the same time
LAG = np.where(RNG.random(N) < 0.05, np.nan, RNG.exponential(60, N) + 0.25)  # heard between rows; some never
KNOWN = np.floor(TIME + LAG) + 0.5
ID = RNG.permutation(10 * N)[:N]


def heard(known: np.ndarray = KNOWN, *, words: bool = False) -> dict[str, Any]:
    """The labels in the order in which they are heard."""
    order = np.flatnonzero(~np.isnan(known))
    order = order[np.argsort(known[order], kind="stable")]
    ids = np.array([f"r{i}" for i in ID]) if words else ID
    return {"y": Y[order], "time": known[order], "id": ids[order]}


def source(told: dict[str, Any], block: int = 97) -> rt.streams.Arrays:
    return rt.streams.arrays(np.zeros((len(told["y"]), 1)), told["y"], time=told["time"], id=told["id"], block=block)


def joined(block: int = 130, labels: int = 97, n: int = N, **kwargs: Any) -> rt.streams.join.Joined:
    told = heard(**kwargs)
    ids = np.array([f"r{i}" for i in ID]) if kwargs.get("words") else ID
    return rt.streams.join(
        rt.streams.arrays(X[:n], time=TIME[:n], id=ids[:n], block=block),
        source(told, labels),
    )


def beforehand(**kwargs: Any) -> rt.streams.Arrays:
    return rt.streams.arrays(X, Y, time=TIME, label_time=KNOWN, id=ID, block=130, **kwargs)


@pytest.mark.parametrize("expire", [None, 100.0])
@pytest.mark.parametrize(("block", "labels"), [(130, 97), (31, 5_000), (997, 1), (6_000, 6_000)])
def test_a_label_heard_is_a_label_known_beforehand(block: int, labels: int, expire: float | None) -> None:
    expected, got = (
        rt.Prequential(stream, linear(), expire=expire) for stream in (beforehand(), joined(block, labels))
    )
    before, now = list(expected), list(got)
    assert now[-1].metrics == before[-1].metrics
    assert now[-1].baselines == before[-1].baselines
    assert (now[-1].rows, now[-1].learnt) == (before[-1].rows, before[-1].learnt)
    rows = [np.concatenate([r.row for r in reports if r.row is not None]) for reports in (before, now)]
    np.testing.assert_array_equal(rows[0], rows[1])
    assert state.equal(got.learner.state_dict(), expected.learner.state_dict())
    assert now[-1].learnt + now[-1].lost + now[-1].pending == N
    late = 0 if expire is None else int((expire < LAG_HEARD).sum())
    assert now[-1].strays == late


LAG_HEARD = KNOWN - np.maximum.accumulate(TIME)


def test_ids_may_be_words() -> None:
    runs = [list(rt.Prequential(joined(words=words), linear()))[-1] for words in (False, True)]
    assert runs[0].metrics == runs[1].metrics


def test_labels_of_nobody_are_counted_and_nothing_else() -> None:
    """Unknown ids, a second label with another value, and one that was heard before its row."""
    told = heard()
    extra = {"y": 1 - told["y"][:50], "time": told["time"][:50] + 1_000, "id": told["id"][:50]}  # the same rows again
    unknown = {"y": np.ones(20, dtype=int), "time": np.arange(20) * 50.0 + 0.5, "id": np.arange(20) + 10 * N}
    late_row = np.flatnonzero(TIME > 3_000)[:5]
    early = {"y": Y[late_row], "time": np.full(5, 10.5), "id": ID[late_row]}
    parts = [told, extra, unknown, early]
    together = {name: np.concatenate([part[name] for part in parts]) for name in told}
    order = np.argsort(together["time"], kind="stable")
    labels = source({name: values[order] for name, values in together.items()})

    def run(block: int) -> Report:
        stream = rt.streams.join(rt.streams.arrays(X, time=TIME, id=ID, block=block), labels)
        return list(rt.Prequential(stream, linear()))[-1]

    plain = list(rt.Prequential(joined(), linear()))[-1]
    for block in (7, 130, 6_000):
        last = run(block)
        assert last.strays == 75
        assert last.metrics == plain.metrics


RULES = {
    "on trial": {"rules": [drift()]},
    "at once": {"rules": [rt.Rule(when=rt.Every(rows=2_000), do=rt.Retrain(last=700))]},
    "warm": {
        "rules": [rt.Rule(when=rt.Every(rows=2_000), do=rt.Retrain(last=500, warm=True), gate=rt.Better(most=900))]
    },
    "canary": {"rules": [drift(gate=rt.Canary(rt.Better(most=2_000), share=0.3))]},
    "exam": {
        "rules": [drift(gate=rt.Unanimous(rt.Better(most=3_000), rt.NotForgotten(margin=1.0)))],
        "exam": rt.Exam(share=0.05, rows=30, every=500, most=6),
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", RULES)
def test_rules_decide_as_if_labels_had_been_known_beforehand(kind: str) -> None:
    # Every label comes: a row that is waited for is seen by candidates, one that is known to be lost is not.
    known = np.where(np.isnan(KNOWN), TIME + 30.5, KNOWN)
    before = rt.streams.arrays(X, Y, time=TIME, label_time=known, id=ID, block=130)
    runs = [list(pipeline(stream=stream, **RULES[kind]).run()) for stream in (before, joined(known=known))]
    assert deeds(runs[0]) == deeds(runs[1])
    assert any(what in ("promoted", "refused") for _, _, what in deeds(runs[0]))
    assert runs[1][-1].metrics == runs[0][-1].metrics
    assert runs[1][-1].learnt == runs[0][-1].learnt


@pytest.mark.parametrize("kind", RULES)
def test_saved_and_resumed_after_every_report_it_ends_the_same(kind: str) -> None:
    whole = pipeline(stream=joined(), **RULES[kind]).service()
    expected = list(whole)
    resumed = pipeline(stream=joined(), **RULES[kind]).service()
    got: list[Report] = []
    while (report := next(resumed.steps(), None)) is not None:
        got.append(report)
        saved = state.encode(resumed.state_dict())
        resumed = pipeline(stream=joined(), **RULES[kind]).service()
        resumed.load_state_dict(state.decode(saved))
    got += list(resumed.finish())
    assert deeds(got) == deeds(expected)
    assert got[-1].metrics == expected[-1].metrics
    assert timeless(resumed.state_dict()) == timeless(whole.state_dict())


def test_rows_and_labels_that_come_later_are_gone_on_with(tmp_path: Path) -> None:
    """In the morning there are some rows and hardly a label; in the evening, all of them."""

    def run(n: int, known: np.ndarray) -> Report:
        service = rt.Prequential(joined(n=n, known=known), linear())
        return list(rt.durable(service, tmp_path / "state"))[-1]

    morning = np.where(TIME[2_600] > KNOWN, KNOWN, np.nan)
    first = run(2_600, morning)
    assert first.rows == 2_600
    last = run(N, KNOWN)
    whole = list(rt.Prequential(joined(), linear()))[-1]
    assert (last.rows, last.learnt, last.metrics) == (whole.rows, whole.learnt, whole.metrics)


def test_a_poisoned_row_leaves_labels_unheard() -> None:
    x = X.copy()
    x[1_000, 1] = np.nan
    rows = rt.streams.arrays(x, time=TIME, id=ID, block=130)
    run = rt.Prequential(rt.streams.join(rows, source(heard())), linear())
    states = ((timeless(run.state_dict()), report.rows) for report in run.steps())
    seen = []
    with pytest.raises(PoisonError):
        seen.extend(states)
    before, rows = seen[-1]
    assert 900 < rows <= 1_000
    assert timeless(run.state_dict()) == before
    assert run.whole


def test_what_cannot_be_joined_is_told() -> None:
    rows, labels = rt.streams.arrays(X, time=TIME, id=ID), rt.streams.arrays(X, Y, time=TIME, id=ID)
    with pytest.raises(SchemaError, match="the rows have a column 'y'"):
        list(rt.streams.join(labels, labels))
    with pytest.raises(SchemaError, match="have no target"):
        list(rt.streams.join(rows, rows))
    with pytest.raises(SchemaError, match="the rows have no time"):
        list(rt.streams.join(rt.streams.arrays(X, id=ID), labels))
    with pytest.raises(SchemaError, match="the labels have no id"):
        list(rt.streams.join(rows, rt.streams.arrays(X, Y, time=TIME)))
    words = rt.streams.arrays(X, Y, time=TIME, id=[f"r{i}" for i in ID])
    with pytest.raises(SchemaError, match="whole numbers or words of both"):
        list(rt.streams.join(rows, words))
    unknown = TIME.copy()
    unknown[5] = np.nan
    with pytest.raises(PoisonError, match="the labels have the time nan"):
        list(rt.streams.join(rows, rt.streams.arrays(X, Y, time=unknown, id=ID)))
    with pytest.raises(SettingError, match="leave out Delay"):
        list(rt.Prequential(rt.streams.join(rows, labels), linear(), delay=rt.Delay(rows=3)))


def few(time: list[float], ids: list[Any], told: list[tuple[float, Any, int]], block: int) -> rt.streams.join.Joined:
    """A handful of rows, and (time, id, label) of labels."""
    at, whose, labels = (list(part) for part in zip(*told, strict=True))
    return rt.streams.join(
        rt.streams.arrays(np.zeros((len(time), 1)), time=time, id=ids, block=block),
        rt.streams.arrays(np.zeros((len(told), 1)), labels, time=at, id=whose, classes=["n", "y"]),
    )


@pytest.mark.parametrize("block", [1, 2, 4])
@pytest.mark.parametrize("expire", [10.0, rt.Silence(after=10, means=0)])
def test_a_label_heard_just_when_it_is_given_up_is_heard(block: int, expire: Any) -> None:
    stream = few([0, 10, 20, 30], [0, 1, 2, 3], [(10, 0, 1), (30, 2, 1)], block)
    reports = list(rt.Prequential(stream, rt.Prior(), expire=expire))
    learnt = {int(i): int(y) for r in reports for i, y in zip(r.id, r.y, strict=True)}  # type: ignore[arg-type]
    assert {i: y for i, y in learnt.items() if y} == {0: 1, 2: 1}
    assert reports[-1].strays == 0


@pytest.mark.parametrize("block", [1, 2, 4])
def test_a_label_is_of_every_row_with_its_id_that_came_before_it(block: int) -> None:
    stream = few([0, 10, 20, 30], [7, 8, 7, 10], [(15, 7, 1), (25, 8, 0)], block)
    reports = list(rt.Prequential(stream, rt.Prior()))
    assert [int(i) for r in reports for i in r.row] == [0, 1]  # type: ignore[union-attr]
    assert reports[-1].strays == 0


@pytest.mark.parametrize("block", [5, 10, 1_024])
def test_labels_written_late_are_heard_though_a_step_ended_within_a_block(tmp_path: Path, block: int) -> None:
    def run(labels: int, limit: int | None) -> Report:
        told = [(i + 0.5, i, i % 2) for i in range(labels)]
        run = rt.Prequential(few([float(i) for i in range(20)], list(range(20)), told, block), rt.Prior(), limit=limit)
        return list(rt.durable(run, tmp_path / "state"))[-1]

    run(4, 10)
    last = run(20, None)
    assert (last.learnt, last.pending, last.strays) == (20, 0, 0)


def test_what_only_labels_behind_the_last_row_tell_is_told(tmp_path: Path) -> None:
    """Of nobody, of ids of another kind, and such that cannot be read."""
    told = [(0.5, 0, 1), (15.5, 1, 0), (99.5, 77, 1)]
    stream = few([0.0, 10.0, 20.0], [0, 1, 2], told, 10)
    assert [report.strays for report in rt.Prequential(stream, rt.Prior())][-1] == 1
    words = rt.streams.arrays(np.zeros((2, 1)), [0, 1], time=[30.0, 40.0], id=["0", "1"])
    rows = rt.streams.arrays(np.eye(2), time=[0.0, 10.0], id=[0, 1])
    with pytest.raises(SchemaError, match="whole numbers or words of both"):
        list(rt.Prequential(rt.streams.join(rows, words), rt.Prior()))
    (tmp_path / "rows.csv").write_text("at,id,a\n" + "".join(f"{i},r{i},1\n" for i in range(100)))
    text = "".join(f"{i + 2.5},r{i},{'yn'[i % 2]}\n" for i in range(97)) + "oops,r97,y\noops,r98,n\n"
    (tmp_path / "labels.csv").write_text("at,id,is\n" + text)
    for block in (3, 1_000):
        bad = rt.streams.Quarantine(tmp_path / f"bad{block}.jsonl")
        rows = rt.streams.csv(tmp_path / "rows.csv", time="at", id="id")
        labels = rt.streams.csv(
            tmp_path / "labels.csv", time="at", id="id", target="is", on_bad_rows=bad, block=block
        )  # fmt: skip
        last = list(rt.Prequential(rt.streams.join(rows, labels), rt.Prior()))[-1]
        assert (last.learnt, last.quarantined) == (97, 2)


def test_a_row_or_a_label_without_an_id_is_a_bad_one(tmp_path: Path) -> None:
    """Words for ids: no label may find all rows without one."""
    (tmp_path / "rows.csv").write_text("at,id,a\n0,r0,1\n10,,1\n20,,1\n30,r3,1\n")
    (tmp_path / "labels.csv").write_text("at,id,is\n5,r0,y\n25,,n\n35,r3,n\n")
    roles: dict[str, Any] = {"time": "at", "id": "id"}
    labels = rt.streams.csv(tmp_path / "labels.csv", target="is", on_bad_rows=rt.streams.Skip(), **roles)
    with pytest.raises(PoisonError, match=r"'id' .*expected a value in every row"):
        list(rt.streams.join(rt.streams.csv(tmp_path / "rows.csv", **roles), labels))
    rows = rt.streams.csv(tmp_path / "rows.csv", on_bad_rows=rt.streams.Skip(), **roles)
    last = list(rt.Prequential(rt.streams.join(rows, labels), rt.Prior()))[-1]
    assert (last.rows, last.learnt, last.quarantined) == (2, 2, 3)


def test_who_gives_up_labels_that_come_with_their_rows_is_told() -> None:
    run = rt.Prequential(rt.streams.arrays(X, Y), linear(), expire=10.0)
    with pytest.raises(SettingError, match="come with their rows"):
        list(run)
    assert run.whole


def test_a_label_that_is_heard_after_its_block_is_refused() -> None:
    answers = Answers(np.array([0]), np.array([1]), np.array([5.0]))
    batch = Batch(X[:3], y=np.full(3, -1), time=np.arange(3.0), id=np.arange(3), answers=answers)

    class Early:
        def read(self, position: Any = None, /) -> Any:
            yield batch, {"rows": 3, "quarantined": 0}

    with pytest.raises(SettingError, match="expected labels that were heard before"):
        list(rt.Prequential(Early(), linear()))


def test_a_label_without_a_value_is_none(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("at,id,a\n" + "".join(f"{10 * i},{i},1\n" for i in range(4)))
    (tmp_path / "labels.csv").write_text("at,id,is\n5,0,\n15,0,y\n16,1,n\n")
    roles = {"time": "at", "id": "id"}
    rows = rt.streams.csv(tmp_path / "rows.csv", **roles)
    labels = rt.streams.csv(tmp_path / "labels.csv", target="is", **roles)
    last = list(rt.Prequential(rt.streams.join(rows, labels), rt.Prior()))[-1]
    assert (last.learnt, last.strays) == (2, 0)
