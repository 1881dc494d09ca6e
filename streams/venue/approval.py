"""Checking an approval before it reaches a venue: nothing can be approved that was not logged.

An approval on `orders.approved` is a Verdict with two headers. `audit-head` and the verdict's body together are the
leaf of its own audit event; `tlog-proof` proves that this leaf is in the log under a checkpoint that the log's key
signed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from streams.audit.proof import ProofVerifier
from streams.core.errors import PortcullisError
from streams.wire.avro import DecodeError, body_of
from streams.wire.decisions import decode_audit_event, decode_verdict
from streams.wire.headers import AUDIT_HEAD, TLOG_PROOF, find_headers
from streams.wire.messages import decode_order_body

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from streams.audit.policy import TlogPolicy
    from streams.audit.proof import Inclusion
    from streams.core.orders import Order
    from streams.wire.decisions import Verdict
    from streams.wire.headers import Header
    from streams.wire.note import Verifier


class ApprovalRefusedError(PortcullisError):
    """A record on `orders.approved` does not prove that it is an approval; nothing may be sent to the venue."""


@dataclass(frozen=True, slots=True)
class Approved:
    """An approval that holds: the verdict, the order it approves, and where the log has it."""

    verdict: Verdict
    order: Order
    inclusion: Inclusion


class ApprovalVerifier:
    """Checks approvals against the keys of the logs; a checkpoint that comes again is not verified again.

    With a policy that has a quorum, an approval waits for witnesses: its own header's checkpoint is signed in the
    transaction that approves, so no witness can have seen it, and it is refused. Whoever wants cosignatures holds the
    approval until a cosigned checkpoint covers it, and gives the proof under that one (`topology/proof.md`).
    """

    def __init__(self, verifiers: Iterable[Verifier], policy: TlogPolicy | None = None) -> None:
        self._proofs = ProofVerifier(verifiers, policy)

    def check(self, value: bytes, headers: Sequence[Header], now_us: int, proof: bytes | None = None) -> Approved:
        """Return the approval of a record that may be acted on at a moment in microseconds UTC.

        `proof`: a later one of the same leaf, in place of the header's.

        Raises: ApprovalRefusedError where it is not an approval, not proven to be in the log, or the order's
        expire_time has passed: whoever sent it may have been told by then that it was not approved.
        """
        approved = self.prove(value, headers, proof)
        expires_us = approved.order.expire_time_us
        if expires_us is not None and expires_us < now_us:
            raise ApprovalRefusedError(f"expire_time: at or after {now_us} us required, is {expires_us} us")
        return approved

    def prove(self, value: bytes, headers: Sequence[Header], proof: bytes | None = None) -> Approved:
        """Return the approval of a record, at whatever time it is read.

        Raises: ApprovalRefusedError where it is not an approval, or not proven to be in the log.
        """
        head, own = find_headers(headers, AUDIT_HEAD, TLOG_PROOF)
        if not head or not own:
            raise ApprovalRefusedError(f"headers {AUDIT_HEAD} and {TLOG_PROOF}: both required")
        try:
            inclusion = self._proofs.verify(head + body_of(value), proof or own)
            verdict = decode_verdict(value)
            event, logged = decode_audit_event(head + body_of(value))
            order = decode_order_body(verdict.order)
        except DecodeError as error:
            raise ApprovalRefusedError(f"approval: {error}") from None
        except PortcullisError as error:
            raise ApprovalRefusedError(f"proof: {error}") from None
        if not verdict.approved or event.event_type != "ORDER_APPROVED" or logged != body_of(value):
            raise ApprovalRefusedError(f"event: an approval required, is {event.event_type}")
        if verdict.log_index != inclusion.index:
            raise ApprovalRefusedError(f"log_index: {inclusion.index} proven, is {verdict.log_index}")
        return Approved(verdict, order, inclusion)
