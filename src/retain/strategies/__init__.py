"""What keeps old knowledge while new rows are learnt: addends of the loss, and parts for the slots of `rt.Neural`."""

from retain.strategies.addend import Addend
from retain.strategies.replay import Replay

__all__ = ["Addend", "Replay"]
