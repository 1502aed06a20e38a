"""The HTTP server under all simulated services: HTTP/1.1 with keep-alive on the loopback, one thread per connection."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ConnectionBreaks(Exception):
    """Break the connection instead of responding."""


class LoopbackServer(ThreadingHTTPServer):
    """Listens from the start, on ``port`` or a free one; :meth:`close` also ends open connections and their threads."""

    daemon_threads = False
    block_on_close = True

    def __init__(self, handler: type[LoopbackHandler], *, name: str, port: int = 0) -> None:
        self._open: dict[int, socket.socket] = {}
        self._opened = 0
        self._guard = threading.Lock()
        super().__init__(("127.0.0.1", port), handler)
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.02}, name=name, daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return int(self.server_address[1])

    def enter(self, connection: socket.socket) -> int:
        """Number a connection, from 1."""
        with self._guard:
            self._opened += 1
            self._open[self._opened] = connection
            return self._opened

    def leave(self, number: int) -> None:
        """Forget a connection that ended."""
        with self._guard:
            self._open.pop(number, None)

    def close(self) -> None:
        """Stop listening, break every connection, and wait for the threads to end."""
        self.shutdown()
        with self._guard:
            for connection in self._open.values():
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self.server_close()
        self._thread.join()


class LoopbackHandler(BaseHTTPRequestHandler):
    """Handles one connection; ``number`` is its number."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 65536
    server: LoopbackServer

    def setup(self) -> None:
        super().setup()
        self.number = self.server.enter(self.connection)

    def finish(self) -> None:
        self.server.leave(self.number)
        with contextlib.suppress(OSError):
            super().finish()

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError):
            super().handle()

    def read_all(self) -> bytes:
        """The request's whole body."""
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def respond(
        self, status: int, content_type: str, headers: Iterable[tuple[str, str]], body: bytes, length: int | None = None
    ) -> None:
        """Send a response; ``length``: a Content-Length other than the body's."""
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def hang_up(self) -> None:
        """Close the connection properly (FIN): the client sees no response, or the end of one."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Log nothing: requests are kept in lists."""
