"""An instruction that numba does not offer: ask for memory before it is needed."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["prefetch"]


@intrinsic
def prefetch(typing_context: Any, array: Any, index: Any) -> Any:  # noqa: ARG001 - types of arguments, by numba's rules
    """Ask for the row array[index] of a (D, C) array before it is needed; the processor goes on meanwhile."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        view = context.make_array(kind)(context, builder, arguments[0])
        place = cgutils.get_item_pointer(context, builder, kind, view, [arguments[1], ir.Constant(ir.IntType(64), 0)])
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        fetch = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [byte, word, word, word]), "llvm.prefetch.p0"
        )
        # 1: to be written as well; 3: keep in every cache; 1: data, not code
        builder.call(fetch, [builder.bitcast(place, byte), word(1), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64), generate
