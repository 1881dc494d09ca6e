"""Test vectors of orders for authors of bots: fields, the record's value, what is signed, a signature. Our own.

Run `python -m tests.vectors.make_orders` to write them anew. The key is for these vectors alone; the signatures are
deterministic (RFC 6979), so that the file can be compared; a bot's need not be.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from textwrap import wrap
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from streams.core.orders import MsgType, Order, OrdType, Side, TimeInForce
from streams.wire.avro import body_of
from streams.wire.messages import encode_order
from streams.wire.signatures import ORDER_TYPE, pre_authentication_encoding

FILE = Path(__file__).with_name("orders_own.json")
PAGE = Path(__file__).parents[2] / "topology" / "bots.md"
BEGIN = "<!-- generated from tests/vectors/orders_own.json: begin -->"
END = "<!-- generated from tests/vectors/orders_own.json: end -->"
_SCALAR = 0xC0FFEE0C0FFEE0C0FFEE0C0FFEE0C0FFEE0C0FFEE0C0FFEE0C0FFEE0C0FFEE1

LIMIT = Order(
    agent_id="trading_bot_eu_v2",
    cl_ord_id="a-1",
    orig_cl_ord_id=None,
    msg_type=MsgType.NEW_ORDER_SINGLE,
    symbol="BTC_USDT",
    ex_destination="XOFF",
    region="eu-west-1",
    side=Side.BUY,
    ord_type=OrdType.LIMIT,
    time_in_force=TimeInForce.DAY,
    order_qty_e17=10**16,
    price_e13=60_000 * 10**13,
    transact_time_us=1_780_488_000_000_000,
)
ORDERS = {
    "limit order of 0.1 at 60000": LIMIT,
    "market order": replace(LIMIT, cl_ord_id="a-2", ord_type=OrdType.MARKET, price_e13=None),
    "order that ends after a second": replace(
        LIMIT, cl_ord_id="a-3", expire_time_us=LIMIT.transact_time_us + 1_000_000
    ),
    "replacement": replace(
        LIMIT, cl_ord_id="a-4", orig_cl_ord_id="a-1", msg_type=MsgType.ORDER_CANCEL_REPLACE_REQUEST, side=Side.SELL
    ),
    "cancellation": replace(LIMIT, cl_ord_id="a-5", orig_cl_ord_id="a-4", msg_type=MsgType.ORDER_CANCEL_REQUEST),
    "decimal whose first bit is set": replace(LIMIT, cl_ord_id="a-6", order_qty_e17=0x80, price_e13=0xFF),
    "fill or kill": replace(LIMIT, cl_ord_id="a-7", time_in_force=TimeInForce.FILL_OR_KILL),
}


def document() -> dict[str, Any]:
    """Return the vectors."""
    key = ec.derive_private_key(_SCALAR, ec.SECP256R1())
    algorithm = ec.ECDSA(SHA256(), deterministic_signing=True)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return {
        "source": "tests/vectors/make_orders.py",
        "payload_type": ORDER_TYPE.decode(),
        "public_key_pem": public.decode(),
        "orders": [_vector(name, order, key, algorithm) for name, order in ORDERS.items()],
    }


def _vector(name: str, order: Order, key: ec.EllipticCurvePrivateKey, algorithm: ec.ECDSA) -> dict[str, Any]:
    value = encode_order(order)
    signed = pre_authentication_encoding(ORDER_TYPE, body_of(value))
    # Integers of more than 53 bits are text: other languages' JSON would round them.
    fields = asdict(order) | {
        "order_qty_e17": str(order.order_qty_e17),
        "price_e13": None if order.price_e13 is None else str(order.price_e13),
    }
    signature = key.sign(signed, algorithm)
    return {"name": name, "order": fields, "value": value.hex(), "dsse": signed.hex(), "signature": signature.hex()}


def example() -> str:
    """Return the first vector as the page for bot authors shows it."""
    vector = document()["orders"][0]
    parts = (("value", vector["value"]), ("what is signed", vector["dsse"]), ("a signature", vector["signature"]))
    texts = [f"{name}:\n" + "\n".join(wrap(data, 96)) for name, data in parts]
    return "\n".join([BEGIN, "", "```text", *texts, "```", "", END])


def with_example(page: str) -> str:
    """Return the page with its example made anew."""
    before, _, rest = page.partition(BEGIN)
    return before + example() + rest.partition(END)[2]


if __name__ == "__main__":
    FILE.write_text(json.dumps(document(), indent=1) + "\n")
    PAGE.write_text(with_example(PAGE.read_text()))
