"""Which lanes share a transaction, what it is fenced by, and whose transactions a worker ends before it takes over."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import GroupAuthorizationFailedError, KafkaError, NodeNotReadyError, UnknownError, for_code

from streams.engine import takeover, transactions
from streams.engine.application import Message
from streams.engine.exits import EngineError, ExitCode
from streams.engine.membership import Membership
from streams.engine.options import EngineOptions
from streams.engine.requests import TxnOffsetCommitRequest, TxnOffsetCommitRequest_v3
from streams.engine.takeover import clear_the_way
from streams.engine.transactions import Share, TransactionWriter
from tests.integration.engine_rig import asynchronous

OPTIONS = EngineOptions(app_id="app", bootstrap_servers="nowhere:9", partitions=4, instance_id="worker-1")
MEMBER = Membership(7, "worker-1-f00d", "worker-1")
LOADING, UNAUTHORIZED, UNSTABLE = 14, 30, 88


class Written(NamedTuple):
    by: str
    places: list[tuple[str, int]]
    offsets: dict[TopicPartition, int]


class Batch:
    def __init__(self) -> None:
        self.messages: list[bytes] = []

    def append(self, *, value: bytes, **_: object) -> object:
        self.messages.append(value)
        return True

    def record_count(self) -> int:
        return len(self.messages)


class Manager:
    """Stands for what aiokafka knows of its transaction."""

    def __init__(self) -> None:
        self.begun = False
        self.announced: set[TopicPartition] = set()

    def is_in_transaction(self) -> bool:
        return self.begun

    def begin_transaction(self) -> None:
        assert not self.begun
        self.begun = True

    def maybe_add_partition_to_txn(self, place: TopicPartition) -> None:
        self.announced.add(place)


class Producer:
    """Stands for aiokafka's: remembers each transaction, in one list for all producers."""

    def __init__(self, transactional_id: str, written: list[Written]) -> None:
        self.transactional_id = transactional_id
        self._txn_manager = Manager()
        self._sender = self
        self.sender_task = asyncio.get_running_loop().create_future()
        self.places: list[tuple[str, int]] = []
        self.offsets: dict[TopicPartition, int] = {}
        self.written = written
        self.error: Exception | None = None
        self.commit_s = 0.0

    def create_batch(self) -> Batch:
        return Batch()

    async def begin_transaction(self) -> None:
        self._txn_manager.begin_transaction()

    async def send_batch(self, _: Batch, topic: str, *, partition: int) -> Any:
        self.places.append((topic, partition))
        done = asyncio.get_running_loop().create_future()
        done.set_result(type("Metadata", (), {"offset": 100 * partition}))
        return done

    async def send_offsets_to_transaction(self, offsets: dict[TopicPartition, int], group_id: str) -> None:
        assert group_id == "app"
        self.offsets.update(offsets)

    async def commit_transaction(self) -> None:
        await asyncio.sleep(self.commit_s)
        if self.error is not None:
            raise self.error
        self.written.append(Written(self.transactional_id, self.places, self.offsets))
        self.places, self.offsets, self._txn_manager.begun = [], {}, False

    async def abort_transaction(self) -> None:
        self._txn_manager.begun = False

    async def stop(self) -> None:
        self.sender_task.cancel()


async def writer(monkeypatch: pytest.MonkeyPatch) -> tuple[TransactionWriter, list[Producer], list[Written]]:
    producers: list[Producer] = []
    written: list[Written] = []

    async def connected(_: object, transactional_id: str, __: object) -> Producer:
        producers.append(Producer(transactional_id, written))
        return producers[-1]

    async def started(_: object) -> None:
        pass

    monkeypatch.setattr(transactions, "connect", connected)
    monkeypatch.setattr(transactions, "start", started)
    monkeypatch.setattr(transactions, "commit_as", lambda *_: None)
    made = TransactionWriter(OPTIONS, ["out"])
    await made.take_over([], MEMBER)
    return made, producers, written


def share(partition: int, *, offset: int = 5) -> Share:
    message = Message(b"k", b"v", [])
    return Share(partition, {"out": [message, message]}, {TopicPartition("in", partition): offset}, 1)


async def decide(made: TransactionWriter, partition: int, seconds: float) -> dict[str, int]:
    with made.deciding():
        await asyncio.sleep(seconds)
    return await made.commit(share(partition))


def test_lanes_that_decide_at_the_same_time_share_a_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynchronous
    async def run() -> None:
        made, _, written = await writer(monkeypatch)
        ends = await asyncio.gather(*(decide(made, number, 0.0005 * number) for number in range(3)))
        assert ends == [{"out": 1}, {"out": 101}, {"out": 201}]
        ((_, places, offsets),) = written
        assert places == [("out", 0), ("out", 1), ("out", 2)]
        assert offsets == {TopicPartition("in", number): 5 for number in range(3)}
        await made.close()

    run()


def test_a_lane_does_not_wait_long_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynchronous
    async def run() -> None:
        made, _, written = await writer(monkeypatch)
        slow = asyncio.create_task(decide(made, 1, 3_600))
        await decide(made, 0, 0)
        assert [places for _, places, _ in written] == [[("out", 0)]]
        slow.cancel()
        await made.close()

    run()


def test_lanes_whose_transaction_has_just_ended_join_the_one_that_waited_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @asynchronous
    async def run() -> None:
        made, producers, written = await writer(monkeypatch)
        for producer in producers:
            producer.commit_s = 0.05

        async def twice(number: int) -> None:
            await decide(made, number, 0)
            await decide(made, number, 0.001)

        async def later() -> None:
            await asyncio.sleep(0.02)
            await decide(made, 2, 0)

        await asyncio.gather(twice(0), twice(1), later())
        assert [sorted(places) for _, places, _ in written] == [
            [("out", 0), ("out", 1)],
            [("out", 0), ("out", 1), ("out", 2)],
        ]
        await made.close()

    run()


def test_the_next_transaction_is_begun_while_batches_follow_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynchronous
    async def run() -> None:
        made, producers, written = await writer(monkeypatch)
        managers = [producer._txn_manager for producer in producers]
        await made.commit(share(0))
        assert [manager.begun for manager in managers] == [False, False]
        await made.commit(share(0, offset=6))
        assert [manager.begun for manager in managers] == [True, False]
        assert managers[0].announced == {TopicPartition("out", 0)}
        await made.close()
        assert [manager.begun for manager in managers] == [False, False]
        assert [by for by, _, _ in written] == ["app-lanes-worker-1-0", "app-lanes-worker-1-1"], "they take turns"

    run()


def test_a_commit_without_answer_fails_all_lanes_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynchronous
    async def run() -> None:
        made, (producer, _), _ = await writer(monkeypatch)
        producer.error = RuntimeError("no answer")
        failed = await asyncio.gather(*(decide(made, number, 0) for number in range(2)), return_exceptions=True)
        assert [cast("EngineError", error).code for error in failed] == [ExitCode.UNCERTAIN_COMMIT] * 2
        await made.close()

    run()


@pytest.mark.parametrize(
    ("cause", "code"),
    [
        # A broker that is ill: seen after one was killed on a busy machine and came back.
        (UnknownError(), ExitCode.BATCH_REFUSED),
        (GroupAuthorizationFailedError(), ExitCode.BATCH_REFUSED),
        (RuntimeError(), ExitCode.LANE_FAILURE),
    ],
)
def test_offsets_that_the_broker_refuses_are_no_bug_of_the_lane(
    monkeypatch: pytest.MonkeyPatch, cause: Exception, code: ExitCode
) -> None:
    async def refused(_: Producer, __: object, ___: str) -> None:
        raise KafkaError("Unexpected error during batch delivery") from cause

    @asynchronous
    async def run() -> None:
        made, _, _ = await writer(monkeypatch)
        monkeypatch.setattr(Producer, "send_offsets_to_transaction", refused)
        (failed,) = await asyncio.gather(decide(made, 0, 0), return_exceptions=True)
        assert cast("EngineError", failed).code is code
        await made.close()

    run()


def test_closing_does_not_wait_for_a_broker_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    async def endless(_: Producer) -> None:
        await asyncio.get_running_loop().create_future()

    @asynchronous
    async def run() -> None:
        made, producers, _ = await writer(monkeypatch)
        for producer in producers:
            producer._txn_manager.begin_transaction()
        monkeypatch.setattr(transactions, "_CLOSE_TIMEOUT_S", 0.01)
        monkeypatch.setattr(Producer, "stop", endless)
        monkeypatch.setattr(Producer, "abort_transaction", endless)
        await asyncio.wait_for(made.close(), 10)

    run()


def test_a_share_without_an_offset_would_not_be_fenced() -> None:
    with pytest.raises(ValueError, match="partition 3: a transaction needs an offset"):
        Share(3, {"out": []}, {}, 1)


def test_offsets_are_committed_as_the_member_of_a_generation() -> None:
    offsets = {TopicPartition("in", 1): 8, TopicPartition("in", 0): 5}
    request = TxnOffsetCommitRequest("app-lanes-worker-1-0", "app", (9, 2), MEMBER, offsets)
    made = request.prepare({28: (0, 5)})
    assert isinstance(made, TxnOffsetCommitRequest_v3)
    assert made.to_object() == {
        "transactional_id": "app-lanes-worker-1-0",
        "group_id": "app",
        "producer_id": 9,
        "producer_epoch": 2,
        "generation_id": 7,
        "member_id": "worker-1-f00d",
        "group_instance_id": "worker-1",
        "topics": [
            {
                "name": "in",
                "partitions": [
                    {
                        "partition": number,
                        "committed_offset": offset,
                        "committed_leader_epoch": -1,
                        "committed_metadata": "",
                        "tags": {},
                    }
                    for number, offset in ((0, 5), (1, 8))
                ],
                "tags": {},
            }
        ],
        "tags": {},
    }


class Node(NamedTuple):
    nodeId: int  # noqa: N815 - aiokafka's name


@dataclass
class Answer:
    """Any response: the fields that a test gives it."""

    error_code: int = 0
    transaction_states: Sequence[tuple[str, int, str, dict[int, bytes]]] = ()
    groups: Sequence[Any] = ()
    topics: Sequence[Any] = ()


@dataclass
class Brokers:
    """Stands for aiokafka's client and sender: what each request is answered, the last answer for ever."""

    answers: dict[str, list[Answer | KafkaError]]
    asked: list[str] = field(default_factory=list)
    cluster: Any = None
    fenced: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cluster = self
        self.client = self._sender = self

    def brokers(self) -> list[Node]:
        return [Node(1)]

    async def force_metadata_update(self) -> None:
        pass

    async def _find_coordinator(self, *_: object) -> int:
        return 1

    def _coordinator_dead(self, *_: object) -> None:
        pass

    async def send(self, _: int, request: object, **_options: object) -> Answer:
        name = type(request).__name__
        self.asked.append(name)
        answers = self.answers[name]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, KafkaError):
            raise answer
        return answer


def open_transactions(*transactional_ids: str) -> Answer:
    return Answer(transaction_states=[(found, 1, "Ongoing", {}) for found in transactional_ids])


def members(*client_ids: str) -> Answer:
    return Answer(groups=[(0, "app", "Stable", "", "", [(f"{name}-1", name, "", b"", b"") for name in client_ids])])


def offsets(code: int = 0) -> Answer:
    return Answer(topics=[("in", [(2, 5, -1, "", code, {})], {})])


@pytest.fixture
def clear(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Brokers]:
    def cleared(
        listed: list[Answer | KafkaError], offset: list[Answer | KafkaError], described: Answer | None = None
    ) -> Brokers:
        answers = {
            "ListTransactionsRequest": listed,
            "StableOffsetFetchRequest": offset,
            "DescribeGroupsRequest": [described or members()],
        }
        brokers = Brokers(cast("Any", answers))

        async def fence(_: object, transactional_id: str) -> None:
            brokers.fenced.append(transactional_id)
            listed[:] = [open_transactions()]

        monkeypatch.setattr(takeover, "_fence", fence)
        asyncio.run(clear_the_way(brokers, OPTIONS, [TopicPartition("in", 2)]))
        return brokers

    return cleared


def test_only_transactions_of_workers_that_are_no_members_are_ended(clear: Callable[..., Brokers]) -> None:
    mine, member, killed = "app-lanes-worker-1", "app-lanes-worker-2", "app-lanes-worker-3"
    names = [f"{worker}-{turn}" for worker in (mine, member, killed, "other-lanes-worker-3") for turn in range(2)]
    brokers = clear([open_transactions(*names, "app-of-others")], [offsets()], members(mine, member))
    assert brokers.fenced == [f"{killed}-0", f"{killed}-1"]


def test_nobody_asks_who_is_a_member_where_no_transaction_is_open(clear: Callable[..., Brokers]) -> None:
    brokers = clear([open_transactions("app-lanes-worker-1-1")], [offsets()])
    assert brokers.asked == ["ListTransactionsRequest", "StableOffsetFetchRequest"]


def test_offsets_are_waited_for_until_no_transaction_can_change_them(clear: Callable[..., Brokers]) -> None:
    brokers = clear([open_transactions()], [offsets(UNSTABLE), offsets(UNSTABLE), offsets()])
    assert brokers.asked.count("StableOffsetFetchRequest") == 3
    assert brokers.asked.count("ListTransactionsRequest") == 3, "its writer may have died meanwhile"


def test_brokers_that_cannot_tell_yet_are_asked_again(clear: Callable[..., Brokers]) -> None:
    loading = Answer(error_code=LOADING)
    brokers = clear([loading, NodeNotReadyError(), open_transactions()], [loading, NodeNotReadyError(), offsets()])
    assert brokers.asked == ["ListTransactionsRequest"] * 3 + ["StableOffsetFetchRequest"] * 3


@pytest.mark.parametrize("refused", [Answer(error_code=UNAUTHORIZED), offsets(UNAUTHORIZED)])
def test_a_broker_that_refuses_to_tell_is_an_error(clear: Callable[..., Brokers], refused: Answer) -> None:
    assert for_code(UNAUTHORIZED) is GroupAuthorizationFailedError
    with pytest.raises(GroupAuthorizationFailedError):
        clear([open_transactions()], [refused])
