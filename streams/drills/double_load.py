"""Double load: twice the highest load seen, in messages and in value, and a person stops a bot in the midst of it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from streams.core.orders import Side
from streams.core.reasons import Reason
from streams.drills.common import approved_after, count, shown
from streams.drills.ground import pause
from streams.drills.plan import Check, DrillName, DrillPlan, Instrument, Kill, bot
from streams.wire.commands import Action, Scope

if TYPE_CHECKING:
    from streams.drills.evidence import Evidence, Told
    from streams.drills.ground import Ground
    from streams.drills.plan import Notes

_SYMBOL: Final = "BTC_GBP"
_BOTS: Final = tuple(f"load-{number:02d}" for number in range(1, 9))
_KILLED: Final = _BOTS[0]
_PERSON: Final = "compliance_lead@acme"
_FACTOR: Final = 2.0
_SENT_FACTOR: Final = 2.2  # so that what arrives is twice the highest also where a second is a little late
_AGE_MAX_MS: Final = 2_000
_LEAST_EUR: Final = 10


def _play(ground: Ground, notes: Notes) -> None:
    highest, rate = ground.scale.highest, _SENT_FACTOR * ground.scale.highest.messages_per_s
    total = max(1, round(rate * ground.scale.seconds))
    eur = max(_LEAST_EUR, round(_SENT_FACTOR * highest.eur_per_s / rate))
    notes.figures |= {"highest_messages_per_s": round(highest.messages_per_s, 1), "highest_seen": highest.source}
    notes.figures["highest_eur_per_s"] = round(highest.eur_per_s)
    killer = threading.Thread(target=_kill, args=(ground,), name="person")
    began_s = time.monotonic()
    number = killed_at = 0
    # It goes on until the kill is in force, and one round more, however long a person's machine takes for it.
    while number < max(total, killed_at + len(_BOTS)):
        if number % len(_BOTS) == 0:
            ground.trade(_SYMBOL, ground.last(_SYMBOL))
        if number == total * 3 // 5:
            killer.start()
        side = Side.BUY if number // len(_BOTS) % 2 else Side.SELL
        size = eur + ground.rng.randint(-eur // 10, eur // 10)
        ground.trader(_BOTS[number % len(_BOTS)]).worth(side, _SYMBOL, size, ground.last(_SYMBOL))
        number += 1
        pause(number / rate - (time.monotonic() - began_s))
        if killer.is_alive():
            killed_at = number
    killer.join()


def _kill(ground: Ground) -> None:
    ground.give(Action.KILL, Scope.BOT, _KILLED, _PERSON, "drill: a kill under twice the highest load")


def _judge(evidence: Evidence, notes: Notes) -> list[Check]:
    times_us = sorted(t.verdict.request_time_us for t in evidence.verdicts)
    seconds = max(1e-6, (times_us[-1] - times_us[0]) / 1e6)
    eur_per_s = sum((t.verdict.order_value_e5 or 0) for t in evidence.verdicts) / 1e5 / seconds
    messages_per_s = len(times_us) / seconds
    latencies = sorted(_latency_ms(t) for t in evidence.verdicts)
    notes.figures["messages_per_s"] = round(messages_per_s, 1)
    notes.figures["eur_per_s"] = round(eur_per_s)
    notes.figures["decided_after_ms_p99"] = latencies[int(0.99 * (len(latencies) - 1))]
    return [
        _twice("messages_twice_the_highest", messages_per_s, float(notes.figures["highest_messages_per_s"])),
        _twice("value_twice_the_highest", eur_per_s, float(notes.figures["highest_eur_per_s"])),
        _late(evidence),
        _killed(evidence),
    ]


def _latency_ms(told: Told) -> float:
    return round((told.verdict.decision_time_us - told.verdict.request_time_us) / 1000, 1)


def _twice(name: str, reached: float, highest: float) -> Check:
    factor = reached / highest if highest else 0.0
    return Check(name, factor >= _FACTOR, f"{reached:,.0f} a second, {factor:.2f} times {highest:,.0f}")


def _late(evidence: Evidence) -> Check:
    """Check that no message was approved after it had become too old to be acted on."""
    slowest_ms = max(_latency_ms(t) for t in evidence.verdicts)
    late = [t for t in evidence.verdicts if _latency_ms(t) > _AGE_MAX_MS]
    wrong = [t for t in late if Reason.STALE_ORDER not in t.reasons]
    text = f"decided after {slowest_ms} ms at most; after {_AGE_MAX_MS} ms {len(late)}, not refused for it {len(wrong)}"
    return Check("nothing_late_without_reason", not wrong, text)


def _killed(evidence: Evidence) -> Check:
    applied = evidence.kills(f"{Scope.BOT} {_KILLED}")
    after = approved_after(evidence, _KILLED, applied[0].event_time_us + 1) if applied else []
    refused = Counter(t.verdict.reason.value for t in evidence.of(_KILLED) if Reason.KILL_SWITCH_ENGAGED in t.reasons)
    others = count(t for t in evidence.verdicts if t.verdict.agent_id != _KILLED)
    text = f"approved once it was in force {len(after)}, refused for it {refused.total()}; others: {shown(others)}"
    return Check("kill_holds_under_load", len(applied) == 1 and not after and refused.total() > 0, text)


PLAN: Final = DrillPlan(
    name=DrillName.DOUBLE_LOAD,
    source="RTS 6 Art. 10, 12, 16(5)",
    bots=tuple(bot(name) for name in _BOTS),
    limits={
        name: {"risk_controls": {"max_order_age_ms": _AGE_MAX_MS, "max_consecutive_failures": 1_000}} for name in _BOTS
    },
    instruments=(Instrument(_SYMBOL, "55000.01"),),
    play=_play,
    judge=_judge,
    kill=Kill(f"{Scope.BOT} {_KILLED}", (_KILLED,)),
)
