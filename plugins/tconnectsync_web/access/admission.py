"""Decides who may see and do what, before any view runs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import attrs
from flask import Flask, Response, g, jsonify, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest

from tconnectsync_web.access.foreign_sites import (
    SAFE_METHODS,
    comes_by_foreign_link,
    comes_from_foreign_site,
    is_foreign,
    is_surely_own,
)
from tconnectsync_web.access.loopback import host_is_loopback
from tconnectsync_web.access.path_prefix import ROOT
from tconnectsync_web.access.private_files import folder_of
from tconnectsync_web.access.sessions import Role, Sessions, load_key
from tconnectsync_web.access.view_link import ViewLink
from tconnectsync_web.links import wants_html
from tconnectsync_web.secret_gate import SecretGate, client_of

PUBLIC = frozenset({"healthz", "page.static", "access.sign_in", "access.view", "access.sign_out"})
"""Endpoints that need no secret. They have no data."""
SCRIPTS = frozenset({"run", "update", "check_login", "metrics"})
"""Endpoints for scripts: the secret comes in a header or in the address, never in a cookie."""
INDEX = "page.overview"
"""A script that sends the secret gets the status here."""


@attrs.frozen(kw_only=True)
class Access:
    """The secret and the ways to prove that one knows it.

    ``gate`` None: the page is open, because it listens on loopback only.
    """

    gate: SecretGate | None
    sessions: Sessions
    view_link: ViewLink

    def protect(self, app: Flask) -> None:
        """Let every request to ``app`` pass here. Call it after the blueprints, which choose the language of a refusal."""
        app.before_request(self.admit)
        app.context_processor(
            lambda: {
                "may_change": role_now() is Role.OWNER,
                "may_sign_out": has_session(),
                "sign_out_address": address_below_root("/sign-out"),
            }
        )
        app.after_request(protect_answer)

    def admit(self) -> ResponseReturnValue | None:
        """Return None to admit the request, else the refusal."""
        g.role, g.by_cookie = Role.NOBODY, False
        if isinstance(request.routing_exception, BadRequest):  # no link could be made for this name
            return message("the Host header does not name a computer", HTTPStatus.BAD_REQUEST)
        if request.endpoint == "healthz":
            return None
        if self.gate is None:
            return self._admit_to_open_page()
        if request.endpoint in PUBLIC:
            return None
        offered = self._offered_secret()
        if offered is not None:
            g.role = Role.OWNER
            return self.refusal_of(self.gate, offered) or _refuse_foreign_use_of_header()
        if request.endpoint not in SCRIPTS:
            g.role = self.sessions.role_of(request.cookies.get(self.sessions.cookie), self.view_link.token())
            g.by_cookie = g.role is not Role.NOBODY
        if g.role is Role.NOBODY:
            return self._ask_for_secret()
        return self._refuse_change(is_own=is_surely_own(request))

    def refusal_of(self, gate: SecretGate, offered: bytes) -> Response | None:
        """Return None if this is the secret, else the refusal. Wrong ones are counted."""
        client = client_of(request.remote_addr or "")
        wait_s = gate.wait_s(client)
        if wait_s:
            return retry_later("too many wrong secrets; wait", 429, wait_s)
        return None if gate.admits(offered, client) else message("wrong secret", 403)

    def still_admits(self, cookie: str | None) -> bool:
        """Whether a page that stays connected may continue: its view link may be revoked meanwhile."""
        return self.sessions.role_of(cookie, self.view_link.token()) is not Role.NOBODY

    def _admit_to_open_page(self) -> ResponseReturnValue | None:
        """Without a secret: admit this computer's programs and our own pages, and no other site's."""
        if not host_is_loopback(request.headers.get("Host", "")):
            return message(
                "this page needs no secret, so it is only for this computer: open it as http://127.0.0.1. To reach it"
                " under another name, set `secret_file` under [web], then start it again",
                HTTPStatus.MISDIRECTED_REQUEST,
            )
        g.role = Role.OWNER
        if is_foreign(request) and (request.endpoint in SCRIPTS or not comes_by_foreign_link(request)):
            return message("another web site sent this request; it was refused", 403)
        return self._refuse_change(is_own=request.endpoint in SCRIPTS or is_surely_own(request))

    def _refuse_change(self, *, is_own: bool) -> ResponseReturnValue | None:
        if request.method in SAFE_METHODS:
            return None
        if g.role is not Role.OWNER:
            return message("this view link shows the pages and changes nothing", 403)
        return None if is_own else message("another web site sent this request; nothing was changed", 403)

    def _ask_for_secret(self) -> ResponseReturnValue:
        if wants_html() and request.endpoint not in SCRIPTS:
            if comes_by_foreign_link(request):  # the cookie comes with the page's own request
                return Response('<!doctype html><meta http-equiv="refresh" content="0">', mimetype="text/html")
            return sign_in_page(HTTPStatus.UNAUTHORIZED, target=_wanted_path())
        answer = message("a secret is required: Authorization: Bearer SECRET", 401)
        answer.headers["WWW-Authenticate"] = "Bearer"
        return answer

    def _offered_secret(self) -> bytes | None:
        """Return the secret in the request. A header's bytes are Latin-1. Pages take none from the address."""
        header = request.headers.get("Authorization", "").strip()
        if header:
            scheme, _, rest = header.partition(" ")
            return (rest.strip() if scheme.lower() == "bearer" else header).encode("latin-1", "replace")
        if request.endpoint in SCRIPTS or (request.endpoint == INDEX and not wants_html()):
            query = request.args.get("secret")
            return None if query is None else query.encode("utf-8", "replace")
        return None


def open_access(data_dir: Path, secret: bytes | None) -> Access:
    """Return the access that keeps its key and its view link in the data folder. ``secret`` None: open, for loopback only."""
    folder = folder_of(data_dir)
    key = b"" if secret is None else load_key(folder / "cookie.key")
    return Access(
        gate=None if secret is None else SecretGate(secret, time.monotonic),
        sessions=Sessions(key, secret or b""),
        view_link=ViewLink(folder / "view-link"),
    )


def _refuse_foreign_use_of_header() -> Response | None:
    """A reverse proxy may add the secret to whatever a browser sends, also at another site's request."""
    changes = request.method not in SAFE_METHODS or request.endpoint in SCRIPTS
    if "Authorization" in request.headers and changes and comes_from_foreign_site(request):
        return message("another web site sent this request; nothing was changed", 403)
    return None


def role_now() -> Role:
    """What this request may do."""
    role: Role = g.get("role", Role.NOBODY)
    return role


def has_session() -> bool:
    """Whether a cookie admitted this request."""
    return bool(g.get("by_cookie", False))


WITHOUT_DATA: Mapping[str, Any] = {"navigation": (), "live_address": lambda: None}
"""Context of pages for those who are not signed in: no menu, and no news."""


def address_below_root(path: str) -> str:
    """Return the address of a path of the whole application, with the proxy's prefix."""
    return str(request.environ.get(ROOT, "")) + path


def sign_in_page(status: int, problem: str = "", target: str = "/") -> Response:
    """Return the form that asks for the secret. ``target``: the path to go to afterwards; it is not checked here."""
    page = render_template(
        "sign_in.html", problem=problem, target=target, action=address_below_root("/sign-in"), **WITHOUT_DATA
    )
    return Response(page, status, mimetype="text/html")


def _wanted_path() -> str:
    """The path of this request below the root of the whole application."""
    if request.method != "GET":
        return "/"
    return request.script_root.removeprefix(address_below_root("")) + request.full_path.rstrip("?")


def message(text: str, status: int) -> Response:
    """A refusal in words."""
    answer = jsonify({"message": text})
    answer.status_code = status
    return answer


def retry_later(text: str, status: int, wait_s: int) -> Response:
    """A refusal that ends."""
    answer = message(text, status)
    answer.headers["Retry-After"] = str(wait_s)
    return answer


def protect_answer(answer: Response) -> Response:
    """Forbid caches, and referrers to other sites: an address with ``?secret=`` must not be stored or passed on."""
    if request.endpoint != "page.static":
        answer.headers["Cache-Control"] = "no-store"
    # "no-referrer" would also hide the origin from our own server
    answer.headers["Referrer-Policy"] = "no-referrer" if "secret" in request.args else "same-origin"
    return answer
