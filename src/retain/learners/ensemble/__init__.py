"""Learners made of learners."""

from retain.learners.ensemble.amf import AMF
from retain.learners.ensemble.hedge import Hedge
from retain.learners.ensemble.open_set import OpenSet

__all__ = ["AMF", "Hedge", "OpenSet"]
