from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from streams.kafka_security import for_aiokafka, security_problems
from streams.settings import Settings, SettingsError, load_settings
from streams.wire.devtls import make_dev_tls, password_properties, service_properties

PASSWORD = {
    "security.protocol": "SASL_SSL",
    "sasl.mechanism": "SCRAM-SHA-512",
    "sasl.username": "worker",
    "sasl.password": "hush",
}


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    make_dev_tls(folder, ["worker"])
    return folder


def test_without_properties_there_is_no_security() -> None:
    assert list(security_problems({})) == []
    assert for_aiokafka({}) == {}
    assert for_aiokafka({"security.protocol": "PLAINTEXT"}) == {}


def test_both_libraries_get_the_same(pki: Path) -> None:
    properties = service_properties(pki, "worker")
    assert list(security_problems(properties)) == []
    arguments = for_aiokafka(properties)
    assert arguments.keys() == {"security_protocol", "ssl_context"}
    assert arguments["security_protocol"] == "SSL"
    context = arguments["ssl_context"]
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert len(context.get_ca_certs()) == 1
    by_password = for_aiokafka(password_properties(pki, "worker", "hush"))
    assert by_password["sasl_mechanism"] == "SCRAM-SHA-512"
    assert (by_password["sasl_plain_username"], by_password["sasl_plain_password"]) == ("worker", "hush")


@pytest.mark.parametrize(
    ("properties", "part"),
    [
        ({"security.protocol": "SASL_PLAINTEXT"}, "one of PLAINTEXT, SASL_SSL, SSL required"),
        ({"security.protocol": "SSL", "ssl.endpoint.identification.algorithm": "none"}, "https required"),
        ({"security.protocol": "SSL", "enable.ssl.certificate.verification": "false"}, "no such property here"),
        ({"security.protocol": "SSL", "ssl.key.location": "/k"}, "both or none"),
        ({"ssl.ca.location": "/ca"}, "security.protocol: one of SASL_SSL, SSL required"),
        ({**PASSWORD, "security.protocol": "SSL", "sasl.mechanism": "GSSAPI"}, "SCRAM-SHA-512 required"),
        ({name: text for name, text in PASSWORD.items() if name != "sasl.password"}, "sasl.password: required"),
    ],
)
def test_what_would_leave_a_client_open_is_refused(properties: dict[str, str], part: str) -> None:
    assert any(part in problem for problem in security_problems(properties)), list(security_problems(properties))


def test_secrets_come_from_files_and_are_shown_to_nobody(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("hush\n")
    variables = {"KAFKA_SECURITY_" + name.upper().replace(".", "_"): text for name, text in PASSWORD.items()}
    del variables["KAFKA_SECURITY_SASL_PASSWORD"]
    settings = load_settings({**variables, "KAFKA_SECURITY_SASL_PASSWORD_FILE": str(path)})
    assert settings.kafka_security == PASSWORD
    assert settings.aiokafka_security()["sasl_plain_password"] == PASSWORD["sasl.password"]
    assert "hush" not in repr(settings)
    assert "hush" not in repr(Settings(warehouse_dsn="clickhouse://writer:hush@ch/portcullis"))
    with pytest.raises(SettingsError) as refused:
        load_settings({**variables, "KAFKA_SECURITY_SASL_PASSWORD_FILE": str(tmp_path / "none")})
    assert "KAFKA_SECURITY_SASL_PASSWORD_FILE: " in str(refused.value)
    assert "sasl.password: required" in str(refused.value)
    wrong = Settings(kafka_security={"security.protocol": "SSL", "ssl.ca.location": str(tmp_path / "none")})
    with pytest.raises(SettingsError, match="TLS of the Kafka clients"):
        wrong.aiokafka_security()
