"""Lean training loops: what a person would write for one method, one module and one machine, and nothing else.

Everything is in memory, a step is a forward pass, autograd and Adam, memories are two preallocated tensors. They check
nothing, predict nothing, cannot be saved and grow no head: `bench_neural.py` asks what the rest costs.

Shapes: n rows of a step, m slots of a memory.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOTS = 500


def network(device: str) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 400), nn.ReLU(), nn.Linear(400, 10)]
    return nn.Sequential(*layers).to(device)


class Lean:
    """Fine-tuning, and what the others share."""

    def __init__(self, size: int, *, device: str = "cpu", **adam: Any) -> None:
        self.size, self.device = size, device
        self.module = network(device)
        self.parameters = list(self.module.parameters())
        self.optimizer = torch.optim.Adam(self.parameters, lr=1e-3, **adam)

    def learn(self, x: Tensor, y: Tensor) -> None:
        for i in range(0, len(x), self.size):
            self.step(x[i : i + self.size], y[i : i + self.size])

    def step(self, x: Tensor, y: Tensor) -> None:
        self.descend(functional.cross_entropy(self.module(x), y))

    def descend(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def end(self, x: Tensor, y: Tensor) -> None:
        """An experience has ended."""


class Slots:
    """A reservoir (Vitter's R), all of a step's rows at once."""

    def __init__(self, *shapes: tuple[int, torch.dtype], device: str) -> None:
        self.columns = [torch.zeros((SLOTS, k) if k else SLOTS, dtype=kind, device=device) for k, kind in shapes]
        self.seen, self.device = 0, device

    def draw(self, n: int) -> list[Tensor]:
        at = torch.randperm(min(self.seen, SLOTS), device=self.device)[:n]
        return [column[at] for column in self.columns]

    def add(self, *rows: Tensor) -> None:
        n = len(rows[0])
        row = torch.arange(self.seen, self.seen + n)
        at = torch.where(row < SLOTS, row, (torch.rand(n) * (row + 1)).long())
        kept = at < SLOTS
        self.seen += n
        if kept.any():  # where rows go is reckoned on the CPU: which go nowhere would else be waited for
            at, kept = at[kept].to(self.device), kept.nonzero()[:, 0].to(self.device)
            for column, given in zip(self.columns, rows, strict=True):
                column[at] = given[kept]


class Replay(Lean):
    def __init__(self, size: int, **settings: Any) -> None:
        super().__init__(size, **settings)
        self.memory = Slots((784, torch.float32), (0, torch.int64), device=self.device)

    def step(self, x: Tensor, y: Tensor) -> None:
        n = len(x)
        if self.memory.seen:
            old_x, old_y = self.memory.draw(self.size)
            output = self.module(torch.cat((x, old_x)))
            loss = functional.cross_entropy(output[:n], y) + functional.cross_entropy(output[n:], old_y)
        else:
            loss = functional.cross_entropy(self.module(x), y)
        self.descend(loss)
        self.memory.add(x, y)


class DERpp(Lean):
    def __init__(self, size: int, **settings: Any) -> None:
        super().__init__(size, **settings)
        self.memory = Slots((784, torch.float32), (0, torch.int64), (10, torch.float32), device=self.device)

    def step(self, x: Tensor, y: Tensor) -> None:
        n = len(x)
        if self.memory.seen:
            dark_x, _, logits = self.memory.draw(self.size)
            old_x, old_y, _ = self.memory.draw(self.size)
            output = self.module(torch.cat((x, dark_x, old_x)))
            loss = functional.cross_entropy(output[:n], y)
            loss = loss + functional.mse_loss(output[n : n + len(logits)], logits)
            loss = loss + functional.cross_entropy(output[n + len(logits) :], old_y)
        else:
            output = self.module(x)
            loss = functional.cross_entropy(output, y)
        self.descend(loss)
        self.memory.add(x, y, output[:n].detach())


class LwF(Lean):
    teacher: nn.Module | None = None

    def step(self, x: Tensor, y: Tensor) -> None:
        output = self.module(x)
        loss = functional.cross_entropy(output, y)
        if self.teacher is not None:
            with torch.no_grad():
                target = functional.log_softmax(self.teacher(x)[:, :2] / 2, 1)
            said = functional.log_softmax(output[:, :2] / 2, 1)
            loss = loss + 4 * functional.kl_div(said, target, reduction="batchmean", log_target=True)
        self.descend(loss)

    def end(self, x: Tensor, y: Tensor) -> None:
        self.teacher = copy.deepcopy(self.module)


class EWC(Lean):
    """The penalty goes through autograd, as it is most often written."""

    anchors: list[tuple[Tensor, Tensor]] | None = None

    def step(self, x: Tensor, y: Tensor) -> None:
        loss = functional.cross_entropy(self.module(x), y)
        if self.anchors is not None:
            pairs = zip(self.parameters, self.anchors, strict=True)
            loss = loss + 5 * sum((fisher * (p - anchor).square()).sum() for p, (fisher, anchor) in pairs)
        self.descend(loss)

    def end(self, x: Tensor, y: Tensor) -> None:
        # Of some rows only: what is timed are the steps.
        fisher = [torch.zeros_like(p) for p in self.parameters]
        for i in range(20):
            slopes = torch.autograd.grad(
                functional.cross_entropy(self.module(x[i : i + 1]), y[i : i + 1]), self.parameters
            )
            fisher = [total + slope.square() / 20 for total, slope in zip(fisher, slopes, strict=True)]
        self.anchors = [(f, p.detach().clone()) for f, p in zip(fisher, self.parameters, strict=True)]


class AGEM(Lean):
    def __init__(self, size: int, **settings: Any) -> None:
        super().__init__(size, **settings)
        self.memory = Slots((784, torch.float32), (0, torch.int64), device=self.device)

    def step(self, x: Tensor, y: Tensor) -> None:
        reference: list[Tensor] | None = None
        if self.memory.seen:
            old_x, old_y = self.memory.draw(self.size)
            loss = functional.cross_entropy(self.module(old_x), old_y)
            reference = list(torch.autograd.grad(loss, self.parameters))
        self.optimizer.zero_grad()
        functional.cross_entropy(self.module(x), y).backward()
        if reference is not None:
            against = sum((p.grad * r).sum() for p, r in zip(self.parameters, reference, strict=True))
            if against < 0:
                share = against / sum(r.square().sum() for r in reference)
                for p, r in zip(self.parameters, reference, strict=True):
                    p.grad -= share * r
        self.optimizer.step()
        self.memory.add(x, y)


LOOPS: dict[str, Callable[..., Lean]] = {
    "naive": Lean,
    "replay": Replay,
    "DER++": DERpp,
    "LwF": LwF,
    "EWC": EWC,
    "A-GEM": AGEM,
}
