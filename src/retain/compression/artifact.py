"""A compressed model: what it runs as, what it was made of, and the way back."""

from __future__ import annotations

from copy import deepcopy
from typing import final

import torch

from retain.compose import Chain, Steps, learns
from retain.compression.draft import end, ending
from retain.compression.forms import Form, Graph
from retain.compression.report import CompressionReport
from retain.compression.shape import plan, restored
from retain.core import Array, Features, Learner, State
from retain.errors import StateError
from retain.learners.neural import Neural

__all__ = ["Artifact"]


@final
class Artifact:
    """A model made smaller by `retain.compress`: it predicts, and knows what it was made of.

    Its master, a learner in float32 of the artefact's shape, goes on learning (`resume`); when weights have changed,
    `patch` renews what runs without compressing anew. `revert` is the parent, which was never touched.

    Args:
        learner: one made as the parent was, to load a state into; `retain.compress` makes artefacts that are ready.
    """

    def __init__(self, learner: Learner, /) -> None:
        self._parent = self._master = learner
        self._form: Form | None = None
        self.report: CompressionReport | None = None

    @staticmethod
    def of(parent: Learner, master: Learner, form: Form, /) -> Artifact:
        """A learner as it runs."""
        artifact = Artifact(parent)
        artifact._master, artifact._form = master, form
        return artifact

    @property
    def form(self) -> Form:
        """The model as it runs. Raises StateError before a state was loaded."""
        if self._form is None:
            raise StateError("the artefact is empty; load the state of one, or make it by rt.compress")
        return self._form

    @property
    def master(self) -> Learner:
        """The learner in float32 that it was made of, of the artefact's shape; `resume` gives a copy that may learn."""
        return self._master

    @property
    def data(self) -> bytes:
        """What is shipped: for neural nets, an ONNX graph from rows to answers."""
        return self.form.data

    def predict(self, x: Features, /) -> Array:
        if isinstance(self._master, Chain):
            x = Steps(self._master.transforms).apply(x)
        return self.form.predict(x)

    def revert(self) -> Learner:
        """The learner that was compressed, as it is now."""
        return self._parent

    def resume(self) -> Learner:
        """A learner in float32 of the artefact's shape, which can go on learning: a copy of its own."""
        return deepcopy(self._master)

    def patch(self, learner: Learner, /) -> None:
        """Take over the weights of a learner of the artefact's shape: one that `resume` gave, which has learnt since.

        Raises SettingError where its shape is another by now (a new class that needs more outputs): compress anew.
        """
        self._form = self.form.renewed(learner)
        self._master = deepcopy(learner)

    def state_dict(self) -> State:
        net = learns(self._master)
        return {
            "form": self.form.state_dict(),
            "plan": plan(net.module) if isinstance(net, Neural) else None,
            "master": self._master.state_dict(),
            "report": None if self.report is None else self.report.to_dict(),
        }

    def load_state_dict(self, state: State, /) -> None:
        master = deepcopy(self._parent)
        if state["plan"] is not None:
            net = end(master, Neural, needs="the artefact is of a neural net")
            master = ending(master, restored(net, state["plan"]))
        master.load_state_dict(state["master"])
        self._master = master
        self._form = Graph.from_state(state["form"], threads=torch.get_num_threads())
        self.report = None if state["report"] is None else CompressionReport.from_dict(state["report"])
