"""Pump and dump: four bots of one operator act together, each inside all its limits; only behaviour shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streams.clock import now_us
from streams.core.orders import Side
from streams.core.reasons import Reason
from streams.drills.common import ALERT_MAX_US, count, euro_text, euros, held, opened_by_score, shown
from streams.drills.ground import pause
from streams.drills.plan import Check, DrillName, DrillPlan, Instrument, Kill, bot
from streams.names import Topic
from streams.wire.avro import Schema, decode
from streams.wire.commands import Action, Scope

if TYPE_CHECKING:
    from streams.drills.evidence import Evidence
    from streams.drills.ground import Ground
    from streams.drills.plan import Notes
    from streams.kafka.reading import Stored

_SYMBOL: Final = "PMP_EUR"
_HONEST: Final = "honest-01"
_COLLUDERS: Final = tuple(f"colluder-{number:02d}" for number in range(1, 5))
_PERSON: Final = "compliance_lead@acme"
_STEPS: Final = 30
_STEP_S: Final = 0.05
_PUMP_EUR: Final = (3_500, 4_800)
# What behaviour, and no limit of the policy, refuses.
_BEHAVIOUR: Final = frozenset({Reason.CIRCUIT_BREAKER_ACTIVE, Reason.TRADING_HALTED, Reason.KILL_SWITCH_ENGAGED})


def _play(ground: Ground, notes: Notes) -> None:
    ground.calm([_HONEST, *_COLLUDERS], _SYMBOL, rounds=35, gap_s=0.012)
    for place, name in enumerate(_COLLUDERS):  # a wall below the price, meant to look like demand
        price_e13 = ground.last(_SYMBOL) * (998 - place) // 1000
        notes.add("wall", ground.trader(name).rest(Side.BUY, _SYMBOL, 100, price_e13))
    ground.wait_for_answers()
    first_e13 = ground.last(_SYMBOL)
    for step in range(1, _STEPS + 1):
        ground.trade(_SYMBOL, first_e13 * (100 + step) // 100)
        for name in ground.rng.sample(_COLLUDERS, len(_COLLUDERS)):
            notes.add("pump", _order(ground, name, Side.BUY))
        pause(_STEP_S)
    notes.figures["pumped_percent"] = round(100 * ground.last(_SYMBOL) / first_e13 - 100, 1)
    if ground.watch.happens(Topic.RISK_ALERTS, _is_of_colluder, ALERT_MAX_US / 1e6):
        ground.give(Action.KILL, Scope.MARKET, _SYMBOL, _PERSON, "several bots push one market")
        notes.moments_us["killed"] = now_us()
    for _ in range(_STEPS // 2):
        ground.trade(_SYMBOL, ground.last(_SYMBOL) * 98 // 100, Side.SELL)
        for name in _COLLUDERS:
            notes.add("dump", _order(ground, name, Side.SELL))
    notes.add("honest", ground.trader(_HONEST).worth(Side.BUY, _SYMBOL, 100, ground.last(_SYMBOL)))


def _order(ground: Ground, name: str, side: Side) -> str:
    return ground.trader(name).worth(side, _SYMBOL, ground.rng.randint(*_PUMP_EUR), ground.last(_SYMBOL))


def _is_of_colluder(record: Stored) -> bool:
    alert = decode(Schema.ALERT, record.value)
    return alert["agent_id"] in _COLLUDERS and alert["severity"] != "INFO"


def _judge(evidence: Evidence, notes: Notes) -> list[Check]:
    return [
        _concealed(evidence, notes),
        _detected(evidence),
        _stopped(evidence, notes),
        _cancelled(evidence),
    ]


def _concealed(evidence: Evidence, notes: Notes) -> Check:
    """Check that it was behaviour that was refused: no limit of a policy was in the way."""
    told = evidence.by_id(notes.orders["pump"])
    others = [t for t in told if t.reasons - _BEHAVIOUR]
    return Check("caught_by_behaviour_alone", not others, f"{len(told)} pump orders: {shown(count(told))}")


def _detected(evidence: Evidence) -> Check:
    found = {name: opened_by_score(evidence, name) for name in _COLLUDERS}
    text = "; ".join(
        f"{name} log {opened[0][0]} score {opened[0][1]:.3f}" if opened else f"{name} not"
        for name, opened in found.items()
    )
    return Check("every_colluder_detected", all(found.values()), text)


def _stopped(evidence: Evidence, notes: Notes) -> Check:
    told = evidence.by_id(notes.orders["dump"])
    pumped = [t for t in evidence.by_id(notes.orders["pump"]) if t.verdict.approved]
    text = f"dump: {shown(count(told))}; of the pump approved {len(pumped)} orders, {euro_text(euros(pumped))}"
    return Check("dump_stopped", held(told) and bool(told), text)


def _cancelled(evidence: Evidence) -> Check:
    scopes = [f"{cancel['scope']} {cancel['target']} by {cancel['issued_by']}" for cancel in evidence.cancels]
    passed = bool(scopes) and not evidence.open_ids
    text = f"{', '.join(dict.fromkeys(scopes)) or 'no mass cancel'}; open orders: {len(evidence.open_ids)}"
    return Check("open_orders_mass_cancelled", passed, text)


PLAN: Final = DrillPlan(
    name=DrillName.PUMP_AND_DUMP,
    source="seed guide Art. 72; MiCA Art. 91, Reg. 2016/522 Annex II; RTS 6 Art. 12, 13",
    bots=(bot(_HONEST), *(bot(name) for name in _COLLUDERS)),
    limits={name: {"scope": {"max_order_value_eur": "10000"}} for name in _COLLUDERS},
    instruments=(Instrument(_SYMBOL, "0.05"),),
    play=_play,
    judge=_judge,
    kill=Kill(f"{Scope.MARKET} {_SYMBOL}", _COLLUDERS),
)
