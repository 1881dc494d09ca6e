"""Threads that do the stateless part of the work ahead of the decision, the most urgent topic first."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

Work: TypeAlias = Callable[[Any], object]

# Up to this a hand-over to a thread and back, some 0.1 ms of CPU, is not worth what it frees.
_INLINE_RECORDS_MAX = 8


class _Task(NamedTuple):
    urgency: int
    number: int
    work: Work | None
    items: Sequence[Any]
    future: asyncio.Future[list[object]] | None


class VerifyPool:
    """A few threads that map a function over chunks of records.

    Unlike an executor it takes work by urgency: a command does not wait behind a backlog of orders.
    """

    def __init__(self, threads: int) -> None:
        self._tasks: queue.PriorityQueue[_Task] = queue.PriorityQueue()
        self._numbers = itertools.count()
        self._threads = [threading.Thread(target=self._run, name=f"verify-{n}", daemon=True) for n in range(threads)]
        for thread in self._threads:
            thread.start()

    def submit(self, work: Work, items: Sequence[Any], *, urgency: int) -> asyncio.Future[list[object]]:
        """Return a future of `work` of each item, in order. The lower the urgency's number, the sooner."""
        future: asyncio.Future[list[object]] = asyncio.get_running_loop().create_future()
        if not self._threads or len(items) <= _INLINE_RECORDS_MAX:
            try:
                future.set_result([work(item) for item in items])
            except Exception as error:  # noqa: BLE001 - whoever awaits the future judges it
                future.set_exception(error)
        else:
            self._tasks.put(_Task(urgency, next(self._numbers), work, items, future))
        return future

    def close(self) -> None:
        """Let the threads end after the chunks they are at."""
        for _ in self._threads:
            self._tasks.put(_Task(-1, next(self._numbers), None, (), None))

    def _run(self) -> None:
        while True:
            _, _, work, items, future = self._tasks.get()
            if work is None or future is None:
                return
            if future.cancelled():
                continue
            result: list[object] | BaseException
            try:
                result = [work(item) for item in items]
            except BaseException as error:  # noqa: BLE001 - whoever awaits the future judges it
                result = error
            with contextlib.suppress(RuntimeError):  # the loop may have closed meanwhile
                future.get_loop().call_soon_threadsafe(_settle, future, result)


def _settle(future: asyncio.Future[list[object]], result: list[object] | BaseException) -> None:
    if future.cancelled():
        return
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)
