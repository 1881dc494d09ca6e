"""Logs taken along: leaves, checkpoints and cosignatures in a folder, checked with public keys and nothing else.

The folder's list of logs is a convenience: which logs there must be, the keys say, and a closed log's last leaf. What
the folder cannot show is a log cut back together with its checkpoints; cosigned checkpoints and a policy do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from streams.audit.checkpoint import Checkpoint
from streams.audit.epochs import LOG_BEGUN, closing_details, details_of, finals_sha256, load_epochs
from streams.audit.verify import verify_timed_log
from streams.core.errors import PortcullisError
from streams.names import Topic
from streams.reports.layout import BatchError, read_items, write_item
from streams.rig.auditing import AuditReport, current_epoch, ends, read_topic, values
from streams.rig.cosigned import check_cosigned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from streams.audit.epochs import Epoch
    from streams.audit.policy import TlogPolicy
    from streams.settings import Settings
    from streams.wire.log_keys import LogKey

_FORMAT: Final = "portcullis-logs-1"
_LIST: Final = "logs.json"
_LIST_BYTES_MAX: Final = 1 << 20
_PROBLEMS_MAX: Final = 1_000
_LANES_DIGITS_MAX: Final = 5
_LEAVES, _NOTES, _COSIGNED = "leaves", "checkpoints", "cosigned"


def export_logs(settings: Settings, out: Path) -> int:
    """Write every log of the cluster, closed ones too, into an empty folder; return how many leaves were written.

    Raises: BatchError where the folder is not empty, KafkaException where the cluster does not answer.
    """
    if out.exists() and any(out.iterdir()):
        raise BatchError(f"{out}: an empty folder required")
    out.mkdir(parents=True, exist_ok=True)
    origins, count = list[str](), 0
    for epoch in load_epochs(settings.pki, current_epoch(settings)):
        events, notes = ends(settings, epoch)
        for lane in range(epoch.lanes):
            count += _export_log(settings, epoch, lane, (events[lane], notes[lane]), out / f"{len(origins)}")
            origins.append(epoch.log(lane))
    (out / _LIST).write_bytes(orjson.dumps({"format": _FORMAT, "logs": origins}, option=orjson.OPT_INDENT_2))
    return count


def _export_log(settings: Settings, epoch: Epoch, lane: int, before: tuple[int, int], path: Path) -> int:
    """Write a log as far as both ends, and every leaf that a checkpoint before its end has signed."""
    signed = count = 0
    with path.with_suffix(f".{_NOTES}").open("wb") as file:
        for note in values(read_topic(settings, epoch, Topic.AUDIT_CHECKPOINTS, lane, before[1])):
            signed = max(signed, _stated_size(note))
            write_item(file, note)
    with path.with_suffix(f".{_LEAVES}").open("wb") as file:
        for record in read_topic(settings, epoch, Topic.AUDIT_EVENTS, lane):
            if record.offset >= before[0] and count >= signed:
                break
            write_item(file, record.value)
            count += 1
    with path.with_suffix(f".{_COSIGNED}").open("wb") as file:
        for note in values(read_topic(settings, epoch, Topic.AUDIT_COSIGNATURES, lane)):
            if _stated_size(note) <= count:
                write_item(file, note)
    return count


def _stated_size(note: bytes) -> int:
    """Return the size that a note states; of what is no checkpoint, 0: verifying says so."""
    lines = note.split(b"\n", 2)
    return int(lines[1]) if len(lines) == 3 and lines[1].isdigit() else 0


def verify_folder(
    folder: Path, keys: Callable[[str], Sequence[LogKey]], known: Iterable[str], policy: TlogPolicy | None = None
) -> AuditReport:
    """Check the logs of a folder against public keys.

    `keys` gives those of a log by its origin; a log whose name is `known` may not be left out. With a policy every log
    needs a cosigned checkpoint as well.

    Raises: BatchError where the folder's list of logs cannot be read.
    """
    return _Folder(folder, keys, policy).verify(frozenset(known))


@dataclass(slots=True)
class _Folder:
    folder: Path
    keys: Callable[[str], Sequence[LogKey]]
    policy: TlogPolicy | None
    problems: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    required: set[str] = field(default_factory=set)
    heads: dict[str, Checkpoint] = field(default_factory=dict)
    begun: dict[str, Mapping[str, str]] = field(default_factory=dict)
    leaves: int = 0
    checkpoints: int = 0
    cosigned: int = 0

    def verify(self, known: frozenset[str]) -> AuditReport:
        origins = self._origins()
        for number, origin in enumerate(origins):
            try:
                self._verify_log(origin, self.folder / str(number))
            except PortcullisError as error:
                self.problems.append(f"log {origin}: {error}")
        self.problems += self._beginnings()
        present = set(origins)
        for required, why in ((known, "its key is known"), (self.required - known, "another log names it")):
            left_out = sorted(required - present)
            self.problems += [f"log {name}: {why}, but the folder leaves it out" for name in left_out]
        if len(present) < len(origins):
            self.problems.append(f"{_LIST}: a log stands there twice")
        gaps = (
            ()
            if self.policy is not None
            else ("A log that was cut back together with its checkpoints, or a second history: that takes a policy.",)
        )
        return AuditReport(
            verified=not self.problems,
            logs=len(origins),
            leaves=self.leaves,
            checkpoints=self.checkpoints,
            cosigned=self.cosigned,
            warehouse_rows=0,
            problems=tuple(self.problems[:_PROBLEMS_MAX]),
            gaps=gaps,
            keys=tuple(sorted(self.used)),
        )

    def _origins(self) -> list[str]:
        path = self.folder / _LIST
        try:
            if path.stat().st_size > _LIST_BYTES_MAX:
                raise BatchError(f"{path}: at most {_LIST_BYTES_MAX} bytes")
            document: dict[str, Any] = orjson.loads(path.read_bytes())
            if document["format"] != _FORMAT:
                raise BatchError(f"{path}: {_FORMAT} required, is {document['format']!r:.40}")
            return [str(origin) for origin in document["logs"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BatchError(f"{path}: cannot be read ({error!r:.120})") from None

    def _verify_log(self, origin: str, path: Path) -> None:
        keys = self.keys(origin)
        leaves = _Leaves(self._items(path, _LEAVES))
        report = verify_timed_log(leaves, self._items(path, _NOTES), keys, origin=origin)
        self.leaves += report.leaves
        self.checkpoints += report.checkpoints
        self.used |= {key.verifier.vkey for key in keys}
        found = [f"{problem.kind.value}: {problem.detail}" for problem in report.problems]
        if self.policy is not None:
            again, notes = self._items(path, _LEAVES), self._items(path, _COSIGNED)
            size, wrong = check_cosigned(origin, again, notes, self.policy)
            self.cosigned += size
            found += wrong
        self.problems += [f"log {origin}: {text}" for text in found]
        self.heads[origin] = Checkpoint(origin, report.leaves, report.root)
        self.required |= _following(leaves.last)
        if (begun := details_of(leaves.first, LOG_BEGUN)) is not None:
            self.begun[origin] = begun

    def _beginnings(self) -> Iterator[str]:
        """Yield why logs do not follow those that their first leaves name; those are required too."""
        for origin, said in self.begun.items():
            before = _named(said.get("previous_origin", ""), said.get("previous_lanes", ""))
            self.required |= set(before)
            heads = [self.heads[name] for name in before if name in self.heads]
            if len(heads) == len(before) and finals_sha256(heads) != said.get("previous_sha256"):
                yield f"log {origin}: its first leaf names other final checkpoints than the logs before it have"

    def _items(self, path: Path, kind: str) -> Iterator[bytes]:
        return read_items(path.with_suffix(f".{kind}"))


class _Leaves:
    """Leaves as they are read, the first and the last of them."""

    def __init__(self, leaves: Iterator[bytes]) -> None:
        self._leaves = leaves
        self.first = self.last = b""

    def __iter__(self) -> Iterator[bytes]:
        for leaf in self._leaves:
            self.last = leaf
            self.first = self.first or leaf
            yield leaf


def _following(last: bytes) -> set[str]:
    """Return the logs that a last leaf names, where it closes its log."""
    said = closing_details(last) or {}
    return set(_named(said.get("next_origin", ""), said.get("next_lanes", "")))


def _named(origin: str, lanes: str) -> list[str]:
    """Return the logs that a leaf names."""
    if not lanes.isdigit() or len(lanes) > _LANES_DIGITS_MAX:
        return []
    return [f"{origin}/{lane}" for lane in range(int(lanes))]
