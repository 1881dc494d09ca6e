"""A batch whose leaves are read many at once: each kind of change is found, and the record named."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import array, int64, parquet

from streams.core.executions import traded_eur_e5
from streams.core.merkle import hash_leaf
from streams.reports import bulk
from streams.reports.arrays import decimal_column, integers, time_texts
from streams.reports.executed import values_in_eur
from streams.reports.export import BatchRange, export_batch
from streams.reports.facts import Facts
from streams.reports.layout import KEY_NAME, ORDERS, Extent, columns_file
from streams.reports.leaves import Selection
from streams.reports.verify import verify_batch
from streams.rig.batch_mutations import KINDS, change_batch, sign_again
from streams.rig.evidence import Evidence, LogCopy
from streams.rig.made import ORIGIN, MadeLogs, log_signer
from streams.wire.note import Signer
from streams.wire.regulatory import LAST_US, date_time_text

if TYPE_CHECKING:
    from collections.abc import Iterator

LEAVES, FEWEST = 300, 50
FOREVER_US = 4_102_444_800_000_000


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evidence]:
    folder = tmp_path_factory.mktemp("large")
    logs, report, log = MadeLogs(folder, 1, LEAVES), Signer.from_seed(KEY_NAME, bytes(32)), log_signer(0)
    logs.write()
    export_batch(logs, BatchRange(0, FOREVER_US), folder / "batch", report, ORIGIN)
    copy = LogCopy(f"{ORIGIN}/0", list(logs.leaves(0)), [note for _, note in logs.checkpoints(0)])
    with pytest.MonkeyPatch.context() as patch:
        # At 400 and more of a kind in earnest.
        patch.setattr(bulk, "_FEWEST", FEWEST)
        yield Evidence(
            origin=ORIGIN,
            logs={0: copy},
            batch=folder / "batch",
            archive=folder / "archive",
            keys=(log.verifier,),
            batch_keys=(report.verifier, log.verifier),
            signers={0: log},
            report_signer=report,
        )


def test_its_leaves_are_read_at_once(evidence: Evidence) -> None:
    log = evidence.logs[0]
    reader = bulk.BulkReader(Facts(), Selection(), set(), set())
    read = reader.read(log.leaves, Extent(0, 0, 0, LEAVES), [hash_leaf(leaf) for leaf in log.leaves])
    assert read.rest == []
    report = verify_batch(evidence.batch, evidence.batch_keys)
    assert (report.verified, report.leaves, report.records) == (True, LEAVES, LEAVES * 6 // 5)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_change_is_found_and_named(evidence: Evidence, kind: str) -> None:
    with change_batch(evidence, Random(f"large {kind}"), kind) as mutation:
        found = mutation.check()
        assert found
        assert mutation.is_named(found), found[:3]


@pytest.mark.parametrize(
    "change", ["SplmtryData.leaf_sha256", "Ordr.OrdrIdData.TmStmp", "Ordr.OrdrData.InstrData.InitlQty.Unit"]
)
def test_a_changed_column_of_one_record_is_named(evidence: Evidence, change: str) -> None:
    path = evidence.batch / columns_file(ORDERS)
    kept = {each: each.read_bytes() for each in evidence.batch.glob("*.*")}
    table = parquet.read_table(path)
    place, number = 77, table.schema.get_field_index(change)
    values: list[Any] = table.column(number).to_pylist()
    values[place] = values[place + 1]
    changed = table.set_column(number, table.schema.field(number), array(values, table.schema.field(number).type))
    assert not changed.equals(table)
    try:
        parquet.write_table(changed, path, row_group_size=len(table))
        sign_again(evidence.batch, path, evidence.report_signer)
        (problem,) = evidence.check_batch()
    finally:
        for each, data in kept.items():
            each.write_bytes(data)
    leaf = table.column("SplmtryData.leaf")[place].as_py()
    assert problem == f"orders.parquet: the record of log 0 leaf {leaf} is not what the leaf says"


@settings(deadline=None)
@given(st.lists(st.integers(0, LAST_US) | st.integers(1_767_225_600_000_000, 1_767_229_200_000_000), max_size=20))
def test_moments_are_written_as_one_by_one(moments_us: list[int]) -> None:
    assert time_texts(array(moments_us, int64())).to_pylist() == list(map(date_time_text, moments_us))


FACTOR = st.integers(-(10**29), 10**29) | st.integers(0, 10**18) | st.sampled_from((0, 5 * 10**16, 15 * 10**16))


@settings(deadline=None)
@given(st.lists(st.tuples(FACTOR, FACTOR, st.integers(0, 10**17 - 1) | st.just(10**13)), max_size=5))
def test_values_are_rounded_as_one_by_one(trades: list[tuple[int, int, int]]) -> None:
    quantities, prices, rates = ([trade[part] for trade in trades] for part in range(3))
    found = values_in_eur(decimal_column(quantities, 17), decimal_column(prices, 13), array(rates, int64()))
    assert integers(found) == [traded_eur_e5(*trade) for trade in trades]
