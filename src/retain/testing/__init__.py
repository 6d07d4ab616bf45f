"""The laws that every part must pass; public, so that users can test their own parts.

    import retain as rt
    rt.testing.check_learner(lambda: MyLearner(), rt.testing.examples("classification"))

Each law is a plain function that raises `AssertionError` with what differed; `check_learner`, `check_transform`,
`check_metric`, `check_stream`, `check_memory`, `check_detector`, `check_gate`, `check_trigger` and `check_predictor`
run all laws of their kind with Hypothesis choosing splits and save points (`pip install hypothesis`). Parts are given
as `make`, a function that returns a new one, always built the same way.

A tolerance of 0 asks for equality bit for bit, which is the law at granularity 1. A larger one is relative and
absolute, and belongs beside its reason.
"""

from __future__ import annotations

from retain.testing.data import example_rows, examples
from retain.testing.detectors import (
    check_detector,
    detector_blocks,
    detector_bounded,
    detector_poison,
    detector_resume,
)
from retain.testing.gates import check_gate, gate_blocks, gate_poison, gate_resume, gate_stands
from retain.testing.learners import (
    check_learner,
    learner_before,
    learner_blocks,
    learner_bounded,
    learner_newcomers,
    learner_poison,
    learner_purity,
    learner_resume,
)
from retain.testing.memories import (
    check_memory,
    memory_blocks,
    memory_bounded,
    memory_draws,
    memory_poison,
    memory_resume,
    memory_truth,
)
from retain.testing.metrics import check_metric
from retain.testing.predictors import (
    check_predictor,
    predictor_blocks,
    predictor_poison,
    predictor_purity,
    predictor_resume,
)
from retain.testing.process import resume_in_new_process
from retain.testing.streams import check_stream
from retain.testing.transforms import (
    check_transform,
    transform_before,
    transform_blocks,
    transform_poison,
    transform_purity,
    transform_resume,
)
from retain.testing.triggers import check_trigger

__all__ = [
    "check_detector",
    "check_gate",
    "check_learner",
    "check_memory",
    "check_metric",
    "check_predictor",
    "check_stream",
    "check_transform",
    "check_trigger",
    "detector_blocks",
    "detector_bounded",
    "detector_poison",
    "detector_resume",
    "example_rows",
    "examples",
    "gate_blocks",
    "gate_poison",
    "gate_resume",
    "gate_stands",
    "learner_before",
    "learner_blocks",
    "learner_bounded",
    "learner_newcomers",
    "learner_poison",
    "learner_purity",
    "learner_resume",
    "memory_blocks",
    "memory_bounded",
    "memory_draws",
    "memory_poison",
    "memory_resume",
    "memory_truth",
    "predictor_blocks",
    "predictor_poison",
    "predictor_purity",
    "predictor_resume",
    "resume_in_new_process",
    "transform_before",
    "transform_blocks",
    "transform_poison",
    "transform_purity",
    "transform_resume",
]
