"""The bot library against a real broker and worker: verdicts come back proven, and silence is never an approval."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from streams.client import (
    BotClient,
    DeadLetteredError,
    NotSentError,
    OrderLinkError,
    VerdictTimeoutError,
    connect,
    load_signer,
)
from streams.client.bot import NotOurOrderError, open_link
from streams.core.reasons import Reason
from streams.wire import devpki
from streams.wire.signed_orders import sign_order
from tests.floor import BOTS, environment, open_floor, small_order

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.settings import Settings

pytestmark = pytest.mark.integration

BOT = BOTS[0]
EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(scope="module")
def floor(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with open_floor(tmp_path_factory.mktemp("floor"), kafka) as settings:
        yield settings


@pytest.fixture(scope="module")
def bot(floor: Settings) -> Iterator[BotClient]:
    with connect(floor, BOT) as client:
        yield client


def test_an_approval_comes_with_its_place_in_the_log(bot: BotClient, floor: Settings) -> None:
    answer = bot.submit(small_order(BOT))
    assert answer.approved
    assert answer.inclusion is not None
    assert answer.inclusion.index == answer.verdict.log_index
    assert answer.inclusion.checkpoint.origin == f"{floor.log_origin}/{answer.verdict.request_partition}"


def test_a_refusal_names_its_reason(bot: BotClient) -> None:
    answer = bot.submit(small_order(BOT, ex_destination="XXXX"))
    assert (answer.approved, answer.inclusion, answer.verdict.reason) == (False, None, Reason.VENUE_NOT_ALLOWED)


def test_many_wait_at_once_and_each_gets_its_own(bot: BotClient) -> None:
    async def trade() -> list[str]:
        orders = [small_order(BOT, region="eu-west-1" if n % 3 else "mars") for n in range(60)]
        answers = await asyncio.gather(*(bot.submit_async(order) for order in orders))
        assert [answer.verdict.cl_ord_id for answer in answers] == [order.cl_ord_id for order in orders]
        return [answer.verdict.reason for answer in answers]

    assert asyncio.run(trade()) == ["NONE" if n % 3 else "REGION_NOT_ALLOWED" for n in range(60)]


def test_an_order_that_has_expired_is_refused(bot: BotClient) -> None:
    answer = bot.submit(small_order(BOT, expire_time_us=time.time_ns() // 1000 - 1))
    assert [failure.reason for failure in answer.verdict.failures] == [Reason.STALE_ORDER]


def test_silence_is_an_error(bot: BotClient) -> None:
    with pytest.raises(VerdictTimeoutError, match="none within 0 s"):
        bot.submit(small_order(BOT), timeout_s=0)
    with pytest.raises(NotOurOrderError):
        bot.submit(small_order(BOTS[1]))
    assert bot.submit(small_order(BOT)).approved


def test_what_is_no_order_comes_back_as_such(floor: Settings) -> None:
    link = open_link(floor)
    link.start()
    try:
        message = sign_order(small_order(BOT), load_signer(floor.home / "agents", BOT))
        with pytest.raises(DeadLetteredError):
            link.send(replace(message, value=message.value + b"\0")).result(20)
        link.send(message)
        with pytest.raises(NotSentError, match="waiting"):
            link.send(message)
    finally:
        link.stop()


def test_an_approval_without_a_valid_proof_is_none(floor: Settings, tmp_path: Path) -> None:
    other = replace(floor, pki_dir=tmp_path / "pki")
    devpki.make_dev_pki(other.pki)
    with connect(other, BOT) as client, pytest.raises(Exception, match="proof"):
        client.submit(small_order(BOT))


def test_a_cluster_that_is_away_is_said(floor: Settings) -> None:
    away = replace(floor, kafka_bootstrap_servers="127.0.0.1:1")
    link = open_link(away, delivery_timeout_s=1)
    with pytest.raises(OrderLinkError):
        link.start(0.5)
    with pytest.raises(NotSentError, match="not connected"):
        link.send(sign_order(small_order(BOT), load_signer(floor.home / "agents", BOT)))
    link.stop()


@pytest.mark.parametrize(
    ("example", "says"), [("plain_bot.py", ["approved; leaf"]), ("asyncio_bot.py", ["approved", "MAX_ORDER_VALUE"])]
)
def test_the_examples_run(floor: Settings, example: str, says: list[str]) -> None:
    command = [sys.executable, str(EXAMPLES / example), BOT]
    done = subprocess.run(command, env=environment(floor), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    for text in says:
        assert text in done.stdout
