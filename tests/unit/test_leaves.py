"""Leaves read thousands at once are held against the full decoders, and every line against its schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.merkle import hash_leaf
from streams.core.orders import PRICE_SCALE, QTY_SCALE, MsgType, OrdType, Side, TimeInForce, decimal_text
from streams.names import Topic
from streams.reports.arrays import decimal_column, decimal_texts, integers
from streams.reports.bulk import BulkReader
from streams.reports.columns import table_of
from streams.reports.facts import Facts, Instrument, Party
from streams.reports.fields import TEXT_BYTES_MAX, FieldFinder, Values
from streams.reports.forms import Forms, problem, schema, validator
from streams.reports.layout import ORDERS, RECORD_FILES, TRANSACTIONS, Extent
from streams.reports.leaves import ORDER_FILES, TRADE_EXECUTED, Selection
from streams.reports.sections import ReadSection, SectionReader
from streams.wire.avro import Schema, schema_document
from streams.wire.decisions import EVENT_TYPES
from tests.made_log import make_log
from tests.sim_world import World

if TYPE_CHECKING:
    from collections.abc import Sequence

USUAL = (*ORDER_FILES, TRADE_EXECUTED)
LEI = "PORTCULLISDEMO000038"
FACTS = Facts(
    {"bot-0-1": Party("acme", LEI, "ab" * 32, 0, 3), "maker-01": Party("acme", LEI, "ab" * 32, 0, 3)},
    {"BTC_USDT": Instrument("V15WLZJMF", "EUR")},
)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[bytes]]:
    """Logs of a run with every kind of bot, trades among them."""
    world = World(tmp_path_factory.mktemp("pki"))
    world.prices()
    world.register_all()
    world.run(300)
    logs: dict[int, list[bytes]] = {}
    for record in world.records:
        if record.topic == Topic.AUDIT_EVENTS:
            logs.setdefault(record.partition, []).append(record.value or b"")
    return logs


WHOLE = 1 << 40


def read_both(
    leaves: Sequence[bytes], selection: Selection | None = None, partition: int = 0
) -> tuple[ReadSection, ReadSection]:
    """Read leaves thousands at once where that can be, and all one by one."""
    chosen, extent = selection or Selection(), Extent(partition, 0, 0, WHOLE)
    quick, plain = SectionReader(FACTS, chosen), SectionReader(FACTS, chosen)
    assert quick._bulk is not None
    quick._bulk.fewest = 0
    plain._bulk = None
    found = quick.read(leaves, extent), plain.read(leaves, extent)
    assert unreadable(found[1]) or (quick.venues, quick.markets) == (plain.venues, plain.markets)
    return found


def unreadable(read: ReadSection) -> bool:
    return any("cannot be read" in problem for problem in read.problems)


def require_same(quick: ReadSection, plain: ReadSection) -> None:
    names = ("hashes", "times_us", "lines", "owners", "registrations", "problems")
    for name in names:
        assert getattr(quick, name) == getattr(plain, name), name
    for name, lines, table in zip(RECORD_FILES, plain.lines, quick.tables, strict=True):
        assert (table is None) == (not lines)
        assert table is None or table.equals(table_of(name, lines))


@pytest.mark.parametrize("selection", [Selection(), Selection("maker-01"), Selection(market="ETH_USDT")])
def test_both_ways_give_the_same(lived: dict[int, list[bytes]], selection: Selection) -> None:
    for partition, leaves in lived.items():
        quick, plain = read_both(leaves, selection, partition)
        require_same(quick, plain)
        assert quick.problems == []


def test_most_leaves_are_read_at_once(lived: dict[int, list[bytes]]) -> None:
    """Else a change of the schema would only show as slowness."""
    reader = BulkReader(FACTS, Selection(), set(), set())
    reader.fewest = 0
    for partition, leaves in lived.items():
        read = reader.read(leaves, Extent(partition, 0, 0, WHOLE), list(map(hash_leaf, leaves)))
        usual = [place for place, leaf in enumerate(leaves) if EVENT_TYPES[leaf[5] >> 1] in USUAL]
        assert len(usual) > 50
        done = set(range(len(leaves))) - set(read.rest)
        assert done <= set(usual)
        assert len(done) > 0.95 * len(usual)


def test_odd_values_too() -> None:
    for partition in range(3):
        require_same(*read_both(make_log(partition, 400).leaves, partition=partition))


def test_large_and_negative_numbers_too() -> None:
    values = [0, 1, -1, 10**16, 10**17, 2**63 - 1, 2**63, 10**30, -(10**30), 99 * 10**17 + 5]
    for scale in (QTY_SCALE, PRICE_SCALE):
        found = decimal_texts(decimal_column(values, scale)).to_pylist()
        assert found == [decimal_text(value, scale) for value in values]
    assert integers(decimal_column(values, 5)) == values


MADE = make_log(0, 400).leaves


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 399), st.integers(0, 10**6), st.integers(0, 255))
def test_a_changed_byte_never_makes_two_answers(index: int, place: int, byte: int) -> None:
    leaves = [bytearray(leaf) for leaf in MADE[max(index - 19, 0) : index + 1]]
    leaf = leaves[-1]
    leaf[place % len(leaf)] = byte
    quick, plain = read_both([bytes(each) for each in leaves])
    assert unreadable(plain) or (quick.lines, quick.times_us) == (plain.lines, plain.times_us)


def test_a_text_that_is_none_is_seen_where_no_line_needs_it() -> None:
    leaves = make_log(0, 40).leaves
    for index in range(40):
        # The bot's name in the event, after the framing, the type, whether there is one, and how long it is.
        changed = leaves[index][:8] + b"\xff" + leaves[index][9:]
        quick, plain = read_both([*leaves[:index], changed])
        require_same(quick, plain)
        assert quick.problems


@pytest.mark.parametrize("shift", range(8))
def test_a_long_text_is_read_to_its_end(shift: int) -> None:
    """Of a text, 57 bytes are looked at at once, wherever in eight it begins."""
    leaf, texts = MADE[0], [bytearray(b"a" * TEXT_BYTES_MAX) for _ in range(TEXT_BYTES_MAX + 1)]
    for place, text in enumerate(texts[1:]):
        text[place] = 0xFF
    # The bot's name in the event, after the framing and the type, and before it how long it is.
    length, rest = bytes((TEXT_BYTES_MAX << 1 & 0x7F | 0x80, TEXT_BYTES_MAX >> 6)), leaf[7 + (leaf[6] >> 1) :]
    finder = FieldFinder(Schema.AUDIT_EVENT, (), opened={"verdict": (Schema.VERDICT, False)})
    values = [leaf[:6] + length + text + rest for text in texts]
    # Each value begins where a multiple of eight and the shift are.
    filled = [piece for value in values for piece in (value, bytes(-len(value) % 8))]
    found = finder.find(Values.of([bytes(shift), *filled]))
    assert found.good[1::2].tolist() == [True, *[False] * TEXT_BYTES_MAX]


def lines_of(leaves: Sequence[bytes], partition: int, file: str) -> list[bytes]:
    return read_both(leaves, partition=partition)[0].lines[RECORD_FILES.index(file)].splitlines()


def test_every_record_fits_its_schema(lived: dict[int, list[bytes]]) -> None:
    checked = 0
    for partition, leaves in (*lived.items(), (1, make_log(1, 300).leaves)):
        for name in RECORD_FILES:
            for line in lines_of(leaves, partition, name):
                assert problem(name, line) == ""
                checked += 1
    assert checked > 600


def test_a_record_that_breaks_its_schema_is_named(lived: dict[int, list[bytes]]) -> None:
    lines = lines_of(lived[0], 0, ORDERS)
    broken = lines[7].replace(b'"TradgCpcty":"DEAL"', b'"TradgCpcty":"NONE"')
    forms = Forms()
    (found,) = list(forms.check([b"\n".join([*lines[:20], broken]), b"", b"", b"", b""]))
    assert "TradgCpcty" in found
    assert list(forms.check([b"\n".join(lines), b"", b"", b"", b""])) == []


@pytest.mark.parametrize("name", [*RECORD_FILES, "manifest"])
def test_schemas_are_schemas(name: str) -> None:
    assert schema(name)["title"]
    assert not validator(name).is_valid({})


def test_enums_are_in_the_schema_s_order() -> None:
    """The quick way reads an enum as its place."""
    types = {field["name"]: field["type"] for field in schema_document(Schema.ORDER)["fields"]}
    for name, members in (("msg_type", MsgType), ("side", Side), ("ord_type", OrdType), ("time_in_force", TimeInForce)):
        assert types[name]["symbols"] == [member.value for member in members]
    assert next(f for f in schema_document(Schema.AUDIT_EVENT)["fields"] if f["name"] == "event_type")["type"][
        "symbols"
    ] == list(EVENT_TYPES)


def test_a_fill_is_an_order_s_event_and_a_transaction(lived: dict[int, list[bytes]]) -> None:
    fills = 0
    for partition, leaves in lived.items():
        orders = {
            order["SplmtryData"]["leaf"]: order for order in map(orjson.loads, lines_of(leaves, partition, ORDERS))
        }
        for transaction in map(orjson.loads, lines_of(leaves, partition, TRANSACTIONS)):
            order = orders[transaction["SplmtryData"]["leaf"]]
            assert order["Ordr"]["OrdrIdData"]["EvtTp"]["Cd"] in ("PARF", "FILL")
            assert transaction["Tx"]["Qty"] == order["Ordr"]["OrdrData"]["TxData"]["TraddQty"]
            assert transaction["ExctgPty"] == {"LEI": LEI}
            assert order["SplmtryData"]["leaf_sha256"] == transaction["SplmtryData"]["leaf_sha256"]
            fills += 1
    assert fills > 20
