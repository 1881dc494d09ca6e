"""The command line: `portcullis`."""

from __future__ import annotations

import sys

from streams.core.errors import PortcullisError


def main() -> None:
    """Run a command; errors of ours are a sentence and exit code 2."""
    try:
        _run(sys.argv[1:])
    except PortcullisError as error:
        from streams.cli.output import say

        say(error)
        sys.exit(2)


def _run(arguments: list[str]) -> None:
    # A worker's start is part of every recovery: without the other commands' imports it is a seventh shorter.
    if arguments == ["worker"]:
        from streams.cli.worker import worker_command

        worker_command()
    else:
        from streams.cli.application import app

        app()
