"""The transport of the simulated cloud: HTTP/1.1 with keep-alive on the loopback, one thread a connection."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from urllib.parse import parse_qsl, urlsplit

import attrs

from tconnectsync_simulator.loopback_server import LoopbackHandler, LoopbackServer

IDLE_S = 30.0


@attrs.frozen(kw_only=True)
class CloudRequest:
    """A request that came in. ``query`` keeps order and repeats; names of ``headers`` are in lower case."""

    kind: str
    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    at: datetime

    def value(self, key: str) -> str | None:
        """The first value of a query key."""
        return next((value for name, value in self.query if name == key), None)


@attrs.frozen(kw_only=True)
class CloudAnswer:
    """What goes back. ``promised`` is a Content-Length that is not the body's own; then the connection breaks."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    promised: int | None = None


class CutOff(Exception):
    """Break the connection instead of answering."""


def json_answer(value: object, status: int = 200, *headers: tuple[str, str]) -> CloudAnswer:
    """A JSON answer."""
    return CloudAnswer(status=status, body=json.dumps(value, ensure_ascii=False).encode(), headers=headers)


def html_answer(text: str, status: int = 200, *headers: tuple[str, str]) -> CloudAnswer:
    """A page."""
    return CloudAnswer(status=status, body=text.encode(), content_type="text/html; charset=utf-8", headers=headers)


def redirect(location: str, *headers: tuple[str, str]) -> CloudAnswer:
    """302."""
    return CloudAnswer(status=302, content_type="text/html", headers=(("Location", location), *headers))


class CloudServer(LoopbackServer):
    """Hands requests to ``serve``."""

    def __init__(self, serve: Callable[[CloudRequest], CloudAnswer], now: Callable[[], datetime]) -> None:
        self.serve, self.now = serve, now
        super().__init__(_CloudHandler, name="simulated-cloud")

    @property
    def url(self) -> str:
        """Where it listens, without a last slash."""
        return f"http://127.0.0.1:{self.port}"


class _CloudHandler(LoopbackHandler):
    timeout = IDLE_S
    server: CloudServer

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        request = CloudRequest(
            kind="",
            method=self.command,
            path=parts.path,
            query=tuple(parse_qsl(parts.query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.read_all(),
            at=self.server.now(),
        )
        try:
            answer = self.server.serve(request)
        except CutOff:
            self.hang_up()
            return
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body) if answer.promised is None else answer.promised))
        for name, value in answer.headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)
        self.wfile.flush()
        if answer.promised is not None:
            self.hang_up()

    do_GET = do_POST = _handle  # noqa: N815 - the names that the base class calls

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(self.server.now().timestamp() if timestamp is None else timestamp)
