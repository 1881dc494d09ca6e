"""Settings: one frozen object read from the environment; every wrong value is named at once.

The environment decides between one machine and a firm (DESIGN: where it runs): without `KAFKA_BOOTSTRAP_SERVERS` the
commands start their own broker, without `PORTCULLIS_WAREHOUSE_DSN` the warehouse is ClickHouse's engine in a folder.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streams.core.errors import PortcullisError
from streams.kafka_security import for_aiokafka, security_problems

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class SettingsError(PortcullisError):
    """Settings that do not hold; names each variable, its limit and its value."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What differs from one place to the next; everything else is data in `topology/` or policy."""

    home: Path = Path(".portcullis")
    kafka_bootstrap_servers: str = ""
    warehouse_dsn: str = field(default="", repr=False)
    pki_dir: Path = Path()
    dti_list: Path = Path()
    app_id: str = "portcullis"
    lanes: int = 0
    topic_prefix: str = ""
    log_origin: str = "portcullis.local/log"
    instance_id: str = ""
    verify_threads: int = 2
    batch_records_max: int = 2000
    rows_in_memory_max: int = 0
    fetch_wait_ms_min: int = 15
    fetch_wait_ms_max: int = 80
    session_timeout_ms: int = 6000
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 0
    log_format: str = "text"
    otlp_endpoint: str = ""
    enforcer_host: str = "127.0.0.1"
    enforcer_port: int = 8443
    enforcer_agents: tuple[str, ...] = ()
    enforcer_certificate: Path = Path()
    enforcer_key: Path = Path()
    enforcer_timeout_ms: int = 1000
    enforcer_rate_max_per_s: int = 500
    kafka_security: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def warehouse(self) -> str:
        """Return the warehouse's DSN, by default ClickHouse's engine in the home folder."""
        return self.warehouse_dsn or f"chdb:///{(self.home / 'warehouse').resolve()}"

    @property
    def group(self) -> str:
        """Return the consumer group of the workers; their transactional ids and changelog topics begin with it."""
        return self.topic_prefix + self.app_id

    @property
    def pki(self) -> Path:
        """Return the folder of keys and certificates, by default in the home folder."""
        return self.pki_dir if self.pki_dir != Path() else self.home / "pki"

    def require_cluster(self) -> str:
        """Return the cluster's address.

        Raises: SettingsError where none is set.
        """
        if not self.kafka_bootstrap_servers:
            raise SettingsError("KAFKA_BOOTSTRAP_SERVERS is not set: which cluster?")
        return self.kafka_bootstrap_servers

    def cluster(self) -> dict[str, str]:
        """Return the configuration of a client of the cluster. Raises: SettingsError where no address is set."""
        return {"bootstrap.servers": self.require_cluster(), **self.kafka_security}

    def aiokafka_security(self) -> dict[str, Any]:
        """Return `kafka_security` as aiokafka's arguments.

        Raises: SettingsError where a certificate or key cannot be read.
        """
        try:
            return for_aiokafka(self.kafka_security)
        except OSError as error:
            raise SettingsError(f"TLS of the Kafka clients: {error}") from None


def _bounded(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise ValueError(f"must be {low} to {high}")
        return value

    return read


def _word(text: str) -> str:
    if len(text) > 200 or any(c.isspace() for c in text):
        raise ValueError("must be at most 200 characters without spaces")
    return text


def _choice(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return text

    return read


def _words(text: str) -> tuple[str, ...]:
    return tuple(_word(part.strip()) for part in text.split(",") if part.strip())


# variable → (field, reader); KAFKA_*, OTEL_* and CLICKHOUSE_URL are the names that other tools use.
_VARIABLES: dict[str, tuple[str, Callable[[str], object]]] = {
    "PORTCULLIS_HOME": ("home", Path),
    "KAFKA_BOOTSTRAP_SERVERS": ("kafka_bootstrap_servers", _word),
    "CLICKHOUSE_URL": ("warehouse_dsn", _word),
    "PORTCULLIS_WAREHOUSE_DSN": ("warehouse_dsn", _word),
    "PORTCULLIS_PKI_DIR": ("pki_dir", Path),
    "PORTCULLIS_DTI_LIST": ("dti_list", Path),
    "PORTCULLIS_APP_ID": ("app_id", _word),
    "PORTCULLIS_TOPIC_PREFIX": ("topic_prefix", _word),
    "PORTCULLIS_LANES": ("lanes", _bounded(0, 1024)),
    "PORTCULLIS_LOG_ORIGIN": ("log_origin", _word),
    "PORTCULLIS_INSTANCE_ID": ("instance_id", _word),
    "PORTCULLIS_VERIFY_THREADS": ("verify_threads", _bounded(1, 64)),
    "PORTCULLIS_BATCH_RECORDS_MAX": ("batch_records_max", _bounded(1, 20_000)),
    "PORTCULLIS_ROWS_IN_MEMORY_MAX": ("rows_in_memory_max", _bounded(0, 100_000_000)),
    "PORTCULLIS_FETCH_WAIT_MS_MIN": ("fetch_wait_ms_min", _bounded(0, 1000)),
    "PORTCULLIS_FETCH_WAIT_MS_MAX": ("fetch_wait_ms_max", _bounded(1, 1000)),
    "PORTCULLIS_SESSION_TIMEOUT_MS": ("session_timeout_ms", _bounded(6000, 300_000)),
    "PORTCULLIS_METRICS_HOST": ("metrics_host", _word),
    "PORTCULLIS_METRICS_PORT": ("metrics_port", _bounded(0, 65_535)),
    "OTEL_EXPORTER_OTLP_ENDPOINT": ("otlp_endpoint", _word),
    "PORTCULLIS_LOG_FORMAT": ("log_format", _choice("text", "json")),
    "PORTCULLIS_ENFORCER_HOST": ("enforcer_host", _word),
    "PORTCULLIS_ENFORCER_PORT": ("enforcer_port", _bounded(1, 65_535)),
    "PORTCULLIS_ENFORCER_AGENTS": ("enforcer_agents", _words),
    "PORTCULLIS_ENFORCER_CERTIFICATE": ("enforcer_certificate", Path),
    "PORTCULLIS_ENFORCER_KEY": ("enforcer_key", Path),
    "PORTCULLIS_ENFORCER_TIMEOUT_MS": ("enforcer_timeout_ms", _bounded(200, 60_000)),
    "PORTCULLIS_ENFORCER_RATE_MAX_PER_S": ("enforcer_rate_max_per_s", _bounded(1, 100_000)),
}
# Read where it is needed: where the local broker's jars are kept.
_READ_ELSEWHERE = {"PORTCULLIS_KAFKA_HOME"}
# The risk desk's own, read by `streams.desk.settings`.
_DESK_PREFIX = "PORTCULLIS_DESK_"
_SECURITY_PREFIX = "KAFKA_SECURITY_"
_FILE_SUFFIX = ".file"


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from the environment.

    `KAFKA_SECURITY_SASL_MECHANISM=…` becomes the client property `sasl.mechanism`, and so on;
    `KAFKA_SECURITY_SASL_PASSWORD_FILE=…` names the file that holds the value.
    Raises: SettingsError naming every variable that does not hold.
    """
    environment = os.environ if environment is None else environment
    values: dict[str, object] = {}
    problems: list[str] = []
    for variable, (name, reader) in _VARIABLES.items():
        text = environment.get(variable, "")
        if not text:
            continue
        try:
            values[name] = reader(text)
        except ValueError as error:
            problems.append(f"{variable}: {error}, is {text[:80]!r}")
    known = _VARIABLES.keys() | _READ_ELSEWHERE
    ours = [v for v in environment if v.startswith("PORTCULLIS_") and not v.startswith(_DESK_PREFIX)]
    unknown = [v for v in ours if v not in known]
    problems += [f"{variable}: no such setting" for variable in unknown]
    security = _security(environment, problems)
    if problems:
        raise SettingsError("settings refused: " + "; ".join(problems))
    return Settings(**values, kafka_security=security)  # type: ignore[arg-type]


def _security(environment: Mapping[str, str], problems: list[str]) -> dict[str, str]:
    """Return the properties of Kafka clients that the environment names, and add what does not hold."""
    properties: dict[str, str] = {}
    for variable, text in environment.items():
        if not variable.startswith(_SECURITY_PREFIX) or not text:
            continue
        name = variable.removeprefix(_SECURITY_PREFIX).lower().replace("_", ".")
        if not name.endswith(_FILE_SUFFIX):
            properties[name] = text
            continue
        try:
            properties[name.removesuffix(_FILE_SUFFIX)] = Path(text).read_text().rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"{variable}: {error}")
    problems += [f"{_SECURITY_PREFIX}*: {problem}" for problem in security_problems(properties)]
    return properties
