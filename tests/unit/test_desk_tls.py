"""The desk's own TLS: a named person's certificate signs in, a stranger's does not even connect."""

from __future__ import annotations

import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from uvicorn.lifespan.off import LifespanOff

from streams.desk.people import DeskRole
from streams.desk.server import server_config
from streams.desk.settings import DeskSettings
from streams.local.readiness import free_ports
from streams.settings import Settings
from streams.wire.devpki import make_dev_pki
from streams.wire.issuing import Validity, pinned_certificate, subject_name
from streams.wire.keys import private_pem
from tests.unit.test_desk_web import Browser

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PERSON = "cfo@acme"


def own_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Write a key and a certificate by itself."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC).replace(microsecond=0)
    validity = Validity(now - timedelta(days=1), now + timedelta(days=1))
    certificate, private = folder / f"{name}.crt", folder / f"{name}.key"
    made = pinned_certificate(key, subject_name(name, "Acme"), validity)
    certificate.write_bytes(made.public_bytes(Encoding.PEM))
    private.write_bytes(private_pem(key))
    return certificate, private


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    make_dev_pki(tmp_path / "pki")
    certificate, key = own_certificate(tmp_path, "desk")
    settings = DeskSettings(port=free_ports(1)[0], tls_certificate=certificate, tls_key=key)
    browser = Browser(tmp_path, settings)
    browser.accounts.add(PERSON, DeskRole.RISK, with_password=False)
    config = server_config(browser.app, Settings(home=tmp_path), settings)
    config.lifespan_class = LifespanOff  # no feed: there is no cluster
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield settings.origin
    finally:
        server.should_exit = True
        thread.join()


def client(url: str, certificate: tuple[Path, Path] | None = None) -> httpx.Client:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if certificate is not None:
        context.load_cert_chain(*certificate)
    return httpx.Client(base_url=url, verify=context, headers={"origin": url})


def test_a_named_persons_certificate_signs_in(url: str, tmp_path: Path) -> None:
    pki = tmp_path / "pki"
    own = (pki / "trust" / "people" / f"{PERSON}.pem", pki / "private" / f"people-{PERSON}.pem")
    with client(url, own) as person:
        assert person.get("/api/methods").json()["certificate"] == PERSON
        response = person.post("/api/login/certificate", json={})
        assert response.status_code == 200
        assert response.headers["set-cookie"].startswith("__Host-")
        assert person.get("/api/me").json()["name"] == PERSON


def test_without_a_certificate_there_are_the_other_ways(url: str) -> None:
    with client(url) as anybody:
        assert anybody.get("/api/methods").json()["certificate"] is None
        assert anybody.post("/api/login/certificate", json={}).status_code == 401


def test_a_certificate_of_ones_own_making_does_not_connect(url: str, tmp_path: Path) -> None:
    with client(url, own_certificate(tmp_path, PERSON)) as stranger, pytest.raises(httpx.TransportError):
        stranger.get("/api/methods")
