"""A local broker that authenticates its clients and asks its access rules: how a cluster of a firm is set up.

Three listeners, for three kinds of clients; whoever proves nothing is nobody, and nobody may do anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from streams.local.broker import LocalKafka
from streams.local.readiness import HOST, free_ports

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

# The common name comes first in RFC 2253 order. What a bot's CA writes into it stays behind "bot:", whatever it is.
_SERVICE_RULE: Final = "RULE:^CN=([A-Za-z0-9:._-]+),.*$/$1/"
_BOT_RULE: Final = "RULE:^CN=([A-Za-z0-9._-]+),.*$/bot:$1/"
_SCRAM: Final = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


@dataclass(frozen=True, slots=True)
class BrokerTls:
    """The broker's files, and how its administrator's client presents itself."""

    keystore: Path
    services_ca: Path
    bots_ca: Path
    admin: Mapping[str, str]


class SecuredKafka:
    """One broker with TLS on every listener, an authorizer, and super users `broker` and `admin`.

    Args:
        folder: as for `LocalKafka`.
        tls: keys and certificates.
    """

    def __init__(self, folder: Path, tls: BrokerTls) -> None:
        services, bots, passwords, controller = free_ports(4)
        self.services = f"{HOST}:{services}"
        """Where the firm's services present certificates of its own CA; CN=x is the principal `x`."""
        self.bots = f"{HOST}:{bots}"
        """Where bots present the certificates with which they sign; CN=x is the principal `bot:x`."""
        self.passwords = f"{HOST}:{passwords}"
        """Where a service proves a password (SCRAM-SHA-512)."""
        listeners = f"SERVICES://{self.services},BOTS://{self.bots},PASSWORDS://{self.passwords}"
        config = {
            "listeners": f"{listeners},CONTROLLER://{HOST}:{controller}",
            "advertised.listeners": listeners,
            "controller.quorum.voters": f"1@{HOST}:{controller}",
            **_SECURITY,
            "ssl.keystore.location": str(tls.keystore),
            "ssl.truststore.location": str(tls.services_ca),
            "listener.name.bots.ssl.truststore.location": str(tls.bots_ca),
        }
        self.broker = LocalKafka(folder, port=services, config=config, client=tls.admin)

    def __enter__(self) -> Self:
        self.broker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.broker.stop()


_SECURITY: Final = {
    "listener.security.protocol.map": "SERVICES:SSL,BOTS:SSL,PASSWORDS:SASL_SSL,CONTROLLER:SSL",
    "inter.broker.listener.name": "SERVICES",
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:broker;User:admin",
    "allow.everyone.if.no.acl.found": "false",
    "ssl.keystore.type": "PEM",
    "ssl.truststore.type": "PEM",
    "ssl.enabled.protocols": "TLSv1.3,TLSv1.2",
    "listener.name.services.ssl.client.auth": "required",
    "listener.name.services.ssl.principal.mapping.rules": _SERVICE_RULE,
    "listener.name.controller.ssl.client.auth": "required",
    "listener.name.controller.ssl.principal.mapping.rules": _SERVICE_RULE,
    "listener.name.bots.ssl.client.auth": "required",
    "listener.name.bots.ssl.truststore.type": "PEM",
    "listener.name.bots.ssl.principal.mapping.rules": _BOT_RULE,
    "listener.name.passwords.sasl.enabled.mechanisms": "SCRAM-SHA-512",
    "listener.name.passwords.scram-sha-512.sasl.jaas.config": _SCRAM,
}
