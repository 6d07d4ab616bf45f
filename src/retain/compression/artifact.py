"""A compressed model: what it runs as, what it was made of, and the way back."""

from __future__ import annotations

from copy import deepcopy
from typing import final

from retain.compose import Steps, learns
from retain.compression.draft import end, ending, transforms
from retain.compression.forms import Graph
from retain.compression.report import CompressionReport
from retain.compression.shape import plan, restored
from retain.core import Array, Features, Learner, State
from retain.errors import SettingError, StateError
from retain.learners.neural import Neural

__all__ = ["Artifact"]


@final
class Artifact:
    """A model made smaller by `retain.compress`: it predicts, and knows what it was made of.

    Its master, a learner in float32 of the artefact's shape, goes on learning (`resume`); when weights have changed,
    `patch` renews what runs without compressing anew. `revert` is the parent, which was never touched.

    Args:
        learner: one made as the parent was, to load a state into; `retain.compress` makes artefacts that are ready.

    >>> import numpy as np, retain as rt
    >>> x = np.random.default_rng(0).normal(size=(3000, 8)).astype(np.float32)
    >>> rows = rt.Batch(x, y=(x[:, 0] > 0).astype(int))
    >>> learner = rt.Neural(rt.neural.MLP(8, 64, 2))
    >>> said = learner.learn(rows)
    >>> artifact = rt.compress(learner, rt.compression.Half(), data=rows, budget=rt.Within(accuracy=0.02), seconds=0.01)
    >>> small = artifact.resume()
    >>> said = small.learn(rows)
    >>> artifact.patch(small)
    >>> bool(np.abs(artifact.predict(x) - small.predict(x)).max() < 1e-2), artifact.revert() is learner
    (True, True)
    """

    def __init__(self, learner: Learner, /) -> None:
        self._blank = self._master = learner
        self._parent: Learner | None = None
        self._form: Graph | None = None
        self.report: CompressionReport | None = None

    @staticmethod
    def of(parent: Learner, master: Learner, form: Graph, /) -> Artifact:
        """A learner as it runs."""
        artifact = Artifact(parent)
        artifact._parent, artifact._master, artifact._form = parent, master, form
        return artifact

    @property
    def form(self) -> Graph:
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
        return self.form.predict(Steps(transforms(self._master)).apply(x))

    def revert(self) -> Learner:
        """The learner that was compressed, which was not changed.

        Raises StateError for an artefact that was loaded: its parent is a version of its own.
        """
        if self._parent is None:
            raise StateError(
                "the artefact was loaded, and its parent was not; pull the version that it descends from: "
                'registry.pull(registry.version("serving").parent)'
            )
        return self._parent

    def resume(self) -> Learner:
        """A learner in float32 of the artefact's shape, which can go on learning: a copy of its own."""
        return deepcopy(self._master)

    def patch(self, learner: Learner, /, *, rows: Features | None = None) -> None:
        """Take over the weights of a learner of the artefact's shape: one that `resume` gave, which has learnt since.

        Nothing is exported, cut or judged again: the report is of what was, and is dropped.

        Args:
            learner: what has learnt.
            rows: as `predict` takes them, to calibrate by; int8 convolutions need some.

        Raises:
            SettingError: its shape is another by now (a new class that needs more outputs), or it is another chain:
                compress anew; or rows are needed.
        """
        front = transforms(learner)
        if [type(one) for one in front] != [type(one) for one in transforms(self._master)]:
            raise SettingError("the learner is another chain than the artefact's; give what artifact.resume() gave")
        self._form = self.form.renewed(learner, None if rows is None else Steps(front).apply(rows))
        self._master, self.report = deepcopy(learner), None

    def state_dict(self) -> State:
        net = learns(self._master)
        return {
            "form": self.form.state_dict(),
            "plan": plan(net.module) if isinstance(net, Neural) else None,
            "master": self._master.state_dict(),
            "report": None if self.report is None else self.report.to_dict(),
        }

    def load_state_dict(self, state: State, /) -> None:
        master = deepcopy(self._blank)
        if state["plan"] is not None:
            net = end(master, Neural, needs="the artefact is of a neural net")
            master = ending(master, restored(net, state["plan"]))
        master.load_state_dict(state["master"])
        form = Graph.from_state(state["form"])
        self.report = None if state["report"] is None else CompressionReport.from_dict(state["report"])
        self._parent, self._master, self._form = None, master, form
