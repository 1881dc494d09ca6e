"""One order from request to answer, each Idempotency-Key once; what times out is cancelled and never an approval.

An order ends (`expire_time`) before its request times out, by more than clocks may differ. After it neither gate nor
venue acts on it; so when the time-out is answered, an approval that nobody has seen yet can no longer reach a venue.
Should one have reached it in time but be seen here too late, the cancellation sent at the end takes it back.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from streams.client import cancel
from streams.client.hsm import SignerUnavailableError
from streams.client.link import DeadLetteredError, NotSentError
from streams.core.errors import PortcullisError
from streams.core.orders import MsgType
from streams.enforcer.documents import read_order, verdict_document
from streams.enforcer.limiter import RateLimiter
from streams.enforcer.problems import Decision, Problem, ProblemError, rejection
from streams.wire.signed_orders import sign_order

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

    from streams.client.link import Answer, OrderLink
    from streams.core.orders import Order
    from streams.wire.signed_orders import OrderSigner, WireMessage

CLOCK_TOLERANCE_S: Final = 0.1
KEPT_MAX: Final = 100_000
_KEPT_US: Final = 24 * 3_600_000_000
_US: Final = 1_000_000
_RETIRE_S: Final = 60.0  # after it nobody waits for a late verdict
# Where nothing left for the cluster, the same key may be used for another try.
_NOT_SENT: Final = frozenset({Problem.SIGNER_UNAVAILABLE, Problem.RATE_LIMITED, Problem.ORDER_MALFORMED})


@dataclass(slots=True)
class Submission:
    """An order that was sent here, and what is known of it."""

    order: Order
    fingerprint: bytes
    response: asyncio.Future[tuple[int, dict[str, Any]]]
    decision: Decision = Decision.UNKNOWN
    verdict: dict[str, Any] | None = None
    late: bool = False
    cancel_cl_ord_id: str | None = None

    def document(self) -> dict[str, Any]:
        """Return what is known, for its own bot."""
        return {
            "cl_ord_id": self.order.cl_ord_id,
            "decision": self.decision.value,
            "timed_out": self.late,
            "verdict": self.verdict,
            "cancel_cl_ord_id": self.cancel_cl_ord_id,
        }


@dataclass(slots=True)
class AgentFigures:
    """What the answers through this enforcer say of a bot."""

    requests: int = 0
    approved: int = 0
    timed_out: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    last_verdict: dict[str, Any] | None = None


class Submissions:
    """Signs, sends and answers; all methods run on one event loop."""

    def __init__(
        self,
        link: OrderLink,
        signers: Mapping[str, OrderSigner],
        *,
        timeout_s: float,
        rate_max_per_s: int,
        clock_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._link, self._signers, self._clock_us = link, signers, clock_us
        self._timeout_s = timeout_s
        self._limiter = RateLimiter(rate_max_per_s)
        self._by_key: OrderedDict[tuple[str, str], Submission] = OrderedDict()
        self._by_id: dict[tuple[str, str], Submission] = {}
        self.figures = {agent_id: AgentFigures() for agent_id in signers}

    async def submit(self, agent_id: str, key: str, body: bytes, traceparent: str = "") -> tuple[int, dict[str, Any]]:
        """Return the status and document that answer a request; the same for the same key and body.

        Raises: ProblemError where the request itself does not hold.
        """
        now_us = self._clock_us()
        fingerprint = sha256(body).digest()
        known = self._by_key.get((agent_id, key))
        if known is not None:
            if known.fingerprint != fingerprint:
                raise ProblemError(Problem.IDEMPOTENCY_KEY_REUSED)
            return await asyncio.shield(known.response)
        if not self._limiter.admits(agent_id, now_us):
            raise ProblemError(Problem.RATE_LIMITED)
        expire_us = now_us + round((self._timeout_s - CLOCK_TOLERANCE_S) * _US)
        derived = sha256(f"{agent_id} {key}".encode()).hexdigest()[:32]
        order = read_order(body, agent_id, derived, now_us, expire_us)
        submission = Submission(order, fingerprint, asyncio.get_running_loop().create_future())
        self._keep(agent_id, key, submission)
        figures = self.figures[agent_id]
        figures.requests += 1
        try:
            status, document = 200, await self._decide(submission, figures, traceparent)
        except ProblemError as error:
            status, document = error.status, error.body() | {"cl_ord_id": order.cl_ord_id}
            if error.problem in _NOT_SENT or error.members.get("sent") is False:
                self._forget(agent_id, key)
        except BaseException:
            self._forget(agent_id, key)
            submission.response.cancel()
            raise
        submission.response.set_result((status, document))
        return status, document

    def find(self, agent_id: str, cl_ord_id: str) -> Submission | None:
        """Return an order of this bot that was sent here."""
        return self._by_id.get((agent_id, cl_ord_id))

    async def _decide(self, submission: Submission, figures: AgentFigures, traceparent: str) -> dict[str, Any]:
        """Send the order and wait; return the approval. Raises: ProblemError for everything else."""
        started_s = asyncio.get_running_loop().time()
        future = self._link_send(await self._signed(submission.order, traceparent))
        waiting = asyncio.wrap_future(future)
        left_s = self._timeout_s - CLOCK_TOLERANCE_S - (asyncio.get_running_loop().time() - started_s)
        await asyncio.wait([waiting], timeout=max(0.0, left_s))
        if not waiting.done():
            waiting.add_done_callback(lambda done: self._note_late(submission, done))
            asyncio.get_running_loop().call_later(_RETIRE_S, waiting.cancel)
            await self._time_out(submission, figures, started_s)
        try:
            answer = waiting.result()
        except NotSentError as error:
            await self._time_out(submission, figures, started_s, Problem.CLUSTER_UNAVAILABLE, str(error))
        except DeadLetteredError as error:
            submission.decision = Decision.REJECTED
            raise ProblemError(Problem.ORDER_UNREADABLE, str(error)) from None
        except PortcullisError as error:
            await self._cancel(submission)
            raise ProblemError(Problem.PROOF_REFUSED, str(error)) from None
        return self._answered(submission, figures, answer)

    def _answered(self, submission: Submission, figures: AgentFigures, answer: Answer) -> dict[str, Any]:
        document = verdict_document(answer.verdict, answer.inclusion)
        submission.verdict, submission.decision = document, Decision(document["decision"])
        figures.last_verdict = document
        if answer.approved:
            figures.approved += 1
            return document
        reason = answer.verdict.reason
        figures.rejected[reason.value] = figures.rejected.get(reason.value, 0) + 1
        raise rejection(reason, document)

    async def _time_out(
        self,
        submission: Submission,
        figures: AgentFigures,
        started_s: float,
        problem: Problem = Problem.VERDICT_TIMEOUT,
        detail: str = "",
    ) -> None:
        """Cancel the order, wait until it has ended on every clock, and answer. Raises: ProblemError."""
        figures.timed_out += 1
        submission.late = True
        await self._cancel(submission)
        ends_s = started_s + self._timeout_s
        await asyncio.sleep(max(0.0, ends_s - asyncio.get_running_loop().time()))
        raise ProblemError(problem, detail, reason=problem.name)

    async def _cancel(self, submission: Submission) -> None:
        """Ask for the cancellation of an order that may be approved unseen; nobody waits for its verdict."""
        if submission.order.msg_type is MsgType.ORDER_CANCEL_REQUEST or submission.cancel_cl_ord_id is not None:
            return
        request = cancel(submission.order)
        submission.cancel_cl_ord_id = request.cl_ord_id
        try:
            future = self._link_send(await self._signed(request))
            asyncio.get_running_loop().call_later(_RETIRE_S, future.cancel)
        except ProblemError:
            submission.cancel_cl_ord_id = None

    def _note_late(self, submission: Submission, done: asyncio.Future[Answer]) -> None:
        """Keep a verdict that came after the answer, so that the bot can look it up."""
        if not done.cancelled() and done.exception() is None:
            answer = done.result()
            submission.verdict = verdict_document(answer.verdict, answer.inclusion)

    def _link_send(self, message: WireMessage) -> Future[Answer]:
        try:
            return self._link.send(message)
        except NotSentError as error:
            raise ProblemError(
                Problem.CLUSTER_UNAVAILABLE, str(error), sent=False, decision=Decision.REJECTED
            ) from None

    async def _signed(self, order: Order, traceparent: str = "") -> WireMessage:
        signer = self._signers[order.agent_id]
        try:
            if signer.waits:
                return await asyncio.to_thread(sign_order, order, signer, traceparent=traceparent)
            return sign_order(order, signer, traceparent=traceparent)
        except SignerUnavailableError as error:
            raise ProblemError(Problem.SIGNER_UNAVAILABLE, str(error)) from None

    def _keep(self, agent_id: str, key: str, submission: Submission) -> None:
        self._by_key[agent_id, key] = submission
        self._by_id[agent_id, submission.order.cl_ord_id] = submission
        oldest_us = self._clock_us() - _KEPT_US
        while self._by_key:
            first_key, first = next(iter(self._by_key.items()))
            if len(self._by_key) <= KEPT_MAX and first.order.transact_time_us >= oldest_us:
                break
            self._forget(*first_key)

    def _forget(self, agent_id: str, key: str) -> None:
        submission = self._by_key.pop((agent_id, key), None)
        if submission is not None:
            self._by_id.pop((agent_id, submission.order.cl_ord_id), None)
