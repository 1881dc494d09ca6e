"""A check and what it finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import TYPE_CHECKING, NamedTuple

from streams.core.errors import PortcullisError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from streams.settings import Settings


@unique
class State(StrEnum):
    """How a check went."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found, and how to mend it where it did not hold."""

    state: State
    text: str
    mend: str = ""


class Check(NamedTuple):
    """A named look at one part of a set-up."""

    name: str
    look: Callable[[Settings], Finding]


def ok(text: str) -> Finding:
    """Return that something holds."""
    return Finding(State.OK, text)


def warning(text: str, mend: str) -> Finding:
    """Return that something will not hold for long, or not everywhere."""
    return Finding(State.WARNING, text, mend)


def failed(text: str, mend: str) -> Finding:
    """Return that something does not hold."""
    return Finding(State.FAILED, text, mend)


def examine(settings: Settings, checks: Iterable[Check]) -> Iterator[tuple[str, Finding]]:
    """Yield each check's name and finding; a check that cannot be made has failed."""
    for check in checks:
        try:
            finding = check.look(settings)
        except PortcullisError as error:
            finding = failed(str(error), "see the message")
        except Exception as error:  # noqa: BLE001 - the others must still be made
            finding = failed(f"cannot be checked: {type(error).__name__}: {error}"[:300], "see the message")
        yield check.name, finding
