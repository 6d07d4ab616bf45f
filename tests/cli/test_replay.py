"""`retain replay` as typed: run with a quarantine, mend, replay, go on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from retain.cli import main

RNG = np.random.default_rng(0)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = [f"{x:.3f},{int(x > 0)}" for x in RNG.normal(size=3_000)]
    rows[500], rows[1500], rows[2500] = "broken,1", "0.5 EUR,1", "lost"
    Path("rows").mkdir()
    Path("rows/1.csv").write_text("\n".join(["x,y", *rows]) + "\n")
    return tmp_path


def said(capfd: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capfd.readouterr().out.splitlines()[-1])


def run(source: str, *more: str) -> list[str]:
    policy = ["--on-bad-rows", "quarantine", "bad.jsonl"]
    return ["run", source, "--target", "y", *policy, "--state", "state", "--json", *more]


def replay(source: str, *more: str) -> list[str]:
    return ["replay", "bad.jsonl", "--source", source, "--target", "y", *more]


@pytest.mark.parametrize(("first", "then"), [("rows/*.csv", "rows/*.csv"), ("rows/1.csv", "rows/1*.csv")])
def test_quarantined_mended_replayed_and_learnt(
    first: str, then: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(run(first)) == 0
    result = said(capfd)
    assert (result["rows"], result["quarantined"]) == (2_997, 3)

    bad = Path("bad.jsonl")
    bad.write_text(bad.read_text().replace('"0.5 EUR,1"', '"0.5,1"'))
    assert main(replay(first, "--missing", "broken")) == 0
    out = capfd.readouterr().out
    assert "mended 2 of 3 rows, into" in out
    assert "still bad: 1, in bad.jsonl" in out
    assert "1  the row has 1 fields; expected 2 as in the header" in out
    assert ("a glob" in out) == (first != then)
    assert Path("rows/1_mended.csv").read_text() == "x,y\n,1\n0.5,1\n"

    assert main(run(then, "--resume")) == 0
    result = said(capfd)
    assert (result["rows"], result["learnt"], result["quarantined"]) == (2_999, 2_999, 3)
    assert len(bad.read_text().splitlines()) == 1
    assert main(replay(then, "--json")) == 0
    result = said(capfd)
    assert (result["mended"], result["bad"], result["into"]) == (0, 1, None)


def test_what_makes_no_sense_is_told(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(run("rows/*.csv")) == 0
    capfd.readouterr()
    for command, says in (
        (replay("rows/*.csv", "-o", "rows/1.csv"), "is there already"),
        (replay("rows/*.csv", "-o", "rows/2.jsonl"), "is not named as csv"),
        (replay("nowhere.csv"), "there is no file nowhere.csv"),
        (replay("rows/1.csv")[:4], "name one with --target"),
        (["replay", "none.jsonl", "--source", "rows/1.csv", "--target", "y"], "there is no quarantine file none.jsonl"),
        (["replay", "bad.jsonl", "--source", "flights"], "is never bad"),
    ):
        assert main(command) == 2
        assert says in capfd.readouterr().err


def test_another_file_of_the_same_run_is_noticed_where_it_stands(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(run("rows/1.csv")) == 0
    Path("rows/0.csv").write_text("x,y\n1,0\n2,1\n")
    assert main(run("rows/*.csv", "--resume")) == 2
    assert "the position is in '1.csv', file 1 of the source, where there now is '0.csv'" in capfd.readouterr().err
