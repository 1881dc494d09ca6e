"""Access rules on a real broker: every cell of principal, topic and operation, tried with a client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import aiokafka
import pytest
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclBindingFilter,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from streams.clock import now_us
from streams.kafka.producing import Sender
from streams.kafka.reading import read_all
from streams.names import Topic
from streams.rig.processes import Service
from streams.settings import Settings
from streams.sim.bots import plan
from streams.sim.signing import to_wire
from streams.sim.tape import BUNDLED_TAPE, read_tape
from streams.topics.access import apply_access, plan_access
from streams.topics.admin import Admin
from streams.wire import devtls
from streams.wire.avro import body_of
from streams.wire.decisions import Verdict, decode_verdict
from streams.wire.headers import DEAD_LETTER_REASON, SIGNATURE, THUMBPRINT, find_header
from streams.wire.signatures import ORDER_TYPE
from streams.wire.signed_orders import WireMessage
from tests.integration.engine_rig import wait_until
from tests.secured_world import SecuredWorld, secured_world

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

# Of a topic that one may neither read nor write not even the leaders are shown.
REFUSED = {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._NOENT}
PASSWORD = "correct horse battery staple"  # noqa: S105 - of this test


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredWorld]:
    with secured_world(tmp_path_factory.mktemp("secured"), bots=3) as world:
        yield world


def may_write(client: dict[str, str], topics: list[str]) -> set[str]:
    """Write a record to each topic; return those whose broker took it."""
    answers: dict[str, KafkaError | None] = {}
    producer = Producer({**client, "message.timeout.ms": 20_000})
    for topic in topics:
        producer.produce(
            topic, b"cell", b"cell", partition=0, on_delivery=lambda e, m: answers.__setitem__(str(m.topic()), e)
        )
    assert producer.flush(30) == 0
    assert {error.code() for error in answers.values() if error is not None} <= REFUSED
    return {topic for topic, error in answers.items() if error is None}


def may_read(client: dict[str, str], topics: list[str]) -> set[str]:
    """Read each topic from its beginning; return those whose broker let us come to the end."""
    consumer = Consumer({**client, "group.id": "nobody", "enable.auto.commit": False, "enable.partition.eof": True})
    # A topic that one may not read nor write is not even shown; whoever may read it may see it.
    shown = set(consumer.list_topics(timeout=20).topics) & set(topics)
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING) for topic in shown])
    readable: set[str] = set()
    refused = set(topics) - shown
    deadline = time.monotonic() + 30
    while readable | refused < set(topics) and time.monotonic() < deadline:
        for message in consumer.consume(1000, 0.1):
            error = message.error()
            if error is None or error.code() == KafkaError._PARTITION_EOF:
                readable.add(str(message.topic()))
            elif error.code() in REFUSED:
                refused.add(str(message.topic()))
    consumer.close()
    assert readable | refused == set(topics), f"no answer for {set(topics) - readable - refused}"
    assert not readable & refused
    return readable


def may_destroy(client: dict[str, str], topics: list[str]) -> set[str]:
    """Try to delete each topic, its records, and to shorten its retention; return those where anything was allowed."""
    admin = AdminClient({**client})
    entry = ConfigEntry("retention.ms", "1", incremental_operation=AlterConfigOpType.SET)
    resources = [ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry]) for topic in topics]
    futures = [
        *((topic, future) for topic, future in admin.delete_topics(topics).items()),
        *((place.topic, f) for place, f in admin.delete_records([TopicPartition(t, 0, 1) for t in topics]).items()),
        *((resource.name, future) for resource, future in admin.incremental_alter_configs(resources).items()),
    ]
    allowed = set()
    for topic, future in futures:
        try:
            future.result(timeout=30)
        except KafkaException as error:
            assert error.args[0].code() in REFUSED, (topic, error)  # noqa: PT017 - a refusal is what is expected
        else:
            allowed.add(topic)
    return allowed


def expected(world: SecuredWorld, name: str) -> tuple[set[str], set[str]]:
    """Return what a principal may write and read by the data, found without the code that grants it."""
    parties = {p for row in world.principals if row.name == name.partition(":")[0] for p in row.parties}
    topics = world.stage.topology.topics
    return (
        {topic.name for topic in topics if parties & set(topic.producers)},
        {topic.name for topic in topics if parties & set(topic.consumers)},
    )


def test_every_cell_of_the_matrix(world: SecuredWorld) -> None:
    topics = [topic.name for topic in world.stage.topology.topics]
    names = sorted(world.clients.keys() - {devtls.ADMIN})
    assert {"worker", "bot:maker-01", "enforcer:maker-01", "stranger"} <= set(names)

    def try_all(name: str) -> tuple[str, tuple[set[str], set[str]], set[str]]:
        client = world.client(name)
        return name, (may_write(client, topics), may_read(client, topics)), may_destroy(client, topics)

    with ThreadPoolExecutor(4) as pool:
        for name, found, destroyed in pool.map(try_all, names):
            assert found == expected(world, name), name
            assert destroyed == set(), name


def test_a_bot_may_ask_and_nothing_else(world: SecuredWorld) -> None:
    """The rows of the matrix that matter most, said once more by hand."""
    for agent_id in world.bots:
        assert expected(world, f"bot:{agent_id}") == ({"orders.requested", "agents.heartbeats"}, set())
    assert expected(world, "stranger") == (set(), set())
    writers = {name for name in world.clients if "audit.events" in expected(world, name)[0]}
    assert writers == {"worker"}
    commanders = {name for name in world.clients if "agents.commands" in expected(world, name)[0]}
    assert commanders == {"desk", "operator"}


def test_nobody_can_fence_or_displace_a_worker(world: SecuredWorld) -> None:
    offsets = ConsumerGroupTopicPartitions("portcullis", [TopicPartition("orders.requested", 0, 1)])
    for name in ("bot:maker-01", "enforcer:maker-01"):
        producer = Producer({**world.client(name), "transactional.id": "portcullis-0"})
        with pytest.raises(KafkaException) as fencing:
            producer.init_transactions(20)
        assert fencing.value.args[0].code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
        admin = AdminClient({**world.client(name)})
        with pytest.raises(KafkaException) as displacing:
            admin.alter_consumer_group_offsets([offsets])["portcullis"].result(timeout=20)
        assert displacing.value.args[0].code() == KafkaError.GROUP_AUTHORIZATION_FAILED


def test_who_proves_nothing_is_not_heard(world: SecuredWorld) -> None:
    kafka, bot, service = world.kafka, world.clients["bot:maker-01"], world.clients["worker"]
    only_ca = {"security.protocol": "SSL", "ssl.ca.location": bot["ssl.ca.location"]}
    password = devtls.password_properties(world.stage.settings.pki, "worker", "wrong")
    clients = {
        "no TLS": {"bootstrap.servers": kafka.services},
        "no certificate": {"bootstrap.servers": kafka.services, **only_ca},
        "a bot's certificate where services connect": {**bot, "bootstrap.servers": kafka.services},
        "a service's certificate where bots connect": {**service, "bootstrap.servers": kafka.bots},
        "a wrong password": {"bootstrap.servers": kafka.passwords, **password},
        # And the broker must prove itself to us.
        "a broker of another CA": {**bot, "ssl.ca.location": str(devtls.bots_ca(world.stage.settings.pki))},
    }
    with ThreadPoolExecutor(len(clients) + 1) as pool:
        heard = dict(zip([*clients, "a bot"], pool.map(is_heard, [*clients.values(), bot]), strict=True))
    assert heard == {**dict.fromkeys(clients, False), "a bot": True}


def is_heard(client: dict[str, str]) -> bool:
    try:
        return bool(AdminClient({**client, "log_level": "0"}).list_topics(timeout=4).brokers)
    except KafkaException:
        return False


def test_a_rule_that_the_topology_does_not_know_is_named(world: SecuredWorld) -> None:
    topology, cluster = world.stage.topology, world.stage.settings.cluster()
    assert plan_access(topology, cluster).missing == ()  # bots that are known need not be named
    assert plan_access(topology, cluster).stray == ()
    rule = next(b for b in Admin(cluster).acls() if b.principal == "User:bot:maker-01")
    pattern = rule.resource_pattern_type
    stray = AclBinding(rule.restype, "audit.events", pattern, rule.principal, "*", rule.operation, rule.permission_type)
    Admin(cluster).allow([stray])
    assert wait_until(lambda: plan_access(topology, cluster).stray != (), 20)
    assert plan_access(topology, cluster).stray == ("bot:maker-01 may WRITE topic audit.events",)
    _, after = apply_access(topology, cluster, ["maker-99"])
    assert after.stray == ("bot:maker-01 may WRITE topic audit.events",)  # not ours to take away
    admin = AdminClient({**cluster})
    for future in admin.delete_acls([only(stray)]).values():
        future.result(timeout=20)
    assert wait_until(lambda: plan_access(topology, cluster).stray == (), 20)


def only(binding: AclBinding) -> AclBindingFilter:
    """Return the filter that finds one rule."""
    kind, pattern, permission = binding.restype, binding.resource_pattern_type, binding.permission_type
    return AclBindingFilter(kind, binding.name, pattern, binding.principal, binding.host, binding.operation, permission)


def test_a_service_may_prove_a_password_instead(world: SecuredWorld) -> None:
    """With both client libraries, from the same properties."""
    scram = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    admin = AdminClient({**world.client(devtls.ADMIN)})
    upsertion = UserScramCredentialUpsertion("worker", scram, PASSWORD.encode())
    for future in admin.alter_user_scram_credentials([upsertion]).values():
        future.result(timeout=20)
    security = devtls.password_properties(world.stage.settings.pki, "worker", PASSWORD)
    settings = Settings(kafka_bootstrap_servers=world.kafka.passwords, kafka_security=security)
    assert may_write(settings.cluster(), ["audit.events", "agents.commands"]) == {"audit.events"}
    asyncio.run(write_with_aiokafka(settings, Topic.AUDIT_EVENTS))
    with pytest.raises(aiokafka.errors.TopicAuthorizationFailedError):
        asyncio.run(write_with_aiokafka(settings, Topic.AGENTS_COMMANDS))
    assert PASSWORD not in repr(settings)


async def write_with_aiokafka(settings: Settings, topic: Topic) -> None:
    producer = aiokafka.AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap_servers, **settings.aiokafka_security()
    )
    await producer.start()
    try:
        await producer.send_and_wait(topic, b"cell", b"cell", partition=0)
    finally:
        await producer.stop()


def test_a_bot_writes_only_as_itself(world: SecuredWorld) -> None:
    """One connection carries the bot's own order, another's in its own hand, and its own under a false key."""
    stage = world.stage
    ticks = list(read_tape(BUNDLED_TAPE))
    orders = {m.order.agent_id: m for m in plan(ticks, stage.bots, 50, seed=now_us() % 1000, markets=stage.markets)}
    own = to_wire(orders["maker-01"], stage.keys, now_us())
    victim = to_wire(orders["taker-01"], stage.keys, now_us())
    maker = stage.keys.of("maker-01")
    forged = WireMessage(
        victim.key,
        victim.value,
        ((SIGNATURE, maker.sign(ORDER_TYPE, body_of(victim.value))), (THUMBPRINT, maker.thumbprint)),
    )
    misfiled = WireMessage(victim.key, own.value, own.headers)
    bot = world.settings("bot:maker-01")
    sender = Sender(bot.kafka_bootstrap_servers, bot.kafka_security)
    for message in (forged, misfiled, own):
        sender.send(Topic.ORDERS_REQUESTED, message.key, message.value, message.headers)
    sender.flush()
    worker = Service("worker", ["worker"], world.settings("worker"), stage.folder / "logs")
    worker.start()
    try:
        assert wait_until(lambda: len(answers(world, own, victim)) == 3, 90), worker.log_path.read_text()
    finally:
        worker.stop()
    found = answers(world, own, victim)
    assert found[0] == "KEY_MISMATCH"
    assert found[1].agent_id == "taker-01"  # type: ignore[union-attr]
    assert found[1].reason == "SIGNATURE_INVALID"  # type: ignore[union-attr]
    assert found[2].agent_id == "maker-01"  # type: ignore[union-attr]
    assert "SIGNATURE_INVALID" not in {failure.reason for failure in found[2].failures}  # type: ignore[union-attr]


def answers(world: SecuredWorld, own: WireMessage, victim: WireMessage) -> list[str | Verdict]:
    """Return what became of the three messages: the dead letter's reason, the forged order's verdict, the own one's."""
    settings = world.stage.settings
    verdicts: dict[str, Verdict] = {}
    dead = []
    topics = (Topic.ORDERS_APPROVED, Topic.ORDERS_REJECTED, Topic.ORDERS_DEAD_LETTER)
    for record in read_all(settings.kafka_bootstrap_servers, topics, settings.kafka_security):
        if record.topic == Topic.ORDERS_DEAD_LETTER:
            dead += [find_header(record.headers, DEAD_LETTER_REASON).decode()] if record.value == own.value else []
        elif record.value != b"cell":
            verdict = decode_verdict(record.value)
            if verdict.order in (body_of(own.value), body_of(victim.value)):
                verdicts[verdict.agent_id] = verdict
    return [*dead[:1], *(verdicts[name] for name in ("taker-01", "maker-01") if name in verdicts)]
