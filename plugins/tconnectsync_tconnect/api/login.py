"""The login at the website's form, which returns the user's id and usually a token; and at the phone app's service."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import attrs

from tconnectsync import CredentialsRefused, Secret
from tconnectsync_tconnect.api.token import TconnectToken, token_of
from tconnectsync_tconnect.api.transport import (
    NotFound,
    TconnectResponse,
    TconnectTokenExpired,
    TconnectTransport,
    body_of,
    read_json,
    response_changed,
)

log = logging.getLogger("tconnectsync.tconnect")

BROWSER: Mapping[str, str] = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
}
PHONE: Mapping[str, str] = {"User-Agent": "Dalvik/2.1.0 (Linux; U; Android 12; Pixel 5 Build/SP2A.220405.004)"}
SCOPE = "cloud.account cloud.upload cloud.accepttcpp cloud.email cloud.password"
_FORM = "ctl00$ContentBody$LoginControl$"
_HIDDEN = ("__VIEWSTATE", "__VIEWSTATEGENERATOR", "__EVENTVALIDATION")
_MOST_WORDS = 200
_CHECK = "Check email and password of [sources.tconnect], then run `tconnectsync check`."


@attrs.frozen(kw_only=True)
class LoginResult:
    """The user's id, and the website's token if it sent one."""

    guid: str = attrs.field(repr=False)
    token: TconnectToken | None


def log_in(transport: TconnectTransport, base: str, email: str, password: Secret) -> LoginResult:
    """Log in through the form. Errors: CredentialsRefused, SourceChanged, Retryable."""
    url = f"{base}login.aspx?ReturnUrl=%2f"
    page = _Page()
    page.feed(_text(_page(transport.ask("GET", url, what="login page", headers=BROWSER), "login page")))
    missing = [name for name in _HIDDEN if name not in page.hidden]
    if missing:
        raise response_changed("login page", f"no {missing[0]} in it")
    headers = {**BROWSER, "Referer": url}
    answer = transport.ask("POST", url, what="login", headers=headers, form=_form(page.hidden, email, password))
    if answer.status == 200:
        raise _refused(answer, (email, password.reveal()))
    if answer.status != 302:
        _page(answer, "login")
        raise response_changed("login", f"status {answer.status}")
    target = _target(url, answer.headers.get("Location", ""))
    if _host(target) == _host(url):  # the cookies must not reach other hosts
        after = transport.ask("POST", target, what="page after the login", headers=headers)
        if after.status >= 500:
            _page(after, "page after the login")
    cookies = transport.client.cookies
    guid = cookies.get("UserGUID", "")
    if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", guid):
        raise response_changed("login", "no cookie with the user's id (UserGUID)")
    access, now = cookies.get("accessToken", ""), transport.clock.now()
    log.info("login_ok token=%s", "yes" if access else "no")
    token = token_of(access, cookies.get("accessTokenExpiresAt"), now) if access else None
    return LoginResult(guid=guid, token=token)


def phone_token(
    transport: TconnectTransport, base: str, email: str, password: Secret, client_id: str, client_secret: Secret
) -> TconnectToken:
    """Request the phone app's token. Errors: CredentialsRefused, SourceChanged, Retryable."""
    answer = transport.ask(
        "POST",
        f"{base}cloud/oauth2/token",
        what="the phone app's token",
        headers=PHONE,
        form={"username": email, "password": password.reveal(), "grant_type": "password", "scope": SCOPE},
        basic=(client_id, client_secret.reveal()),
    )
    if answer.status in (400, 401):
        raise CredentialsRefused(
            f"t:connect refuses the login of the phone app (status {answer.status})",
            remedy="Check email, password, client_id and client_secret of [sources.tconnect], then run `tconnectsync check`.",
        )
    found = read_json(_page(answer, "the phone app's token"), "the phone app's token")
    access = found.get("accessToken") if isinstance(found, dict) else None
    if not isinstance(access, str) or not access:
        raise response_changed("the phone app's token", "it has no accessToken")
    return token_of(access, found.get("accessTokenExpiresAt"), transport.clock.now())


def _form(hidden: Mapping[str, str], email: str, password: Secret) -> dict[str, str]:
    return {
        **{name: hidden[name] for name in _HIDDEN},
        "__LASTFOCUS": "",
        "__EVENTTARGET": f"{_FORM}linkLogin",
        "__EVENTARGUMENT": "",
        f"{_FORM}txtLoginEmailAddress": email,
        "txtLoginEmailAddress_ClientState": _client_state(email),
        f"{_FORM}txtLoginPassword": password.reveal(),
        "txtLoginPassword_ClientState": _client_state(password.reveal()),
    }


def _client_state(value: str) -> str:
    state = {
        "enabled": True,
        "emptyMessage": "",
        "validationText": value,
        "valueAsString": value,
        "lastSetTextBoxValue": value,
    }
    return json.dumps(state, separators=(",", ":"))


def _refused(answer: TconnectResponse, private: tuple[str, ...]) -> Exception:
    page = _Page()
    page.feed(_text(answer.body))
    notice = "".join(page.notice)
    for text in private:
        notice = notice.replace(text, "…")
    words = " ".join(notice.split())[:_MOST_WORDS]
    if not words:
        return response_changed("login", "the form again, without a reason")
    return CredentialsRefused(f"t:connect refuses the login: {words}", remedy=_CHECK)


def _page(answer: TconnectResponse, what: str) -> bytes:
    """Return the body of a step that must succeed."""
    try:
        return body_of(answer, what) if answer.status >= 400 else bytes(answer.body)
    except (TconnectTokenExpired, NotFound):
        raise response_changed(what, f"status {answer.status}") from None


def _text(body: bytes | bytearray) -> str:
    return body.decode("utf-8", "replace")


def _target(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise response_changed("login", "a redirect without an address") from None


def _host(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


_VOID = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"})


class _Page(HTMLParser):
    """The hidden fields of a page's form, and the text of its notice."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden: dict[str, str] = {}
        self.notice: list[str] = []
        self._depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "input" and given.get("type", "").lower() == "hidden":
            self.hidden[given.get("name") or given.get("id", "")] = given.get("value", "")
        if self._depth and tag == "br":
            self.notice.append(" ")
        if tag not in _VOID and (self._depth or "notice_error" in given.get("class", "").split()):
            self._depth += 1

    def handle_endtag(self, tag: str) -> None:
        if self._depth and tag not in _VOID:
            self._depth -= 1

    def handle_data(self, data: str) -> None:
        if self._depth:
            self.notice.append(data)
