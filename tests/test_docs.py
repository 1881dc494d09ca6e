"""What the documents say is there: commands, targets, links, reason codes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer
import yaml

from streams.cli.application import app
from streams.core.alert_kinds import AlertKind
from streams.core.executions import Finding
from streams.core.gate import CHECKS
from streams.core.orders import TradingState
from streams.core.reasons import FAILURES, RULES, Reason
from streams.enforcer.problems import PROBLEMS
from streams.settings import _READ_ELSEWHERE, _VARIABLES
from streams.wire.commands import Action

ROOT = Path(__file__).parent.parent
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "topology").rglob("*.md")),
    *sorted((ROOT / "infra").rglob("*.md")),
]
SETTINGS = _VARIABLES.keys() | _READ_ELSEWHERE
README = (ROOT / "README.md").read_text()


def commands() -> set[str]:
    group = typer.main.get_command(app)
    assert hasattr(group, "commands")
    return {" ".join(path) for path, command in walk(group) if not getattr(command, "commands", None) or runs(command)}


def walk(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        yield (*path, name), command
        if getattr(command, "commands", None):
            yield from walk(command, (*path, name))


def runs(group: Any) -> bool:
    """Say whether a group does something by itself."""
    return bool(group.invoke_without_command) and not group.no_args_is_help


def groups() -> set[str]:
    return {" ".join(path) for path, command in walk(typer.main.get_command(app)) if getattr(command, "commands", None)}


def test_every_command_that_the_readme_names_exists() -> None:
    named = set()
    for line in re.findall(r"^\| `portcullis ([^`]+)`", README, re.MULTILINE):
        words = [word for word in re.split(r"[\s\[]", line) if word]
        if len(words) > 1 and not words[1].startswith("-"):
            inner = 2 if " ".join(words[:2]) in groups() else 1
            group = " ".join(words[:inner])
            named |= {f"{group} {sub}" for sub in words[inner:] if sub not in {"/", "…"} and sub.isalpha()}
        else:
            named.add(words[0])
    assert named
    assert named <= commands()


def test_every_command_is_in_the_readme() -> None:
    for command in commands():
        group, _, last = command.rpartition(" ")
        assert re.search(rf"`portcullis {group}\b[^`]*\b{last}\b", README), command


def test_every_command_explains_itself() -> None:
    group = typer.main.get_command(app)
    for name, command in getattr(group, "commands", {}).items():
        for inner in [command, *getattr(command, "commands", {}).values()]:
            assert inner.help or inner is command, name
            for parameter in inner.params:
                if isinstance(parameter, click.Option):
                    assert parameter.help, (name, parameter.name)


def test_every_command_of_the_readmes_tour_exists() -> None:
    typed = re.findall(r"^(?:\$ |  )(?:[A-Z_]+=\S+ )*portcullis ([a-z][a-z ]*[a-z])", README, re.MULTILINE)
    assert len(typed) > 4
    for words in (line.split() for line in typed):
        assert any(" ".join(words[:count]) in commands() for count in (1, 2, 3)), words


def test_every_command_shows_an_example_of_itself() -> None:
    for path, command in walk(typer.main.get_command(app)):
        if not getattr(command, "commands", None) or runs(command):
            name = " ".join(path)
            assert re.search(rf"Example[^\n]*portcullis {name}\b", command.help or ""), name


def test_every_make_target_of_the_readme_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:`|\$ )make ([a-z]+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


def test_the_page_of_checks_lists_them_in_their_order() -> None:
    page = (ROOT / "topology" / "gate.md").read_text()
    listed = re.findall(r"^\| \d+ \| ([A-Z_]+) \|", page, re.MULTILINE)
    assert listed == [reason.value for reason, _, _ in CHECKS]
    assert listed == [reason.value for reason in Reason if reason is not Reason.NONE]


def test_every_reason_has_its_meaning_and_source() -> None:
    assert set(RULES) == set(Reason) - {Reason.NONE}
    assert set(RULES) >= FAILURES
    for rule in RULES.values():
        assert rule.text
        assert rule.source


def test_every_setting_that_a_page_names_exists() -> None:
    for page in (ROOT / "topology" / name for name in ("operator.md", "bots.md", "runbook.md")):
        for variable in re.findall(r"`(PORTCULLIS_[A-Z_]+[A-Z])\b", page.read_text()):
            assert variable in SETTINGS or any(name.startswith(variable) for name in SETTINGS), (page.name, variable)


def test_every_metric_of_the_operators_page_exists() -> None:
    page = (ROOT / "topology" / "operator.md").read_text()
    named = set(re.findall(r"`(portcullis_[a-z_]+)", page))
    sources = " ".join(path.read_text() for path in (ROOT / "streams" / "telemetry").glob("*.py"))
    assert len(named) > 10
    for name in named:
        assert f'"{name.removesuffix("_total")}"' in sources, name


def test_the_enforcers_page_lists_its_statuses() -> None:
    page = (ROOT / "topology" / "bots.md").read_text()
    for rule in PROBLEMS.values():
        if rule.status not in {404, 405, 502}:
            assert re.search(rf"^\|.*\b{rule.status}\b.*\| `{rule.decision}` \|$", page, re.MULTILINE), rule


RUNBOOK = (ROOT / "topology" / "runbook.md").read_text()


def test_the_run_book_has_a_row_for_every_alert_and_no_other() -> None:
    alerts = RUNBOOK.partition("## Alerts of the pipeline")[2].partition("## Other signs")[0]
    rows = re.findall(r"^\| (`[A-Z][^|]*?) \|", alerts, re.MULTILINE)
    assert sorted(name for row in rows for name in re.findall(r"`([A-Z_]+)`", row)) == sorted(AlertKind)


def test_every_alert_that_is_named_after_something_exists() -> None:
    states = {f"{what}_{state}" for what in ("BREAKER", "MARKET") for state in TradingState}
    findings = set(Finding) - {Finding.REPEATED}  # counted once and told to nobody
    assert states | findings | {f"COMMAND_{action}" for action in Action} <= set(AlertKind)


def test_the_run_book_has_a_row_for_every_rule_of_prometheus() -> None:
    rules = yaml.safe_load((ROOT / "infra" / "prometheus" / "alerts.yml").read_text())
    names = [rule["alert"] for group in rules["groups"] for rule in group["rules"]]
    listed = re.findall(r'^\| <a id="([a-z]+)"></a>(Portcullis\w+) \|', RUNBOOK, re.MULTILINE)
    assert sorted(name for _, name in listed) == sorted(names)
    assert all(anchor == name.lower() for anchor, name in listed)
