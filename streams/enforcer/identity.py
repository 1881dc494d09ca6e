"""Who asks: the bot that a client certificate names, where the certificate holds now and the bot is served here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from streams.enforcer.problems import Problem, ProblemError
from streams.wire.certificates import CertificateError, check_chain
from streams.wire.signatures import thumbprint
from streams.wire.trust import load_trust, trust_stamp

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from streams.wire.trust import TrustStore

# A certificate that held is looked at again after this time; so is the folder of what is trusted and revoked.
_HOLDS_US: Final = 1_000_000
_REMEMBERED_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class _Checked:
    agent_id: str
    at_us: int
    not_after_us: int


class Identities:
    """Checks client certificates as the gate checks a bot's: path, validity, revocation lists."""

    def __init__(self, pki: Path, served: Mapping[str, tuple[bytes, ...]]) -> None:
        """Serve these bots, each with its certificate chain (DER, leaf first).

        A client may send its own certificate alone: the intermediates known here are tried.
        """
        self._pki, self._served = pki, dict(served)
        self._intermediates = {der for chain in served.values() for der in chain[1:]}
        self._trust: TrustStore = load_trust(pki)
        self._stamp = trust_stamp(pki)
        self._looked_us = 0
        self._checked: dict[bytes, _Checked] = {}

    def agent_of(self, certificate_der: bytes | None, now_us: int) -> str:
        """Return the bot that a client certificate names, at a moment in microseconds UTC.

        Raises: ProblemError where there is none, it does not hold, or the bot is not served here.
        """
        if certificate_der is None:
            raise ProblemError(Problem.CERTIFICATE_REQUIRED)
        self._refresh(now_us)
        known = self._checked.get(thumbprint(certificate_der))
        if known is None or not known.at_us <= now_us <= min(known.at_us + _HOLDS_US, known.not_after_us):
            known = self._check(certificate_der, now_us)
        if known.agent_id not in self._served:
            raise ProblemError(Problem.NOT_YOUR_BOT, "this bot is not served here")
        return known.agent_id

    def _check(self, certificate_der: bytes, now_us: int) -> _Checked:
        others = [der for der in self._intermediates if der != certificate_der]
        try:
            chain = check_chain([certificate_der, *others], self._trust.ca_roots, self._trust.crls, now_us)
        except CertificateError as error:
            raise ProblemError(Problem.CERTIFICATE_REFUSED, error.reason.value, reason=error.reason.value) from None
        checked = _Checked(chain.agent_id, now_us, chain.not_after_us)
        if len(self._checked) >= _REMEMBERED_MAX:
            self._checked.clear()
        self._checked[chain.thumbprint] = checked
        return checked

    def _refresh(self, now_us: int) -> None:
        """Read the trust folder again where a file of it changed: a revocation list counts at once."""
        if now_us - self._looked_us < _HOLDS_US:
            return
        self._looked_us = now_us
        stamp = trust_stamp(self._pki)
        if stamp != self._stamp:
            self._trust = load_trust(self._pki)  # what cannot be read is an error: nobody passes meanwhile
            self._stamp = stamp
            self._checked.clear()
