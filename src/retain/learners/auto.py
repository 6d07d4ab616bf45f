"""`auto`: a learner that is good untuned, for whatever a source turned out to hold."""

from __future__ import annotations

from retain.compose import Composable
from retain.core import Kind, Learner, Schema
from retain.features.dates import DateParts
from retain.features.hash import Hash
from retain.features.onehot import OneHot
from retain.features.scale import Scale
from retain.learners.ensemble import Hedge
from retain.learners.linear import SGD, Adaptive, Coin, Linear, Logistic, Multinomial, Squared
from retain.learners.linear.losses import Loss

__all__ = ["auto", "encoder", "loss"]


def auto(schema: Schema, /) -> Learner:
    """The default learner for rows of a schema: numbers scaled, categories encoded, four linear learners hedged.

    The four differ in how they step: normalised adaptive, coin betting, and plain gradient steps at two rates. None of
    them is best everywhere: adaptive steps settle down, which suits a world that stands still; constant steps go on
    following one that moves. `Hedge` finds out which, and again when that changes.

    >>> import retain as rt
    >>> stream = rt.streams.flights()
    >>> run = rt.Prequential(stream, rt.auto(stream.schema()), limit=20_000)
    >>> report = list(run)[-1]
    >>> report.metrics["auc"] > 0.65 > report.baselines["no_change"]["auc"]
    True
    """
    kind = loss(schema)
    members = (Adaptive(), Coin(), SGD(learning_rate=0.1), SGD(learning_rate=0.01))
    return encoder(schema, scaled=True) | Hedge(*(Linear(loss=kind, update=update) for update in members))


def encoder(schema: Schema, /, *, scaled: bool, narrow: bool = False) -> Composable:
    """What turns rows of a schema into a matrix of numbers.

    Times become their parts, categories one slot each. Where there is text everything is hashed: words have no end.

    Args:
        schema: what the source holds.
        scaled: for learners that need numbers of one size.
        narrow: for learners whose cost grows with the square of the width: few slots, shared by rare categories.
    """
    kinds = {column.kind for column in schema.columns}
    hashed = Hash(bits=9) if narrow else Hash()
    encode: Composable = hashed if Kind.TEXT in kinds else OneHot(max_categories=30 if narrow else 10_000)
    if scaled:
        encode = Scale() | encode
    return DateParts() | encode if Kind.TIME in kinds else encode


def loss(schema: Schema, /) -> Loss:
    """Squared for numbers, logistic for two classes, softmax for more."""
    if schema.classes is None:
        return Squared()
    return Logistic() if len(schema.classes) <= 2 else Multinomial()
