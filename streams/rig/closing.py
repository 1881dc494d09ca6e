"""Closing the logs of an epoch, so that others with another number of lanes can begin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaException, Producer

from streams.agents.journal import CLOSED
from streams.agents.kernel_clock import KernelClock
from streams.audit.checkpoint import Checkpoint, sign_checkpoint
from streams.audit.epochs import LOG_CLOSED, TreeHead, closing_details, load_epochs, save_closed
from streams.audit.verify import event_time_us, verify_timed_log
from streams.core.errors import PortcullisError
from streams.core.merkle import Frontier, hash_leaf
from streams.names import TableName, Topic
from streams.rig.auditing import current_epoch, read_topic, values
from streams.wire.decisions import AuditEvent, encode_audit_head
from streams.wire.log_keys import log_keys, log_signers

if TYPE_CHECKING:
    from streams.audit.epochs import Epoch
    from streams.settings import Settings

_TIMEOUT_S: Final = 60.0
_CLOSED_BY: Final = "portcullis-audit-close"


class ClosingError(PortcullisError):
    """A log is not fit to be closed, or Kafka has not taken its last leaf."""


def close_logs(settings: Settings, following: Epoch, *, by: str, now_us: int) -> tuple[TreeHead, ...]:
    """Append LOG_CLOSED and a final checkpoint to every log, and note the epoch that follows; may be run again.

    Each lane's worker is fenced: it ends, and started again it refuses the closed log.

    Raises: ClosingError where a log does not verify or Kafka refuses, EpochError where the list does not hold.
    """
    epoch = current_epoch(settings)
    known = load_epochs(settings.pki, epoch)
    if following.origin in {e.origin for e in known} or following.prefix in {e.prefix for e in known}:
        raise ClosingError(f"{following.origin}: an origin and a prefix that no logs have had required")
    finals = tuple(_close(settings, epoch, lane, following, by=by, now_us=now_us) for lane in range(epoch.lanes))
    save_closed(settings.pki, epoch, finals, following)
    return finals


def _close(settings: Settings, epoch: Epoch, lane: int, following: Epoch, *, by: str, now_us: int) -> TreeHead:
    app_id = settings.topic_prefix + settings.app_id
    producer = Producer({**settings.cluster(), "transactional.id": f"{app_id}-{lane}", "enable.idempotence": True})
    try:
        producer.init_transactions(_TIMEOUT_S)
        tree, last = _verified(settings, epoch, lane)
        if closing_details(last) == {**following.announcement()}:
            return TreeHead(tree.size, tree.root())
        at_us = max(now_us, event_time_us(last) if last else 0)
        leaf = _leaf(lane, tree.size, at_us, by, following)
        grown = tree.append(hash_leaf(leaf))
        origin = epoch.log(lane)
        note = sign_checkpoint(
            Checkpoint(origin, grown.size, grown.root()), *log_signers(settings.pki, origin).at(at_us)
        )
        producer.begin_transaction()
        producer.produce(epoch.prefix + Topic.AUDIT_EVENTS, leaf, b"", partition=lane)
        producer.produce(epoch.prefix + Topic.AUDIT_CHECKPOINTS, note, origin.encode(), partition=lane)
        producer.produce(f"{app_id}-{TableName.LOG}-changelog", following.origin.encode(), CLOSED, partition=lane)
        producer.commit_transaction(_TIMEOUT_S)
    except KafkaException as error:
        raise ClosingError(f"log {epoch.log(lane)}: {error}") from error
    return TreeHead(grown.size, grown.root())


def _verified(settings: Settings, epoch: Epoch, lane: int) -> tuple[Frontier, bytes]:
    """Return the tree of a log and its last leaf. Raises: ClosingError where it does not verify."""
    origin = epoch.log(lane)
    leaves = list(values(read_topic(settings, epoch, Topic.AUDIT_EVENTS, lane)))
    notes = values(read_topic(settings, epoch, Topic.AUDIT_CHECKPOINTS, lane))
    report = verify_timed_log(leaves, notes, log_keys(settings.pki, origin), origin=origin)
    if report.problems:
        raise ClosingError(f"log {origin}: {report.problems[0].kind.value}: {report.problems[0].detail}")
    return Frontier().extend(map(hash_leaf, leaves)), leaves[-1] if leaves else b""


def _leaf(lane: int, index: int, at_us: int, by: str, following: Epoch) -> bytes:
    event = AuditEvent(
        event_type=LOG_CLOSED,
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
        verified_by=_CLOSED_BY,
        approved_by=by,
        outcome="NONE",
        details=following.announcement(),
    )
    return encode_audit_head(event, None)
