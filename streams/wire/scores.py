"""Scores in audit events: written with each order, so one layout serves all scores of the same features."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import TYPE_CHECKING

from streams.wire.binary import NULL, VALUE, write_long, write_name

if TYPE_CHECKING:
    from streams.wire.decisions import ScoreDetail


def write_score(score: ScoreDetail) -> bytes:
    """Return an optional score that is there."""
    model, value, features = score
    layout, constants = _score_layout(model, tuple(features))
    parts = constants.copy()
    parts[1] = value
    parts[3:-1:2] = features.values()
    return layout.pack(*parts)


@lru_cache(256)
def _score_layout(model: str, names: tuple[str, ...]) -> tuple[struct.Struct, list[bytes | float]]:
    """Return how a score with these features is packed, and its parts with noughts in place of the numbers."""
    parts: list[bytes | float] = [VALUE + write_name(model), 0.0]
    for place, name in enumerate(names):
        count = write_long(len(names)) if place == 0 else b""
        parts += (count + write_name(name), 0.0)
    parts.append(NULL)
    formats = (f"{len(part)}s" if isinstance(part, bytes) else "d" for part in parts)
    return struct.Struct("<" + "".join(formats)), parts
