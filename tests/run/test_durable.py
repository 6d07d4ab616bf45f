"""State on disk: it is whole or not there, one process owns it, and what was damaged is seen and told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import retain as rt
from retain import blocks, state
from retain.core import Batch, Report, State
from retain.errors import SourceError, StateError

RNG = np.random.default_rng(5)
X = RNG.normal(size=(60, 2)).astype(np.float32)
BATCH = Batch(X, y=(X[:, 0] > 0).astype(np.int64))


class Rows:
    """A stream over one batch in blocks of 10, that may fail on the way."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.fail_at = fail_at

    def read(self, position: State | None = None) -> Iterator[tuple[Batch, State]]:
        for a in range(0 if position is None else position["rows"], len(BATCH), 10):
            if a == self.fail_at:
                raise SourceError("the file ends in the middle of row 30; expected a whole row: copy it again")
            yield blocks.take_batch(BATCH, slice(a, a + 10)), {"rows": a + 10}


class Seen:
    """Something that reports are folded into and that is saved beside the run."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def state_dict(self) -> State:
        return {"rows": list(self.rows)}

    def load_state_dict(self, state: State) -> None:
        self.rows = list(state["rows"])


def new(**kwargs: Any) -> rt.Prequential:
    return rt.Prequential(Rows(**kwargs), rt.Scale() | rt.Linear(loss=rt.Logistic()), delay=rt.Delay(rows=4))


def timeless(run: rt.Prequential) -> bytes:
    return state.encode({**run.state_dict(), "clocks": None})


def whole() -> rt.Prequential:
    run = new()
    list(run.steps())
    return run


@pytest.mark.parametrize("stop_after", [1, 3, 6])
def test_stopped_and_resumed_a_run_ends_the_same(tmp_path: Path, stop_after: int) -> None:
    seen = Seen()
    first = rt.durable(new(), tmp_path, beside={"seen": seen}, every=0.0)
    for count, report in enumerate(first, start=1):
        seen.rows.append(report.rows)
        if count == stop_after:
            first.close()  # type: ignore[attr-defined]
            break
    run, again = new(), Seen()
    for report in rt.durable(run, tmp_path, resume=True, beside={"seen": again}):
        again.rows.append(report.rows)
    newest = next(state.snapshots(tmp_path))[1]
    kept = state.read_snapshot(newest)["parts"]
    assert state.encode({**kept["run"], "clocks": None}) == timeless(whole())
    assert again.rows == [10, 20, 30, 40, 50, 60, 60]  # the last is the landing of labels after the end
    assert len(list(state.snapshots(tmp_path))) <= 2


def test_a_finished_run_resumes_to_the_same_end(tmp_path: Path) -> None:
    ends = [list(rt.durable(new(), tmp_path))[-1] for _ in range(3)]
    assert {end.metrics["accuracy"] for end in ends} == {list(new())[-1].metrics["accuracy"]}


def test_what_was_learnt_before_the_source_failed_is_kept(tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        list(rt.durable(new(fail_at=30), tmp_path, every=1e9))
    run = new()
    assert [report.rows for report in rt.durable(run, tmp_path, resume=True)] == [40, 50, 60, 60]
    kept = state.read_snapshot(next(state.snapshots(tmp_path))[1])
    assert state.encode({**kept["parts"]["run"], "clocks": None}) == timeless(whole())


def test_a_damaged_snapshot_is_told_and_the_one_before_is_used(tmp_path: Path) -> None:
    reports = rt.durable(new(), tmp_path, every=0.0)
    for _ in range(4):
        next(reports)
    reports.close()  # type: ignore[attr-defined]
    newest = next(state.snapshots(tmp_path))[1]
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    run = new()
    resumed = list(rt.durable(run, tmp_path, resume=True))
    assert "damaged" in resumed[0].events[0]
    assert resumed[1].events == ()
    assert resumed[-1].metrics == list(new())[-1].metrics


def test_a_folder_with_only_damaged_snapshots_is_refused(tmp_path: Path) -> None:
    list(rt.durable(new(), tmp_path))
    for _, path in state.snapshots(tmp_path):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StateError, match=r"damaged.*start again in another folder"):
        list(rt.durable(new(), tmp_path))


@pytest.mark.parametrize(
    ("resume", "there", "says"), [(False, True, "already holds"), (True, False, "no state to resume")]
)
def test_state_is_neither_overwritten_nor_invented(tmp_path: Path, resume: bool, there: bool, says: str) -> None:
    if there:
        list(rt.durable(new(), tmp_path))
    with pytest.raises(StateError, match=says):
        list(rt.durable(new(), tmp_path, resume=resume))


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    list(rt.durable(new(), tmp_path, settings={"learner": "linear"}))
    with pytest.raises(StateError, match="learner = 'linear', this run has 'rls'"):
        list(rt.durable(new(), tmp_path, settings={"learner": "rls"}))


def test_two_processes_cannot_own_one_folder(tmp_path: Path) -> None:
    first = rt.durable(new(), tmp_path)
    next(first)
    with pytest.raises(StateError, match="in use by another process"):
        next(rt.durable(new(), tmp_path))
    first.close()  # type: ignore[attr-defined]
    assert next(rt.durable(new(), tmp_path)).rows == 20


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StateError, match="choose a folder that can be written"):
        next(rt.durable(new(), tmp_path / "file" / "state"))


def test_a_full_disk_loses_nothing_that_was_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reports = rt.durable(new(), tmp_path, every=0.0)
    next(reports)
    next(reports)  # the first snapshot is made when the second report is asked for

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StateError, match="No space left on device; free some space"):
        next(reports)
    monkeypatch.undo()
    assert not list(tmp_path.glob(".*.part"))
    run = new()
    assert next(rt.durable(run, tmp_path, resume=True)).rows == 20


class Torn:
    """A loop that is interrupted in the middle of its third step."""

    def __init__(self):
        self.done = self.half = 0

    def steps(self):
        while True:
            self.half += 1
            if self.half == 3:
                raise KeyboardInterrupt
            self.done += 1
            yield Report(self.done, self.done, 0, 0, 0, 0.0, 0.0)

    def finish(self):
        return iter(())

    def state_dict(self):
        return {"done": self.done, "half": self.half}

    def load_state_dict(self, state):
        self.done, self.half = state["done"], state["half"]


def test_a_run_that_stands_in_the_middle_of_a_step_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        list(rt.durable(Torn(), tmp_path, every=0.0))
    kept = state.read_snapshot(next(state.snapshots(tmp_path))[1])
    assert kept["parts"]["run"] == {"done": 2, "half": 2}
