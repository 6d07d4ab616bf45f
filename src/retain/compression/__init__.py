"""Compression that goes on learning: smaller, faster models made of one that learns, gated by what they really cost."""

from __future__ import annotations

from retain.compression.draft import Draft, Lessons, Pass, Step

__all__ = ["Draft", "Lessons", "Pass", "Step"]
