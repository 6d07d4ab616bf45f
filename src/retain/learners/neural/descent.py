"""How weights follow the gradient: the optimiser's own step, or one compiled pass over all of them where it is Adam.

Shapes: p parameters.

Reference: Kingma and Ba 2015, Adam: a method for stochastic optimization; with decay beside it, AdamW: Loshchilov and
Hutter 2019, Decoupled weight decay regularization.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, cast, final

import numpy as np
import torch
from numba import njit
from torch import Tensor, nn

from retain.core import Floats, Spring
from retain.learners.neural.weights import Weights

__all__ = ["Descent", "flushing"]

_MOST_ON_ONE = 1 << 20  # weights above which one thread is slower than torch's several
_KIND = (torch.optim.Adam, torch.optim.AdamW)


@contextmanager
def flushing() -> Generator[None]:
    """On this thread, numbers nearer to 0 than 1e-38 count as 0.

    Moments of a weight without gradient fade by a tenth a step, and are as small after 900 steps; slopes of rows that
    are known by heart are from the start. Some processors take a hundred times as long for a sum of such numbers: on a
    stream that was learnt a step of ten rows took 6.2 ms, and 2.4 without them.
    """
    before = sys.float_info.min / 2 == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
def _adam(
    w: Floats,  # (p,) these three are changed in place
    m: Floats,
    v: Floats,
    g: Floats,
    first: tuple[np.float32, np.float32],  # what m keeps, and what is new in it
    second: tuple[np.float32, np.float32],  # the same of v
    rate: np.float32,  # divided by the first bias correction
    root: np.float32,  # 1 / the root of the second
    epsilon: np.float32,
    decay: tuple[np.float32, np.float32],  # added to the gradient; taken from the weight
    bend: Floats | None,
    rest: Floats | None,
    times: np.float32,
    credit: Floats | None,  # (p,) changed in place
) -> float:
    """One step; returns |bend * (w - rest)|^2 after it."""
    left = np.float32(0)
    for j in range(len(w)):
        was = w[j]
        slope = g[j] + decay[0] * was
        if bend is not None and rest is not None:
            slope += times * bend[j] * (was - rest[j])
        m[j] = mean = first[0] * m[j] + first[1] * slope
        v[j] = square = second[0] * v[j] + second[1] * slope * slope
        now = was - decay[1] * was - rate * mean / (math.sqrt(square) * root + epsilon)
        w[j] = now
        if credit is not None:
            credit[j] += g[j] * (was - now)
        if bend is not None and rest is not None:
            pull = bend[j] * (now - rest[j])
            left += pull * pull
    return float(left)


@final
class Descent:
    """Steps an optimiser along the gradient, and along springs, without writing down what these add where it can.

    A plain `torch.optim.Adam` or `AdamW` over float32 on the CPU, all of it in one group, is stepped by a compiled pass
    of ours, which reads and writes every number once: the same formula, equal to torch's but for rounding. The
    optimiser's slots become views of two flat vectors; its settings are read in every step, so that rates may change.
    Any other optimiser, or one that a scheduler or a hook watches, makes its own step.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, layout: Weights, /) -> None:
        self._optimizer, self._layout = optimizer, layout
        self._pending: Spring | None = None
        self._told: Spring | None = None  # of the last step, that was told what is left of it
        self._version = 0  # of the weights after it
        self._owed: list[tuple[Tensor, Tensor, Tensor]] = []  # credit, the gradient and the weights it is reckoned by
        self._slot: Mapping[str, Any] = {}  # of the first parameter, as long as it is the one that was made flat
        self._flat: tuple[Tensor, ...] = ()  # (p,) weights, both moments, gradient
        self._steps = torch.zeros(())

    def __deepcopy__(self, memo: dict[int, Any]) -> Descent:
        """A copy between two steps: its slots are made flat anew, where the copy's parameters live."""
        other = Descent(deepcopy(self._optimizer, memo), deepcopy(self._layout, memo))
        memo[id(self)] = other
        return other

    def hold(self, spring: Spring | None, /) -> None:
        """What a strategy pulls with in this step, kept for the way; what came before is settled."""
        self._pending = spring

    def renew(self, *, sure: bool = True) -> None:
        """Before a step: what the last spring was told counts no longer if the weights are others, or may be."""
        if self._told is not None and (not sure or self._version != self._layout.version):
            self._told.left = self._told = None

    @property
    def held(self) -> float:
        """By how much the spring is multiplied; 0 where none is held. Not finite if what it adds is not."""
        return 0.0 if self._pending is None else self._pending.times

    def settle(self) -> None:
        """Write what the spring adds into the gradient, for whoever looks at it next."""
        spring, self._pending = self._pending, None
        if spring is None:
            return
        layout = self._layout
        if spring.credit is not None:
            self._owed.append((spring.credit, layout.gradient.clone(), layout.flat.clone()))
        if spring.bend is not None and spring.rest is not None:
            layout.gradient.addcmul_(spring.bend, layout.flat - spring.rest, value=spring.times)

    def drop(self) -> None:
        """No step is made: nothing is pulled, nothing is credited."""
        self._pending = None
        self._owed.clear()

    def step(self) -> None:
        group = self._plain()
        if group is None:
            self.settle()
            self._optimizer.step()
        else:
            spring, self._pending = self._pending, None
            self._pass(group, spring)
        for credit, gradient, before in self._owed:
            credit.addcmul_(before.sub_(self._layout.flat), gradient)
        self._owed.clear()

    def _plain(self) -> Mapping[str, Any] | None:
        """The settings of an Adam that the compiled pass stands for, its slots made flat; None for any other."""
        optimizer, layout = self._optimizer, self._layout
        groups = optimizer.param_groups
        # A scheduler counts steps by a `step` of its own, put over the class's.
        if type(optimizer) not in _KIND or len(groups) != 1 or "step" in vars(optimizer):
            return None
        group = cast("Mapping[str, Any]", groups[0])
        if any(group[name] for name in ("amsgrad", "maximize", "differentiable", "capturable")) or _watched(optimizer):
            return None
        weights = layout.flat
        if weights.device.type != "cpu" or weights.dtype is not torch.float32:
            return None
        if len(weights) > _MOST_ON_ONE and torch.get_num_threads() > 1:
            return None
        adopted = bool(self._flat) and self._flat[0] is weights
        if adopted and optimizer.state.get(layout.parameters[0]) is self._slot:
            return group
        return group if self._lay_flat(group) else None

    def _lay_flat(self, group: Mapping[str, Any]) -> bool:
        """Lay the slots end to end as the weights are; False where they differ in what they have seen."""
        layout, state = self._layout, cast("dict[nn.Parameter, dict[str, Any]]", self._optimizer.state)
        if not all(a is b for a, b in zip(group["params"], layout.parameters, strict=False)):
            return False
        slots = [state.get(p) or {} for p in layout.parameters]
        counts = {float(slot.get("step", 0.0)) for slot in slots}
        if len(counts) > 1:
            return False
        moments: list[Tensor] = []
        for name in ("exp_avg", "exp_avg_sq"):
            held = [slot.get(name) for slot in slots]
            pairs = zip(held, layout.parameters, strict=True)
            moments.append(torch.cat([(torch.zeros_like(p) if a is None else a).reshape(-1) for a, p in pairs]))
        # Each has a count of its own, since torch's own step would add 1 for each; together they are one vector.
        self._steps = torch.full((len(slots),), counts.pop())
        pieces = zip(layout.parameters, self._steps, *map(layout.views, moments), strict=True)
        for p, count, first, second in pieces:
            state[p] = {"step": count, "exp_avg": first, "exp_avg_sq": second}
        self._slot = state[layout.parameters[0]]
        self._flat = (layout.flat, *moments, layout.gradient)
        return True

    def _pass(self, group: Mapping[str, Any], spring: Spring | None) -> None:
        self._steps += 1
        count, (one, two) = self._steps[0].item(), group["betas"]
        rate, shrink = float(group["lr"]), float(group["weight_decay"])
        beside = group.get("decoupled_weight_decay", False)
        bend = rest = credit = None
        if spring is not None:
            bend, rest, credit = (_array(vector) for vector in (spring.bend, spring.rest, spring.credit))
        weights, mean, square, gradient = self._flat
        left = _adam(
            weights.numpy(),
            mean.numpy(),
            square.numpy(),
            gradient.numpy(),
            (np.float32(one), np.float32(1 - one)),  # 1 - .999 in float32 would be off by 2e-5 of itself
            (np.float32(two), np.float32(1 - two)),
            np.float32(rate / (1 - one**count)),
            np.float32((1 - two**count) ** -0.5),
            np.float32(group["eps"]),
            (np.float32(0 if beside else shrink), np.float32(rate * shrink if beside else 0)),
            bend,
            rest,
            np.float32(0 if spring is None else spring.times),
            credit,
        )
        self._told, self._version = spring, self._layout.version
        if spring is not None and bend is not None:
            spring.left = left


def _array(vector: Tensor | None) -> Floats | None:
    return None if vector is None else vector.numpy()


def _watched(optimizer: torch.optim.Optimizer) -> bool:
    hooks = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")
    return any(getattr(optimizer, name) for name in hooks)  # there is no public way to ask
