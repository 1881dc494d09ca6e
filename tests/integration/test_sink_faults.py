"""The sink when the warehouse fails: nothing lost, nothing twice, nothing skipped, whatever fails and when."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from clickhouse_connect.driver.exceptions import OperationalError
from confluent_kafka import OFFSET_BEGINNING, KafkaError, TopicPartition

from streams.names import Topic
from streams.warehouse.columns import expected_row, read_rows
from streams.warehouse.connection import connect
from streams.warehouse.sink import Sink, SinkError, SinkOptions, SinkStoppedError
from streams.warehouse.store import Store
from streams.wire.avro import Schema, decode, decode_body, encode, encode_body, prefix
from tests.made_log import make_leaf, make_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from clickhouse_connect.driver.client import Client

pytestmark = pytest.mark.integration

LOGS = [make_log(partition, 120) for partition in range(2)]
OPTIONS = SinkOptions("unused", topic_prefix="t.", flush_ms=0)


def lots(seed: int) -> random.Random:
    return random.Random(seed)


@dataclass
class Message:
    """A consumer's message."""

    topic_name: str
    number: int
    place: int
    content: bytes | None = None
    failure: KafkaError | None = None

    def topic(self) -> str:
        return self.topic_name

    def partition(self) -> int:
        return self.number

    def offset(self) -> int:
        return self.place

    def error(self) -> KafkaError | None:
        return self.failure

    def value(self) -> bytes | None:
        return self.content

    def key(self) -> bytes:
        return b"key"

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_767_225_600_000 + self.place


@dataclass
class Source:
    """A consumer of given messages; every second offset is a gap, as transactions leave them."""

    messages: list[Message]
    draw: random.Random
    starts: dict[tuple[str, int], int] = field(default_factory=dict)

    def assign(self, partitions: list[TopicPartition]) -> None:
        starts = {(place.topic, place.partition): place.offset for place in partitions}
        self.messages = [m for m in self.messages if m.place >= starts[m.topic_name, m.number]]
        self.starts = starts

    def consume(self, num_messages: int = 1, timeout: float = -1) -> Any:
        del timeout
        count = min(self.draw.randrange(40), num_messages)
        taken, self.messages = self.messages[:count], self.messages[count:]
        return taken


@dataclass
class FaultyClient:
    """A client whose answers get lost: before the warehouse heard the question, or after it did what was asked."""

    client: Client
    fails: Callable[[], str]
    failures: int = 0

    def raw_insert(self, *arguments: Any) -> object:
        return self._call(lambda: self.client.raw_insert(*arguments))

    def query(self, *arguments: Any) -> Any:
        return self._call(lambda: self.client.query(*arguments))

    def close(self) -> None:
        self.client.close()

    def _call(self, action: Callable[[], Any]) -> Any:
        fault = self.fails()
        if fault != "before":
            answer = action()
        if fault:
            self.failures += 1
            raise OperationalError(f"connection lost {fault}")
        return answer


def messages_of(draw: random.Random) -> list[Message]:
    """Return the logs' leaves and notes, partitions mixed, each partition in order."""
    lanes = [
        [Message(f"t.{topic}", log.partition, 2 * i, value) for i, value in enumerate(values)]
        for log in LOGS
        for topic, values in ((Topic.AUDIT_EVENTS, log.leaves), (Topic.AUDIT_CHECKPOINTS, log.notes))
    ]
    mixed = []
    while lanes := [lane for lane in lanes if lane]:
        lane = draw.choice(lanes)
        mixed += lane[:9]
        del lane[:9]
    return mixed


def partitions() -> dict[str, int]:
    return {Topic.AUDIT_EVENTS: 2, Topic.AUDIT_CHECKPOINTS: 2}


def drain(source: Source, store: Store) -> None:
    sink = Sink(source, store, OPTIONS, partitions())
    while source.messages:
        sink.step()
    sink.flush()


def stored(client: Client) -> dict[int, list[bytes]]:
    return {log.partition: [leaf for leaf, _ in read_rows(client, log.partition)] for log in LOGS}


@pytest.fixture
def dsn(tmp_path: Path) -> str:
    return f"chdb://{tmp_path}/warehouse"


@pytest.fixture
def client(dsn: str) -> Iterator[Client]:
    Store.open(dsn).close()
    client = connect(dsn)
    yield client
    client.close()


@pytest.mark.parametrize("seed", range(3))
def test_lost_answers_lose_and_repeat_nothing(client: Client, seed: int) -> None:
    draw = lots(seed)
    waits: list[float] = []
    faulty = FaultyClient(client, lambda: draw.choice(["", "", "before", "after"]))
    drain(Source(messages_of(draw), draw), Store(faulty, pause=waits.append))
    assert faulty.failures > 10
    assert len(waits) == faulty.failures
    assert stored(client) == {log.partition: list(log.leaves) for log in LOGS}
    (notes,) = client.query("SELECT count(), uniqExact(note) FROM audit_checkpoints").result_rows
    assert notes == (36, 36)


@pytest.mark.parametrize("seed", range(3))
def test_a_sink_that_dies_anywhere_goes_on_where_the_rows_end(client: Client, seed: int) -> None:
    draw = lots(seed)
    everything = messages_of(draw)
    deaths = 0

    def die(_: float) -> None:
        raise SinkStoppedError("dead")

    while True:
        faulty = FaultyClient(client, lambda: draw.choice([*[""] * 12, "before", "after"]))
        source = Source(list(everything), draw)
        try:
            drain(source, Store(faulty, pause=die))
            break
        except SinkStoppedError:
            deaths += 1
    assert deaths > 5
    assert stored(client) == {log.partition: list(log.leaves) for log in LOGS}


def test_two_sinks_at_once_store_each_row_once(dsn: str, client: Client) -> None:
    draw = lots(1)
    sources = [Source(messages_of(lots(seed)), draw) for seed in range(2)]
    with closing(Store.open(dsn)) as one, closing(Store.open(dsn)) as other:
        sinks = [
            Sink(source, store, OPTIONS, partitions()) for source, store in zip(sources, (one, other), strict=True)
        ]
        while any(source.messages for source in sources):
            draw.choice(sinks).step()
        for sink in sinks:
            sink.flush()
    assert stored(client) == {log.partition: list(log.leaves) for log in LOGS}


@pytest.mark.parametrize("first", range(0, 9, 3))
def test_sinks_in_threads_store_each_row_once(dsn: str, client: Client, first: int) -> None:
    def run(seed: int) -> None:
        store = Store.open(dsn)
        drain(Source(messages_of(lots(seed)), lots(seed)), store)
        store.close()

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(first, first + 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stored(client) == {log.partition: list(log.leaves) for log in LOGS}


def test_a_token_whose_rows_a_crash_took_does_not_stop_the_sink(client: Client) -> None:
    store = Store(client)
    drain(Source(messages_of(lots(1))[:100], lots(1)), store)
    # The rows go as if the process had died between writing the token and the part.
    client.command("TRUNCATE TABLE audit_events")
    drain(Source(messages_of(lots(1)), lots(1)), Store(client))
    assert stored(client) == {log.partition: list(log.leaves) for log in LOGS}


def test_a_sink_stops_at_once_while_the_warehouse_is_down(client: Client) -> None:
    stop = threading.Event()

    def pause(_: float) -> None:
        stop.set()
        raise SinkStoppedError("stopped")

    down = False
    faulty = FaultyClient(client, lambda: "before" if down else "")
    source = Source(messages_of(lots(1)), lots(1))
    sink = Sink(source, Store(faulty, pause=pause), OPTIONS, partitions())
    down = True
    sink.run(stop)
    assert all(not leaves for leaves in stored(client).values())


def test_records_that_cannot_be_read_are_kept_and_the_others_stored(client: Client) -> None:
    leaves = list(LOGS[0].leaves[:20])
    leaves[3] = leaves[3][:-1]
    leaves[11] = prefix(Schema.AUDIT_EVENT) + b"\xff" * 30
    leaves[12] = b"junk"
    source = Source([Message("t.audit.events", 0, i, leaf) for i, leaf in enumerate(leaves)], lots(1))
    drain(source, Store(client))
    kept = client.query(
        "SELECT kafka_offset, value, error FROM unreadable_records ORDER BY kafka_offset",
        query_formats={"String": "bytes"},
    ).result_rows
    assert [(offset, value) for offset, value, _ in kept] == [(i, leaves[i]) for i in (3, 11, 12)]
    assert all(error for *_, error in kept)
    assert stored(client)[0] == [leaf for i, leaf in enumerate(leaves) if i not in {3, 11, 12}]


def test_a_number_spelled_longer_than_clickhouse_reads_is_still_a_row(client: Client) -> None:
    # A bot may pad an order's number; our decoder reads it, so the gate decides it and the log has it.
    leaf = LOGS[0].leaves[0]
    event = decode(Schema.AUDIT_EVENT, leaf)
    verdict = decode_body(Schema.VERDICT, event["verdict"])
    padded = verdict["order"].replace(b"\x08XOFF", b"\x88" + b"\x80" * 12 + b"\x00XOFF")
    assert padded != verdict["order"]
    event["verdict"] = encode_body(Schema.VERDICT, {**verdict, "order": padded})
    odd = encode(Schema.AUDIT_EVENT, event)
    source = Source([Message("t.audit.events", 0, i, value) for i, value in enumerate([leaf, odd])], lots(1))
    drain(source, Store(client))
    rows = list(read_rows(client, 0))
    assert [found for found, _ in rows] == [leaf, odd]
    assert [row for _, row in rows] == [expected_row(leaf), expected_row(odd)]


def test_where_to_begin(client: Client) -> None:
    store = Store(client)
    drain(Source([Message("t.audit.events", 1, 8, LOGS[1].leaves[0])], lots(1)), store)
    source = Source([], lots(1))
    Sink(source, Store(client), OPTIONS, partitions())
    assert source.starts["t.audit.events", 1] == 9
    assert source.starts["t.audit.events", 0] == OFFSET_BEGINNING


def test_records_deleted_before_they_were_stored_stop_the_sink(client: Client) -> None:
    lost = Message("t.audit.events", 0, 7, failure=KafkaError(KafkaError._AUTO_OFFSET_RESET, "out of range"))
    sink = Sink(Source([lost] * 50, lots(1)), Store(client), OPTIONS, partitions())
    with pytest.raises(SinkError, match=r"t\.audit\.events/0, offset 7: out of range"):
        sink.run(threading.Event())


def test_a_broker_that_is_away_for_a_while_costs_nothing(client: Client) -> None:
    away = KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION, "the leader moves")
    leaves = LOGS[0].leaves[:4]
    messages = [Message("t.audit.events", 0, i, leaf) for i, leaf in enumerate(leaves)]
    messages[2:2] = [Message("t.audit.events", 0, 2, failure=away)] * 3
    drain(Source(messages, lots(1)), Store(client))
    assert stored(client)[0] == list(leaves)


def test_offsets_that_go_back_stop_the_sink(client: Client) -> None:
    messages = [Message("t.audit.events", 0, offset, LOGS[0].leaves[0]) for offset in (4, 3)]
    sink = Sink(Source(messages, lots(1)), Store(client), OPTIONS, partitions())
    with pytest.raises(SinkError, match=r"t\.audit\.events/0: offset 3 after 4"):
        sink.run(threading.Event())


def test_a_killed_process_loses_and_repeats_nothing(tmp_path: Path) -> None:
    draw = lots(3)
    count, kills = 1_000, 0
    for _ in range(40):
        victim = subprocess.Popen(
            [sys.executable, __file__, f"chdb://{tmp_path}/killed", str(count)], stdout=subprocess.PIPE
        )
        with victim:
            assert victim.stdout is not None
            if victim.stdout.readline() != b"open\n":
                break
            time.sleep(draw.random() / 4)
            if victim.poll() is None and kills < 4:
                victim.send_signal(signal.SIGKILL)
                kills += 1
            elif victim.wait(60) == 0:
                break
    assert kills >= 3
    client = connect(f"chdb://{tmp_path}/killed")
    found = list(read_rows(client, 0))
    client.close()
    assert [row["log_index"] for _, row in found] == list(range(count))
    assert [row for _, row in found] == [expected_row(leaf) for leaf, _ in found]


def victim(dsn: str, count: int) -> None:
    """Store a log of so many leaves, ten at a time; the test above kills this process."""
    draw = lots(5)
    leaves = [make_leaf(draw, 0, index) for index in range(count)]
    source = Source([Message("t.audit.events", 0, i, leaf) for i, leaf in enumerate(leaves)], draw)
    store = Store.open(dsn)
    sys.stdout.write("open\n")
    sys.stdout.flush()
    drain(source, store)
    store.close()


if __name__ == "__main__":
    victim(sys.argv[1], int(sys.argv[2]))
