"""`portcullis pki`: the development PKI."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from streams.cli.output import JsonOption, finish
from streams.settings import load_settings

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(help="Keys and certificates of all parties on one machine, for development.", no_args_is_help=True)


@app.command("init")
def init_command(*, as_json: JsonOption = False) -> None:
    """Make what is missing: approver, operator, certificate authority, named people, log and report keys.

    At a firm these keys belong to different people and never meet on one machine (infra/pki/README.md).
    Example: portcullis pki init
    """
    from streams.wire.devpki import make_dev_pki

    folder = load_settings().pki
    make_dev_pki(folder)

    def show(console: Console) -> None:
        console.print(f"development keys and certificates are in {folder}")

    finish({"folder": str(folder)}, ok=True, as_json=as_json, show=show)


@app.command("publish")
def publish_command() -> None:
    """Play the certificate authority: put what the gate asks to revoke on the revocation list, until stopped.

    Example: portcullis pki publish
    """
    from streams.cli.services import stop_on_signals
    from streams.cli.worker import log_to_stderr
    from streams.rig.authority import publish_revocations

    log_to_stderr()
    stop = stop_on_signals()
    publish_revocations(load_settings(), stop)
