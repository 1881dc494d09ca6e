"""The quick way from leaf to line is held against the full decoders, and every line against its schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.orders import MsgType, OrdType, Side, TimeInForce
from streams.names import Topic
from streams.reports.facts import Facts, Instrument, Party
from streams.reports.forms import Forms, problem, schema, validator
from streams.reports.layout import ORDERS, RECORD_FILES, TRANSACTIONS
from streams.reports.leaves import LeafReader, Selection
from streams.wire.avro import Schema, schema_document
from streams.wire.decisions import EVENT_TYPES
from tests.made_log import make_log
from tests.sim_world import World

if TYPE_CHECKING:
    from collections.abc import Sequence

LEI = "PORTCULLISDEMO000038"
FACTS = Facts(
    {"bot-0-1": Party("acme", LEI, "ab" * 32, 0, 3), "maker-01": Party("acme", LEI, "ab" * 32, 0, 3)},
    {"BTC_USDT": Instrument("V15WLZJMF", "EUR")},
)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Sequence[bytes]:
    """Leaves of a run with every kind of bot, trades among them."""
    world = World(tmp_path_factory.mktemp("pki"))
    world.prices()
    world.register_all()
    world.run(300)
    return [record.value or b"" for record in world.records if record.topic == Topic.AUDIT_EVENTS]


def readers(selection: Selection | None = None) -> tuple[LeafReader, LeafReader]:
    chosen = selection or Selection()
    return LeafReader(FACTS, chosen), LeafReader(FACTS, chosen, quick=False)


@pytest.mark.parametrize("selection", [Selection(), Selection("maker-01"), Selection(market="ETH_USDT")])
def test_both_ways_give_the_same_lines(lived: Sequence[bytes], selection: Selection) -> None:
    quick, plain = readers(selection)
    found = [quick.read(leaf) for leaf in lived]
    assert found == [plain.read(leaf) for leaf in lived]
    files = {RECORD_FILES[file] for leaf in found for file, _ in leaf.lines}
    assert files >= {ORDERS, TRANSACTIONS}


def test_the_quick_way_is_taken(lived: Sequence[bytes]) -> None:
    """All but what other decoders must read: else a change of the schema would only show as slowness."""
    quick, _ = readers()
    quick._read_plainly = None  # type: ignore[method-assign, assignment]
    taken = 0
    for leaf in lived:
        kind = EVENT_TYPES[leaf[5] >> 1]
        if kind in ("ORDER_APPROVED", "ORDER_REJECTED", "TRADE_EXECUTED"):
            quick.read(leaf)
            taken += 1
    assert taken > 300


def test_odd_values_too() -> None:
    quick, plain = readers()
    for partition in range(3):
        leaves = make_log(partition, 400).leaves
        assert [quick.read(leaf) for leaf in leaves] == [plain.read(leaf) for leaf in leaves]


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 399), st.integers(0, 10**6), st.integers(0, 255))
def test_a_changed_byte_never_makes_two_answers(index: int, place: int, byte: int) -> None:
    leaf = bytearray(make_log(0, 400).leaves[index])
    leaf[place % len(leaf)] = byte
    quick, plain = readers()
    try:
        expected = plain.read(bytes(leaf))
    except Exception:  # noqa: BLE001 - whatever it is, the record is refused
        return
    assert quick.read(bytes(leaf)) == expected


def test_every_record_fits_its_schema(lived: Sequence[bytes]) -> None:
    quick, _ = readers()
    checked = 0
    for leaf in [*lived, *make_log(1, 300).leaves]:
        for file, line in quick.read(leaf).lines:
            assert problem(RECORD_FILES[file], line.encode()) == ""
            checked += 1
    assert checked > 600


def test_a_record_that_breaks_its_schema_is_named(lived: Sequence[bytes]) -> None:
    quick, _ = readers()
    lines = [line for leaf in lived for file, line in quick.read(leaf).lines if RECORD_FILES[file] == ORDERS]
    broken = lines[7].replace('"TradgCpcty":"DEAL"', '"TradgCpcty":"NONE"')
    blobs = ["".join([*lines[:20], broken]).encode(), b"", b"", b"", b""]
    forms = Forms()
    (found,) = list(forms.check(blobs))
    assert "TradgCpcty" in found
    assert list(forms.check([b"".join(line.encode() for line in lines), b"", b"", b"", b""])) == []


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


def test_a_fill_is_an_order_s_event_and_a_transaction(lived: Sequence[bytes]) -> None:
    quick, _ = readers()
    fills = [found.lines for found in map(quick.read, lived) if len(found.lines) == 2]
    assert fills
    for (_, event), (_, trade) in fills:
        order, transaction = orjson.loads(event), orjson.loads(trade)
        assert order["Ordr"]["OrdrIdData"]["EvtTp"]["Cd"] in ("PARF", "FILL")
        assert transaction["Tx"]["Qty"] == order["Ordr"]["OrdrData"]["TxData"]["TraddQty"]
        assert transaction["ExctgPty"] == {"LEI": LEI}
        assert order["SplmtryData"]["leaf_sha256"] == transaction["SplmtryData"]["leaf_sha256"]
