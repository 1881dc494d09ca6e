"""Work beside the lanes that is done again and again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mode import Service

if TYPE_CHECKING:
    from collections.abc import Callable


class Periodic(Service):  # type: ignore[misc]
    """Does a piece of work in a thread, every so many seconds; what it raises ends the worker."""

    def __init__(self, work: Callable[[], object], every_s: float) -> None:
        super().__init__()
        self._work, self._every_s = work, every_s

    async def on_start(self) -> None:
        """Begin, in the background."""
        self.add_future(self._run())

    async def _run(self) -> None:
        while not self.should_stop:
            await asyncio.to_thread(self._work)
            await self.sleep(self._every_s)
