"""Records that the new topics begin with: registrations as signed, what stops somebody, open incidents. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from streams.core.breaker import Breaker, breaker_fields
from streams.core.incident import Incident
from streams.core.orders import TradingState
from streams.core.reasons import Reason
from streams.core.state import BotState
from streams.names import TableName, Topic
from streams.wire.avro import DecodeError, Schema, decode, encode
from streams.wire.headers import cloud_event
from streams.wire.incidents import encode_incident

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from streams.repartition.placing import Change, Placed
    from streams.wire.headers import Header

ISSUER: Final = "portcullis-repartition"
_TIME_BYTES: Final = 8  # before a registration in its row: when it was received
_BREAKER: Final = b"BREAKER "
_LANES_EVENT: Final = re.compile(r"lane-(\d{1,4})-")
_BOT, _MARKET = "BOT", "MARKET"


@dataclass(frozen=True, slots=True)
class Carried:
    """A record for one of the new topics."""

    topic: Topic
    lane: int
    key: bytes
    value: bytes
    headers: tuple[Header, ...] = ()


def carry(placed: Placed, breakers: Iterable[tuple[bytes, bytes]], change: Change, now_us: int) -> tuple[Carried, ...]:
    """Return what the new topics begin with; `breakers` are key and value of all old breaker events, in their order."""
    last = _last_events(breakers)
    return (
        *_registrations(placed),
        *_stopped_bots(placed, last, now_us),
        *_stopped_markets(placed, now_us),
        *_stopped_by_others(last, change),
        *_incidents(placed),
    )


def _registrations(placed: Placed) -> Iterator[Carried]:
    for lane, rows in enumerate(placed.rows[TableName.AGENTS]):
        for key, row in rows.items():
            yield Carried(Topic.AGENTS_REGISTRY, lane, key, row[_TIME_BYTES:])


def _last_events(breakers: Iterable[tuple[bytes, bytes]]) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Return the last event of each scope, target and writer."""
    last = {}
    for key, value in breakers:
        try:
            event = decode(Schema.BREAKER_EVENT, value)
        except DecodeError:
            continue  # what nobody can read has stopped nobody
        if key == event["target"].encode():
            last[event["scope"], event["target"], _writer(event["event_id"])] = event
    return last


def _writer(event_id: str) -> str:
    found = _LANES_EVENT.match(event_id)
    return "" if found is None else found[1]


def _stopped_bots(placed: Placed, last: dict[tuple[str, str, str], dict[str, Any]], now_us: int) -> Iterator[Carried]:
    """Yield the state of each bot that is not active; the words of the last event that said so stay."""
    said = {target: event for (scope, target, _), event in last.items() if scope == _BOT}
    for lane, rows in enumerate(placed.rows[TableName.BOTS]):
        for key, row in rows.items():
            bot = BotState.from_row(orjson.loads(row))
            if bot.trading_state is TradingState.ACTIVE:
                continue
            known = said.get(key.decode())
            reason = bot.halt_reason or Reason.CIRCUIT_BREAKER_ACTIVE
            event = _event(lane, _BOT, key, bot.trading_state, reason, now_us)
            if known is not None and known["state"] == event["state"]:
                event = known | {"event_id": event["event_id"]}
            yield _published(lane, key, event)


def _stopped_markets(placed: Placed, now_us: int) -> Iterator[Carried]:
    """Yield the breaker of each market by the lanes that have a row of it: others learn of it from here."""
    for lane, rows in enumerate(placed.rows[TableName.CONTROLS]):
        for key, row in rows.items():
            if not key.startswith(_BREAKER):
                continue
            breaker, symbol = Breaker(**breaker_fields(orjson.loads(row))), key.removeprefix(_BREAKER)
            reason = Reason.CIRCUIT_BREAKER_ACTIVE
            yield _published(lane, symbol, _event(lane, _MARKET, symbol, breaker.trading_state, reason, now_us))


def _stopped_by_others(last: dict[tuple[str, str, str], dict[str, Any]], change: Change) -> Iterator[Carried]:
    """Yield what others than the old lanes said last of a market, where that was not that it is open to all."""
    for (scope, target, writer), event in last.items():
        of_lane = writer.isdigit() and int(writer) < change.before
        if scope == _MARKET and not of_lane and event["state"] != TradingState.ACTIVE:
            key = target.encode()
            yield _published(change.lane_of(key), key, event)


def _event(lane: int, scope: str, target: bytes, state: TradingState, reason: Reason, now_us: int) -> dict[str, Any]:
    return {
        "event_id": f"lane-{lane}-0",  # the leaf that begins the lane's log
        "scope": scope,
        "target": target.decode(),
        "previous": state.value,
        "state": state.value,
        "reason": reason.value,
        "score": None,
        "threshold": None,
        "features": {},
        "issued_by": ISSUER,
        "event_time": now_us,
    }


def _published(lane: int, key: bytes, event: dict[str, Any]) -> Carried:
    headers = cloud_event("portcullis.breaker", f"/lanes/{lane}", event["event_id"])
    return Carried(Topic.RISK_CIRCUIT_BREAKERS, lane, key, encode(Schema.BREAKER_EVENT, event), headers)


def _incidents(placed: Placed) -> Iterator[Carried]:
    for lane, rows in enumerate(placed.rows[TableName.INCIDENTS]):
        for key, row in rows.items():
            incident = Incident.from_row(orjson.loads(row))
            headers = cloud_event("portcullis.incident", f"/lanes/{lane}", incident.incident_id)
            yield Carried(Topic.RISK_INCIDENTS, lane, key, encode_incident(incident), headers)
