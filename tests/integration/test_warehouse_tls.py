"""The warehouse over TLS: the server must be who it says, and may ask who we are."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from streams.warehouse.connection import WarehouseUnavailableError, connect, embedded_folder, reader_file
from streams.warehouse.serve import serve_reads
from streams.warehouse.store import Store
from streams.wire import devtls
from streams.wire.devpki import make_dev_pki

pytestmark = pytest.mark.integration


class TlsEnd:
    """Ends TLS, asks for a client's certificate, and passes on what comes."""

    def __init__(self, context: ssl.SSLContext, port: int) -> None:
        self._context, self._behind = context, port
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                plain, _ = self._socket.accept()
                threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with (
            suppress(OSError),
            self._context.wrap_socket(plain, server_side=True) as client,
            socket.create_connection(("127.0.0.1", self._behind)) as server,
        ):
            back = threading.Thread(target=_pass, args=(server, client), daemon=True)
            back.start()
            _pass(client, server)
            back.join()


def _pass(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    make_dev_pki(folder)
    devtls.make_dev_tls(folder, ["warehouse"])
    return folder


@pytest.fixture(scope="module")
def server(pki: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield "user:password@host:port" of a warehouse that speaks TLS only, with certificates of ours only."""
    dsn = f"chdb://{tmp_path_factory.mktemp('tls')}/warehouse"
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(devtls.services_ca(pki)))
    context.load_cert_chain(devtls.keystore(pki))
    context.verify_mode = ssl.CERT_REQUIRED
    with closing(Store.open(dsn)), serve_reads(dsn):
        folder = embedded_folder(dsn)
        assert folder is not None
        behind = urlsplit(reader_file(folder).read_text())
        with closing(TlsEnd(context, behind.port or 0)) as end:
            yield f"{behind.username}:{behind.password}@127.0.0.1:{end.port}"


def options(pki: Path, **changed: str) -> str:
    own = devtls.service_properties(pki, "warehouse")
    found = {
        "ca_cert": own["ssl.ca.location"],
        "client_cert": own["ssl.certificate.location"],
        "client_cert_key": own["ssl.key.location"],
        "tls_mode": "strict",
        **changed,
    }
    return "&".join(f"{name}={value}" for name, value in found.items() if value)


def test_both_sides_prove_themselves(server: str, pki: Path) -> None:
    with closing(connect(f"clickhouses://{server}/portcullis?{options(pki)}")) as client:
        assert client.command("SELECT count() FROM audit_events") == 0


@pytest.mark.parametrize(
    ("scheme", "changed"),
    [
        ("clickhouse", {}),
        ("clickhouses", {"ca_cert": "third party"}),
        ("clickhouses", {"client_cert": "", "client_cert_key": ""}),
        ("clickhouses", {"verify": "false"}),
    ],
    ids=["no TLS", "a server of another CA", "no certificate", "unverified"],
)
def test_who_does_not_is_not_talked_to(server: str, pki: Path, scheme: str, changed: dict[str, str]) -> None:
    if changed.get("ca_cert"):
        changed = {"ca_cert": str(devtls.bots_ca(pki))}
    with pytest.raises(WarehouseUnavailableError) as refused:
        connect(f"{scheme}://{server}/portcullis?{options(pki, **changed)}")
    assert server.partition("@")[0].partition(":")[2] not in str(refused.value)
