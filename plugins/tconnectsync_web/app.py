"""The routes. None tells a secret, and the status tells nothing about the wearer."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, jsonify, request

from tconnectsync import CheckResult
from tconnectsync_web.secret_gate import SecretGate, client_of
from tconnectsync_web.sync_cycles import Cycles

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

_PLAIN = ("state", "since", "last_fetch", "last_delivered", "next_poll", "pending", "dead", "behind")
"""What a link's status says without personal data: messages may hold serial numbers, pumps have them as names."""


MOST_AT_WORK = 8
"""So many requests may read the status, try the logins or wait for a cycle at a time; the other threads answer the rest at once."""
BUSY_S = 5


def web_app(
    *,
    gate: SecretGate,
    cycles: Cycles,
    read_status: Callable[[], Mapping[str, Any]],
    read_findings: Callable[[], Sequence[CheckResult]],
) -> Flask:
    """The application. The callables are asked in the threads of the server, which must be more than ``MOST_AT_WORK``."""
    app = Flask("tconnectsync_web", static_folder=None)
    places = threading.BoundedSemaphore(MOST_AT_WORK)

    def at_work(view: Callable[[], ResponseReturnValue]) -> Callable[[], ResponseReturnValue]:
        """The view, where a place is free: those who wait must not keep `/healthz` from its answer."""

        @functools.wraps(view)
        def placed() -> ResponseReturnValue:
            if not places.acquire(blocking=False):
                answer = _words("too many requests are being answered; ask again", 503)
                answer.headers["Retry-After"] = str(BUSY_S)
                return answer
            try:
                return view()
            finally:
                places.release()

        return placed

    def admit() -> Response | None:
        if request.path == "/healthz":
            return None
        offered = _offered()
        if offered is None:
            answer = _words("a secret is needed: Authorization: Bearer SECRET", 401)
            answer.headers["WWW-Authenticate"] = "Bearer"
            return answer
        client = client_of(request.remote_addr or "")
        wait_s = gate.wait_s(client)
        if wait_s:
            answer = _words("too many wrong secrets; wait", 429)
            answer.headers["Retry-After"] = str(wait_s)
            return answer
        return None if gate.admits(offered, client) else _words("this is not the secret", 403)

    def healthz() -> Response:
        return Response("ok\n", mimetype="text/plain")

    def index() -> Response:
        return jsonify(_without_personal_data(read_status(), cycles))

    def run() -> tuple[Response, int]:
        _, new = cycles.start()
        return jsonify({"message": "started" if new else "already running"}), 202

    def update() -> tuple[Response, int]:
        cycle, _ = cycles.start()
        outcome = cycle.wait()
        if outcome is None:
            raise RuntimeError("a cycle ended without an outcome")
        return jsonify({"status": outcome.status, "lines": list(outcome.lines)}), 200 if outcome.status == 0 else 503

    def check_login() -> tuple[Response, int]:
        findings = read_findings()
        good = all(finding.good for finding in findings)
        body = {"good": good, "findings": [finding.told() for finding in findings]}
        return jsonify(body), 200 if good else 503

    app.before_request(admit)
    app.after_request(_keep_to_yourself)
    app.add_url_rule("/healthz", view_func=healthz)
    app.add_url_rule("/", view_func=at_work(index))
    app.add_url_rule("/run", view_func=run, methods=["GET", "POST"])
    app.add_url_rule("/update", view_func=at_work(update), methods=["GET", "POST"])
    app.add_url_rule("/check_login", view_func=at_work(check_login))
    return app


def _offered() -> bytes | None:
    """The secret that the request brings. A header's bytes come as Latin-1."""
    header = request.headers.get("Authorization", "").strip()
    if header:
        scheme, _, rest = header.partition(" ")
        return (rest.strip() if scheme.lower() == "bearer" else header).encode("latin-1", "replace")
    query = request.args.get("secret")
    return None if query is None else query.encode("utf-8", "replace")


def _words(message: str, status: int) -> Response:
    answer = jsonify({"message": message})
    answer.status_code = status
    return answer


def _keep_to_yourself(answer: Response) -> Response:
    """An address with ``?secret=`` is neither kept nor passed on."""
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["Referrer-Policy"] = "no-referrer"
    return answer


def _without_personal_data(status: Mapping[str, Any], cycles: Cycles) -> dict[str, Any]:
    links = {
        group: {name: {key: link[key] for key in _PLAIN if key in link} for name, link in status.get(group, {}).items()}
        for group in ("sources", "sinks")
    }
    last = cycles.last
    return {
        "version": status.get("version"),
        "log_damaged": bool(status.get("log", {}).get("damaged")),
        **links,
        "cycle_running": cycles.running is not None,
        "last_cycle_status": None if last is None else last.status,
    }
