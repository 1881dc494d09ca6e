"""The real worker, killed under load: each order has one answer and one leaf, and nothing left a transaction."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from streams.audit.verify import verify_log, verify_timed_log
from streams.clock import now_us
from streams.engine.changelog import changelog_topic
from streams.kafka.reading import Stored, read_all
from streams.names import Topic
from streams.rig.crew import Member
from streams.rig.exchange import Exchange
from streams.rig.ledger import Ledger
from streams.rig.stage import Stage, open_stage
from streams.rig.steady import SteadyLoad
from streams.settings import Settings
from streams.sim.fleet import fleet
from streams.sim.tape import BUNDLED_TAPE, read_tape
from streams.wire.avro import Schema, decode
from streams.wire.decisions import decode_verdict
from streams.wire.headers import SOURCE_OFFSET, find_header
from streams.wire.log_keys import log_keys, rotate
from streams.wire.note import NoteError, Verifier, verify_note
from tests.floor import UNHURRIED_MS
from tests.integration.engine_rig import batches_of, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

KILLS = 3
VERDICTS = (Topic.ORDERS_APPROVED, Topic.ORDERS_REJECTED)
WRITTEN = (
    *VERDICTS,
    Topic.ORDERS_DEAD_LETTER,
    Topic.AUDIT_EVENTS,
    Topic.AUDIT_CHECKPOINTS,
    Topic.RISK_ALERTS,
    Topic.REPORTS_REGULATOR,
)
ORDER_EVENTS = {"ORDER_APPROVED", "ORDER_REJECTED", "ORDER_DEAD_LETTERED"}


@pytest.fixture(scope="module")
def stage(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Yield a stage on which a worker was killed several times, and everything sent was answered."""
    ticks = list(read_tape(BUNDLED_TAPE))
    settings = Settings(kafka_bootstrap_servers=kafka, fetch_wait_ms_min=UNHURRIED_MS)
    with open_stage(tmp_path_factory.mktemp("kills"), settings, ticks, fleet(20)) as stage:
        exchange = Exchange(stage.settings, stage.markets, stage.verifiers(), stage.operators())
        ledger = Ledger(stage.settings, stage.verifiers())
        load = SteadyLoad(stage, exchange, ticks, seed=11, rate=120)
        worker = Member("worker-1", "worker", replace(stage.settings, instance_id="worker-1"), stage.folder / "logs")
        exchange.start()
        ledger.start()
        worker.start()
        try:
            load.start()
            kill_often(worker, ledger, stage)
            load.stop()
            exchange.stop()
            assert wait_until(lambda: all_answered(ledger, load.acknowledged), 30), worker.log()
            assert worker.stop() == 0
        finally:
            worker.kill()
            ledger.stop()
        yield stage


def kill_often(worker: Member, ledger: Ledger, stage: Stage) -> None:
    rng = random.Random(20262)
    since_us = now_us()
    for number in range(KILLS):
        assert wait_until(lambda since=since_us: resumed(ledger, stage, since), 30), worker.log()  # type: ignore[misc]
        time.sleep(rng.uniform(0, 1))
        _, since_us = worker.kill()
        if number == KILLS // 2:
            # Between a worker's end and its next start the logs get new keys, and the old ones count on.
            rotate(stage.settings.pki, now_us=now_us(), overlap_us=3_600_000_000)
        worker.start()
    assert wait_until(lambda: resumed(ledger, stage, since_us), 30), worker.log()


def resumed(ledger: Ledger, stage: Stage, since_us: int) -> bool:
    return all(ledger.resumed_us(partition, since_us) for partition in range(stage.partitions))


def all_answered(ledger: Ledger, acknowledged: int) -> bool:
    ledger.check()
    ends = ledger.requested()
    return sum(ends.values()) == acknowledged and ledger.unanswered(ends) == 0


@pytest.fixture(scope="module")
def topics(stage: Stage) -> dict[Topic, list[Stored]]:
    """Return what a read-committed stranger reads."""
    names = [stage.topic(topic) for topic in (*WRITTEN, Topic.ORDERS_REQUESTED)]
    prefix = stage.settings.topic_prefix
    topics: dict[Topic, list[Stored]] = {Topic(name.removeprefix(prefix)): [] for name in names}
    for record in read_all(stage.settings.kafka_bootstrap_servers, names, {}):
        topics[Topic(record.topic.removeprefix(prefix))].append(record)
    return topics


def test_each_request_has_one_verdict_or_dead_letter(topics: dict[Topic, list[Stored]]) -> None:
    requests = {(record.partition, record.offset) for record in topics[Topic.ORDERS_REQUESTED]}
    answers: Counter[tuple[int, int]] = Counter()
    for topic in VERDICTS:
        for record in topics[topic]:
            verdict = decode_verdict(record.value)
            answers[verdict.request_partition, verdict.request_offset] += 1
    for record in topics[Topic.ORDERS_DEAD_LETTER]:
        answers[record.partition, int(find_header(record.headers, SOURCE_OFFSET))] += 1
    assert len(requests) > 500
    assert answers == Counter(requests)


def test_each_request_has_one_audit_event(topics: dict[Topic, list[Stored]]) -> None:
    requests = Counter((record.partition, record.offset) for record in topics[Topic.ORDERS_REQUESTED])
    events: Counter[tuple[int, int]] = Counter()
    for record in topics[Topic.AUDIT_EVENTS]:
        event = decode(Schema.AUDIT_EVENT, record.value)
        if event["event_type"] in ORDER_EVENTS:
            events[record.partition, event["source_offset"]] += 1
    assert events == requests


def test_logs_go_on_where_the_killed_worker_left_them(stage: Stage, topics: dict[Topic, list[Stored]]) -> None:
    for number in range(stage.partitions):
        report = verify_log(
            [record.value for record in topics[Topic.AUDIT_EVENTS] if record.partition == number],
            [record.value for record in topics[Topic.AUDIT_CHECKPOINTS] if record.partition == number],
            stage.verifiers(),
            origin=f"{stage.settings.log_origin}/{number}",
        )
        assert report.problems == ()
        assert report.leaves > 0


def test_keys_are_replaced_under_load_without_a_break(stage: Stage, topics: dict[Topic, list[Stored]]) -> None:
    for number in range(stage.partitions):
        origin = f"{stage.settings.log_origin}/{number}"
        leaves = [record.value for record in topics[Topic.AUDIT_EVENTS] if record.partition == number]
        notes = [record.value for record in topics[Topic.AUDIT_CHECKPOINTS] if record.partition == number]
        keys = log_keys(stage.settings.pki, origin)
        assert verify_timed_log(leaves, notes, keys, origin=origin).problems == ()
        old, new = ([signs(note, key.verifier) for note in notes] for key in keys)
        assert all(old)
        # From one checkpoint on, every one bears both.
        assert 0 < sum(new) < len(new)
        assert new == sorted(new)


def signs(note: bytes, key: Verifier) -> bool:
    try:
        return bool(verify_note(note, [key]).signatures)
    except NoteError:
        return False


def test_nothing_was_written_outside_a_transaction(stage: Stage, kafka_data: Path) -> None:
    changelog = changelog_topic(stage.settings.group)
    transactional = 0
    for topic in (*map(stage.topic, WRITTEN), changelog):
        for number in range(stage.partitions):
            batches = batches_of(kafka_data, topic, number)
            assert batches.other == 0, f"{topic}-{number} holds batches outside a transaction"
            transactional += batches.transactional
    assert transactional > KILLS
    # One transaction writes the log's leaves, its head and its state: their commits are as many. Rows of other tables
    # come without leaves too. A transaction that a kill cut short may not have reached all of them; it was aborted.
    for number in range(stage.partitions):
        topics = (stage.topic(Topic.AUDIT_EVENTS), stage.topic(Topic.AUDIT_CHECKPOINTS), changelog)
        leaves, heads, rows = (batches_of(kafka_data, topic, number).commits for topic in topics)
        assert leaves == heads <= rows
