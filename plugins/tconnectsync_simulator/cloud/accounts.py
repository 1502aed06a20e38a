"""The accounts service of the simulated cloud: login page, login, authorization code with PKCE, tokens, signing keys."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlencode

import attrs
from cryptography.hazmat.primitives.asymmetric import rsa

from tconnectsync_simulator.cloud.server import CloudAnswer, CloudRequest, html_answer, json_answer, redirect

KEY_ID = "simulated-key-1"
CODE_LIFE = timedelta(minutes=1)
SESSION_COOKIE = "idsrv"


@attrs.frozen(kw_only=True)
class SimulatedAccount:
    """A user, who can log in in their region only."""

    email: str = "wearer@example.org"
    password: str = attrs.field(default="simulated password", repr=False)
    region: str = "US"
    pumper_id: str = "b0f0a6de-2f6c-4c55-9a34-0f3a6c8f5d11"
    account_id: str = "5f1c0c58-7d7e-4f0e-8a56-5d1f6f0b9a22"


_key_lock = threading.Lock()


def _signing_key() -> rsa.RSAPrivateKey:
    with _key_lock:  # the cache alone lets logins that come at once make several
        return _made_key()


@cache
def _made_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@attrs.frozen(kw_only=True)
class _Grant:
    account: SimulatedAccount
    challenge: str
    client_id: str
    redirect_uri: str
    until: datetime


@attrs.define
class Accounts:
    """Logins and tokens. ``base`` is the server's address, ``client_id`` the only accepted client."""

    base: str
    client_id: str
    known: Sequence[SimulatedAccount]
    now: Callable[[], datetime]
    token_life_s: int
    _sessions: dict[str, SimulatedAccount] = attrs.field(factory=dict, repr=False)
    issuer: str | None = None
    """In tokens, if it is not the address of the service."""
    _codes: dict[str, _Grant] = attrs.field(factory=dict, repr=False)
    _tokens: dict[str, tuple[SimulatedAccount, datetime]] = attrs.field(factory=dict, repr=False)

    def endpoints(self, region: str) -> dict[str, str]:
        """The endpoints for a client of this region."""
        api = f"{self.base}/{region.lower()}/accounts/api"
        return {
            "login_page": f"{self.base}/sso/",
            "login_api": f"{api}/login",
            "authorize": f"{api}/connect/authorize",
            "token": f"{api}/connect/token",
            "jwks": f"{api}/.well-known/openid-configuration/jwks",
            "issuer": self.issuer or api,
            "client_id": self.client_id,
            "redirect_uri": f"{self.base}/sso/auth/callback",
            "data": f"{self.base}/",
        }

    def bearer(self, request: CloudRequest) -> SimulatedAccount | None:
        """Return the account of the request's access token; None if it is missing, unknown or expired."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        account, until = self._tokens.get(token, (None, self.now()))
        return account if kind == "Bearer" and self.now() < until else None

    def login_page(self) -> CloudAnswer:
        """GET the login page: it sets a cookie."""
        return html_answer("<html><title>Sign in</title></html>", 200, ("Set-Cookie", "sso=1; Path=/"))

    def log_in(self, request: CloudRequest, region: str) -> CloudAnswer:
        """POST the login: 401 also for the right password in the wrong region."""
        try:
            given = json.loads(request.body)
            email, password = given["username"], given["password"]
        except (ValueError, KeyError, TypeError):
            return json_answer({"message": "Check input parameters."}, 400)
        for account in self.known:
            if (account.email, account.password, account.region) == (email, password, region):
                session = secrets.token_urlsafe(16)
                self._sessions[session] = account
                cookie = ("Set-Cookie", f"{SESSION_COOKIE}={session}; Path=/; HttpOnly")
                return json_answer({"redirectUrl": "/", "status": "SUCCESS"}, 200, cookie)
        refusal = {"code": "account/invalid_credentials", "message": "Invalid credentials"}
        return json_answer({"errors": [refusal]}, 401)

    def authorize(self, request: CloudRequest) -> CloudAnswer:
        """GET authorize: redirects to the second step."""
        if self._session(request) is None:
            return redirect(f"{self.base}/sso/?{urlencode({'returnUrl': request.path})}")
        needed = {
            "client_id": self.client_id,
            "response_type": "code",
            "code_challenge_method": "S256",
            "redirect_uri": f"{self.base}/sso/auth/callback",
        }
        wrong = [key for key, value in needed.items() if request.value(key) != value]
        if "openid" not in (request.value("scope") or "").split() or not request.value("code_challenge"):
            wrong.append("scope or code_challenge")
        if wrong:
            return html_answer(f"<html><title>invalid_request: {', '.join(wrong)}</title></html>", 400)
        return redirect(f"{request.path}/callback?{urlencode(request.query)}")

    def authorized(self, request: CloudRequest) -> CloudAnswer:
        """The second step of authorize: redirects to the redirect URI, with a code."""
        account = self._session(request)
        if account is None:
            return redirect(f"{self.base}/sso/")
        code = secrets.token_urlsafe(24)
        target = request.value("redirect_uri") or ""
        self._codes[code] = _Grant(
            account=account,
            challenge=request.value("code_challenge") or "",
            client_id=request.value("client_id") or "",
            redirect_uri=target,
            until=self.now() + CODE_LIFE,
        )
        answer = {"code": code, "scope": request.value("scope") or ""}
        if request.value("state"):
            answer["state"] = request.value("state") or ""
        return redirect(f"{target}?{urlencode(answer)}")

    def token(self, request: CloudRequest, region: str) -> CloudAnswer:
        """POST token: exchanges a code once, with the verifier of its challenge."""
        form = {key: values[0] for key, values in parse_qs(request.body.decode("latin-1")).items()}
        grant = self._codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if (
            grant is None
            or self.now() > grant.until
            or form.get("grant_type") != "authorization_code"
            or form.get("client_id") != grant.client_id
            or form.get("redirect_uri") != grant.redirect_uri
            or _base64url(digest) != grant.challenge
        ):
            return json_answer({"error": "invalid_grant"}, 400)
        access = secrets.token_urlsafe(32)
        self._tokens[access] = (grant.account, self.now() + timedelta(seconds=self.token_life_s))
        return json_answer(
            {
                "access_token": access,
                "id_token": self._id_token(grant.account, region),
                "token_type": "Bearer",
                "expires_in": self.token_life_s,
                "scope": "openid profile email",
            }
        )

    def jwks(self) -> CloudAnswer:
        """GET the signing keys."""
        public = _signing_key().public_key().public_numbers()
        key = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": KEY_ID}
        key |= {"n": _number(public.n), "e": _number(public.e)}
        return json_answer({"keys": [key]})

    def _session(self, request: CloudRequest) -> SimulatedAccount | None:
        cookies = dict(
            each.strip().partition("=")[::2] for each in request.headers.get("cookie", "").split(";") if "=" in each
        )
        return self._sessions.get(cookies.get(SESSION_COOKIE, ""))

    def _id_token(self, account: SimulatedAccount, region: str) -> str:
        import jwt

        issued_s = int(self.now().timestamp())
        claims: dict[str, Any] = {
            "iss": self.endpoints(region)["issuer"],
            "aud": self.client_id,
            "iat": issued_s,
            "nbf": issued_s,
            "auth_time": issued_s,
            "exp": issued_s + self.token_life_s,
            "sub": account.account_id,
            "email": account.email,
            "email_verified": True,
            "name": "Simulated Wearer",
            "given_name": "Simulated",
            "family_name": "Wearer",
            "amr": ["pwd"],
            "idp": "local",
            "pumperId": account.pumper_id,
            "accountId": account.account_id,
        }
        return jwt.encode(claims, _signing_key(), algorithm="RS256", headers={"kid": KEY_ID})


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _number(value: int) -> str:
    return _base64url(value.to_bytes((value.bit_length() + 7) // 8, "big"))
