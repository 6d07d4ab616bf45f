"""`retain init`, `backtest`, and `run` with rules, as typed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from retain.cli import main
from retain.registry import FileRegistry

PIPELINE = """
import numpy as np
import retain as rt

rng = np.random.default_rng(0)
x = rng.normal(size=(5_000, 2))
y = (x[:, 0] * np.where(np.arange(5_000) < 2_500, 1, -1) > 0).astype(int)
learner = rt.Linear(loss=rt.Logistic(), update=rt.FTRL())
drift = rt.Rule(when=rt.OnDrift(rt.detectors.ADWIN()), do=rt.Retrain(last=500), gate=rt.Better(), name="drift")
gate = rt.Unanimous(rt.NotWorse(0.05), rt.Better(most=400))
never = rt.Rule(when=rt.Every(rows=1_000), do=rt.Retrain(last=60), gate=gate, name="no", cooldown=9_000)
pipeline = rt.Pipeline(
    stream=rt.streams.arrays(x, y), learner=learner, rules=[drift, never], step=250,
    registry=rt.FileRegistry("models", who="test"),
)
beside = {"none": []}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("pipeline.py").write_text(PIPELINE)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_backtest_compares_and_leaves_nothing_behind(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backtest", "pipeline.py", "--json", "--report", "b.html"]) == 0
    result = said(capsys)
    assert set(result) == {"pipeline", "none"}
    assert result["pipeline"]["accuracy"] > result["none"]["accuracy"]
    assert result["pipeline"]["updates"] == 1
    assert "<svg" in Path("b.html").read_text()
    assert not Path("models").exists()


def test_backtest_prints_a_table_of_which_nothing_is_cut_off(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    pipeline = Path("pipeline.py").read_text().replace('"none"', '"learning on only"')
    Path("pipeline.py").write_text(pipeline)
    assert main(["backtest", "pipeline.py", "--limit", "4000"]) == 0
    out = capsys.readouterr().out
    assert "refused" in out
    assert re.search(r"^pipeline +✓ 0\.\d{4}", out, re.MULTILINE)
    assert "learning on only " in out


def test_a_pipeline_runs_promotes_refuses_and_is_rolled_back(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "pipeline.py", "--state", "state", "--json"]) == 0
    result = said(capsys)
    assert result["deeds"]["promoted"] == 1
    assert result["deeds"]["refused"] >= 1
    assert result["rows"] == 5_000
    before = FileRegistry("models").aliases()["champion"]
    assert main(["log", "models"]) == 0
    log = capsys.readouterr().out
    header, *lines = log.splitlines()
    assert header.split() == ["at", "row", "what", "version", "pairs", "gain", "why", "who", "when"]
    assert "a run begins" in lines[0]
    number = r"0\.\d{4} ± 0\.\d{4}"
    assert any(re.search(rf"3,\d{{3}}  promoted +[0-9a-f]{{12}} +\d+  \+{number} +drift +test", line) for line in lines)
    assert any(re.search(rf"refused by Better +\d+  -{number} +no +test", line) for line in lines)
    assert main(["rollback", "models"]) == 0
    assert FileRegistry("models").aliases()["champion"] != before
    assert main(["verify", "models"]) == 0


def test_a_pipeline_resumes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "pipeline.py", "--state", "state", "--limit", "2250", "--json"]) == 0
    said(capsys)
    assert main(["run", "pipeline.py", "--state", "state", "--resume", "--json"]) == 0
    assert said(capsys)["rows"] == 5_000


def test_rules_by_name_on_a_bundled_stream(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "stagger", "--rules", "recommended", "--registry", "kept", "--limit", "30000", "--json"]) == 0
    assert "deeds" in said(capsys)
    assert "champion" in FileRegistry("kept").aliases()
    assert main(["backtest", "stagger", "--rules", "none", "--rules", "scheduled", "--limit", "25000", "--json"]) == 0
    assert set(said(capsys)) == {"none", "scheduled"}
    assert main(["rules"]) == 0
    assert "recommended" in capsys.readouterr().out


def test_what_init_writes_is_a_pipeline(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "mine.py"]) == 0
    assert "retain backtest mine.py" in capsys.readouterr().out
    assert main(["run", "mine.py", "--limit", "40000", "--json"]) == 0
    assert said(capsys)["rows"] == 40_000
    assert main(["init", "mine.py"]) == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [("x = 1\n", "has no `pipeline"), ("import retain as rt\nbeside = 3\n", "has no `pipeline")],
)
def test_a_file_without_a_pipeline_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str, says: str
) -> None:
    Path("bad.py").write_text(text)
    assert main(["run", "bad.py"]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "backtest"])
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import retain as rt\nimport nowhere\n", "bad.py, line 2: ModuleNotFoundError: No module named 'nowhere'; "),
        ("import retain as rt\n\nrt.streams.cvs('x.csv')\n", "bad.py, line 3: AttributeError: "),
        ("x = (1,\ny = 2\n", "bad.py, line 1: SyntaxError: '(' was never closed"),
        ("def f():\n    return g\n\nf()\n", "bad.py, line 2: NameError: name 'g' is not defined"),
        ("import helper\n", "bad.py, line 1: SyntaxError: "),
        ("import retain as rt\nrt.streams.csv('none.csv')\n", "there is no file none.csv"),
    ],
)
def test_an_error_of_the_users_own_is_one_line(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    text: str,
    says: str,
) -> None:
    monkeypatch.syspath_prepend(folder)
    Path("helper.py").write_text("1 +\n")
    Path("bad.py").write_text(text)
    assert main([command, "bad.py"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("retain: ")
    assert says in told
    assert told.count("\n") == 1


def test_what_cannot_be_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command, says in (
        (["run", "gone.py"], "retain init gone.py"),
        (["backtest", "rows.csv"], "write a pipeline.py"),
        (["backtest", "pipeline.py", "--rules", "none"], "brings its own rules"),
        (["run", "stagger", "--rules", "recomended"], "did you mean 'recommended'"),
        (["run", "pipeline.py", "--resume"], "--state"),
        (
            ["run", "pipeline.py", "--learner", "auto", "--delay", "5x", "--limit", "9"],
            "leave out --learner, --delay\n",
        ),
        (["run", "stagger", "--target", "y", "--kind", "a=text", "--delay", "9"], "leave out --target, --kind\n"),
    ):
        assert main(command) == 2
        assert says in capsys.readouterr().err
