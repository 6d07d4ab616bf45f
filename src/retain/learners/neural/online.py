"""`OnlineMLP`: small neural nets that learn row by row, without torch.

Shapes: n rows, d features, D = 1 + d, M nets, L hidden layers, k outputs or classes; see `online_kernels`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from importlib import import_module
from typing import Any, final

import numpy as np

from retain.compose import Paced
from retain.core import Array, Batch, Features, Floats, State
from retain.errors import SettingError
from retain.learners.intake import Given, Intake

__all__ = ["Net", "OnlineMLP"]

_FIRST = 1e-4  # the squared slope before there was one: first steps are no longer than a hundred rates
_UNSEEN = (0.0, 0.0, 0.0, np.inf, -np.inf)  # of a number: weight, mean, squares, least, largest
_KEPT = ("inputs", "targets", "scale", "trust", "ring_x", "ring_y", "ring_weight", "progress", "random")


@final
@dataclass(frozen=True, slots=True)
class Net:
    """How one net of an `OnlineMLP` steps: by rate g / sqrt(v), g the slope of a row's loss, v its mean square.

    Args:
        rate: length of a step.
        memory: over how many rows the mean goes back (RMSprop, Tieleman & Hinton 2012): the net follows a world that
            moves. `inf` sums all squares (AdaGrad, Duchi et al. 2011): the net settles. 0 is the plain step, rate g.
        rehearses: whether rows of the window are learnt again and again.

    >>> Net(0.01, memory=1000)
    Net(rate=0.01, memory=1000, rehearses=False)
    """

    rate: float
    _: KW_ONLY
    memory: float = 100.0
    rehearses: bool = False

    def __post_init__(self) -> None:
        if not (0 < self.rate < math.inf and (self.memory == 0 or self.memory > 1)):
            raise SettingError(
                f"Net got rate={self.rate}, memory={self.memory}; expected a rate > 0 and a memory of 0, of more than "
                "1 row, or inf"
            )


_NETS = (
    Net(0.1, memory=math.inf, rehearses=True),
    Net(0.03, memory=math.inf, rehearses=True),
    Net(0.003),
    Net(0.001),
)


@final
class OnlineMLP(Paced):
    """Multi-layer perceptrons that learn row by row, hedged so that no rate and no depth need be chosen.

    Several nets with the same hidden layers of leaky rectified units learn side by side. Each of them answers at every
    depth: depth 0 is a linear function of the inputs, depth l one of the l-th hidden layer. With h_0 = z, the inputs
    in deviations from their running means (no farther than 8; 0 where missing), the answers and the loss of net m are

        h_l = max(a_l, .01 a_l),  a_l = W_l h_(l-1) + b_l;    f_l = V_l h_l + c_l;    loss = sum_l loss(f_l, y)

    with the log-loss of a softmax, or half the squared error of numbers in deviations from their running mean (whose
    slope is cut at 4). Every row is one gradient step of each net. What is said is the mean over nets and depths,
    weighted by how well each has predicted lately: w_e <- w_e exp(-l_e), of which a share is dealt out anew after
    every label (see `Hedge`). A shallow answer is trusted while rows are few, a deep one later, and none for good.

    The default nets are of two kinds. Two settle (AdaGrad) and rehearse: after every row they step along rows drawn
    from the window of the last ones, `rehearsals` times while the window fills, then less and less, as window / rows
    learnt. Two follow (RMSprop) and look at each row once.

    A row of weight v <= 1 makes a step v times as long; a heavier one is learnt ceil(v) times (at most 16) with equal
    parts of v. Rows without a label, or of weight 0, are predicted and not learnt. NaN is a missing input. Granularity
    1. The width of bare dense arrays is fixed by the first block learnt; that of sparse rows, record batches and rows
    with a schema may grow to the right: new inputs and new classes begin at weight 0.

    Memory is fixed by the settings: about 8 M bytes for each of (1 + d + k) H_1 + H_1 H_2 + ... + k (1 + d) weights,
    and 4 d bytes for each row of the window.

    Args:
        hidden: units of each hidden layer, at least one layer.
        nets: what learns side by side.
        rehearsals: rows learnt again after each row, by the nets that rehearse.
        window: rows they are drawn from, the last ones.
        share: of the trust, dealt out evenly after every label; 0 <= share < 1.
        seed: of the first weights and of the rehearsals.

    Raises:
        SettingError: a setting out of its range.
        PoisonError: from `learn` and `predict`: Inf, a wrong width or type, a label of another kind than before.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x = rng.uniform(-1, 1, size=(3000, 2)).astype(np.float32)
    >>> learner = OnlineMLP(hidden=(16,))
    >>> said = learner.learn(Batch(x, y=(x[:, 0] * x[:, 1] > 0).astype(np.int64)))  # no line parts these
    >>> learner.predict(np.float32([[0.5, 0.5], [0.5, -0.5], [-0.5, np.nan]])).argmax(axis=1)[:2]
    array([1, 0])
    >>> learner.trust.sum(axis=0).round(2)[1] > 0.9  # the hidden layer, beside the line
    np.True_

    References:
        Sahoo, Pham, Lu & Hoi 2018, Online deep learning: learning deep neural networks on the fly. There one net is
        hedged over its depths and a hidden layer is moved by the trusted depths only; here several nets are, and every
        depth moves the layers below it. Herbster & Warmuth 1998 (fixed share). He et al. 2015 (first weights).
    """

    def __init__(
        self,
        *,
        hidden: Sequence[int] = (64, 32),
        nets: Sequence[Net] = _NETS,
        rehearsals: float = 20.0,
        window: int = 2048,
        share: float = 0.01,
        seed: int = 0,
    ) -> None:
        if not hidden or min(hidden) < 1 or not nets:
            raise SettingError(
                f"OnlineMLP got hidden={tuple(hidden)} and {len(nets)} nets; expected at least one net, and one layer "
                "of one unit: a line alone is rt.Linear()"
            )
        if not (0 <= rehearsals < math.inf and window >= 1 and 0 <= share < 1):
            raise SettingError(
                f"OnlineMLP got rehearsals={rehearsals}, window={window}, share={share}; expected rehearsals >= 0, "
                "window >= 1, 0 <= share < 1"
            )
        self._sizes = tuple(int(size) for size in hidden)
        self._nets = sorted(nets, key=lambda net: not net.rehearses)  # those that rehearse are the first
        self._rehearsing = sum(net.rehearses for net in nets) if rehearsals > 0 else 0
        self._memory = np.array([float(net.memory) for net in self._nets])
        self._settings = np.array([float(rehearsals), 1.0, float(share)])
        self._window = int(window) if self._rehearsing else 1
        self._seed, self._pace = seed, 1.0
        self._intake = Intake("OnlineMLP", missing=True)
        # By the names in `online_kernels`, "second" for the squared slopes; nothing before the first labels.
        self._weights: dict[str, list[Array]] = {"now": [], "second": []}
        self._heads: dict[str, list[Array]] = {"now": [], "second": []}
        self._kept: dict[str, Array] = {}

    @property
    def trust(self) -> Floats:
        """(M, L + 1) the weights of the nets' answers at each depth, adding up to 1; nets that rehearse come first."""
        shape = len(self._nets), len(self._sizes) + 1
        return self._kept["trust"].reshape(shape).copy() if self._kept else np.full(shape, 1 / math.prod(shape))

    def learn(self, batch: Batch, /) -> Array:
        """Learn the rows in order; see `retain.core.Learner`."""
        given = self._intake.read(batch)
        self._intake.keep(given)
        return self._run(given)

    def predict(self, x: Features, /) -> Array:
        """Numbers (n,) or (n, k), or probabilities (n, classes); (n, 0) before the first labels. Changes nothing."""
        rows = self._intake.rows(x)
        n, intake = len(rows), self._intake
        y, known = np.zeros((n, max(intake.outputs, 1))), intake.classes or 0
        return self._run(Given(rows, y, np.zeros(n), intake.classes, intake.flat, False, known))  # noqa: FBT003

    def pace(self, factor: float, /) -> None:
        """Multiply the rates of all nets."""
        if not 0 < factor < math.inf:
            raise SettingError(f"OnlineMLP cannot be paced by {factor}; expected a factor > 0")
        self._pace *= factor

    def state_dict(self) -> State:
        k = self._intake.outputs
        heads = {name: [head[:, :k].copy() for head in self._heads[name]] for name in self._heads}
        return {
            "intake": self._intake.state_dict(),
            "pace": self._pace,
            "weights": {name: [part.copy() for part in self._weights[name]] for name in self._weights},
            "heads": heads,
            "kept": {name: part.copy() for name, part in self._kept.items()},
        }

    def load_state_dict(self, state: State, /) -> None:
        self._intake.load_state_dict(state["intake"])
        self._pace = state["pace"]
        for name in self._weights:
            self._weights[name] = [part.copy() for part in state["weights"][name]]
            self._heads[name] = [part.copy() for part in state["heads"][name]]
        self._kept = {name: part.copy() for name, part in state["kept"].items()}

    # --- learning ---

    def _run(self, given: Given) -> Array:
        n, intake = len(given.x), self._intake
        out = np.zeros((n, intake.outputs))
        if intake.outputs and n:
            self._room(given.x.shape[1], intake.outputs)
            y = given.y[:, None] if given.y.ndim == 1 else given.y
            rates = self._pace * np.array([net.rate for net in self._nets])
            acts, deltas = self._rooms()
            weights, heads = self._weights, self._heads
            _kernel()(
                np.require(given.x, np.float32, ["C", "W"]),
                np.require(y, np.float64, ["C", "W"]),
                np.require(given.weight, np.float64, ["C", "W"]),
                -1 if intake.classes is None else given.known,
                *(rates, self._memory, self._rehearsing, acts, deltas),
                *(tuple(parts[name]) for name in ("now", "second") for parts in (weights, heads)),
                *(self._kept[name] for name in _KEPT),
                *(out, self._settings),
            )
        return out[:, 0] if intake.flat else out

    def _rooms(self) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """Where a row's activations and slopes are worked out: the constant units are 1."""
        shapes = [(1, self._heads["now"][0].shape[2]), *((len(self._nets), size + 1) for size in self._sizes)]
        acts = tuple(np.ones(shape, dtype=np.float32) for shape in shapes)
        return acts, tuple(np.zeros((1, shape[1]), dtype=np.float32) for shape in shapes)

    def _room(self, width: int, outputs: int) -> None:
        """Make room for so many features and outputs; new weights are 0."""
        if not self._kept:
            self._begin(width, outputs)
        if (more := 1 + width - self._weights["now"][0].shape[1]) > 0:
            for name, value in (("now", 0.0), ("second", _FIRST)):
                self._weights[name][0] = _grown(self._weights[name][0], 1, more, value)
                self._heads[name][0] = _grown(self._heads[name][0], 2, more, value)
            for name in ("inputs", "ring_x"):
                self._kept[name] = _grown(self._kept[name], 1, more, 0.0)
        if (more := outputs - self._heads["now"][0].shape[1]) > 0:
            more = max(more, self._heads["now"][0].shape[1])
            for name, value in (("now", 0.0), ("second", _FIRST)):
                self._heads[name] = [_grown(head, 1, more, value) for head in self._heads[name]]

    def _begin(self, width: int, outputs: int) -> None:
        nets, rng = len(self._nets), np.random.default_rng(self._seed)
        below, weights = width, self._weights["now"]
        for depth, size in enumerate(self._sizes):
            drawn = rng.normal(size=(nets, 1 + below, size)) * math.sqrt(2 / max(below, 1))
            drawn[:, 0 if depth == 0 else -1] = 0.0  # biases
            weights.append(drawn.astype(np.float32))
            below = size
        self._heads["now"] = [np.zeros((nets, outputs, 1 + size), dtype=np.float32) for size in (width, *self._sizes)]
        for parts in (self._weights, self._heads):
            parts["second"] = [np.full_like(part, _FIRST) for part in parts["now"]]
        numbers = outputs if self._intake.classes is None else 0
        experts = nets * (1 + len(self._sizes))
        self._kept = {
            "inputs": np.zeros((4, width)),
            "targets": np.tile(_UNSEEN, (numbers, 1)),
            "scale": np.zeros(2),
            "trust": np.full(experts, 1.0 / experts),
            "ring_x": np.zeros((self._window, width), dtype=np.float32),
            "ring_y": np.zeros((self._window, max(numbers, 1))),
            "ring_weight": np.zeros(self._window),
            "progress": np.zeros(4),
            "random": np.random.SeedSequence(self._seed).generate_state(1, np.uint64),
        }


def _grown(part: Array, axis: int, more: int, value: float) -> Array:
    """An array with more room at the end of an axis."""
    return np.pad(part, [(0, more if i == axis else 0) for i in range(part.ndim)], constant_values=value)


def _kernel() -> Any:
    """The compiled row loop; numba is loaded when the first row arrives."""
    return import_module("retain.learners.neural.online_kernels").learn
