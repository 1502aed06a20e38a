"""HTTP requests and responses of the simulated cloud."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from urllib.parse import parse_qsl, urlsplit

import attrs

from tconnectsync_simulator.loopback_server import ConnectionBreaks, LoopbackHandler, LoopbackServer

IDLE_S = 30.0


@attrs.frozen(kw_only=True)
class CloudRequest:
    """A received request. ``query`` has every pair in order; names of ``headers`` are in lower case."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)

    def value(self, key: str) -> str | None:
        """The first value of a query key."""
        return next((value for name, value in self.query if name == key), None)


@attrs.frozen(kw_only=True)
class CloudAnswer:
    """A response. ``promised``: a wrong Content-Length; the connection breaks after the body."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    promised: int | None = None


def json_answer(value: object, status: int = 200, *headers: tuple[str, str]) -> CloudAnswer:
    return CloudAnswer(status=status, body=json.dumps(value, ensure_ascii=False).encode(), headers=headers)


def html_answer(text: str, status: int = 200, *headers: tuple[str, str]) -> CloudAnswer:
    return CloudAnswer(status=status, body=text.encode(), content_type="text/html; charset=utf-8", headers=headers)


def redirect(location: str, *headers: tuple[str, str]) -> CloudAnswer:
    """A redirect with status 302."""
    return CloudAnswer(status=302, content_type="text/html", headers=(("Location", location), *headers))


class CloudServer(LoopbackServer):
    """Passes requests to ``serve``."""

    def __init__(self, serve: Callable[[CloudRequest], CloudAnswer], now: Callable[[], datetime]) -> None:
        self.serve, self.now = serve, now
        super().__init__(_CloudHandler, name="simulated-cloud")

    @property
    def url(self) -> str:
        """The address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"


class _CloudHandler(LoopbackHandler):
    timeout = IDLE_S
    server: CloudServer

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        request = CloudRequest(
            method=self.command,
            path=parts.path,
            query=tuple(parse_qsl(parts.query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.read_all(),
        )
        try:
            answer = self.server.serve(request)
        except ConnectionBreaks:
            self.hang_up()
            return
        self.respond(answer.status, answer.content_type, answer.headers, answer.body, answer.promised)
        if answer.promised is not None:
            self.hang_up()

    do_GET = do_POST = _handle  # noqa: N815 - the names that the base class calls

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(self.server.now().timestamp() if timestamp is None else timestamp)
