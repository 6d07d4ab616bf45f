"""Versions of models and their history: immutable states named by content, aliases that move, nothing that executes."""

from retain.registry.files import FileRegistry, Listed
from retain.registry.history import CANDIDATE, CHAMPION, PREVIOUS
from retain.registry.journal import Entry

__all__ = ["CANDIDATE", "CHAMPION", "PREVIOUS", "Entry", "FileRegistry", "Listed"]
