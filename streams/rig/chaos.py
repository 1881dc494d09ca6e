"""Chaos: real processes under load die at random moments, and nothing may be lost, doubled or decided wrongly."""

from __future__ import annotations

import shutil
import time
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from streams.clock import now_us
from streams.core.errors import PortcullisError
from streams.local.broker import LocalKafka
from streams.local.several import LocalCluster
from streams.rig.chaos_figures import ChaosResult, Figures
from streams.rig.crew import Crew, Member
from streams.rig.exchange import Exchange
from streams.rig.faults import Fault, plan_rounds
from streams.rig.ledger import Ledger
from streams.rig.reckoning import differing_rows, reckon
from streams.rig.settling import wait_until_settled
from streams.rig.stage import set_stage
from streams.rig.steady import SteadyLoad
from streams.rig.storing import store_the_rest
from streams.rig.strikes import Striker
from streams.sim.fleet import fleet
from streams.sim.tape import BUNDLED_TAPE, read_tape
from streams.warehouse.connection import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from clickhouse_connect.driver.client import Client

    from streams.rig.faults import Round
    from streams.rig.stage import Stage
    from streams.settings import Settings

_BOTS: Final = 40
_POLL_S: Final = 0.02
_RECOVERY_S: Final = 60.0
_ROWS_EVERY: Final = 20
_US: Final = 1_000_000


class NotRecoveredError(PortcullisError):
    """The system did not recover in time; the text says what was missing."""


@dataclass(frozen=True, slots=True)
class ChaosOptions:
    """How long, from which seed, how many orders per second meanwhile, and whether one fault alone."""

    rounds: int
    seed: int
    rate: int = 250
    brokers: int = 1
    only: Fault | None = None
    workers: int = 2
    pause_max_s: float | None = None
    """How long a lane may pause in a round; where it pauses longer, the run does not hold."""


def run_chaos(settings: Settings, options: ChaosOptions, tell: Callable[[str], None]) -> ChaosResult:
    """Run the rounds that the seed plans in `<home>/chaos`, which stays, and return what came of them.

    Raises: PortcullisError where a part of the rig cannot run.
    """
    folder = settings.home / "chaos"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    began_s = time.monotonic()
    with ExitStack() as running:
        brokers = _brokers(folder / "kafka", options.brokers, running)
        servers = ",".join(broker.bootstrap_servers for broker in brokers)
        ours = replace(settings, kafka_bootstrap_servers=servers, topic_prefix="")
        stage = set_stage(folder, ours, list(read_tape(BUNDLED_TAPE)), fleet(_BOTS))
        run = _Run(stage, brokers, options, tell)
        with closing(run):
            result = run.play(plan_rounds(options.seed, options.rounds, options.only))
    result.seconds = time.monotonic() - began_s
    return result


def _brokers(folder: Path, count: int, running: ExitStack) -> tuple[LocalKafka, ...]:
    if count == 1:
        return (running.enter_context(LocalKafka(folder)),)
    return running.enter_context(LocalCluster(folder, brokers=count)).brokers


class _Run:
    """One chaos run: who takes part, and the course of it."""

    def __init__(
        self, stage: Stage, brokers: Sequence[LocalKafka], options: ChaosOptions, tell: Callable[[str], None]
    ) -> None:
        self._stage, self._tell, self._workers = stage, tell, options.workers
        self._crew = Crew()
        self._striker = Striker(stage, self._crew, brokers)
        self._ledger = Ledger(stage.settings, stage.verifiers())
        self._exchange = Exchange(stage.settings, stage.markets, stage.verifiers(), stage.operators())
        ticks = list(read_tape(BUNDLED_TAPE))
        self._load = SteadyLoad(stage, self._exchange, ticks, seed=options.seed, rate=options.rate)
        self._result = ChaosResult(Figures())
        self._troubles: list[str] = []
        self._pause_max_s = options.pause_max_s
        self._pauses: list[str] = []

    def close(self) -> None:
        """End all processes."""
        self._crew.close()

    def play(self, rounds: tuple[Round, ...]) -> ChaosResult:
        """Play the rounds, then look at everything; a round that fails is the last."""
        result = self._result
        self._begin()
        try:
            for planned in rounds:
                result.failed_at = str(planned)
                self._round(planned)
                if self._wrong():
                    break
                result.failed_at = ""
            else:
                self._end()
        except PortcullisError as error:
            self._troubles.append(f"{type(error).__name__}: {error}")
        if result.failed_at:
            self._let_end_what_is_on_its_way()
        return self._finished()

    def _begin(self) -> None:
        logs = self._stage.folder / "logs"
        for number in range(1, self._workers + 1):
            name = f"worker-{number}"
            self._crew.add(Member(name, "worker", replace(self._stage.settings, instance_id=name), logs))
        self._crew.add(Member("warehouse", "warehouse", self._stage.settings, logs))
        self._exchange.start()
        self._ledger.start()
        self._load.start()
        self._wait_for_verdicts(now_us())
        self._crew.start()

    def _round(self, planned: Round) -> None:
        """Let the faults of a round happen, wait until everything is decided again, and look at what there is."""
        self._crew.upset = planned.upsets
        self._ledger.forget_times()
        began_us = now_us()
        strikes = self._striker.carry_out(planned)
        struck_us = max((strike.done_us for strike in strikes), default=began_us)
        resumed_us = self._wait_for_verdicts(struck_us)
        self._wait_for_answers()
        figures = self._result.figures
        figures.rounds += 1
        figures.happened.update(step.fault for step in planned.steps)
        if not planned.upsets:
            figures.observe(strikes, self._ledger, resumed_us)
        elif planned.faults == {Fault.KILL_BROKER}:
            figures.observe_broker(strikes[0], self._ledger, resumed_us)
        pause_s = self._ledger.longest_gap_us(range(self._stage.partitions), began_us, resumed_us) / _US
        self._tell(f"{planned}; longest pause of a lane {pause_s:.2f} s; all answered after {_since(began_us):.1f} s")
        if self._pause_max_s is not None and pause_s > self._pause_max_s:
            self._pauses.append(f"a lane paused for {pause_s:.2f} s, more than {self._pause_max_s:g} s, in {planned}")
        if figures.rounds % _ROWS_EVERY == 0:
            self._compare_rows()

    def _wait_for_verdicts(self, since_us: int) -> int:
        """Wait until each partition has a verdict decided after a moment; return when the last of them was seen."""
        waiting, last_us = set(range(self._stage.partitions)), 0
        for _ in self._until("no verdicts from partitions"):
            for partition in sorted(waiting):
                seen_us = self._ledger.resumed_us(partition, since_us)
                if seen_us is not None:
                    waiting.remove(partition)
                    last_us = max(last_us, seen_us)
            if not waiting:
                break
        return last_us

    def _wait_for_answers(self) -> None:
        """Wait until every order sent so far is answered and logged."""
        ends = self._ledger.requested()
        for _ in self._until("orders without verdict or audit event"):
            if not self._ledger.unanswered(ends):
                break

    def _until(self, missing: str) -> Iterator[None]:
        """Yield until the caller has what it waits for; NotRecoveredError when it takes too long."""
        deadline = time.monotonic() + _RECOVERY_S
        while time.monotonic() < deadline:
            self._ledger.check()
            self._load.check()
            yield
            time.sleep(_POLL_S)
        ends = self._ledger.requested()
        with self._ledger.lock:
            where = self._ledger.tally.first_unanswered(ends)
        raise NotRecoveredError(f"{missing} after {_RECOVERY_S:g} s: {where}")

    def _wrong(self) -> list[str]:
        """Return everything that was found wrong so far, in words."""
        with self._ledger.lock:
            found = list(self._ledger.tally.counts.problems)
        return [*self._troubles, *self._crew.unexpected, *found, *self._exchange.refused]

    def _compare_rows(self) -> None:
        """Stop the warehouse, let its sink catch up here, and compare its rows with the leaves."""
        with self._ledger.lock:
            leaves = {number: dict(log.rows) for number, log in self._ledger.tally.logs.items()}
        member = self._crew.members["warehouse"]
        with member.lock:
            self._crew.note_stop(member, member.stop())
            store_the_rest(self._stage.settings)
            with closing(connect(self._stage.settings.warehouse)) as warehouse:
                for number, expected in leaves.items():
                    wrong = differing_rows(warehouse, number, expected)
                    self._result.row_mismatches += wrong
                    if wrong:
                        self._troubles.append(f"{wrong} rows of log {number} are not its leaves")
            member.start()

    def _end(self) -> None:
        """End the load, let everything be worked through, stop all processes in good order and decide again."""
        self._end_load()
        self._exchange.stop()
        wait_until_settled(self._stage.settings, check=self._ledger.check)
        self._crew.stop_watching()
        for member in self._crew.members.values():
            self._crew.note_stop(member, member.stop())
        for _ in self._until("checkpoints that the ledger has not read"):
            if self._is_proven():
                break
        self._ledger.stop()
        self._tell("The oracle decides every message again ...")
        store_the_rest(self._stage.settings)
        with closing(connect(self._stage.settings.warehouse)) as warehouse:
            for number in range(self._stage.partitions):
                self._reckon(warehouse, number)

    def _let_end_what_is_on_its_way(self) -> None:
        """Send no more, and wait for answers: what has none when a run ends early is not lost for that alone."""
        with suppress(PortcullisError):
            self._end_load()

    def _end_load(self) -> None:
        """Send no more; wait until the ledger has read what was sent, and until all of it is answered."""
        self._load.stop()
        for _ in self._until("orders that the ledger has not read"):
            if sum(self._ledger.requested().values()) >= self._load.acknowledged:
                break
        self._wait_for_answers()

    def _is_proven(self) -> bool:
        with self._ledger.lock:
            return all(log.unproven == 0 for log in self._ledger.tally.logs.values())

    def _reckon(self, warehouse: Client, number: int) -> None:
        result, found = self._result, reckon(self._stage, warehouse, number, self._ledger.kept)
        result.limit_breaches += found.limit_breaches
        result.log_forks += found.log_forks
        result.row_mismatches += found.row_mismatches
        result.oracle_mismatches += found.oracle_mismatches
        self._troubles += found.problems
        judged = self._ledger.tally.logs[number].orders
        if found.orders != judged:
            self._troubles.append(f"the oracle found {found.orders} decisions in log {number}, the ledger {judged}")

    def _finished(self) -> ChaosResult:
        """Return the result with what the ledger and the crew have counted."""
        result, crew = self._result, self._crew
        ends = self._ledger.requested()
        with self._ledger.lock:
            tally = self._ledger.tally
            result.orders, result.approved = tally.requested.total(), tally.approved
            result.lost = tally.unanswered(ends) + max(0, self._load.acknowledged - result.orders)
            result.duplicated += tally.counts.duplicated + max(0, result.orders - self._load.sent)
            result.limit_breaches += tally.counts.limit_breaches
            result.log_forks += tally.counts.log_forks + len(self._exchange.refused)
        result.exits, result.unexpected_exits = dict(crew.exits), len(crew.unexpected)
        result.problems = [*self._wrong(), *self._pauses]
        return result


def _since(moment_us: int) -> float:
    return (now_us() - moment_us) / _US
