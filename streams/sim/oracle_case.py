"""What the oracle knows when it decides a message again: the message, its moment, the price, the bot's whole past."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

    from streams.sim.oracle_policy import Rules

_DAY_US: Final = 86_400_000_000
_MONEY: Final = Decimal("0.00001")
_MONEY_MAX: Final = Decimal(f"{'9' * 33}.{'9' * 5}")  # what a verdict's decimal holds
_FOR_EVER_US: Final = 2**63 - 1
_ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class Asked:
    """An order as the oracle reads it, with everything that the log says about the moment of its decision."""

    agent_id: str
    cl_ord_id: str
    orig_cl_ord_id: str | None
    entering: bool
    replacing: bool
    symbol: str
    buy: bool
    venue: str
    region: str
    limit: bool
    qty: Decimal
    price: Decimal | None
    transact_us: int
    expire_us: int | None
    appended_us: int
    now_us: int
    score: float | None


@dataclass(frozen=True, slots=True)
class Quote:
    """The reference price that a decision used, from `markets.reference`."""

    price: Decimal
    eur_rate: Decimal
    tick: Decimal
    lot: Decimal
    time_us: int


@dataclass(slots=True)
class Past:
    """Everything that one registered bot did, as far as later decisions depend on it."""

    rules: Rules
    certificate_sha256: bytes
    public_key: EllipticCurvePublicKey
    valid_us: tuple[int, int]
    received_us: int = 0
    approved_value: dict[int, Decimal] = field(default_factory=dict)  # by UTC day
    approved_count: Counter[int] = field(default_factory=Counter)  # by execution window
    messages: Counter[int] = field(default_factory=Counter)  # by 100 ms
    first_use_us: dict[str, int] = field(default_factory=dict)
    failures: int = 0
    tripped_at: int = 0
    halted: bool = False
    reducing: bool = False
    open_until_us: int = 0
    trips: int = 0
    calm: int = 0
    stopped_by: set[str] = field(default_factory=set)
    killed: bool = False
    suspended: bool = False
    grace_us: int | None = None
    revoked: bool = False

    def daily_value(self, received_us: int) -> Decimal:
        """Return the approved value of the UTC day."""
        return self.approved_value.get(received_us // _DAY_US, _ZERO)

    @property
    def state(self) -> str:
        """Return the trading state."""
        if self.halted:
            return "HALTED"
        return "REDUCING" if self.reducing else "ACTIVE"

    def release(self) -> None:
        """Clear what a person's RELEASE clears."""
        self.killed = self.halted = self.reducing = self.suspended = False
        self.stopped_by = set()
        self.open_until_us = self.failures = self.tripped_at = self.trips = self.calm = 0

        self.grace_us = None

    def hold(self) -> None:
        """Take a person's REDUCE: no cool-down ends it."""
        self.reducing, self.open_until_us = True, _FOR_EVER_US

    def half_open(self, now_us: int) -> bool:
        """Say whether the breaker's time is over and probes may pass."""
        return self.reducing and not self.halted and now_us >= self.open_until_us


class Finding(NamedTuple):
    """A check that must fail; limit and observed value as texts where the page fixes them."""

    code: str
    limit: str | None = None
    observed: str | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One decision to be made again."""

    asked: Asked
    past: Past
    quote: Quote | None
    identity: str  # empty: the message is the bot's own; else why not, in the page's words
    killed: bool
    market_state: str
    lowers: bool
    reader_behind: bool

    @property
    def genuine(self) -> bool:
        """Say whether the message is authenticated."""
        return not self.identity

    @property
    def received_us(self) -> int:
        """Return when the message counts as received."""
        return max(self.past.received_us, self.asked.appended_us)

    @property
    def usable(self) -> bool:
        """Say whether the reference price can be used."""
        quote, rules = self.quote, self.past.rules
        if quote is None or self.reader_behind or min(quote.price, quote.eur_rate, quote.tick, quote.lot) <= 0:
            return False
        return abs(self.asked.now_us - quote.time_us) <= rules.reference_age_ms * 1000

    @property
    def value(self) -> Decimal | None:
        """Return the order's value in EUR, rounded up to 5 decimals."""
        asked, quote = self.asked, self.quote
        if not asked.entering or quote is None or not self.usable:
            return None
        price = asked.price if asked.limit else quote.price
        if price is None or price <= 0 or asked.qty <= 0:
            return None
        if not asked.buy:
            price = max(price, quote.price)  # the market pays a seller no less than it pays others
        return (asked.qty * price * quote.eur_rate).quantize(_MONEY, ROUND_CEILING)

    @property
    def shown_value(self) -> Decimal | None:
        """Return the value as far as a verdict can hold it."""
        value = self.value
        return value if value is None or value <= _MONEY_MAX else None
