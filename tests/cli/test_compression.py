"""`retain compress` and `retain export`, as typed, and rules that compress."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tests.cli.kept import kept

import retain as rt
from retain.cli import main
from retain.compression import Artifact

PIPELINE = """
import numpy as np
import retain as rt

def rows(n, seed):
    x = np.random.default_rng(seed).normal(size=(n, 8)).astype(np.float32)
    return x, (x[:, 0] + x[:, 1] > 0).astype(int)

x, y = rows(6_000, 0)
held_out = [rt.Batch(*rows(4_000, 1)[:1], y=rows(4_000, 1)[1])]
budget = rt.Within(accuracy=0.02, per_class=None)
do = rt.Compress(rt.compression.Int8(), budget=budget, last=3_000, seconds=0.02)
smaller = rt.Rule(when=rt.Every(rows=4_000), do=do, name="s")
pipeline = rt.Pipeline(
    stream=rt.streams.arrays(x, y), learner=rt.Scale() | rt.Neural(rt.neural.MLP(8, 128, 128, 2)), rules=[smaller],
    registry=rt.FileRegistry("models", who="test"),
)
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kept(tmp_path_factory.mktemp("compressed"), PIPELINE)


@pytest.fixture
def folder(ran: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(ran)
    return ran


def test_a_rule_keeps_what_it_made_beside_the_champion(folder: Path) -> None:
    registry = rt.FileRegistry("models")
    serving, champion = registry.version("serving"), registry.version("champion")
    parent = registry.version(serving.parent)
    assert parent.report["rows"] == 4_000
    assert champion.report["rows"] == 6_000
    learner = rt.Scale() | rt.Neural(rt.neural.MLP(8, 128, 128, 2))
    artifact = Artifact(learner)
    artifact.load_state_dict(registry.pull("serving")["artifact"])
    learner.load_state_dict(registry.pull(parent.name)["learner"])
    x = np.random.default_rng(5).normal(size=(500, 8)).astype(np.float32)
    assert (artifact.predict(x).argmax(1) == learner.predict(x).argmax(1)).mean() > 0.97
    assert [rung["name"] for rung in serving.report["compression"]["rungs"]] == ["parent", "graph", "int8"]


def test_run_again_from_a_state_nothing_is_derived_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step in which the rule fired is taken again, as after a kill before its state was saved."""
    monkeypatch.chdir(tmp_path)
    Path("pipeline.py").write_text(PIPELINE)
    args = ["run", "pipeline.py", "--limit", "3500", "--state", "state"]
    assert main(args) == 0
    saved = {path: path.read_bytes() for path in Path("state").rglob("*") if path.is_file()}
    assert main(["run", "pipeline.py", "--state", "state", "--resume"]) == 0
    points = [entry for entry in rt.FileRegistry("models").log() if entry.what == "point"]
    shutil.rmtree("state")
    for path, data in saved.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    assert main(["run", "pipeline.py", "--state", "state", "--resume"]) == 0
    again = [entry for entry in rt.FileRegistry("models").log() if entry.what == "point"]
    assert (
        [e.about["alias"] for e in again].count("serving") == [e.about["alias"] for e in points].count("serving") == 1
    )


def test_compress_tells_keeps_and_is_exported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [
        "compress",
        "models",
        "--pipeline",
        "pipeline.py",
        "--step",
        "half",
        "--step",
        "shrink=.5",
        "--seconds",
        "0.02",
    ]
    assert main([*command, "--within", "accuracy=.05", "--within", "per_class=none", "--alias", "small"]) == 0
    out, err = capsys.readouterr()
    assert "half" not in err
    assert "float16: taken" in err
    assert "retain rollback models --alias small" in out
    registry = rt.FileRegistry("models")
    assert registry.version("small").parent == registry.name("champion")
    assert main(["export", "models", "small", "--to", "onnx-half", "-o", "m.onnx"]) == 0
    assert "m.onnx" in capsys.readouterr().out
    session = onnxruntime.InferenceSession("m.onnx")
    assert session.run(None, {"rows": np.zeros((3, 8), dtype=np.float32)})[0].shape == (3, 2)
    kept = registry.name("small")
    assert main([*command, "--dry-run", "--json", "--within", "accuracy=.05", "--alias", "small"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [rung["name"] for rung in told["rungs"]][:3] == ["parent", "graph", "float16"]
    assert registry.name("small") == kept


def test_a_learner_is_exported_and_compared(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["export", "models", "champion", "--pipeline", "pipeline.py"]
    assert main([*command, "-o", "c.onnx"]) == 0
    assert "behind the transforms" in capsys.readouterr().err
    assert main([*command, "-o", "c.npz", "--to", "numpy"]) == 0
    assert {"1.weight", "5.bias"} <= set(np.load("c.npz"))


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["compress", "models"], "name its file: --pipeline FILE.py"),
        (["compress", "nowhere", "--pipeline", "pipeline.py"], "is no registry"),
        (["compress", "models", "--pipeline", "pipeline.py", "--within", "acc=1"], "expected NAME=NUMBER"),
        (["compress", "models", "--pipeline", "pipeline.py", "--within", "faster=x"], "'x' is no number"),
        (["compress", "models", "--pipeline", "pipeline.py", "--step", "shrink"], "expected shrink=.5: see"),
        (["compress", "models", "serving", "--pipeline", "pipeline.py"], "no learner but an artefact"),
        (["export", "models", "champion", "-o", "x"], "--pipeline FILE.py"),
        (["export", "models", "serving", "--to", "gif", "-o", "x"], "expected one of onnx, onnx-int8"),
        (["export", "models", "serving", "--to", "onnx", "-o", "x"], "the artefact is onnx-int8"),
    ],
)
def test_what_makes_no_sense_is_said_on_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], args: list[str], told: str
) -> None:
    assert main(args) == 2
    assert told in capsys.readouterr().err


def test_the_ladder_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compress", "models", "--ladder"]) == 0
    assert "shrink=.5" in capsys.readouterr().out
