"""What a verdict shows of values and of a message's own text."""

from __future__ import annotations

import pytest

from streams.core.texts import names_text, shown, time_text
from tests.gate_world import us


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("BTC_USDT", "BTC_USDT"),
        ("x" * 60, "x" * 60),
        ("x" * 61, "x" * 60 + "..."),
        ("a\nb\x1b[2J", "a\\nb\\x1b[2J"),
        ("é\u202e\ud800", "\\xe9\\u202e\\ud800"),
        ("", ""),
    ],
)
def test_a_messages_text_is_shown_harmless_and_short(text: str, expected: str) -> None:
    assert shown(text) == expected


@pytest.mark.parametrize(
    ("at_us", "expected"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (us("2026-06-03T12:00:00.000001+00:00"), "2026-06-03T12:00:00.000001Z"),
        (us("9999-12-29T23:59:59.999999+00:00"), "9999-12-29T23:59:59.999999Z"),
        (us("9999-12-30T00:00:00+00:00"), "253402128000000000 us"),
        (-1, "-1 us"),
        (2**63, "9223372036854775808 us"),
    ],
)
def test_a_time_has_six_digits_and_its_zone(at_us: int, expected: str) -> None:
    assert time_text(at_us) == expected


def test_names_are_sorted() -> None:
    assert names_text(frozenset({"b", "a", "C"})) == "C, a, b"
    assert names_text(frozenset()) == ""
