"""Which public keys a batch is checked with: a file's, or those of the local PKI."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from streams.reports.layout import KEY_NAME, MANIFEST, BatchError
from streams.wire import devpki
from streams.wire.log_keys import log_keys
from streams.wire.note import Verifier

if TYPE_CHECKING:
    from pathlib import Path


def read_keys(path: Path) -> tuple[Verifier, ...]:
    """Return the public keys of a file, one verifier key per line. Raises: NoteError where one is malformed."""
    return tuple(Verifier.parse(line) for line in path.read_text().split() if line)


def local_keys(pki: Path, folder: Path) -> tuple[Verifier, ...]:
    """Return the local PKI's public keys for a batch: the report key, and those of the logs that it names.

    Raises: BatchError where the manifest cannot be read.
    """
    try:
        manifest = orjson.loads((folder / MANIFEST).read_bytes())
        origins = [str(log["origin"]) for log in manifest["logs"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BatchError(f"{MANIFEST}: cannot be read ({error})") from None
    logs = (key.verifier for origin in origins for key in log_keys(pki, origin))
    return (devpki.report_signer(pki, KEY_NAME).verifier, *logs)
