"""Three requests of Kafka's that aiokafka does not speak, or not in the version that fences and waits as it must.

Source: https://kafka.apache.org/protocol; KIP-447 (offsets of a transaction name the member and its generation, and
may be asked for once they are stable), KIP-664 (transactions can be listed).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiokafka import TopicPartition

    from streams.engine.membership import Membership

_TAGS = ("tags", TaggedFields)
_TEXT = CompactString("utf-8")
_NO_LEADER_EPOCH = -1


def _by_partition(*fields: tuple[str, Any]) -> tuple[str, Any]:
    """Return the field that says something of each partition, by topic."""
    partitions = CompactArray(("partition", Int32), *fields, _TAGS)
    return "topics", CompactArray(("name", _TEXT), ("partitions", partitions), _TAGS)


class TxnOffsetCommitResponse_v3(Response):  # type: ignore[misc]  # noqa: N801 - aiokafka's way to name versions
    """Answer to the request below."""

    API_KEY = 28
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        _by_partition(("error_code", Int16)),
        _TAGS,
    )

    @property
    def errors(self) -> list[tuple[str, list[tuple[int, int]]]]:
        """Return the error codes as the versions before have them, for aiokafka's handler."""
        return [(name, [(number, code) for number, code, _ in parts]) for name, parts, _ in self.topics]


class TxnOffsetCommitRequest_v3(RequestStruct):  # type: ignore[misc]  # noqa: N801
    """The first version with a member and its generation."""

    API_KEY = 28
    API_VERSION = 3
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = TxnOffsetCommitResponse_v3
    SCHEMA = Schema(
        ("transactional_id", _TEXT),
        ("group_id", _TEXT),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("generation_id", Int32),
        ("member_id", _TEXT),
        ("group_instance_id", _TEXT),
        _by_partition(("committed_offset", Int64), ("committed_leader_epoch", Int32), ("committed_metadata", _TEXT)),
        _TAGS,
    )


TxnOffsetCommitStruct: TypeAlias = TxnOffsetCommitRequest_v3


class TxnOffsetCommitRequest(Request[TxnOffsetCommitStruct]):  # type: ignore[misc]
    """Commit offsets within a transaction, as the member of a generation; a stale member is refused."""

    API_KEY = 28

    def __init__(
        self,
        transactional_id: str,
        group_id: str,
        producer: tuple[int, int],
        membership: Membership,
        offsets: Mapping[TopicPartition, int],
    ) -> None:
        topics: dict[str, list[tuple[int, int, int, str, dict[int, bytes]]]] = {}
        for tp, offset in sorted(offsets.items()):
            topics.setdefault(tp.topic, []).append((tp.partition, offset, _NO_LEADER_EPOCH, "", {}))
        self._fields: tuple[Any, ...] = (
            transactional_id,
            group_id,
            *producer,
            membership.generation,
            membership.member_id,
            membership.instance_id,
            [(name, partitions, {}) for name, partitions in topics.items()],
            {},
        )

    def build(self, request_struct_class: type[TxnOffsetCommitStruct]) -> TxnOffsetCommitStruct:
        """Return what goes over the wire."""
        return request_struct_class(*self._fields)


class OffsetFetchResponse_v7(Response):  # type: ignore[misc]  # noqa: N801
    """Answer to the request below."""

    API_KEY = 9
    API_VERSION = 7
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        _by_partition(
            ("committed_offset", Int64),
            ("committed_leader_epoch", Int32),
            ("metadata", _TEXT),
            ("error_code", Int16),
        ),
        ("error_code", Int16),
        _TAGS,
    )


class OffsetFetchRequest_v7(RequestStruct):  # type: ignore[misc]  # noqa: N801
    """The first version that can ask for stable offsets."""

    API_KEY = 9
    API_VERSION = 7
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = OffsetFetchResponse_v7
    SCHEMA = Schema(
        ("group_id", _TEXT),
        ("topics", CompactArray(("name", _TEXT), ("partitions", CompactArray(Int32)), _TAGS)),
        ("require_stable", Boolean),
        _TAGS,
    )


OffsetFetchStruct: TypeAlias = OffsetFetchRequest_v7


class StableOffsetFetchRequest(Request[OffsetFetchStruct]):  # type: ignore[misc]
    """Ask for a group's offsets; those that an unfinished transaction may still change come as an error."""

    API_KEY = 9

    def __init__(self, group_id: str, partitions: Mapping[str, Sequence[int]]) -> None:
        self._fields: tuple[Any, ...] = (
            group_id,
            [(name, list(numbers), {}) for name, numbers in partitions.items()],
            True,
            {},
        )

    def build(self, request_struct_class: type[OffsetFetchStruct]) -> OffsetFetchStruct:
        """Return what goes over the wire."""
        return request_struct_class(*self._fields)


class ListTransactionsResponse_v0(Response):  # type: ignore[misc]  # noqa: N801
    """Answer to the request below."""

    API_KEY = 66
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("unknown_state_filters", CompactArray(_TEXT)),
        (
            "transaction_states",
            CompactArray(("transactional_id", _TEXT), ("producer_id", Int64), ("state", _TEXT), _TAGS),
        ),
        _TAGS,
    )


class ListTransactionsRequest_v0(RequestStruct):  # type: ignore[misc]  # noqa: N801
    """Asked of each broker, which knows those that it coordinates."""

    API_KEY = 66
    API_VERSION = 0
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = ListTransactionsResponse_v0
    SCHEMA = Schema(
        ("state_filters", CompactArray(_TEXT)),
        ("producer_id_filters", CompactArray(Int64)),
        _TAGS,
    )


ListTransactionsStruct: TypeAlias = ListTransactionsRequest_v0


class ListTransactionsRequest(Request[ListTransactionsStruct]):  # type: ignore[misc]
    """Ask for the transactions in certain states."""

    API_KEY = 66

    def __init__(self, *states: str) -> None:
        self._states = list(states)

    def build(self, request_struct_class: type[ListTransactionsStruct]) -> ListTransactionsStruct:
        """Return what goes over the wire."""
        return request_struct_class(self._states, [], {})
