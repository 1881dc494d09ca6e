"""The policy of a bot: what the board approved, read from its JSON document and checked whole.

The document is the seed guide's "Article 67" policy with units in its names; amounts are decimal text, never floats.
Its SHA-256 is the policy id. A bot without every limit cannot be registered (RTS 6 Art. 8).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from streams.core.errors import PortcullisError
from streams.core.orders import MONEY_SCALE, QTY_SCALE, parse_decimal

POLICY_BYTES_MAX: Final = 64 * 1024
MARKETS_MAX: Final = 256


class PolicyError(PortcullisError):
    """The policy document does not hold; `problems` names every field, limit and value."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("policy refused: " + "; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class TradingHours:
    """Local hours `[start, end)` in `zone`; `start == end` means the whole day; `start > end` spans midnight."""

    start: time
    end: time
    zone: ZoneInfo
    exclude_weekends: bool
    holidays: frozenset[date]


@dataclass(frozen=True, slots=True)
class Policy:
    """What a bot may do. Money in EUR at scale 5, quantities at scale 17, times in the unit of the name."""

    policy_id: bytes
    agent_id: str
    operator: str
    operator_regulator_id: str
    valid_from_us: int
    valid_until_us: int
    max_order_value_e5: int
    max_daily_value_e5: int
    max_order_qty_e17: dict[str, int]
    allowed_markets: frozenset[str]
    restricted_markets: frozenset[str]
    allowed_regions: frozenset[str]
    allowed_venues: frozenset[str]
    trading_hours: TradingHours
    kill_switch_manual: bool
    kill_threshold: float
    breaker_threshold: float
    breaker_cooldown_s: int
    max_consecutive_failures: int
    price_collar_bps: int
    message_rate_max_per_s: int
    execution_max: int
    execution_window_s: int
    max_order_age_ms: int
    reference_max_age_ms: int
    duplicate_window_s: int
    manual_kill_by: frozenset[str]
    scope_sha256: bytes


def policy_id(document: bytes) -> bytes:
    """Return the policy's id: the SHA-256 of its bytes as approved."""
    return hashlib.sha256(document).digest()


def scope_sha256(scope: dict[str, Any]) -> bytes:
    """Return the digest of a policy's scope that the certificate carries: SHA-256 of its canonical JSON.

    Canonical: keys sorted, no spaces, UTF-8; the same as RFC 8785 for a document without floats.
    """
    text = json.dumps(scope, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).digest()


def parse_policy(document: bytes) -> Policy:
    """Read a policy document.

    Raises: PolicyError naming every missing or wrong field. Source: RTS 6 Art. 5, 8, 15; the seed guide's Art. 67.
    """
    if len(document) > POLICY_BYTES_MAX:
        raise PolicyError((f"document: at most {POLICY_BYTES_MAX} bytes, has {len(document)}",))
    try:
        body = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise PolicyError((f"document: not JSON ({error})",)) from None
    reader = _Reader(body)
    policy = reader.policy(document)
    if reader.problems or policy is None:
        raise PolicyError(tuple(reader.problems))
    return policy
