"""Roles of the warehouse, as `infra/clickhouse/roles.sql` grants them, tried on the real engine.

The engine in a folder has no users to make, but its one user can be given exactly the grants of a role by
configuration: what it then may and may not do is what a server's role may.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from streams.resources import resource
from streams.warehouse.tables import TABLES

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

PROGRAM = """
import json, sys
import chdb
folder, config = sys.argv[1:3]
connection = chdb.connect(f"{folder}?config-file={config}" if config else folder)
answers = []
for sql in json.load(sys.stdin):
    try:
        answers.append(str(connection.query(sql, "TabSeparated")))
    except RuntimeError as error:
        known = [name for name in ("ACCESS_DENIED", "VIOLATED_CONSTRAINT") if f"({name})" in str(error)]
        answers.append(known[0] if known else f"error: {error}")
json.dump(answers, sys.stdout)
"""
CONFIG = "<clickhouse><users_config>{users}</users_config></clickhouse>"
USERS = (
    "<clickhouse><profiles><default/></profiles><quotas><default/></quotas><users><default><password></password>"
    "<networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota><grants>{grants}</grants>"
    "</default></users></clickhouse>"
)
DENIED = "ACCESS_DENIED"
ORDER = "INSERT INTO portcullis.retention_orders (agent_id, years, held, ordered_by, reason) VALUES"
EXECUTION = "INSERT INTO portcullis.executions (kafka_partition, row_begin, row_end, agent_id, exec_id) VALUES"
EVENT = (
    "INSERT INTO portcullis.audit_events (kafka_partition, row_begin, row_end, agent_id, log_index, event_time) VALUES"
    " (0, {n}, {n}, '{bot}', {n}, now64(6, 'UTC') - toIntervalDay({days}))"
)
# What changes or removes rows that are there, by whatever name.
CHANGES = (
    "ALTER TABLE portcullis.executions DELETE WHERE 1",
    "ALTER TABLE portcullis.executions UPDATE agent_id = 'x' WHERE 1",
    "ALTER TABLE portcullis.executions DROP PARTITION tuple()",
    "ALTER TABLE portcullis.executions MODIFY TTL toDateTime(transact_time) + INTERVAL 1 SECOND",
    "DELETE FROM portcullis.executions WHERE 1",
    "TRUNCATE TABLE portcullis.executions",
    "DROP TABLE portcullis.executions",
    "RENAME TABLE portcullis.executions TO portcullis.other",
    "OPTIMIZE TABLE portcullis.executions FINAL DEDUPLICATE",
    "CREATE TABLE portcullis.executions2 AS portcullis.executions",
    "CREATE OR REPLACE VIEW portcullis.positions AS SELECT 1",
)


def grants_of(role: str) -> list[str]:
    statements = re.sub(r"--[^\n]*", "", resource("infra/clickhouse/roles.sql").read_text()).split(";")
    found = [text.strip().removesuffix(f" TO {role}") for text in statements if text.strip().endswith(f" TO {role}")]
    assert found
    return found


class Warehouse:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def ask(self, role: str, *queries: str) -> list[str]:
        """Return what the engine answers a user who has this role; the administrator where none is named."""
        config = ""
        if role:
            users, main = self.folder / f"{role}.users.xml", self.folder / f"{role}.xml"
            users.write_text(USERS.format(grants="".join(f"<query>{grant}</query>" for grant in grants_of(role))))
            main.write_text(CONFIG.format(users=users))
            config = str(main)
        command = [sys.executable, "-c", PROGRAM, str(self.folder / "data"), config]
        run = subprocess.run(command, input=json.dumps(queries), capture_output=True, text=True, check=True)
        answers: list[str] = json.loads(run.stdout)
        assert not [answer for answer in answers if answer.startswith("error: ")], answers
        return [answer.strip() for answer in answers]


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    made = Warehouse(tmp_path_factory.mktemp("roles"))
    scripts = [path.read_text() for path in sorted(resource("infra/clickhouse/tables").glob("*.sql"))]
    made.ask("", "CREATE DATABASE portcullis", "USE portcullis", *scripts, f"{EXECUTION} (0, 1, 1, 'bot', 'E-1')")
    return made


def test_the_writer_only_inserts(warehouse: Warehouse) -> None:
    allowed = [f"{EXECUTION} (0, 2, 2, 'bot', 'E-2')", "SELECT max(kafka_offset) FROM portcullis.executions"]
    forbidden = ["SELECT exec_id FROM portcullis.executions", f"{ORDER} ('bot', 5, true, 'x', 'x')", *CHANGES]
    answers = warehouse.ask("portcullis_writer", *allowed, *forbidden)
    assert answers[:2] == ["", "2"]
    assert dict(zip(forbidden, answers[2:], strict=True)) == dict.fromkeys(forbidden, DENIED)


def test_the_writer_inserts_into_every_table_of_the_sink() -> None:
    inserts = {grant.rpartition(".")[2] for grant in grants_of("portcullis_writer") if grant.startswith("GRANT INSERT")}
    assert inserts == {table.name for table in TABLES}


def test_the_reader_only_selects(warehouse: Warehouse) -> None:
    forbidden = [f"{EXECUTION} (0, 9, 9, 'bot', 'E-9')", f"{ORDER} ('bot', 5, true, 'x', 'x')", *CHANGES]
    answers = warehouse.ask("portcullis_reader", "SELECT exec_id FROM portcullis.executions LIMIT 1", *forbidden)
    assert answers[0] == "E-1"
    assert dict(zip(forbidden, answers[1:], strict=True)) == dict.fromkeys(forbidden, DENIED)


def test_a_records_officer_only_appends_orders(warehouse: Warehouse) -> None:
    forbidden = [
        f"{EXECUTION} (0, 9, 9, 'bot', 'E-9')",
        *CHANGES,
        "ALTER TABLE portcullis.retention_orders DELETE WHERE 1",
    ]
    answers = warehouse.ask("portcullis_records_officer", f"{ORDER} ('other', 5, false, 'cfo', 'none')", *forbidden)
    assert answers[0] == ""
    assert dict(zip(forbidden, answers[1:], strict=True)) == dict.fromkeys(forbidden, DENIED)


def test_only_what_is_old_and_under_no_hold_has_expired(warehouse: Warehouse) -> None:
    events = [
        EVENT.format(n=n, bot=bot, days=days)
        for n, (bot, days) in enumerate(
            [("plain", 100), ("plain", 2000), ("held", 2000), ("long", 2000), ("long", 2600), ("freed", 2000)]
        )
    ]
    orders = (
        f"{ORDER} ('held', 5, true, 'cfo@acme', 'inquiry'), ('long', 7, false, 'authority', 'on request')",
        f"{ORDER} ('freed', 5, true, 'cfo@acme', 'inquiry')",
        # Nobody shortens what was ordered, and a hold ends with an order of its own.
        f"{ORDER} ('long', 5, false, 'cfo@acme', 'shorter'), ('freed', 5, false, 'cfo@acme', 'over')",
    )
    expired = "SELECT agent_id, kafka_offset FROM portcullis.expired_events ORDER BY kafka_offset"
    assert warehouse.ask("", *events, *orders, expired)[-1].split("\n") == ["plain\t1", "long\t4", "freed\t5"]


def test_an_order_of_less_than_five_years_or_by_nobody_is_refused(warehouse: Warehouse) -> None:
    rows = ("('bot', 4, false, 'x', 'x')", "('bot', 5, true, '', 'x')", "('', 5, true, 'x', 'x')")
    assert warehouse.ask("", *(f"{ORDER} {row}" for row in rows)) == ["VIOLATED_CONSTRAINT"] * 3


def test_a_correction_is_another_row_and_both_stay(warehouse: Warehouse) -> None:
    insert = (
        "INSERT INTO portcullis.regulatory_records (kafka_partition, row_begin, row_end, record_id, quantity) VALUES"
    )
    rows = f"{insert} (0, 1, 1, 'R-1', 1), (0, 2, 2, 'R-2', 5), (0, 3, 3, 'R-1', 2)"
    asked = "SELECT record_id, version, quantity, latest FROM portcullis.record_versions ORDER BY record_id, version"
    answer = warehouse.ask("", rows, asked)[-1]
    assert answer.split("\n") == ["R-1\t1\t1\t0", "R-1\t2\t2\t1", "R-2\t1\t5\t1"]
