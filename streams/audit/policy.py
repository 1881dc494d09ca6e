"""Whose signatures make a checkpoint count: logs, witnesses and how many of them. Source: C2SP tlog-policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from streams.audit.checkpoint import Checkpoint, is_log_key, open_checkpoint
from streams.core.errors import PortcullisError
from streams.wire.note import NoteError, SignatureType, Verifier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

_POLICY_BYTES_MAX: Final = 256 * 1024
_NONE: Final = "none"


class TlogPolicyError(PortcullisError):
    """A policy's text does not hold, or a checkpoint does not satisfy the policy."""


@dataclass(frozen=True, slots=True)
class Group:
    """Witnesses, or groups of them, of which at least `threshold` must have cosigned."""

    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TlogPolicy:
    """The logs that count, the witnesses by name, and the quorum; no quorum: the log's signature is enough."""

    logs: tuple[Verifier, ...]
    witnesses: Mapping[str, Verifier]
    groups: Mapping[str, Group]
    quorum: str | None

    @classmethod
    def parse(cls, text: bytes) -> TlogPolicy:
        """Read a policy file. Raises: TlogPolicyError with the line at fault."""
        return _Parser(text).policy()

    @classmethod
    def of_logs(cls, logs: Iterable[Verifier]) -> TlogPolicy:
        """Return the policy that asks for no witness."""
        return cls(tuple(logs), {}, {}, None)

    @property
    def verifiers(self) -> tuple[Verifier, ...]:
        """Return all keys."""
        return (*self.logs, *self.witnesses.values())

    def check(self, note: bytes) -> Checkpoint:
        """Return the checkpoint of a note that counts.

        Raises:
            NoteError, CheckpointError: the note is malformed, or its log has not signed it.
            TlogPolicyError: it lacks cosignatures.
        """
        checkpoint, signatures = open_checkpoint(note, self.verifiers)
        signed = {signature.verifier for signature in signatures}
        if not any(is_log_key(key, checkpoint.origin) and key in self.logs for key in signed):
            raise TlogPolicyError(f"checkpoint of {checkpoint.origin}: a log of the policy required")
        if self.quorum is not None and not self._witnessed(self.quorum, signed):
            names = [name for name, key in self.witnesses.items() if key in signed]
            cosigned = ", ".join(names) or "nobody"
            raise TlogPolicyError(f"checkpoint of {checkpoint.origin}: quorum {self.quorum}, cosigned by {cosigned}")
        return checkpoint

    def _witnessed(self, name: str, signed: set[Verifier]) -> bool:
        """Say whether a witness or group has cosigned; groups name only what stands before them."""
        group = self.groups.get(name)
        if group is None:
            return self.witnesses[name] in signed
        return sum(self._witnessed(member, signed) for member in group.members) >= group.threshold


class _Parser:
    """Reads a policy line by line; a line refers to what stands before it only."""

    def __init__(self, text: bytes) -> None:
        if len(text) > _POLICY_BYTES_MAX:
            raise TlogPolicyError(f"policy: at most {_POLICY_BYTES_MAX} bytes, has {len(text)}")
        self._text = text.decode("utf-8", "surrogateescape")
        self._logs: list[Verifier] = []
        self._witnesses: dict[str, Verifier] = {}
        self._groups: dict[str, Group] = {}
        self._members: set[str] = set()
        self._quorum: str | None = None

    def policy(self) -> TlogPolicy:
        if any(character < " " and character not in "\t\n" for character in self._text):
            raise TlogPolicyError("policy: no control character but tab and newline allowed")
        read: Mapping[str, Callable[[Sequence[str]], None]] = {
            "log": self._log,
            "witness": self._witness,
            "group": self._group,
            "quorum": self._set_quorum,
        }
        for number, line in enumerate(self._text.split("\n"), 1):
            keyword, *fields = line.replace("\t", " ").split() or ["#"]
            if keyword.startswith("#"):
                continue
            try:
                if keyword not in read:
                    raise TlogPolicyError(f"one of {', '.join(read)} required, is {keyword[:40]!a}")
                read[keyword](fields)
            except (TlogPolicyError, NoteError) as error:
                raise TlogPolicyError(f"policy, line {number}: {error}") from None
        if self._quorum is None:
            raise TlogPolicyError("policy: 1 quorum line required, has 0")
        quorum = None if self._quorum == _NONE else self._quorum
        return TlogPolicy(tuple(self._logs), self._witnesses, self._groups, quorum)

    def _log(self, fields: Sequence[str]) -> None:
        self._logs.append(self._key(fields[0] if 1 <= len(fields) <= 2 else "", SignatureType.ED25519))

    def _witness(self, fields: Sequence[str]) -> None:
        if not 2 <= len(fields) <= 3:
            raise TlogPolicyError("witness: a name, a verifier key and perhaps a URL required")
        self._require_new(fields[0])
        self._witnesses[fields[0]] = self._key(fields[1], SignatureType.COSIGNATURE_V1)

    def _group(self, fields: Sequence[str]) -> None:
        if len(fields) < 3:
            raise TlogPolicyError("group: a name, a threshold and members required")
        name, threshold, *members = fields
        self._require_new(name)
        for member in members:
            self._require_known(member)
            if member in self._members:
                raise TlogPolicyError(f"group {name}: {member} is a member already")
            self._members.add(member)
        count = {"any": 1, "all": len(members)}.get(threshold) or (int(threshold) if threshold.isdecimal() else 0)
        if not 1 <= count <= len(members):
            raise TlogPolicyError(f"group {name}: any, all or 1 to {len(members)} required, is {threshold[:20]!a}")
        self._groups[name] = Group(count, tuple(members))

    def _set_quorum(self, fields: Sequence[str]) -> None:
        if self._quorum is not None or len(fields) != 1:
            raise TlogPolicyError("quorum: 1 line with 1 name required")
        if fields[0] != _NONE:
            self._require_known(fields[0])
        self._quorum = fields[0]

    def _key(self, vkey: str, kind: SignatureType) -> Verifier:
        key = Verifier.parse(vkey)
        if key.type is not kind:
            raise TlogPolicyError(f"verifier key of {key.name}: type {kind.value} required, is {key.type.value}")
        if any(key.public_key == known.public_key for known in (*self._logs, *self._witnesses.values())):
            raise TlogPolicyError(f"verifier key of {key.name}: its public key stands in another line")
        return key

    def _require_new(self, name: str) -> None:
        if name == _NONE or name in self._witnesses or name in self._groups:
            raise TlogPolicyError(f"{name}: a name of its own required")

    def _require_known(self, name: str) -> None:
        if name not in self._witnesses and name not in self._groups:
            raise TlogPolicyError(f"{name}: a witness or group of a line before required")
