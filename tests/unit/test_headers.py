"""Record headers: the first of a name counts, and a dead letter's fit into its topic."""

from __future__ import annotations

import pytest

from streams.core.reasons import DeadLetterReason
from streams.wire.avro import DecodeError
from streams.wire.headers import (
    DEAD_LETTER_REASON,
    DEAD_LETTER_TEXT,
    SIGNATURE,
    SOURCE_OFFSET,
    SOURCE_TOPIC,
    THUMBPRINT,
    Header,
    cloud_event,
    dead_letter_headers,
    find_header,
    find_headers,
)

ERROR = DecodeError(DeadLetterReason.NOT_AVRO, "order.v1: EOFError")
OWN: list[Header] = [
    (DEAD_LETTER_REASON, b"NOT_AVRO"),
    (DEAD_LETTER_TEXT, b"order.v1: EOFError"),
    (SOURCE_TOPIC, b"orders.requested"),
    (SOURCE_OFFSET, b"42"),
]


def letter(*headers: Header) -> list[Header]:
    return dead_letter_headers(headers, ERROR, "orders.requested", 42)


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([], (b"", b"")),
        ([(THUMBPRINT, b"t"), ("other", b"o"), (SIGNATURE, b"s")], (b"s", b"t")),
        ([(SIGNATURE, b"first"), (SIGNATURE, b"second")], (b"first", b"")),
        # Kafka has headers without a value; they too are the first of their name.
        ([(SIGNATURE, None), (SIGNATURE, b"second"), (THUMBPRINT, b"t")], (b"", b"t")),
    ],
)
def test_the_first_of_a_name_counts(headers: list[Header], found: tuple[bytes, bytes]) -> None:
    assert find_headers(headers, SIGNATURE, THUMBPRINT) == found
    assert (find_header(headers, SIGNATURE), find_header(headers, THUMBPRINT)) == found


def test_one_header_is_found_or_empty() -> None:
    assert find_header([("a", b"1"), ("b", b"2"), ("b", b"3")], "b") == b"2"
    assert find_header([("a", b"1")], "b") == b""


def test_a_cloud_event_has_the_required_attributes() -> None:
    headers = dict(cloud_event("portcullis.order.approved", "/lanes/3", "3-17"))
    assert headers == {
        "ce_specversion": b"1.0",
        "ce_id": b"3-17",
        "ce_source": b"/lanes/3",
        "ce_type": b"portcullis.order.approved",
        "content-type": b"application/avro",
    }


def test_a_dead_letter_says_why_and_keeps_what_came() -> None:
    came: list[Header] = [(SIGNATURE, b"s"), ("x", b"\xff\0")]
    assert letter(*came) == OWN + came


def test_a_dead_letters_own_headers_come_first_so_a_sender_cannot_speak_for_the_gate() -> None:
    headers = letter((DEAD_LETTER_REASON, b"EMPTY"), (SOURCE_OFFSET, b"7"))
    assert find_header(headers, DEAD_LETTER_REASON) == b"NOT_AVRO"
    assert find_header(headers, SOURCE_OFFSET) == b"42"


def test_a_dead_letter_keeps_32_headers() -> None:
    came: list[Header] = [(f"h{place}", b"") for place in range(33)]
    assert letter(*came) == OWN + came[:32]


@pytest.mark.parametrize(("size", "kept"), [(64 * 1024 - 1, 1), (64 * 1024, 0)])
def test_a_dead_letter_keeps_64_kib(size: int, kept: int) -> None:
    came: list[Header] = [("n", bytes(size)), ("after", b"")]
    assert letter(*came) == OWN + came[:kept]


def test_a_dead_letters_text_is_bytes_whatever_it_has() -> None:
    error = DecodeError(DeadLetterReason.NOT_AVRO, "\ud800" + "x" * 2_000)
    text = find_header(dead_letter_headers([], error, "t", 0), DEAD_LETTER_TEXT)
    assert len(text) == 1_000
    assert text.startswith(b"?x")


def test_a_dead_letter_counts_names_that_are_not_utf_8() -> None:
    assert letter(("\udcff", b"v")) == [*OWN, ("\udcff", b"v")]
