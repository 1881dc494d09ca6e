"""The worker process: event loop, signals, logging, exit code."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
import time
from typing import TYPE_CHECKING

import uvloop
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError

from streams.engine.connections import mend_connections
from streams.engine.exits import ExitCode, leave

if TYPE_CHECKING:
    from streams.engine.app import EngineApp
    from streams.engine.options import EngineOptions

_log = logging.getLogger(__name__)

_GOODBYE_TIMEOUT_S = 3.0
_REPEAT_S = 5.0
_RECONNECT_S = 0.5
# Threads that check signatures give up the interpreter soon when the loop wants it (CPython's default: 5 ms).
_SWITCH_INTERVAL_S = 0.0002
# Records live from a fetch to a commit, longer than CPython's youngest generation of 700 objects: with these, and the
# modules left out, 8 us of CPU per record in bulk instead of 11.
_GC_THRESHOLDS = (50_000, 20, 50)


class RepeatFilter(logging.Filter):
    """Lets the same message of the same logger through once in a while: a broker that is away is one event."""

    def __init__(self, every_s: float = _REPEAT_S) -> None:
        super().__init__()
        self._every_s = every_s
        self._last: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether to log a record."""
        now = time.monotonic()
        key = (record.name, str(record.msg))
        if now - self._last.get(key, -self._every_s) < self._every_s:
            return False
        self._last[key] = now
        return True


# Modules of ours with subclasses of mode's Service, which logs its life under their names.
_SERVICES = ("app", "periodic", "reader", "recovery", "tables", "transport")
_NOISY = ("faust", "mode", "aiokafka", *(f"streams.engine.{name}" for name in _SERVICES))


def quiet_libraries() -> None:
    """Keep Faust's and aiokafka's own logging to warnings, and aiokafka's to one of a kind in five seconds."""
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    repeat = RepeatFilter()
    for handler in logging.getLogger().handlers:
        handler.addFilter(lambda record: record.name.partition(".")[0] != "aiokafka" or repeat.filter(record))


def run_worker(app: EngineApp) -> int:
    """Run an app until SIGTERM or SIGINT; return the exit code. Failures of lanes end the process from inside."""
    quiet_libraries()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    collect_seldom()
    mend_connections()
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(_run(app))
    finally:
        loop.close()


def collect_seldom() -> None:
    """Look for garbage in cycles less often, and never among what there is now: micro-batches leave next to none."""
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


async def _run(app: EngineApp) -> int:
    loop = app.worker_loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    running = asyncio.create_task(_serve(app))
    stopping = asyncio.create_task(asked.wait())
    await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
    code = ExitCode.STOPPED if asked.is_set() else running.result()
    await app.engine.close()
    if asked.is_set() and app.options.instance_id is not None:
        # A static member's partitions wait for its next life: nobody is to be told, and each moment counts for them.
        leave(code)
    # What is left is to say goodbye; a broker that is away must not hold us up.
    goodbye = asyncio.create_task(app.stop())
    if not (await asyncio.wait([goodbye], timeout=_GOODBYE_TIMEOUT_S))[0]:
        _log.warning("stopped without leaving the group: no answer within %s s", _GOODBYE_TIMEOUT_S)
        leave(code)
    for task in (running, stopping):
        task.cancel()
    await asyncio.gather(goodbye, running, stopping, return_exceptions=True)
    return code


async def _serve(app: EngineApp) -> ExitCode:
    """Run the app; return why it ended, which is never right."""
    try:
        await _wait_for_broker(app.options)
        await app.start()
        await app.wait_until_stopped()
    except KafkaConnectionError:
        _log.exception("worker failed: the broker went away while it started")
        return ExitCode.NO_BROKER
    except Exception:  # noqa: BLE001 - the exit code says it, whatever it was
        _log.exception("worker failed")
    return ExitCode.LANE_FAILURE


async def _wait_for_broker(options: EngineOptions) -> None:
    while True:
        client = AIOKafkaClient(bootstrap_servers=options.bootstrap_servers, **options.security)
        try:
            await client.bootstrap()
        except KafkaConnectionError as error:
            _log.warning("no broker, trying again: %r", error)
            await asyncio.sleep(_RECONNECT_S)
        else:
            return
        finally:
            await client.close()
