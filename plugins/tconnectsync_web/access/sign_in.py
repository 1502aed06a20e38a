"""The forms: sign in with the secret, open a view link, sign out."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response, redirect, render_template, request
from flask.typing import ResponseReturnValue

from tconnectsync_web.access.admission import WITHOUT_DATA, Access, address_below_root, message, sign_in_page
from tconnectsync_web.access.foreign_sites import is_foreign
from tconnectsync_web.access.sessions import LIFETIME_S, Role
from tconnectsync_web.secret_gate import SecretGate, client_of


def sign_in_blueprint(access: Access) -> Blueprint:
    """Return the routes ``/sign-in``, ``/sign-out`` and ``/view``."""
    forms = Blueprint("access", __name__)

    def sign_in() -> ResponseReturnValue:
        if access.gate is None:
            return redirect(address_below_root("/"), HTTPStatus.SEE_OTHER)
        if request.method == "GET":
            return sign_in_page(HTTPStatus.OK, target="/")
        target, secret = request.form.get("target", "/"), request.form.get("secret", "").strip()
        failed = _check(access.gate, secret, access.gate.secrets)
        if failed is not None:
            return sign_in_page(*failed, target=target)
        return _signed_in(access, target, access.sessions.issue(Role.OWNER))

    def view() -> ResponseReturnValue:
        if access.gate is None:
            return redirect(address_below_root("/"), HTTPStatus.SEE_OTHER)
        if request.method == "GET":
            return _view_page(HTTPStatus.OK, "")
        token, offered = access.view_link.token(), request.form.get("token", "").strip().rpartition("#")[2]
        failed = _check(access.gate, offered, () if token is None else (token.encode(),))
        if failed is not None:
            return _view_page(*failed)
        return _signed_in(access, "/", access.sessions.issue(Role.VIEWER, offered))

    def sign_out() -> ResponseReturnValue:
        if is_foreign(request):
            return message("another web site sent this request; nothing was changed", HTTPStatus.FORBIDDEN)
        answer = redirect(address_below_root("/"), HTTPStatus.SEE_OTHER)
        answer.delete_cookie(access.sessions.cookie, path=address_below_root("/"))
        return answer

    forms.add_url_rule("/sign-in", "sign_in", sign_in, methods=["GET", "POST"])
    forms.add_url_rule("/view", "view", view, methods=["GET", "POST"])
    forms.add_url_rule("/sign-out", "sign_out", sign_out, methods=["POST"])
    return forms


def _check(gate: SecretGate, offered: str, right: tuple[bytes, ...]) -> tuple[int, str] | None:
    """Return None if the text is right, else status and the kind of problem."""
    if is_foreign(request):
        return HTTPStatus.FORBIDDEN, "foreign"
    client = client_of(request.remote_addr or "")
    if gate.wait_s(client):
        return HTTPStatus.TOO_MANY_REQUESTS, "wait"
    if gate.admits_either(right, offered.encode("utf-8", "replace"), client):
        return None
    return HTTPStatus.FORBIDDEN, "wrong"


def _view_page(status: int, problem: str) -> Response:
    page = render_template("view_link.html", problem=problem, action=address_below_root("/view"), **WITHOUT_DATA)
    return Response(page, status, mimetype="text/html")


def _signed_in(access: Access, target: str, cookie: str) -> ResponseReturnValue:
    answer = redirect(address_below_root(target if _is_path(target) else "/"), HTTPStatus.SEE_OTHER)
    answer.set_cookie(
        access.sessions.cookie,
        cookie,
        max_age=LIFETIME_S,
        path=address_below_root("/"),
        secure=request.is_secure,
        httponly=True,
        samesite="Strict",
    )
    return answer


def _is_path(target: str) -> bool:
    """Whether this is a path of ours; browsers take ``//`` and ``/\\`` as the start of another host."""
    return target.startswith("/") and target[1:2] not in ("/", "\\") and target.isprintable()
