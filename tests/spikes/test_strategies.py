"""Spike 2: DER++, EWC and A-GEM on a small torch module, through the protocols of core.py. Thrown away with issue 3."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'retain[torch]'")

from torch import Tensor, nn  # noqa: E402 - after the skip
from torch.func import functional_call, grad, vmap  # noqa: E402

from retain.blocks import codes, take_batch  # noqa: E402
from retain.compose import Chain  # noqa: E402
from retain.core import Array, Batch, Forward, Learner, Memory, Model, Projection, Rows, State, Strategy  # noqa: E402
from retain.errors import SettingError  # noqa: E402
from retain.state import decode, encode, equal  # noqa: E402

DIMENSIONS, CLASSES = 4, 3


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small products are slower in a team, far slower on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# ------------------------------------------------------------------------------------- tensors in and out of a State


def frozen(tensors: dict[str, Tensor]) -> dict[str, Array]:
    return {name: tensor.detach().numpy().copy() for name, tensor in tensors.items()}


def thawed(arrays: State) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}


def kept(rows: Rows) -> State:
    return {**frozen({"x": rows.x, "y": rows.y, "weight": rows.weight}), "extra": frozen(dict(rows.extra))}


def given_back(state: State) -> Rows:
    return Rows(**thawed({k: v for k, v in state.items() if k != "extra"}), extra=thawed(state["extra"]))


def pick(rows: Rows, index: Tensor | slice) -> Rows:
    return Rows(rows.x[index], rows.y[index], rows.weight[index], {k: v[index] for k, v in rows.extra.items()})


def join(parts: Sequence[Rows]) -> Rows:
    columns = [torch.cat([getattr(p, c) for p in parts]) for c in ("x", "y", "weight")]
    return Rows(*columns, {k: torch.cat([p.extra[k] for p in parts]) for k in parts[0].extra})


def optimiser_state(optimiser: torch.optim.Optimizer) -> State:
    """Integer keys become strings and the tensors arrays; the groups are numbers and lists already."""
    state = optimiser.state_dict()
    return {"state": {str(i): frozen(s) for i, s in state["state"].items()}, "groups": state["param_groups"]}


# --------------------------------------------------------------------------------------------------------- the parts


class Reservoir:
    """Every row so far is in it with the same probability (Vitter 1985, algorithm R)."""

    def __init__(self, budget: int, *, seed: int) -> None:
        self.budget, self.seen = budget, 0
        self.rows: Rows | None = None
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return 0 if self.rows is None else len(self.rows)

    def add(self, rows: Rows, /) -> None:
        for i in range(len(rows)):
            row, self.seen = pick(rows, slice(i, i + 1)), self.seen + 1
            if self.rows is None or len(self.rows) < self.budget:
                self.rows = row if self.rows is None else join([self.rows, row])
            elif (slot := int(torch.randint(self.seen, (1,), generator=self.generator))) < self.budget:
                index = torch.arange(self.budget)
                index[slot] = self.budget
                self.rows = pick(join([self.rows, row]), index)

    def sample(self, n: int, /) -> Rows:
        if self.rows is None:
            raise SettingError("nothing to sample: the memory is empty; add rows first")
        return pick(self.rows, torch.randperm(len(self), generator=self.generator)[:n])

    def state_dict(self) -> State:
        rows = None if self.rows is None else kept(self.rows)
        return {"rows": rows, "seen": self.seen, "generator": self.generator.get_state().numpy().copy()}

    def load_state_dict(self, state: State, /) -> None:
        self.rows = None if state["rows"] is None else given_back(state["rows"])
        self.seen = state["seen"]
        self.generator.set_state(torch.from_numpy(state["generator"]))


class DERpp:
    """Dark experience replay ++ (Buzzega 2020): keep the outputs of old rows, and the labels of as many others."""

    def __init__(
        self, memory: Memory, *, size: int, alpha: float = 0.5, beta: float = 0.5, name: str = "der++"
    ) -> None:
        self.memory, self.size, self.alpha, self.beta, self.name = memory, size, alpha, beta, name

    def rows(self, new: Rows, /) -> Rows | None:
        return join([self.memory.sample(self.size), self.memory.sample(self.size)]) if len(self.memory) else None

    def loss(self, model: Model, new: Forward, /, *, own: Forward | None) -> Tensor:
        if own is None:
            return new.output.new_zeros(())
        half = len(own.rows) // 2
        dark = (own.output[:half] - own.rows.extra["logits"][:half]).square().mean()
        return self.alpha * dark + self.beta * model.criterion(own.output[half:], own.rows.y[half:]).mean()

    def stepped(self, model: Model, new: Forward, /) -> None:
        self.memory.add(replace(new.rows, extra={"logits": new.output}))

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:
        pass

    def state_dict(self) -> State:
        return {"memory": self.memory.state_dict()}

    def load_state_dict(self, state: State, /) -> None:
        self.memory.load_state_dict(state["memory"])


def fisher(model: Model, experience: Iterable[Rows]) -> dict[str, Tensor]:
    """Mean over rows of the squared gradient of each row's own loss."""
    parameters = {name: p.detach() for name, p in model.module.named_parameters()}

    def loss(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return model.criterion(functional_call(model.module, parameters, (x[None],)), y[None]).sum()

    total, n = {name: torch.zeros_like(p) for name, p in parameters.items()}, 0
    for rows in experience:
        gradients = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, rows.x, rows.y)
        total = {name: value + gradients[name].square().sum(0) for name, value in total.items()}
        n += len(rows)
    return {name: value / n for name, value in total.items()}


class EWC:
    """Elastic weight consolidation (Kirkpatrick 2017), online: one anchor, Fishers added up."""

    name = "ewc"

    def __init__(self, *, strength: float) -> None:
        self.strength = strength
        self.fisher: dict[str, Tensor] = {}
        self.anchor: dict[str, Tensor] = {}

    def rows(self, new: Rows, /) -> Rows | None:
        return None

    def loss(self, model: Model, new: Forward, /, *, own: Forward | None) -> Tensor:
        now = dict(model.module.named_parameters())
        parts = [(self.fisher[n] * (now[n] - anchor).square()).sum() for n, anchor in self.anchor.items()]
        return 0.5 * self.strength * torch.stack(parts).sum() if parts else new.output.new_zeros(())

    def stepped(self, model: Model, new: Forward, /) -> None:
        pass

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:
        more = fisher(model, experience)
        self.fisher = {name: self.fisher.get(name, 0) + value for name, value in more.items()}
        self.anchor = {name: p.detach().clone() for name, p in model.module.named_parameters()}

    def state_dict(self) -> State:
        return {"fisher": frozen(self.fisher), "anchor": frozen(self.anchor)}

    def load_state_dict(self, state: State, /) -> None:
        self.fisher, self.anchor = thawed(state["fisher"]), thawed(state["anchor"])


class AGEM:
    """Averaged gradient episodic memory (Chaudhry 2019): never step against the gradient of the memory."""

    def __init__(self, memory: Memory, *, size: int) -> None:
        self.memory, self.size = memory, size

    def project(self, model: Model, gradient: Tensor, /) -> Tensor:
        if not len(self.memory):
            return gradient
        old = self.memory.sample(self.size)
        loss = model.criterion(model.module(old.x), old.y).mean()
        reference = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(model.module.parameters()))])
        along = gradient @ reference
        return gradient if along >= 0 else gradient - along / (reference @ reference) * reference

    def stepped(self, model: Model, new: Forward, /) -> None:
        self.memory.add(new.rows)

    def consolidate(self, model: Model, experience: Iterable[Rows], /) -> None:
        pass

    def state_dict(self) -> State:
        return {"memory": self.memory.state_dict()}

    def load_state_dict(self, state: State, /) -> None:
        self.memory.load_state_dict(state["memory"])


class Neural:
    """A torch module as a learner: one step for every g labelled rows; the rest of a block waits in the state."""

    def __init__(
        self,
        module: nn.Module,
        *,
        criterion: Callable[[Tensor, Tensor], Tensor],
        optimiser: Callable[[Iterable[Tensor]], torch.optim.Optimizer],
        granularity: int,
        seed: int,
        strategies: Sequence[Strategy] = (),
        projection: Projection | None = None,
    ) -> None:
        self.model = Model(module, criterion)
        self.parameters = list(module.parameters())
        self.optimiser = optimiser(self.parameters)
        self.granularity = granularity
        self.strategies = sorted(strategies, key=lambda s: s.name)  # the canonical order: of the names
        self.projection = projection
        self.waiting: Rows | None = None
        self.known = 0
        self.random = torch.Generator().manual_seed(seed).get_state()  # dropout draws from torch's global generator

    def learn(self, batch: Batch, /) -> Array:
        y = codes(batch.y, len(batch), reader="Neural")
        answers: list[Array] = []
        start = 0
        while start < len(batch):
            labels = np.flatnonzero(y[start:] >= 0)
            due = self.granularity - (0 if self.waiting is None else len(self.waiting))
            stop = start + int(labels[due - 1]) + 1 if len(labels) >= due else len(batch)
            answers.append(self.predict(batch.x[start:stop]))  # all of them before the step that they bring about
            rows = start + labels[:due]
            if len(rows):
                self.known = max(self.known, int(y[rows].max()) + 1)
                new = Rows(torch.from_numpy(batch.x[rows]), torch.from_numpy(y[rows]), torch.ones(len(rows)))
                self.waiting = new if self.waiting is None else join([self.waiting, new])
            if self.waiting is not None and len(self.waiting) == self.granularity:
                self.flush()
            start = stop
        wide = np.zeros((len(batch), self.known), dtype=np.float32)
        row = 0
        for answer in answers:
            wide[row : row + len(answer), : answer.shape[1]] = answer
            row += len(answer)
        return wide

    def predict(self, x: Any, /) -> Array:
        self.model.module.eval()
        with torch.no_grad():
            return torch.softmax(self.model.module(torch.from_numpy(x))[:, : self.known], 1).numpy()

    def flush(self) -> None:
        """One step on the rows that wait."""
        if self.waiting is None:
            return
        new, self.waiting = self.waiting, None
        self.model.module.train()
        with self._own_randomness():
            self._step(new)

    @contextmanager
    def _own_randomness(self) -> Iterator[None]:
        """Dropout draws from torch's global generator: it is ours while strategies or the module are called."""
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self.random)
            yield
            self.random = torch.get_rng_state()

    def _step(self, new: Rows) -> None:
        asked = [strategy.rows(new) for strategy in self.strategies]
        parts = [new, *(rows for rows in asked if rows is not None)]
        output = self.model.module(torch.cat([rows.x for rows in parts]))  # the one fused forward pass
        pieces = iter(torch.split(output, [len(rows) for rows in parts]))
        first = Forward(new, next(pieces))
        loss = (new.weight * self.model.criterion(first.output, new.y)).mean()
        for strategy, rows in zip(self.strategies, asked, strict=True):
            loss = loss + strategy.loss(self.model, first, own=rows and Forward(rows, next(pieces)))
        self.optimiser.zero_grad()
        loss.backward()
        if self.projection is not None:
            flat = self.projection.project(self.model, torch.cat([p.grad.reshape(-1) for p in self.parameters]))
            for p, g in zip(self.parameters, torch.split(flat, [p.numel() for p in self.parameters]), strict=True):
                p.grad = g.reshape(p.shape).clone()
        self.optimiser.step()
        done = Forward(new, first.output.detach())
        for part in (*self.strategies, *([self.projection] if self.projection else [])):
            part.stepped(self.model, done)

    def consolidate(self, experience: Iterable[Rows], /) -> None:
        self.flush()  # the end of an experience is an event of the stream, so a shorter step here splits nothing
        self.model.module.eval()
        with self._own_randomness():
            for part in (*self.strategies, *([self.projection] if self.projection else [])):
                part.consolidate(self.model, experience)

    def state_dict(self) -> State:
        return {
            "module": frozen(self.model.module.state_dict()),
            "optimiser": optimiser_state(self.optimiser),
            "waiting": None if self.waiting is None else kept(self.waiting),
            "known": self.known,
            "random": self.random.numpy().copy(),
            "strategies": {strategy.name: strategy.state_dict() for strategy in self.strategies},
            "projection": None if self.projection is None else self.projection.state_dict(),
        }

    def load_state_dict(self, state: State, /) -> None:
        self.model.module.load_state_dict(thawed(state["module"]))
        slots = {int(i): thawed(s) for i, s in state["optimiser"]["state"].items()}
        self.optimiser.load_state_dict({"state": slots, "param_groups": state["optimiser"]["groups"]})
        self.waiting = None if state["waiting"] is None else given_back(state["waiting"])
        self.known = state["known"]
        self.random = torch.from_numpy(state["random"].copy())
        for strategy in self.strategies:
            strategy.load_state_dict(state["strategies"][strategy.name])
        if self.projection is not None:
            self.projection.load_state_dict(state["projection"])


# ------------------------------------------------------------------------------------------------------- what we ask


def cross_entropy(output: Tensor, y: Tensor) -> Tensor:
    return nn.functional.cross_entropy(output, y, reduction="none")


def make(*, init: int = 0, turn: bool = False, granularity: int = 8) -> Neural:
    torch.manual_seed(init)
    module = nn.Sequential(nn.Linear(DIMENSIONS, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, CLASSES))
    replay = DERpp(Reservoir(10, seed=4), size=4, alpha=0.0, name="replay")
    parts: list[Strategy] = [DERpp(Reservoir(30, seed=1), size=8), EWC(strength=10.0), replay]
    return Neural(
        module,
        criterion=cross_entropy,
        optimiser=lambda parameters: torch.optim.Adam(parameters, lr=0.01),
        granularity=granularity,
        seed=3,
        strategies=parts[::-1] if turn else parts,
        projection=AGEM(Reservoir(30, seed=2), size=8),
    )


def table(n: int, *, seed: int) -> Batch:
    rng = np.random.default_rng(seed)
    y = rng.integers(CLASSES, size=n)
    x = rng.normal(size=(n, DIMENSIONS)).astype(np.float32)
    x[np.arange(n), y] += 2.0
    return Batch(x, y=np.where(rng.random(n) < 0.2, -1, y))  # a fifth has no label (yet)


def rows_of(batch: Batch) -> list[Rows]:
    known = batch.y >= 0
    return [Rows(torch.from_numpy(batch.x[known]), torch.from_numpy(batch.y[known]), torch.ones(int(known.sum())))]


def run(
    learner: Neural, cuts: Sequence[int], *, through: Callable[[Neural], Neural] = lambda n: n
) -> tuple[Neural, Array]:
    """Two experiences of 150 rows, in blocks that end at `cuts`, with `through` applied between blocks."""
    answers: list[Array] = []
    for experience in (table(150, seed=0), table(150, seed=1)):
        for start, stop in zip([0, *cuts], [*cuts, 150], strict=True):
            answers.append(learner.learn(take_batch(experience, slice(start, stop))))
            learner = through(learner)
        learner.consolidate(rows_of(experience))
        learner = through(learner)
    return learner, np.concatenate(answers[3:])  # from when all classes are known


CUTS = [41, 90]


def test_any_split_makes_the_same_steps() -> None:
    one, said = run(make(), CUTS)
    other, again = run(make(), [41, 42, 43, 50, 90])
    assert equal(one.state_dict(), other.state_dict())  # the steps see the same g rows: weights bit for bit
    np.testing.assert_allclose(
        again[-150:], said[-150:], rtol=0, atol=1e-6
    )  # BLAS may round a forward of fewer rows otherwise
    assert (said[-150:].argmax(1) == table(150, seed=1).y)[table(150, seed=1).y >= 0].mean() > 0.7


def test_resumed_is_never_stopped_bit_for_bit() -> None:
    def reborn(learner: Neural) -> Neural:
        fresh = make(init=99)  # other initial weights: all that counts must come from the state
        fresh.load_state_dict(decode(encode(learner.state_dict())))
        return fresh

    assert isinstance(make(), Learner)
    never, said = run(make(), CUTS)
    twice, again = run(make(), CUTS, through=lambda learner: reborn(reborn(learner)))
    assert equal(never.state_dict(), twice.state_dict())
    np.testing.assert_array_equal(again, said)


def test_the_order_of_the_addends_cannot_matter() -> None:
    assert equal(run(make(), CUTS)[0].state_dict(), run(make(turn=True), CUTS)[0].state_dict())


def test_late_labels_are_learnt_in_the_order_in_which_they_land() -> None:
    rows = table(90, seed=5)
    pipe = Chain((), make())
    late = np.flatnonzero(rows.y >= 0)
    lands = late + np.random.default_rng(0).uniform(1, 20, size=len(late))  # up to 20 rows later
    order = np.concatenate([np.arange(90), ~late])[np.argsort(np.concatenate([np.arange(90), lands]))]
    prediction, _ = pipe.flow(rows, None, rows.y, order)
    plain = make()
    said = plain.learn(take_batch(rows, ~order[order < 0]))
    assert len(prediction) == 90
    assert len(said) > 5 * plain.granularity
    assert equal(pipe.learner.state_dict(), plain.state_dict())  # rows without a label left no trace


def test_one_fused_step_is_the_step_of_the_formula() -> None:
    learner, _ = run(make(), CUTS)
    learner.model.module[2].p = 0.0  # no dropout: fused and separate passes then see the same module
    learner.projection = None
    twin = make()
    twin.load_state_dict({**learner.state_dict(), "projection": make().projection.state_dict()})
    twin.model.module[2].p = 0.0
    new = rows_of(table(10, seed=9))[0]
    dark, ewc, replay = twin.strategies
    f = twin.model.module.train()
    a, b, _, c = dark.memory.sample(8), dark.memory.sample(8), replay.memory.sample(4), replay.memory.sample(4)
    loss = cross_entropy(f(new.x), new.y).mean() + 0.5 * nn.functional.mse_loss(f(a.x), a.extra["logits"])
    loss = loss + 0.5 * cross_entropy(f(b.x), b.y).mean() + 0.5 * cross_entropy(f(c.x), c.y).mean()
    for name, p in f.named_parameters():
        loss = loss + 5.0 * (ewc.fisher[name] * (p - ewc.anchor[name]) ** 2).sum()
    loss.backward()
    learner.waiting = new
    learner.flush()
    for p, q in zip(f.parameters(), learner.parameters, strict=True):
        torch.testing.assert_close(q.grad, p.grad, rtol=1e-5, atol=1e-6)


def test_the_fisher_is_that_of_single_rows_and_agem_never_steps_against_its_memory() -> None:
    learner, _ = run(make(), CUTS)
    model, rows = learner.model, rows_of(table(40, seed=7))
    model.module.eval()
    squares = [torch.zeros_like(p) for p in model.module.parameters()]
    for i in range(len(rows[0])):
        one = pick(rows[0], slice(i, i + 1))
        gradient = torch.autograd.grad(cross_entropy(model.module(one.x), one.y).sum(), list(model.module.parameters()))
        squares = [s + g.square() / len(rows[0]) for s, g in zip(squares, gradient, strict=True)]
    for ours, theirs in zip(fisher(model, rows).values(), squares, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-7)
    agem = AGEM(Reservoir(30, seed=0), size=30)
    agem.memory.add(rows[0])
    old = agem.memory.sample(30)
    loss = cross_entropy(model.module(old.x), old.y).mean()
    reference = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(model.module.parameters()))])
    assert torch.equal(agem.project(model, reference), reference)
    against = -reference + torch.roll(reference, 1)
    assert against @ reference < 0
    assert abs(float(agem.project(model, against) @ reference)) < 1e-5 * float(reference @ reference)
