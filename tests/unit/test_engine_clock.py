import time
from collections.abc import Iterator

import pytest

from streams.engine.clock import FetchClock


class Time:
    def __init__(self) -> None:
        self.now = 100.0
        self.cpu = 10.0

    def pass_by(self, seconds: float, *, busy: float) -> None:
        self.now += seconds
        self.cpu += seconds * busy


@pytest.fixture
def clock_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[Time]:
    clock_time = Time()
    monkeypatch.setattr(time, "monotonic", lambda: clock_time.now)
    monkeypatch.setattr(time, "process_time", lambda: clock_time.cpu)
    return clock_time  # type: ignore[return-value]


def wait_ms(clock: FetchClock) -> int:
    least_bytes, wait = clock.settings(settled=True)
    assert least_bytes == 1_000_000
    return wait


def load(clock: FetchClock, clock_time: Time, *, busy: float, seconds: float) -> None:
    for _ in range(round(seconds * 10)):
        clock_time.pass_by(0.1, busy=busy)
        clock.observe(10)


def test_waits_longer_under_load_and_shorter_when_there_is_cpu_to_spare(clock_time: Time) -> None:
    clock = FetchClock(10, 80)
    clock.observe(1)
    assert wait_ms(clock) == 10
    load(clock, clock_time, busy=1.2, seconds=10)
    assert wait_ms(clock) == 80
    load(clock, clock_time, busy=0.7, seconds=10)
    assert wait_ms(clock) == 80
    load(clock, clock_time, busy=0.2, seconds=10)
    assert wait_ms(clock) == 10


def test_equal_bounds_are_a_fixed_wait(clock_time: Time) -> None:
    clock = FetchClock(20, 20)
    for busy in (0.1, 1.5):
        load(clock, clock_time, busy=busy, seconds=5)
        assert wait_ms(clock) == 20


def test_the_first_record_after_a_pause_is_answered_at_once(clock_time: Time) -> None:
    clock = FetchClock(10, 80)
    clock.observe(1)
    clock_time.pass_by(0.3, busy=0.0)
    assert clock.settings(settled=True) == (1, 250)
    clock.observe(1)
    assert wait_ms(clock) == 10


def test_during_recovery_nothing_is_waited_for(clock_time: Time) -> None:
    del clock_time
    clock = FetchClock(10, 80)
    clock.observe(1)
    assert clock.settings(settled=False) == (1, 10)
