import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from streams.local import BrokerUnavailableError, LocalCluster, LocalKafka, ensure_installed
from streams.topics import apply, load_topology, plan
from streams.topics.admin import Admin

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
# The watchdog looks twice a second; what the kernel then takes to end a JVM depends on what else writes to its disk.
GONE_WITHIN_S = 20.0

# Starts a broker from a thread that ends, and leaves a fork of itself behind that keeps every pipe open.
PARENT = """
import os, sys, threading, time
from pathlib import Path
from streams.local import LocalKafka
broker = LocalKafka(Path(sys.argv[1]))
thread = threading.Thread(target=broker.start)
thread.start()
thread.join()
fork = os.fork()
if fork == 0:
    time.sleep(60)
    os._exit(0)
print(broker.pid, fork, flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    ensure_installed()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A killed process that nobody has waited for yet is gone for our purpose, and may be gone altogether by now.
    state = subprocess.run(["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state) and not state.startswith("Z")


def wait_for(condition: Callable[[], bool], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def write(servers: str, topic: str, values: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": servers, "log_level": 0})
    for value in values:
        producer.produce(topic, value, partition=0)
    assert producer.flush(20) == 0


def read(servers: str, topic: str, count: int) -> list[bytes | None]:
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "test", "enable.auto.commit": False, "log_level": 0})
    consumer.assign([TopicPartition(topic, 0, 0)])
    values = [message.value() for message in consumer.consume(count, timeout=10)]
    consumer.close()
    return values


def test_it_starts_in_seconds_and_on_loopback_alone(tmp_path: Path) -> None:
    begun = time.monotonic()
    with LocalKafka(tmp_path) as broker:
        took_s = time.monotonic() - begun
        host, _, port = broker.bootstrap_servers.partition(":")
        assert host == "127.0.0.1"
        assert took_s < 30  # 1 to 1.5 s on two idle cores; others may use them
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", int(port))) == 0
        if sys.platform == "linux":
            # All of 127/8 is this machine: a listener on every interface would answer here.
            with socket.socket() as probe:
                assert probe.connect_ex(("127.0.0.2", int(port))) != 0
        pid = broker.pid
        assert is_alive(pid)
        assert broker.start() == broker.bootstrap_servers
        assert broker.pid == pid
    assert not is_alive(pid)


def test_a_misspelt_topic_is_not_created(kafka: str) -> None:
    producer = Producer({"bootstrap.servers": kafka, "log_level": 0, "message.timeout.ms": 1000})
    failed: list[object] = []
    producer.produce("orders.reqested", b"x", on_delivery=lambda error, _message: failed.append(error))
    producer.flush(10)
    assert failed[0] is not None
    client = AdminClient({"bootstrap.servers": kafka, "log_level": 0})
    assert "orders.reqested" not in client.list_topics(timeout=10).topics


def test_port_and_data_survive_stop_and_kill(tmp_path: Path) -> None:
    broker = LocalKafka(tmp_path, config={"broker.session.timeout.ms": "1400", "broker.heartbeat.interval.ms": "300"})
    first = broker.start()
    apply(load_topology(lanes=1), first)
    write(first, "orders.requested", [b"1"])
    pid = broker.pid
    broker.kill()
    assert not is_alive(pid)
    assert broker.start() == first
    assert broker.pid != pid
    write(first, "orders.requested", [b"2"])
    broker.stop()
    # Another object, so another port: the data belongs to the folder.
    with LocalKafka(tmp_path) as again:
        assert again.bootstrap_servers != first
        assert read(again.bootstrap_servers, "orders.requested", 2) == [b"1", b"2"]


def test_three_brokers_survive_the_loss_of_one(tmp_path: Path) -> None:
    with LocalCluster(tmp_path) as cluster:
        servers = cluster.bootstrap_servers
        topology = load_topology(lanes=1)
        apply(topology, servers)
        live = Admin(servers).look(("orders.",)).topics["orders.requested"]
        assert (live.replicas, live.settings["min.insync.replicas"]) == (3, "2")
        cluster.brokers[0].kill()
        write(servers, "orders.requested", [b"1"])
        assert plan(topology, servers) == ()
        cluster.brokers[0].start()
        assert read(cluster.brokers[0].bootstrap_servers, "orders.requested", 1) == [b"1"]


def test_it_goes_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        assert parent.stdout is not None
        broker, fork = map(int, parent.stdout.readline().split())
        try:
            # The thread that started it has ended; only the process counts.
            time.sleep(1)
            assert is_alive(broker)
            parent.send_signal(signal.SIGKILL)
            assert wait_for(lambda: not is_alive(broker), GONE_WITHIN_S)
            assert is_alive(fork)
        finally:
            os.kill(fork, signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_it_goes_with_its_watchdog(tmp_path: Path) -> None:
    broker = LocalKafka(tmp_path)
    broker.start()
    pid = broker.pid
    watchdog = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(watchdog, signal.SIGKILL)
    assert wait_for(lambda: not is_alive(pid), GONE_WITHIN_S)
    broker.stop()


def test_a_failed_start_shows_the_end_of_the_log(tmp_path: Path) -> None:
    with pytest.raises(BrokerUnavailableError) as caught:
        LocalKafka(tmp_path, config={"log.retention.hours": "soon"}).start()
    assert "log.retention.hours" in str(caught.value)
    assert str(tmp_path / "broker.log") in str(caught.value)


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(BrokerUnavailableError, match="in use"):
            LocalKafka(tmp_path, port=taken.getsockname()[1]).start()


def test_a_transaction_is_all_or_nothing(kafka: str, topic_prefix: str) -> None:
    topology = load_topology(lanes=1, prefix=topic_prefix)
    apply(topology, kafka)
    topic = topic_prefix + "orders.approved"
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": topic_prefix, "retry.backoff.ms": 5})
    producer.init_transactions(20)
    for value, end in ((b"aborted", producer.abort_transaction), (b"committed", producer.commit_transaction)):
        producer.begin_transaction()
        producer.produce(topic, value, partition=0)
        end(20)
    assert read(kafka, topic, 1) == [b"committed"]
