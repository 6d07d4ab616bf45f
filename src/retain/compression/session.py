"""A graph that runs: ONNX Runtime on this machine's processor.

Shapes: n rows, k classes or outputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import numpy as np

from retain import blocks
from retain.core import Array, Features
from retain.errors import MissingExtraError, PoisonError, StateError

if TYPE_CHECKING:
    import onnx

__all__ = ["Session", "parsed"]

_READER = "the artefact"


@final
class Session:
    """A graph that answers rows (n, ...) with probabilities or numbers (n, k).

    Args:
        model: the bytes of an ONNX graph.
        threads: to answer with.

    Raises:
        StateError: bytes that are no graph, or one that this ONNX Runtime cannot run.
    """

    def __init__(self, model: bytes, /, *, threads: int) -> None:
        ort = _runtime()
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        # Threads that wait by spinning take the processor from whoever learns beside them.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session: Any = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has an error of its own for each way in which bytes can be wrong
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise StateError(f"the graph of the artefact cannot be run ({first}); compress anew") from error
        given = self._session.get_inputs()[0]
        self._name, self._whole = given.name, given.type == "tensor(int64)"
        self._shape = tuple(int(size) for size in given.shape[1:])
        self.model = model

    def rows(self, x: Features, /) -> Array:
        """Rows as the graph takes them. Raises PoisonError as the learner would."""
        array = blocks.array(x, shape=self._shape, whole=self._whole, reader=_READER)
        if self._whole and array.dtype.kind == "f" and not (array == np.rint(array)).all():
            raise PoisonError(
                f"{_READER} takes codes, and got numbers that are not whole; expected rows as were learnt"
            )
        return array.astype(np.int64 if self._whole else np.float32, copy=False)

    def answers(self, rows: Array, /) -> Array:
        """What the graph says (n, k) of `rows`."""
        return self._session.run(None, {self._name: rows})[0]


def parsed(model: bytes, /) -> onnx.ModelProto:
    """A graph from its bytes. Raises StateError."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return onnx.load_model_from_string(model)
    except DecodeError as error:
        raise StateError("the graph of the artefact is damaged; compress anew") from error


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError(
            "compression needs onnxruntime, which is absent; install it with: pip install 'retain[deploy]'"
        ) from error
    return onnxruntime
