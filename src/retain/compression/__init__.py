"""Compression that goes on learning: smaller, faster models made of one that learns, gated by what they really cost.

Steps for nets bring torch with them: each name is found when it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from retain.errors import MissingExtraError

_HOME = {
    "Artifact": "artifact",
    "Change": "budget",
    "compress": "climb",
    "CompressionReport": "report",
    "Cost": "cost",
    "Distil": "steps.distil",
    "Draft": "draft",
    "FewerBits": "steps.fewer_bits",
    "Form": "forms",
    "Format": "draft",
    "Half": "steps.half",
    "Int8": "steps.int8",
    "Judgement": "budget",
    "ladder": "climb",
    "Latency": "cost",
    "Lessons": "draft",
    "LowRank": "steps.low_rank",
    "Magnitude": "steps.magnitude",
    "MajorityLeaves": "steps.majority_leaves",
    "Narrow": "steps.narrow",
    "PruneBranches": "steps.prune_branches",
    "PruneMembers": "steps.prune_members",
    "Rung": "report",
    "Shrink": "steps.shrink",
    "Step": "draft",
    "Truncate": "steps.truncate",
    "Within": "budget",
}

if not TYPE_CHECKING:  # type checkers read the imports at the end of this file instead
    __all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        try:
            return getattr(import_module(f"retain.compression.{_HOME[name]}"), name)
        except ImportError as error:
            if error.name != "torch" and not isinstance(error, MissingExtraError):
                raise
            raise MissingExtraError(f"compression.{name} needs torch: pip install 'retain[deploy]'") from error
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(_HOME)}")


if TYPE_CHECKING:
    from retain.compression.artifact import Artifact as Artifact
    from retain.compression.budget import Change as Change
    from retain.compression.budget import Judgement as Judgement
    from retain.compression.budget import Within as Within
    from retain.compression.climb import compress as compress
    from retain.compression.climb import ladder as ladder
    from retain.compression.cost import Cost as Cost
    from retain.compression.cost import Latency as Latency
    from retain.compression.draft import Draft as Draft
    from retain.compression.draft import Format as Format
    from retain.compression.draft import Lessons as Lessons
    from retain.compression.draft import Step as Step
    from retain.compression.forms import Form as Form
    from retain.compression.report import CompressionReport as CompressionReport
    from retain.compression.report import Rung as Rung
    from retain.compression.steps.distil import Distil as Distil
    from retain.compression.steps.fewer_bits import FewerBits as FewerBits
    from retain.compression.steps.half import Half as Half
    from retain.compression.steps.int8 import Int8 as Int8
    from retain.compression.steps.low_rank import LowRank as LowRank
    from retain.compression.steps.magnitude import Magnitude as Magnitude
    from retain.compression.steps.majority_leaves import MajorityLeaves as MajorityLeaves
    from retain.compression.steps.narrow import Narrow as Narrow
    from retain.compression.steps.prune_branches import PruneBranches as PruneBranches
    from retain.compression.steps.prune_members import PruneMembers as PruneMembers
    from retain.compression.steps.shrink import Shrink as Shrink
    from retain.compression.steps.truncate import Truncate as Truncate
