"""An archived event: one C2SP proof text whose extra data is the leaf, so that the object proves itself.

Its name is `agent-events/<agent_id>/<lane>-<leaf index>`; events about no bot are under `_none`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from streams.audit.proof import ProofFormatError, TlogProof
from streams.core.documents import NAME
from streams.wire.avro import DecodeError
from streams.wire.decisions import decode_audit_event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.audit.proof import Inclusion, ProofVerifier
    from streams.audit.segments import Segment

EVENTS: Final = "agent-events/"
NO_AGENT: Final = "_none"


def archived(lane: int, segment: Segment) -> Iterator[tuple[str, str, bytes]]:
    """Yield bot, name and bytes of each event of a segment, its proof under the segment's checkpoint."""
    first = segment.prover.frontier.size - len(segment.leaves)
    for index, leaf in enumerate(segment.leaves, first):
        agent_id = agent_of(leaf.value)
        proof = TlogProof(index, tuple(segment.prover.proof(index)), segment.note, leaf.value)
        yield agent_id, f"{EVENTS}{agent_id or NO_AGENT}/{lane}-{index}", proof.encode()


def agent_of(leaf: bytes) -> str:
    """Return the bot that an event is about; nothing where it names none that could be a folder."""
    try:
        return agent_folder(decode_audit_event(leaf)[0].agent_id)
    except DecodeError:
        return ""


def agent_folder(name: str) -> str:
    """Return a bot's name where it could be a folder, else nothing."""
    return name if NAME.fullmatch(name) and set(name) != {"."} and name != NO_AGENT else ""


def read_archived(data: bytes, proofs: ProofVerifier) -> tuple[bytes, Inclusion]:
    """Return the leaf of an archived object and where the log has it.

    Raises: PortcullisError where the object does not prove itself.
    """
    proof = TlogProof.parse(data)
    if proof.extra is None:
        raise ProofFormatError("archived event: the leaf as extra data required")
    return proof.extra, proofs.verify(proof.extra, replace(proof, extra=None).encode())
