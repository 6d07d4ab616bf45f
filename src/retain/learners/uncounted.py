"""Arrays that compiled code need not count its uses of.

numba counts who holds an array, as Python does: a function that is handed a tuple of twenty arrays adds 1 to twenty
counters and takes it away again, one locked instruction each, which for a row loop is most of its time. Whoever called
the loop holds the arrays until it ends, so that inside of it nothing need be counted.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

__all__ = ["uncounted"]


def _make(_typing: Any, arrays: Any) -> Any:
    """The same named tuple, whose arrays have no counter; other members stay as they are."""

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        (whole,) = args
        for i, kind in enumerate(arrays.types):
            if isinstance(kind, types.Array):
                array = context.make_array(kind)(context, builder, builder.extract_value(whole, i))
                array.meminfo = context.get_constant_null(types.voidptr)
                whole = builder.insert_value(whole, array._getvalue(), i)  # noqa: SLF001 - numba's own way
        return whole

    return arrays(arrays), generate


uncounted: Any = intrinsic(_make)
