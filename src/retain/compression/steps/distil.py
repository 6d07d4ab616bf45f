"""Distillation: a learner is taught by another one, on recent rows and on those that it remembers.

Shapes: n rows, k classes or outputs, p weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import final

import numpy as np
import torch
from torch import Tensor

from retain.blocks import concat_batches, labelled, take_batch
from retain.compose import learns
from retain.compression.draft import Draft, Lessons, end, ending
from retain.compression.lessons import blocks, remembered
from retain.core import Batch, Forward, Learner, Model, Rows, Slope, State
from retain.errors import SettingError
from retain.learners.neural import Neural
from retain.rows import from_array, take, to_array
from retain.strategies.addend import Addend
from retain.strategies.lwf import distilled
from retain.strategies.sparse import Sparse

__all__ = ["Distil"]

_LAST = 0.1  # of the rate, after the last pass
_LEAST = 1e-6  # what a teacher says at least of each class: of what was never learnt it says nothing at all


@final
class Distil:
    """A step: the learner learns again, from labels and from what the teacher says of the same rows.

    For every mini-batch of recent rows as many are drawn of those that the learner remembers, so that what is old is
    not lost on the way. Each row costs its loss plus strength * T^2 KL(teacher || learner), the softmax of both taken
    at temperature T; where labels are numbers, strength * |output - teacher|^2. Memories keep what they hold, and
    strategies have no say, but that zeros of `Sparse` stay zero; whatever stands for the model as it was (a teacher of
    `LwF`, an average) then begins with the weights that were found.

    Given to another step as `recover=`, it teaches what that step took away.

    Args:
        passes: how often the recent rows are gone through.
        rate: of Adam; it falls after each pass, to a tenth in all.
        strength: multiplies what the teacher says; labels count 1.
        temperature: T, above 1 to look at how wrong answers compare too.

    >>> import numpy as np, retain as rt
    >>> from retain.compression import Draft, Lessons, Shrink
    >>> x = np.random.default_rng(0).normal(size=(3000, 4)).astype(np.float32)
    >>> batch = rt.Batch(x, y=(x[:, 0] * x[:, 1] > 0).astype(int))
    >>> learner = rt.Neural(rt.neural.MLP(4, 64, 2), batch_size=10)
    >>> said = learner.learn(batch)
    >>> for step in (Shrink(0.9), Shrink(0.9, recover=Distil(passes=3))):
    ...     small = step(Draft(learner), Lessons([batch], teacher=learner)).learner
    ...     print(f"{(small.predict(x).argmax(1) == learner.predict(x).argmax(1)).mean():.1f}")
    0.7
    0.9

    Raises:
        SettingError: numbers out of range, a learner that is no `rt.Neural`, lessons without labels that it knows.

    References:
        Hinton, Vinyals and Dean 2015, Distilling the knowledge in a neural network.
    """

    name = "distil"

    def __init__(self, *, passes: int = 2, rate: float = 1e-3, strength: float = 1.0, temperature: float = 2.0) -> None:
        if passes < 1 or not (rate > 0 and strength > 0 and temperature > 0):
            raise SettingError(
                f"Distil got passes={passes}, rate={rate}, strength={strength}, temperature={temperature}; expected at "
                "least one pass, and numbers > 0"
            )
        self._passes, self._rate = passes, float(rate)
        self._strength, self._temperature = float(strength), float(temperature)

    def __call__(self, draft: Draft, lessons: Lessons, /) -> Draft:
        learner = end(draft.learner, Neural, needs="Distil teaches an rt.Neural")
        rows = known(blocks(draft.learner, lessons), learner)
        taught = Taught(
            learns(lessons.teacher),
            remembered(learner),
            size=learner.batch_size,
            strength=self._strength,
            temperature=self._temperature,
            seed=lessons.seed,
        )
        module = deepcopy(learner.module)
        adam = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], lr=self._rate, fused=True)
        masks = [one.fixed() for one in learner.strategies if isinstance(one, Sparse)]
        pupil = learner.like(module, optimizer=adam, strategies=[taught, *masks])
        random = np.random.default_rng(lessons.seed)
        for _ in range(self._passes):
            pupil.learn(take_batch(rows, random.permutation(len(rows))))
            pupil.pace(_LAST ** (1 / self._passes))
        same = torch.arange(len(learner.model.weights))
        return replace(draft, learner=ending(draft.learner, learner.reshaped(module, kept=same)))


def known(batches: Sequence[Batch], learner: Neural, /) -> Batch:
    """The labelled rows whose classes the learner knows, in one block. Raises SettingError where there are none."""
    rows = concat_batches(list(batches)) if batches else None
    if rows is not None and rows.y is not None:
        found = labelled(rows.y, len(rows))
        classes = learner.model.classes
        found = found & (rows.y < classes) if classes else found
        rows = take_batch(rows, np.flatnonzero(found))
    if rows is None or rows.y is None or not len(rows):
        raise SettingError("the lessons hold no row with a label that the learner knows; give some that are recent")
    return rows


@final
class Taught(Addend):
    """Adds what a teacher says of the new rows, and remembered rows beside them with labels and teacher."""

    name = "taught"

    def __init__(
        self, teacher: Learner, old: Rows | None, *, size: int, strength: float, temperature: float, seed: int
    ) -> None:
        self._teacher, self._old, self._size = teacher, old, size
        self._strength, self._temperature = strength, temperature
        self._random = torch.Generator().manual_seed(seed)

    def rows(self, new: Rows, /) -> Rows | None:
        if self._old is None:
            return None
        number = torch.randperm(len(self._old), generator=self._random)[: self._size].to(self._old.y.device)
        drawn = take(self._old, number)
        return replace(drawn, extra={name: column for name, column in drawn.extra.items() if name in new.extra})

    def slope(self, model: Model, new: Forward, /, *, own: Forward | None) -> Slope | None:
        loss, by_new = self._apart(model, new)
        if own is None:
            return Slope(loss, new=by_new)
        labels, by_label = model.slope(own)
        other, by_own = self._apart(model, own)
        return Slope(loss + labels + other, new=by_new, own=by_own.add_(by_label))

    def _apart(self, model: Model, forward: Forward) -> tuple[Tensor, Tensor]:
        """The mean over rows of how far outputs are from the teacher's, and its gradient (n, k)."""
        rows, output = forward.rows, forward.output
        said = torch.from_numpy(self._teacher.predict(rows.x.cpu().numpy())).to(output)
        slope = torch.zeros_like(output)
        if model.classes:
            k = min(said.shape[1], model.classes)
            teacher = said[:, :k].clamp(min=_LEAST).log()
            apart, by = distilled(output[:, :k], teacher, temperature=self._temperature)
        else:
            k = output.shape[1]
            by = 2 / k * (output - said.view(output.shape))
            apart = by.square().sum(1) * (k / 4)
        share = rows.weight * (self._strength / len(rows))
        slope[:, :k] = by * share[:, None]
        return share.dot(apart), slope

    def state_dict(self) -> State:
        return {"random": to_array(self._random.get_state())}

    def load_state_dict(self, state: State, /) -> None:
        self._random.set_state(from_array(state["random"], device="cpu"))
