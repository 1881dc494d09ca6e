"""Sessions, limits, accounts, settings: what stands between a stranger and the kill switch."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from streams.desk.accounts import AccountError, Accounts
from streams.desk.people import DeskRole, Identity, Method
from streams.desk.rates import RateLimit
from streams.desk.sessions import Sessions
from streams.desk.settings import load_desk_settings
from streams.settings import SettingsError, load_settings
from tests.desk_world import QUICK

JANE = Identity("jane@acme", DeskRole.RISK, "", Method.PASSWORD)


def sessions() -> Sessions:
    numbers = itertools.count()
    return Sessions(lambda: f"token-{next(numbers)}", idle_s=1800, total_s=43_200)


def test_a_session_ends_when_it_is_not_used_and_after_its_whole_time() -> None:
    kept = sessions()
    session, token = kept.open(JANE, 0)
    assert kept.find(token, 1800) is session
    assert kept.find(token, 1801) is None
    session, token = kept.open(JANE, 0)
    for now_s in range(0, 43_200, 1000):
        assert kept.find(token, now_s) is session
        token = kept.touch(session, now_s) or token
    assert kept.find(token, 43_201) is None


def test_a_used_token_is_replaced_and_the_old_one_serves_two_minutes_more() -> None:
    kept = sessions()
    session, first = kept.open(JANE, 0)
    assert kept.touch(session, 100) is None
    second = kept.touch(session, 900)
    assert second not in (None, first)
    assert kept.find(first, 1000) is session
    assert kept.find(first, 1021) is None
    assert second is not None
    assert kept.find(second, 1021) is session


def test_a_closed_session_is_gone_with_all_its_tokens() -> None:
    kept = sessions()
    session, first = kept.open(JANE, 0)
    second = kept.touch(session, 900)
    kept.close_all_of(JANE.name)
    assert kept.find(first, 901) is None
    assert second is not None
    assert kept.find(second, 901) is None
    assert not kept.alive(session, 901)


def test_a_limit_lets_a_burst_pass_and_then_its_rate() -> None:
    limit = RateLimit(burst=3, per_s=0.5)
    assert [limit.wait_s("jane", 0) for _ in range(4)] == [0, 0, 0, 2]
    assert limit.wait_s("john", 0) == 0
    assert limit.wait_s("jane", 2) == 0
    assert limit.wait_s("jane", 2) > 0
    limit.forgive("jane")
    assert limit.wait_s("jane", 2) == 0


def test_a_password_is_kept_as_a_hash_in_a_file_of_its_owners(tmp_path: Path) -> None:
    path = tmp_path / "desk" / "users.json"
    accounts = Accounts(path)
    given = accounts.add("jane@acme", DeskRole.RISK)
    assert given not in path.read_text()
    assert "argon2id" in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    user = accounts.verify("jane@acme", given)
    assert user is not None
    assert user.one_time
    assert accounts.verify("jane@acme", given + "x") is None
    assert accounts.verify("john@acme", given) is None
    accounts.choose("jane@acme", "correct horse battery")
    chosen = accounts.verify("jane@acme", "correct horse battery")
    assert chosen is not None
    assert not chosen.one_time
    assert accounts.verify("jane@acme", given) is None


def test_two_users_never_get_the_same_password(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path / "users.json", QUICK)
    given = {accounts.add(f"user-{number}", DeskRole.VIEWER) for number in range(3)}
    assert len(given) == 3
    assert all(len(password) >= 20 for password in given)


def test_a_user_without_a_password_cannot_sign_in_with_one(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path / "users.json", QUICK)
    assert accounts.add("jane@acme", DeskRole.VIEWER, with_password=False) == ""
    assert accounts.verify("jane@acme", "") is None
    assert accounts.identify("jane@acme", Method.CERTIFICATE) is not None


@pytest.mark.parametrize(
    ("name", "role", "operator"),
    [
        ("has space", DeskRole.RISK, ""),
        ("", DeskRole.RISK, ""),
        ("jane@acme", DeskRole.OPERATOR, ""),
        ("jane@acme", DeskRole.RISK, "acme_trading_ltd"),
    ],
)
def test_a_user_that_does_not_hold_is_refused(tmp_path: Path, name: str, role: DeskRole, operator: str) -> None:
    with pytest.raises(AccountError):
        Accounts(tmp_path / "users.json", QUICK).add(name, role, operator)


def test_names_are_there_once_and_gone_when_removed(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path / "users.json", QUICK)
    accounts.add("jane@acme", DeskRole.VIEWER)
    with pytest.raises(AccountError, match="already"):
        accounts.add("jane@acme", DeskRole.RISK)
    accounts.remove("jane@acme")
    assert accounts.identify("jane@acme", Method.PASSWORD) is None
    with pytest.raises(AccountError, match="not there"):
        accounts.remove("jane@acme")
    with pytest.raises(AccountError, match="12"):
        accounts.choose("jane@acme", "short")


def test_a_broken_users_list_lets_nobody_in(tmp_path: Path) -> None:
    path = tmp_path / "users.json"
    path.write_text('{"users": [{"name": "jane@acme", "role": "god"}]}')
    with pytest.raises(AccountError):
        Accounts(path).users()


def test_the_desk_listens_on_this_machine_alone_unless_there_is_tls() -> None:
    assert load_desk_settings({}).host == "127.0.0.1"
    with pytest.raises(SettingsError, match="TLS"):
        load_desk_settings({"PORTCULLIS_DESK_HOST": "0.0.0.0"})  # noqa: S104 - refused
    behind = load_desk_settings(
        {"PORTCULLIS_DESK_HOST": "0.0.0.0", "PORTCULLIS_DESK_PUBLIC_URL": "https://desk.acme.example/"}  # noqa: S104
    )
    assert (behind.origin, behind.secure) == ("https://desk.acme.example", True)


def test_every_wrong_setting_is_named() -> None:
    wrong = {"PORTCULLIS_DESK_PORT": "many", "PORTCULLIS_DESK_COLOUR": "red", "PORTCULLIS_DESK_OPENID_ISSUER": "x"}
    with pytest.raises(SettingsError) as refused:
        load_desk_settings(wrong)
    assert all(name in str(refused.value) for name in ("PORT", "COLOUR", "OPENID_CLIENT_ID"))
    assert load_settings({"PORTCULLIS_DESK_PORT": "8088"}).home == Path(".portcullis")
