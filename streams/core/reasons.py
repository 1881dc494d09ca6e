"""Reason codes: one per control, stable for ever, in the order in which the gate checks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique


@unique
class Reason(StrEnum):
    """Why a message was refused; the order of the members is the order of the checks."""

    NONE = "NONE"
    ALGO_NOT_AUTHORISED = "ALGO_NOT_AUTHORISED"
    SIGNATURE_INVALID = "SIGNATURE_INVALID"
    CERTIFICATE_INVALID = "CERTIFICATE_INVALID"
    CERTIFICATE_EXPIRED = "CERTIFICATE_EXPIRED"
    CERTIFICATE_REVOKED = "CERTIFICATE_REVOKED"
    CERTIFICATE_SUSPENDED = "CERTIFICATE_SUSPENDED"
    POLICY_NOT_IN_FORCE = "POLICY_NOT_IN_FORCE"
    TESTING_OVERDUE = "TESTING_OVERDUE"
    KILL_SWITCH_ENGAGED = "KILL_SWITCH_ENGAGED"
    TRADING_HALTED = "TRADING_HALTED"
    CIRCUIT_BREAKER_ACTIVE = "CIRCUIT_BREAKER_ACTIVE"
    INSTRUMENT_RESTRICTED = "INSTRUMENT_RESTRICTED"
    MARKET_NOT_ALLOWED = "MARKET_NOT_ALLOWED"
    REGION_NOT_ALLOWED = "REGION_NOT_ALLOWED"
    VENUE_NOT_ALLOWED = "VENUE_NOT_ALLOWED"
    OUTSIDE_TRADING_HOURS = "OUTSIDE_TRADING_HOURS"
    INVALID_FIELD = "INVALID_FIELD"
    INVALID_QUANTITY = "INVALID_QUANTITY"
    INVALID_PRICE_INCREMENT = "INVALID_PRICE_INCREMENT"
    MAX_ORDER_VALUE_EXCEEDED = "MAX_ORDER_VALUE_EXCEEDED"
    MAX_ORDER_VOLUME_EXCEEDED = "MAX_ORDER_VOLUME_EXCEEDED"
    PRICE_COLLAR_EXCEEDED = "PRICE_COLLAR_EXCEEDED"
    DAILY_VALUE_LIMIT_EXCEEDED = "DAILY_VALUE_LIMIT_EXCEEDED"
    MESSAGE_RATE_EXCEEDED = "MESSAGE_RATE_EXCEEDED"
    EXECUTION_THROTTLE_TRIPPED = "EXECUTION_THROTTLE_TRIPPED"
    CONSECUTIVE_FAILURES_EXCEEDED = "CONSECUTIVE_FAILURES_EXCEEDED"
    DUPLICATE_ORDER = "DUPLICATE_ORDER"
    STALE_ORDER = "STALE_ORDER"
    REFERENCE_PRICE_UNAVAILABLE = "REFERENCE_PRICE_UNAVAILABLE"


@unique
class DeadLetterReason(StrEnum):
    """Why bytes on `orders.requested` could not be read as an order."""

    EMPTY = "EMPTY"
    TOO_LARGE = "TOO_LARGE"
    UNKNOWN_SCHEMA = "UNKNOWN_SCHEMA"
    NOT_AVRO = "NOT_AVRO"
    KEY_MISMATCH = "KEY_MISMATCH"


@dataclass(frozen=True, slots=True)
class ReasonRule:
    """What a reason means; `fix_ord_rej_reason` is OrdRejReason(103) of FIX 5.0 SP2."""

    text: str
    fix_ord_rej_reason: int
    source: str


_OTHER = 99

RULES: dict[Reason, ReasonRule] = {
    Reason.ALGO_NOT_AUTHORISED: ReasonRule("the bot is not registered", _OTHER, "RTS 6 Art. 5(2)"),
    Reason.SIGNATURE_INVALID: ReasonRule("the signature is missing or wrong", _OTHER, "RTS 6 Art. 12(3)"),
    Reason.CERTIFICATE_INVALID: ReasonRule("the certificate chain is not trusted", _OTHER, "RFC 5280 s. 6"),
    Reason.CERTIFICATE_EXPIRED: ReasonRule("the certificate is not valid now", _OTHER, "RFC 5280 s. 4.1.2.5"),
    Reason.CERTIFICATE_REVOKED: ReasonRule("the certificate is revoked", _OTHER, "RFC 5280 s. 5"),
    Reason.CERTIFICATE_SUSPENDED: ReasonRule("the certificate is suspended", _OTHER, "RFC 5280 s. 5.3.1"),
    Reason.POLICY_NOT_IN_FORCE: ReasonRule("the policy is not in force now", _OTHER, "RTS 6 Art. 8"),
    Reason.TESTING_OVERDUE: ReasonRule("a test of the bot is overdue", _OTHER, "RTS 6 Art. 9, 10, 18(4)"),
    Reason.KILL_SWITCH_ENGAGED: ReasonRule("a kill is in force for the scope", _OTHER, "RTS 6 Art. 12"),
    Reason.TRADING_HALTED: ReasonRule("the bot is halted", _OTHER, "RTS 6 Art. 12, 15(3)"),
    Reason.CIRCUIT_BREAKER_ACTIVE: ReasonRule("the circuit breaker is open", 21, "RTS 6 Art. 16, 17"),
    Reason.INSTRUMENT_RESTRICTED: ReasonRule("the market is on the restricted list", _OTHER, "RTS 6 Art. 15(5)"),
    Reason.MARKET_NOT_ALLOWED: ReasonRule("the market is not in the policy", _OTHER, "RTS 6 Art. 15(5)"),
    Reason.REGION_NOT_ALLOWED: ReasonRule("the region is not in the policy", _OTHER, "RTS 6 Art. 15(5)"),
    Reason.VENUE_NOT_ALLOWED: ReasonRule("the venue is not in the policy", _OTHER, "RTS 6 Art. 8"),
    Reason.OUTSIDE_TRADING_HOURS: ReasonRule("outside the policy's trading hours", _OTHER, "RTS 6 Art. 15(5)"),
    Reason.INVALID_FIELD: ReasonRule("a field is not well formed", 11, "Reg. 2025/416 Art. 9"),
    Reason.INVALID_QUANTITY: ReasonRule("the quantity is not a multiple of the lot", 13, "Reg. 2025/416 Art. 9"),
    Reason.INVALID_PRICE_INCREMENT: ReasonRule("the price is not a multiple of the tick", 18, "Reg. 2025/416 Art. 9"),
    Reason.MAX_ORDER_VALUE_EXCEEDED: ReasonRule("the order's value is too high", 27, "RTS 6 Art. 15(1)(b)"),
    Reason.MAX_ORDER_VOLUME_EXCEEDED: ReasonRule("the order's quantity is too high", 26, "RTS 6 Art. 15(1)(c)"),
    Reason.PRICE_COLLAR_EXCEEDED: ReasonRule("the price is too far from the reference", 16, "RTS 6 Art. 15(1)(a)"),
    Reason.DAILY_VALUE_LIMIT_EXCEEDED: ReasonRule("the day's value would be too high", 20, "RTS 6 Art. 15(2)"),
    Reason.MESSAGE_RATE_EXCEEDED: ReasonRule("too many messages", _OTHER, "RTS 6 Art. 15(1)(d)"),
    Reason.EXECUTION_THROTTLE_TRIPPED: ReasonRule("too many repeated executions", 21, "RTS 6 Art. 15(3)"),
    Reason.CONSECUTIVE_FAILURES_EXCEEDED: ReasonRule("too many failures in a row", 21, "RTS 6 Art. 15(3)"),
    Reason.DUPLICATE_ORDER: ReasonRule("the ClOrdID was used before", 6, "RTS 6 Art. 15(1)(d)"),
    Reason.STALE_ORDER: ReasonRule("the order is too old to be acted on", 8, "RTS 6 Art. 15(1)"),
    Reason.REFERENCE_PRICE_UNAVAILABLE: ReasonRule(
        "no fresh reference price for the market", 19, "RTS 6 Art. 15(1)(a)"
    ),
}

# What counts towards a bot's consecutive failures: only what the bot itself did wrong, as the first failed check.
FAILURES: frozenset[Reason] = frozenset(
    {
        Reason.POLICY_NOT_IN_FORCE,
        Reason.INSTRUMENT_RESTRICTED,
        Reason.MARKET_NOT_ALLOWED,
        Reason.REGION_NOT_ALLOWED,
        Reason.VENUE_NOT_ALLOWED,
        Reason.OUTSIDE_TRADING_HOURS,
        Reason.INVALID_FIELD,
        Reason.INVALID_QUANTITY,
        Reason.INVALID_PRICE_INCREMENT,
        Reason.MAX_ORDER_VALUE_EXCEEDED,
        Reason.MAX_ORDER_VOLUME_EXCEEDED,
        Reason.PRICE_COLLAR_EXCEEDED,
        Reason.DAILY_VALUE_LIMIT_EXCEEDED,
        Reason.MESSAGE_RATE_EXCEEDED,
        Reason.DUPLICATE_ORDER,
    }
)
