"""`Embed`: texts, images and other arrays as the features of a frozen encoder."""

from retain.features.embed.embed import Embed

__all__ = ["Embed"]
