"""The log of a run as lines of JSON: all that happens is in it, at once, and no kill or full disk spoils it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import retain
from retain.core import Deed, Report
from retain.errors import SettingError, SourceError
from retain.report import Journal


def report(rows: int, **more) -> Report:
    metrics = {"accuracy": np.float64(0.5), "auc": float("nan")}
    return Report(rows, rows - 1, 1, 2, 3, seconds=0.1, cpu_seconds=0.1, metrics=metrics, **more)


def strict(text: str) -> dict:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    return json.loads(text, parse_constant=refuse)


def lines(path: Path) -> list[dict]:
    return [strict(line) for line in path.read_text().splitlines()]


def test_each_line_says_when_and_what_and_is_there_at_once(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    deed = Deed(20, 7.0, "drift", "promoted", "after 5 pairs", {"gain": float("inf")}, 0.5)
    with Journal(path, settings={"state": Path("s"), "metrics": ("auc",)}) as journal:
        assert (lines(path)[0]["what"], lines(path)[0]["version"]) == ("start", retain.__version__)
        assert lines(path)[0]["settings"] == {"state": "s", "metrics": ["auc"]}
        journal.add(report(10))
        assert lines(path)[1]["rows"] == 10
        journal.add(report(20, deeds=(deed,), events=("a snapshot is damaged",), time=5.0))
        assert [line["what"] for line in lines(path)] == ["start", "report", "event", "deed"]
    for line in lines(path):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line["at"])
    told = [{key: value for key, value in line.items() if key != "at"} for line in lines(path)[1:]]
    counts = {
        "pending": 1,
        "lost": 2,
        "strays": 0,
        "quarantined": 3,
        "metrics": {"accuracy": 0.5, "auc": None},
        "seconds": 0.1,
    }
    assert told == [
        {"what": "report", "rows": 10, "time": None, "learnt": 9, **counts},
        {"what": "event", "rows": 20, "text": "a snapshot is damaged"},
        {
            "what": "deed", "rows": 20, "time": 7.0, "rule": "drift", "did": "promoted", "why": "after 5 pairs",
            "evidence": {"gain": None}, "seconds": 0.5,
        },
        {"what": "report", "rows": 20, "time": 5.0, "learnt": 19, **counts},  # held back, told at the end
        {"what": "end", "how": "finished", "rows": 20},
    ]  # fmt: skip


def test_reports_keep_apart_and_the_last_is_always_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.4, 0.9, 1.1, 1.2, 2.2, 2.3])
    monkeypatch.setattr("retain.report.journal.time.monotonic", lambda: next(clock))
    with Journal(tmp_path / "log") as journal:
        for rows in range(1, 8):
            journal.add(report(rows))
    assert [line["rows"] for line in lines(tmp_path / "log") if line["what"] == "report"] == [1, 4, 6, 7]


def test_how_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with Journal(path) as journal:
        journal.stop("SIGTERM")
    with pytest.raises(SourceError), Journal(path):
        raise SourceError("x.csv is gone")
    ends = [line for line in lines(path) if line["what"] == "end"]
    assert [(end["how"], end.get("by"), end.get("error"), end.get("message")) for end in ends] == [
        ("stopped", "SIGTERM", None, None),
        ("failed", None, "SourceError", "x.csv is gone"),
    ]


def test_it_appends_and_ends_a_torn_line_first(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text('{"what": "end"}\n{"what": "rep')
    with Journal(path):
        pass
    assert path.read_text().startswith('{"what": "end"}\n{"what": "rep\n{"at": ')
    assert path.read_text().count("\n") == 4
    with Journal(path):
        pass
    assert path.read_text().count("\n") == 6


def test_a_full_disk_costs_lines_and_no_run(tmp_path: Path) -> None:
    class Full:
        room = 100

        def write(self, data: bytes) -> int:
            if not self.room:
                raise OSError(28, "No space left on device")
            self.room -= (part := min(self.room, len(data)))
            return file.write(data[:part])

        def close(self) -> None:
            file.close()

    path = tmp_path / "log"
    with Journal(path, apart=0.0) as journal:
        file, journal._file = journal._file, Full()
        journal.add(report(1))  # torn
        journal.add(report(2))
        Full.room = journal._file.room = 10_000
        journal.add(report(3))
    start, torn, told, last, end = path.read_text().splitlines()
    assert len(torn) == 100
    assert strict(told)["text"] == "2 lines of this log could not be written: No space left on device"
    assert [strict(line).get("rows") for line in (start, last, end)] == [None, 3, 3]


def test_a_log_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="name a file in a folder that can be written"):
        Journal(tmp_path)
    with Journal("/dev/full") as journal:
        journal.add(report(1))
