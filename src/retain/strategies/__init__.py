"""What keeps old knowledge while new rows are learnt: addends of the loss, and parts for the slots of `rt.Neural`."""

from retain.strategies.addend import Addend
from retain.strategies.agem import AGEM
from retain.strategies.bias import WA, BiC
from retain.strategies.der import DER
from retain.strategies.derpp import DERpp
from retain.strategies.gem import GEM
from retain.strategies.lwf import LwF
from retain.strategies.nearest_mean import NearestMean
from retain.strategies.replay import Replay

__all__ = ["AGEM", "DER", "GEM", "WA", "Addend", "BiC", "DERpp", "LwF", "NearestMean", "Replay"]
