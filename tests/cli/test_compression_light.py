"""`retain compress` and `retain export` of learners that need no torch."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tests.cli.kept import kept

import retain as rt
from retain.cli import main
from retain.compression.packed import unpacked

PIPELINE = """
import numpy as np
import retain as rt

def rows(n, seed):
    x = np.random.default_rng(seed).normal(size=(n, 8)).astype(np.float32)
    return x, (x[:, :3] ** 2).argmax(axis=1)

x, y = rows(4_000, 0)
held_out = [rt.Batch(rows(3_000, 1)[0], y=rows(3_000, 1)[1])]
pipeline = rt.Pipeline(
    stream=rt.streams.arrays(x, y), learner=rt.RandomFeatures(400) | rt.Ridge(batch_size=500),
    registry=rt.FileRegistry("models", who="test"),
)
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kept(tmp_path_factory.mktemp("light"), PIPELINE)


@pytest.fixture
def folder(ran: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(ran)
    return ran


def learner() -> rt.Chain:
    chain = rt.RandomFeatures(400) | rt.Ridge(batch_size=500)
    chain.load_state_dict(rt.FileRegistry("models").pull("champion")["learner"])
    return chain


def test_compress_needs_no_torch_and_what_it_keeps_is_exported(folder: Path) -> None:
    words = ["compress", "models", "--pipeline", "pipeline.py", "--step", "narrow=.4", "--step", "half", "--json"]
    words += ["--seconds", "0.01", "--within", "accuracy=.1", "--within", "per_class=none"]
    code = f"import sys; from retain.cli import main\nmain({words!r}); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    told, torch = done.stdout.splitlines()[-2:]
    assert torch == "False"
    assert [rung["fate"] for rung in json.loads(told)["rungs"]] == ["parent", "taken", "taken", "taken"]
    assert main(["export", "models", "serving", "--to", "onnx-half", "-o", "small.onnx"]) == 0
    artifact = rt.compression.Artifact(rt.RandomFeatures(400) | rt.Ridge(batch_size=500))
    artifact.load_state_dict(rt.FileRegistry("models").pull("serving")["artifact"])
    x = np.random.default_rng(5).normal(size=(50, 8)).astype(np.float32)
    bent = artifact.master.transforms[0].apply(x)
    assert bent.shape == (50, 240)
    said = onnxruntime.InferenceSession("small.onnx").run(None, {"rows": bent})[0]
    np.testing.assert_allclose(said, artifact.predict(x), atol=1e-6)


def test_exports_of_a_learner_answer_as_it_does(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["export", "models", "champion", "--pipeline", "pipeline.py"]
    chain = learner()
    x = np.random.default_rng(5).normal(size=(50, 8)).astype(np.float32)
    bent, wanted = chain.transforms[0].apply(x), chain.predict(x)
    for to, bound in (("onnx", 1e-5), ("onnx-half", 5e-3), ("onnx-int8", 0.1)):
        assert main([*command, "--to", to, "-o", "out.onnx"]) == 0
        said = onnxruntime.InferenceSession("out.onnx").run(None, {"rows": bent})[0]
        assert np.abs(said - wanted).max() < bound
    for to, bound in (("table", 1e-5), ("table-half", 5e-3), ("table-int8", 0.1)):
        assert main([*command, "--to", to, "-o", "out.table"]) == 0
        scores, _ = unpacked(Path("out.table").read_bytes())
        assert np.abs(scores.answers(bent) - wanted).max() < bound
    assert "behind the transforms" in capsys.readouterr().err
    assert main([*command, "--to", "numpy", "-o", "out.npz"]) == 0
    held = np.load("out.npz")
    assert set(held) == {"weights", "bias", "link", "flat"}
    assert (held["weights"].shape, str(held["link"])) == ((3, 400), "shares")


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["compress", "models", "--pipeline", "pipeline.py", "--step", "fewer-bits"], "expected fewer-bits=16"),
        (["compress", "models", "--pipeline", "pipeline.py", "--step", "fewer-bits=1.5"], "expected a whole number"),
        (["compress", "models", "--pipeline", "pipeline.py", "--step", "narrow"], "expected narrow=.5"),
        (["export", "models", "champion", "--pipeline", "pipeline.py", "--to", "gif", "-o", "x"], "table, table-int8"),
    ],
)
def test_what_makes_no_sense_is_said_on_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], args: list[str], told: str
) -> None:
    assert main(args) == 2
    assert told in capsys.readouterr().err


def test_the_steps_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compress", "models", "--ladder"]) == 0
    out = capsys.readouterr().out
    for word in ("truncate=.5", "fewer-bits=16", "narrow=.5"):
        assert word in out
