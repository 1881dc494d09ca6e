"""The desk's own settings: where it listens, how people sign in. Read from `PORTCULLIS_DESK_*`."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Final

from streams.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PREFIX: Final = "PORTCULLIS_DESK_"
_MINUTE_S: Final = 60


@dataclass(frozen=True, slots=True)
class DeskSettings:
    """One variable a field: `host` is PORTCULLIS_DESK_HOST, and so on. Times in seconds."""

    host: str = "127.0.0.1"
    port: int = 8088
    public_url: str = ""
    """Where browsers see it, where that is not host and port: behind a proxy that ends TLS."""
    tls_certificate: Path = Path()
    tls_key: Path = Path()
    """With both the desk speaks TLS, and takes the client certificates of named people."""
    keys: Path = Path()
    """Folder of the private keys with which the desk signs in people's names; by default the PKI's own."""
    users: Path = Path()
    tlog_policy: Path = Path()
    """File that says whose cosignatures count (C2SP tlog-policy); without it the page shows no witness."""
    session_idle_s: int = 30 * _MINUTE_S
    session_s: int = 12 * 60 * _MINUTE_S
    openid_issuer: str = ""
    openid_client_id: str = ""
    openid_client_secret_file: Path = Path()
    openid_name_claim: str = "preferred_username"
    openid_role_claim: str = ""
    """Where it is set, the provider's word gives the role of whom the users' list does not name."""

    @property
    def tls(self) -> bool:
        """Say whether the desk itself speaks TLS."""
        return self.tls_certificate != Path() and self.tls_key != Path()

    @property
    def origin(self) -> str:
        """Return the origin that browsers see."""
        return self.public_url.rstrip("/") or f"{'https' if self.tls else 'http'}://{_bracketed(self.host)}:{self.port}"

    @property
    def secure(self) -> bool:
        """Say whether browsers reach it by TLS."""
        return self.origin.startswith("https://")


def load_desk_settings(environment: Mapping[str, str] | None = None) -> DeskSettings:
    """Read the desk's settings from the environment.

    Raises: SettingsError naming every variable that does not hold.
    """
    environment = os.environ if environment is None else environment
    kinds: dict[str, Callable[[str], object]] = {
        field.name: Path if isinstance(field.default, Path) else type(field.default) for field in fields(DeskSettings)
    }
    values: dict[str, object] = {}
    problems = []
    for variable, text in environment.items():
        name = variable.removeprefix(PREFIX).lower()
        if not variable.startswith(PREFIX) or not text:
            continue
        if name not in kinds:
            problems.append(f"{variable}: no such setting")
            continue
        try:
            values[name] = kinds[name](text)
        except ValueError as error:
            problems.append(f"{variable}: {error}")
    settings = DeskSettings(**values)  # type: ignore[arg-type]
    problems += _problems(settings)
    if problems:
        raise SettingsError("settings refused: " + "; ".join(problems))
    return settings


def _problems(settings: DeskSettings) -> list[str]:
    found = []
    if not 0 <= settings.port <= 65_535:
        found.append(f"{PREFIX}PORT: 0 to 65535 required, is {settings.port}")
    if not _MINUTE_S <= settings.session_idle_s <= settings.session_s:
        found.append(f"{PREFIX}SESSION_IDLE_S: {_MINUTE_S} to {PREFIX}SESSION_S required, is {settings.session_idle_s}")
    # Passwords and sessions must not cross a network in the clear.
    if not _is_loopback(settings.host) and not settings.secure:
        found.append(f"{PREFIX}HOST: {settings.host} is not this machine alone: TLS or an https PUBLIC_URL required")
    if bool(settings.openid_issuer) != bool(settings.openid_client_id):
        found.append(f"{PREFIX}OPENID_ISSUER and {PREFIX}OPENID_CLIENT_ID: both or none required")
    return found


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
