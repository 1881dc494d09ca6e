"""What a batch says of itself to whoever opens it first."""

from __future__ import annotations

from typing import Final

README_TEXT: Final = """A report batch of Portcullis.

orders          what became of every approved order: sent, replaced, cancelled, filled, expired (auth.113-shaped)
transactions    every trade, linked to its order and approval (auth.016-shaped)
rejected        every order that was refused, with each check that failed, its limit and the observed value
incidents       changes of breakers, commands of named people, steps of incidents
events          everything else that the log has: registrations, dead letters, repeated reports

Each is there twice, with the same records in the same order: .jsonl is one JSON object a line, for any tool that reads
text; .parquet has a column for each member, decimals as decimals and times as times, for pandas, DuckDB or ClickHouse.
schemas/        the JSON Schema of each, and of the manifest

audit/N.leaves         the leaves of log N that these records are made from, each after its length in 4 bytes
audit/N.frontier       the complete subtrees of log N before those leaves: size (8 bytes), hashes (32 bytes each)
audit/N.checkpoints    the signed tree heads of log N (C2SP tlog-checkpoint), each after its length in 4 bytes
audit/N.registrations  the bots' registrations from before those leaves, each with its proof (C2SP tlog-proof)
certificates/          the certificates of bots, operators, approvers and authorities, each under its SHA-256
revocation-lists/      the authorities' lists of revoked certificates
manifest.json          the range, counts, who runs each bot, and the SHA-256 of every file
manifest.note          the manifest's signature (C2SP signed-note); the batch's id is the SHA-256 of manifest.json

A record names its leaf: log, leaf number and the leaf's RFC 6962 hash. RptId is log and leaf, so a record that comes
twice is the same record. A batch that corrects another names its id; both stay as they are.

Check it, off-line and with nothing but the public keys:  portcullis report verify FOLDER --keys FILE
"""
