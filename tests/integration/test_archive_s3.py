"""The archive on a real S3 API server with Object Lock, fed from the real broker."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from streams.archive.check import check_archive
from streams.archive.holds import extend, set_hold
from streams.archive.objects import agent_of
from streams.archive.running import open_store, run_archive
from streams.archive.store import ObjectDiffersError, ObjectStore, WrongStoreError
from streams.audit.keys import key_source
from streams.names import Topic
from streams.wire.avro import Schema, decode
from tests.integration.engine_rig import wait_until
from tests.integration.log_rig import LANES, LogWriter, log_topics, read_values, rig_settings, running
from tests.integration.s3_server import BUCKET, PASSWORD, USER, client, find_server, s3_server

SERVER = find_server()

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(120),
    pytest.mark.skipif(SERVER is None, reason="no S3 server: `make s3` builds versitygw into .portcullis/bin"),
]


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(str(SERVER), tmp_path_factory.mktemp("s3")) as endpoint:
        yield endpoint


@pytest.fixture
def store(endpoint: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> ObjectStore:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", USER)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PASSWORD)
    return open_store(f"s3://{BUCKET}/{request.node.name}?endpoint={endpoint}", 5)


def retention(endpoint: str, request: pytest.FixtureRequest, name: str) -> datetime:
    kept = client(endpoint).get_object_retention(Bucket=BUCKET, Key=f"{request.node.name}/{name}")["Retention"]
    assert kept["Mode"] == "COMPLIANCE"
    until: datetime = kept["RetainUntilDate"]
    return until


def test_objects_are_written_once_and_kept_five_years(
    store: ObjectStore, endpoint: str, request: pytest.FixtureRequest
) -> None:
    name = "agent-events/bot/0-1"
    store.put_once(name, b"first", held=False)
    store.put_once(name, b"first", held=False)
    with pytest.raises(ObjectDiffersError):
        store.put_once(name, b"second", held=False)
    assert store.get(name) == b"first"
    assert store.get("agent-events/bot/0-2") is None
    assert retention(endpoint, request, name) > datetime.now(UTC) + timedelta(days=5 * 365)
    key = f"{request.node.name}/{name}"
    version = client(endpoint).head_object(Bucket=BUCKET, Key=key)["VersionId"]
    with pytest.raises(Exception, match="object lock"):
        client(endpoint).delete_object(Bucket=BUCKET, Key=key, VersionId=version)


def test_seven_years_on_request_and_never_less(
    store: ObjectStore, endpoint: str, request: pytest.FixtureRequest
) -> None:
    name = "agent-events/bot/0-1"
    store.put_once(name, b"x", held=False)
    assert extend(store, "bot", 7) == 1
    assert retention(endpoint, request, name) > datetime.now(UTC) + timedelta(days=7 * 365)
    extend(store, "bot", 1)
    assert retention(endpoint, request, name) > datetime.now(UTC) + timedelta(days=7 * 365)


def test_a_legal_hold_is_set_and_lifted(store: ObjectStore, endpoint: str, request: pytest.FixtureRequest) -> None:
    name = "agent-events/bot/0-1"

    def held(name: str) -> str:
        key = f"{request.node.name}/{name}"
        answer: str = client(endpoint).get_object_legal_hold(Bucket=BUCKET, Key=key)["LegalHold"]["Status"]
        return answer

    store.put_once(name, b"x", held=False)
    assert set_hold(store, "bot", held=True, by="cfo@acme", reason="inquiry", now_us=1) == 1
    store.put_once("agent-events/bot/0-2", b"x", held=True)
    assert (held(name), held("agent-events/bot/0-2")) == ("ON", "ON")
    assert set_hold(store, "bot", held=False, by="cfo@acme", reason="over", now_us=2) == 2
    assert (held(name), list(store.names("legal-holds/"))) == ("OFF", [])


def test_a_bucket_without_object_lock_is_refused(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", USER)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PASSWORD)
    client(endpoint).create_bucket(Bucket="plain-bucket")
    with pytest.raises(WrongStoreError, match="Object Lock required"):
        open_store(f"s3://plain-bucket?endpoint={endpoint}", 5)


def test_the_log_is_archived_whole_and_a_foreign_object_holds_it(
    store: ObjectStore, kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    with log_topics(kafka, topic_prefix, LANES):
        settings = rig_settings(kafka, topic_prefix, tmp_path)
        keys = key_source(settings.pki, None)
        cluster = (settings.cluster(), settings.topic_prefix, settings.log_origin)
        archive = partial(run_archive, *cluster, keys, store)
        writer = LogWriter(settings, 60)
        writer.write(0, 20)

        def objects() -> int:
            return len(list(store.names("agent-events/")))

        with running(archive):
            assert wait_until(lambda: objects() == 20, 30)
        # Killed and started again it goes on; somebody has meanwhile taken a name that is not theirs.
        taken = f"agent-events/{agent_of(writer.leaves[0][25])}/0-25"
        store.put_once(taken, b"foreign", held=False)
        writer.write(0, 10)
        writer.write(1, 10)
        with running(archive):
            assert wait_until(lambda: objects() == 40, 30)
            assert wait_until(lambda: len(read_values(settings, Topic.RISK_ALERTS)) == 1, 30)
        (alert,) = (decode(Schema.ALERT, value) for value in read_values(settings, Topic.RISK_ALERTS))
        assert (alert["kind"], alert["severity"]) == ("ARCHIVE_HELD", "CRITICAL")
        assert f"{taken}: other bytes are there" in alert["message"]
        report = check_archive(store, settings.log_origin, keys)
        assert report.objects == 40
        assert not report.verified
        assert report.problems[0].startswith(f"{taken}: ")
