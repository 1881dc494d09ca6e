"""`portcullis doctor`: what is wrong with a set-up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streams.cli.output import JsonOption, finish, progress, table
from streams.settings import Settings, SettingsError, load_settings

if TYPE_CHECKING:
    from rich.console import Console

_MARKS = {"ok": "[green]ok[/]", "warning": "[yellow]warning[/]", "failed": "[bold red]failed[/]"}


def doctor_command(*, as_json: JsonOption = False) -> None:
    """Look at everything that Portcullis needs here, and say how to mend what does not hold.

    Exit code 1 where a check failed; warnings alone leave it at 0.

    Example: KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:9092 portcullis doctor
    """
    from streams.doctor import CHECKS, State, examine
    from streams.doctor.finding import failed, ok

    try:
        settings, read = load_settings(), ok("every variable holds")
    except SettingsError as error:
        settings, read = Settings(), failed(str(error), "correct or unset the variables named")
    found = {"settings": read}
    with progress.status("looking ..."):
        found |= dict(examine(settings, CHECKS))
    checks = [{"name": name, "state": f.state.value, "text": f.text, "mend": f.mend} for name, f in found.items()]
    holds = all(finding.state is not State.FAILED for finding in found.values())

    def show(console: Console) -> None:
        rows = [(check["name"], _MARKS[check["state"]], check["text"], check["mend"]) for check in checks]
        console.print(table("Set-up", ("check", "state", "found", "mend"), rows))

    finish({"ok": holds, "checks": checks}, ok=holds, as_json=as_json, show=show)
