"""An enforcer process on a trading floor, and clients with certificates of every kind."""

from __future__ import annotations

import json
import socket
import ssl
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import httpx

from streams.rig.processes import Service
from streams.wire import devpki, devtls
from streams.wire.keys import save_credentials
from tests.floor import BOTS, policy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from streams.settings import Settings
    from streams.wire.keys import AgentCredentials

BOT, OTHER = BOTS
TIMEOUT_MS = 2_000
ORDER: dict[str, Any] = {
    "symbol": "BTC_USDT",
    "side": "BUY",
    "order_qty": "0.001",
    "ex_destination": "XOFF",
    "region": "eu-west-1",
}


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True)
class Door:
    """A running enforcer that serves one of the floor's two bots."""

    settings: Settings
    service: Service

    def client(self, credentials: Path | None = None) -> httpx.Client:
        """Return a client with the certificate of a credentials folder, or without any."""
        context = ssl.create_default_context(cafile=str(devtls.services_ca(self.settings.pki)))
        if credentials is not None:
            context.load_cert_chain(credentials / "chain.pem", credentials / "key.pem")
        return httpx.Client(
            base_url=f"https://127.0.0.1:{self.settings.enforcer_port}", verify=context, timeout=TIMEOUT_MS / 1000 + 20
        )

    def own(self) -> httpx.Client:
        """Return the client of the bot that is served."""
        return self.client(self.settings.home / "agents" / BOT)

    def certified(self, folder: Path, agent_id: str, **validity: int) -> AgentCredentials:
        """Issue another certificate of the trusted CA and write it to a folder."""
        issued = devpki.issue_agent(self.settings.pki, policy_bytes(agent_id), **validity)
        save_credentials(folder, issued)
        return issued

    def wait_until_ready(self) -> None:
        """Wait until an order could get its verdict."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            self.service.require_running()
            try:
                with self.client() as client:
                    if client.get("/readyz").status_code == httpx.codes.OK:
                        return
            except (httpx.TransportError, FileNotFoundError):
                pass
            time.sleep(0.05)
        raise AssertionError(f"not ready: {self.service.log_path.read_text()[-2000:]}")


def policy_bytes(agent_id: str) -> bytes:
    """Return a policy document."""
    return json.dumps(policy(agent_id)).encode()


@contextmanager
def open_door(settings: Settings, **changes: Any) -> Iterator[Door]:
    """Yield an enforcer that serves the floor's first bot."""
    ours = replace(
        settings, enforcer_port=free_port(), enforcer_agents=(BOT,), enforcer_timeout_ms=TIMEOUT_MS, **changes
    )
    service = Service("enforcer", ["enforcer"], ours, settings.home / "logs")
    service.start()
    door = Door(ours, service)
    try:
        door.wait_until_ready()
        yield door
    finally:
        service.stop()


def post(client: httpx.Client, body: Any = None, key: str = "", **headers: str) -> httpx.Response:
    """Post an order under a key of its own."""
    sent = {"idempotency-key": key or uuid.uuid4().hex, **{name.replace("_", "-"): v for name, v in headers.items()}}
    return client.post("/v1/orders", json=ORDER if body is None else body, headers=sent)
