"""What the desk takes from a record: the bytes are read once, and only what a page shows is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from streams.core.executions import ExecType
from streams.core.orders import MsgType
from streams.wire.avro import Schema, decode, decode_body, from_decimal
from streams.wire.commands import Command, CommandRefusedError, read_command
from streams.wire.messages import decode_order_body

if TYPE_CHECKING:
    from collections.abc import Mapping

_COMMAND_EVENTS: Final = {"COMMAND_APPLIED": True, "COMMAND_REFUSED": False}
_CANCEL: Final = MsgType.ORDER_CANCEL_REQUEST


class Place(NamedTuple):
    """Where an event is: lane, offset in `audit.events`, leaf index in the lane's log, when it was decided (us UTC)."""

    partition: int
    offset: int
    log_index: int
    at_us: int


class Decided(NamedTuple):
    """A verdict. Money in EUR at scale 5, quantities at scale 17, times in microseconds UTC."""

    place: Place
    agent_id: str
    cl_ord_id: str
    approved: bool
    reason: str
    state: str
    score: float | None
    features: Mapping[str, float]
    symbol: str
    side: str
    entering: bool
    qty_e17: int
    value_e5: int | None
    daily_e5: int | None
    requested_us: int
    policy: bytes | None


class Executed(NamedTuple):
    """A venue's report on an approved order."""

    place: Place
    agent_id: str
    cl_ord_id: str
    exec_type: str
    symbol: str
    ends_order: bool
    findings: str


class Commanded(NamedTuple):
    """What a lane says of a person's command: in force with its effect, or refused with the problem."""

    place: Place
    command: Command | None
    applied: bool
    text: str
    by: str


class Changed(NamedTuple):
    """Any other event about a bot: its state after it, and why."""

    place: Place
    agent_id: str
    kind: str
    before: str
    state: str
    reason: str
    issued_by: str
    open_until_us: int


Fact = Decided | Executed | Commanded | Changed


def read_event(offset: int, value: bytes) -> tuple[Fact, str, int]:
    """Return what an audit event says, and the topic and offset of the record that caused it. Raises: DecodeError."""
    event = decode(Schema.AUDIT_EVENT, value)
    place = Place(event["partition"], offset, event["log_index"], event["event_time"])
    if event["verdict"] is not None:
        fact: Fact = _decided(place, event)
    elif event["event_type"] in _COMMAND_EVENTS:
        fact = _commanded(place, event)
    elif event["event_type"] == "TRADE_EXECUTED":
        fact = _executed(place, event)
    else:
        details = event["details"]
        fact = Changed(
            place,
            event["agent_id"],
            event["event_type"],
            event["state_before"],
            event["state_after"],
            event["outcome"],
            details.get("issued_by", event["signer"] or ""),
            int(details.get("open_until_us", "0")),
        )
    return fact, event["source_topic"], event["source_offset"]


def _decided(place: Place, event: Mapping[str, Any]) -> Decided:
    verdict = decode_body(Schema.VERDICT, event["verdict"])
    order = decode_order_body(verdict["order"])
    score = event["score"]
    return Decided(
        place,
        verdict["agent_id"],
        verdict["cl_ord_id"],
        verdict["decision"] == "APPROVED",
        verdict["reason"],
        event["state_after"],
        None if score is None else score["value"],
        {} if score is None else score["features"],
        order.symbol,
        order.side.value,
        order.msg_type is not _CANCEL,
        order.order_qty_e17,
        _money(verdict, "order_value"),
        _money(verdict, "daily_value"),
        verdict["request_time"],
        verdict["policy_sha256"],
    )


def _money(verdict: Mapping[str, Any], name: str) -> int | None:
    return None if verdict[name] is None else from_decimal(name, verdict[name])


def _executed(place: Place, event: Mapping[str, Any]) -> Executed:
    report = decode(Schema.EXECUTION_REPORT, event["subject"])
    return Executed(
        place,
        report["agent_id"],
        report["cl_ord_id"],
        report["exec_type"],
        report["symbol"],
        report["exec_type"] != ExecType.PARTIAL_FILL,
        event["details"].get("findings", ""),
    )


def _commanded(place: Place, event: Mapping[str, Any]) -> Commanded:
    applied, details = _COMMAND_EVENTS[event["event_type"]], event["details"]
    try:
        command = read_command(event["subject"] or b"")
    except CommandRefusedError:
        command = None  # refused because nobody can read it
    text = details.get("effect" if applied else "problem", "")
    return Commanded(place, command, applied, text, event["authorised_by"] or "")
