"""Connections to the warehouse by DSN: `clickhouse://user:password@host:port/database`, or `chdb:///folder`.

`clickhouses:` is the same over TLS (the driver takes ports 443 and 8443 for it too); the server must prove its name,
with `?ca_cert=FILE` by that authority alone. `&client_cert=FILE&client_cert_key=FILE` prove ours instead of a password,
and besides one with `&tls_mode=strict`.

`chdb:` is ClickHouse's own engine inside this process: one process owns a folder at a time, and there are no users, so
whoever can read the folder can read the data. The roles of `infra/clickhouse/roles.sql` are for a server.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.exceptions import ClickHouseError

from streams.core.errors import PortcullisError
from streams.resources import resource

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

DEFAULT_DATABASE: Final = "portcullis"
EMBEDDED_SCHEME: Final = "chdb"
TLS_SCHEME: Final = "clickhouses"


class WarehouseUnavailableError(PortcullisError):
    """The warehouse cannot be opened."""


def connect(dsn: str) -> Client:
    """Return a client of the DSN's database, `portcullis` if it names none.

    A folder that another process owns is read through that process.

    Raises:
        WarehouseUnavailableError: no answer, or another process owns the folder and does not answer for it.
    """
    folder, database = embedded_folder(dsn), _database(dsn)
    try:
        client = _open_server(dsn) if folder is None else _open_folder(folder)
    except Exception as error:
        # The driver raises what its parts raise: its own errors, urllib3's, the engine's, import errors.
        owner = None if folder is None else _ask_owner(folder)
        if owner is None:
            raise WarehouseUnavailableError(f"warehouse {_without_password(dsn)}: {error}") from error
        owner.database = database
        return owner
    client.database = database
    if folder is not None:
        _make_database(client)
    return client


def embedded_folder(dsn: str) -> Path | None:
    """Return the folder of a `chdb:` DSN, None for a server's."""
    parts = urlsplit(dsn)
    return Path("/" + parts.path.lstrip("/")).resolve() if parts.scheme == EMBEDDED_SCHEME else None


def reader_file(folder: Path) -> Path:
    """Return the file beside a warehouse's folder that says where its owner answers."""
    return folder.with_name(folder.name + ".reader")


def make_tables(client: Client) -> None:
    """Make the tables and views that are not there; where all are, no right to make any is needed."""
    scripts = {path: path.read_text() for path in sorted(resource("infra/clickhouse/tables").glob("*.sql"))}
    count = "SELECT count() FROM system.tables WHERE database = {name:String}"
    if int(str(client.command(count, {"name": client.database}, use_database=False))) >= len(scripts):
        return
    _make_database(client)
    for script in scripts.values():
        client.command(script)


def _make_database(client: Client) -> None:
    client.command(f"CREATE DATABASE IF NOT EXISTS `{client.database}`", use_database=False)


def _database(dsn: str) -> str:
    parts = urlsplit(dsn)
    named = parse_qs(parts.query).get("database", [""])[0] if embedded_folder(dsn) else parts.path.strip("/")
    return named or DEFAULT_DATABASE


def _open_folder(folder: Path) -> Client:
    folder.mkdir(parents=True, exist_ok=True)
    return clickhouse_connect.get_client(interface="chdb", path=str(folder))


def _open_server(dsn: str) -> Client:
    if "verify" in parse_qs(urlsplit(dsn).query):
        raise ValueError("verify: a server that proves nothing is not asked")
    # Without a session, several threads may use one client.
    return clickhouse_connect.get_client(
        dsn=dsn,
        database="default",
        autogenerate_session_id=False,
        secure=urlsplit(dsn).scheme == TLS_SCHEME,
    )


def _ask_owner(folder: Path) -> Client | None:
    """Return a client of the process that owns a folder, None where none answers."""
    try:
        dsn = reader_file(folder).read_text()
        # Its answers go no further than this machine, and it takes no settings.
        return clickhouse_connect.get_client(
            dsn=dsn, database="default", autogenerate_session_id=False, autogenerate_query_id=False, compress=False
        )
    except (OSError, ClickHouseError):
        return None


def _without_password(dsn: str) -> str:
    parts = urlsplit(dsn)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
