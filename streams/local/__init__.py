"""Apache Kafka on this machine: a real broker as a child process, for development, demo and tests."""

from streams.local.broker import LocalKafka
from streams.local.cluster import kafka_cluster
from streams.local.installation import Installation, ensure_installed
from streams.local.jars import ensure_jars, kafka_home
from streams.local.runtime import BrokerUnavailableError
from streams.local.secured import BrokerTls, SecuredKafka
from streams.local.several import LocalCluster

__all__ = [
    "BrokerTls",
    "BrokerUnavailableError",
    "Installation",
    "LocalCluster",
    "LocalKafka",
    "SecuredKafka",
    "ensure_installed",
    "ensure_jars",
    "kafka_cluster",
    "kafka_home",
]
