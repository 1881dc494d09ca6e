"""TLS 1.3 with client certificates, which the application judges: their refusals are answers, not broken connections.

A certificate of a CA that is not trusted here ends in the handshake (alert unknown_ca): who it is cannot be told. One
that has expired, or was revoked, reaches the application with its name.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which Python has no name for.
_NO_CHECK_TIME: Final = 0x200000


def server_context(certificate: Path, key: Path, authorities: Iterable[bytes]) -> ssl.SSLContext:
    """Return the context of a server that asks for certificates of these authorities (DER).

    Raises: OSError where a file cannot be read or is no certificate or key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(cadata=b"".join(authorities))
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags = ssl.VerifyFlags(int(context.verify_flags) | _NO_CHECK_TIME)
    context.num_tickets = 0  # a resumed session would not show its certificate again
    return context
