"""Faust's table recovery, made to end only when every changelog record has been applied.

Faust's own gives up on a quiet changelog: when none of its events came for some seconds, it takes the consumer's
position for what the tables hold, and records still on their way to them are passed over. Transactional logs look quiet
to it, because they end in markers. Here every batch says from where to where it reaches, with or without records, so
the end shows by itself, a gap too, and nothing has to be guessed.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from faust.tables.recovery import RebalanceAgain, ServiceStopped
from faust.tables.recovery import Recovery as FaustRecovery
from mode import Service

from streams.engine.exits import EngineError, ExitCode

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from faust.types import TP

    from streams.engine.lane_tables import LaneTables
    from streams.engine.sources import SourceBatch

_log = logging.getLogger(__name__)


class Recovery(FaustRecovery):  # type: ignore[misc]
    """Restores the tables of a worker; whatever goes wrong ends the process."""

    def _add(self, table: LaneTables, tp: TP, offsets: MutableMapping[TP, int | None]) -> None:
        """Begin after what the rows in memory include: what was read once may have been given up since."""
        self.tp_to_table[tp] = table
        offsets[tp] = table.persisted_offset(tp)

    def _set_recovery_started(self) -> None:
        super()._set_recovery_started()
        self.signal_recovery_end.clear()

    async def _wait(self, coro: Any, timeout: float | None = None) -> None:  # noqa: ANN401, ASYNC109 - Faust's signature
        """Wait for one step of recovery; Faust takes a step that did not end in time for a worker that stops."""
        found = await self.wait_first(coro, self.signal_recovery_start, timeout=timeout)
        if self.signal_recovery_start in found.done:
            raise RebalanceAgain
        if found.stopped:
            if not (self.should_stop or self._crashed.is_set()):
                self._fail(EngineError(ExitCode.RECOVERY_FAILED, f"a step of recovery took longer than {timeout} s"))
            raise ServiceStopped

    @Service.task  # type: ignore[untyped-decorator]
    async def _slurp_changelogs(self) -> None:
        while not self.should_stop:
            event = await self.tables.changelog_queue.get()
            try:
                self._take(event.value)
            except Exception as error:  # noqa: BLE001 - a row that cannot be restored would be missing
                self._fail(error)

    def _take(self, batch: SourceBatch) -> None:
        """Apply a batch that follows what was applied before."""
        tp = batch.tp
        if tp not in self.active_tps or batch.epoch != self.app.engine.revocations:
            return  # fetched before partitions were taken away
        seen = self.active_offsets[tp]
        if seen is None:
            return  # it is not known yet where to begin
        if batch.end - 1 > seen:
            if batch.start > seen + 1:
                raise EngineError(
                    ExitCode.RECOVERY_FAILED, f"{tp.topic}-{tp.partition}: offset {batch.start} follows {seen}"
                )
            self.tp_to_table[tp].partition(tp.partition).restore(batch.records)
            self.active_offsets[tp] = batch.end - 1
        if self.in_recovery and not self.need_recovery():
            self._set_recovery_ended()
            self.signal_recovery_end.set()

    def _fail(self, error: Exception) -> None:
        code = error.code if isinstance(error, EngineError) else ExitCode.RECOVERY_FAILED
        self.app.engine.fail(code, "recovery", error)
