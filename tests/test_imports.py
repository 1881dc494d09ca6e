"""The direction of imports: bytes → wire → core (pure) → effects, and each outside library in one place."""

import ast
import functools
import sys
from pathlib import Path

import pytest

STREAMS = Path(__file__).parent.parent / "streams"

USUAL = {"core", "wire", "names", "settings"}
# Package → what it may import of ours. A package not named here may import everything but the command line.
MAY_IMPORT = {
    "core": {"core"},
    "wire": {"core", "wire", "resources"},
    "engine": {"engine"},
    "audit": {"core", "wire", "audit", "names", "pulse"},
    "witness": {"core", "wire", "audit", "witness", "names", "pulse"},
    "archive": {"core", "wire", "audit", "archive", "names", "pulse"},
    "detect": {"core", "detect"},
    "agents": {"core", "wire", "audit", "engine", "agents", "names"},
    "warehouse": {"core", "wire", "audit", "warehouse", "resources", "names", "settings", "pulse"},
    "reports": {"core", "wire", "audit", "warehouse", "reports", "resources", "names"},
    "replay": USUAL | {"agents", "engine", "app", "sim", "rig", "kafka", "warehouse", "replay"},
    "desk": USUAL | {"audit", "venue", "kafka", "desk", "clock", "https", "incidents", "pulse", "resources"},
    "notify": {"core", "wire", "notify", "names", "settings", "pulse"},
    "client": {"core", "wire", "audit", "venue", "kafka", "client", "names", "settings"},
    "enforcer": USUAL | {"audit", "venue", "kafka", "client", "telemetry", "enforcer", "https"},
    "telemetry": {"core", "wire", "agents", "engine", "telemetry", "pulse", "settings"},
    "kafka": {"core", "wire", "kafka", "names", "settings"},
    "local": {"core", "local", "resources"},
    "topics": {"core", "topics", "resources", "names"},
    "settings": {"core", "kafka_security"},
    "clock": set(),
    "https": set(),
    "incidents": {"core", "wire", "audit", "kafka", "reports", "names", "settings"},
    "repartition": USUAL | {"agents", "audit", "engine", "kafka", "rig", "topics", "repartition"},
    "pulse": set(),
    "kafka_security": set(),
    "names": set(),
    "resources": set(),
}
OWNERS = {
    "fastavro": {"wire"},
    "cryptography": {"wire", "sim", "doctor"},
    "faust": {"engine", "agents", "app", "bench"},
    "aiokafka": {"engine", "agents", "bench", "repartition"},
    "rocksdict": {"engine"},
    "clickhouse_connect": {"warehouse"},
    "chdb": {"warehouse"},
    "typer": {"cli"},
    "argon2": {"desk"},
    "joserfc": {"desk"},
    "sse_starlette": {"desk"},
    "boto3": {"archive", "client"},
    "pkcs11": {"client"},
    "opentelemetry": {"telemetry"},
    "prometheus_client": {"telemetry"},
    "botocore": {"archive"},
    "apprise": {"notify"},
    "jsonschema_rs": {"reports"},
    "pyarrow": {"reports"},
    "numpy": {"reports"},
}
# The oracle judges the gate, so it may not be built from it.
ORACLE_MAY_NOT = {
    f"streams.core.{name}"
    for name in (
        "gate",
        "permissions",
        "limits",
        "situation",
        "hours",
        "windows",
        "state",
        "breaker",
        "policy",
        "anomaly",
        "baseline",
        "market",
    )
}


PACKAGES = sorted({p.relative_to(STREAMS).parts[0] for p in STREAMS.rglob("*.py")} - {"_resources"})
"""Folders, and modules that belong to none."""


def modules_of(package: str) -> list[Path]:
    return sorted([STREAMS / package] if package.endswith(".py") else (STREAMS / package).rglob("*.py"))


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imported(path: Path, *, for_annotations: bool = True) -> set[str]:
    found: set[str] = set()
    tree = parsed(path)
    typing_only = {
        inner
        for node in tree.body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in typing_only and not for_annotations:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_one_way(package: str) -> None:
    own = package.removesuffix(".py")
    allowed = MAY_IMPORT.get(own)
    for path in modules_of(package):
        for name in imported(path):
            root, _, rest = name.partition(".")
            if root == "streams":
                target = rest.partition(".")[0]
                assert allowed is None or not target or target in allowed, f"{path} imports {name}"
                assert target != "cli" or own in {"cli", "__main__"}, f"{path} imports the command line"
            elif own == "core":
                assert root in sys.stdlib_module_names, f"{path} of the core imports {name}"


@pytest.mark.parametrize("package", PACKAGES)
def test_each_outside_library_has_one_place(package: str) -> None:
    own = package.removesuffix(".py")
    for path in modules_of(package):
        for name in imported(path, for_annotations=False):
            owners = OWNERS.get(name.partition(".")[0])
            assert owners is None or own in owners, f"{path} imports {name}: only {sorted(owners or ())} may"


def test_the_oracle_shares_no_code_with_the_gate() -> None:
    for path in (STREAMS / "sim").glob("oracle*.py"):
        assert not imported(path) & ORACLE_MAY_NOT, path


@pytest.mark.parametrize("package", PACKAGES)
def test_modules_stay_small(package: str) -> None:
    lines = {path: len(path.read_text().splitlines()) for path in modules_of(package)}
    assert {path: count for path, count in lines.items() if count > 400} == {}


def test_the_core_reads_no_clock_and_draws_no_lots() -> None:
    banned = {"time", "random", "secrets", "os", "io", "socket", "logging", "threading", "asyncio", "subprocess"}
    for path in (STREAMS / "core").glob("*.py"):
        names = imported(path)
        assert not {name.partition(".")[0] for name in names} & banned, path
        assert "datetime.now" not in path.read_text(), path
