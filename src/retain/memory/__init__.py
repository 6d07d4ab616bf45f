"""Rows kept of all that went by, under a fixed budget, to be replayed: one file for each rule of what is kept.

Every memory takes rows one after the other, however they are split into calls, at a cost per row that does not grow
with the stream; its state is exact. See `retain.core.Memory`; a memory of your own descends from `Buffer`.
"""

from __future__ import annotations

from retain.memory.balanced import ClassBalanced, ExperienceBalanced
from retain.memory.buffer import Buffer
from retain.memory.herding import Herding
from retain.memory.loss_aware import LossAware
from retain.memory.past import Past
from retain.memory.product import ProductQuantised
from retain.memory.reservoir import Reservoir
from retain.memory.ring import Ring
from retain.memory.slots import Bytes, Slots
from retain.memory.stores import Half, Plain, Store, UInt8

__all__ = [
    "Buffer",
    "Bytes",
    "ClassBalanced",
    "ExperienceBalanced",
    "Half",
    "Herding",
    "LossAware",
    "Past",
    "Plain",
    "ProductQuantised",
    "Reservoir",
    "Ring",
    "Slots",
    "Store",
    "UInt8",
]
