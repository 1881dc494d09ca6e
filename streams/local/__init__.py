"""Apache Kafka on this machine: a real broker as a child process, for development, demo and tests."""

from streams.local.broker import LocalKafka
from streams.local.cluster import kafka_cluster
from streams.local.jars import ensure_jars, kafka_home
from streams.local.runtime import BrokerUnavailableError, find_java

__all__ = ["BrokerUnavailableError", "LocalKafka", "ensure_jars", "find_java", "kafka_cluster", "kafka_home"]
