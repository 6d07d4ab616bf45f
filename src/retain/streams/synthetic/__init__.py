"""Generators of streams whose concept, noise and drift are known: one file per generator.

All are functions of a seed and a row number: any row can be made without the rows before it (see `generator.py`). Let
two of them follow one another with `retain.streams.drift`.
"""

from __future__ import annotations

from retain.streams.synthetic.agrawal import Agrawal
from retain.streams.synthetic.friedman import Friedman
from retain.streams.synthetic.hyperplane import Hyperplane
from retain.streams.synthetic.led import LED
from retain.streams.synthetic.rbf import RandomRBF
from retain.streams.synthetic.sea import SEA
from retain.streams.synthetic.sine import Sine
from retain.streams.synthetic.stagger import STAGGER
from retain.streams.synthetic.tree import RandomTree

__all__ = ["LED", "SEA", "STAGGER", "Agrawal", "Friedman", "Hyperplane", "RandomRBF", "RandomTree", "Sine"]
