"""A module, its weights and its criterion, as strategies see them: `retain.core.Model`.

Shapes: n rows, k outputs, p parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import final

import torch
from torch import Tensor, nn

from retain.core import Forward, Rows
from retain.errors import SettingError
from retain.learners.neural import modules
from retain.learners.neural.captured import Captured
from retain.learners.neural.criteria import Criterion
from retain.learners.neural.passes import passes
from retain.learners.neural.viewed import Viewed
from retain.learners.neural.weights import Weights
from retain.strategies.addend import Viewing

__all__ = ["Network"]

_STEADY = frozenset(
    [
        *(nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.Identity, nn.Flatten, nn.Unflatten),
        *(nn.Linear, nn.Bilinear, nn.Embedding, nn.EmbeddingBag, nn.Conv1d, nn.Conv2d, nn.Conv3d),
        *(nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm),
        *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus, nn.PReLU),
        *(nn.Tanh, nn.Sigmoid, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.Softmax, nn.LogSoftmax),
        *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
        *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d),
        *(nn.Upsample, nn.PixelShuffle, nn.ZeroPad1d, nn.ZeroPad2d, nn.ReflectionPad2d),
    ]
)


@final
class Network:
    """A module and its criterion; `classes` of its outputs have been learnt, the others are not looked at."""

    def __init__(self, module: nn.Module, criterion: Criterion, *, compiled: bool, view: Viewing | None = None) -> None:
        self.module, self.criterion = module, criterion
        self.layout = Weights(module)
        self.steady = _steady(module)
        self.classes = 0
        self.seen = torch.zeros((0, 0), dtype=torch.bool)  # (tasks, classes): which classes occurred in which task
        through = passes(module, self.layout, compiled=compiled)
        record = self.layout.flat.is_cuda and self.steady and not compiled
        through = Captured(through, self.layout) if record else through
        self.through = through if view is None else Viewed(through, self.layout, view)
        self.buffers = tuple(module.buffers())

    @property
    def weights(self) -> Tensor:
        return self.layout.flat

    def seen_of(self, weights: Tensor, /) -> Tensor:
        """(p,) what the module sees of weights (p,)."""
        return self.through.view(weights) if isinstance(self.through, Viewed) else weights

    def release(self) -> None:
        """No way back follows the last way forwards: a strategy has raised an error in between."""
        if isinstance(self.through, Viewed):
            self.through.release()

    @property
    def head(self) -> nn.Linear | None:
        return self.layout.head

    def losses(self, forward: Forward, /) -> Tensor:
        return self.criterion.losses(self._competing(forward), forward.rows.y)

    def slope(self, forward: Forward, /, *, incoming: bool = False) -> tuple[Tensor, Tensor]:
        rows = forward.rows
        loss, slope = self.criterion.slope(self._competing(forward), rows.y, rows.weight, incoming=incoming)
        # Outputs that stand for no class yet are left alone.
        missing = forward.output.shape[1] - slope.shape[1]
        return loss, nn.functional.pad(slope, (0, missing)) if missing else slope

    def outputs(self, x: Tensor, /, *, weights: Tensor | None = None) -> Tensor:
        with self.evaluating():
            return self.through.outputs(x, self.weights if weights is None else weights)

    def features(self, x: Tensor, /, *, weights: Tensor | None = None) -> Tensor:
        with self.evaluating():
            return self.through.features(x, self.weights if weights is None else weights)

    def gradient(self, rows: Rows, /, *, slope: Callable[[Forward], Tensor] | None = None) -> Tensor:
        gradient = torch.empty_like(self.weights)
        try:
            forward = Forward(rows, self.through.forward(rows.x))
            self.through.backward(self.slope(forward)[1] if slope is None else slope(forward), gradient)
        finally:
            self.release()
        return gradient

    def magnitudes(self, x: Tensor, slope: Tensor, /, *, power: int) -> Tensor:
        with self.evaluating():
            return self.through.magnitudes(x, slope, power=power)

    def widen(self, vector: Tensor, /) -> Tensor:
        return self.layout.widen(vector)

    def scores(self, output: Tensor, task: Tensor | None = None, /) -> Tensor:
        """Outputs of the classes that have been learnt, those of other tasks at minus infinity; all, for numbers."""
        if not self.criterion.classes:
            return output
        output = output[:, : self.classes]
        if task is None or not len(self.seen):
            return output
        # A task that never was told of may hold every class; nothing is known of a class that never was learnt.
        told = (task >= 0) & (task < len(self.seen))
        allowed = self.seen[task.clamp(0, len(self.seen) - 1), : self.classes] | ~told[:, None]
        return output.masked_fill(~allowed, -torch.inf)

    def _competing(self, forward: Forward) -> Tensor:
        """Outputs by which rows are learnt."""
        task = forward.rows.extra.get("task")
        return forward.output if self.criterion.unseen and task is None else self.scores(forward.output, task)

    def meet(self, rows: Rows, classes: int, /) -> None:
        """Take note of the classes, all below `classes`, and of which task they are, that are about to be learnt."""
        self.classes = max(self.classes, classes)
        task = rows.extra.get("task")
        if not classes or (task is None and not len(self.seen)):
            return
        tasks = len(self.seen) if task is None else max(len(self.seen), int(task.max()) + 1)
        if self.seen.shape != (tasks, self.classes):
            seen = torch.zeros((tasks, self.classes), dtype=torch.bool, device=rows.y.device)
            seen[: self.seen.shape[0], : self.seen.shape[1]] = self.seen.to(seen.device)
            self.seen = seen
        if task is None:
            return
        told = task >= 0
        self.seen[task[told], rows.y[told]] = True

    @contextmanager
    def evaluating(self) -> Generator[None]:
        """Evaluation mode, and the mode as it was afterwards."""
        if self.steady or not self.module.training:
            yield
            return
        self.module.eval()
        try:
            yield
        finally:
            self.module.train()

    def width(self, x: Tensor, /) -> int:
        """How many outputs the module has, found by trying it on rows.

        Raises:
            SettingError: the module does not take such rows, or does not answer with one row of outputs for each.
        """
        try:
            output = self.outputs(x)
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            first = str(error).splitlines()[0]
            raise SettingError(
                f"the module does not take rows of shape {tuple(x.shape[1:])} and type {x.dtype} ({first}); give it a "
                "first layer for such rows, or reshape them"
            ) from error
        if output.ndim != 2 or len(output) != len(x):
            raise SettingError(
                f"the module answers {len(x)} rows of shape {tuple(x.shape[1:])} with shape {tuple(output.shape)}; "
                "expected (rows, outputs): end it with nn.Flatten() or nn.Linear(...)"
            )
        return output.shape[1]


def _steady(module: nn.Module) -> bool:
    """Whether a module says the same in training as in evaluation: what it said in a step then is its prediction.

    A module of someone else's may ask for its mode anywhere, so only layers known not to are trusted.
    """
    recurrent = (nn.RNN, nn.GRU, nn.LSTM)
    return all(
        type(part) in _STEADY or (isinstance(part, recurrent) and not part.dropout) or _ours(part)
        for part in module.modules()
    )


def _ours(part: nn.Module) -> bool:
    return type(part).__module__ == modules.__name__
