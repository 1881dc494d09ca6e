"""The list of a firm's logs: when the number of lanes changes, every log is closed and others begin under another name.

An epoch is one set of logs: `<origin>/<lane>` for each of its lanes, in the topics of one prefix. A closed log's last
leaf is LOG_CLOSED and names the next epoch; the first leaf of each log that follows is LOG_BEGUN and names the final
checkpoints of the epoch before. So whoever has one log's key can go along the list in both directions without trusting
the file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import orjson

from streams.audit.checkpoint import Checkpoint
from streams.core.errors import PortcullisError
from streams.core.merkle import HASH_BYTES
from streams.wire.avro import DecodeError
from streams.wire.decisions import decode_audit_event
from streams.wire.keys import write_file
from streams.wire.trust import FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

LOG_CLOSED: Final = "LOG_CLOSED"
LOG_BEGUN: Final = "LOG_BEGUN"
_FILE: Final = "logs.json"


class EpochError(PortcullisError):
    """The list of logs does not hold."""


@dataclass(frozen=True, slots=True)
class TreeHead:
    """The final checkpoint of a closed log."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Epoch:
    """One set of logs; `finals` by lane where they are closed, nothing while they are open."""

    origin: str
    lanes: int
    prefix: str
    finals: tuple[TreeHead, ...] = ()

    def log(self, lane: int) -> str:
        """Return a log's origin."""
        return f"{self.origin}/{lane}"

    def announcement(self) -> dict[str, str]:
        """Return what the last leaf of the epoch before says of this one."""
        return {"next_origin": self.origin, "next_lanes": str(self.lanes), "next_prefix": self.prefix}

    def recollection(self) -> dict[str, str]:
        """Return what the first leaves of the epoch after say of this one: its logs as they were closed."""
        return {
            "previous_origin": self.origin,
            "previous_lanes": str(self.lanes),
            "previous_prefix": self.prefix,
            "previous_sha256": finals_sha256(
                Checkpoint(self.log(lane), final.size, final.root) for lane, final in enumerate(self.finals)
            ),
        }


def load_epochs(folder: Path, current: Epoch) -> tuple[Epoch, ...]:
    """Return all epochs, the oldest first; the current one alone where none was ever closed.

    Raises: EpochError where the list is malformed, or does not end with the current epoch.
    """
    path = _path(folder)
    if not path.is_file():
        return (current,)
    try:
        epochs = tuple(_epoch(row) for row in orjson.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EpochError(f"{path}: epochs with origin, lanes, prefix and finals required ({error})") from None
    if not all(epoch.finals for epoch in epochs[:-1]) or any(len(e.finals) not in (0, e.lanes) for e in epochs):
        raise EpochError(f"{path}: every epoch but the last closed, with 1 final checkpoint a lane, required")
    if not epochs or (epochs[-1].origin, epochs[-1].prefix, epochs[-1].finals) != (current.origin, current.prefix, ()):
        raise EpochError(f"{path}: {current.origin} with prefix {current.prefix!r} last and open required")
    return epochs


def save_closed(folder: Path, current: Epoch, finals: tuple[TreeHead, ...], following: Epoch) -> None:
    """Write that the current epoch is closed and which one follows."""
    epochs = (*load_epochs(folder, current)[:-1], replace(current, finals=finals), following)
    write_file(_path(folder), orjson.dumps([_row(epoch) for epoch in epochs], option=orjson.OPT_INDENT_2) + b"\n")


def reuse_problem(epochs: Iterable[Epoch], following: Epoch) -> str | None:
    """Return why an epoch may not follow these: its logs or topics would not be told from theirs."""
    used = [(epoch.origin, epoch.prefix) for epoch in epochs]
    if following.origin in {origin for origin, _ in used} or following.prefix in {prefix for _, prefix in used}:
        return f"{following.origin}: an origin and a prefix that no logs have had required, prefix {following.prefix!r}"
    return None


def closing_problem(leaf: bytes, following: Epoch) -> str | None:
    """Return why a log's last leaf does not close it in favour of the epoch that follows."""
    details = closing_details(leaf)
    if details is None:
        return f"the last leaf of a closed log must be {LOG_CLOSED}"
    wrong = [name for name, text in following.announcement().items() if details.get(name) != text]
    return f"the last leaf names another {', '.join(wrong)} than the list" if wrong else None


def beginning_problem(leaf: bytes, before: Epoch) -> str | None:
    """Return why a log's first leaf does not begin it after the logs of the epoch before."""
    details = details_of(leaf, LOG_BEGUN)
    if details is None:
        return f"the first leaf of a log that follows others must be {LOG_BEGUN}"
    wrong = [name for name, text in before.recollection().items() if details.get(name) != text]
    return f"the first leaf names another {', '.join(wrong)} than the list" if wrong else None


def closing_details(leaf: bytes) -> Mapping[str, str] | None:
    """Return what a LOG_CLOSED leaf says, None where the leaf is another."""
    return details_of(leaf, LOG_CLOSED)


def details_of(leaf: bytes, event_type: str) -> Mapping[str, str] | None:
    """Return what a leaf of this type says, None where the leaf is another."""
    try:
        event, _ = decode_audit_event(leaf)
    except DecodeError:
        return None
    return event.details if event.event_type == event_type else None


def finals_sha256(checkpoints: Iterable[Checkpoint]) -> str:
    """Return the digest of an epoch's final checkpoints, in the order of their lanes: their note texts, one by one."""
    return hashlib.sha256(b"".join(checkpoint.encode() for checkpoint in checkpoints)).hexdigest()


def _row(epoch: Epoch) -> dict[str, Any]:
    finals = [{"size": final.size, "root": final.root.hex()} for final in epoch.finals]
    return {"origin": epoch.origin, "lanes": epoch.lanes, "prefix": epoch.prefix, "finals": finals}


def _epoch(row: dict[str, Any]) -> Epoch:
    finals = tuple(TreeHead(int(final["size"]), bytes.fromhex(final["root"])) for final in row["finals"])
    if any(len(final.root) != HASH_BYTES for final in finals):
        raise ValueError(f"roots of {HASH_BYTES} bytes required")
    return Epoch(str(row["origin"]), int(row["lanes"]), str(row["prefix"]), finals)


def _path(folder: Path) -> Path:
    return folder / FOLDER / _FILE
