"""How values are written in verdicts: whole, bounded, safe in any log or terminal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

SHOWN_MAX: Final = 60
TIME_END_US: Final = 253_402_128_000_000_000  # 9999-12-30: beyond it a zone's offset may leave datetime's range

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def time_text(at_us: int) -> str:
    """Write microseconds since the epoch as `YYYY-MM-DDThh:mm:ss.ddddddZ`; outside 1970 to 9999 as a bare number.

    Source: Reg. 2017/580 Annex, {DATE_TIME_FORMAT}.
    """
    if not 0 <= at_us < TIME_END_US:
        return f"{at_us} us"
    return (_EPOCH + timedelta(microseconds=at_us)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def shown(text: str) -> str:
    """Write a message's own text so that it can do no harm: ASCII, escaped, at most 60 characters of it."""
    escaped = ascii(text[:SHOWN_MAX])[1:-1]
    return escaped if len(text) <= SHOWN_MAX else escaped + "..."


def names_text(names: frozenset[str]) -> str:
    """Write a policy's list of names, sorted."""
    return ", ".join(sorted(names))
