"""What comes in, as tensors: rows of input and labels checked, on the module's device and of its type.

Shapes: n rows, k outputs.
"""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from retain import blocks
from retain.core import Array, Batch, Features, Rows, State
from retain.errors import PoisonError, SettingError
from retain.learners.neural.criteria import Criterion

__all__ = ["Intake"]

_READER = "Neural"


@final
class Intake:
    """Turns blocks into `Rows`; remembers what rows and targets look like, which then is fixed."""

    def __init__(self, module: nn.Module, criterion: Criterion, /) -> None:
        parameter = next(p for p in module.parameters() if p.requires_grad)
        self._dtype, self._device = parameter.dtype, parameter.device
        self._whole = any(isinstance(part, (nn.Embedding, nn.EmbeddingBag)) for part in module.modules())
        self._classes = criterion.classes
        self._shape: tuple[int, ...] | None = None  # of one row
        self._coded = False  # rows came as whole numbers, and stayed so
        self._targets: int | None = None  # 0: one number a row, (n,); else numbers a row, (n, k)

    @property
    def seen(self) -> bool:
        """Whether a block was kept: rows of another shape are refused since."""
        return self._shape is not None

    @property
    def flat(self) -> bool:
        """Whether targets are (n,), and so are answers; until one was seen, too."""
        return not self._targets

    def rows(self, x: Features, /) -> Tensor:
        """Rows of input (n, ...); raises PoisonError for what is not finite, not numbers, or of another shape."""
        array = blocks.array(x, shape=self._shape, whole=self._whole, reader=_READER)
        tensor = torch.from_numpy(array).to(self._device)
        return tensor if array.dtype.kind == "i" else tensor.to(self._dtype)

    def tasks(self, task: Array, n: int, /) -> Tensor:
        """Tasks (n,) of rows that are asked about, -1 for none. Raises PoisonError for what is not n whole numbers."""
        if task.shape != (n,) or task.dtype.kind not in "iufb":
            raise PoisonError(
                f"{_READER} got tasks of shape {task.shape} and type {task.dtype} for {n} rows of input; expected one "
                f"number for each row: for rows of one task give task=np.full({n}, number)"
            )
        wrong = np.flatnonzero(~np.isfinite(task) | (task != np.trunc(task)))
        if len(wrong):
            raise PoisonError(
                f"{_READER} got the task {task[wrong[0]]} in row {wrong[0]}; expected a whole number: give -1 for "
                "a row whose task is not known"
            )
        return torch.from_numpy(task.astype(np.int64)).to(self._device)

    def example(self, rows: int, /) -> Tensor:
        """Rows of zeros as they look to the module. Raises SettingError while none was seen."""
        if self._shape is None:
            raise SettingError(f"{_READER} has seen no row yet; learn some first")
        dtype = torch.int64 if self._coded else self._dtype
        return torch.zeros((rows, *self._shape), dtype=dtype, device=self._device)

    def take(self, batch: Batch, x: Tensor, y: Array | None, /, *, task: Array | None, outputs: int, most: int) -> Rows:
        """A whole block, x its `rows`; those without a label hold -1 or NaN. Raises PoisonError; changes nothing.

        Numbers come `outputs` to a row; class codes are below `most`.
        """
        n = len(batch)
        weight = torch.from_numpy(blocks.weights(batch.weight, n, reader=_READER).astype(np.float32)).to(self._device)
        extra: dict[str, Tensor] = {}
        if task is not None:
            tasks = blocks.codes(
                task, n, reader=f"{_READER}'s task", below=2**63
            )  # any numbers: nothing is kept for each
            extra["task"] = torch.from_numpy(tasks).to(self._device)
        label = self._codes(y, n, most) if self._classes else self._numbers(y, n, outputs)
        return Rows(x, label.to(self._device), weight, extra)

    def keep(self, x: Tensor, y: Array | None, /) -> None:
        """Every later block looks like this one."""
        self._shape, self._coded = tuple(x.shape[1:]), not x.is_floating_point()
        if y is not None and not self._classes:
            self._targets = _targets(y)

    def state_dict(self) -> State:
        shape = None if self._shape is None else list(self._shape)
        return {"shape": shape, "coded": self._coded, "targets": self._targets}

    def load_state_dict(self, state: State, /) -> None:
        self._shape = None if state["shape"] is None else tuple(state["shape"])
        self._coded, self._targets = state["coded"], state["targets"]

    def _codes(self, y: Array | None, n: int, most: int) -> Tensor:
        code = blocks.codes(y, n, reader=_READER)
        if n and int(code.max()) >= most:
            row = int(code.argmax())
            raise PoisonError(
                f"{_READER} got the class code {code[row]} in row {row}; expected codes below {most}: number the "
                "classes 0, 1, ..., or give classes= a larger number; a module grows if it ends with nn.Linear"
            )
        return torch.from_numpy(code)

    def _numbers(self, y: Array | None, n: int, outputs: int) -> Tensor:
        if y is None:
            return torch.full((n, outputs), torch.nan)
        number = blocks.bounded(blocks.numbers(y, n, reader=_READER), "target", reader=_READER)
        wide = number[:, None] if number.ndim == 1 else number
        if wide.ndim != 2 or wide.shape[1] != outputs:
            raise PoisonError(
                f"{_READER} got targets of shape {number.shape} for a module of {outputs} outputs; give it a last "
                "layer of as many outputs as there are targets in a row"
            )
        if self._targets not in (None, _targets(number)):
            raise PoisonError(
                f"{_READER} got targets of shape {number.shape}; expected them as learnt before, "
                f"{'(n,)' if self.flat else f'(n, {self._targets})'}"
            )
        return torch.from_numpy(wide.astype(np.float32))


def _targets(y: Array) -> int:
    return 0 if y.ndim == 1 else y.shape[1]
