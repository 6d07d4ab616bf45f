"""`add_examples`: a class taught on the spot, from a few examples of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import index
from typing import Any, cast

import numpy as np

from retain.compose import Chain, Settling, Wrapper, learns
from retain.core import Batch, Features, Learner, Schema
from retain.errors import PoisonError, SettingError
from retain.learners.ensemble import OpenSet

__all__ = ["add_examples"]


def add_examples(
    learner: Learner,
    examples: Features | Mapping[str, Sequence[Any]],
    /,
    *,
    label: str | int,
    schema: Schema | None = None,
) -> Schema | None:
    """Teach a class, new or known, from examples of it; what comes next is answered with them.

    The rows go through the transforms of a chain and are learnt like others, but at once: none waits for a block to
    fill, and an `OpenSet` takes the class for known without counting the examples as false alarms. A class that is new
    gets the next code of the schema, which only ever grows: old classes keep theirs, and their sums are not touched.
    A few examples are enough for `SLDA`, `NearestMean`, `FeCAM` and `Ridge(balanced=True)`, to which classes count
    alike; others weigh them like any five rows, and `Neural` learns them when its mini-batch is full.

    Args:
        learner: of classes; a chain is fine.
        examples: n rows, in the form the learner is used to, or columns by name, as {"text": ["hello", "good day"]}.
        label: the name of the class, or its code.
        schema: what the rows hold; a name needs one, whose classes say which code is whose.

    Returns:
        The schema with the class in it, to be used from now on; None where none was given.

    Raises:
        SettingError: a name without a schema, a code without a name, a learner of numbers.
        PoisonError: no examples, or what the learner does not accept. Nothing has changed then.

    >>> import numpy as np, retain as rt
    >>> rng = np.random.default_rng(0)
    >>> learner, schema = rt.SLDA(), rt.Schema(classes=("lost card", "top up"))
    >>> x = rng.normal(size=(600, 4)) + 5 * np.eye(4)[np.arange(600) % 2]
    >>> said = learner.learn(rt.Batch(x, y=np.arange(600) % 2))
    >>> schema = rt.add_examples(learner, rng.normal(size=(5, 4)) + [0, 0, 0, 5], label="exchange rate", schema=schema)
    >>> schema.classes[learner.predict(np.array([[0, 0, 0, 6]])).argmax()]
    'exchange rate'
    """
    code, schema = _code(label, schema)
    x = _rows(examples)
    n = len(Batch(x))
    if not n:
        raise PoisonError(f"add_examples got no examples of {label!r}; expected at least one row")
    if learner.predict(x).ndim == 1:
        raise SettingError(
            f"add_examples got a learner that says numbers; expected one of classes to teach {label!r} to"
        )
    _bare(learner).learn(Batch(x, y=np.full(n, code, dtype=np.int64), schema=schema))
    end = learns(learner)
    if isinstance(end, Settling):
        end.settle()
    _know(learner, code)
    return schema


def _code(label: str | int, schema: Schema | None) -> tuple[int, Schema | None]:
    """The code of a class, and the schema that knows it."""
    classes = None if schema is None else schema.classes
    if schema is not None and classes is None:
        raise SettingError(
            f"add_examples got a schema whose target {schema.target!r} holds numbers; expected one with classes"
        )
    if isinstance(label, str):
        if schema is None or classes is None:
            raise SettingError(
                f"add_examples got the class {label!r} and no schema; expected schema=, whose classes say which code "
                "is whose, or the code itself"
            )
        if label in classes:
            return classes.index(label), schema
        return len(classes), replace(schema, classes=(*classes, label))
    try:
        label = index(label)
    except TypeError as error:
        raise SettingError(
            f"add_examples got the label {label!r}; expected the name of a class, or its code"
        ) from error
    if label < 0 or (classes is not None and label >= len(classes)):
        names = "" if classes is None else f" below {len(classes)}, which the schema has a name for"
        raise SettingError(f"add_examples got the class code {label}; expected a code from 0{names}")
    return label, schema


def _rows(examples: Features | Mapping[str, Sequence[Any]]) -> Features:
    if isinstance(examples, Mapping):
        import pyarrow as pa

        try:
            return pa.record_batch(dict(cast("Mapping[str, Any]", examples)))
        except (pa.ArrowTypeError, TypeError, ValueError) as error:
            raise PoisonError(f"the columns do not make rows ({error}); give them one type and one length") from error
    if examples is None or isinstance(examples, (list, tuple, str)):
        raise PoisonError(
            f"add_examples got a {type(examples).__name__}; expected an array, sparse rows, a record batch, or columns "
            'by name, e.g. {"text": ["hello", "good day"]}'
        )
    return examples


def _bare(learner: Learner) -> Learner:
    """The learner without what is around it: examples are no rows of the stream."""
    if isinstance(learner, Wrapper):
        return _bare(learner.learner)
    return Chain(learner.transforms, _bare(learner.learner)) if isinstance(learner, Chain) else learner


def _know(learner: Learner, code: int) -> None:
    if isinstance(learner, OpenSet):
        learner.know(code)
    if isinstance(learner, (Chain, Wrapper)):
        _know(learner.learner, code)
