"""What a bench needs before it starts: keys, registrations and signed orders, in files that are used again."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import orjson

from streams.clock import now_us
from streams.sim.bots import plan
from streams.sim.fleet import GOOD_HABITS, fleet, policies
from streams.sim.load import write_load
from streams.sim.markets import markets_of
from streams.sim.signing import Keyring, sign_all
from streams.sim.tape import BUNDLED_TAPE, read_tape
from streams.wire import devpki
from streams.wire.signed_orders import WireMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from streams.sim.fleet import Bot
    from streams.sim.markets import Market

# Policies accept orders as old as a day, the longest that a policy may; the file is made anew well before.
MAX_ORDER_AGE_MS: Final = 86_400_000
_USED_FOR_US: Final = 20 * 3_600_000_000
_SEED: Final = 1
_FORMAT: Final = 3
_MADE: Final = "made.json"


@dataclass(frozen=True, slots=True)
class Material:
    """A folder with a PKI, the registry's records and signed orders of bots that keep to their policies."""

    folder: Path
    bots: int
    orders: int
    markets: dict[str, Market]

    @property
    def pki(self) -> Path:
        """Return the folder of keys and certificates."""
        return self.folder / "pki"

    @property
    def registry(self) -> Path:
        """Return the load file of `agents.registry`."""
        return self.folder / "registry.load"

    @property
    def load(self) -> Path:
        """Return the load file of `orders.requested`."""
        return self.folder / "orders.load"


@dataclass(frozen=True, slots=True)
class _Made:
    format: int
    bots: int
    orders: int
    signed_at_us: int


def prepare(
    folder: Path,
    *,
    bots: int,
    orders: int,
    processes: int,
    tell: Callable[[str], None],
    max_order_age_ms: int = MAX_ORDER_AGE_MS,
) -> Material:
    """Return at least `orders` signed orders of `bots` bots, those in the folder where they still hold."""
    ticks = list(read_tape(BUNDLED_TAPE))
    markets = markets_of(ticks)
    made = _read(folder)
    if made is None or made.bots != bots or made.orders < orders or made.signed_at_us < now_us() - _USED_FOR_US:
        tell(f"Signing {orders:,} orders of {bots:,} bots ...")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        signed_at_us = now_us()
        crew = fleet(bots, GOOD_HABITS)
        keys = _register(Material(folder, bots, orders, markets), crew, max_order_age_ms)
        planned = plan(ticks, crew, orders, _SEED, markets=markets)
        write_load(folder / "orders.load", sign_all(planned, keys, processes=processes))
        made = _Made(_FORMAT, bots, orders, signed_at_us)
        (folder / _MADE).write_bytes(orjson.dumps(asdict(made)))
    return Material(folder, bots, made.orders, markets)


def _read(folder: Path) -> _Made | None:
    try:
        made = _Made(**orjson.loads((folder / _MADE).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    return made if made.format == _FORMAT else None


def _register(material: Material, crew: tuple[Bot, ...], max_order_age_ms: int) -> Keyring:
    """Make the keys of three parties, certify the bots and write their registrations."""
    devpki.make_dev_pki(material.pki)
    keys = Keyring({})
    documents = policies(crew, material.markets, datetime.now(UTC), max_order_age_ms=max_order_age_ms)

    def records() -> Iterator[WireMessage]:
        for agent_id, document in documents.items():
            issued = devpki.issue_agent(material.pki, document)
            keys.add(agent_id, issued.private_key, issued.chain[0])
            record = devpki.make_registration(material.pki, document, issued)
            yield WireMessage(agent_id.encode(), record, ())

    write_load(material.registry, records())
    return keys
