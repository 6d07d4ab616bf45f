"""What keeps old knowledge while new rows are learnt: addends of the loss, and parts for the slots of `rt.Neural`."""

from retain.strategies.addend import Addend
from retain.strategies.agem import AGEM
from retain.strategies.backprop import ContinualBackprop
from retain.strategies.bias import WA, BiC
from retain.strategies.cls_er import CLSER
from retain.strategies.der import DER
from retain.strategies.derpp import DERpp
from retain.strategies.ema import EMA
from retain.strategies.ewc import EWC, OnlineEWC
from retain.strategies.gem import GEM
from retain.strategies.l2 import L2SP, L2Init
from retain.strategies.lwf import LwF
from retain.strategies.mas import MAS
from retain.strategies.nearest_mean import NearestMean
from retain.strategies.packnet import PackNet
from retain.strategies.progress import ProgressCompress
from retain.strategies.replay import Replay
from retain.strategies.rounded import Rounded
from retain.strategies.shrink import ShrinkPerturb
from retain.strategies.si import SI
from retain.strategies.solved import Solved
from retain.strategies.sparse import Sparse
from retain.strategies.wise import WiSE

__all__ = [
    "AGEM",
    "CLSER",
    "DER",
    "EMA",
    "EWC",
    "GEM",
    "L2SP",
    "MAS",
    "SI",
    "WA",
    "Addend",
    "BiC",
    "ContinualBackprop",
    "DERpp",
    "L2Init",
    "LwF",
    "NearestMean",
    "OnlineEWC",
    "PackNet",
    "ProgressCompress",
    "Replay",
    "Rounded",
    "ShrinkPerturb",
    "Solved",
    "Sparse",
    "WiSE",
]
