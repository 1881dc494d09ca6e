"""The paper venue: fills from the tape, time in force, cancels, and the same answer after a restart."""

import random
from dataclasses import replace

import pytest

from streams.core.executions import ExecType, ExecutionReport
from streams.core.orders import MsgType, Order, OrdType, Side, TimeInForce
from streams.sim.book import DEPTH_TICKS
from streams.sim.bots import plan
from streams.sim.fleet import GOOD_HABITS, fleet
from streams.sim.tape import Tick
from streams.sim.venue import PaperVenue
from streams.venue.cancels import MassCancel, Place
from streams.wire.avro import Schema, encode
from streams.wire.commands import Scope
from streams.wire.executions import decode_execution_report, encode_execution_report
from tests.ticks import bundled_ticks

UNIT = 10**17
EUR = 10**13
NOW = 1_770_000_000_000_000
AT = Place(0, 50)
DAY_US = 86_400_000_000
GTC, DAY = TimeInForce.GOOD_TILL_CANCEL, TimeInForce.DAY
IOC, FOK = TimeInForce.IMMEDIATE_OR_CANCEL, TimeInForce.FILL_OR_KILL


def tick(price: int, qty: int = 10, symbol: str = "BTC_USDT") -> Tick:
    return Tick(NOW, symbol, price * EUR, qty * UNIT, Side.BUY)


def order(cl_ord_id: str, qty: int, price: int | None = None, tif: TimeInForce = GTC, side: Side = Side.BUY) -> Order:
    kind = OrdType.MARKET if price is None else OrdType.LIMIT
    price_e13 = None if price is None else price * EUR
    new = MsgType.NEW_ORDER_SINGLE
    return Order("a", cl_ord_id, None, new, "BTC_USDT", "XOFF", "eu", side, kind, tif, qty * UNIT, price_e13, NOW)


def cancel(cl_ord_id: str, orig: str) -> Order:
    return replace(order(cl_ord_id, 1), msg_type=MsgType.ORDER_CANCEL_REQUEST, orig_cl_ord_id=orig)


def venue(*prices: int) -> PaperVenue:
    made = PaperVenue(operators={"a": "acme", "b": "borealis"})
    for price in prices:
        made.on_tick(tick(price), NOW)
    return made


def brief(reports: tuple[ExecutionReport, ...]) -> list[tuple[str, str, int, int, int, int]]:
    return [
        (
            r.cl_ord_id,
            r.exec_type.value,
            r.last_qty_e17 // UNIT,
            r.last_px_e13 // EUR,
            r.cum_qty_e17 // UNIT,
            r.leaves_qty_e17 // UNIT,
        )
        for r in reports
    ]


@pytest.mark.parametrize("tif", list(TimeInForce))
@pytest.mark.parametrize(("price", "side"), [(None, Side.BUY), (105, Side.BUY), (100, Side.BUY), (95, Side.SELL)])
def test_what_is_marketable_fills_at_the_last_price(price: int | None, side: Side, tif: TimeInForce) -> None:
    reports = venue(99, 100).on_approved(order("1", 5, price, tif, side), AT, NOW)
    assert brief(reports) == [("1", "FILL", 5, 100, 5, 0)]
    assert reports[0].counterparty == "TAPE"
    assert reports[0].transact_time_us == NOW


def test_a_large_order_fills_in_parts_from_the_depth_of_the_tape() -> None:
    made = venue(100, 100)  # depth 20
    assert brief(made.on_approved(order("1", 25, 100), AT, NOW)) == [("1", "PARTIAL_FILL", 20, 100, 20, 5)]
    assert made.on_tick(tick(101), NOW) == ()
    assert brief(made.on_tick(tick(100, 2), NOW)) == [("1", "PARTIAL_FILL", 2, 100, 22, 3)]
    assert brief(made.on_tick(tick(90, 50), NOW)) == [("1", "FILL", 3, 100, 25, 0)]
    assert made.open_orders == 0


def test_depth_is_shared_until_the_next_trade() -> None:
    made = venue(100)
    assert brief(made.on_approved(order("1", 8, tif=IOC), AT, NOW)) == [("1", "FILL", 8, 100, 8, 0)]
    assert brief(made.on_approved(order("2", 8, tif=IOC), AT, NOW)) == [
        ("2", "PARTIAL_FILL", 2, 100, 2, 6),
        ("2", "EXPIRED", 0, 0, 2, 0),
    ]
    for _ in range(DEPTH_TICKS + 5):
        made.on_tick(tick(100), NOW)
    assert brief(made.on_approved(order("3", 10 * DEPTH_TICKS + 1, tif=IOC), AT, NOW))[0][2] == 10 * DEPTH_TICKS


def test_fill_or_kill_fills_whole_or_not_at_all() -> None:
    made = venue(100)
    assert brief(made.on_approved(order("1", 11, 100, FOK), AT, NOW)) == [("1", "EXPIRED", 0, 0, 0, 0)]
    assert brief(made.on_approved(order("2", 10, 100, FOK), AT, NOW)) == [("2", "FILL", 10, 100, 10, 0)]
    assert brief(made.on_approved(order("3", 1, 99, FOK), AT, NOW)) == [("3", "EXPIRED", 0, 0, 0, 0)]


def test_resting_orders_fill_by_price_then_time_when_the_tape_reaches_them() -> None:
    made = venue(100)
    for name, price in (("low", 97), ("first", 98), ("second", 98)):
        assert made.on_approved(order(name, 4, price), AT, NOW) == ()
    assert made.on_approved(order("ask", 4, 103, DAY, Side.SELL), AT, NOW) == ()
    assert made.open_orders == 4
    assert brief(made.on_tick(tick(98, 6), NOW)) == [
        ("first", "FILL", 4, 98, 4, 0),
        ("second", "PARTIAL_FILL", 2, 98, 2, 2),
    ]
    assert brief(made.on_tick(tick(90, 20), NOW)) == [("second", "FILL", 2, 98, 4, 0), ("low", "FILL", 4, 97, 4, 0)]
    assert brief(made.on_tick(tick(104, 20), NOW)) == [("ask", "FILL", 4, 103, 4, 0)]


def test_a_market_order_that_exhausts_the_depth_trades_on_with_the_tape() -> None:
    made = venue(100)
    made.on_approved(order("1", 15, tif=DAY, side=Side.SELL), AT, NOW)
    assert brief(made.on_tick(tick(120, 3), NOW)) == [("1", "PARTIAL_FILL", 3, 120, 13, 2)]
    assert brief(made.on_tick(tick(80, 9), NOW)) == [("1", "FILL", 2, 80, 15, 0)]


def test_cancel_and_replace() -> None:
    made = venue(100)
    made.on_approved(order("1", 4, 98), AT, NOW)
    assert brief(made.on_approved(cancel("2", "1"), AT, NOW)) == [("1", "CANCELED", 0, 0, 0, 0)]
    assert brief(made.on_approved(cancel("3", "1"), AT, NOW)) == [("3", "REJECTED", 0, 0, 0, 0)]
    assert brief(made.on_approved(cancel("4", "never"), AT, NOW)) == [("4", "REJECTED", 0, 0, 0, 0)]
    made.on_approved(order("5", 4, 98), AT, NOW)
    change = replace(order("6", 3, 101), msg_type=MsgType.ORDER_CANCEL_REPLACE_REQUEST, orig_cl_ord_id="5")
    assert brief(made.on_approved(change, AT, NOW)) == [("5", "CANCELED", 0, 0, 0, 0), ("6", "FILL", 3, 100, 3, 0)]
    late = replace(change, cl_ord_id="7")
    assert brief(made.on_approved(late, AT, NOW)) == [("7", "REJECTED", 0, 0, 0, 0)]
    assert made.on_tick(tick(1, 100), NOW) == ()


def test_another_bots_order_cannot_be_cancelled() -> None:
    made = venue(100)
    made.on_approved(order("1", 4, 98), AT, NOW)
    assert brief(made.on_approved(replace(cancel("2", "1"), agent_id="b"), AT, NOW)) == [("2", "REJECTED", 0, 0, 0, 0)]


@pytest.mark.parametrize(
    ("scope", "target", "left"),
    [
        (Scope.BOT, "a", {"b", "c"}),
        (Scope.MARKET, "ETH_USDT", {"a", "c"}),
        (Scope.OPERATOR, "acme", {"b"}),  # c's operator is not known: it is cancelled too
        (Scope.ALL, "", set()),
    ],
)
def test_mass_cancel(scope: Scope, target: str, left: set[str]) -> None:
    made = venue(100)
    made.on_tick(tick(100, symbol="ETH_USDT"), NOW)
    for agent, symbol in (("a", "BTC_USDT"), ("b", "ETH_USDT"), ("c", "BTC_USDT")):
        made.on_approved(replace(order("1", 4, 98), agent_id=agent, symbol=symbol), AT, NOW)
    reports = made.mass_cancel(MassCancel(scope, target, None), NOW + 5)
    assert {r.exec_type for r in reports} == {ExecType.CANCELED}
    assert {"a", "b", "c"} - {r.agent_id for r in reports} == left
    assert made.open_orders == len(left)
    assert made.mass_cancel(MassCancel(scope, target, None), NOW + 5) == ()


@pytest.mark.parametrize(
    ("scope", "target"), [(Scope.BOT, "a"), (Scope.MARKET, "BTC_USDT"), (Scope.OPERATOR, "acme"), (Scope.ALL, "")]
)
def test_a_mass_cancel_is_also_for_what_it_overtook_and_never_for_what_was_approved_after_it(
    scope: Scope, target: str
) -> None:
    made = venue(100)
    made.on_approved(order("here", 4, 98), Place(0, 48), NOW)
    made.on_approved(order("newer", 4, 98), Place(0, 50), NOW)  # as after a restart, when all comes again
    reports = made.mass_cancel(MassCancel(scope, target, Place(0, 50)), NOW)
    assert brief(reports) == [("here", "CANCELED", 0, 0, 0, 0)]
    late = order("late", 4, 100)
    assert brief(made.on_approved(late, Place(0, 49), NOW)) == [("late", "CANCELED", 0, 0, 0, 0)]
    assert brief(made.on_approved(replace(late, cl_ord_id="next"), Place(0, 51), NOW))[0][1] == "FILL"
    assert made.on_approved(replace(late, cl_ord_id="lane", price_e13=98 * EUR), Place(1, 3), NOW) == ()
    assert made.open_ids == {("a", "newer"), ("a", "lane")}


def test_what_is_not_in_its_scope_a_mass_cancel_does_not_overtake() -> None:
    made = venue(100)
    for scope, target in ((Scope.BOT, "b"), (Scope.MARKET, "ETH_USDT"), (Scope.OPERATOR, "borealis")):
        made.mass_cancel(MassCancel(scope, target, Place(0, 50)), NOW)
    assert made.on_approved(order("1", 4, 98), Place(0, 49), NOW) == ()
    unknown = replace(order("1", 4, 98), agent_id="c")  # whose operator is not known, so that it may be any
    assert brief(made.on_approved(unknown, Place(0, 49), NOW)) == [("1", "CANCELED", 0, 0, 0, 0)]


def test_a_request_to_cancel_holds_though_a_mass_cancel_overtook_it() -> None:
    made = venue(100)
    made.on_approved(order("1", 4, 98), Place(0, 51), NOW)
    made.mass_cancel(MassCancel(Scope.BOT, "a", Place(0, 50)), NOW)
    assert brief(made.on_approved(cancel("2", "1"), Place(0, 49), NOW)) == [("1", "CANCELED", 0, 0, 0, 0)]


@pytest.mark.parametrize("headers", [(), (("ce_sequence", b"-1"),), (("ce_sequence", b"9" * 19),)])
def test_a_mass_cancel_without_its_place_is_for_all_that_is_open(headers: tuple[tuple[str, bytes], ...]) -> None:
    fields = {"mass_cancel_id": "1", "scope": "BOT", "target": "a", "agent_id": "a", "reason": "KILL", "issued_by": "x"}
    value = encode(Schema.MASS_CANCEL, {**fields, "event_time": NOW})
    assert MassCancel.of(value, (("ce_sequence", b"7"),), 3) == MassCancel(Scope.BOT, "a", Place(3, 7))
    made = venue(100)
    made.on_approved(order("1", 4, 98), AT, NOW)
    assert brief(made.mass_cancel(MassCancel.of(value, headers, 0), NOW)) == [("1", "CANCELED", 0, 0, 0, 0)]
    assert made.on_approved(order("2", 4, 98), AT, NOW) == ()


def test_day_orders_expire_with_the_utc_day() -> None:
    made = venue(100)
    made.on_approved(order("day", 4, 98, DAY), AT, NOW)
    made.on_approved(order("gtc", 4, 98, GTC), AT, NOW)
    assert made.on_tick(tick(100), NOW + 1) == ()
    assert brief(made.on_tick(tick(98), NOW + DAY_US)) == [("day", "EXPIRED", 0, 0, 0, 0), ("gtc", "FILL", 4, 98, 4, 0)]


def test_without_a_price_the_venue_rejects() -> None:
    assert brief(venue().on_approved(order("1", 4), AT, NOW)) == [("1", "REJECTED", 0, 0, 0, 0)]


def test_an_approval_that_comes_again_changes_nothing() -> None:
    made = venue(100)
    for approved in (order("1", 5), order("2", 5, 98), cancel("3", "2"), cancel("4", "gone")):
        made.on_approved(approved, AT, NOW)
        assert made.on_approved(approved, AT, NOW + 1) == ()


def test_after_a_restart_what_was_reported_is_not_done_again() -> None:
    made = venue(100)
    approved = [
        order("filled", 5),
        order("part", 7, 100),
        order("resting", 5, 98),
        order("gone", 5, 98),
        cancel("cancel", "gone"),
        cancel("vain", "never"),
        order("late", 9, 97, IOC),
    ]
    reports = [r for message in approved for r in made.on_approved(message, AT, NOW)]
    again = venue(100)
    for report in reports:
        again.recall(decode_execution_report(encode_execution_report(report)))
    assert [r for message in approved for r in again.on_approved(message, AT, NOW)] == []
    assert brief(again.on_tick(tick(98, 50), NOW)) == [("part", "FILL", 2, 100, 7, 0), ("resting", "FILL", 5, 98, 5, 0)]
    everything = reports + list(again.on_tick(tick(98, 50), NOW))
    assert len({r.exec_id for r in everything}) == len(everything)


def run(seed: int, restart_share: float = 0.0) -> list[ExecutionReport]:
    ticks = bundled_ticks()[:2000]
    rng = random.Random(seed)
    made, log, approved = PaperVenue(), list[ExecutionReport](), list[Order]()
    seen = -1
    for message in plan(ticks, fleet(10, GOOD_HABITS), 1_000, seed):
        while seen < message.tick_index:
            seen += 1
            log += made.on_tick(ticks[seen], NOW + seen)
        approved.append(message.order)
        log += made.on_approved(message.order, AT, NOW + seen)
        if rng.random() < restart_share:
            made = PaperVenue()
            for report in log:
                made.recall(report)
            for earlier in ticks[: seen + 1]:
                made.on_tick(earlier, NOW + seen)
            for sent in approved:
                log += made.on_approved(sent, AT, NOW + seen)
    return log


@pytest.mark.parametrize(("seed", "restart_share"), [(1, 0.0), (2, 0.01), (3, 0.01)])
def test_no_order_trades_more_than_it_asked_for(seed: int, restart_share: float) -> None:
    log = run(seed, restart_share)
    assert len({r.exec_id for r in log}) == len(log)
    wanted = {}
    for message in plan(bundled_ticks()[:2000], fleet(10, GOOD_HABITS), 1_000, seed):
        wanted[message.order.agent_id, message.order.cl_ord_id] = message.order
    traded: dict[tuple[str, str], int] = {}
    for report in log:
        key = report.agent_id, report.cl_ord_id
        traded[key] = traded.get(key, 0) + report.last_qty_e17
        asked = wanted[key]
        assert traded[key] == report.cum_qty_e17 <= asked.order_qty_e17
        assert (report.exec_type is ExecType.PARTIAL_FILL) == (report.leaves_qty_e17 > 0)
        if report.last_qty_e17 and asked.price_e13 is not None:
            better = asked.price_e13 - report.last_px_e13
            assert better >= 0 if asked.side is Side.BUY else better <= 0
    assert sum(r.exec_type is ExecType.FILL for r in log) > 400
    assert {r.exec_type for r in log} >= {ExecType.FILL, ExecType.CANCELED, ExecType.PARTIAL_FILL}


def test_the_same_input_gives_the_same_reports() -> None:
    assert run(1) == run(1)
