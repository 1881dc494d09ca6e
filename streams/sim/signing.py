"""From a planned message to what is sent: encoded, signed with the bot's key, or spoiled as the plan says."""

from __future__ import annotations

import multiprocessing
import time
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from streams.core.errors import PortcullisError
from streams.sim.mischief import Recipe
from streams.wire.messages import encode_order
from streams.wire.signatures import thumbprint
from streams.wire.signed_orders import KeySigner, WireMessage, sign_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from streams.sim.bots import PlannedMessage

_CHUNK: Final = 500
_CHUNKS_AHEAD: Final = 3  # per process: keeps all busy while memory stays flat


class KeyringError(PortcullisError):
    """A key is not one that a bot can sign with."""


class Keyring:
    """The keys of all bots of a simulation; whoever has none signs with the intruder's."""

    def __init__(self, keys: Mapping[str, KeySigner], intruder: KeySigner | None = None) -> None:
        self._keys = dict(keys)
        self._intruder = intruder or KeySigner("", ec.generate_private_key(ec.SECP256R1()), bytes(32))

    @property
    def intruder(self) -> KeySigner:
        """Return the key that belongs to no bot."""
        return self._intruder

    def add(self, agent_id: str, key: object, certificate_der: bytes) -> None:
        """Add a bot's key with its certificate. Raises: KeyringError where the key is not on P-256."""
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise KeyringError(f"key of {agent_id}: ECDSA on P-256 expected, is {type(key).__name__}")
        self._keys[agent_id] = KeySigner(agent_id, key, thumbprint(certificate_der))

    def of(self, agent_id: str) -> KeySigner:
        """Return a bot's key."""
        return self._keys.get(agent_id, self._intruder)

    def export(self) -> dict[str, tuple[bytes, bytes]]:
        """Return all keys as bytes, for signing in other processes of this machine; the intruder's under no name."""
        return {
            name: (_private_der(k.private_key), k.thumbprint) for name, k in {**self._keys, "": self._intruder}.items()
        }

    @classmethod
    def restore(cls, exported: Mapping[str, tuple[bytes, bytes]]) -> Keyring:
        """Return the keyring that `export` wrote. Raises: KeyringError."""
        ring = cls({}, KeySigner("", _private_key(exported[""][0]), exported[""][1]))
        ring._keys = {
            name: KeySigner(name, _private_key(der), digest) for name, (der, digest) in exported.items() if name
        }
        return ring


def wall_clock_us() -> int:
    """Return the time in microseconds UTC."""
    return time.time_ns() // 1000


def to_wire(message: PlannedMessage, keys: Keyring, now_us: int) -> WireMessage:
    """Return a planned message as its bot sends it at `now_us` (microseconds UTC)."""
    if message.recipe is Recipe.GARBAGE:
        return WireMessage(message.key.encode(), message.payload, ())
    order = replace(message.order, transact_time_us=now_us - message.age_us)
    if message.recipe is Recipe.UNSIGNED:
        return WireMessage(message.key.encode(), encode_order(order), ())
    own = keys.of(order.agent_id)
    signer = keys.intruder if message.recipe is Recipe.FORGED else own
    return replace(sign_order(order, signer, certificate_sha256=own.thumbprint), key=message.key.encode())


def sign_all(
    messages: Iterable[PlannedMessage],
    keys: Keyring,
    *,
    processes: int = 0,
    clock: Callable[[], int] = wall_clock_us,
) -> Iterator[WireMessage]:
    """Yield the messages signed, in their order, each dated by `clock` as it is signed.

    A signature takes about 25 us: with `processes` above 0 they share the work (`clock` must then be a module's
    function). Memory stays flat however many messages there are.
    """
    if processes <= 0:
        for message in messages:
            yield to_wire(message, keys, clock())
        return
    source = iter(messages)
    spawn = multiprocessing.get_context("spawn")  # a fork of a process with threads could hang
    with ProcessPoolExecutor(processes, spawn, _start, (keys.export(), clock)) as pool:
        ahead = deque(pool.submit(_sign_chunk, chunk) for chunk in islice(_chunks(source), processes * _CHUNKS_AHEAD))
        while ahead:
            done = ahead.popleft().result()
            ahead.extend(pool.submit(_sign_chunk, chunk) for chunk in islice(_chunks(source), 1))
            yield from done


def _chunks(source: Iterator[PlannedMessage]) -> Iterator[list[PlannedMessage]]:
    while chunk := list(islice(source, _CHUNK)):
        yield chunk


# What a signing process works with; set once when it starts.
_worker: list[tuple[Keyring, Callable[[], int]]] = []


def _start(exported: dict[str, tuple[bytes, bytes]], clock: Callable[[], int]) -> None:
    _worker.append((Keyring.restore(exported), clock))


def _sign_chunk(messages: list[PlannedMessage]) -> list[WireMessage]:
    keys, clock = _worker[0]
    return [to_wire(message, keys, clock()) for message in messages]


def _private_der(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def _private_key(der: bytes) -> ec.EllipticCurvePrivateKey:
    key = load_der_private_key(der, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise KeyringError(f"ECDSA on P-256 expected, is {type(key).__name__}")
    return key
