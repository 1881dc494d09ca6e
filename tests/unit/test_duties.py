"""Segregation of duties: the chain is shown, and each way in which it breaks is said in words."""

from __future__ import annotations

from dataclasses import replace

from streams.wire.duties import verify_duties
from tests.gate_world import NOON
from tests.wire_world import Parties

PARTIES = Parties.make()


def test_a_chain_that_holds() -> None:
    duties = verify_duties(PARTIES.record(), PARTIES.trust, NOON)
    assert (duties.verified, duties.problems) == (True, ())
    roles = [link.role for link in duties.chain]
    assert roles[:2] == ["board's approver", "operator"]
    assert roles[-1] == "bot"
    assert set(roles[2:-1]) == {"certificate authority"}
    assert [link.name for link in duties.chain[:2]] == ["ceo@acme", "acme_trading_ltd"]
    assert duties.chain[-1].name == duties.agent_id
    assert duties.chain[-1].certificate_sha256 in duties.chain[1].signed
    assert duties.chain[0].signed.startswith("policy ")
    assert list(duties.as_dict()) == ["verified", "agent_id", "chain", "problems"]


def test_each_break_is_said_in_words() -> None:
    strangers = Parties.make()
    trust = replace(PARTIES.trust, approvers=strangers.trust.approvers, ca_roots=strangers.trust.ca_roots)
    duties = verify_duties(PARTIES.record(), trust, NOON)
    assert not duties.verified
    assert any(p.startswith("approver_certificate: one of") for p in duties.problems), duties.problems
    assert any("a path to a trusted CA required" in p for p in duties.problems)
    assert len(duties.chain) >= 4
    late = verify_duties(PARTIES.record(), PARTIES.trust, NOON + 100 * 366 * 86_400_000_000)
    assert any("validity" in p or "valid from" in p for p in late.problems)


def test_what_is_no_registration_has_no_chain() -> None:
    duties = verify_duties(b"none", PARTIES.trust, NOON)
    assert (duties.chain, duties.verified) == ((), False)
    assert duties.problems[0].startswith("record: ")
