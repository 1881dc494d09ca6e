"""Commands of named people: kill, halt, release, acknowledge and more; signed, and only by who has the role."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Any, Final

from streams.core.documents import MARKET, NAME
from streams.core.errors import PortcullisError
from streams.core.incident import CLASSIFICATIONS, REPORTS
from streams.core.limits import ID_RULE, is_well_formed_id
from streams.core.orders import Side
from streams.core.override import Terms
from streams.wire.avro import DecodeError, Schema, body_of, decode, encode, from_decimal, to_decimal
from streams.wire.headers import SIGNATURE, THUMBPRINT, Header
from streams.wire.signatures import COMMAND_TYPE, is_valid, sign
from streams.wire.trust import Person, Role, TrustStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from streams.wire.keys import SigningKey

COMMAND_BYTES_MAX: Final = 48 * 1024
DOCUMENT_BYTES_MAX: Final = 32 * 1024
_REASON_CHARS_MAX: Final = 500


@unique
class Action(StrEnum):
    """What is ordered."""

    KILL = "KILL"
    REVOKE = "REVOKE"
    ACKNOWLEDGE = "ACKNOWLEDGE"
    RELEASE = "RELEASE"
    OVERRIDE = "OVERRIDE"
    HALT = "HALT"
    REDUCE = "REDUCE"
    CLASSIFY = "CLASSIFY"
    REPORT = "REPORT"
    COMPLETE = "COMPLETE"


@unique
class Scope(StrEnum):
    """How wide a command is."""

    BOT = "BOT"
    MARKET = "MARKET"
    OPERATOR = "OPERATOR"
    ALL = "ALL"


_NEEDED_ROLE: Final = {
    Action.KILL: Role.KILL,
    Action.REVOKE: Role.REVOKE,
    Action.ACKNOWLEDGE: Role.ACKNOWLEDGE,
    Action.RELEASE: Role.RELEASE,
    Action.OVERRIDE: Role.OVERRIDE,
    Action.HALT: Role.KILL,
    Action.REDUCE: Role.KILL,
    Action.CLASSIFY: Role.INCIDENT,
    Action.REPORT: Role.INCIDENT,
    Action.COMPLETE: Role.INCIDENT,
}
# What an action takes beside scope, target and reason; what it does not take must not be there.
_TAKES: Final = {
    Action.OVERRIDE: ("cl_ord_id", "terms"),
    Action.CLASSIFY: ("incident_id", "stage"),
    Action.REPORT: ("incident_id", "stage"),
    Action.COMPLETE: ("incident_id", "document"),
}
_MORE: Final = ("cl_ord_id", "terms", "incident_id", "stage", "document")
_STAGES: Final = {Action.CLASSIFY: CLASSIFICATIONS, Action.REPORT: REPORTS}
_SCOPES: Final = {
    Action.OVERRIDE: (Scope.BOT,),
    Action.REVOKE: (Scope.BOT,),
    Action.HALT: (Scope.BOT, Scope.MARKET),
    Action.REDUCE: (Scope.BOT, Scope.MARKET),
}
_TARGETS: Final = {Scope.BOT: NAME, Scope.MARKET: MARKET, Scope.OPERATOR: NAME, Scope.ALL: re.compile("")}


@dataclass(frozen=True, slots=True)
class Command:
    """A person's order; `issued_at_us` in microseconds UTC, `target` empty for ALL; the last five as `_TAKES` says."""

    command_id: str
    action: Action
    scope: Scope
    target: str
    reason: str
    issued_by: str
    issued_at_us: int
    cl_ord_id: str | None = None
    terms: Terms | None = None
    incident_id: str | None = None
    stage: str | None = None
    document: bytes | None = None


class CommandRefusedError(PortcullisError):
    """A command is malformed, not signed by who it names, or not theirs to give; the text names field, limit, value."""


def encode_command(command: Command) -> bytes:
    """Return a command as a framed value."""
    return encode(
        Schema.COMMAND,
        {
            "command_id": command.command_id,
            "action": str(command.action),
            "scope": str(command.scope),
            "target": command.target,
            "reason": command.reason,
            "issued_by": command.issued_by,
            "issued_at": command.issued_at_us,
            **{name: getattr(command, name) for name in _MORE},
            "terms": None if command.terms is None else _encoded(command.terms),
        },
    )


def sign_command(command: Command, signer: SigningKey) -> tuple[bytes, tuple[Header, Header]]:
    """Return a command as a framed value, and the headers that prove who gave it."""
    value = encode_command(command)
    signature = sign(signer.private_key, COMMAND_TYPE, body_of(value))
    return value, ((SIGNATURE, signature), (THUMBPRINT, signer.thumbprint))


def check_command(value: bytes, signature: bytes, thumbprint: bytes, trust: TrustStore) -> tuple[Command, Person]:
    """Return a command and the person who gave it.

    Whether it was given before, or too long ago, is for whoever keeps the state.

    Raises: CommandRefusedError.
    """
    person = trust.people.get(thumbprint)
    if person is None:
        raise CommandRefusedError(f"x5t#S256: certificate of a known person required, is {thumbprint[:32].hex()!r}")
    if not is_valid(person.public_key, COMMAND_TYPE, body_of(value), signature):
        raise CommandRefusedError(f"signature: of {person.name} over this command required")
    command = read_command(value)
    problems = list(_problems(command, person))
    if problems:
        raise CommandRefusedError("; ".join(problems))
    return command, person


def read_command(value: bytes) -> Command:
    """Read a framed command; who gave it is for `check_command` to say. Raises: CommandRefusedError."""
    try:
        record = decode(Schema.COMMAND, value, bytes_max=COMMAND_BYTES_MAX)
        record["terms"] = None if record["terms"] is None else _decoded(record["terms"])
    except DecodeError as error:
        raise CommandRefusedError(f"command: {error.text}") from None
    return Command(
        command_id=record["command_id"],
        action=Action(record["action"]),
        scope=Scope(record["scope"]),
        target=record["target"],
        reason=record["reason"],
        issued_by=record["issued_by"],
        issued_at_us=record["issued_at"],
        **{name: record[name] for name in _MORE},
    )


def _encoded(terms: Terms) -> dict[str, Any]:
    return {
        "symbol": terms.symbol,
        "side": terms.side.value,
        "order_qty": to_decimal(terms.order_qty_e17),
        "price": None if terms.price_e13 is None else to_decimal(terms.price_e13),
    }


def _decoded(record: Mapping[str, Any]) -> Terms:
    price = record["price"]
    return Terms(
        symbol=record["symbol"],
        side=Side(record["side"]),
        order_qty_e17=from_decimal("order_qty", record["order_qty"]),
        price_e13=None if price is None else from_decimal("price", price),
    )


def _problems(command: Command, person: Person) -> Iterator[str]:
    role = _NEEDED_ROLE[command.action]
    if role not in person.roles:
        yield f"action: role {role} required for {command.action}, {person.name} has {', '.join(sorted(person.roles))}"
    if command.issued_by != person.name:
        yield f"issued_by: {person.name} required, is {command.issued_by[:100]!a}"
    if not person.not_before_us <= command.issued_at_us <= person.not_after_us:
        limit = f"{person.not_before_us} to {person.not_after_us} us, the validity of {person.name}'s certificate"
        yield f"issued_at: {limit}, is {command.issued_at_us} us"
    if not NAME.fullmatch(command.command_id):
        yield f"command_id: {NAME.pattern} required, is {command.command_id[:80]!a}"
    form = _TARGETS[command.scope]
    if not form.fullmatch(command.target):
        yield f"target: {form.pattern or 'nothing'} required for {command.scope}, is {command.target[:80]!a}"
    reason = command.reason
    if not reason.strip() or not reason.isprintable() or len(reason) > _REASON_CHARS_MAX:
        yield f"reason: printable text of 1 to {_REASON_CHARS_MAX} characters required, has {len(reason)}"
    scopes = _SCOPES.get(command.action, tuple(Scope))
    if command.scope not in scopes:
        yield f"scope: {' or '.join(scopes)} required for {command.action}, is {command.scope}"
    yield from _more_problems(command)


def _more_problems(command: Command) -> Iterator[str]:
    taken = _TAKES.get(command.action, ())
    for name in _MORE:
        value = getattr(command, name)
        if (value is not None) != (name in taken):
            required = "one" if name in taken else "none"
            yield f"{name}: {required} required for {command.action}, is {ascii(value)[:80]}"
    if command.cl_ord_id is not None and not is_well_formed_id(command.cl_ord_id):
        yield f"cl_ord_id: {ID_RULE} required, is {command.cl_ord_id[:80]!a}"
    if command.terms is not None:
        yield from _terms_problems(command.terms)
    if command.incident_id is not None and not NAME.fullmatch(command.incident_id):
        yield f"incident_id: {NAME.pattern} required, is {command.incident_id[:80]!a}"
    stages = _STAGES.get(command.action, ())
    if command.stage is not None and stages and command.stage not in stages:
        yield f"stage: {' or '.join(stages)} required for {command.action}, is {command.stage[:80]!a}"
    if command.document is not None and not 1 <= len(command.document) <= DOCUMENT_BYTES_MAX:
        yield f"document: 1 to {DOCUMENT_BYTES_MAX} bytes required, has {len(command.document)}"


def _terms_problems(terms: Terms) -> Iterator[str]:
    if not MARKET.fullmatch(terms.symbol):
        yield f"terms.symbol: {MARKET.pattern} required, is {terms.symbol[:80]!a}"
    if terms.order_qty_e17 <= 0:
        yield f"terms.order_qty: above 0 required, is {terms.order_qty_e17} e-17"
    if terms.price_e13 is not None and terms.price_e13 <= 0:
        yield f"terms.price: above 0 required, is {terms.price_e13} e-13"
