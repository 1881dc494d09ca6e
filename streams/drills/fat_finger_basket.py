"""Fat-finger basket, after 2 May 2022: an amount of money is typed as a quantity, and an algorithm slices the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streams.clock import now_us
from streams.core.orders import Side
from streams.core.reasons import Reason
from streams.drills.common import count, euro_text, euros, shown
from streams.drills.plan import Check, DrillName, DrillPlan, Instrument, bot

if TYPE_CHECKING:
    from streams.drills.evidence import Evidence
    from streams.drills.ground import Ground
    from streams.drills.plan import Notes

_TYPED_WRONG, _TYPED_RIGHT, _SLICER = "basket-01", "basket-02", "slicer-01"
_TYPED: Final = 58_000_000
_MEANT_EUR: Final = 58_000
_SLICE_EUR: Final = 45_000
_SLICES: Final = 25
_DAILY_MAX_EUR: Final = 300_000
_HARD: Final = frozenset({Reason.MAX_ORDER_VALUE_EXCEEDED, Reason.MAX_ORDER_VOLUME_EXCEEDED})
_LINES: Final = (
    Instrument("ADA_EUR", "0.3051"),
    Instrument("ATOM_EUR", "4.217"),
    Instrument("AVAX_EUR", "19.51"),
    Instrument("BTC_EUR", "55000.01"),
    Instrument("DOT_EUR", "4.163"),
    Instrument("ETH_EUR", "2400.01"),
    Instrument("LINK_EUR", "9.341"),
    Instrument("LTC_EUR", "53.71"),
    Instrument("SOL_EUR", "139.31"),
    Instrument("UNI_EUR", "5.511"),
    Instrument("XLM_EUR", "0.0911"),
    Instrument("XRP_EUR", "0.5417"),
)


def _play(ground: Ground, notes: Notes) -> None:
    wrong, right, slicer = (ground.trader(name) for name in (_TYPED_WRONG, _TYPED_RIGHT, _SLICER))
    notes.moments_us["typed"] = now_us()
    for line in _LINES:
        market = ground.stage.markets[line.symbol]
        qty_e17 = _TYPED * 10**17 // len(_LINES) // market.lot_size_e17 * market.lot_size_e17
        notes.add("typed wrong", wrong.order(Side.SELL, line.symbol, qty_e17))
    for line in _LINES:
        last_e13 = ground.last(line.symbol)
        notes.add("typed right", right.worth(Side.SELL, line.symbol, _MEANT_EUR // len(_LINES), last_e13))
    for number in range(_SLICES):  # what got past the first block went to an algorithm that slices it
        symbol = _LINES[number % len(_LINES)].symbol
        notes.add("slices", slicer.worth(Side.SELL, symbol, _SLICE_EUR, ground.last(symbol)))


def _judge(evidence: Evidence, notes: Notes) -> list[Check]:
    return [_blocked(evidence, notes), _alerted(evidence), _sliced(evidence, notes), _right(evidence, notes)]


def _blocked(evidence: Evidence, notes: Notes) -> Check:
    told = evidence.by_id(notes.orders["typed wrong"])
    hard = [t for t in told if not t.verdict.approved and t.reasons >= _HARD]
    text = (
        f"{len(hard)} of {len(told)} lines over value and volume limits, {euro_text(euros(told))} blocked;"
        f" first reasons: {shown(count(told))}"
    )
    return Check("hard_block_on_every_line", len(hard) == len(_LINES), text)


def _alerted(evidence: Evidence) -> Check:
    kinds = [a.kind for a in evidence.alerts if a.agent_id == _TYPED_WRONG and a.kind != "AGENT_REGISTERED"]
    return Check("people_alerted", bool(kinds), ", ".join(kinds) or "none")


def _sliced(evidence: Evidence, notes: Notes) -> Check:
    told = evidence.by_id(notes.orders["slices"])
    passed_e5 = euros(t for t in told if t.verdict.approved)
    limit_e5 = _DAILY_MAX_EUR * 10**5
    text = f"{len(told)} slices: {shown(count(told))}; {euro_text(passed_e5)} of {euro_text(limit_e5)} passed"
    return Check("slices_stopped_at_daily_limit", passed_e5 <= limit_e5 and len(told) == _SLICES, text)


def _right(evidence: Evidence, notes: Notes) -> Check:
    told = evidence.by_id(notes.orders["typed right"])
    filled = {report.cl_ord_id for report in evidence.reports if report.is_trade}
    traded = [t for t in told if t.verdict.approved and t.verdict.cl_ord_id in filled]
    text = f"{len(traded)} of {len(told)} lines approved and traded, {euro_text(euros(traded))}"
    return Check("right_basket_traded", len(traded) == len(_LINES), text)


PLAN: Final = DrillPlan(
    name=DrillName.FAT_FINGER_BASKET,
    source="Nordic markets, 2 May 2022; RTS 6 Art. 15(1)(b), 15(1)(c), 15(2)",
    bots=(bot(_TYPED_WRONG), bot(_TYPED_RIGHT), bot(_SLICER)),
    limits={
        _TYPED_WRONG: {"risk_controls": {"max_consecutive_failures": 3}},
        _SLICER: {
            "scope": {"max_daily_value_eur": str(_DAILY_MAX_EUR)},
            "risk_controls": {"max_consecutive_failures": 1_000},
        },
    },
    instruments=_LINES,
    play=_play,
    judge=_judge,
)
