"""Which public keys a batch is checked with where no file was given: those of the local PKI."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from streams.reports.layout import KEY_NAME, MANIFEST, BatchError
from streams.wire import devpki
from streams.wire.log_keys import Generation, LogKey, log_keys

if TYPE_CHECKING:
    from pathlib import Path


def local_keys(pki: Path, folder: Path) -> tuple[LogKey, ...]:
    """Return the local PKI's public keys for a batch: the report key, and those of the logs that it names.

    Raises: BatchError where the manifest cannot be read.
    """
    try:
        manifest = orjson.loads((folder / MANIFEST).read_bytes())
        origins = [str(log["origin"]) for log in manifest["logs"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BatchError(f"{MANIFEST}: cannot be read ({error})") from None
    logs = (key for origin in origins for key in log_keys(pki, origin))
    return (LogKey(devpki.report_signer(pki, KEY_NAME).verifier, Generation(1, 0, None)), *logs)
