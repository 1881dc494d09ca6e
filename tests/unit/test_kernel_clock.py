"""The clock's source: the kernel's own words, asked seldom."""

from __future__ import annotations

import re

import pytest

from streams.agents import kernel_clock
from streams.agents.kernel_clock import KernelClock, describe


@pytest.mark.parametrize(
    ("status", "max_error_us", "text"),
    [
        (0x40, 1, "FREE"),
        (0x2041, 16_000_000, "FREE"),
        (0, 0, "SYNCHRONISED within 1 us"),
        (0x2001, 812, "SYNCHRONISED within 1024 us"),
        (0x2001, 1024, "SYNCHRONISED within 1024 us"),
        (0x2001, 1025, "SYNCHRONISED within 2048 us"),
    ],
)
def test_the_kernels_answer_in_words(status: int, max_error_us: int, text: str) -> None:
    assert describe(status, max_error_us) == text


def test_this_machine_answers() -> None:
    assert re.fullmatch(r"FREE|UNKNOWN|SYNCHRONISED within \d+ us", KernelClock().source(0))


def test_it_is_asked_every_ten_seconds_and_when_time_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter("abcd")
    monkeypatch.setattr(kernel_clock, "_ask", lambda: next(answers))
    clock = KernelClock()
    assert [clock.source(at) for at in (0, 9_999_999, 10_000_000, 19_999_999, 5, 6)] == list("aabbcc")
