"""What `plan` and `apply` ask of a cluster: look, create, alter, delete. All of it ends in seconds or raises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # the package has no __all__
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    TopicMetadata,
)

from streams.core.errors import PortcullisError
from streams.topics.drift import LiveCluster, LiveTopic

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from concurrent.futures import Future


class ClusterUnavailableError(PortcullisError):
    """The cluster did not answer, or refused what it was asked."""


class Admin:
    """One connection to a cluster, by bootstrap servers or a confluent-kafka client's configuration."""

    def __init__(self, cluster: str | Mapping[str, str], *, timeout_s: float = 20.0) -> None:
        self._timeout_s = timeout_s
        config = {"bootstrap.servers": cluster} if isinstance(cluster, str) else dict(cluster)
        self._client = AdminClient({"log_level": 0, **config})

    def look(self, beginnings: tuple[str, ...]) -> LiveCluster:
        """Return the brokers and the topics whose names begin so.

        Raises:
            ClusterUnavailableError: the cluster did not answer.
        """
        try:
            metadata = self._client.list_topics(timeout=self._timeout_s)
        except KafkaException as error:
            raise ClusterUnavailableError(f"the cluster did not answer in {self._timeout_s:g} s: {error}") from error
        ours = {name: topic for name, topic in metadata.topics.items() if name.startswith(beginnings)}
        entries = self._describe(ours)
        return LiveCluster(
            brokers=len(metadata.brokers),
            topics={name: _live(topic, entries[name]) for name, topic in ours.items() if name in entries},
        )

    def create(self, topics: Iterable[tuple[str, int, Mapping[str, str]]], *, replicas: int) -> None:
        """Create (name, partitions, settings); a topic that somebody else creates at the same moment is fine."""
        new = [NewTopic(name, partitions, replicas, config=dict(settings)) for name, partitions, settings in topics]
        if new:
            for future in self._client.create_topics(new, operation_timeout=self._timeout_s).values():
                self._result(future, fine=KafkaError.TOPIC_ALREADY_EXISTS)

    def alter(self, changes: Iterable[tuple[str, str, str]]) -> None:
        """Set (topic, setting, value) and leave all other settings as they are."""
        by_topic: dict[str, list[ConfigEntry]] = {}
        for topic, setting, value in changes:
            entry = ConfigEntry(setting, value, incremental_operation=AlterConfigOpType.SET)
            by_topic.setdefault(topic, []).append(entry)
        if by_topic:
            resources = [
                ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
                for topic, entries in by_topic.items()
            ]
            for future in self._client.incremental_alter_configs(resources).values():
                self._result(future)

    def delete(self, beginning: str) -> tuple[str, ...]:
        """Delete all topics whose names begin so; returns their names."""
        names = sorted(self.look((beginning,)).topics)
        if names:
            for future in self._client.delete_topics(names, operation_timeout=self._timeout_s).values():
                self._result(future, fine=KafkaError.UNKNOWN_TOPIC_OR_PART)
        return tuple(names)

    def members(self, group: str) -> tuple[str, ...]:
        """Return the members of a consumer group, each by its static name where it has one, and its host.

        Raises:
            ClusterUnavailableError: the cluster did not answer.
        """
        (future,) = self._client.describe_consumer_groups([group], request_timeout=self._timeout_s).values()
        found = self._result(future, fine=KafkaError.GROUP_ID_NOT_FOUND)
        members = () if found is None else found.members
        return tuple(f"{member.group_instance_id or member.member_id} on {member.host}" for member in members)

    def acls(self) -> tuple[AclBinding, ...]:
        """Return every access rule of the cluster.

        Raises:
            ClusterUnavailableError: the cluster did not answer, or has no authorizer.
        """
        everything = AclBindingFilter(
            ResourceType.ANY,
            None,  # type: ignore[arg-type]  # none: whatever name, principal and host
            ResourcePatternType.ANY,
            None,  # type: ignore[arg-type]
            None,  # type: ignore[arg-type]
            AclOperation.ANY,
            AclPermissionType.ANY,
        )
        return tuple(self._result(self._client.describe_acls(everything, request_timeout=self._timeout_s)))

    def allow(self, bindings: Iterable[AclBinding]) -> None:
        """Add access rules; one that is there already is fine."""
        if new := list(bindings):
            for future in self._client.create_acls(new, request_timeout=self._timeout_s).values():
                self._result(future)

    def _describe(self, names: Iterable[str]) -> dict[str, dict[str, ConfigEntry]]:
        """Return the settings of each topic; a topic deleted in between is left out."""
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        futures = self._client.describe_configs(resources) if resources else {}
        answers = {
            resource.name: self._result(future, fine=KafkaError.UNKNOWN_TOPIC_OR_PART)
            for resource, future in futures.items()
        }
        return {name: entries for name, entries in answers.items() if entries is not None}

    def _result(self, future: Future[Any], *, fine: int | None = None) -> Any:  # noqa: ANN401 - confluent-kafka's own answer
        try:
            return future.result(timeout=self._timeout_s)
        except TimeoutError as error:
            raise ClusterUnavailableError(f"the cluster did not answer in {self._timeout_s:g} s") from error
        except KafkaException as error:
            if error.args[0].code() == fine:
                return None
            raise ClusterUnavailableError(f"the cluster refused: {error.args[0].str()}") from error


def _live(topic: TopicMetadata, entries: Mapping[str, ConfigEntry]) -> LiveTopic:
    partitions = topic.partitions.values()
    return LiveTopic(
        partitions=len(partitions),
        replicas=min((len(partition.replicas) for partition in partitions), default=0),
        has_leaders=bool(partitions) and all(partition.leader >= 0 for partition in partitions),
        settings={name: entry.value or "" for name, entry in entries.items()},
        overrides=frozenset(
            name for name, entry in entries.items() if ConfigSource(entry.source) is ConfigSource.DYNAMIC_TOPIC_CONFIG
        ),
    )
