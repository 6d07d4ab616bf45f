"""Systematic update: whether a candidate may take the champion's place."""

from retain.update.gates import Better, NotWorse

__all__ = ["Better", "NotWorse"]
