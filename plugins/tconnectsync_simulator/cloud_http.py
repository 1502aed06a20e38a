"""The transport of the simulated cloud: HTTP/1.1 with keep-alive on the loopback, one thread a connection."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import attrs

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


class CloudServer(ThreadingHTTPServer):
    """Hands requests to ``serve``; :meth:`close` also ends open connections and waits for their threads."""

    daemon_threads = False
    block_on_close = True

    def __init__(self, serve: Callable[[CloudRequest], CloudAnswer], now: Callable[[], datetime]) -> None:
        self.serve, self.now = serve, now
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.02}, name="simulated-cloud", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens, without a last slash."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def enter(self, connection: socket.socket) -> None:
        """A connection begins."""
        with self._guard:
            self._open.add(connection)

    def leave(self, connection: socket.socket) -> None:
        """A connection ended."""
        with self._guard:
            self._open.discard(connection)

    def close(self) -> None:
        """Listen no more, break every connection, and wait until its thread is gone."""
        self.shutdown()
        with self._guard:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 65536
    timeout = IDLE_S
    server: CloudServer

    def setup(self) -> None:
        super().setup()
        self.server.enter(self.connection)

    def finish(self) -> None:
        self.server.leave(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError):
            super().handle()

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        request = CloudRequest(
            kind="",
            method=self.command,
            path=parts.path,
            query=tuple(parse_qsl(parts.query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(int(self.headers.get("content-length") or 0)),
            at=self.server.now(),
        )
        try:
            answer = self.server.serve(request)
        except CutOff:
            self._break()
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
            self._break()

    def _break(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_POST = _handle  # noqa: N815 - the names that the base class calls

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(self.server.now().timestamp() if timestamp is None else timestamp)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing: the requests are kept in the cloud's list."""
