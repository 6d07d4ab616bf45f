"""Compression that goes on learning: smaller, faster models made of one that learns, gated by what they really cost."""

from __future__ import annotations

from retain.compression.artifact import Artifact
from retain.compression.budget import Change, Judgement, Within
from retain.compression.climb import compress
from retain.compression.cost import Cost, Latency
from retain.compression.draft import Draft, Format, Lessons, Step
from retain.compression.report import CompressionReport, Rung
from retain.compression.steps.half import Half
from retain.compression.steps.int8 import Int8

__all__ = [
    "Artifact",
    "Change",
    "CompressionReport",
    "Cost",
    "Draft",
    "Format",
    "Half",
    "Int8",
    "Judgement",
    "Latency",
    "Lessons",
    "Rung",
    "Step",
    "Within",
    "compress",
]
