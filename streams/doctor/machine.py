"""Checks of this machine: versions, Java, keys, certificates, disk."""

from __future__ import annotations

import shutil
import stat
import sys
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING, Final

from cryptography import x509

from streams.doctor.finding import Check, Finding, failed, ok, warning
from streams.local.runtime import BrokerUnavailableError, find_java, find_maven
from streams.wire.trust import FOLDER, load_trust

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from streams.settings import Settings

_PYTHON: Final = ((3, 11), (3, 14))
_FREE_WARN_GB: Final = 5.0
_FREE_FAIL_GB: Final = 1.0
_SOON: Final = timedelta(days=30)
_DISTRIBUTION: Final = "portcullis"


def _python(_settings: Settings) -> Finding:
    found = sys.version_info[:2]
    if _PYTHON[0] <= found < _PYTHON[1]:
        return ok(f"{found[0]}.{found[1]}")
    return failed(f"3.11 to 3.13 required, is {found[0]}.{found[1]}", "make setup PYTHON=python3.13")


def _packages(_settings: Settings) -> Finding:
    """Check the exact versions, which the engine's classes extend."""
    wrong = []
    for line in requires(_DISTRIBUTION) or ():
        requirement = line.partition(";")[0].strip()
        name, exact, wanted = requirement.partition("==")
        if not exact:
            continue
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "missing"
        if found != wanted:
            wrong.append(f"{name} {wanted} required, is {found}")
    return failed("; ".join(wrong), "rm .venv/.ready && make setup") if wrong else ok("as locked")


def _java(settings: Settings) -> Finding:
    if settings.kafka_bootstrap_servers:
        return ok("not needed: KAFKA_BOOTSTRAP_SERVERS is set")
    try:
        java, maven = find_java(), find_maven()
    except BrokerUnavailableError as error:
        return failed(str(error), "install it, or set KAFKA_BOOTSTRAP_SERVERS")
    return ok(f"{java}, {maven}")


def _disk(settings: Settings) -> Finding:
    folder = settings.home
    while not folder.exists():
        folder = folder.absolute().parent
    free_gb = shutil.disk_usage(folder).free / 1e9
    text = f"{free_gb:.1f} GB free at {folder}"
    mend = "free some, or move PORTCULLIS_HOME"
    if free_gb < _FREE_FAIL_GB:
        return failed(text, mend)
    return warning(text, mend) if free_gb < _FREE_WARN_GB else ok(text)


def _keys(settings: Settings) -> Finding:
    """Check that nobody but their owner can read private keys, and that the owner can."""
    loose, unreadable, count = [], [], 0
    for path in _secrets(settings):
        count += 1
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            loose.append(path)
        try:
            path.read_bytes()
        except OSError:
            unreadable.append(path)
    if unreadable:
        return failed(f"cannot be read: {unreadable[0]}" + _more(unreadable), f"chown it to this user: {unreadable[0]}")
    if loose:
        return failed(f"others can read {loose[0]}" + _more(loose), f"chmod 600 {loose[0]}")
    if not count:
        return warning(f"no keys in {settings.pki} or {settings.home / 'agents'}", "portcullis pki init")
    return ok(f"{count} private files, readable by their owner alone")


def _more(paths: list[Path]) -> str:
    return f" and {len(paths) - 1} more" if len(paths) > 1 else ""


def _secrets(settings: Settings) -> Iterator[Path]:
    for folder in (settings.pki / "private", settings.pki / "tls" / "private"):
        yield from (path for path in sorted(folder.glob("*")) if path.is_file())
    yield from sorted((settings.home / "agents").glob("*/key.pem"))


def _trust(settings: Settings) -> Finding:
    if not (settings.pki / FOLDER).is_dir():
        return failed(f"{settings.pki / FOLDER}: no such folder", "portcullis pki init, or set PORTCULLIS_PKI_DIR")
    trust = load_trust(settings.pki)
    return ok(f"{len(trust.approvers)} approvers, {len(trust.operators)} operators, {len(trust.people)} people")


def _certificates(settings: Settings) -> Finding:
    """Check what ends soon: certificates, and revocation lists, whose end stops registrations."""
    ends = sorted(_ends(settings))
    if not ends:
        return warning("no certificates found", "portcullis pki init")
    first, path = ends[0]
    now = datetime.now(UTC)
    text = f"the first of {len(ends)} ends on {first:%Y-%m-%d}: {path}"
    mend = "portcullis pki init renews development lists; else ask its issuer for a new one"
    if first <= now:
        return failed(text.replace(" ends ", " ended "), mend)
    return warning(text, mend) if first - now < _SOON else ok(text)


def _ends(settings: Settings) -> Iterator[tuple[datetime, Path]]:
    folders = (settings.pki / FOLDER, settings.pki / "chain", settings.pki / "tls", settings.home / "agents")
    for path in (path for folder in folders for path in folder.rglob("*.pem")):
        if path.name == "key.pem" or path.parent.name == "private":
            continue
        data = path.read_bytes()
        if b"X509 CRL" in data:
            end = x509.load_pem_x509_crl(data).next_update_utc
            if end is not None:
                yield end, path
        else:
            yield min(one.not_valid_after_utc for one in x509.load_pem_x509_certificates(data)), path


MACHINE_CHECKS: Final = (
    Check("python", _python),
    Check("packages", _packages),
    Check("java and maven", _java),
    Check("disk", _disk),
    Check("private keys", _keys),
    Check("trust", _trust),
    Check("certificates", _certificates),
)
