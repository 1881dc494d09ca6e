"""What a batch states once instead of in every record: who runs each bot, and what each market trades in.

A party comes from the bot's registration, which is a leaf of its log, so a verifier can see it for himself. What asset
a market trades is reference data: the exporter states it, trades in the log bear it out, lists know the codes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from streams.core.identifiers import Identifier, is_well_formed
from streams.core.policy import PolicyError, parse_policy
from streams.reports.layout import BatchError
from streams.wire.avro import DecodeError, Schema, decode
from streams.wire.signatures import thumbprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

# ISO 24165: the assets of the demo's markets. A market without one here has it from its trades, or none.
_DTI: Final = {"BTC": "4H95J0R2X", "ETH": "X9J9K872S"}


@dataclass(frozen=True, slots=True)
class Party:
    """Who runs a bot, by the registration at this place of a log."""

    operator: str
    regulator_id: str
    certificate_sha256: str
    partition: int
    log_index: int

    @property
    def lei(self) -> str:
        """The operator's LEI, where the identifier in the policy is one."""
        return self.regulator_id if is_well_formed(Identifier.LEI, self.regulator_id) else ""


@dataclass(frozen=True, slots=True)
class Instrument:
    """What a market trades: the asset's DTI (empty: unknown) and the currency of its prices."""

    dti: str
    currency: str


@dataclass(frozen=True, slots=True)
class Facts:
    """The parties by bot and the instruments by market."""

    parties: Mapping[str, Party] = field(default_factory=dict)
    instruments: Mapping[str, Instrument] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return it for the manifest."""
        return {
            name: {key: {part: getattr(fact, part) for part in fact.__slots__} for key, fact in facts.items()}
            for name, facts in (("parties", self.parties), ("instruments", self.instruments))
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Facts:
        """Read what `as_dict` wrote. Raises: BatchError."""
        try:
            return cls(
                {bot: Party(**party) for bot, party in document["parties"].items()},
                {symbol: Instrument(**instrument) for symbol, instrument in document["instruments"].items()},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise BatchError(f"parties and instruments of the manifest: cannot be read ({error})") from None

    def with_markets(self, symbols: Iterable[str]) -> Facts:
        """Return the facts with what each of these markets trades; where nobody said, its name does."""
        stated = {symbol: self.instruments.get(symbol) or default_instrument(symbol) for symbol in symbols}
        return Facts(self.parties, dict(sorted({**stated, **self.instruments}.items())))

    def submitter(self, bot: str) -> str:
        """Return the JSON members that name who stands behind a bot's orders."""
        party = self.parties.get(bot)
        return submitter_of(bot, "" if party is None else party.lei)

    def market(self, symbol: str) -> tuple[str, str]:
        """Return a market's JSON members, and its price currency as JSON."""
        instrument = self.instruments.get(symbol) or default_instrument(symbol)
        return market_of(symbol, instrument.dti), json_text(instrument.currency)


def json_text(text: str) -> str:
    """Return a text as JSON."""
    return orjson.dumps(text).decode()


def submitter_of(bot: str, lei: str) -> str:
    """Return the JSON members of auth.113 that name the submitting entity (a LEI, or none) and the algorithm."""
    entity = f'"SubmitgNtty":"{lei}",' if lei else ""
    algorithm = json_text(bot)
    return f'{entity}"InvstmtDcsnPrsn":{{"Algo":{algorithm}}},"ExctgPrsn":{{"Algo":{algorithm}}}'


def market_of(symbol: str, dti: str) -> str:
    """Return the JSON members of auth.113 that name an order book and its asset."""
    return f'"OrdrBookId":{json_text(symbol)},"FinInstrm":{{{instrument_of(symbol, dti)}}}'


def instrument_of(symbol: str, dti: str) -> str:
    """Return the JSON member that names a market's asset, or where it has no DTI the market."""
    return f'"Id":{json_text(dti)}' if dti else f'"Othr":{json_text(symbol)}'


def default_instrument(symbol: str) -> Instrument:
    """Return what a market's name, BASE_QUOTE, says of it."""
    base, _, quote = symbol.partition("_")
    return Instrument(_DTI.get(base, ""), quote)


def read_instruments(path: Path) -> dict[str, Instrument]:
    """Read what markets trade from a JSON file. Raises: BatchError."""
    try:
        document = orjson.loads(path.read_bytes())
        found = {symbol: Instrument(str(each["dti"]), str(each["currency"])) for symbol, each in document.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BatchError(f"{path}: cannot be read ({error})") from None
    for symbol, instrument in found.items():
        if instrument.dti and not is_well_formed(Identifier.DTI, instrument.dti):
            raise BatchError(f"{path}: {symbol}: a DTI (ISO 24165) required, is {instrument.dti!r:.40}")
    return found


def party_of(registration: bytes, partition: int, log_index: int) -> tuple[str, Party | None]:
    """Return the bot that a registration (a framed AgentRecord) is for, and whom it names; None: unreadable."""
    try:
        record = decode(Schema.AGENT_RECORD, registration)
        policy = parse_policy(record["policy"])
        certificate = thumbprint(record["certificate_chain"][0]).hex()
    except (DecodeError, PolicyError, IndexError):
        return "", None
    return policy.agent_id, Party(policy.operator, policy.operator_regulator_id, certificate, partition, log_index)
