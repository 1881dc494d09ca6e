"""Portcullis: the gate between trading bots and venues. A bot's program imports its client from here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streams.client import BotClient, connect, make_order

__all__ = ["BotClient", "connect", "make_order"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module's attributes are anything
    """Load the client when it is asked for: a worker's start must not pay for it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from streams import client  # noqa: PLC0415

    return getattr(client, name)
