"""The login: authorization code with PKCE, one cookie session, and an id_token with a valid signature."""

from __future__ import annotations

import base64
import hashlib
import logging
import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import attrs

from tconnectsync import Secret
from tconnectsync_tandem.api.endpoints import SCOPE, USER_AGENT, Endpoints
from tconnectsync_tandem.api.id_token import SignatureCheck, StartCheck, check_in_subprocess, claims_of, time_of
from tconnectsync_tandem.api.login_refusal import json_of, login_error, refused_step, terms_remedy
from tconnectsync_tandem.api.token import TandemToken
from tconnectsync_tandem.api.transport import TandemTransport, login_changed, shape_changed

log = logging.getLogger("tconnectsync.tandem")

MOST_HOPS = 10

_UNKNOWN_LIFE_S = 1800.0
_BROWSER = {"User-Agent": USER_AGENT, "Accept": "*/*"}


@attrs.frozen
class Login:
    """One login: returns a token for user name and password. Errors: CredentialsRefused, SourceChanged, Retryable."""

    endpoints: Endpoints
    transport: TandemTransport
    warned: set[str]
    """Warnings that earlier logins of this process have logged."""
    start_check: StartCheck = check_in_subprocess

    def run(self, email: str, password: Secret) -> TandemToken:
        """Log in: page, password, authorization, token, and the check of its signature."""
        self._open_page()
        self._send_password(email, password)
        with self.start_check() as verify:
            verifier = secrets.token_urlsafe(64)
            code = self._authorize(verifier)
            granted = self._exchange(code, verifier)
            now = self.transport.clock.now()
            claims = self._check_signature(verify, _text(granted, "id_token"), now)
        pumper_id = claims.get("pumperId")
        if not isinstance(pumper_id, str) or not pumper_id:
            raise login_changed(
                "no pump belongs to this login (it has no pumperId)",
                "Is this the account that the pump uploads to? Log in to Tandem Source in a browser to check.",
            )
        life = _life(granted, claims, now)
        log.info("login_ok region=%s minutes=%d", self.endpoints.region, life.total_seconds() // 60)
        return TandemToken(
            access=Secret(_text(granted, "access_token")), pumper_id=pumper_id, obtained_at=now, expires_at=now + life
        )

    def _open_page(self) -> None:
        answer = self.transport.ask(
            "GET", self.endpoints.login_page, what="login page", headers=_BROWSER, maybe_cached=True
        )
        if answer.status >= 400:
            raise refused_step(answer, "login page")

    def _send_password(self, email: str, password: Secret) -> None:
        answer = self.transport.ask(
            "POST",
            self.endpoints.login_api,
            what="login",
            headers={**_BROWSER, "Referer": self.endpoints.login_page, "Accept": "application/json"},
            document={"username": email, "password": password.reveal()},
        )
        found = json_of(answer) if answer.status == 200 else None
        if not isinstance(found, dict) or str(found.get("status")).upper() != "SUCCESS":
            raise login_error(answer, self.endpoints)

    def _authorize(self, verifier: str) -> str:
        """Follow the redirects and return the code. The last page, Tandem's own, is not fetched."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        params: Mapping[str, str] | None = {
            "client_id": self.endpoints.client_id,
            "response_type": "code",
            "scope": SCOPE,
            "redirect_uri": self.endpoints.redirect_uri,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        url = self.endpoints.authorize
        for _ in range(MOST_HOPS):
            answer = self.transport.ask(
                "GET",
                url,
                what="authorization",
                headers={**_BROWSER, "Referer": self.endpoints.login_page},
                params=params,
            )
            params = None
            if not 300 <= answer.status < 400:
                break
            url = self._next_hop(url, answer.headers.get("Location", ""))
            if _same_page(url, self.endpoints.redirect_uri):
                return self._code_of(url)
        else:
            raise login_changed("the authorization redirects too often")
        if answer.status >= 400:
            raise refused_step(answer, "authorization")
        raise login_changed("the login ended at an unexpected page", terms_remedy(self.endpoints))

    def _next_hop(self, url: str, location: str) -> str:
        try:
            target = urljoin(url, location)
            scheme = urlsplit(target).scheme
        except ValueError:
            raise login_changed("the authorization redirects without a valid address") from None
        if scheme not in {"https", urlsplit(self.endpoints.authorize).scheme}:
            raise login_changed("the authorization redirects to an unsafe address")
        return target

    def _code_of(self, target: str) -> str:
        query = parse_qs(urlsplit(target).query)
        code = query.get("code", [""])[0]
        if code:
            return code
        reason = re.sub(r"[^a-z_]", "", query.get("error", ["none given"])[0])[:40]
        raise login_changed(f"the authorization returned no code ({reason})", terms_remedy(self.endpoints))

    def _exchange(self, code: str, verifier: str) -> Mapping[str, Any]:
        answer = self.transport.ask(
            "POST",
            self.endpoints.token,
            what="token",
            headers={**_BROWSER, "Accept": "application/json"},
            form={
                "grant_type": "authorization_code",
                "client_id": self.endpoints.client_id,
                "code": code,
                "redirect_uri": self.endpoints.redirect_uri,
                "code_verifier": verifier,
            },
        )
        if answer.status != 200:
            raise refused_step(answer, "token")
        found = json_of(answer)
        if not isinstance(found, dict):
            raise shape_changed("token", "not a JSON object")
        return found

    def _check_signature(self, verify: SignatureCheck, id_token: str, now: datetime) -> Mapping[str, Any]:
        """Return the claims if signature, issuer and times are valid.

        A different audience is only logged: none was ever captured.
        """
        claims = claims_of(verify(id_token, self._signing_keys(), self.endpoints.issuer), now)
        audience = claims.get("aud")
        known = audience if isinstance(audience, list) else [audience]
        if self.endpoints.client_id not in known and "audience" not in self.warned:
            self.warned.add("audience")
            log.warning("id_token_audience expected=%s", self.endpoints.client_id)
        return claims

    def _signing_keys(self) -> Sequence[Any]:
        answer = self.transport.ask(
            "GET", self.endpoints.jwks, what="signing keys", headers=_BROWSER, maybe_cached=True
        )
        if answer.status != 200:
            raise refused_step(answer, "signing keys")
        found = json_of(answer)
        keys = found.get("keys") if isinstance(found, dict) else None
        if not isinstance(keys, list) or not keys:
            raise shape_changed("signing keys", "it has no keys")
        return keys


def _text(granted: Mapping[str, Any], key: str) -> str:
    value = granted.get(key)
    if not isinstance(value, str) or not value:
        raise shape_changed("token", f"no {key} in it")
    return value


def _life(granted: Mapping[str, Any], claims: Mapping[str, Any], now: datetime) -> timedelta:
    """The token's lifetime: as stated, else that of the id_token, else half an hour."""
    life_s = granted.get("expires_in")
    if isinstance(life_s, str) and life_s.isdigit():
        life_s = int(life_s)
    if isinstance(life_s, bool) or not isinstance(life_s, (int, float)) or not 0 < life_s < 10**8:
        life_s = (time_of(claims, "exp", now + timedelta(seconds=_UNKNOWN_LIFE_S)) - now).total_seconds()
    return timedelta(seconds=life_s)


def _same_page(url: str, other: str) -> bool:
    a, b = urlsplit(url), urlsplit(other)
    return (a.scheme, a.netloc, a.path.rstrip("/")) == (b.scheme, b.netloc, b.path.rstrip("/"))
