"""Other processes' reads of a warehouse in a folder, through the process that owns it."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import urllib3
from clickhouse_connect.driver.exceptions import DatabaseError

from streams.names import Topic
from streams.warehouse.columns import read_rows
from streams.warehouse.connection import connect, embedded_folder, reader_file
from streams.warehouse.rows import Record, cut_blocks
from streams.warehouse.serve import serve_reads
from streams.warehouse.store import Store
from tests.made_log import make_log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from clickhouse_connect.driver.client import Client

pytestmark = pytest.mark.integration

LOG = make_log(0, 400)


@pytest.fixture
def dsn(tmp_path: Path) -> Iterator[str]:
    """Yield a warehouse that this process owns and answers for."""
    dsn = f"chdb://{tmp_path}/warehouse"
    with closing(Store.open(dsn)) as store, serve_reads(dsn):
        for block in cut_blocks(
            [[Record(Topic.AUDIT_EVENTS, 0, i, 0, b"k", leaf) for i, leaf in enumerate(LOG.leaves)]]
        ):
            store.append(block)
        yield dsn


@pytest.fixture
def client(dsn: str) -> Iterator[Client]:
    """Yield the client that another process gets."""
    folder = embedded_folder(dsn)
    assert folder is not None
    with closing(connect(reader_file(folder).read_text() + "/portcullis")) as client:
        yield client


def test_another_process_reads_what_this_one_owns(dsn: str) -> None:
    answer = subprocess.run([sys.executable, __file__, dsn], capture_output=True, timeout=60, check=False)
    assert answer.stdout == b"400 True", answer.stderr


def test_a_reader_gets_what_the_owner_has(client: Client) -> None:
    assert [leaf for leaf, _ in read_rows(client, 0)] == list(LOG.leaves)
    found = client.query("SELECT count() FROM audit_events WHERE agent_id = {bot:String}", {"bot": "bot-0-1"})
    assert found.result_rows == [(80,)]


@pytest.mark.parametrize(
    "sql",
    [
        "TRUNCATE TABLE audit_events",
        "INSERT INTO alerts (alert_id) VALUES ('x')",
        "CREATE TABLE x (a Int8) ENGINE = Memory",
        "SET readonly = 0",
        "SELECT * FROM file('/etc/hostname', 'LineAsString')",
        "SELECT 1 INTO OUTFILE '/tmp/portcullis-out'",
        "SELECT 1 SETTINGS max_threads = 1",
    ],
)
def test_a_reader_can_only_read(client: Client, sql: str) -> None:
    with pytest.raises(DatabaseError):
        client.command(sql)
    assert client.query("SELECT count() FROM audit_events").result_rows == [(400,)]


def test_a_wrong_query_says_why(client: Client) -> None:
    with pytest.raises(DatabaseError, match="nowhere") as caught:
        client.query("SELECT * FROM nowhere")
    assert caught.value.code == 60


def test_an_error_within_an_answer_is_an_error(client: Client) -> None:
    with (
        pytest.raises(Exception, match=r"."),
        client.query_row_block_stream("SELECT throwIf(number = 5000000) FROM numbers(10000000)") as blocks,
    ):
        for _ in blocks:
            pass


def test_nobody_reads_without_the_password(dsn: str, tmp_path: Path) -> None:
    note = tmp_path / "warehouse.reader"
    assert note.stat().st_mode & 0o777 == 0o600
    address = urlsplit(note.read_text())
    http = urllib3.PoolManager()
    for headers in ({}, urllib3.make_headers(basic_auth="reader:guess"), urllib3.make_headers(basic_auth="reader:")):
        answer = http.request("POST", f"http://{address.hostname}:{address.port}/", body=b"SELECT 1", headers=headers)
        assert answer.status == 401
        assert b"1\n" not in answer.data
    http.clear()
    assert dsn


def test_the_note_goes_with_the_owner(tmp_path: Path) -> None:
    dsn = f"chdb://{tmp_path}/other"
    with closing(Store.open(dsn)), serve_reads(dsn):
        assert (tmp_path / "other.reader").exists()
    assert not (tmp_path / "other.reader").exists()


def test_an_owner_that_does_not_answer_is_said_so(tmp_path: Path) -> None:
    dsn = f"chdb://{tmp_path}/owned"
    with closing(Store.open(dsn)):
        answer = subprocess.run([sys.executable, __file__, dsn], capture_output=True, timeout=60, check=False)
    assert b"WarehouseUnavailableError" in answer.stderr


def main(dsn: str) -> None:
    """Read a warehouse that another process owns."""
    with closing(connect(dsn)) as client:
        leaves = [leaf for leaf, _ in read_rows(client, 0)]
    sys.stdout.write(f"{len(leaves)} {leaves == list(LOG.leaves)}")


if __name__ == "__main__":
    main(sys.argv[1])
