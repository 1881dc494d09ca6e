"""Market tapes: recorded trades read from tick files, strictly and without floats."""

from __future__ import annotations

import csv
import gzip
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO, TypeVar

from streams.core.errors import PortcullisError
from streams.core.orders import PRICE_SCALE, QTY_SCALE, Side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_T = TypeVar("_T")

BUNDLED_TAPE: Final = Path(__file__).parent / "data" / "binance_20240808.trades.csv.gz"

# Quote currencies by which a joined symbol is split; longer names first, so that FDUSD is not taken for USD.
_QUOTES: Final = ("FDUSD", "USDT", "USDC", "BUSD", "TUSD", "EUR", "USD", "GBP", "BTC", "ETH", "BNB")
_SYMBOL: Final = re.compile(r"[A-Z0-9]{2,16}")
_NUMBER: Final = re.compile(r"([0-9]{1,20})(?:\.([0-9]{1,30}))?(?:[eE]([+-]?[0-9]{1,2}))?")
_INTEGER: Final = re.compile(r"[0-9]{1,19}")
_MS_MAX: Final = 4_102_444_800_000  # the year 2100: a time in other units than milliseconds is refused
_WEBSOCKET: Final = (
    "recv_ns",
    "event_ms",
    "trade_ms",
    "symbol",
    "trade_id",
    "price",
    "qty",
    "is_buyer_maker",
    "exec_type",
)
_PLAIN: Final = ("timestamp_ms", "side", "price", "amount")
_MAKER_TO_AGGRESSOR: Final = {"0": Side.BUY, "1": Side.SELL}
_SIDES: Final = {"buy": Side.BUY, "sell": Side.SELL}
# Futures streams also report what did not trade in the order book: liquidations, and messages without a price.
_EXEC_TYPES: Final = {"": True, "MARKET": True, "INSURANCE_FUND": False, "ADL": False, "NA": False}
# Streams of one capture are not in step: a time that goes back by less is taken as the last one.
_BACKSTEP_MAX_US: Final = 5_000_000


class TapeError(PortcullisError):
    """A tick file does not hold; the text names file, line, field and value."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A trade of the market; `aggressor` is the side that took liquidity."""

    time_us: int
    symbol: str
    price_e13: int
    qty_e17: int
    aggressor: Side


def normalise_symbol(text: str) -> str:
    """Return a market's name in the form BTC_USDT, from BTCUSDT, BTC/USDT, BTC-USDT or BTC_USDT in any case.

    Raises: ValueError where base and quote cannot be told apart.
    """
    upper = text.strip().upper()
    for separator in ("_", "/", "-"):
        base, found, quote = upper.partition(separator)
        if found and _SYMBOL.fullmatch(base) and _SYMBOL.fullmatch(quote):
            return f"{base}_{quote}"
    if _SYMBOL.fullmatch(upper):
        for quote in _QUOTES:
            base = upper.removesuffix(quote)
            if base != upper and len(base) >= 2:
                return f"{base}_{quote}"
    raise ValueError(f"not a market: {text[:40]!r}")


def read_tape(path: Path) -> Iterator[Tick]:
    """Yield the trades of a tick file, plain or gzip, in one of the two formats that its header names.

    Websocket captures have the columns `recv_ns, event_ms, trade_ms, symbol, trade_id, price, qty, is_buyer_maker,
    exec_type`, where only exec_type MARKET or none is a trade of the order book; plain tapes have `timestamp_ms, side,
    price, amount`, with the market as the file name up to the first underscore or dot.

    Raises: TapeError naming line and field.
    """
    try:
        with _open(path) as file:
            yield from _rows(path, file)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise TapeError(f"{path.name}: cannot be read ({error})") from error


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _rows(path: Path, file: TextIO) -> Iterator[Tick]:
    lines = csv.reader(file, strict=True)
    try:
        header = tuple(name.strip() for name in next(lines, ()))
        parse = _parser(path, header)
        last_us = count = 0
        for row in lines:
            where = f"{path.name}: line {lines.line_num}"
            if len(row) != len(header):
                raise TapeError(f"{where}: {len(header)} fields expected, has {len(row)}")
            try:
                tick = parse(row)
            except ValueError as error:
                raise TapeError(f"{where}: {error}") from None
            if tick is None:
                continue
            if tick.time_us < last_us - _BACKSTEP_MAX_US:
                raise TapeError(f"{where}: time goes back by {last_us - tick.time_us} us")
            last_us = max(last_us, tick.time_us)
            count += 1
            yield tick if tick.time_us == last_us else replace(tick, time_us=last_us)
    except csv.Error as error:
        raise TapeError(f"{path.name}: line {lines.line_num}: {error}") from None
    if not count:
        raise TapeError(f"{path.name}: no trades")


def _parser(path: Path, header: tuple[str, ...]) -> Callable[[list[str]], Tick | None]:
    if header == _WEBSOCKET:
        return _websocket_row
    if header == _PLAIN:
        symbol = _market_of_name(path)
        return lambda row: _plain_row(symbol, row)
    raise TapeError(f"{path.name}: line 1: header is neither {','.join(_WEBSOCKET)} nor {','.join(_PLAIN)}")


def _market_of_name(path: Path) -> str:
    parts = re.split(r"[_.-]", path.name)
    for name in (parts[0], "_".join(parts[:2])):
        try:
            return normalise_symbol(name)
        except ValueError:
            continue
    raise TapeError(f"{path.name}: the file name must begin with the market, for example BTCUSDT or BTC_USDT")


def _websocket_row(row: list[str]) -> Tick | None:
    _recv, _event, trade_ms, symbol, _id, price, qty, is_buyer_maker, exec_type = row
    if not _choice("exec_type", exec_type, _EXEC_TYPES):
        return None
    return Tick(
        time_us=_time_us("trade_ms", trade_ms),
        symbol=_market("symbol", symbol),
        price_e13=_fixed("price", price, PRICE_SCALE),
        qty_e17=_fixed("qty", qty, QTY_SCALE),
        aggressor=_choice("is_buyer_maker", is_buyer_maker, _MAKER_TO_AGGRESSOR),
    )


def _plain_row(symbol: str, row: list[str]) -> Tick:
    timestamp_ms, side, price, amount = row
    return Tick(
        time_us=_time_us("timestamp_ms", timestamp_ms),
        symbol=symbol,
        price_e13=_fixed("price", price, PRICE_SCALE),
        qty_e17=_fixed("amount", amount, QTY_SCALE),
        aggressor=_choice("side", side.lower(), _SIDES),
    )


def _market(field: str, text: str) -> str:
    try:
        return normalise_symbol(text)
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from None


def _choice(field: str, text: str, choices: Mapping[str, _T]) -> _T:
    choice = choices.get(text)
    if choice is None:
        raise ValueError(f"{field}: one of {', '.join(map(repr, choices))} expected, has {text[:40]!r}")
    return choice


def _time_us(field: str, text: str) -> int:
    if not _INTEGER.fullmatch(text) or not 0 < int(text) < _MS_MAX:
        raise ValueError(f"{field}: milliseconds since 1970 expected, has {text[:40]!r}")
    return int(text) * 1000


def _fixed(field: str, text: str, scale: int) -> int:
    """Read a positive decimal, with or without an exponent, as a fixed-point integer, exactly."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise ValueError(f"{field}: a positive decimal expected, has {text[:40]!r}")
    whole, fraction, exponent = match[1], match[2] or "", int(match[3] or 0)
    digits = int(whole + fraction)
    shift = scale + exponent - len(fraction)
    factor: int = 10 ** abs(shift)
    if shift < 0 and digits % factor:
        raise ValueError(f"{field}: more than {scale} fraction digits: {text[:40]!r}")
    value = digits * factor if shift >= 0 else digits // factor
    if not 0 < value < 10**38:
        raise ValueError(f"{field}: must be above 0 and below 10^38 at scale {scale}, has {text[:40]!r}")
    return value
