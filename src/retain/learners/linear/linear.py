# ruff: noqa: SLF001
# Only `Linear.abreast`, `alike` and `blend` look into other instances: those of their own class, which ruff cannot see.
"""`Linear`: a weight for every feature, learnt row by row."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import cache
from importlib import import_module
from typing import Any, final

import numpy as np

from retain import blocks
from retain.compose import Blending, Paced, Scoring
from retain.core import Array, Batch, Features, Floats, Ints, Learner, State
from retain.errors import PoisonError, SettingError
from retain.learners.linear import smaller
from retain.learners.linear.losses import Hinge, Huber, Loss, Poisson, Quantile, Squared, code, shape
from retain.learners.linear.rows import Rows, arrivals, on_lines, ones, plain, rows_of
from retain.learners.linear.updates import (
    ALMA,
    AROW,
    FTRL,
    SCW,
    SGD,
    Adaptive,
    Coin,
    PassiveAggressive,
    Update,
    plan,
)
from retain.scores import Link, Scores

__all__ = ["Linear"]

_LOG_MOST = 80.0  # of the mean of a count, as in `kernels`
_UNSEEN = (np.inf, -np.inf, 0.0, 0.0, 0.0)  # span of an output that has seen no target


@final
class Linear(Paced, Blending, Scoring):
    """Predicts from a weighted sum of the features, m = w'x + b, and learns the weights one row at a time.

    The loss says what m means and what a good one is, the update how weights move; the defaults need no tuning and no
    scaling. Targets (n, k) make k independent outputs. Rows without a label, or of weight 0, are predicted and not
    learnt.

    Granularity 1: learning a block is learning its rows one by one, bit for bit.

    Width. The width of bare dense arrays is fixed by the first block that is learnt. It may grow to the right, a new
    feature starting at weight 0, once a block that was learnt was sparse (`CSR`), an Arrow record batch, or came with a
    schema, as what encoders put out does: from then on narrower rows are filled up with zeros, wider ones make new
    weights in `learn` and have their unknown features ignored in `predict`.

    Args:
        loss: `Squared()`, `Huber()`, `Quantile()`, `Poisson()` for numbers; `Logistic()`, `Multinomial()`, `Hinge()`
            for classes.
        update: `Adaptive()`, `SGD()`, `FTRL()`, `Coin()`, `NewtonStep()`; for `Hinge()` also `PassiveAggressive()`,
            `AROW()`, `SCW()`, `ALMA()`.
        l1: penalty l1 |w| beside the loss of every row; the bias is exempt. With FTRL it makes weights exactly 0; other
            updates take it, as a proximal step, from the weights of the features that occur (are not 0) in a row.
        l2: penalty l2 w^2 / 2, likewise.
        bias: whether there is b, the weight of a constant feature 1.

    Raises:
        SettingError: a negative penalty, or parts that do not go together.
        PoisonError: from `learn` and `predict`: NaN, Inf, a wrong width or type, a target beyond float32.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(5000, 3)) * [1, 1000, 0.001]
    >>> learner = Linear()
    >>> before = learner.learn(Batch(x, y=x @ [1.0, 0.002, 3000.0] + 5))
    >>> np.allclose(learner.weights, [1.0, 0.002, 3000.0], rtol=0.01)
    True
    """

    def __init__(
        self,
        *,
        loss: Loss = Squared(),  # noqa: B008 - frozen, hence safely shared
        update: Update = Adaptive(),  # noqa: B008
        l1: float = 0.0,
        l2: float = 0.0,
        bias: bool = True,
    ) -> None:
        _check_parts(loss, update, l1=l1, l2=l2)
        self._loss, self._update = loss, update
        self._plan = plan(update)
        self._code = code(loss)
        self._shape = shape(loss)
        settings = (float(bias), l1, l2, *self._plan.settings)
        self._settings = np.array([*settings, *[0.0] * (8 - len(settings))])
        self._pace = 1.0
        self._classes = 0
        self._flat = True  # whether targets are (n,)
        self._width: int | None = None  # features known; None before the first block
        self._growing = False
        self._sparse = not self._plan.transposed
        self._total = np.zeros(4)
        self._span = np.array([_UNSEEN])
        self._store(np.zeros((self._plan.shared + self._plan.own, 0)))
        self._bias = np.zeros(self._plan.shared + self._plan.own)

    @property
    def classes(self) -> int:
        """How many classes are known: the highest code learnt, plus 1."""
        return self._classes

    @property
    def weights(self) -> Floats:
        """The weights: (d,) of a single output, else (outputs, d)."""
        rows = self._weights(self._slots())
        return rows[0] if len(rows) == 1 else rows

    @property
    def intercept(self) -> Floats:
        """b of every output: (outputs,)."""
        return self._weights(self._bias[:, None])[:, 0]

    def learn(self, batch: Batch, /) -> Array:
        """Learn the rows in order; see `retain.core.Learner`."""
        return Linear.abreast((self,), batch)[0]

    def predict(self, x: Features, /) -> Array:
        """Numbers (n,) or (n, outputs), or probabilities (n, classes). Changes nothing."""
        rows = rows_of(x, None if self._growing else self._width)
        if self._shape == "numbers":
            out = np.zeros((rows.n, len(self._span)))
            self._answer(rows, out)
            return out[:, 0] if self._flat else out
        out = np.zeros((rows.n, self._classes))
        if self._classes:
            self._answer(rows, out)
        return out

    def scores(self) -> Scores:
        """What it answers with now; see `retain.scores`. Refused for Coin, whose weights depend on the row."""
        if isinstance(self._update, Coin):
            raise SettingError(
                "Linear with Coin() divides what it answers by how large rows were, this one among them, so that there "
                "is no fixed weight to ship; expected Adaptive, SGD or another update"
            )
        numbers = self._shape == "numbers"
        if self._width is None or not (numbers or self._classes):
            raise SettingError("Linear has learnt nothing yet; learn some rows first")
        slots = self._slots()
        weights, bias = self._weights(slots), self.intercept
        adaptive = isinstance(self._update, Adaptive)
        reach = slots[0] if adaptive else None
        if not numbers:
            steep = 2.0 if isinstance(self._loss, Hinge) else 1.0
            if self._classes == 1:  # is certain
                return Scores(0.0 * weights, 0.0 * bias, "softmax")
            link: Link = "softmax" if self._shape == "softmax" else "odds" if self._classes == 2 else "rest"
            return Scores(steep * weights, steep * bias, link, reach=reach)
        low, high = self._bounds(adaptive=adaptive)
        link = "exp" if isinstance(self._loss, Poisson) else "numbers"
        return Scores(weights, bias, link, self._flat, low, high, reach)

    def _bounds(self, *, adaptive: bool) -> tuple[Floats | None, Floats | None]:
        """Between which margins of numbers are held (k,), as kernels do."""
        low, high = self._span[:, 0], self._span[:, 1]
        if isinstance(self._loss, Poisson):
            most = np.full(len(high), _LOG_MOST)
            np.log(high, out=most, where=adaptive & (high > 0))
            return None, np.minimum(most, _LOG_MOST)
        if not adaptive or not isinstance(self._loss, (Squared, Quantile, Huber)):
            return None, None
        known = low <= high
        return np.where(known, low, -np.inf), np.where(known, high, np.inf)

    def effects(self) -> Floats:
        """(outputs, d) what each weight moves, by how often and how strongly its feature came: see `smaller`."""
        return smaller.effects(self._slots(), self._update)

    def truncated(self, gone: Array, /) -> Linear:
        """A copy in which the weights are 0 that are `gone` (outputs, d); what it learns may bring them back."""
        return self._having(smaller.truncated(self._slots(), gone, self._update, l1=self._settings[1]))

    def folded(self, width: int, /) -> Linear:
        """A copy of so many features: what was learnt of feature i counts for feature i mod width from now on."""
        if self._width is None:
            raise SettingError("Linear has learnt nothing yet, so that nothing can be folded; let it learn first")
        l1, l2 = self._settings[1:3]
        return self._having(smaller.folded(self._slots(), width, self._update, l1=l1, l2=l2))

    def _having(self, slots: Floats) -> Linear:
        """A copy that remembers these of its features."""
        other = deepcopy(self)
        other._width = slots.shape[1]
        other._store(slots)
        return other

    def pace(self, factor: float, /) -> None:
        """Multiply the learning rate, of SGD and Adaptive; the other updates find their own."""
        if not isinstance(self._update, (SGD, Adaptive)) or not 0 < factor < float("inf"):
            raise SettingError(
                f"{self._update} cannot be paced by {factor}; expected SGD or Adaptive, and a factor > 0"
            )
        self._repace(self._pace * factor)

    def blend(self, other: Learner, share: float, /) -> None:
        """Mix the weights with those of another linear learner of the same loss and update."""
        fits = isinstance(other, Linear) and (other._update, other._loss) == (self._update, self._loss)
        if not fits or not isinstance(other, Linear) or isinstance(self._update, (Coin, FTRL, ALMA)):
            raise SettingError(
                f"a linear learner with {self._update} cannot be blended with this {type(other).__name__}; expected "
                "the same update of both, and not Coin, FTRL or ALMA, whose weights follow from sums"
            )
        if other._span.shape != self._span.shape:
            raise SettingError(
                "linear learners of other numbers of outputs cannot be blended; expected the same classes"
            )
        slots, theirs = self._slots(), other._slots()
        wide = max(slots.shape[1], theirs.shape[1])
        slots, theirs = (np.pad(part, ((0, 0), (0, wide - part.shape[1]))) for part in (slots, theirs))
        rows = slice(self._plan.shared, None, self._plan.own)
        slots[rows] += share * (theirs[rows] - slots[rows])
        self._bias[rows] += share * (other._bias[rows] - self._bias[rows])
        self._width = wide if self._width is not None or other._width is not None else None
        self._store(slots)

    def state_dict(self) -> State:
        return {
            "pace": self._pace,
            "classes": self._classes,
            "flat": self._flat,
            "width": self._width,
            "growing": self._growing,
            "sparse": self._sparse,
            "slots": self._slots(),
            "bias": self._bias.copy(),
            "total": self._total.copy(),
            "span": self._span.copy(),
        }

    def load_state_dict(self, state: State, /) -> None:
        self._repace(state["pace"])
        self._classes, self._flat = state["classes"], state["flat"]
        self._width, self._growing, self._sparse = state["width"], state["growing"], state["sparse"]
        self._bias, self._total, self._span = (state[name].copy() for name in ("bias", "total", "span"))
        self._store(state["slots"])

    @staticmethod
    def alike(learners: Sequence[Learner], /) -> tuple[Linear, ...] | None:
        """The learners, if all are linear and of one kind of target, so that they can go `abreast`; else None."""
        members = tuple(learner for learner in learners if isinstance(learner, Linear))
        kinds = {member._shape == "numbers" for member in members}
        return members if len(members) == len(learners) and len(kinds) == 1 else None

    @staticmethod
    def abreast(members: Sequence[Linear], batch: Batch, /) -> Array:
        """Every member learns the rows: (M, n) or (M, n, k), what `learn` of each returns, filled up with zeros.

        Rows are checked and brought into the form that kernels read once, not by each; all members learn, or none.
        """
        n = len(batch)
        named = batch.schema is not None or not isinstance(batch.x, np.ndarray)
        widths = {None if named or member._growing else member._width for member in members}
        rows, *_ = (rows_of(batch.x, width) for width in widths)  # one, unless members learnt other rows elsewhere
        weight = (
            ones(n)
            if batch.weight is None
            else blocks.bounded(blocks.weights(batch.weight, n, reader="Linear"), "weight", reader="Linear")
        )
        if members[0]._shape == "numbers":
            y = None if batch.y is None else blocks.numbers(batch.y, n, reader="Linear")
            y = None if y is None else blocks.bounded(y, "target", reader="Linear")
            targets = [member._targets(y, n) for member in members]
            for member in members:
                member._admit(rows, growing=named)
            return np.stack([m._learn_numbers(rows, own, weight) for m, own in zip(members, targets, strict=True)])
        codes = blocks.codes(batch.y, n, reader="Linear")
        classes = max(member._classes for member in members)
        if codes.max(initial=-1) >= classes:
            classes = max(classes, int(np.where(weight > 0, codes, -1).max()) + 1)
        out = np.zeros((len(members), n, classes))
        for member, said in zip(members, out, strict=True):
            member._admit(rows, growing=named)
            member._learn_classes(rows, codes, weight, said)
        return out

    # --- learning ---

    def _repace(self, pace: float) -> None:
        match self._update:
            case Adaptive(rate, _):
                self._settings[3] = pace * rate
            case SGD(rate, _):
                self._settings[4] = pace * rate
            case _:
                return
        self._pace = pace

    def _learn_numbers(self, rows: Rows, y: Floats, weight: Floats) -> Array:
        if y.ndim == 2 and self._flat:
            self._flat = False
            self._extend(y.shape[1])
        out = np.zeros((rows.n, len(self._span)))
        self._run(rows, y if y.ndim == 2 else y[:, None], weight, out)
        return out[:, 0] if self._flat else out

    def _learn_classes(self, rows: Rows, codes: Ints, weight: Floats, out: Array) -> None:
        """Fill out (n, K), zeros so far, K at least the number of classes known in the end."""
        y = codes.astype(np.float64)[:, None]
        start = 0
        if codes.max(initial=-1) >= self._classes:
            known = np.where(weight > 0, codes, -1)  # of rows that are learnt
            for i in arrivals(known, self._classes):
                self._run(rows.part(start, i), y[start:i], weight[start:i], out[start:i])
                answer = np.zeros_like(out[i : i + 1])
                if self._classes:
                    self._answer(rows.part(i, i + 1), answer)  # row i is predicted before its class is known ...
                self._arrive(int(known[i]) + 1)
                self._run(rows.part(i, i + 1), y[i : i + 1], weight[i : i + 1], out[i : i + 1])
                out[i] = answer  # ... and learnt after
                start = i + 1
        self._run(rows.part(start, rows.n), y[start:], weight[start:], out[start:])

    def _arrive(self, classes: int) -> None:
        before, self._classes = self._classes, classes
        if self._shape == "softmax":
            self._extend(classes)
        elif classes > 2:
            self._extend(classes, negate=before in (1, 2))  # one output; of one class it says what class 1 would be

    def _run(self, rows: Rows, y: Floats, weight: Floats, out: Array) -> None:
        """One compiled pass over rows that have passed all checks; out (n, K) takes the predictions."""
        if not rows.n or not out.shape[1]:
            return
        if self._sparse and self._plan.transposed:
            rows = rows.sparse()
        columns = len(self._span) if self._shape == "numbers" else self._classes
        name = self._plan.sparse if self._sparse else self._plan.dense
        kernel = _kernel(self._plan.file, name, self._code[0], len(self._span) == 1)
        state = (self._cells, self._bias, self._total, self._span)
        labels = plain(y, np.float64), plain(weight, np.float64)
        loss = self._code[1], self._settings
        kernel(rows.values, rows.indptr, rows.indices, rows.d, *labels, *state, out, columns, *loss)

    def _answer(self, rows: Rows, out: Array) -> None:
        rows = rows.within(self._width or 0)
        if rows.d < 0 and not self._sparse:  # sparse rows for weights learnt from dense ones
            rows = rows.dense(self._width or 0)
        self._run(rows, np.full((rows.n, 1), np.nan), ones(rows.n), out)

    # --- memory: cells (D, C) where sparse, (C, D) where dense, D >= width; C slots as in `kernels` ---

    def _slots(self) -> Floats:
        """A copy of what is remembered of the known features: (C, width)."""
        width = self._width or 0
        return (self._cells[:width].T if self._sparse else self._cells[:, :width]).copy(order="C")

    def _store(self, slots: Floats) -> None:
        self._cells = on_lines(slots.T if self._sparse else slots)

    def _weights(self, slots: Floats) -> Floats:
        if isinstance(self._update, Coin):
            return _bets(slots, self._update, len(self._span), self._total)
        if isinstance(self._update, ALMA):
            return _primal(slots, self._update.p, self._span)
        return slots[self._plan.shared :: self._plan.own].copy()

    def _admit(self, rows: Rows, *, growing: bool) -> None:
        """Make room for rows that have passed all checks."""
        self._growing |= growing
        if rows.d < 0 and not self._sparse:
            slots = self._slots()
            self._sparse = True
            self._store(slots)
        self._width = max(self._width or 0, rows.width)
        axis = 0 if self._sparse else 1
        room = self._cells.shape[axis]
        if self._width > room:
            # Doubling keeps the total cost of growth proportional to the final width.
            padding = [(0, 0), (0, 0)]
            padding[axis] = (0, max(self._width, 2 * room) - room)
            self._cells = on_lines(np.pad(self._cells, padding))

    def _extend(self, outputs: int, *, negate: bool = False) -> None:
        """Add outputs with weights 0; `negate`: the only output becomes the second, and its negative the first."""
        shared, own = self._plan.shared, self._plan.own
        old = np.concatenate([self._slots(), self._bias[:, None]], axis=1)
        new = np.zeros((shared + outputs * own, old.shape[1]))
        new[: len(old)] = old
        if negate:
            new[shared + own : shared + 2 * own] = old[shared:]
            new[[shared + slot for slot in self._plan.odd]] *= -1.0
        self._span = np.concatenate([self._span, np.tile(_UNSEEN, (outputs - len(self._span), 1))])
        if negate:
            self._span[1] = self._span[0]
        self._bias = new[:, -1].copy()
        self._store(new[:, :-1])

    def _targets(self, y: Floats | None, n: int) -> Floats:
        """Numbers that passed the checks of every learner, as those of this one."""
        if y is None:
            return np.full(n if self._flat else (n, len(self._span)), np.nan)
        if isinstance(self._loss, Poisson) and (y < 0).any():
            row = int(np.argwhere(y < 0)[0][0])
            raise PoisonError(f"Linear got the target {y[row]} in row {row}; Poisson() expects counts >= 0")
        learnt = not self._flat or self._total[0] > 0
        known = () if self._flat else (len(self._span),)
        if y.ndim > 2 or (learnt and y.shape[1:] != known):
            raise PoisonError(
                f"Linear got targets of shape {y.shape}; expected {(n, *known)}: keep the number of outputs"
            )
        return y


def _bets(slots: Floats, update: Coin, outputs: int, total: Floats) -> Floats:
    """The weights that coin betting's slots stand for; see `kernels.coin_dense`."""
    scale = np.where(slots[0] > 0, slots[0], 1.0)
    per = slots[1:].reshape(outputs, 4, -1)
    bound = per[:, 3] * scale
    with np.errstate(divide="ignore", invalid="ignore"):
        bets = (update.wealth + per[:, 2]) / (bound * (bound + per[:, 1])) * per[:, 0]
    return np.where(bound > 0, bets, 0.0) * (total[0] / (total[1] + 1e-6) if total[0] else 1.0)


def _primal(dual: Floats, p: float, span: Floats) -> Floats:
    """The weights (R, D) that ALMA's duals stand for; see `margin_kernels.alma`."""
    size = span[:, 3:4] ** ((p - 2.0) / p) * (1.0 + span[:, 4:5])
    return np.divide(np.sign(dual) * np.abs(dual) ** (p - 1.0), size, out=np.zeros_like(dual), where=size > 0)


@cache
def _kernel(file: str, name: str, loss: int, single: bool) -> Any:  # noqa: FBT001
    """A compiled kernel; numba is loaded when the first row arrives."""
    return getattr(import_module(f"retain.learners.linear.{file}"), name)(loss, single)


def _check_parts(loss: Loss, update: Update, *, l1: float, l2: float) -> None:
    for name, value in (("l1", l1), ("l2", l2)):
        if not 0 <= value < float("inf"):
            raise SettingError(f"Linear got {name}={value}; expected a number >= 0")
    if (l1 or l2) and not isinstance(update, (SGD, Adaptive, FTRL)):
        raise SettingError(
            f"Linear got l1={l1}, l2={l2} and {update}, which has no penalties; use SGD, Adaptive or FTRL"
        )
    if isinstance(update, (AROW, SCW, ALMA)) and not isinstance(loss, Hinge):
        raise SettingError(f"Linear got {update} and {loss}; expected Hinge(): margins are what it looks at")
    if isinstance(update, PassiveAggressive) and not isinstance(loss, (Hinge, Quantile)):
        raise SettingError(
            f"Linear got {update} and {loss}; expected Hinge() or Quantile(): a loss that can be 0 on a row"
        )
