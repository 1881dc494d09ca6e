"""Everything that is not an approval, as problem details; the set is closed. Source: RFC 9457."""

from __future__ import annotations

from enum import StrEnum, unique
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from streams.core.errors import PortcullisError
from streams.core.reasons import RULES, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:portcullis:problem:"


@unique
class Problem(StrEnum):
    """Why a request was not answered with an approval."""

    CERTIFICATE_REQUIRED = "certificate-required"
    CERTIFICATE_REFUSED = "certificate-refused"
    NOT_YOUR_BOT = "not-your-bot"
    NOT_FOUND = "not-found"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    IDEMPOTENCY_KEY_REQUIRED = "idempotency-key-required"
    IDEMPOTENCY_KEY_REUSED = "idempotency-key-reused"
    BODY_TOO_LARGE = "body-too-large"
    MEDIA_TYPE_UNSUPPORTED = "media-type-unsupported"
    ORDER_MALFORMED = "order-malformed"
    RATE_LIMITED = "rate-limited"
    ORDER_REJECTED = "order-rejected"
    ORDER_UNREADABLE = "order-unreadable"
    PROOF_REFUSED = "proof-refused"
    SIGNER_UNAVAILABLE = "signer-unavailable"
    CLUSTER_UNAVAILABLE = "cluster-unavailable"
    VERDICT_TIMEOUT = "verdict-timeout"


@unique
class Decision(StrEnum):
    """What is known of an order when it is answered; only APPROVED may be acted on."""

    APPROVED = "APPROVED"
    REJECTED = "REJECTED"
    UNKNOWN = "UNKNOWN"


class ProblemRule(NamedTuple):
    """Status, title, and what the problem says of the order."""

    status: int
    title: str
    decision: Decision


_NO, _WHO_KNOWS = Decision.REJECTED, Decision.UNKNOWN
PROBLEMS: Final[Mapping[Problem, ProblemRule]] = {
    Problem.CERTIFICATE_REQUIRED: ProblemRule(401, "A client certificate is required", _NO),
    Problem.CERTIFICATE_REFUSED: ProblemRule(401, "The client certificate does not hold", _NO),
    Problem.NOT_YOUR_BOT: ProblemRule(403, "The certificate is of a bot that may not do this here", _NO),
    Problem.NOT_FOUND: ProblemRule(404, "There is nothing of this name", _NO),
    Problem.METHOD_NOT_ALLOWED: ProblemRule(405, "The method is not allowed here", _NO),
    Problem.IDEMPOTENCY_KEY_REQUIRED: ProblemRule(400, "The header Idempotency-Key is required", _NO),
    Problem.IDEMPOTENCY_KEY_REUSED: ProblemRule(409, "The Idempotency-Key was used with another order", _NO),
    Problem.BODY_TOO_LARGE: ProblemRule(413, "The body is too large", _NO),
    Problem.MEDIA_TYPE_UNSUPPORTED: ProblemRule(415, "The body must be application/json", _NO),
    Problem.ORDER_MALFORMED: ProblemRule(422, "The order is not well formed", _NO),
    Problem.RATE_LIMITED: ProblemRule(429, "Too many requests", _NO),
    Problem.ORDER_REJECTED: ProblemRule(403, "The gate rejected the order", _NO),
    Problem.ORDER_UNREADABLE: ProblemRule(502, "The gate could not read the order", _NO),
    Problem.PROOF_REFUSED: ProblemRule(502, "An approval came without a valid proof; it does not count", _WHO_KNOWS),
    Problem.SIGNER_UNAVAILABLE: ProblemRule(503, "The signing key cannot be used now", _NO),
    Problem.CLUSTER_UNAVAILABLE: ProblemRule(503, "The cluster does not answer", _WHO_KNOWS),
    Problem.VERDICT_TIMEOUT: ProblemRule(
        504, "No verdict came in time; the order does not count as approved", _WHO_KNOWS
    ),
}
# Statuses of the gate's own reasons, where they differ from ORDER_REJECTED's.
REASON_STATUS: Final[Mapping[Reason, int]] = {Reason.DUPLICATE_ORDER: 409, Reason.MESSAGE_RATE_EXCEEDED: 429}


class ProblemError(PortcullisError):
    """A request that is answered with a problem."""

    def __init__(self, problem: Problem, detail: str = "", **members: Any) -> None:  # noqa: ANN401 - any JSON
        super().__init__(f"{problem}: {detail}")
        self.problem, self.detail, self.members = problem, detail, members

    @property
    def status(self) -> int:
        """Return the HTTP status."""
        return int(self.members.get("status", PROBLEMS[self.problem].status))

    def body(self) -> dict[str, Any]:
        """Return the problem's members."""
        rule = PROBLEMS[self.problem]
        found = {
            "type": TYPE_PREFIX + self.problem,
            "title": rule.title,
            "status": rule.status,
            "decision": rule.decision.value,
        }
        if self.detail:
            found["detail"] = self.detail
        return found | self.members


def rejection(reason: Reason, verdict: dict[str, Any]) -> ProblemError:
    """Return the problem of an order that the gate rejected, with the verdict in it."""
    status = REASON_STATUS.get(reason, PROBLEMS[Problem.ORDER_REJECTED].status)
    return ProblemError(Problem.ORDER_REJECTED, RULES[reason].text, status=status, reason=reason.value, verdict=verdict)
