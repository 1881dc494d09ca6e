"""Carrying out a round's faults, each in a thread of its own, and noting when and whom they hit."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from streams.clock import now_us
from streams.core.errors import PortcullisError
from streams.rig.crew import Member
from streams.rig.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streams.local.broker import LocalKafka
    from streams.rig.crew import Crew
    from streams.rig.faults import Round, Step
    from streams.rig.stage import Stage

_GUEST: Final = "worker-guest"
_WAREHOUSE: Final = "warehouse"
_READY_S: Final = 60.0
_POLL_S: Final = 0.02


class StrikeError(PortcullisError):
    """A fault could not be carried out: a process did not come up in time."""


@dataclass(frozen=True, slots=True)
class Strike:
    """What a step did: to the lanes of one worker, from one moment to another (microseconds UTC).

    `partitions` are those that the step took from their worker, `others` all the rest.
    """

    what: str
    began_us: int
    done_us: int
    partitions: tuple[int, ...]
    others: tuple[int, ...]


class Striker:
    """Kills, stops and adds processes as a plan says."""

    def __init__(self, stage: Stage, crew: Crew, brokers: Sequence[LocalKafka]) -> None:
        self._stage, self._crew, self._brokers = stage, crew, brokers
        self._strikes: list[Strike] = []
        self._failures: list[BaseException] = []
        self._broker_lock = threading.Lock()

    def carry_out(self, planned: Round) -> list[Strike]:
        """Carry out a round's steps at their times; return when all processes run again.

        Raises: StrikeError.
        """
        self._strikes, self._failures = [], []
        threads = [threading.Thread(target=self._at, args=(step,), name=str(step.fault)) for step in planned.steps]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for failure in self._failures:
            raise failure
        return sorted(self._strikes, key=lambda strike: strike.began_us)

    def _at(self, step: Step) -> None:
        time.sleep(step.at_s)
        carry_out = {
            Fault.KILL_WORKER: self._worker,
            Fault.STOP_WORKER: self._worker,
            Fault.REPLACE_WORKER: self._replace_worker,
            Fault.JOIN_THEN_STOP: self._guest,
            Fault.JOIN_THEN_KILL: self._guest,
            Fault.FREEZE_WORKER: self._freeze_worker,
            Fault.KILL_BROKER: self._broker,
            Fault.FREEZE_BROKER: self._freeze_broker,
            Fault.KILL_WAREHOUSE: self._warehouse,
            Fault.STOP_WAREHOUSE: self._warehouse,
        }
        try:
            carry_out[step.fault](step)
        except BaseException as error:  # noqa: BLE001 - raised again by carry_out()
            self._failures.append(error)

    def _worker(self, step: Step) -> None:
        member = self._target(step)
        with member.lock:  # the supervisor must not be quicker
            self._end(step, member)
            member.start()

    def _replace_worker(self, step: Step) -> None:
        """Let a new process take over from a worker, as a new release does."""
        member = self._target(step)
        with member.lock:
            lost, began_us = member.partitions(), now_us()
            self._crew.note_stop(member, member.replace())
        others = tuple(set(self._all()) - set(lost))
        self._strikes.append(Strike(str(step.fault), began_us, now_us(), lost, others))

    def _freeze_worker(self, step: Step) -> None:
        member = self._target(step)
        with member.lock:
            pid, lost = member.service.pid, member.partitions()
        self._freeze(step, pid, lost)

    def _freeze_broker(self, step: Step) -> None:
        with self._broker_lock:
            self._freeze(step, self._brokers[step.target % len(self._brokers)].pid, ())

    def _freeze(self, step: Step, pid: int, lost: tuple[int, ...]) -> None:
        """Stop a process without its knowledge, and let it go on where it was."""
        began_us = now_us()
        os.kill(pid, signal.SIGSTOP)
        time.sleep(step.lasts_s)
        with suppress(ProcessLookupError):  # it was killed meanwhile
            os.kill(pid, signal.SIGCONT)
        others = tuple(set(self._all()) - set(lost))
        self._strikes.append(Strike(str(step.fault), began_us, now_us(), lost, others))

    def _target(self, step: Step) -> Member:
        workers = [member for member in self._crew.workers() if member.name != _GUEST]
        return workers[step.target % len(workers)]

    def _warehouse(self, step: Step) -> None:
        member = self._crew.members[_WAREHOUSE]
        with member.lock:
            if step.fault is Fault.STOP_WAREHOUSE:
                self._crew.note_stop(member, member.stop())
            else:
                member.kill()
            member.start()

    def _broker(self, step: Step) -> None:
        broker = self._brokers[step.target % len(self._brokers)]
        with self._broker_lock:  # one outage at a time
            began_us = now_us()
            broker.kill()
            time.sleep(step.lasts_s)
            broker.start()
            self._strikes.append(Strike(str(step.fault), began_us, now_us(), (), self._all()))

    def _guest(self, step: Step) -> None:
        """Add a worker that is no static member, so that the others must make room and take over again."""
        settings = replace(self._stage.settings, instance_id="")
        member = Member(_GUEST, "worker", settings, self._stage.folder / "logs")
        began_us = now_us()
        self._crew.add(member)
        deadline = time.monotonic() + _READY_S
        while "ready at offsets" not in member.log():
            if time.monotonic() > deadline:
                raise StrikeError(f"{member.name} has no partitions after {_READY_S:g} s: {member.service.log_path}")
            time.sleep(_POLL_S)
        self._strikes.append(Strike("join", began_us, now_us(), (), self._all()))
        time.sleep(step.lasts_s)
        with member.lock:
            self._end(step, member)
            self._crew.dismiss(member.name)

    def _end(self, step: Step, member: Member) -> None:
        lost = member.partitions()
        others = tuple(set(self._all()) - set(lost))
        if step.fault in (Fault.KILL_WORKER, Fault.JOIN_THEN_KILL):
            began_us, done_us = member.kill()
        else:
            began_us = now_us()
            self._crew.note_stop(member, member.stop())
            done_us = now_us()
        self._strikes.append(Strike(str(step.fault), began_us, done_us, lost, others))

    def _all(self) -> tuple[int, ...]:
        return tuple(range(self._stage.partitions))
