"""`Neural`: any torch module as a learner that goes on learning.

Shapes: n rows, k outputs, p parameters, g rows of a mini-batch.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from threading import RLock
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from retain.blocks import concat_batches, labelled
from retain.compose import Blending, Consolidating, Kept, LateLearner, Paced
from retain.core import (
    Array,
    Averaging,
    Batch,
    Features,
    Forward,
    Head,
    Ints,
    Learner,
    Model,
    Projection,
    Rows,
    State,
    Strategy,
)
from retain.errors import SettingError
from retain.learners.neural import intake, optimiser
from retain.learners.neural.answers import Answers, unshared, viewing
from retain.learners.neural.criteria import Criterion, CrossEntropy
from retain.learners.neural.descent import Descent, flushing
from retain.learners.neural.network import Network
from retain.learners.neural.picking import breaks, index, owned
from retain.learners.neural.weights import Weights
from retain.rows import from_array, from_state, join, take, to_array, to_state
from retain.strategies.addend import Addend, Carry, Reshaping

__all__ = ["Neural"]

_KEEP_EVERY = 256  # steps between copies of weights that are known to be good
_PATIENCE = 8  # steps skipped in a row before the copy returns
_MOST_CLASSES = 100_000  # a larger code is a key that went astray, and would ask for a head of as many outputs
_SUSPECTS = 512  # rows of skipped steps that are kept to be looked at
_DRAWING = RLock()  # whose holder draws from the generators of torch


@final
class Neural(LateLearner, Consolidating, Paced, Blending):
    """A torch module that learns a step for every `batch_size` labelled rows, as the labels land.

    A step makes one forward pass over the new rows and all that strategies add, adds up the losses, goes back through
    the module once, lets strategies pull at the weights and the projection change the gradient, and steps the
    optimiser. The remainder of a block waits in the state, so that any split gives the same steps: weights are equal
    bit for bit, predictions up to the rounding of matrix products of other sizes (1e-5 relative). How often rows are
    gone through is for the loop to say.

    `learn` returns what was predicted before each step; for modules that do the same in training and evaluation that
    is the step's own forward pass. A class that is new gives the last `nn.Linear` one more output. A step whose loss or
    gradient is not finite is skipped: nothing has changed, its rows are in `suspects`; after 8 in a row the last good
    weights return.

    Args:
        module: rows (n, ...) to outputs (n, k); its parameters are trained in place.
        criterion: what is made small.
        optimizer: built for the module's parameters; Adam with a rate of 1e-3 if None.
        strategies: addends of the loss, see `retain.strategies`.
        projection: what is done to the gradient before the step.
        averaging: other weights to predict with.
        head: how outputs become answers.
        batch_size: labelled rows of a step, g.
        classes: how many there are, if that is known: labels beyond are refused. If None the module grows with them.
        task_masks: where rows come with a task, let only classes that occurred in that task compete.
        compiled: go through the module by `torch.compile`.
        seed: of what the module itself draws (dropout).

    Raises:
        SettingError: an optimiser built for other parameters, two strategies of one name or with one memory, a module
            without parameters.

    >>> import numpy as np, retain as rt
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(3000, 2)).astype(np.float32)
    >>> learner = rt.Neural(rt.neural.MLP(2, 32, 2), batch_size=10)
    >>> said = learner.learn(rt.Batch(x, y=(x[:, 0] * x[:, 1] > 0).astype(int)))
    >>> learner.predict(np.array([[1, 1], [-1, 1]], dtype=np.float32)).argmax(axis=1)
    array([1, 0])
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        criterion: Criterion | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        strategies: Sequence[Strategy] = (),
        projection: Projection | None = None,
        averaging: Averaging | None = None,
        head: Head | None = None,
        batch_size: int = 32,
        classes: int | None = None,
        task_masks: bool = False,
        compiled: bool = False,
        seed: int = 0,
    ) -> None:
        if batch_size < 1:
            raise SettingError(f"Neural got batch_size={batch_size}; expected at least 1")
        names = [strategy.name for strategy in strategies]
        if len(set(names)) < len(names):
            raise SettingError(f"two strategies are called alike, {sorted(names)}; give one another name=")
        unshared([*strategies, *(part for part in (projection, head) if part is not None)])
        self._said_by = Answers.of(strategies, averaging, head, task_masks=task_masks)
        self._net = Network(module, criterion or CrossEntropy(), compiled=compiled, view=viewing(strategies))
        self._optimizer = optimizer or torch.optim.Adam(self._net.layout.parameters, lr=1e-3, fused=True)
        optimiser.check(self._optimizer, self._net.layout.parameters)
        self._descent = Descent(self._optimizer, self._net.layout)
        self.strategies = tuple(sorted(strategies, key=lambda strategy: strategy.name))
        # Most say nothing of the weights: whoever comes before such a one need not write its own pull down.
        self._pulling = tuple(strategy for strategy in self.strategies if type(strategy).pull is not Addend.pull)
        self.projection, self.averaging, self.head = projection, averaging, head
        self.batch_size, self._most = batch_size, classes
        self._task_masks, self._compiled = task_masks, compiled
        self._intake = intake.Intake(module, self._net.criterion)
        self._random = torch.Generator().manual_seed(seed).get_state()
        self._drawn: Tensor | None = None  # the same of the device's generator, once it has drawn
        self._waiting: Rows | None = None
        self._fixed: int | None = None  # outputs of a module that does not end with a linear layer; 0 where it grows
        self._known = 0  # classes whose labels have landed; those of rows that wait have not been learnt
        self.steps = 0
        self.skipped = 0
        self._bad = 0  # steps skipped in a row
        self._good = self._net.weights.clone()
        self._suspects: Rows | None = None

    @property
    def module(self) -> nn.Module:
        """The module that is trained."""
        return self._net.module

    @property
    def model(self) -> Model:
        """What strategies and memories see of this learner."""
        return self._net

    def example(self, rows: int, /) -> Tensor:
        """Rows of zeros as the module takes them (rows, ...). Raises SettingError before any row was seen."""
        if self._net.criterion.classes and not self._net.classes:
            raise SettingError("the learner has learnt no class yet; learn labelled rows first")
        return self._intake.example(rows)

    def serving(self) -> dict[str, Tensor]:
        """The module's state as predictions use it: averaged weights, where these are what answers, or rounded ones."""
        net = self._net
        state = dict[str, Tensor](net.module.state_dict())
        weights = net.seen_of(self._said_by.weights(net))
        if weights is net.weights:
            return state
        of = {p.data_ptr(): value for p, value in zip(net.layout.parameters, net.layout.views(weights), strict=True)}
        return {name: of.get(tensor.data_ptr(), tensor) for name, tensor in state.items()}  # tied weights are one

    @property
    def suspects(self) -> Rows | None:
        """Rows of the latest steps that were skipped, because a loss or a gradient was not finite."""
        return self._suspects

    # ------------------------------------------------------------------------------------------------------- learning

    def learn(self, batch: Batch, /) -> Array:
        rows = np.flatnonzero(labelled(batch.y, len(batch)))
        pool = self._taken(batch, batch.y)
        return self._answers(self._run(pool, slice(0, len(batch)), rows, rows + 1), flat=self._intake.flat)

    def flow(self, arrivals: Batch, due: Kept | None, due_y: Array, order: Ints, /) -> tuple[Array, Kept]:
        """As `retain.compose.LateLearner.flow`: rows are predicted when they arrive, and once only."""
        view = replace(arrivals, y=None)
        before = 0 if due is None else len(due)
        pool = self._taken(view if due is None else concat_batches([due.views[0], view]), due_y)
        landing = np.flatnonzero(order < 0)
        arrived = np.cumsum(order >= 0, dtype=np.int64)[landing]
        said = self._run(pool, slice(before, before + len(arrivals)), ~order[landing], arrived)
        return self._answers(said, flat=self._intake.flat), Kept((view,))

    def meet(self, arrivals: Batch, /) -> tuple[Array, Kept]:
        return self.predict(arrivals.x, task=arrivals.task), Kept((replace(arrivals, y=None),))

    def predict(self, x: Features, /, *, task: Array | None = None) -> Array:
        """Probabilities (n, k), or numbers (n,) or (n, k). Changes nothing.

        With `task_masks`, `task` (n,) says which task each row belongs to: only its classes compete.
        """
        tensor = self._intake.rows(x)
        self._width(tensor)
        where = None if task is None else self._intake.tasks(task, len(tensor))
        return self._answers(self._padded(self._said_by.scores(self._net, tensor, where)), flat=self._intake.flat)

    def features(self, x: Features, /) -> Array:
        """What the last linear layer is given for rows (n, d) float32. Changes nothing."""
        tensor = self._intake.rows(x)
        self._width(tensor)
        return self._net.features(tensor).float().cpu().numpy()

    def _taken(self, batch: Batch, y: Array | None) -> Rows:
        """A block as rows on the module's device, every bit of it checked before anything changes."""
        x = self._intake.rows(batch.x)
        outputs = self._width(x)
        most = self._most if self._most is not None else self._fixed or _MOST_CLASSES
        task = batch.task if self._task_masks else None
        rows = self._intake.take(batch, x, y, task=task, outputs=outputs, most=most)
        self._intake.keep(x, y)
        return rows

    def _width(self, x: Tensor) -> int:
        """How many outputs the module has now; rows of a shape that was not seen before are tried on it."""
        if self._fixed is None or not self._intake.seen:
            outputs = self._net.width(x[:1] if len(x) else x.new_zeros((1, *x.shape[1:])))
            self._fixed = 0 if outputs == self._net.layout.outputs else outputs
        return self._fixed or self._net.layout.outputs or 0

    def _run(self, pool: Rows, arrivals: slice, landing: Ints, arrived: Ints) -> Tensor:
        """Rows arrive and labels land; label j is that of row `landing[j]` and lands after `arrived[j]` arrivals.

        Returns scores (arrivals, k) with minus infinity for a class that was not yet known.
        """
        n, first = arrivals.stop - arrivals.start, arrivals.start
        gaps = breaks(landing)
        said: list[Tensor] = []
        done = start = 0
        if self._net.criterion.classes and len(landing):
            self._known = max(self._known, int(pool.y[torch.from_numpy(landing)].max()) + 1)
        with self._lent():
            while True:
                waiting = 0 if self._waiting is None else len(self._waiting)
                stop = start + self.batch_size - waiting
                if stop > len(landing):
                    break
                run = gaps[stop - 1] == gaps[start]
                new = take(pool, index(landing[start:stop], pool.y.device, run=run))
                reach = int(arrived[stop - 1])
                own = not waiting and reach - done == len(new) and landing[start] == first + done
                if self._waiting is not None:
                    new, self._waiting = join([self._waiting, new]), None
                # Rows that arrive and land together and alone are predicted by the pass that learns them.
                if own and run and self._plain():
                    said.append(self._step(new, tell=True))
                else:
                    if reach > done:
                        said.append(self._said_of(pool, first + done, first + reach))
                    self._step(new, tell=False)
                done, start = reach, stop
            if n > done:
                said.append(self._said_of(pool, first + done, first + n))
            if start < len(landing):
                rest = take(pool, index(landing[start:], pool.y.device, run=gaps[-1] == gaps[start]))
                rest = owned(rest)
                self._waiting = rest if self._waiting is None else join([self._waiting, rest])
        return torch.cat([self._padded(part) for part in said]) if said else self._padded(pool.x.new_zeros((0, 0)))

    def _plain(self) -> bool:
        """Whether what the module says in a step is its prediction."""
        return self._net.steady and self._said_by.plain

    def _said_of(self, pool: Rows, start: int, stop: int) -> Tensor:
        task = pool.extra.get("task")
        task = None if task is None else task[start:stop]
        return self._said_by.scores(self._net, pool.x[start:stop], task)

    def _padded(self, scores: Tensor) -> Tensor:
        """Scores with a column for every known class."""
        missing = self._known - scores.shape[1]
        return nn.functional.pad(scores, (0, missing), value=-torch.inf) if missing > 0 else scores

    def _answers(self, scores: Tensor, *, flat: bool) -> Array:
        """Scores as predictions: probabilities, or numbers."""
        if not self._net.criterion.classes:
            answer = scores.float().cpu().numpy()
            return answer[:, 0] if flat and answer.shape[1] == 1 else answer
        scores = scores.float()
        # Before any class was learnt every score is minus infinity, and so is their difference.
        return torch.softmax(scores, 1).nan_to_num_(0.0).cpu().numpy()

    # ---------------------------------------------------------------------------------------------------- single steps

    def _step(self, new: Rows, *, tell: bool) -> Tensor:
        """One step; returns the scores that the new rows had before it, if they are to be told."""
        net = self._net
        classes = self._reach(new)
        self._grow(classes)
        buffers = [buffer.clone() for buffer in net.buffers]
        asked = [strategy.rows(new) for strategy in self.strategies]
        parts = [new, *(rows for rows in asked if rows is not None)]
        x = torch.cat([part.x for part in parts]) if len(parts) > 1 else new.x
        output = net.through.forward(x)
        first = Forward(new, output[: len(new)])
        told = net.scores(first.output, new.extra.get("task")) if tell else first.output
        net.meet(new, classes)  # what was told of the rows knows nothing of their labels
        loss, slope = self._slopes(output, first, asked)
        gradient = net.layout.gradient
        ceiling = net.through.backward(slope, gradient)
        if not math.isfinite(self._pulled(loss, gradient, ceiling)):
            self._descent.drop()
            self._skip(new, buffers)
            return told
        self._descent.step()
        for part in self._parts():
            part.stepped(net, first)
        self.steps += 1
        self._bad = 0
        if self.steps % _KEEP_EVERY == 0:
            self._good = net.weights.clone()
        return told

    def _reach(self, new: Rows) -> int:
        """Classes up to the last that the rows are of; all that were learnt where no label that landed is beyond."""
        if not self._net.criterion.classes:
            return 0
        return self._net.classes if self._known <= self._net.classes else int(new.y.max()) + 1

    def _pulled(self, loss: Tensor, gradient: Tensor, ceiling: float) -> float:
        """Let strategies pull and the projection change the gradient, no longer than the root of `ceiling`.

        Returns what is finite only if the loss is, and all that the step will follow; a squared length beyond the
        largest float counts as not finite.
        """
        descent = self._descent
        changed = self.projection is not None or len(self._pulling) > 1
        descent.renew()
        for strategy in self._pulling:
            descent.settle()  # who comes next sees what came before
            spring = strategy.pull(self._net, gradient)
            descent.hold(spring)
            changed = changed or spring is None
            if spring is not None and spring.square is not None:
                ceiling = spring.square
        if self.projection is not None:
            descent.settle()
            self.projection.project(self._net, gradient)
        if changed or not math.isfinite(ceiling):
            return (loss + gradient.dot(gradient)).item() + descent.held  # a device is waited for once
        return loss.item() + ceiling + descent.held

    def _slopes(self, output: Tensor, first: Forward, asked: Sequence[Rows | None]) -> tuple[Tensor, Tensor]:
        """The loss, and its gradient by all outputs of the step's forward pass."""
        net, n = self._net, len(first.rows)
        loss, by_new = net.slope(first, incoming=True)
        if not self.strategies:
            return loss, by_new
        slope = torch.zeros_like(output)
        slope[:n] = by_new
        start = n
        for strategy, rows in zip(self.strategies, asked, strict=True):
            stop = start + (0 if rows is None else len(rows))
            addend = strategy.slope(net, first, own=None if rows is None else Forward(rows, output[start:stop]))
            if addend is not None:
                loss = loss + addend.loss
                if addend.new is not None:
                    slope[:n] += addend.new
                if addend.own is not None:
                    slope[start:stop] = addend.own
            start = stop
        return loss, slope

    def _parts(self) -> list[Strategy | Projection | Averaging | Head]:
        """All that wants to know of steps and of the ends of experiences, in the order in which they are told."""
        slots = (self.projection, self.averaging, self.head)
        return [*self.strategies, *(slot for slot in slots if slot is not None)]

    def _grow(self, classes: int) -> None:
        layout = self._net.layout
        if layout.outputs is None or classes <= layout.outputs:
            return
        before = [p.shape for p in layout.parameters]
        layout.resize(classes)
        optimiser.grow(self._optimizer, layout.parameters, before)
        self._good = layout.widen(self._good)

    def _skip(self, new: Rows, buffers: Sequence[Tensor]) -> None:
        """Nothing was learnt of these rows: keep them to be looked at; after too many, the last good weights return."""
        for buffer, value in zip(self._net.buffers, buffers, strict=True):
            buffer.copy_(value)
        self.skipped += 1
        self._bad += 1
        kept = owned(replace(new, extra={}))
        rows = kept if self._suspects is None else join([self._suspects, kept])
        self._suspects = take(rows, slice(max(len(rows) - _SUSPECTS, 0), None))
        if self._bad >= _PATIENCE:
            self._net.weights.copy_(self._good)
            optimiser.forget(self._optimizer)
            self._bad = 0

    @contextmanager
    def _lent(self) -> Generator[None]:
        """Training mode; what the module draws comes from the learner's own generator."""
        self._descent.renew(sure=False)  # nobody knows what was done to the weights in between
        with flushing():
            if self._net.steady:
                try:
                    yield
                finally:
                    self._net.release()
                return
            self._net.module.train()
            device = self._net.weights.device
            # torch's generators are everybody's: of learners side by side in threads, one at a time draws from them.
            with _DRAWING, torch.random.fork_rng(devices=[device.index] if device.type == "cuda" else []):
                torch.set_rng_state(self._random)
                if device.type == "cuda":
                    if self._drawn is None:  # the device's generator begins where the other says
                        torch.cuda.manual_seed(int(torch.randint(2**62, ())))
                    else:
                        torch.cuda.set_rng_state(self._drawn, device)
                try:
                    yield
                finally:
                    self._net.release()
                self._random = torch.get_rng_state()
                if device.type == "cuda":
                    self._drawn = torch.cuda.get_rng_state(device)

    # --------------------------------------------------------------------------------------- the ends of experiences

    def consolidate(self, experience: Iterable[Batch], /) -> None:
        """A shorter step for what waits, then everyone is told: strategies, projection, averaging, head."""
        with self._lent():
            if self._waiting is not None:
                new, self._waiting = self._waiting, None
                self._step(new, tell=False)
            with self._net.evaluating():
                for part in self._parts():
                    part.consolidate(self._net, _Labelled(experience, self))
            self._good = self._net.weights.clone()  # the last copy may not be what strategies hold on to now

    def pace(self, factor: float, /) -> None:
        """Multiply the learning rate of every group of the optimiser."""
        if not 0 < factor < math.inf:
            raise SettingError(f"the learning rate cannot be multiplied by {factor}; expected a finite number > 0")
        for group in self._optimizer.param_groups:
            group["lr"] *= factor

    def blend(self, other: Learner, share: float, /) -> None:
        """Mix the trained weights with those of another learner of the same module; it may know fewer classes."""
        layout = self._net.layout
        if not isinstance(other, Neural) or not layout.fits(other._net.layout):  # noqa: SLF001 - its own kind
            raise SettingError("a neural learner can be blended with one of the same module only, of no more classes")
        with torch.no_grad():
            layout.flat.lerp_(layout.widen(other._net.weights).to(layout.flat), share)  # noqa: SLF001

    def labelled(self, batch: Batch, /) -> Rows:
        """The rows of a block that have labels, on the module's device; every row of the block is checked."""
        rows = np.flatnonzero(labelled(batch.y, len(batch)))
        pool = self._taken(batch, batch.y)
        gaps = breaks(rows)
        return take(pool, index(rows, pool.y.device, run=bool((gaps == gaps[:1]).all())))

    # ------------------------------------------------------------------------------------------------- another module

    def like(
        self,
        module: nn.Module,
        /,
        *,
        optimizer: torch.optim.Optimizer | None = None,
        strategies: Sequence[Strategy] = (),
        projection: Projection | None = None,
        averaging: Averaging | None = None,
        head: Head | None = None,
    ) -> Neural:
        """A learner of these settings that has met the same classes, around another module and with other parts."""
        other = Neural(
            module,
            criterion=self._net.criterion,
            optimizer=optimizer,
            strategies=strategies,
            projection=projection,
            averaging=averaging,
            head=head,
            batch_size=self.batch_size,
            classes=self._most,
            task_masks=self._task_masks,
            compiled=self._compiled,
        )
        other._net.classes, other._net.seen = self._net.classes, self._net.seen.clone()
        other._intake.load_state_dict(self._intake.state_dict())
        other._known, other._fixed = self._known, self._fixed
        other._random, other._drawn = self._random, self._drawn
        return other

    def reshaped(self, module: nn.Module, /, *, kept: Tensor | None = None) -> Neural:
        """This learner with another module in its place, for the same rows and outputs; this one stays as it was.

        Parts are copied: memories keep their rows, and what they keep of weights follows (see
        `retain.strategies.addend.Reshaping`). The optimiser is of the same class and settings, and remembers what it
        did of weights that were kept.

        Args:
            module: its parameters will be trained in place.
            kept: (q,) which of this module's trained weights each of the other's was, counted through all parameters,
                -1 for one that was none of them; all are new if None.

        Raises:
            SettingError: parameters that this module has nothing like, or `kept` of another length.
        """
        layout = Weights(module)
        count = len(layout.flat)
        number = torch.full((count,), -1, device=layout.flat.device) if kept is None else kept.to(layout.flat.device)
        if number.shape != (count,) or int(number.max()) >= len(self._net.weights):
            raise SettingError(
                f"the module has {count} trained weights, and kept says of {tuple(number.shape)} which of "
                f"{len(self._net.weights)} they were, the last being {int(number.max())}; give one number for each"
            )
        slots = deepcopy((self.strategies, self.projection, self.averaging, self.head))
        other = self.like(
            module,
            optimizer=optimiser.moved(self._optimizer, self._net.layout, layout, number),
            strategies=slots[0],
            projection=slots[1],
            averaging=slots[2],
            head=slots[3],
        )
        other._waiting, other._suspects = self._waiting, self._suspects  # noqa: SLF001 - its own kind
        other.steps, other.skipped = self.steps, self.skipped
        carry = Carry(self._net, number)
        for part in other._parts():  # noqa: SLF001 - as above
            if isinstance(part, Reshaping):
                part.reshaped(other.model, carry)
        return other

    # ---------------------------------------------------------------------------------------------------------- state

    def state_dict(self) -> State:
        net = self._net
        slots = {"projection": self.projection, "averaging": self.averaging, "head": self.head}
        return {
            "module": {name: to_array(tensor) for name, tensor in net.module.state_dict().items()},
            "outputs": net.layout.outputs,
            "classes": net.classes,
            "seen": to_array(net.seen),
            "optimizer": optimiser.to_state(self._optimizer),
            "random": to_array(self._random),
            "drawn": None if self._drawn is None else to_array(self._drawn),
            "intake": self._intake.state_dict(),
            "waiting": None if self._waiting is None else to_state(self._waiting),
            "known": self._known,
            "counts": [self.steps, self.skipped, self._bad],
            "good": to_array(self._good),
            "suspects": None if self._suspects is None else to_state(self._suspects),
            "strategies": {strategy.name: strategy.state_dict() for strategy in self.strategies},
            **{name: None if slot is None else slot.state_dict() for name, slot in slots.items()},
        }

    def load_state_dict(self, state: State, /) -> None:
        net = self._net
        device = net.weights.device
        if state["outputs"] is not None:
            net.layout.resize(state["outputs"])
        net.module.load_state_dict({name: from_array(entry) for name, entry in state["module"].items()})
        net.classes, net.seen = state["classes"], from_array(state["seen"], device=device)
        optimiser.from_state(self._optimizer, state["optimizer"])
        self._random = from_array(state["random"], device="cpu")
        self._drawn = None if state["drawn"] is None else from_array(state["drawn"], device="cpu")
        self._intake.load_state_dict(state["intake"])
        self._waiting = None if state["waiting"] is None else from_state(state["waiting"], device=device)
        self._known = state["known"]
        self.steps, self.skipped, self._bad = state["counts"]
        self._good = from_array(state["good"], device=device)
        self._suspects = None if state["suspects"] is None else from_state(state["suspects"], device=device)
        with device:  # what they keep lies where the module does
            for strategy in self.strategies:
                strategy.load_state_dict(state["strategies"][strategy.name])
            for name, slot in (("projection", self.projection), ("averaging", self.averaging), ("head", self.head)):
                if slot is not None:
                    slot.load_state_dict(state[name])


@final
@dataclass(frozen=True, slots=True)
class _Labelled:
    """The labelled rows of an experience, each time it is gone through."""

    batches: Iterable[Batch]
    learner: Neural

    def __iter__(self) -> Iterator[Rows]:
        for batch in self.batches:
            rows = self.learner.labelled(batch)
            if len(rows):
                yield rows
