"""Logins of the older t:connect: the website's form with its cookies, and the phone app's tokens."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from html import escape
from urllib.parse import parse_qs

import attrs

from tconnectsync_simulator.cloud.server import CloudAnswer, CloudRequest, html_answer, json_answer, redirect

SESSION = "ASP.NET_SessionId"
CONTROL = "ctl00$ContentBody$LoginControl$"
EMAIL, PASSWORD = "txtLoginEmailAddress", "txtLoginPassword"
SCOPE = frozenset(["cloud.account", "cloud.upload", "cloud.accepttcpp", "cloud.email", "cloud.password"])
REFUSAL = "The email or password you have entered is incorrect."


@attrs.frozen(kw_only=True)
class OlderAccount:
    """The wearer's account, and the phone app's client credentials."""

    email: str = "wearer@example.org"
    password: str = attrs.field(default='simulated "password"', repr=False)
    guid: str = "6aa1d3c0-5f1a-4444-8888-1234567890ab"
    client_id: str = "simulated-app"
    client_secret: str = attrs.field(default="simulated app secret", repr=False)


@attrs.define(kw_only=True)
class TconnectLogin:
    """Sessions and tokens. ``gives_token``: whether the website's login returns a token."""

    account: OlderAccount
    now: Callable[[], datetime]
    token_life_s: int
    gives_token: bool = True
    _sessions: dict[str, dict[str, str]] = attrs.field(factory=dict, repr=False)
    """The hidden form fields of each session."""
    _tokens: dict[str, datetime] = attrs.field(factory=dict, repr=False)

    def page(self) -> CloudAnswer:
        """GET login.aspx: a form with hidden fields, in a new session."""
        session = secrets.token_hex(12)
        self._sessions[session] = {
            "__VIEWSTATE": base64.b64encode(secrets.token_bytes(60)).decode(),
            "__VIEWSTATEGENERATOR": secrets.token_hex(4).upper(),
            "__EVENTVALIDATION": base64.b64encode(secrets.token_bytes(30)).decode(),
        }
        return self._form(session, "", ("Set-Cookie", f"{SESSION}={session}; path=/; HttpOnly"))

    def submit(self, request: CloudRequest) -> CloudAnswer:
        """POST login.aspx: 302 and cookies, or the form again with the reason."""
        session = _cookies(request).get(SESSION, "")
        hidden = self._sessions.get(session)
        if hidden is None:
            return self.page()
        form = {key: values[0] for key, values in parse_qs(request.body.decode(), keep_blank_values=True).items()}
        sent = hidden | {
            "__LASTFOCUS": "",
            "__EVENTARGUMENT": "",
            "__EVENTTARGET": f"{CONTROL}linkLogin",
            f"{CONTROL}{EMAIL}": self.account.email,
            f"{CONTROL}{PASSWORD}": self.account.password,
        }
        states = all(_state_says(form.get(f"{name}_ClientState"), sent[CONTROL + name]) for name in (EMAIL, PASSWORD))
        if not states or any(form.get(key) != value for key, value in sent.items()):
            return self._form(session, REFUSAL)
        cookies = {"UserGUID": self.account.guid}
        if self.gives_token:
            token, until = self._new_token()
            cookies |= {"accessToken": token, "accessTokenExpiresAt": until}
        return redirect("/", *(("Set-Cookie", f"{name}={value}; path=/") for name, value in cookies.items()))

    def welcome(self, request: CloudRequest) -> CloudAnswer:
        """The page after the login."""
        known = _cookies(request).get("UserGUID") == self.account.guid
        return html_answer("<html><title>t:connect</title></html>") if known else redirect("/login.aspx?ReturnUrl=%2f")

    def phone_token(self, request: CloudRequest) -> CloudAnswer:
        """POST cloud/oauth2/token: the phone app's token."""
        app = base64.b64encode(f"{self.account.client_id}:{self.account.client_secret}".encode()).decode()
        form = {key: values[0] for key, values in parse_qs(request.body.decode()).items()}
        phone = request.headers.get("user-agent", "").startswith("Dalvik/")
        if request.headers.get("authorization") != f"Basic {app}" or not phone:
            return json_answer({"error": "invalid_client"}, 401)
        wanted = {"username": self.account.email, "password": self.account.password, "grant_type": "password"}
        if any(form.get(key) != value for key, value in wanted.items()) or set(form.get("scope", "").split()) != SCOPE:
            return json_answer({"error": "invalid_grant"}, 400)
        token, until = self._new_token()
        return json_answer(
            {
                "accessToken": token,
                "accessTokenExpiresAt": until,
                "refreshToken": secrets.token_urlsafe(24),
                "refreshTokenExpiresAt": _iso(self.now() + timedelta(days=14)),
                "user": {"id": self.account.guid},
            }
        )

    def knows(self, request: CloudRequest) -> bool:
        """Whether the request has a valid token."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        return kind == "Bearer" and token in self._tokens and self.now() < self._tokens[token]

    def expire(self) -> None:
        """Revoke all tokens and sessions."""
        self._tokens.clear()
        self._sessions.clear()

    def _new_token(self) -> tuple[str, str]:
        token, until = secrets.token_urlsafe(32), self.now() + timedelta(seconds=self.token_life_s)
        self._tokens[token] = until
        return token, _iso(until)

    def _form(self, session: str, notice: str, *headers: tuple[str, str]) -> CloudAnswer:
        fields = "".join(
            f'<input type="hidden" name="{name}" id="{name}" value="{escape(value)}" />'
            for name, value in self._sessions[session].items()
        )
        told = f'<div class="notice_error">{escape(notice)}</div>' if notice else ""
        return html_answer(
            f'<html><body><form method="post" action="./login.aspx?ReturnUrl=%2f" id="form1">{fields}{told}'
            '</form><span id="footer_version">t:connect 7.17.2.3</span></body></html>',
            200,
            *headers,
        )


def _state_says(text: str | None, value: str) -> bool:
    try:
        state: object = json.loads(text or "")
    except ValueError:
        return False
    wanted = {"enabled": True, "emptyMessage": ""}
    wanted |= dict.fromkeys(("validationText", "valueAsString", "lastSetTextBoxValue"), value)
    return state == wanted


def _cookies(request: CloudRequest) -> Mapping[str, str]:
    pairs = (each.strip().partition("=") for each in request.headers.get("cookie", "").split(";"))
    return {name: value for name, _, value in pairs}


def _iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.000Z")
