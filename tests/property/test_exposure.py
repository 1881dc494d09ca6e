"""While a bot is REDUCING its exposure never rises, whatever it asks and in whatever order its open orders trade."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.breaker import Signal
from streams.core.exposure import Exposure, reduces
from streams.core.orders import Side
from tests.gate_world import NOON, S_US, Desk, make_order, make_policy, qty

LOT = qty("0.00001")
STEPS = st.tuples(
    st.sampled_from(["order", "order", "fill", "close", "score"]),
    st.sampled_from(Side),
    st.integers(1, 40),
    st.integers(0, 9),
    st.floats(0, 0.85),
)


@dataclass
class Open:
    side: Side
    leaves: int


class Market:
    """A venue that fills and cancels what it likes, and the exposure that follows."""

    def __init__(self, net: int) -> None:
        self.exposure = Exposure(net_e17=net * LOT)
        self.open: list[Open] = []

    def enter(self, side: Side, lots: int) -> None:
        self.open.append(Open(side, lots))
        self.exposure.opened(side, lots * LOT)

    def fill(self, which: int, lots: int) -> None:
        if self.open:
            order = self.open[which % len(self.open)]
            traded = min(lots, order.leaves)
            order.leaves -= traded
            self.exposure.opened(order.side, -traded * LOT)
            self.exposure.traded(order.side, traded * LOT)

    def close(self, which: int) -> None:
        if self.open:
            order = self.open.pop(which % len(self.open))
            self.exposure.opened(order.side, -order.leaves * LOT)


ALWAYS_OPEN = (
    ("scope.trading_hours.start", "00:00"),
    ("scope.trading_hours.end", "00:00"),
    ("scope.trading_hours.exclude_weekends", False),
    ("risk_controls.max_consecutive_failures", 1000),
)


@settings(max_examples=300, deadline=None)
@given(
    st.integers(-60, 60), st.lists(st.tuples(st.sampled_from(Side), st.integers(1, 30)), max_size=4), st.lists(STEPS)
)
def test_exposure_never_rises_under_any_interleaving(
    net: int, before: list[tuple[Side, int]], steps: list[tuple[str, Side, int, int, float]]
) -> None:
    market, desk = Market(net), Desk(make_policy(*ALWAYS_OPEN))
    for side, lots in before:  # what was approved before the breaker opened
        market.enter(side, lots)
    desk.bot.stop(Signal.PERSON_REDUCE, "ceo@acme")
    worst, passed = market.exposure.worst_e17, 0
    for number, (kind, side, lots, which, score) in enumerate(steps):
        at_us = NOON + number * S_US
        if kind == "fill":
            market.fill(which, lots)
        elif kind == "close":
            market.close(which)
        else:
            order = make_order(cl_ord_id=f"e-{number}", side=side, order_qty_e17=lots * LOT, transact_time_us=at_us)
            allowed = reduces(order, market.exposure)
            approved = desk.send(order, at_us, exposure=market.exposure, score=score).approved
            assert approved is allowed
            if approved:
                passed += 1
                market.enter(side, lots)
                own = -lots if side is Side.SELL else lots
                assert abs(market.exposure.net_e17 + own * LOT) < abs(market.exposure.net_e17)
        assert market.exposure.worst_e17 <= worst
        worst = market.exposure.worst_e17
        assert min(market.exposure.open_buy_e17, market.exposure.open_sell_e17) >= 0


def test_a_whole_position_can_be_closed_and_not_a_lot_more() -> None:
    for net, side in ((7, Side.SELL), (-7, Side.BUY)):
        held = Exposure(net_e17=net * LOT)
        assert reduces(make_order(side=side, order_qty_e17=7 * LOT), held)
        assert not reduces(make_order(side=side, order_qty_e17=8 * LOT), held)
        held.opened(side, 3 * LOT)
        assert reduces(make_order(side=side, order_qty_e17=4 * LOT), held)
        assert not reduces(make_order(side=side, order_qty_e17=5 * LOT), held)
    assert not reduces(make_order(order_qty_e17=0), Exposure(net_e17=-LOT))
