"""`portcullis incident`: what happened, what is to be done about it, and who has done it."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli.agents import ByOption, ReasonOption, order
from streams.cli.output import JsonOption, finish, table
from streams.settings import load_settings

if TYPE_CHECKING:
    from rich.console import Console

    from streams.core.incident import Incident

app = typer.Typer(help="Incidents: their audits, their reports, their deadlines.", no_args_is_help=True)

IncidentArgument = Annotated[str, typer.Argument(help="The incident's id, as 2-1034.")]


@app.command("list")
def list_command(
    *,
    everything: Annotated[bool, typer.Option("--all", help="The closed ones too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List incidents; exit code 1 where something is overdue.

    Example: portcullis incident list --json
    """
    from streams.incidents import incidents, shown

    found = [shown(one) for one in incidents(load_settings()).values() if everything or not one.closed]
    late = [one for one in found if any(duty["overdue"] and not duty["done_at"] for duty in one["duties"])]

    def show(console: Console) -> None:
        columns = ("incident", "about", "cause", "opened", "to be done", "until")
        console.print(table("Incidents", columns, (_row(one) for one in found)))

    finish({"incidents": found, "overdue": len(late)}, ok=not late, as_json=as_json, show=show)


@app.command("show")
def show_command(incident_id: IncidentArgument, *, as_json: JsonOption = False) -> None:
    """Show an incident, and its audit as the log has it now.

    Example: portcullis incident show 2-1034
    """
    from streams.incidents import audit_of, incident_of, shown

    settings = load_settings()
    incident = incident_of(settings, incident_id)
    result = shown(incident) | {"audit": audit_of(settings, incident)}

    def show(console: Console) -> None:
        console.print(table("Incident", ("what", "value"), [(k, v) for k, v in result.items() if k != "audit"]))
        steps = [(s["at"], s["event"], s["state"], s["outcome"]) for s in result["audit"]["timeline"]]
        console.print(table("Timeline", ("at", "event", "state", "outcome"), steps))
        audit = {k: v for k, v in result["audit"].items() if k != "timeline"}
        console.print(table("Audit", ("what", "value"), list(audit.items())))

    finish(result, ok=True, as_json=as_json, show=show)


@app.command("complete")
def complete_command(
    incident_id: IncidentArgument,
    *,
    by: ByOption,
    reason: ReasonOption,
    change: Annotated[list[str] | None, typer.Option(help="What is to be changed; may come several times.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Complete the post-incident audit: it is built from the log, and the person signs it with their findings.

    Example: portcullis incident complete 2-1034 --by compliance_lead@acme --reason "loop in quoter" --change "fix"
    """
    from streams.incidents import completed_audit, incident_of

    settings = load_settings()
    incident = incident_of(settings, incident_id)
    document = completed_audit(settings, incident, change or (), findings=reason, by=by)
    _order("COMPLETE", incident, by, reason, as_json=as_json, document=document)


@app.command("classify")
def classify_command(
    incident_id: IncidentArgument,
    *,
    by: ByOption,
    reason: ReasonOption,
    major: Annotated[bool, typer.Option("--major/--not-major", help="Whether it is a major incident (DORA Art. 18).")],
    as_json: JsonOption = False,
) -> None:
    """Classify an incident; a major one gets its reports' deadlines.

    Example: portcullis incident classify 2-1034 --major --by compliance_lead@acme --reason "clients affected"
    """
    from streams.incidents import incident_of

    incident = incident_of(load_settings(), incident_id)
    _order("CLASSIFY", incident, by, reason, as_json=as_json, stage="MAJOR" if major else "NOT_MAJOR")


@app.command("report")
def report_command(
    incident_id: IncidentArgument,
    *,
    stage: Annotated[str, typer.Option(help="INITIAL, INTERMEDIATE or FINAL.")],
    by: ByOption,
    reason: ReasonOption,
    as_json: JsonOption = False,
) -> None:
    """Say that a report was sent to the authority; the next one's clock starts.

    Example: portcullis incident report 2-1034 --stage INITIAL --by compliance_lead@acme --reason "sent, receipt 4711"
    """
    from streams.incidents import incident_of

    incident = incident_of(load_settings(), incident_id)
    _order("REPORT", incident, by, reason, as_json=as_json, stage=f"{stage.upper()}_REPORT")


def _order(action: str, incident: Incident, by: str, reason: str, *, as_json: bool, **more: Any) -> None:  # noqa: ANN401
    from streams.wire.commands import Action, Command, Scope

    command = Command(
        str(uuid.uuid4()),
        Action(action),
        Scope(incident.scope),
        incident.target,
        reason,
        by,
        time.time_ns() // 1000,
        incident_id=incident.incident_id,
        **more,
    )
    order(command, as_json=as_json)


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    pending = [duty for duty in one["duties"] if duty["done_at"] is None]
    first = min(pending, key=lambda duty: duty["due_at"], default=None)
    what, until = ("nothing", "") if first is None else (first["duty"], first["due_at"])
    late = " (overdue)" if first is not None and first["overdue"] else ""
    return one["incident_id"], one["about"], one["cause"], one["opened_at"], what + late, until
