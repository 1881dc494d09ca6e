"""Signing in by OpenID Connect: authorization code with PKCE, one provider. Source: OpenID Connect Core 1.0, RFC 7636.

The provider proves a name; the role comes from the users' list, or from a claim where the settings say so.
"""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from streams.core.documents import PERSON
from streams.core.errors import PortcullisError
from streams.desk.people import DeskRole, Identity, Method

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streams.desk.accounts import Accounts
    from streams.desk.settings import DeskSettings

CALLBACK: Final = "/login/openid/callback"
# Never `none`, never a shared secret: a provider signs with its own key.
_ALGORITHMS: Final = ("RS256", "PS256", "ES256", "ES384", "EdDSA")
_PENDING_MAX: Final = 1_000
_PENDING_S: Final = 600.0
_TIMEOUT_S: Final = 5.0
_LEEWAY_S: Final = 30
_ANSWER_BYTES_MAX: Final = 256 * 1024


class OpenIdError(PortcullisError):
    """The provider did not prove who somebody is."""


@dataclass(frozen=True, slots=True)
class _Pending:
    """A sign-in that was begun: what its answer must fit."""

    nonce: str
    verifier: str
    began_s: float


class OpenId:
    """One provider, asked for its endpoints when somebody signs in."""

    def __init__(self, settings: DeskSettings, accounts: Accounts) -> None:
        self._settings, self._accounts = settings, accounts
        self._pending: dict[str, _Pending] = {}
        secret = settings.openid_client_secret_file
        self._secret = secret.read_text().strip() if secret.name else ""

    @property
    def _redirect_uri(self) -> str:
        return self._settings.origin + CALLBACK

    async def begin(self, now_s: float) -> tuple[str, str]:
        """Return where to send the browser, and the state that it must bring back. Raises: OpenIdError."""
        provider = await self._discover()
        self._pending = {s: p for s, p in self._pending.items() if now_s - p.began_s < _PENDING_S}
        if len(self._pending) >= _PENDING_MAX:
            raise OpenIdError("too many sign-ins are under way")
        state = secrets.token_urlsafe(32)
        pending = self._pending[state] = _Pending(secrets.token_urlsafe(32), secrets.token_urlsafe(48), now_s)
        challenge = urlsafe_b64encode(sha256(pending.verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": self._settings.openid_client_id,
            "redirect_uri": self._redirect_uri,
            "scope": "openid profile",
            "state": state,
            "nonce": pending.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return f"{provider['authorization_endpoint']}?{urlencode(query)}", state

    async def finish(self, state: str, code: str, now_s: float) -> Identity:
        """Return who the provider says has signed in. Raises: OpenIdError."""
        pending = self._pending.pop(state, None)
        if pending is None or now_s - pending.began_s > _PENDING_S:
            raise OpenIdError("state: none that was given out, or too old")
        provider = await self._discover()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "client_id": self._settings.openid_client_id,
            "code_verifier": pending.verifier,
        }
        if self._secret:
            form["client_secret"] = self._secret
        tokens = await _answer("POST", provider["token_endpoint"], form)
        keys = await _answer("GET", provider["jwks_uri"])
        return self._identity(self._claims(tokens.get("id_token", ""), keys, pending.nonce))

    def _claims(self, token: str, keys: Mapping[str, Any], nonce: str) -> dict[str, Any]:
        """Return the claims of an ID token. Source: OpenID Connect Core 1.0, section 3.1.3.7."""
        rules = jwt.JWTClaimsRegistry(
            leeway=_LEEWAY_S,
            iss={"essential": True, "value": self._settings.openid_issuer},
            aud={"essential": True, "value": self._settings.openid_client_id},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        try:
            decoded = jwt.decode(token, KeySet.import_key_set({"keys": keys["keys"]}), algorithms=list(_ALGORITHMS))
            rules.validate(decoded.claims)
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise OpenIdError(f"id_token: {type(error).__name__}: {error}") from None
        return dict(decoded.claims)

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        name = claims.get(self._settings.openid_name_claim)
        if not isinstance(name, str) or not PERSON.fullmatch(name):
            raise OpenIdError(f"{self._settings.openid_name_claim}: a name required, is {str(name)[:60]!a}")
        known = self._accounts.identify(name, Method.OPENID)
        if known is not None:
            return known
        role = claims.get(self._settings.openid_role_claim) if self._settings.openid_role_claim else None
        # An operator's view needs to know whose: only the users' list says that.
        if role not in set(DeskRole) - {DeskRole.OPERATOR}:
            raise OpenIdError(f"{name} has no role at this desk")
        return Identity(name, DeskRole(role), "", Method.OPENID)

    async def _discover(self) -> dict[str, Any]:
        issuer = self._settings.openid_issuer.rstrip("/")
        document = await _answer("GET", f"{issuer}/.well-known/openid-configuration")
        if document.get("issuer") != self._settings.openid_issuer:
            raise OpenIdError(
                f"issuer: {self._settings.openid_issuer} required, is {str(document.get('issuer'))[:100]}"
            )
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not isinstance(document.get(name), str):
                raise OpenIdError(f"{name}: missing in the provider's configuration")
        return document


async def _answer(method: str, url: str, form: Mapping[str, str] | None = None) -> dict[str, Any]:
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False) as client:
            response = await client.request(method, url, data=form)
            response.raise_for_status()
            document = response.json() if len(response.content) <= _ANSWER_BYTES_MAX else None
    except (httpx.HTTPError, ValueError) as error:
        raise OpenIdError(f"{url}: {error}") from None
    if not isinstance(document, dict):
        raise OpenIdError(f"{url}: a JSON object required")
    return document
