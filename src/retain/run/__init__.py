"""The loops: test-then-train over a stream, with late labels and state that survives a kill."""

from retain.run.durable import durable
from retain.run.landing import Delay
from retain.run.prequential import Prequential

__all__ = ["Delay", "Prequential", "durable"]
