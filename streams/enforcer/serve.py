"""The enforcer process: its signers, its link to the cluster, its HTTPS server."""

from __future__ import annotations

import asyncio
import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvicorn
import uvloop

from streams.client.bot import open_link
from streams.client.hsm import load_signer
from streams.core.errors import PortcullisError
from streams.enforcer.app import Enforcer, build_app
from streams.enforcer.identity import Identities
from streams.enforcer.submissions import CLOCK_TOLERANCE_S, Submissions
from streams.enforcer.tls import server_context
from streams.enforcer.view import AgentView
from streams.https import CertificateProtocol
from streams.telemetry.enforcer import EnforcerMetrics
from streams.telemetry.server import serve_telemetry
from streams.wire import devtls
from streams.wire.keys import load_chain
from streams.wire.trust import authorities

if TYPE_CHECKING:
    import ssl

    from streams.client.link import OrderLink
    from streams.settings import Settings
    from streams.telemetry.tracing import Tracing

_CONCURRENT_MAX: Final = 2_000
_PROBE_S: Final = 1.0
# The thread that reads answers gives up the interpreter soon when the loop wants it (CPython's default: 5 ms).
_SWITCH_INTERVAL_S: Final = 0.0002
# Orders of the last day are kept: looking through them all for cycles would be a pause that every bot feels.
_GC_THRESHOLDS: Final = (50_000, 20, 1_000)
_KEEP_ALIVE_S: Final = 75  # a bot that trades once a minute keeps its connection


class EnforcerSettingsError(PortcullisError):
    """What the enforcer needs is not there."""


class Probe:
    """Asks the cluster once a second whether it is there."""

    def __init__(self, link: OrderLink) -> None:
        self._link = link
        self.reachable = False
        self._task: asyncio.Task[None] | None = None

    async def _run(self) -> None:
        while True:
            self.reachable = await asyncio.to_thread(self._link.probe, _PROBE_S)
            await asyncio.sleep(_PROBE_S)

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()


def run_enforcer(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises: EnforcerSettingsError, KeyFileError, TrustError, SignerUnavailableError where it cannot begin.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    if not settings.otlp_endpoint:
        uvloop.run(_serve(settings, None))
        return
    from streams.telemetry.tracing import open_tracing  # noqa: PLC0415 - an extra: who does not trace needs it not

    with open_tracing(settings, "enforcer") as tracing:
        uvloop.run(_serve(settings, tracing))


async def _serve(settings: Settings, tracing: Tracing | None) -> None:
    folder = settings.home / "agents"
    agents = settings.enforcer_agents or tuple(sorted(path.name for path in folder.glob("*/")))
    if not agents:
        raise EnforcerSettingsError(f"{folder}: credentials of at least 1 bot required, has 0")
    signers = {agent_id: load_signer(folder, agent_id) for agent_id in agents}
    chains = {agent_id: load_chain(folder, agent_id) for agent_id in agents}
    timeout_s = settings.enforcer_timeout_ms / 1000
    link = open_link(settings, delivery_timeout_s=timeout_s - CLOCK_TOLERANCE_S)
    view, probe = AgentView(settings, agents), Probe(link)
    submissions = Submissions(link, signers, timeout_s=timeout_s, rate_max_per_s=settings.enforcer_rate_max_per_s)

    def ready() -> dict[str, bool]:
        return {"cluster": probe.reachable, "answers": link.ready, "state": view.caught_up}

    async def stop() -> None:
        probe.stop()
        await asyncio.to_thread(view.stop)
        await asyncio.to_thread(link.stop)

    metrics = EnforcerMetrics()
    enforcer = Enforcer(Identities(settings.pki, chains), submissions, view, ready, metrics.note, tracing)
    context = _context(settings, chains)
    config = uvicorn.Config(
        build_app(enforcer, stop),
        host=settings.enforcer_host,
        port=settings.enforcer_port,
        http=CertificateProtocol,
        ws="none",
        loop="none",
        ssl_context_factory=lambda _config, _default: context,
        limit_concurrency=_CONCURRENT_MAX,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=10,
        server_header=False,
        proxy_headers=False,
        log_config=None,
        access_log=False,
    )
    await asyncio.to_thread(link.start, 0.0)
    view.start()
    probe.start()
    with serve_telemetry(settings, metrics, live=lambda: {"process": True}, ready=ready):
        await uvicorn.Server(config).serve()


def _context(settings: Settings, chains: dict[str, tuple[bytes, ...]]) -> ssl.SSLContext:
    certificate, key = settings.enforcer_certificate, settings.enforcer_key
    if certificate == Path() and key == Path():
        devtls.make_dev_tls(settings.pki, (devtls.ENFORCER,))
        certificate, key = devtls.service_files(settings.pki, devtls.ENFORCER)
    trusted = {*authorities(settings.pki), *(der for chain in chains.values() for der in chain[1:])}
    try:
        return server_context(certificate, key, trusted)
    except OSError as error:
        raise EnforcerSettingsError(
            f"PORTCULLIS_ENFORCER_CERTIFICATE and _KEY ({certificate}, {key}): certificate and key in PEM ({error})"
        ) from None
