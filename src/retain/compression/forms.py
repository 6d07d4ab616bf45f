"""What a learner becomes where it runs, made of it anew whenever it has learnt.

Shapes: n rows, k classes or outputs.
"""

from __future__ import annotations

from typing import Protocol, final

import numpy as np

from retain.blocks import take
from retain.compression.draft import Format, end
from retain.compression.graph import drawn, exported, filled, folded, hollow, initialisers
from retain.compression.session import Session, parsed
from retain.compression.steps.half import HalfFormat
from retain.compression.steps.int8 import Int8Format
from retain.core import Array, Features, Learner, State
from retain.errors import SettingError, StateError
from retain.learners.neural import Neural

__all__ = ["Form", "Graph", "shipped"]

_TRIED = 64  # rows on which a graph is compared with what it was made of
_APART = 1e-4  # of answers, before numbers are made shorter: sums in another order
_FORMATS: tuple[Format, ...] = (Int8Format(), HalfFormat())
_NEEDS = "compression makes graphs of neural nets"


class Form(Protocol):
    """A model as it runs."""

    @property
    def data(self) -> bytes:
        """What is shipped."""
        ...

    @property
    def memory(self) -> int:
        """Bytes of its weights while it runs."""
        ...

    def predict(self, x: Features, /) -> Array:
        """As `retain.core.Predictor.predict`."""
        ...

    def renewed(self, learner: Learner, /) -> Form:
        """The same with the weights that the learner has now. Raises SettingError where shapes are others."""
        ...

    def state_dict(self) -> State: ...


@final
class Graph:
    """A neural net as an ONNX graph.

    Args:
        skeleton: the float32 graph as it was exported, without its weights.
        model: the graph that runs.
        format: what was done between the two.
        flat: whether answers are (n,).
        threads: to answer with.
    """

    def __init__(self, skeleton: bytes, model: bytes, *, format: Format | None, flat: bool, threads: int) -> None:  # noqa: A002
        self._skeleton, self._format, self._flat, self._threads = skeleton, format, flat, threads
        self._session = Session(model, threads=threads)

    @staticmethod
    def of(learner: Learner, rows: Features, /, *, threads: int) -> Graph:
        """Export a learner that ends with a neural net, in float32, and compare the graph with it.

        Args:
            learner: a chain, or the net itself.
            rows: what the net is given, to compare by.
            threads: as above.
        """
        net = end(learner, Neural, needs=_NEEDS)
        model = exported(net)
        skeleton = hollow(model, drawn(net)).SerializeToString()
        session = Session(folded(model).SerializeToString(), threads=threads)
        some = session.rows(take(rows, slice(_TRIED)))
        wanted = net.predict(some)
        apart = float(np.abs(session.answers(some).reshape(wanted.shape) - wanted).max(initial=0.0))
        if not apart <= _APART * max(1.0, float(np.abs(wanted).max(initial=0.0))):
            raise SettingError(
                f"the exported graph answers otherwise than the module (by {apart:.2g}), so that it cannot run so: "
                "look for branches on values in its forward"
            )
        return Graph(skeleton, session.model, format=None, flat=wanted.ndim == 1, threads=threads)

    def formatted(self, learner: Learner, format: Format | None, rows: Features, /) -> Graph:  # noqa: A002
        """The same net computing in other numbers; `rows` are what it is given, to calibrate by."""
        net = end(learner, Neural, needs=_NEEDS)
        model = folded(filled(parsed(self._skeleton), drawn(net), classes=net.model.classes))
        if format is not None:
            model = format.made(model, self._session.rows(rows))
        data = model.SerializeToString()
        return Graph(self._skeleton, data, format=format, flat=self._flat, threads=self._threads)

    @property
    def data(self) -> bytes:
        return self._session.model

    @property
    def memory(self) -> int:
        return sum(value.nbytes for value in initialisers(parsed(self.data)).values())

    def predict(self, x: Features, /) -> Array:
        said = self._session.answers(self._session.rows(x))
        return said[:, 0] if self._flat and said.shape[1] == 1 else said

    def renewed(self, learner: Learner, /) -> Graph:
        net = end(learner, Neural, needs=_NEEDS)
        model = folded(filled(parsed(self._skeleton), drawn(net), classes=net.model.classes))
        if self._format is not None:
            made = parsed(self.data)
            values = {**initialisers(model), **self._format.patched(made, model)}
            model = filled(made, values, classes=net.model.classes)
        data = model.SerializeToString()
        return Graph(self._skeleton, data, format=self._format, flat=self._flat, threads=self._threads)

    def state_dict(self) -> State:
        return {
            "skeleton": np.frombuffer(self._skeleton, dtype=np.uint8),
            "model": np.frombuffer(self.data, dtype=np.uint8),
            "format": None if self._format is None else self._format.name,
            "flat": self._flat,
        }

    @staticmethod
    def from_state(state: State, /, *, threads: int) -> Graph:
        """What `state_dict` put down. Raises StateError for what is damaged."""
        skeleton, model = (np.asarray(state[name], dtype=np.uint8).tobytes() for name in ("skeleton", "model"))
        formats = {one.name: one for one in _FORMATS}
        name = state["format"]
        if name is not None and name not in formats:
            raise StateError(f"the artefact is in a format {name!r} that this retain does not know; update it")
        known = None if name is None else formats[name]
        return Graph(skeleton, model, format=known, flat=state["flat"], threads=threads)


def shipped(learner: Learner, format: Format | None, /) -> bytes:  # noqa: A002
    """A learner that ends with a neural net as an ONNX graph from what the net is given to answers.

    The graph is compared with the net at once. Raises SettingError where it answers otherwise, or where the format has
    to be calibrated by rows: `retain.compress` has some.
    """
    net = end(learner, Neural, needs=_NEEDS)
    example = net.example(_TRIED).cpu().float().numpy()
    rows = np.random.default_rng(0).normal(size=example.shape).astype(np.float32)
    graph = Graph.of(net, rows if net.example(1).is_floating_point() else example.astype(np.int64), threads=1)
    return (graph if format is None else graph.formatted(net, format, rows[:0])).data
