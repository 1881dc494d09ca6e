"""What the engine asks of an application, and what it hands to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from aiokafka.structs import ConsumerRecord

    from streams.engine.tables import PartitionTable

Header: TypeAlias = tuple[str, bytes]


class Message(NamedTuple):
    """One record to write to the lane's own partition number of some topic."""

    key: bytes | None
    value: bytes | None
    headers: list[Header]


class Outputs:
    """Collects what one micro-batch writes; one per lane, emptied per batch."""

    __slots__ = ("_messages",)

    def __init__(self) -> None:
        self._messages: dict[str, list[Message]] = {}

    def send(self, topic: str, key: bytes | None, value: bytes | None, headers: Sequence[Header] = ()) -> None:
        """Write a record with this batch's transaction, to the lane's own partition number of `topic`."""
        messages = self._messages.get(topic)
        if messages is None:
            messages = self._messages[topic] = []
        messages.append(Message(key, value, list(headers)))

    def take(self) -> dict[str, list[Message]]:
        """Return everything sent since the last call, by topic, and start anew."""
        taken, self._messages = self._messages, {}
        return taken


class Application(Protocol):
    """One partition's deterministic application.

    Whatever a method raises stops the process, so a record that cannot be handled must be dealt with inside.
    """

    def prepare(self, record: ConsumerRecord) -> object:
        """Do the part of the work that needs no state. Called in verification threads, in any order."""

    def due_us(self) -> int | None:
        """Return when a micro-batch is due even without records, microseconds UTC; None: never."""

    def begin(self, now_us: int) -> None:
        """Start a micro-batch; `now_us` is its decision time, microseconds UTC, never going back within a lane."""

    def process(self, record: ConsumerRecord, prepared: Any) -> None:  # noqa: ANN401
        """Handle one record, in order, on the event loop; `prepared` is what `prepare` returned for it."""

    def finish(self) -> None:
        """End the micro-batch: last chance to write to outputs and tables before the transaction.

        A batch that was due has had no record.
        """


ApplicationFactory: TypeAlias = Callable[[int, "Mapping[str, PartitionTable[Any]]", Outputs], Application]
