"""The routes. No response contains a secret, and the status contains no personal data."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, jsonify, request

from tconnectsync import CheckResult
from tconnectsync_web.blueprint import page_blueprint
from tconnectsync_web.metrics import metrics_text
from tconnectsync_web.pages.reader import PageReader
from tconnectsync_web.secret_gate import SecretGate, client_of
from tconnectsync_web.sync_cycles import Cycles

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

    View = Callable[..., ResponseReturnValue]

_PLAIN = ("state", "since", "last_fetch", "last_delivered", "next_poll", "pending", "dead", "behind")
"""Status fields without personal data. Messages are left out, since they may contain serial numbers."""


MOST_AT_WORK = 8
"""This many requests may read the status, test logins or wait for a cycle at a time. Other threads stay free."""
BUSY_S = 5


def web_app(
    *,
    gate: SecretGate,
    cycles: Cycles,
    read_status: Callable[[], Mapping[str, Any]],
    read_findings: Callable[[], Sequence[CheckResult]],
    reader: PageReader | None = None,
) -> Flask:
    """Return the application; with a ``reader`` it has pages for people. The callables run in the server's threads, which must be more than ``MOST_AT_WORK``."""
    app = Flask("tconnectsync_web", static_folder=None)
    limited = _limiter(threading.BoundedSemaphore(MOST_AT_WORK))

    def healthz() -> Response:
        return Response("ok\n", mimetype="text/plain")

    def index() -> Response:
        return jsonify(_without_personal_data(read_status(), cycles))

    def metrics() -> Response:
        begin = time.monotonic()
        status = read_status()
        try:
            text = metrics_text(status, time.monotonic() - begin)
        except ImportError:
            return _message("the package prometheus-client is missing; install the extra web again", 501)
        return Response(text, content_type="text/plain; version=0.0.4; charset=utf-8")

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
        body = {"good": good, "findings": [finding.to_json() for finding in findings]}
        return jsonify(body), 200 if good else 503

    app.before_request(lambda: _admit(gate))
    app.after_request(_forbid_caching)
    app.add_url_rule("/healthz", view_func=healthz)
    if reader is None:
        app.add_url_rule("/", view_func=limited(index))
    else:
        app.register_blueprint(page_blueprint(reader, sync=cycles.start, for_scripts=index, limited=limited))
    app.add_url_rule("/metrics", view_func=limited(metrics))
    app.add_url_rule("/run", view_func=run, methods=["GET", "POST"])
    app.add_url_rule("/update", view_func=limited(update), methods=["GET", "POST"])
    app.add_url_rule("/check_login", view_func=limited(check_login))
    return app


def _limiter(slots: threading.Semaphore) -> Callable[[View], View]:
    """Return a decorator that runs a view if a slot is free. Waiting requests must not block `/healthz`."""

    def limited(view: View) -> View:
        @functools.wraps(view)
        def run_if_free(**values: Any) -> ResponseReturnValue:
            if not slots.acquire(blocking=False):
                return _retry_later("too many requests at a time; try again", 503, BUSY_S)
            try:
                return view(**values)
            finally:
                slots.release()

        return run_if_free

    return limited


def _admit(gate: SecretGate) -> Response | None:
    """Return None to admit the request, else the refusal."""
    if request.path == "/healthz":
        return None
    offered = _offered_secret()
    if offered is None:
        answer = _message("a secret is required: Authorization: Bearer SECRET", 401)
        answer.headers["WWW-Authenticate"] = "Bearer"
        return answer
    client = client_of(request.remote_addr or "")
    wait_s = gate.wait_s(client)
    if wait_s:
        return _retry_later("too many wrong secrets; wait", 429, wait_s)
    return None if gate.admits(offered, client) else _message("wrong secret", 403)


def _offered_secret() -> bytes | None:
    """Return the secret in the request. A header's bytes are Latin-1."""
    header = request.headers.get("Authorization", "").strip()
    if header:
        scheme, _, rest = header.partition(" ")
        return (rest.strip() if scheme.lower() == "bearer" else header).encode("latin-1", "replace")
    query = request.args.get("secret")
    return None if query is None else query.encode("utf-8", "replace")


def _message(message: str, status: int) -> Response:
    answer = jsonify({"message": message})
    answer.status_code = status
    return answer


def _retry_later(message: str, status: int, wait_s: int) -> Response:
    answer = _message(message, status)
    answer.headers["Retry-After"] = str(wait_s)
    return answer


def _forbid_caching(answer: Response) -> Response:
    """Forbid caches and referrers: an address with ``?secret=`` must not be stored or passed on."""
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
