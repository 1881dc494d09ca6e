"""`portcullis enforcer`: orders over HTTPS."""

from __future__ import annotations

from streams.cli.worker import set_up_logs
from streams.settings import load_settings


def enforcer_command() -> None:
    """Run the enforcer: POST /v1/orders with a bot's client certificate returns the verdict.

    It serves the bots whose credentials are in .portcullis/agents and signs in their names.

    Example: PORTCULLIS_ENFORCER_PORT=8443 portcullis enforcer
    """
    from streams.enforcer.serve import run_enforcer

    settings = load_settings()
    set_up_logs(settings, "enforcer")
    run_enforcer(settings)
