"""The routes. No response contains a secret, and the status contains no personal data."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, g, jsonify, request

from tconnectsync import CheckResult
from tconnectsync_web.access.admission import Access, has_session, message, retry_later
from tconnectsync_web.access.sign_in import sign_in_blueprint
from tconnectsync_web.blueprint import LIVE_ENDPOINT, LIVE_SINCE, frame_blueprint, page_blueprint
from tconnectsync_web.live.stream import Live
from tconnectsync_web.log_views import LogViews, add_trouble_page
from tconnectsync_web.metrics import metrics_text
from tconnectsync_web.pages.reader import PageReader
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
    access: Access,
    cycles: Cycles,
    read_status: Callable[[], Mapping[str, Any]],
    read_findings: Callable[[], Sequence[CheckResult]],
    read_letters: Callable[[], Sequence[Mapping[str, Any]]] = tuple,
    redact: Callable[[str], str] = str,
    reader: PageReader | None = None,
    live: Live | None = None,
    name: str = "",
) -> Flask:
    """Return one person's application; with a ``reader`` it has pages, and with ``live`` these get news of ``name``.

    The callables run in the server's threads, which must be more than ``MOST_AT_WORK``.
    """
    app = Flask("tconnectsync_web", static_folder=None)
    limited = _limiter(threading.BoundedSemaphore(MOST_AT_WORK))

    def healthz() -> Response:
        return Response("ok\n", mimetype="text/plain")

    def index() -> Response:
        return jsonify(public_status(read_status(), cycles))

    app.add_url_rule("/healthz", view_func=healthz)
    if reader is None:
        frame = frame_blueprint()
        frame.add_url_rule("/", "overview", limited(index))
        app.register_blueprint(frame)
    else:
        app.register_blueprint(page_blueprint(reader, cycles=cycles, for_scripts=index, limited=limited))
        views = LogViews(reader=reader, read_letters=read_letters)
        app.add_url_rule("/log", "log", limited(views.log))
        app.add_url_rule("/problems", "problems", limited(views.problems))
        add_trouble_page(app, redact)
    app.register_blueprint(sign_in_blueprint(access))
    access.protect(app)
    if live is not None:
        add_live(app, live, name, access)
    add_script_routes(app, cycles=cycles, read_status=read_status, read_findings=read_findings, limited=limited)
    return app


def add_script_routes(
    app: Flask,
    *,
    cycles: Cycles,
    read_status: Callable[[], Mapping[str, Any]],
    read_findings: Callable[[], Sequence[CheckResult]],
    limited: Callable[[View], View],
) -> None:
    """Add what scripts and Prometheus ask for."""

    def metrics() -> Response:
        begin = time.monotonic()
        status = read_status()
        try:
            text = metrics_text(status, time.monotonic() - begin)
        except ImportError:
            return message("the package prometheus-client is missing; install the extra web again", 501)
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

    app.add_url_rule("/metrics", view_func=limited(metrics))
    app.add_url_rule("/run", view_func=run, methods=["GET", "POST"])
    app.add_url_rule("/update", view_func=limited(update), methods=["GET", "POST"])
    app.add_url_rule("/check_login", view_func=limited(check_login))


def add_live(app: Flask, live: Live, name: str, access: Access) -> None:
    """Send news of ``name`` to open pages of ``app``."""

    def stream() -> Response:
        cookie = request.cookies.get(access.sessions.cookie)
        by_cookie = has_session()
        return live.answer(name, lambda: not by_cookie or access.still_admits(cookie))

    def remember_version() -> None:
        g.setdefault(LIVE_SINCE, live.watch.version(name))

    app.before_request(remember_version)
    app.add_url_rule("/live", LIVE_ENDPOINT, stream)


def _limiter(slots: threading.Semaphore) -> Callable[[View], View]:
    """Return a decorator that runs a view if a slot is free. Waiting requests must not block `/healthz`."""

    def limited(view: View) -> View:
        @functools.wraps(view)
        def run_if_free(**values: Any) -> ResponseReturnValue:
            if not slots.acquire(blocking=False):
                return retry_later("too many requests at once; try again", 503, BUSY_S)
            try:
                return view(**values)
            finally:
                slots.release()

        return run_if_free

    return limited


def public_status(status: Mapping[str, Any], cycles: Cycles) -> dict[str, Any]:
    """Return what the status says without personal data."""
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
