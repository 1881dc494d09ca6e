"""From plan to bytes: what honest, forged, unsigned, garbled and misdirected messages look like; load files."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from streams.sim.bots import PlannedMessage, plan
from streams.sim.fleet import fleet
from streams.sim.load import LoadError, read_load, write_load
from streams.sim.mischief import Recipe
from streams.sim.signing import Keyring, KeyringError, sign_all, to_wire, wall_clock_us
from streams.wire.avro import body_of
from streams.wire.headers import SIGNATURE, THUMBPRINT, find_headers
from streams.wire.messages import decode_order
from streams.wire.signatures import ORDER_TYPE, is_valid, thumbprint
from streams.wire.signed_orders import KeySigner, WireMessage
from tests.ticks import bundled_ticks

TICKS = bundled_ticks()
BOTS = fleet()
KEYS = Keyring({})
for bot in BOTS:
    KEYS.add(bot.agent_id, ec.generate_private_key(ec.SECP256R1()), bot.agent_id.encode())
PLAN = tuple(plan(TICKS, BOTS, 1_200, 3))
NOW = 1_770_000_000_000_000


def of(recipe: Recipe) -> PlannedMessage:
    return next(m for m in PLAN if m.recipe is recipe and m.habit.value != "unknown")


def valid(message: WireMessage, key: KeySigner) -> bool:
    signature, _ = find_headers(message.headers, SIGNATURE, THUMBPRINT)
    return is_valid(key.private_key.public_key(), ORDER_TYPE, body_of(message.value), signature)


def test_an_honest_message_reads_back_and_verifies() -> None:
    planned = of(Recipe.SIGNED)
    sent = to_wire(planned, KEYS, NOW)
    agent_id = planned.order.agent_id
    assert sent.key == agent_id.encode()
    assert decode_order(sent.value) == replace(planned.order, transact_time_us=NOW)
    assert valid(sent, KEYS.of(agent_id))
    assert find_headers(sent.headers, SIGNATURE, THUMBPRINT)[1] == thumbprint(agent_id.encode())


def test_spoiled_messages_are_spoiled_as_planned() -> None:
    forged = of(Recipe.FORGED)
    sent = to_wire(forged, KEYS, NOW)
    assert not valid(sent, KEYS.of(forged.order.agent_id))
    assert valid(sent, KEYS.intruder)
    assert to_wire(of(Recipe.UNSIGNED), KEYS, NOW).headers == ()
    garbage = of(Recipe.GARBAGE)
    assert to_wire(garbage, KEYS, NOW) == WireMessage(garbage.key.encode(), garbage.payload, ())
    misdirected = of(Recipe.WRONG_KEY)
    sent = to_wire(misdirected, KEYS, NOW)
    assert valid(sent, KEYS.of(misdirected.order.agent_id))
    assert sent.key.decode() != decode_order(sent.value).agent_id
    stale = next(m for m in PLAN if m.age_us > 0)
    assert decode_order(to_wire(stale, KEYS, NOW).value).transact_time_us == NOW - stale.age_us
    unknown = next(m for m in PLAN if m.habit.value == "unknown")
    assert valid(to_wire(unknown, Keyring({}, KEYS.intruder), NOW), KEYS.intruder)


def test_only_p256_keys_are_taken() -> None:
    for key in (ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP384R1())):
        with pytest.raises(KeyringError, match="key of a: ECDSA on P-256"):
            Keyring({}).add("a", key, b"")


@pytest.mark.parametrize("processes", [0, 2])
def test_signing_in_processes_keeps_the_order(processes: int) -> None:
    before = wall_clock_us()
    sent = list(sign_all(PLAN, KEYS, processes=processes))
    assert len(sent) == len(PLAN)
    for planned, message in zip(PLAN, sent, strict=True):
        assert message.key == planned.key.encode()
        if planned.recipe is Recipe.SIGNED:
            order = decode_order(message.value)
            assert before <= order.transact_time_us + planned.age_us <= wall_clock_us()
            assert order == replace(planned.order, transact_time_us=order.transact_time_us)
            assert valid(message, KEYS.of(order.agent_id))


def test_a_load_file_reads_back(tmp_path: Path) -> None:
    messages = list(sign_all(PLAN[:300], KEYS))
    messages.append(WireMessage(b"", b"", (("", b""), ("x", b"\x00" * 300))))
    path = tmp_path / "load.bin"
    assert write_load(path, messages) == 301
    assert list(read_load(path)) == messages
    assert [p.name for p in tmp_path.iterdir()] == ["load.bin"]


def test_a_load_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "load.bin"
    write_load(path, list(sign_all(PLAN[:2], KEYS)))
    whole = path.read_bytes()
    one = tmp_path / "one.bin"
    write_load(one, list(read_load(path))[:1])
    boundaries = {18, one.stat().st_size}
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        if size in boundaries:
            assert len(list(read_load(path))) < 2
        else:
            with pytest.raises(LoadError):
                list(read_load(path))


@pytest.mark.parametrize("headers", [b"\x00\x00", b"\x00\x00\x00\x05ab", b"\x00\x00\x00\x01a"])
def test_broken_headers_in_a_load_file_are_refused(tmp_path: Path, headers: bytes) -> None:
    path = tmp_path / "load.bin"
    path.write_bytes(b"portcullis load 1\n" + bytes(8) + len(headers).to_bytes(4, "big") + headers)
    with pytest.raises(LoadError, match=r"load\.bin: message 0"):
        list(read_load(path))
    path.write_bytes(b"portcullis load 1\n" + b"\xff" * 8)
    with pytest.raises(LoadError, match="a part has at most"):
        list(read_load(path))


def test_a_large_load_needs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "load.bin"
    message = to_wire(of(Recipe.SIGNED), KEYS, NOW)
    tracemalloc.start()
    try:
        assert write_load(path, (message for _ in range(20_000))) == 20_000
        assert sum(1 for _ in read_load(path)) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 4_000_000 < path.stat().st_size
    finally:
        tracemalloc.stop()
