"""What a learner becomes where it runs, made of it anew whenever it has learnt.

Shapes: n rows, k classes or outputs.
"""

from __future__ import annotations

from typing import Protocol, final

import numpy as np

from retain.blocks import take
from retain.compose import learns
from retain.compression.draft import Format, neural
from retain.compression.graph import filled, folded, hollow, initialisers
from retain.compression.packed import Numbers
from retain.compression.packing import NUMBERS
from retain.compression.session import Session, parsed
from retain.compression.source import TRIED, Source, branching, refuse_apart, scored, source
from retain.compression.steps.half import Half
from retain.compression.steps.int8 import Int8
from retain.compression.table import Table
from retain.compression.trees import Trees
from retain.core import CSR, Array, Features, Learner, State
from retain.errors import SettingError, StateError
from retain.scores import Scores

__all__ = ["Form", "Graph", "formed", "loaded", "shipped"]

_ROUNDED = 0.05  # of answers in the mean, of what is exported in shorter numbers
_FORMATS: tuple[Format, ...] = (Int8(), Half())


class Form(Protocol):
    """A model as it runs."""

    @property
    def name(self) -> str:
        """What a state and a report call its kind."""
        ...

    @property
    def numbers(self) -> Numbers:
        """In which weights are kept."""
        ...

    @property
    def data(self) -> bytes:
        """What is shipped."""
        ...

    @property
    def memory(self) -> int:
        """Bytes of its weights while it runs."""
        ...

    def formatted(self, learner: Learner, format: Format | None, rows: Features, /) -> Form:  # noqa: A002
        """The same learner as it is now, in other numbers; `rows` are what it is given, to compare and calibrate by."""
        ...

    def renewed(self, learner: Learner, rows: Features | None, /) -> Form:
        """The same with the weights that the learner has now; `rows` are what it is given at its end.

        Raises SettingError where the form cannot hold it, and where numbers have to be calibrated without rows.
        """
        ...

    def predict(self, x: Features, /) -> Array:
        """As `retain.core.Predictor.predict`, of what the learner at the end of a chain is given."""
        ...

    def state_dict(self) -> State: ...


def formed(learner: Learner, rows: Features, /, *, threads: int) -> Form:
    """What a learner runs as, in float32: trees, a table where its rows are sparse and it has weights, else a graph."""
    if branching(learner):
        return Trees.of(learner, None, rows)
    if isinstance(rows, CSR) and not neural(learns(learner)):
        return Table.of(learner, None, rows)
    return Graph.of(learner, rows, threads=threads)


def loaded(state: State, /) -> Form:
    """What a form's `state_dict` put down. Raises StateError for what is damaged."""
    if state["kind"] == Table.name:
        return Table.from_state(state)
    if state["kind"] == Trees.name:
        return Trees.from_state(state)
    return Graph.from_state(state)


@final
class Graph:
    """A learner as an ONNX graph.

    Args:
        skeleton: the float32 graph as it was exported, without its weights.
        model: the graph that runs.
        format: what was done between the two.
        flat: whether answers are (n,).
        threads: to answer with.
    """

    name = "graph"

    def __init__(self, skeleton: bytes, model: bytes, *, format: Format | None, flat: bool, threads: int) -> None:  # noqa: A002
        self._skeleton, self._format, self._flat, self._threads = skeleton, format, flat, threads
        self._session = Session(model, threads=threads)

    @staticmethod
    def of(learner: Learner, rows: Features, /, *, threads: int) -> Graph:
        """Export a learner, in float32, and compare the graph with it.

        Args:
            learner: a chain, or what is at its end.
            rows: what that is given, to compare by.
            threads: as above.
        """
        made_of = source(learner)
        model = made_of.exported()
        skeleton = hollow(model, made_of.drawn()).SerializeToString()
        session = Session(folded(model).SerializeToString(), threads=threads)
        flat = _compared(session, made_of, rows)
        return Graph(skeleton, session.model, format=None, flat=flat, threads=threads)

    def formatted(self, learner: Learner, format: Format | None, rows: Features, /) -> Graph:  # noqa: A002
        """As `Form.formatted`."""
        made_of = source(learner)
        model = folded(filled(parsed(self._skeleton), made_of.drawn(), classes=made_of.classes))
        session = Session(model.SerializeToString(), threads=self._threads)
        _compared(session, made_of, rows if len(take(rows, slice(1))) else made_of.some())
        if format is not None:
            session = Session(format.made(model, session.rows(rows)).SerializeToString(), threads=self._threads)
        return Graph(self._skeleton, session.model, format=format, flat=self._flat, threads=self._threads)

    def renewed(self, learner: Learner, rows: Features | None, /) -> Graph:
        """As `Form.renewed`."""
        return self.formatted(learner, self._format, source(learner).some()[:0] if rows is None else rows)

    @property
    def numbers(self) -> Numbers:
        return NUMBERS[None if self._format is None else self._format.name]

    @property
    def data(self) -> bytes:
        return self._session.model

    @property
    def memory(self) -> int:
        values = initialisers(parsed(self.data)).values()
        return sum(4 * value.size if value.dtype == np.float16 else value.nbytes for value in values)  # widened at once

    def predict(self, x: Features, /) -> Array:
        said = self._session.answers(self._session.rows(x))
        return said[:, 0] if self._flat and said.shape[1] == 1 else said

    def state_dict(self) -> State:
        return {
            "kind": self.name,
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


def shipped(learner: Learner, format: Format | None, /, *, table: bool = False) -> bytes:  # noqa: A002
    """A learner as an ONNX graph, or a table of weights or trees, from what the end of a chain is given to answers.

    It is compared with the learner at once. Raises SettingError where it answers otherwise, or where the format has to
    be calibrated by rows: `retain.compress` has some.
    """
    made_of, trees = source(learner), branching(learner)
    if trees and format is not None and not table:
        raise SettingError(f"ONNX has trees in float32 only, and was asked for {format.name}; export a table so")
    rows: Features = _sparse(scored(learner)) if table and not trees else made_of.some()
    whole = _whole(learner, rows, table=table, trees=trees)
    if format is None:
        return whole.data
    short = whole.formatted(learner, format, rows if table else take(rows, slice(0)))
    wanted = whole.predict(rows)
    size = 1.0 if made_of.classes else float(np.abs(wanted).mean())
    apart = float(np.abs(short.predict(rows) - wanted).mean())
    if not apart <= _ROUNDED * size:
        raise SettingError(f"in {format.name} it answers otherwise, by {apart:.2g} in the mean; export float32")
    return short.data


def _whole(learner: Learner, rows: Features, *, table: bool, trees: bool) -> Form:
    """In float32."""
    if not table:
        return Graph.of(learner, rows, threads=1)
    return Trees.of(learner, None, rows) if trees else Table.of(learner, None, rows)


def _sparse(scores: Scores) -> CSR:
    """Rows to compare a table on: of features that have a weight, some for each row."""
    rng = np.random.default_rng(0)
    known = np.flatnonzero(scores.weights.any(axis=0))
    each = min(len(known), TRIED)
    places = [np.sort(rng.choice(known, each, replace=False)) for _ in range(TRIED)]
    indices = np.concatenate(places).astype(np.int32)
    values = rng.normal(size=len(indices)) * (1.0 if scores.reach is None else scores.reach[indices])
    starts = np.arange(TRIED + 1, dtype=np.int64) * each
    return CSR(starts, indices, values.astype(np.float32), scores.weights.shape[1])


def _compared(session: Session, made_of: Source, rows: Features) -> bool:
    """Refuse a float32 graph that does not answer as its learner; return whether answers are (n,)."""
    some = take(rows, slice(TRIED))
    wanted = made_of.learner.predict(some)
    refuse_apart(session.answers(session.rows(some)), wanted, bound=made_of.apart)
    return wanted.ndim == 1
