"""A secured broker with a small fleet, and clients that present themselves as somebody."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from streams.local import BrokerTls, SecuredKafka
from streams.rig.stage import Stage, set_stage
from streams.settings import Settings
from streams.sim.fleet import fleet
from streams.sim.tape import BUNDLED_TAPE, read_tape
from streams.topics import load_topology
from streams.topics.access import apply_access
from streams.topics.acls import Principal, load_principals
from streams.wire import devtls
from streams.wire.devpki import make_dev_pki
from streams.wire.keys import save_credentials


@dataclass(frozen=True)
class SecuredWorld:
    """The broker, the fleet on it, and who may connect: principal → bootstrap servers and security properties."""

    kafka: SecuredKafka
    stage: Stage
    principals: tuple[Principal, ...]
    bots: tuple[str, ...]
    clients: Mapping[str, dict[str, str]]

    def client(self, principal: str) -> dict[str, str]:
        return {"log_level": "0", **self.clients[principal]}

    def settings(self, principal: str) -> Settings:
        """Return the stage's settings as somebody else's."""
        client = dict(self.clients[principal])
        changed = {"kafka_bootstrap_servers": client.pop("bootstrap.servers"), "kafka_security": client}
        return Settings(**{**{name: getattr(self.stage.settings, name) for name in Settings.__slots__}, **changed})


@contextmanager
def secured_world(folder: Path, bots: int) -> Iterator[SecuredWorld]:
    pki, the_fleet = folder / "pki", fleet(bots)
    make_dev_pki(pki)
    agents = tuple(bot.agent_id for bot in the_fleet)
    principals = load_principals(load_topology())
    services = [p.of(agent) for p in principals if p.name == "enforcer" for agent in agents]
    services += [p.name for p in principals if not p.each]
    devtls.make_dev_tls(pki, [*services, "stranger"])
    admin = devtls.service_properties(pki, devtls.ADMIN)
    tls = BrokerTls(devtls.keystore(pki), devtls.services_ca(pki), devtls.bots_ca(pki), admin)
    with SecuredKafka(folder / "kafka", tls) as kafka:
        settings = Settings(kafka_bootstrap_servers=kafka.services, kafka_security=admin)
        stage = set_stage(folder, settings, list(read_tape(BUNDLED_TAPE)), the_fleet)
        apply_access(stage.topology, stage.settings.cluster(), agents)
        clients = {
            name: {"bootstrap.servers": kafka.services, **devtls.service_properties(pki, name)}
            for name in [*services, "stranger", devtls.ADMIN]
        }
        for agent in agents:
            own = save_credentials(folder / "agents", stage.credentials[agent])
            clients[f"bot:{agent}"] = {"bootstrap.servers": kafka.bots, **devtls.bot_properties(pki, own)}
        yield SecuredWorld(kafka, stage, principals, agents, clients)
