"""The register of persons: a handle commits to a person, and forgets them without touching the log."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.core.documents import PERSON
from streams.core.merkle import hash_leaf
from streams.wire.decisions import decode_audit_event, encode_audit_head
from streams.wire.people import HANDLE, PersonError, enrol, handle_of, look_up, shred
from tests.made_log import make_log

ANN = {"name": "Ann Example", "post": "CFO"}


def test_a_handle_is_a_name_for_certificates_and_says_nothing(tmp_path: Path) -> None:
    one, two = enrol(tmp_path, ANN), enrol(tmp_path, ANN)
    assert one.handle != two.handle
    for entry in (one, two):
        assert HANDLE.fullmatch(entry.handle)
        assert PERSON.fullmatch(entry.handle)
        assert look_up(tmp_path, entry.handle).identity == ANN
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_a_handle_binds_to_one_person(tmp_path: Path) -> None:
    entry = enrol(tmp_path, ANN)
    assert handle_of({"post": "CFO", "name": "Ann Example"}, entry.salt) == entry.handle
    assert handle_of({"name": "Bob Example", "post": "CFO"}, entry.salt) != entry.handle
    path = tmp_path / f"{entry.handle}.json"
    path.write_bytes(path.read_bytes().replace(b"Ann", b"Bob"))
    with pytest.raises(PersonError, match="another person's"):
        look_up(tmp_path, entry.handle)


def test_a_forgotten_person_leaves_the_log_as_it_was(tmp_path: Path) -> None:
    entry = enrol(tmp_path, ANN)
    event, _ = decode_audit_event(make_log(0, 8).leaves[3])
    leaf = encode_audit_head(event._replace(signer=entry.handle, approved_by=entry.handle), None)
    digest = hash_leaf(leaf)
    shred(tmp_path, entry.handle, by="dpo", reason="right to erasure", now_us=1)
    assert hash_leaf(leaf) == digest
    assert decode_audit_event(leaf)[0].signer == entry.handle
    for path in tmp_path.iterdir():
        assert b"Ann" not in path.read_bytes()
        assert entry.salt.hex().encode() not in path.read_bytes()
    with pytest.raises(PersonError, match="shredded"):
        look_up(tmp_path, entry.handle)
    with pytest.raises(PersonError, match="shredded"):
        shred(tmp_path, entry.handle, by="dpo", reason="again", now_us=2)


@pytest.mark.parametrize("handle", ["", "ceo@acme", "p-1", "p-" + "g" * 32, "../" + "p-" + "0" * 32])
def test_what_is_no_handle_is_refused(handle: str, tmp_path: Path) -> None:
    with pytest.raises(PersonError, match="required"):
        look_up(tmp_path, handle)
    with pytest.raises(PersonError, match="no entry"):
        look_up(tmp_path, "p-" + "0" * 32)
    with pytest.raises(PersonError, match="identity"):
        enrol(tmp_path, {})
