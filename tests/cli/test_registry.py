"""The commands of a registry as typed, from a first model to a rollback."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import retain as rt
from retain.blocks import schema_from_state
from retain.cli import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two runs over files of payments: a champion and a candidate that descends from it."""
    rng = np.random.default_rng(0)
    for day in (1, 2):
        x = rng.normal(size=(500, 2))
        rows = [f"{a:.3f},{b:.3f},{'yes' if a > b else 'no'}" for a, b in x]
        (tmp_path / f"day{day}.csv").write_text("a,b,fraud\n" + "\n".join(rows) + "\n")
        args = ["run", str(tmp_path / f"day{day}.csv"), "--target", "fraud", "--registry", str(tmp_path / "models")]
        assert main([*args, "--learner", "linear", "--json"]) == 0
    return tmp_path / "models"


def test_from_two_runs_to_a_promotion_and_back(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    assert main(["versions", str(folder), "--json"]) == 0
    candidate, champion = json.loads(capfd.readouterr().out)
    assert (candidate["aliases"], champion["aliases"]) == (["candidate"], ["champion"])
    assert candidate["parent"] == champion["name"]
    assert candidate["report"]["rows"] == 500
    assert main(["diff", str(folder), "champion", "candidate", "--json"]) == 0
    differs = json.loads(capfd.readouterr().out)
    assert "accuracy" in differs["report"]
    assert any(one["where"].endswith("slots") and one["distance"] > 0 for one in differs["state"])
    assert main(["promote", str(folder), "candidate", "--why", "better on Monday"]) == 0
    assert rt.FileRegistry(folder).name("champion") == candidate["name"]
    assert main(["rollback", str(folder), "--why", "complaints"]) == 0
    assert rt.FileRegistry(folder).name("champion") == champion["name"]
    capfd.readouterr()
    assert main(["log", str(folder)]) == 0
    out = capfd.readouterr().out
    assert "complaints" in out
    assert "better on Monday" in out
    assert main(["verify", str(folder)]) == 0
    assert "all is well" in capfd.readouterr().out


def test_what_was_kept_can_be_loaded_and_predicts(folder: Path) -> None:
    state = rt.FileRegistry(folder).pull("champion")
    schema = schema_from_state(state["schema"])
    assert (state["recipe"]["learner"], schema.classes) == ("linear", ("no", "yes"))
    from retain.cli.catalogue import LEARNERS, find

    learner = find(LEARNERS, state["recipe"]["learner"], "learner")(schema)
    learner.load_state_dict(state["learner"])
    stream = rt.streams.csv(str(folder.parent / "day2.csv"), target="fraud")
    batch, _ = next(iter(stream.read()))
    assert (learner.predict(batch.x).argmax(axis=1) == batch.y).mean() > 0.9


def test_tables_are_for_people(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    for args in (["versions"], ["diff", "champion", "candidate"], ["diff", "champion", "champion"]):
        assert main([args[0], str(folder), *args[1:]]) == 0
    out = capfd.readouterr().out
    assert "candidate" in out
    assert "they are the same" in out


def test_damage_is_one_line_and_exit_code_2(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = next((folder / "versions").iterdir())
    path.write_bytes(path.read_bytes()[:-1])
    assert main(["verify", str(folder)]) == 2
    err = capfd.readouterr().err
    assert "is damaged" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["versions", "."], "is no registry"),
        (["promote", "models", "nothing"], "there is no version 'nothing'"),
        (["rollback", "models"], "nothing to return to"),
        (["diff", "models", "champion", "xyz"], "there is no version 'xyz'"),
    ],
)
def test_bad_input_is_one_clear_line(
    args: list[str], says: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder.parent)
    capfd.readouterr()
    assert main(args) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("retain: ")]
    assert len(lines) == 1
    assert says in lines[0]
