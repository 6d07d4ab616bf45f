"""`OnnxRuntime`: an encoder as a graph that ONNX Runtime goes through instead of torch.

Shapes: n items, t tokens.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from retain.errors import SettingError
from retain.graphs import exported, needed, opened, rounded

__all__ = ["OnnxRuntime", "Running", "TokenStates"]


@final
class OnnxRuntime:
    """A part for `Embed`: the encoder is exported to ONNX once, when the first items come, and runs on the CPU.

    Of single texts it makes features more than twice as fast as torch, which spends that time between its
    operations; of many at a time about as fast. Features differ by rounding only, so that a state goes on under it and
    without it.

    Args:
        int8: matrix products in whole numbers of 8 bits, quicker for many texts at a time on processors that are made
            for it. They are another encoder, with a hash of its own; and as numbers are rounded by the largest that
            goes along, a text's features depend on its company by some per cent of their length, not by rounding only.

    Raises:
        MissingExtraError: without onnx, onnxscript and onnxruntime.
        SettingError: when the first items come, a net of which no graph can be made.

    >>> import numpy as np, torch, retain as rt
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.Tanh())
    >>> x = np.eye(4, dtype=np.float32)
    >>> fast = rt.Embed(net, runtime=rt.OnnxRuntime())
    >>> bool(np.abs(fast.apply(x) - rt.Embed(net).apply(x)).max() < 1e-5)
    True
    """

    def __init__(self, *, int8: bool = False) -> None:
        needed("onnx", "onnxruntime", "onnxscript", reader="OnnxRuntime")
        self.int8 = int8

    @property
    def tag(self) -> str:
        """What it changes about features: nothing, or that they are rounded."""
        return " int8" if self.int8 else ""

    def graph(self, net: nn.Module, /, *example: Tensor, free: int) -> Running:
        """The net as a function of inputs like the examples, the first `free` dimensions of any size."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "net.onnx"
            try:
                exported(net, example, free=free).save(path)
                made = rounded(path).read_bytes() if self.int8 else path
            except Exception as error:
                first = (str(error).strip().splitlines() or ["no more is said"])[0]
                raise SettingError(
                    f"no graph can be made of the encoder ({type(error).__name__}: {first:.200}); leave runtime= out"
                ) from error
            return Running(made)


@final
class Running:
    """A graph as a function of tensors, by as many threads as torch has when it is made.

    Args:
        model: its bytes, which are kept, or where it lies.
    """

    def __init__(self, model: bytes | Path, /) -> None:
        self._session = opened(model, threads=torch.get_num_threads())
        self.model = model if isinstance(model, bytes) else None
        self.size = (
            len(model) if isinstance(model, bytes) else sum(one.stat().st_size for one in model.parent.iterdir())
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row of its first input."""
        return tuple(self._session.get_inputs()[0].shape[1:])

    def __call__(self, *inputs: Tensor) -> Tensor:
        names = [one.name for one in self._session.get_inputs()]
        given = {name: one.numpy() for name, one in zip(names, inputs, strict=True)}
        return torch.from_numpy(self._session.run(None, given)[0])

    def __deepcopy__(self, memo: dict[int, Any]) -> Running:
        return self


@final
class TokenStates(nn.Module):
    """A net of texts as a function of tokens (n, t) and of which of them count (n, t)."""

    def __init__(self, net: nn.Module, /) -> None:
        super().__init__()
        self.net = net

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.net(input_ids=ids, attention_mask=mask).last_hidden_state
