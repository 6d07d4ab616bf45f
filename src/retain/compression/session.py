"""A graph that runs: ONNX Runtime on this machine's processor.

Shapes: n rows, k classes or outputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import numpy as np

from retain import blocks
from retain.core import Array, Features
from retain.errors import PoisonError, StateError
from retain.graphs import needed, opened

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
        needed("onnxruntime", reader=_READER)
        self._session = opened(model, threads=threads)
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
