"""`retain compress` and `retain export` of a forest behind an encoder."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tests.cli.kept import kept

import retain as rt
from retain.cli import main
from retain.compression.packed_trees import unpacked_trees
from retain.learners.trees.answering import Answering

PIPELINE = """
import numpy as np
import pyarrow as pa
import retain as rt

def rows(n, seed):
    rng = np.random.default_rng(seed)
    site, a, b = rng.choice(["x", "y", "z"], n), rng.normal(size=n), rng.normal(size=n)
    label = ((a > 0) ^ (site == "x") ^ (b > 1)).astype(int)
    return pa.table({"site": site, "a": a, "b": b, "label": label})

def held(n, seed):
    table = rows(n, seed)
    return rt.Batch(table.drop_columns("label").to_batches()[0], y=table.column("label").to_numpy())

held_out = [held(3_000, 1)]
pipeline = rt.Pipeline(
    stream=rt.streams.table(rows(6_000, 0), target="label", task="classification"), learner=rt.OneHot() | rt.ARF(5),
    registry=rt.FileRegistry("models", who="test"),
)
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kept(tmp_path_factory.mktemp("trees"), PIPELINE)


@pytest.fixture
def folder(ran: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(ran)
    return ran


def champion() -> rt.Chain:
    chain = rt.OneHot() | rt.ARF(5)
    chain.load_state_dict(rt.FileRegistry("models").pull("champion")["learner"])
    return chain


def asked(chain: rt.Chain) -> tuple[np.ndarray, np.ndarray]:
    """Dense rows as the forest is given them, and what it says of them."""
    namespace: dict = {}
    exec(PIPELINE.partition("held_out")[0], namespace)  # noqa: S102 - the file of the pipeline, as above
    x = namespace["held"](300, 5).x
    rows = rt.blocks.dense(chain.transforms[0].apply(x), chain.learner.branches().width)
    return rows, chain.predict(x)


STEPS = ["--step", "majority-leaves", "--step", "prune-branches=.5", "--step", "prune-members=.2", "--step", "int8"]


def test_compress_keeps_and_exports_what_it_made(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compress", "models", "champion", "--pipeline", "pipeline.py", *STEPS, "--seconds", "0.01", "--json"]
    assert main([*words, "--within", "accuracy=.05", "--within", "per_class=none"]) == 0
    out, _ = capsys.readouterr()
    told = json.loads(out.splitlines()[-1])
    assert [rung["fate"] for rung in told["rungs"]][:3] == ["parent", "taken", "taken"]
    artifact = rt.compression.Artifact(rt.OneHot() | rt.ARF(5))
    artifact.load_state_dict(rt.FileRegistry("models").pull("serving")["artifact"])
    chain = champion()
    rows, _ = asked(chain)
    wanted = artifact.form.predict(rows)
    assert main(["export", "models", "serving", "--to", "onnx", "-o", "small.onnx"]) == 0
    assert "behind the transforms" in capsys.readouterr().err
    said = onnxruntime.InferenceSession("small.onnx").run(None, {"rows": rows})[0]
    np.testing.assert_allclose(said, wanted, atol=1e-5)
    assert main(["export", "models", "serving", "--to", "numpy", "-o", "small.npz"]) == 0
    assert {"test", "value", "child", "shares"} <= set(np.load("small.npz"))
    kind = {"float32": "table", "int8": "table-int8"}[artifact.form.numbers]
    assert main(["export", "models", "serving", "--to", kind, "-o", "small.table"]) == 0
    assert Path("small.table").read_bytes() == artifact.data
    other = "table-half"
    assert main(["export", "models", "serving", "--to", other, "-o", "x"]) == 2
    assert f"the artefact is {kind}" in capsys.readouterr().err


def test_a_forest_is_exported_and_answers_as_it_does(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["export", "models", "champion", "--pipeline", "pipeline.py"]
    rows, wanted = asked(champion())
    for to, bound in (("table", 1e-5), ("table-half", 0.02), ("table-int8", 0.02)):
        assert main([*command, "--to", to, "-o", "out.table"]) == 0
        trees, _ = unpacked_trees(Path("out.table").read_bytes())
        assert np.abs(Answering(trees).predict(rows) - wanted).mean() < bound
    assert main([*command, "--to", "numpy", "-o", "out.npz"]) == 0
    assert {"bayes", "mean", "narrow", "prior"} <= set(np.load("out.npz"))
    assert main([*command, "--to", "onnx", "-o", "out.onnx"]) == 2
    assert "MajorityLeaves" in capsys.readouterr().err


def test_the_ladder_names_its_steps(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compress", "models", "--ladder"]) == 0
    out = capsys.readouterr().out
    assert "majority-leaves" in out
    assert "prune-branches=.5" in out
    assert main(["compress", "models", "--pipeline", "pipeline.py", "--step", "majority-leaves=2"]) == 2
    assert "expected majority-leaves" in capsys.readouterr().err
