"""Sharing a batch's sections out among processes, in order and in bounded memory."""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

# A process takes half a second to start: for less than this many sections it does not pay.
SECTIONS_MIN: Final = 6
# Sections under way for each process: one that it works on, one that waits.
_WAITING: Final = 2
_GC_THRESHOLDS: Final = (50_000, 20, 50)
# What the libraries read when they are loaded: NumPy's threads would spin for work that never comes, and Arrow would
# give memory back only to have it cleared again for the next section.
_LIBRARIES: Final = {"OPENBLAS_NUM_THREADS": "1", "MIMALLOC_PURGE_DELAY": "-1"}


class _WithoutPandas(MetaPathFinder):
    """Finds no pandas: Arrow loads it, a second of CPU and 40 MB, only to see that a list is none of its arrays."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:  # noqa: ARG002 - the interface
        """Raise ModuleNotFoundError where pandas is asked for."""
        if fullname == "pandas":
            raise ModuleNotFoundError(name=fullname)


_Made = TypeVar("_Made")
_task: Callable[..., Any] | None = None


class Workers:
    """Runs one function, which each process makes for itself, over many arguments."""

    def __init__(
        self, make: Callable[[], Callable[..., Any]], pool: ProcessPoolExecutor | None, processes: int
    ) -> None:
        self._make = make
        self._pool = pool
        self._ahead = processes * _WAITING

    def map(self, arguments: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """Yield the results in order; no more arguments are taken than are under way."""
        if self._pool is None:
            task = self._make()
            for each in arguments:
                yield task(*each)
            return
        waiting: deque[Future[Any]] = deque()
        for each in arguments:
            waiting.append(self._pool.submit(_run, *each))
            if len(waiting) >= self._ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def also(self, function: Callable[..., _Made], *arguments: object) -> Callable[[], _Made]:
        """Run something else beside, and return what gives its result."""
        if self._pool is None:
            return lambda: function(*arguments)
        return self._pool.submit(function, *arguments).result


@contextmanager
def workers(make: Callable[[], Callable[..., Any]], sections: int) -> Iterator[Workers]:
    """Yield workers for this many sections: as many processes as there are cores, or none where it does not pay."""
    processes = os.cpu_count() or 1
    if sections < SECTIONS_MIN or processes < 2:
        yield Workers(make, None, 1)
        return
    # Spawned, not forked: ClickHouse's engine and Kafka's client have threads in this process.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_start, initargs=(make,)) as pool:
        yield Workers(make, pool, processes)


def _start(make: Callable[[], Callable[..., Any]]) -> None:
    global _task  # noqa: PLW0603 - a process's own
    sys.meta_path.insert(0, _WithoutPandas())
    for name, value in _LIBRARIES.items():
        os.environ.setdefault(name, value)
    _task = make()
    # A section is thousands of leaves, none of them in a cycle.
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


def _run(*arguments: object) -> Any:  # noqa: ANN401 - whatever the task returns
    assert _task is not None  # noqa: S101 - the initializer ran
    return _task(*arguments)
