"""The loops: test-then-train over a stream, with late labels and state that survives a kill; experiences in turn."""

from retain.run import scenarios
from retain.run.durable import durable
from retain.run.experiences import Experiences, continual
from retain.run.landing import Delay
from retain.run.prequential import Prequential

__all__ = ["Delay", "Experiences", "Prequential", "continual", "durable", "scenarios"]
