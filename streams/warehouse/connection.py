"""Connections to the warehouse by DSN: `clickhouse://user:password@host:port/database`, or `chdb:///folder`.

`chdb:` is ClickHouse's own engine inside this process: one process owns a folder at a time, and there are no users, so
whoever can read the folder can read the data. The roles of `infra/clickhouse/roles.sql` are for a server.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

import clickhouse_connect

from streams.core.errors import PortcullisError
from streams.resources import resource

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

DEFAULT_DATABASE: Final = "portcullis"
EMBEDDED_SCHEME: Final = "chdb"


class WarehouseUnavailableError(PortcullisError):
    """The warehouse cannot be opened."""


def connect(dsn: str) -> Client:
    """Return a client of the DSN's database, `portcullis` if it names none; the database is made where it is missing.

    Raises:
        WarehouseUnavailableError: no answer, or another process owns the folder.
    """
    parts = urlsplit(dsn)
    embedded = parts.scheme == EMBEDDED_SCHEME
    named = parse_qs(parts.query).get("database", [""])[0] if embedded else parts.path.strip("/")
    database = named or DEFAULT_DATABASE
    try:
        client = _open_folder(Path(parts.path)) if embedded else _open_server(dsn)
        client.command(f"CREATE DATABASE IF NOT EXISTS `{database}`")
    except Exception as error:
        # The driver raises what its parts raise: its own errors, urllib3's, the engine's, import errors.
        raise WarehouseUnavailableError(f"warehouse {_without_password(dsn)}: {error}") from error
    client.database = database
    return client


def run_scripts(client: Client, folder: str = "infra/clickhouse/tables") -> None:
    """Run the SQL files of a folder in the order of their names; a statement ends with a semicolon at a line's end."""
    for path in sorted(resource(folder).glob("*.sql")):
        for statement in path.read_text().split(";\n"):
            if statement.strip():
                client.command(statement)


def _open_folder(folder: Path) -> Client:
    folder.mkdir(parents=True, exist_ok=True)
    # The engine compares paths as they are spelled, and a DSN may begin with more slashes than the path.
    return clickhouse_connect.get_client(interface="chdb", path=str(folder.resolve()))


def _open_server(dsn: str) -> Client:
    # Without a session, several threads may use one client.
    return clickhouse_connect.get_client(dsn=dsn, database="default", autogenerate_session_id=False)


def _without_password(dsn: str) -> str:
    parts = urlsplit(dsn)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
