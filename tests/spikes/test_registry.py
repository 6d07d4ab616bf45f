"""Spike 4: an ONNX artefact pushed to and pulled from a registry of files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retain.core import Array, Predictor, Registry, State, Version
from retain.errors import StateError
from retain.state import decode, encode, equal

torch = pytest.importorskip("torch", reason="needs torch: pip install 'retain[deploy]'")
onnx = pytest.importorskip("onnx", reason="needs onnx: pip install 'retain[deploy]'")
pytest.importorskip("onnxscript", reason="needs onnxscript: pip install 'retain[deploy]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'retain[deploy]'")


class Onnx:
    """A frozen model: its bytes are its state, a session is what it becomes."""

    def __init__(self, data: bytes | None = None) -> None:
        self.data, self.session = b"", None
        if data is not None:
            self.load_state_dict({"onnx": np.frombuffer(data, dtype=np.uint8)})

    def predict(self, x: Array, /) -> Array:
        return self.session.run(None, {self.session.get_inputs()[0].name: x})[0]

    def state_dict(self) -> State:
        return {"onnx": np.frombuffer(self.data, dtype=np.uint8).copy()}

    def load_state_dict(self, state: State, /) -> None:
        data = state["onnx"].tobytes()
        self.session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        self.data = data


class Files:
    """A version is one file of state, parent and report, named by its hash; an alias is a file with such a name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "aliases").mkdir(parents=True, exist_ok=True)

    def push(self, state: State, /, *, parent: str | None, report: Mapping[str, Any]) -> Version:
        data = encode({"state": state, "parent": parent, "report": report})
        name = hashlib.sha256(data).hexdigest()
        self._replace(self.folder / name, data)
        return Version(name, parent, report)

    def pull(self, ref: str, /) -> State:
        return self._read(ref)["state"]

    def version(self, ref: str, /) -> Version:
        record = self._read(ref)
        return Version(self._name(ref), record["parent"], record["report"])

    def point(self, alias: str, version: str, /) -> None:
        self._read(version)  # an alias never points to what cannot be pulled
        self._replace(self.folder / "aliases" / alias, version.encode())

    def _name(self, ref: str) -> str:
        alias = self.folder / "aliases" / ref
        return alias.read_text() if alias.exists() else ref

    def _read(self, ref: str) -> dict[str, Any]:
        name = self._name(ref)
        try:
            data = (self.folder / name).read_bytes()
        except (OSError, ValueError) as error:
            raise StateError(f"there is no version {name!r}; push it first") from error
        if hashlib.sha256(data).hexdigest() != name:
            raise StateError(f"the version {name} is damaged: its content does not match its name; restore the file")
        return decode(data)

    def _replace(self, path: Path, data: bytes) -> None:
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)


@pytest.fixture(scope="module")
def exported() -> tuple[Any, bytes]:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)).eval()
    shapes = ({0: torch.export.Dim("n")},)
    program = torch.onnx.export(
        module, (torch.zeros(2, 4),), dynamo=True, optimize=False, dynamic_shapes=shapes, verbose=False
    )
    return module, program.model_proto.SerializeToString()


# torch's exporter uses what torch itself has deprecated
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


def answers(module: Any, x: Array) -> Array:
    with torch.no_grad():
        return module(torch.from_numpy(x)).numpy()


def test_what_was_pulled_predicts_what_was_pushed(exported: tuple[Any, bytes], tmp_path: Path) -> None:
    module, data = exported
    registry: Registry = Files(tmp_path)
    artefact: Predictor = Onnx(data)
    report = {"accuracy": 0.93, "bytes": len(data), "note": None}
    first = registry.push(artefact.state_dict(), parent=None, report=report)
    registry.point("champion", first.name)
    pulled = Onnx()
    pulled.load_state_dict(Files(tmp_path).pull("champion"))
    x = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    np.testing.assert_allclose(pulled.predict(x), answers(module, x), rtol=0, atol=1e-5)
    assert equal(registry.pull(first.name), artefact.state_dict())
    assert registry.push(artefact.state_dict(), parent=None, report=report) == first  # the same again is the same
    assert registry.push(artefact.state_dict(), parent=first.name, report=report) != first  # another parent is not


def test_the_live_model_learns_on_and_its_artefact_follows(exported: tuple[Any, bytes], tmp_path: Path) -> None:
    module, data = exported
    registry = Files(tmp_path)
    first = registry.push(Onnx(data).state_dict(), parent=None, report={})
    learnt = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    learnt.load_state_dict({name: value + 0.1 for name, value in module.state_dict().items()})
    graph = onnx.load_from_string(registry.pull(first.name)["onnx"].tobytes())
    for tensor in graph.graph.initializer:  # unoptimised, every weight keeps its name
        tensor.CopyFrom(onnx.numpy_helper.from_array(learnt.state_dict()[tensor.name].numpy(), tensor.name))
    second = registry.push(Onnx(graph.SerializeToString()).state_dict(), parent=first.name, report={})
    registry.point("champion", second.name)
    x = np.random.default_rng(1).normal(size=(50, 4)).astype(np.float32)
    pulled = Onnx()
    pulled.load_state_dict(registry.pull("champion"))
    np.testing.assert_allclose(pulled.predict(x), answers(learnt, x), rtol=0, atol=1e-5)
    assert np.abs(pulled.predict(x) - answers(module, x)).max() > 0.1
    registry.point("champion", registry.version("champion").parent)  # roll back: one alias moves
    pulled.load_state_dict(registry.pull("champion"))
    np.testing.assert_allclose(pulled.predict(x), answers(module, x), rtol=0, atol=1e-5)


def test_one_flipped_byte_anywhere_is_detected(exported: tuple[Any, bytes], tmp_path: Path) -> None:
    registry = Files(tmp_path)
    version = registry.push(Onnx(exported[1]).state_dict(), parent=None, report={"accuracy": 0.93})
    registry.point("champion", version.name)
    for path in (tmp_path / version.name, tmp_path / "aliases" / "champion"):
        whole = path.read_bytes()
        for i in [*range(0, len(whole), 37), len(whole) - 1]:
            path.write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :])
            with pytest.raises(StateError):
                registry.pull("champion")
        path.write_bytes(whole)
    assert equal(registry.pull("champion"), Onnx(exported[1]).state_dict())
