"""What programs that know only `schemas/avro/` were promised: they write what we read, and read what we write."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Context, Decimal
from typing import Any

import fastavro
import orjson
import pytest
from fastavro.schema import fingerprint, to_parsing_canonical_form

from streams.core.orders import PRICE_SCALE, QTY_SCALE, Order
from streams.resources import resource
from streams.wire.avro import PREFIX_BYTES, Schema, body_of, prefix
from streams.wire.messages import (
    decode_order,
    decode_reference_price,
    encode_order,
    encode_reference_price,
)
from tests.gate_world import NOON, ORDER, REFERENCE, make_cancel, make_order, price, qty

# SHA-256 of each schema's parsing canonical form. Records written under a schema stay for years, so a change is a new
# file with a new id. Generator: fastavro.schema.fingerprint.
CANONICAL_SHA256 = {
    Schema.ORDER: "208aed442c9eea3918b87da1272c0263aa8313f351ed61e9d531eb5d1ccc1a5d",
    Schema.VERDICT: "a1a9b623a51293e0a5c6d368ea188968d7b9036785d3b00fa08b49f5dd3ee5a1",
    Schema.EXECUTION_REPORT: "a4fc7abea2914ee159f01c6666de62516f91d909ce1fd83a768f5a4e59123b2c",
    Schema.AGENT_RECORD: "d838b7f1fbdb98c78075220100fe22d6f3a65ab26f0439f6f2a14ceef721c265",
    Schema.COMMAND: "7e315be28dac886fce249263a1d8765fa6d327f12f8fdd555d5981f1173f0b8b",
    Schema.REFERENCE_PRICE: "c455fa6940903ad2f4b22d60e95a5de7427ce37302f91d0c61d4dbd1129685ea",
    Schema.BREAKER_EVENT: "81184ca25886f3ffe6c5d7f333aa115c3e7e3e6e9602baa343269f7eaf3ce48e",
    Schema.ALERT: "96d14fa5923704feb16c593b3d2a36bc197c8da11fd712d75fe2a9734c3bc068",
    Schema.MASS_CANCEL: "dd3985b0513d8b7f22ef336e84bb0553586f63694289164c76a238fafa48b734",
    Schema.AUDIT_EVENT: "6102ed225bfbe1143521c63ef559e565604333da8c3cc91749560e68e6166953",
    Schema.REGULATORY_RECORD: "d63c3f71a0075717405a6603504eee0ecfd9e862d0b669566e8c5de2f1bac589",
    Schema.BATCH_MANIFEST: "6c94d9ee34f4dcacebae43b8d7ca1b79525d00480a12c7661ea80f86dbba2159",
    Schema.INCIDENT: "725912747c5b26978d6f25bd7b797757277ba7071e3f244d052fd66748f5cee4",
    Schema.HEARTBEAT: "74803d2e7131615dc70811ce964df47159c5c8e62ac3ef1bebfa0d75c36db3e5",
    Schema.REVOCATION_REQUEST: "ac75f1f3ef3a73c96d862bb1504aef09c4b88215731a2673636774576afe7a5b",
}
ORDERS = {
    "limit": ORDER,
    "market": make_order(price_e13=None),
    "cancel": make_cancel(),
    "expires": make_order(expire_time_us=NOON + 1_000_000),
    "largest": make_order(order_qty_e17=10**38 - 1, price_e13=-(10**38) + 1),
    "smallest": make_order(order_qty_e17=1, price_e13=-1, cl_ord_id="naïve ✓"),
}


def as_published(schema: Schema) -> Any:
    """Return a schema as others read it: the file, logical types and all."""
    return orjson.loads(resource(f"schemas/avro/{schema}.avsc").read_bytes())


def as_others_see(order: Order) -> dict[str, Any]:
    exact = Context(prec=38)
    return {
        "agent_id": order.agent_id,
        "cl_ord_id": order.cl_ord_id,
        "orig_cl_ord_id": order.orig_cl_ord_id,
        "msg_type": str(order.msg_type),
        "symbol": order.symbol,
        "ex_destination": order.ex_destination,
        "region": order.region,
        "side": str(order.side),
        "ord_type": str(order.ord_type),
        "time_in_force": str(order.time_in_force),
        "order_qty": Decimal(order.order_qty_e17).scaleb(-QTY_SCALE, exact),
        "price": None if order.price_e13 is None else Decimal(order.price_e13).scaleb(-PRICE_SCALE, exact),
        "transact_time": datetime.fromtimestamp(order.transact_time_us / 1e6, UTC),
        "expire_time": None
        if order.expire_time_us is None
        else datetime.fromtimestamp(order.expire_time_us / 1e6, UTC),
    }


@pytest.mark.parametrize("schema", Schema)
def test_a_released_schema_is_not_edited(schema: Schema) -> None:
    found = fingerprint(to_parsing_canonical_form(as_published(schema)), "SHA-256")
    assert found == CANONICAL_SHA256[schema], "a change needs a new file with a new id"


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_others_read_our_orders(order: Order) -> None:
    value = encode_order(order)
    assert (value[0], int.from_bytes(value[1:PREFIX_BYTES], "big")) == (0, 1)
    record = fastavro.schemaless_reader(io.BytesIO(body_of(value)), as_published(Schema.ORDER), None)
    assert record == as_others_see(order)


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_we_read_others_orders(order: Order) -> None:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, as_published(Schema.ORDER), as_others_see(order))
    assert decode_order(prefix(Schema.ORDER) + buffer.getvalue()) == order


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_confluents_deserializer_reads_our_orders(order: Order) -> None:
    # Its extras (authlib, httpx and more) are none of our dependencies.
    reason = "confluent-kafka's extras for schema registries are not installed"
    registry = pytest.importorskip("confluent_kafka.schema_registry", reason=reason)
    avro = pytest.importorskip("confluent_kafka.schema_registry.avro", reason=reason)
    serialization = pytest.importorskip("confluent_kafka.serialization", reason=reason)
    client = registry.SchemaRegistryClient.new_client({"url": f"mock://{order.cl_ord_id}"})
    text = resource("schemas/avro/order.v1.avsc").read_text()
    number = client.register_schema("orders.requested-value", registry.Schema(text, "AVRO"))
    # The place's own id before the body: that is why signatures leave the prefix out.
    value = b"\0" + number.to_bytes(4, "big") + body_of(encode_order(order))
    read = avro.AvroDeserializer(client)
    context = serialization.SerializationContext("orders.requested", serialization.MessageField.VALUE)
    assert read(value, context) == as_others_see(order)


def test_a_reference_price_comes_back_with_its_place() -> None:
    odd = replace(
        REFERENCE, price_e13=price("0.0000000000001"), lot_size_e17=qty("0.00000000000000001"), price_time_us=NOON + 1
    )
    for expected in (REFERENCE, odd):
        value = encode_reference_price(expected)
        assert decode_reference_price(value, 3, 77) == replace(expected, partition=3, offset=77)
