"""The tape reader: both formats, exact numbers, and errors that say where."""

import gzip
import os
from pathlib import Path

import pytest

from streams.core.orders import Side
from streams.sim.tape import BUNDLED_TAPE, TapeError, Tick, normalise_symbol, read_tape

WEBSOCKET = "recv_ns,event_ms,trade_ms,symbol,trade_id,price,qty,is_buyer_maker,exec_type\n"
PLAIN = "timestamp_ms,side,price,amount\n"
SHARED = Path(os.environ.get("PORTCULLIS_SHARED_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))


def tape(tmp_path: Path, text: str, name: str = "BTCUSDT_x.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("BTCUSDT", "BTC_USDT"),
        ("btc/usdt", "BTC_USDT"),
        ("ETH-BTC", "ETH_BTC"),
        ("BTC_USDT", "BTC_USDT"),
        ("APPCBTC", "APPC_BTC"),
        ("BTCUSD_PERP", "BTCUSD_PERP"),
        ("1000SHIBFDUSD", "1000SHIB_FDUSD"),
    ],
)
def test_symbols_are_normalised(text: str, symbol: str) -> None:
    assert normalise_symbol(text) == symbol


@pytest.mark.parametrize("text", ["", "USDT", "BTC", "B/", "BTC_USDT_X", "ÄÖÜUSDT", "BTC USDT"])
def test_what_is_no_symbol_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a market"):
        normalise_symbol(text)


def test_a_websocket_capture_is_read_exactly(tmp_path: Path) -> None:
    rows = (
        "1723161254087896568,1723161255343,1723161255342,BTCUSDT,1,61837.63000000,0.00009000,1,\n"
        "1723161254087896568,1723161255343,1723161255343,ETHUSDT,2,2683.8,3,0,MARKET\n"
    )
    assert list(read_tape(tape(tmp_path, WEBSOCKET + rows))) == [
        Tick(1723161255342000, "BTC_USDT", 61837_63 * 10**11, 9 * 10**12, Side.SELL),
        Tick(1723161255343000, "ETH_USDT", 26838 * 10**12, 3 * 10**17, Side.BUY),
    ]


@pytest.mark.parametrize("name", ["APPCBTC_2020.csv", "APPC_BTC.csv.gz", "appc-btc_1.csv"])
def test_a_plain_tape_takes_its_market_from_the_file_name(tmp_path: Path, name: str) -> None:
    ticks = list(read_tape(tape(tmp_path, PLAIN + "1605549866174,buy,1.36e-06,335.0\n", name)))
    assert ticks == [Tick(1605549866174000, "APPC_BTC", 136 * 10**5, 335 * 10**17, Side.BUY)]


def test_what_did_not_trade_in_the_book_is_left_out(tmp_path: Path) -> None:
    rows = "1,1,1000,BTCUSDT,1,0,0,0,NA\n1,1,1000,BTCUSDT,2,5,1,0,ADL\n1,1,1000,BTCUSDT,3,7,1,0,MARKET\n"
    assert [t.price_e13 for t in read_tape(tape(tmp_path, WEBSOCKET + rows))] == [7 * 10**13]


def test_streams_slightly_out_of_step_are_put_in_step(tmp_path: Path) -> None:
    rows = "1000000,buy,1,1\n999000,buy,1,1\n"
    assert [t.time_us for t in read_tape(tape(tmp_path, PLAIN + rows))] == [10**9, 10**9]


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        (PLAIN, "1000,buy,1", "line 2: 4 fields expected, has 3"),
        (PLAIN, "x,buy,1,1", "line 2: timestamp_ms: milliseconds since 1970 expected, has 'x'"),
        (PLAIN, "1605549866174000,buy,1,1", "line 2: timestamp_ms"),
        (PLAIN, "1000,hold,1,1", "line 2: side: one of 'buy', 'sell' expected, has 'hold'"),
        (PLAIN, "1000,buy,-1,1", "line 2: price: a positive decimal"),
        (PLAIN, "1000,buy,nan,1", "line 2: price: a positive decimal"),
        (PLAIN, "1000,buy,0.0,1", "line 2: price: must be above 0"),
        (PLAIN, "1000,buy,1e-14,1", "line 2: price: more than 13 fraction digits"),
        (PLAIN, "1000,buy,1,1e25", "line 2: amount: must be above 0 and below"),
        (PLAIN, "1000,buy,1,1\n1000,buy,1,", "line 3: amount: a positive decimal expected, has ''"),
        (PLAIN, "9000000,buy,1,1\n1000,buy,1,1", "line 3: time goes back by 8999000000 us"),
        (PLAIN, "", "no trades"),
        (WEBSOCKET, "1,1,1000,BTC,1,5,1,0,", "line 2: symbol: not a market: 'BTC'"),
        (WEBSOCKET, "1,1,1000,BTCUSDT,1,5,1,2,", "line 2: is_buyer_maker: one of '0', '1' expected, has '2'"),
        (WEBSOCKET, "1,1,1000,BTCUSDT,1,5,1,0,WASH", "line 2: exec_type"),
        ("a,b\n", "1,2", "line 1: header is neither"),
    ],
)
def test_an_error_names_line_and_field(tmp_path: Path, header: str, row: str, message: str) -> None:
    with pytest.raises(TapeError) as caught:
        list(read_tape(tape(tmp_path, header + row)))
    assert message in str(caught.value)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    whole = gzip.compress((PLAIN + "1000,buy,1,1\n" * 500).encode())
    for name, data in (("BTCUSDT.csv.gz", whole[:-9]), ("ETHUSDT.csv.gz", b"no gzip"), ("BNBBTC.csv", b"\xff\xfe\x00")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(TapeError, match="cannot be read"):
            list(read_tape(tmp_path / name))
    with pytest.raises(TapeError, match="cannot be read"):
        list(read_tape(tmp_path / "absent.csv"))
    with pytest.raises(TapeError, match="must begin with the market"):
        list(read_tape(tape(tmp_path, PLAIN + "1000,buy,1,1\n", "x.csv")))


def test_the_bundled_tape_is_whole() -> None:
    ticks = list(read_tape(BUNDLED_TAPE))
    assert BUNDLED_TAPE.stat().st_size <= 150_000
    assert {s: sum(t.symbol == s for t in ticks) for s in ("BTC_USDT", "ETH_USDT")} == {
        "BTC_USDT": 5285,
        "ETH_USDT": 2039,
    }
    assert len(ticks) == 7324


@pytest.mark.parametrize("folder", ["ticks_binance_ws", "ticks_pump_events"])
def test_real_captures_are_read_whole(folder: str) -> None:
    files = sorted((SHARED / folder).glob("*.trades.csv.gz"), key=lambda p: p.stat().st_size)[:3]
    if not files:
        pytest.skip(f"no {folder} in the shared data folder")
    for path in files:
        with gzip.open(path, "rt") as file:
            rows = sum(1 for _ in file) - 1
        assert sum(1 for _ in read_tape(path)) == rows
