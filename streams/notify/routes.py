"""The notifier's settings: which alerts go where. A file of its own, because its addresses hold passwords."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from streams.core.documents import DocumentReader
from streams.core.errors import PortcullisError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SEVERITIES: Final = ("INFO", "WARNING", "CRITICAL")
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
_KIND: Final = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_VARIABLE: Final = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\}")
_URL: Final = re.compile(r"\S{1,1000}")
_ROUTES_MAX: Final = 32
_URLS_MAX: Final = 32
_BYTES_MAX: Final = 64 * 1024


class RoutesError(PortcullisError):
    """The notifier's settings do not hold; the text names every problem, and no address."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where alerts of a severity or above go, and of which kinds (none: all)."""

    name: str
    least: str
    kinds: frozenset[str]
    urls: tuple[str, ...]
    per_minute: int

    def takes(self, severity: str, kind: str) -> bool:
        """Say whether an alert goes this way; the kind of a prefix's alerts is the whole word."""
        loud_enough = SEVERITIES.index(severity) >= SEVERITIES.index(self.least)
        return loud_enough and (not self.kinds or kind in self.kinds)

    def __repr__(self) -> str:
        return f"Route({self.name})"


@dataclass(frozen=True, slots=True)
class NotifySettings:
    """All routes, and how often and how long is tried. Times in seconds."""

    routes: tuple[Route, ...]
    repeat_after_s: int
    give_up_after_s: int


def load_routes(path: Path, environment: Mapping[str, str]) -> NotifySettings:
    """Read the notifier's TOML file; `${NAME}` in an address is that environment variable.

    Raises: RoutesError.
    """
    try:
        data = path.read_bytes()
        if len(data) > _BYTES_MAX:
            raise RoutesError(f"{path}: at most {_BYTES_MAX} bytes, has {len(data)}")
        document = tomllib.loads(data.decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RoutesError(f"{path}: {error}") from None
    return parse_routes(document, environment)


def parse_routes(document: Mapping[str, Any], environment: Mapping[str, str]) -> NotifySettings:
    """Read the parsed document. Raises: RoutesError."""
    reader = DocumentReader(document, "", [])
    repeat_after_s = reader.integer("repeat_after_s", 0, 86_400, default=600)
    give_up_after_s = reader.integer("give_up_after_s", 1, 86_400, default=3_600)
    routes = tuple(_route(one, environment) for one in reader.children("route", _ROUTES_MAX))
    reader.finish()
    if len({route.name for route in routes}) != len(routes):
        reader.note("route", "different names", [route.name for route in routes])
    if reader.problems:
        raise RoutesError("notifications refused: " + "; ".join(reader.problems))
    return NotifySettings(routes, repeat_after_s, give_up_after_s)


def _route(reader: DocumentReader, environment: Mapping[str, str]) -> Route:
    route = Route(
        name=reader.text("name", _NAME),
        least=reader.choice("least", SEVERITIES),
        kinds=reader.texts("kinds", _KIND, 1, _URLS_MAX) if reader.has("kinds") else frozenset(),
        urls=tuple(sorted(_filled(url, reader, environment) for url in reader.texts("urls", _URL, 1, _URLS_MAX))),
        per_minute=reader.integer("per_minute", 1, 10_000, default=30),
    )
    reader.finish()
    return route


def _filled(url: str, reader: DocumentReader, environment: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        text = environment.get(found[1], "")
        if not text:
            reader.note("urls", f"the environment variable {found[1]}", "nothing")
        return text

    return _VARIABLE.sub(value, url)
