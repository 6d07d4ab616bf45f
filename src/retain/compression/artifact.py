"""A compressed model: what it runs as, what it was made of, and the way back."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, final

from retain.compose import Composable, Steps, learns
from retain.compression.draft import ending, neural, transforms
from retain.compression.forms import Form, loaded
from retain.compression.report import CompressionReport
from retain.core import Array, Features, Learner, State
from retain.errors import SettingError, StateError
from retain.features.embed import Embed
from retain.features.hash import Hash
from retain.features.random_features import RandomFeatures

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
        self._blank = learner
        self._follow(learner)
        self._parent: Learner | None = None
        self._form: Form | None = None
        self.report: CompressionReport | None = None

    @staticmethod
    def of(parent: Learner, master: Learner, form: Form, /) -> Artifact:
        """A learner as it runs."""
        artifact = Artifact(parent)
        artifact._parent, artifact._form = parent, form
        artifact._follow(master)
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
        """What is shipped: an ONNX graph from rows to answers, or for sparse rows a file of weights.

        Of a chain it begins behind the transforms; the graph of an encoder in eight bits is in the state, beside it.
        """
        return self.form.data

    def predict(self, x: Features, /) -> Array:
        return self.form.predict(self._front.apply(x))

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
        front = Steps(transforms(learner))
        if [_shape(one) for one in front.transforms] != [_shape(one) for one in self._front.transforms]:
            raise SettingError("the learner is another chain than the artefact's; give what artifact.resume() gave")
        self._form = self.form.renewed(learner, None if rows is None else front.apply(rows))
        self._follow(deepcopy(learner))
        self.report = None

    def state_dict(self) -> State:
        return {
            "form": self.form.state_dict(),
            "plan": _plan(self._master),
            "master": self._master.state_dict(),
            "report": None if self.report is None else self.report.to_dict(),
        }

    def load_state_dict(self, state: State, /) -> None:
        master = deepcopy(self._blank)
        if state["plan"] is not None:
            master = _restored(master, state["plan"])
        master.load_state_dict(state["master"])
        form = loaded(state["form"])
        self.report = None if state["report"] is None else CompressionReport.from_dict(state["report"])
        self._parent, self._form = None, form
        self._follow(master)

    def _follow(self, master: Learner) -> None:
        self._master, self._front = master, Steps(transforms(master))


def _shape(part: Composable) -> tuple[type, Any]:
    """What steps may have changed about a transform."""
    match part:
        case Hash():
            return Hash, part.bits
        case RandomFeatures():
            return RandomFeatures, part.outputs
        case Embed():
            return Embed, part.encoder_hash
        case _:
            return type(part), None


def _plan(master: Learner) -> State | None:
    """The shape of a module. Other learners, and transforms, have theirs in their state."""
    net = learns(master)
    if not neural(net):
        return None
    from retain.compression.shape import plan

    return plan(net.module)


def _restored(blank: Learner, plan: State) -> Learner:
    """A chain whose module is in the shape of a plan. Raises SettingError for a learner without a module."""
    net = learns(blank)
    if not neural(net):
        raise SettingError(f"the artefact is of a neural net, and is loaded into {type(net).__name__}")
    from retain.compression.shape import restored

    return ending(blank, restored(net, plan))
