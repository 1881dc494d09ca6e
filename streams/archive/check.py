"""Checking an archive with nothing but the logs' public keys: every object proves itself, and none is missing."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from streams.archive.objects import EVENTS, NO_AGENT, agent_folder, read_archived
from streams.audit.proof import ProofVerifier
from streams.core.errors import PortcullisError
from streams.wire.decisions import decode_audit_event

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streams.archive.store import ObjectStore
    from streams.wire.log_keys import LogKey

_PROBLEMS_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class ArchiveReport:
    """What an archive holds and what is wrong with it."""

    verified: bool
    objects: int
    logs: int
    problems: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it for scripts."""
        return {name: getattr(self, name) for name in self.__slots__}


def check_archive(store: ObjectStore, log_origin: str, keys: Callable[[str], Sequence[LogKey]]) -> ArchiveReport:
    """Read every object. Raises: StoreError where the store does not answer."""
    found: defaultdict[str, set[int]] = defaultdict(set)
    sizes: defaultdict[str, int] = defaultdict(int)
    proofs: dict[str, ProofVerifier] = {}
    problems: list[str] = []
    objects = 0
    for name in store.names(EVENTS):
        objects += 1
        lane = name.rpartition("/")[2].partition("-")[0]
        try:
            if lane not in proofs:
                proofs[lane] = ProofVerifier(key.verifier for key in keys(f"{log_origin}/{lane}"))
            leaf, inclusion = read_archived(store.get(name) or b"", proofs[lane])
            event, _ = decode_audit_event(leaf)
        except PortcullisError as error:
            problems.append(f"{name}: {error}")
            continue
        expected = f"{EVENTS}{agent_folder(event.agent_id) or NO_AGENT}/{event.partition}-{inclusion.index}"
        origin = inclusion.checkpoint.origin
        if name != expected or origin != f"{log_origin}/{lane}":
            problems.append(f"{name}: holds {expected} of {origin}")
        found[origin].add(inclusion.index)
        sizes[origin] = max(sizes[origin], inclusion.checkpoint.size)
    for origin, size in sizes.items():
        missing = [index for index in range(size) if index not in found[origin]]
        problems += [f"log {origin} leaf {index}: not in the archive" for index in missing[:_PROBLEMS_MAX]]
    return ArchiveReport(not problems, objects, len(sizes), tuple(problems[:_PROBLEMS_MAX]))
