"""Everything on one machine until somebody stops it: broker, worker, warehouse, risk desk, and bots that trade."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streams.desk.accounts import Accounts
from streams.desk.server import first_users
from streams.desk.settings import PREFIX
from streams.rig.exchange import Exchange
from streams.rig.load import play
from streams.rig.stage import open_stage
from streams.sim.fleet import fleet
from streams.sim.tape import BUNDLED_TAPE, read_tape
from streams.witness.running import load_cosigner

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from streams.desk.settings import DeskSettings
    from streams.rig.processes import Service
    from streams.rig.stage import Stage
    from streams.settings import Settings

_TURN_S = 120
_WITNESS = "portcullis.local/witness"  # the name that `portcullis witness` takes by itself


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """How many bots, how many messages per second, and how the plan begins."""

    bots: int
    rate: int
    seed: int
    warehouse: bool = True


@dataclass(frozen=True, slots=True)
class Running:
    """What somebody needs to use it."""

    url: str
    passwords: Mapping[str, str]
    stage: Stage
    worker: Service


class _StoppedError(Exception):
    """Somebody wants it to end."""


def run_live(
    settings: Settings,
    desk_settings: DeskSettings,
    options: LiveOptions,
    *,
    ready: Callable[[Running], None],
    stop: threading.Event,
) -> None:
    """Run in `<home>/up` until stopped; the users of the desk stay from one run to the next.

    Raises: PortcullisError where a part of it cannot run or ends by itself; the text says which.
    """
    ticks = list(read_tape(BUNDLED_TAPE))
    users = desk_settings.users if desk_settings.users.name else settings.home / "desk" / "users.json"
    with open_stage(settings.home / "up", settings, ticks, fleet(options.bots)) as stage, ExitStack() as running:
        passwords = first_users(stage.settings, Accounts(users))
        own = {"USERS": users.absolute(), "PORT": desk_settings.port, "TLOG_POLICY": _witness_policy(stage).absolute()}
        variables = {PREFIX + name: str(value) for name, value in own.items()}
        services = [stage.worker(), stage.witness(), stage.desk(variables)]
        if options.warehouse:
            services.append(stage.warehouse())
        for service in services:
            service.start()
            running.callback(service.stop)
        exchange = Exchange(stage.settings, stage.markets, stage.verifiers(), stage.operators())
        exchange.start()
        running.callback(exchange.stop)
        services[0].wait_for_line("ready at offsets")
        ready(Running(desk_settings.origin, passwords, stage, services[0]))

        def check(_sent: int) -> None:
            for service in services:
                service.require_running()
            if stop.is_set():
                raise _StoppedError

        seed = options.seed
        try:
            while True:
                play(stage, exchange, ticks, options.rate * _TURN_S, seed=seed, rate=options.rate, tell=check)
                seed += 1
        except _StoppedError:
            return


def _witness_policy(stage: Stage) -> Path:
    """Write down that the witness of this machine must have cosigned (C2SP tlog-policy)."""
    witness = load_cosigner(stage.settings.home / "witness", _WITNESS).verifier
    logs = [f"log {verifier.vkey}" for verifier in stage.verifiers()]
    path = stage.folder / "tlog-policy"
    path.write_text("\n".join([*logs, f"witness {_WITNESS} {witness.vkey}", f"quorum {_WITNESS}", ""]))
    return path
