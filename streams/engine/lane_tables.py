"""The tables of all lanes as Faust sees them: one table, whose changelog it makes, assigns and reads back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import faust

from streams.engine.changelog import LaneRows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from faust.types import TP, AppT

    from streams.engine.changelog import TableKind
    from streams.engine.options import EngineOptions


class LaneTables(faust.Table):  # type: ignore[misc]
    """What `app.Table(name, kinds=...)` makes: a Faust table that holds the rows of each assigned partition.

    Faust keeps the changelog topic, the assignment and the recovery; rows are read and written through `partition`.
    Its changelog is compacted and never deleted by age: rows may be older, in event time, than any retention.
    """

    def __init__(self, app: AppT, *, kinds: Mapping[str, TableKind], **kwargs: Any) -> None:  # noqa: ANN401
        # No buffers are used; Faust takes a buffer of one for a table that is never recovered.
        super().__init__(app, **{"recovery_buffer_size": 2, **kwargs})
        self._kinds = kinds
        self._partitions: dict[int, LaneRows] = {}

    def partition(self, number: int) -> LaneRows:
        """Return the rows of one partition, made where there are none yet."""
        rows = self._partitions.get(number)
        if rows is None:
            rows = self._partitions[number] = LaneRows(self._kinds)
            options: EngineOptions = self.app.options
            if options.rows_in_memory_max:
                rows.keep_on_disk(options.rows_folder / str(number), in_memory_max=options.rows_in_memory_max)
        return rows

    async def on_start(self) -> None:
        """Create the changelog topic where it is missing."""
        await self.changelog_topic.maybe_declare()

    def persisted_offset(self, tp: TP) -> int | None:
        """Tell recovery which changelog record the rows in memory include already."""
        rows = self._partitions.get(tp.partition)
        return None if rows is None or rows.position < 0 else rows.position

    async def on_rebalance(self, assigned: set[TP], *_: object) -> None:
        """Drop the rows of exactly those partitions that are not, or no longer, this worker's."""
        topic = self.changelog_topic_name
        for number in self._partitions.keys() - {tp.partition for tp in assigned if tp.topic == topic}:
            self._drop(number)

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """Nothing to rebuild: rows are derived from nothing but their records."""

    async def need_active_standby_for(self, tp: TP) -> bool:  # noqa: ARG002
        """No copy of the rows is kept outside memory."""
        return True

    def reset_state(self) -> None:
        """Drop all rows."""
        for number in list(self._partitions):
            self._drop(number)

    def _drop(self, number: int) -> None:
        rows = self._partitions.pop(number, None)
        if rows is not None:
            rows.close()
