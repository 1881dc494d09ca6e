"""TLS and SASL of a Kafka client: one set of properties, in librdkafka's names, for both client libraries.

A property that is not in the table is refused: one that only one of the two libraries understood would leave the other
unprotected, silently.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PLAINTEXT: Final = "PLAINTEXT"
_TLS: Final = frozenset({"SSL", "SASL_SSL"})
_SASL: Final = "SASL_SSL"
_FILES: Final = frozenset({"ssl.ca.location", "ssl.certificate.location", "ssl.key.location"})
SECRETS: Final = frozenset({"sasl.password", "ssl.key.password"})
# Property → what it may be; empty: any text.
_PROPERTIES: Final[dict[str, frozenset[str]]] = {
    # Without SASL_PLAINTEXT: it would show the orders, and what the broker needs to know of a password, to the network.
    "security.protocol": _TLS | {PLAINTEXT},
    "sasl.mechanism": frozenset({"SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"}),
    "sasl.username": frozenset(),
    # Without `none`: a client that asks nobody's name talks to any broker.
    "ssl.endpoint.identification.algorithm": frozenset({"https"}),
    **dict.fromkeys(_FILES | SECRETS, frozenset()),
}


def security_problems(properties: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for everything that does not hold; the values of secrets are not in it."""
    for name, value in properties.items():
        allowed = _PROPERTIES.get(name)
        if allowed is None:
            yield f"{name}: no such property here, one of {', '.join(sorted(_PROPERTIES))} required"
        elif allowed and value not in allowed:
            yield f"{name}: one of {', '.join(sorted(allowed))} required, is {value[:40]!r}"
    protocol = properties.get("security.protocol", PLAINTEXT)
    if protocol not in _TLS and properties.keys() - {"security.protocol"}:
        yield f"security.protocol: one of {', '.join(sorted(_TLS))} required for what else is set, is {protocol[:40]!r}"
    sasl = {"sasl.mechanism", "sasl.username", "sasl.password"}
    if protocol == _SASL:
        yield from (f"{name}: required for {_SASL}" for name in sorted(sasl - properties.keys()))
    pair = {"ssl.certificate.location", "ssl.key.location"} & properties.keys()
    if len(pair) == 1:
        yield "ssl.certificate.location and ssl.key.location: both or none required"


def for_aiokafka(properties: Mapping[str, str]) -> dict[str, Any]:
    """Return aiokafka's keyword arguments that mean the same. Raises: OSError where a file cannot be read."""
    protocol = properties.get("security.protocol", PLAINTEXT)
    if protocol not in _TLS:
        return {}
    context = ssl.create_default_context(cafile=properties.get("ssl.ca.location"))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    certificate = properties.get("ssl.certificate.location")
    if certificate is not None:
        # Without a password of its own OpenSSL would ask at the terminal.
        password = properties.get("ssl.key.password", "")
        context.load_cert_chain(certificate, properties.get("ssl.key.location"), password)
    arguments: dict[str, Any] = {"security_protocol": protocol, "ssl_context": context}
    if protocol == _SASL:
        arguments |= {
            "sasl_mechanism": properties["sasl.mechanism"],
            "sasl_plain_username": properties["sasl.username"],
            "sasl_plain_password": properties["sasl.password"],
        }
    return arguments
