"""`portcullis witness`: another party's eyes on the logs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streams.cli.output import JsonOption, finish
from streams.settings import load_settings


def witness_command(
    *,
    name: Annotated[str, typer.Option(help="The witness's name on its cosignatures.")] = "portcullis.local/witness",
    folder: Annotated[Path | None, typer.Option(help="Its key and state; default: `witness` in the home.")] = None,
    keys: Annotated[Path | None, typer.Option(help="The logs' public keys, from `audit keys`; default: PKI's.")] = None,
    show_key: Annotated[
        bool, typer.Option("--show-key", help="Print its verifier key for policies and leave.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check that every log only grows, and cosign its checkpoints; alert where one does not.

    Example: `portcullis witness --name witness.example/w1 --folder /var/lib/witness --keys logs.keys`
    """
    from streams.audit.follower import FOLLOWING
    from streams.audit.keys import key_source
    from streams.cli.services import log_as_json, running
    from streams.pulse import Pulse
    from streams.witness.running import load_cosigner, run_witness

    settings = load_settings()
    own = folder or settings.home / "witness"
    cosigner = load_cosigner(own, name)
    if show_key:
        vkey = cosigner.verifier.vkey
        finish({"name": name, "vkey": vkey}, ok=True, as_json=as_json, show=lambda console: console.print(vkey))
    log_as_json()
    pulse = Pulse("witness", FOLLOWING)
    with running(settings, pulse) as stop:
        run_witness(
            settings.cluster(),
            settings.topic_prefix,
            settings.log_origin,
            key_source(settings.pki, keys),
            cosigner,
            own,
            stop,
            pulse=pulse,
        )
