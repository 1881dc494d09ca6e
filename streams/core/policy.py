"""The policy of a bot: what the board approved, read from its JSON document and checked whole.

The document is the seed guide's "Article 67" policy with units in its names; amounts are decimal text, never floats.
Its SHA-256 is the policy id. A bot without every limit cannot be registered (RTS 6 Art. 8).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from streams.core import documents as form
from streams.core.documents import DocumentReader, load_json
from streams.core.errors import PortcullisError
from streams.core.hours import TradingHours
from streams.core.orders import MONEY_SCALE, QTY_SCALE
from streams.core.testing import FitnessPlan, read_plan

if TYPE_CHECKING:
    from datetime import date

POLICY_BYTES_MAX: Final = 64 * 1024
MARKETS_MAX: Final = 256

_MONEY_MAX_E5: Final = 10**18  # ten trillion EUR: a day's sum stays below 2**63
_QTY_MAX_E17: Final = 10**37
_SCORE_SCALE: Final = 4
_PEOPLE_MAX: Final = 32
_DOCUMENTS_MAX: Final = 64
_HOLIDAYS_MAX: Final = 366
_DAY_S: Final = 86_400
_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 86_400_000


class PolicyError(PortcullisError):
    """The policy document does not hold; `problems` names every field, limit and value."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("policy refused: " + "; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class GovernanceDocument:
    """A document behind the policy: who wrote it, who approved it, its digest and its review dates."""

    title: str
    author: str
    approver: str
    sha256: bytes
    last_review: date
    next_review: date


@dataclass(frozen=True, slots=True)
class Governance:
    """Who answers for the policy, its documents, and the board's resolution."""

    documented_by: str
    approved_by: str
    last_review: date
    next_review: date
    documents: tuple[GovernanceDocument, ...]
    resolution: str
    resolution_passed: date
    resolution_approved_by: frozenset[str]


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
    breaker_reset: float
    breaker_cooldown_s: int
    breaker_probe_orders: int
    kill_grace_s: int
    heartbeat_interval_ms: int
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
    testing: FitnessPlan
    governance: Governance


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
        body = load_json(document)
    except (ValueError, RecursionError) as error:
        raise PolicyError((f"document: not JSON ({error})",)) from None
    reader = DocumentReader(body, "", [])
    fields = _head(reader) | _scope(reader.child("scope")) | _risk_controls(reader.child("risk_controls"))
    fields |= {"testing": read_plan(reader.child("testing")), "governance": _governance(reader.child("governance"))}
    reader.finish()
    if reader.problems or not isinstance(body, dict):
        raise PolicyError(tuple(reader.problems))
    return Policy(policy_id=policy_id(document), scope_sha256=scope_sha256(body["scope"]), **fields)


def _head(reader: DocumentReader) -> dict[str, Any]:
    valid_from_us, valid_until_us = reader.instant_us("valid_from"), reader.instant_us("valid_until")
    if valid_until_us <= valid_from_us:
        reader.note("valid_until", "after valid_from", valid_until_us)
    return {
        "agent_id": reader.text("agent_id", form.NAME),
        "operator": reader.text("operator", form.NAME),
        "operator_regulator_id": reader.text("operator_regulator_id", form.NAME),
        "valid_from_us": valid_from_us,
        "valid_until_us": valid_until_us,
    }


def _scope(reader: DocumentReader) -> dict[str, Any]:
    markets = reader.texts("allowed_markets", form.MARKET, 1, MARKETS_MAX)
    quantities = reader.decimals("max_order_qty", form.MARKET, QTY_SCALE, _QTY_MAX_E17)
    if markets != quantities.keys():
        reader.note("max_order_qty", "a limit for each allowed market and for no other", sorted(quantities))
    fields = {
        "max_order_value_e5": reader.decimal("max_order_value_eur", MONEY_SCALE, _MONEY_MAX_E5),
        "max_daily_value_e5": reader.decimal("max_daily_value_eur", MONEY_SCALE, _MONEY_MAX_E5),
        "max_order_qty_e17": quantities,
        "allowed_markets": markets,
        "restricted_markets": reader.texts("restricted_markets", form.MARKET, 0, MARKETS_MAX),
        "allowed_regions": reader.texts("allowed_regions", form.REGION, 1, MARKETS_MAX),
        "allowed_venues": reader.texts("allowed_venues", form.MIC, 1, MARKETS_MAX),
        "trading_hours": _trading_hours(reader.child("trading_hours")),
    }
    reader.finish()
    return fields


def _trading_hours(reader: DocumentReader) -> TradingHours:
    hours = TradingHours(
        start=reader.minute("start"),
        end=reader.minute("end"),
        zone=reader.zone("tz"),
        exclude_weekends=reader.flag("exclude_weekends"),
        holidays=reader.days("holidays", _HOLIDAYS_MAX),
    )
    reader.finish()
    return hours


def _risk_controls(reader: DocumentReader) -> dict[str, Any]:
    kill_e4 = reader.decimal("kill_switch_automatic", _SCORE_SCALE, 9_999)
    breaker_e4 = reader.decimal("circuit_breaker_threshold", _SCORE_SCALE, 9_999)
    if breaker_e4 > kill_e4:
        reader.note("circuit_breaker_threshold", "at most kill_switch_automatic", breaker_e4)
    reset_e4 = reader.decimal("circuit_breaker_reset", _SCORE_SCALE, 9_999, default=breaker_e4 * 4 // 5)
    if reset_e4 > breaker_e4:
        reader.note("circuit_breaker_reset", "at most circuit_breaker_threshold", reset_e4)
    manual = reader.flag("kill_switch_manual")
    if not manual:
        reader.note("kill_switch_manual", "true (RTS 6 Art. 12)", manual)
    fields = {
        "kill_switch_manual": manual,
        "kill_threshold": kill_e4 / 10**_SCORE_SCALE,
        "breaker_threshold": breaker_e4 / 10**_SCORE_SCALE,
        "breaker_reset": reset_e4 / 10**_SCORE_SCALE,
        "breaker_cooldown_s": reader.integer("circuit_breaker_cooldown_s", 1, _DAY_S),
        "breaker_probe_orders": reader.integer("circuit_breaker_probe_orders", 1, 1_000, default=5),
        "kill_grace_s": reader.integer("kill_grace_s", 1, _DAY_S, default=300),
        # 0: the bot sends no heartbeats, and nobody misses them.
        "heartbeat_interval_ms": reader.integer("heartbeat_interval_ms", 100, _HOUR_MS, default=0),
        "max_consecutive_failures": reader.integer("max_consecutive_failures", 1, 1_000),
        "price_collar_bps": reader.integer("price_collar_bps", 1, 10_000),
        "message_rate_max_per_s": reader.integer("message_rate_max_per_s", 1, 100_000),
        "execution_max": reader.integer("execution_max", 1, 100_000_000),
        "execution_window_s": reader.integer("execution_window_s", 1, _DAY_S),
        "max_order_age_ms": reader.integer("max_order_age_ms", 1, _DAY_MS),
        "reference_max_age_ms": reader.integer("reference_max_age_ms", 1, _DAY_MS),
        "duplicate_window_s": reader.integer("duplicate_window_s", 1, _DAY_S),
        # Two at least: whoever kills may not release.
        "manual_kill_by": reader.texts("manual_kill_by", form.PERSON, 2, _PEOPLE_MAX),
    }
    reader.finish()
    return fields


def _governance(reader: DocumentReader) -> Governance:
    resolution = reader.child("board_resolution")
    last_review, next_review = _reviews(reader)
    documented_by, approved_by = _two_people(reader, "documented_by", "approved_by")
    governance = Governance(
        documented_by=documented_by,
        approved_by=approved_by,
        last_review=last_review,
        next_review=next_review,
        documents=tuple(_document(item) for item in reader.children("documents", _DOCUMENTS_MAX)),
        resolution=resolution.prose("resolution"),
        resolution_passed=resolution.day("passed"),
        resolution_approved_by=resolution.texts("approved_by", form.PERSON, 1, _PEOPLE_MAX),
    )
    resolution.finish()
    reader.finish()
    return governance


def _document(reader: DocumentReader) -> GovernanceDocument:
    title = reader.prose("title")
    author, approver = _two_people(reader, "author", "approver")
    digest = reader.text("sha256", form.SHA256)
    last_review, next_review = _reviews(reader)
    reader.finish()
    return GovernanceDocument(title, author, approver, bytes.fromhex(digest), last_review, next_review)


def _two_people(reader: DocumentReader, first: str, second: str) -> tuple[str, str]:
    one, other = reader.text(first, form.PERSON), reader.text(second, form.PERSON)
    if one == other:
        reader.note(second, f"somebody else than {first}", other)
    return one, other


def _reviews(reader: DocumentReader) -> tuple[date, date]:
    last_review, next_review = reader.day("last_review"), reader.day("next_review")
    if next_review <= last_review:
        reader.note("next_review", "after last_review", next_review.isoformat())
    return last_review, next_review
