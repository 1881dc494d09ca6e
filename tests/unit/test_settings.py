from __future__ import annotations

from pathlib import Path

import pytest

from streams.settings import Settings, SettingsError, load_settings


def test_without_variables_everything_is_on_one_machine() -> None:
    settings = load_settings({})
    assert settings == Settings()
    assert settings.warehouse.startswith("chdb:///")
    assert settings.pki == Path(".portcullis/pki")
    with pytest.raises(SettingsError, match="KAFKA_BOOTSTRAP_SERVERS is not set"):
        settings.require_cluster()


def test_variables_move_to_a_cluster() -> None:
    settings = load_settings(
        {
            "KAFKA_BOOTSTRAP_SERVERS": "kafka:9092",
            "CLICKHOUSE_URL": "clickhouse://writer@ch/portcullis",
            "KAFKA_SECURITY_SECURITY_PROTOCOL": "SSL",
            "KAFKA_SECURITY_SSL_CA_LOCATION": "/etc/ca.pem",
            "PORTCULLIS_VERIFY_THREADS": "4",
        }
    )
    assert settings.require_cluster() == "kafka:9092"
    assert settings.warehouse == "clickhouse://writer@ch/portcullis"
    assert settings.kafka_security == {"security.protocol": "SSL", "ssl.ca.location": "/etc/ca.pem"}
    assert settings.verify_threads == 4


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(
            {
                "PORTCULLIS_VERIFY_THREADS": "0",
                "PORTCULLIS_FETCH_WAIT_MS_MAX": "soon",
                "PORTCULLIS_APP_ID": "two words",
                "PORTCULLIS_TYPO": "1",
            }
        )
    text = str(refused.value)
    for part in ("PORTCULLIS_VERIFY_THREADS: must be 1 to 64, is '0'", "MAX: ", "APP_ID: ", "TYPO: no such setting"):
        assert part in text
