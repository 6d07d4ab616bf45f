"""What a learner becomes where it runs, made of it anew whenever it has learnt.

Shapes: n rows, k classes or outputs.
"""

from __future__ import annotations

from typing import final

import numpy as np

from retain.blocks import take
from retain.compression.draft import Format, end
from retain.compression.graph import drawn, exported, filled, folded, hollow, initialisers
from retain.compression.session import Session, parsed
from retain.compression.steps.half import Half
from retain.compression.steps.int8 import Int8
from retain.core import Array, Features, Learner, State
from retain.errors import SettingError, StateError
from retain.learners.neural import Neural

__all__ = ["Graph", "shipped"]

_TRIED = 64  # rows on which a graph is compared with what it was made of
_APART = 1e-4  # of answers, before numbers are made shorter: sums in another order
_APART_HALF = 3e-2  # of a module in sixteen bits
_ROUNDED = 0.05  # of answers in the mean, of what is exported in shorter numbers
_FORMATS: tuple[Format, ...] = (Int8(), Half())
_NEEDS = "compression makes graphs of neural nets"


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
        flat = _compared(session, net, rows)
        return Graph(skeleton, session.model, format=None, flat=flat, threads=threads)

    def formatted(self, learner: Learner, format: Format | None, rows: Features, /) -> Graph:  # noqa: A002
        """The same net, as it is now, in other numbers; `rows` are what it is given, to compare and to calibrate by."""
        net = end(learner, Neural, needs=_NEEDS)
        model = folded(filled(parsed(self._skeleton), drawn(net), classes=net.model.classes))
        session = Session(model.SerializeToString(), threads=self._threads)
        _compared(session, net, rows if len(take(rows, slice(1))) else _some(net))
        if format is not None:
            session = Session(format.made(model, session.rows(rows)).SerializeToString(), threads=self._threads)
        return Graph(self._skeleton, session.model, format=format, flat=self._flat, threads=self._threads)

    def renewed(self, learner: Learner, rows: Features | None, /) -> Graph:
        """The same with the weights that the learner has now; `rows` are what it is given at its end.

        Raises SettingError where shapes or layers are others, and where numbers have to be calibrated without rows.
        """
        net = end(learner, Neural, needs=_NEEDS)
        return self.formatted(net, self._format, _some(net)[:0] if rows is None else rows)

    @property
    def data(self) -> bytes:
        """What is shipped."""
        return self._session.model

    @property
    def memory(self) -> int:
        """Bytes of its weights while it runs."""
        values = initialisers(parsed(self.data)).values()
        return sum(4 * value.size if value.dtype == np.float16 else value.nbytes for value in values)  # widened at once

    def predict(self, x: Features, /) -> Array:
        """As `retain.core.Predictor.predict`, of what the learner at the end of a chain is given."""
        said = self._session.answers(self._session.rows(x))
        return said[:, 0] if self._flat and said.shape[1] == 1 else said

    def state_dict(self) -> State:
        return {
            "skeleton": np.frombuffer(self._skeleton, dtype=np.uint8),
            "model": np.frombuffer(self.data, dtype=np.uint8),
            "format": None if self._format is None else self._format.name,
            "flat": self._flat,
            "threads": self._threads,
        }

    @staticmethod
    def from_state(state: State, /) -> Graph:
        """What `state_dict` put down. Raises StateError for what is damaged."""
        skeleton, model = (np.asarray(state[name], dtype=np.uint8).tobytes() for name in ("skeleton", "model"))
        formats = {one.name: one for one in _FORMATS}
        name = state["format"]
        if name is not None and name not in formats:
            raise StateError(f"the artefact is in a format {name!r} that this retain does not know; update it")
        parsed(skeleton)
        known = None if name is None else formats[name]
        return Graph(skeleton, model, format=known, flat=state["flat"], threads=state["threads"])


def shipped(learner: Learner, format: Format | None, /) -> bytes:  # noqa: A002
    """A learner that ends with a neural net as an ONNX graph from what the net is given to answers.

    The graph is compared with the net at once. Raises SettingError where it answers otherwise, or where the format has
    to be calibrated by rows: `retain.compress` has some.
    """
    net = end(learner, Neural, needs=_NEEDS)
    rows = _some(net)
    whole = Graph.of(net, rows, threads=1)
    if format is None:
        return whole.data
    graph = whole.formatted(net, format, rows[:0])
    wanted = whole.predict(rows)
    apart = float(np.abs(graph.predict(rows) - wanted).mean()) / (1.0 if net.model.classes else np.abs(wanted).mean())
    if not apart <= _ROUNDED:
        raise SettingError(f"in {format.name} it answers otherwise, by {apart:.2g} in the mean; export float32")
    return graph.data


def _compared(session: Session, net: Neural, rows: Features) -> bool:
    """Refuse a float32 graph that does not answer as its net; return whether answers are (n,)."""
    some = take(rows, slice(_TRIED))
    wanted = net.predict(some)
    said = session.answers(session.rows(some)).reshape(len(wanted), -1)
    # Classes of rows that wait to be learnt have a column in the learner's answers, and nothing in it.
    narrow = wanted.reshape(len(wanted), -1)[:, : said.shape[1]]
    apart = float(np.abs(said - narrow).max(initial=0.0)) if narrow.shape == said.shape else np.inf
    bound = _APART if net.model.weights.dtype.itemsize > 2 else _APART_HALF
    if not apart <= bound * max(1.0, float(np.abs(narrow).max(initial=0.0))):
        raise SettingError(
            f"the graph answers otherwise than the module (by {apart:.2g}), so that it cannot run so: look for "
            "branches on values in its forward, or for layers that are not those of which the graph was made"
        )
    return wanted.ndim == 1


def _some(net: Neural) -> Array:
    """Rows to compare on, where none are given."""
    example = net.example(_TRIED).cpu()
    if not example.is_floating_point():
        return example.numpy()
    return np.random.default_rng(0).normal(size=tuple(example.shape)).astype(np.float32)
