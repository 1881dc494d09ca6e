"""Running the desk: one process of uvicorn, and TLS with client certificates where the settings say so."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import uvicorn

from streams.audit.policy import TlogPolicy
from streams.clock import now_us
from streams.desk.access import Access
from streams.desk.accounts import AccountError, Accounts
from streams.desk.feed import Feed, lanes_of
from streams.desk.model import Desk
from streams.desk.people import DeskRole
from streams.desk.signing import Hand
from streams.desk.web import build_web
from streams.https import CertificateProtocol
from streams.wire.trust import Role, load_trust

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import ASGIApp

    from streams.desk.settings import DeskSettings
    from streams.pulse import Pulse
    from streams.settings import Settings

_SHUTDOWN_S = 3


def users_file(settings: Settings, desk_settings: DeskSettings) -> Path:
    """Return where the users' list is."""
    return desk_settings.users if desk_settings.users.name else settings.home / "desk" / "users.json"


def first_users(settings: Settings, accounts: Accounts) -> dict[str, str]:
    """Make users of the people whom the PKI trusts where the list is empty; return their one-time passwords.

    Who may revoke is compliance, everybody else who may kill is risk. Raises: TrustError where there is no PKI.
    """
    if accounts.users():
        return {}
    given = {}
    for person in load_trust(settings.pki).people.values():
        role = DeskRole.COMPLIANCE if Role.REVOKE in person.roles else DeskRole.RISK
        given[person.name] = accounts.add(person.name, role)
    return given


def run_desk(settings: Settings, desk_settings: DeskSettings, pulse: Pulse | None = None) -> None:
    """Serve the desk until SIGTERM or SIGINT; `pulse` is told how the reading goes.

    Raises: AccountError where nobody could sign in; PortcullisError where the topics cannot be read.
    """
    accounts = Accounts(users_file(settings, desk_settings))
    if not accounts.users() and not desk_settings.openid_role_claim:
        raise AccountError("nobody could sign in: `portcullis desk users add`")
    lanes = lanes_of(settings)
    keys = desk_settings.keys if desk_settings.keys.name else settings.pki / "private"
    hand = Hand(settings, keys, lanes)
    file = desk_settings.tlog_policy
    feed = Feed(settings, Desk(lanes, now_us()), TlogPolicy.parse(file.read_bytes()) if file.name else None, pulse)
    access = Access(desk_settings, accounts, settings.pki, hand.holds_key_of)
    app = build_web(settings, desk_settings, feed, access, hand)
    server = uvicorn.Server(server_config(app, settings, desk_settings))
    server.run()


def server_config(app: ASGIApp, settings: Settings, desk_settings: DeskSettings) -> uvicorn.Config:
    """Return how uvicorn serves the desk."""
    config = uvicorn.Config(
        app,
        host=desk_settings.host,
        port=desk_settings.port,
        http=CertificateProtocol,
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_SHUTDOWN_S,
    )
    if desk_settings.tls:
        config.load()
        config.ssl = _tls(settings, desk_settings)
    return config


def _tls(settings: Settings, desk_settings: DeskSettings) -> ssl.SSLContext:
    """Return a context that asks for a client certificate, and takes those of named people."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(desk_settings.tls_certificate, desk_settings.tls_key)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    for path in sorted((settings.pki / "trust" / "people").glob("*.pem")):
        context.load_verify_locations(path)
    return context
