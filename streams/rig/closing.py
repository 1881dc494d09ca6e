"""Closing the logs of an epoch, and what begins those that follow: the two ends of a link between them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaException, Producer

from streams.agents.journal import CLOSED
from streams.agents.kernel_clock import KernelClock
from streams.audit.checkpoint import Checkpoint, sign_checkpoint
from streams.audit.epochs import LOG_BEGUN, LOG_CLOSED, TreeHead, closing_details, load_epochs, reuse_problem
from streams.audit.verify import event_time_us, verify_timed_log
from streams.core.errors import PortcullisError
from streams.core.merkle import Frontier, hash_leaf
from streams.engine.changelog import changelog_key, changelog_topic
from streams.names import TableName, Topic
from streams.rig.auditing import current_epoch, read_topic, values
from streams.wire.decisions import AuditEvent, encode_audit_head
from streams.wire.log_keys import log_keys, log_signers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from streams.audit.epochs import Epoch
    from streams.settings import Settings

_TIMEOUT_S: Final = 60.0
_CHUNK: Final = 1024
_WRITTEN_BY: Final = "portcullis-repartition"


class ClosingError(PortcullisError):
    """A log is not fit to be closed, or Kafka has not taken its last leaf."""


def close_logs(settings: Settings, following: Epoch, *, by: str, now_us: int) -> tuple[TreeHead, ...]:
    """Append LOG_CLOSED and a final checkpoint to every log; return them. May be run again for the same that follow.

    The workers must be gone, and their transactions over: one that was cut off is no member of the group any more, so
    the broker refuses its offsets; one that is started refuses the closed log.

    Raises: ClosingError where a log does not verify or Kafka refuses, EpochError where the list does not hold.
    """
    epoch = current_epoch(settings)
    problem = reuse_problem(load_epochs(settings.pki, epoch), following)
    if problem is not None:
        raise ClosingError(problem)
    # All are looked at before one is closed: half an installation that cannot go on is worse than none that moved.
    logs = [_look(settings, epoch, lane) for lane in range(epoch.lanes)]
    wrong = [closed for log in logs if (closed := closing_details(log.last)) not in (None, following.announcement())]
    if wrong:
        raise ClosingError(f"{epoch.origin}: closed already, followed by {wrong[0].get('next_origin')}")
    return tuple(_close(settings, epoch, log, following, by=by, now_us=now_us) for log in logs)


def beginning_leaf(lane: int, at_us: int, by: str, before: Epoch, details: Mapping[str, str]) -> bytes:
    """Return the first leaf of a log that follows those of an epoch; `details` are what it says beside that."""
    return _leaf(LOG_BEGUN, lane, 0, at_us, by, {**before.recollection(), **details})


@dataclass(frozen=True, slots=True)
class _Log:
    """A log that holds: its lane, what writes its end, its tree and its last leaf."""

    lane: int
    producer: Producer
    tree: Frontier
    last: bytes


def _look(settings: Settings, epoch: Epoch, lane: int) -> _Log:
    """Verify a log. Raises: ClosingError where it does not hold."""
    # Somebody else who closes it at the same time is fenced by the name.
    producer = Producer(
        {**settings.cluster(), "transactional.id": f"{settings.group}-close-{lane}", "enable.idempotence": True}
    )
    origin = epoch.log(lane)
    try:
        producer.init_transactions(_TIMEOUT_S)
        leaves = _Grown(values(read_topic(settings, epoch, Topic.AUDIT_EVENTS, lane)))
        notes = values(read_topic(settings, epoch, Topic.AUDIT_CHECKPOINTS, lane))
        report = verify_timed_log(leaves, notes, log_keys(settings.pki, origin), origin=origin)
    except KafkaException as error:
        raise ClosingError(f"log {origin}: {error}") from error
    if report.problems:
        raise ClosingError(f"log {origin}: {report.problems[0].kind.value}: {report.problems[0].detail}")
    return _Log(lane, producer, leaves.tree, leaves.last)


def _close(settings: Settings, epoch: Epoch, log: _Log, following: Epoch, *, by: str, now_us: int) -> TreeHead:
    """Append the last leaf and the final checkpoint, where the log has them not yet."""
    if closing_details(log.last) is not None:
        return TreeHead(log.tree.size, log.tree.root())
    lane, producer, origin = log.lane, log.producer, epoch.log(log.lane)
    at_us = max(now_us, event_time_us(log.last) if log.last else 0)
    leaf = _leaf(LOG_CLOSED, lane, log.tree.size, at_us, by, following.announcement())
    grown = log.tree.append(hash_leaf(leaf))
    note = sign_checkpoint(Checkpoint(origin, grown.size, grown.root()), *log_signers(settings.pki, origin).at(at_us))
    changelog = changelog_topic(settings.group)
    try:
        producer.begin_transaction()
        producer.produce(epoch.prefix + Topic.AUDIT_EVENTS, leaf, b"", partition=lane)
        producer.produce(epoch.prefix + Topic.AUDIT_CHECKPOINTS, note, origin.encode(), partition=lane)
        producer.produce(
            changelog, following.origin.encode(), changelog_key(TableName.LOG, CLOSED.encode()), partition=lane
        )
        producer.commit_transaction(_TIMEOUT_S)
    except KafkaException as error:
        raise ClosingError(f"log {origin}: {error}") from error
    return TreeHead(grown.size, grown.root())


class _Grown:
    """Leaves as they are read, the tree of those read, and the last of them."""

    def __init__(self, leaves: Iterator[bytes]) -> None:
        self._leaves = leaves
        self.tree = Frontier()
        self.last = b""

    def __iter__(self) -> Iterator[bytes]:
        while chunk := list(islice(self._leaves, _CHUNK)):
            self.tree = self.tree.extend(map(hash_leaf, chunk))
            self.last = chunk[-1]
            yield from chunk


def _leaf(event_type: str, lane: int, index: int, at_us: int, by: str, details: Mapping[str, str]) -> bytes:
    event = AuditEvent(
        event_type=event_type,
        agent_id="",
        agent_seq=None,
        log_index=index,
        partition=lane,
        event_time_us=at_us,
        clock_divergence_us=0,
        clock_source=KernelClock().source(at_us),
        source_topic="",
        source_offset=-1,
        source_time_us=at_us,
        subject=None,
        signature=None,
        signer=None,
        score=None,
        state_before="ACTIVE",
        state_after="ACTIVE",
        policy_sha256=None,
        authorised_by=by,
        verified_by=_WRITTEN_BY,
        approved_by=by,
        outcome="NONE",
        details=details,
    )
    return encode_audit_head(event, None)
