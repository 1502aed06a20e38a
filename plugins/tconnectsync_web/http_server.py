"""The HTTP server and its limits against large, slow or many requests."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING, Any

from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer, create_server
from werkzeug.middleware.proxy_fix import ProxyFix

from tconnectsync_web.access.path_prefix import PathPrefix, clean_prefix
from tconnectsync_web.live.stream import MOST_LISTENERS

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

THREADS = 12 + MOST_LISTENERS
LONGEST_BODY = 4096
"""Bytes of a request's body; no route reads it."""
LONGEST_HEADER = 16 * 1024
REQUEST_S = 10.0
"""An incomplete request is dropped after this time, and so is a connection that sends none."""
IDLE_S = 60.0
"""How long a connection may stay open between two requests."""
MOST_CONNECTIONS = 200
"""One connection more drops the one that has waited longest without a complete request."""


class LimitedChannel(HTTPChannel):
    """A connection that is closed if its request does not arrive in time."""

    request_s = REQUEST_S
    idle_s = IDLE_S
    most_connections = MOST_CONNECTIONS

    def __init__(self, server: Any, sock: Any, addr: Any, adj: Any, map: Any = None) -> None:  # noqa: A002 - its name there
        super().__init__(server, sock, addr, adj, map=map)
        self.served = False
        self.since = time.monotonic()
        self._phase = self._phase_now()
        waiting = [each for each in server.active_channels.values() if each is not self and each.is_waiting]
        if waiting and len(server.active_channels) > self.most_connections:
            min(waiting, key=lambda each: each.since).cut()

    @property
    def is_waiting(self) -> bool:
        """Whether no complete request came since the last response."""
        return not (self.requests or self.total_outbufs_len or self.will_close)

    def _phase_now(self) -> tuple[bool, bool]:
        return self.is_waiting, self.request is None

    def readable(self) -> bool:
        """Whether to read more. The loop asks at least once a second, so delays are detected here."""
        phase, now = self._phase_now(), time.monotonic()
        if phase != self._phase:
            self._phase, self.since = phase, now
        longest_s = self.idle_s if self.served and self.request is None else self.request_s
        if self.is_waiting and now - self.since > longest_s:
            self.cut()
        return bool(super().readable())

    def service(self) -> None:
        """Handle the request in a thread of the server."""
        self.served = True
        super().service()

    def cut(self) -> None:
        """End the connection; the loop closes it."""
        self.will_close = True
        if self.socket is not None:
            with contextlib.suppress(OSError):  # already closed
                self.socket.shutdown(socket.SHUT_RDWR)


def web_server(app: WSGIApplication, *, host: str, port: int, behind_router: bool = False, base_path: str = "") -> Any:
    """Return the listening server of ``app``. Errors: OSError.

    ``behind_router``: trust what the last hop, which is the router, added to X-Forwarded-For, -Proto, -Host and -Prefix.
    The caller may have forged what stands before. Without it these headers are removed, so that nobody who reaches the port
    directly can pretend to be another client.
    """
    found: dict[Any, Any] = {}
    application: WSGIApplication = PathPrefix(
        app=app, base_path=clean_prefix(base_path) or "", trusts_proxy=behind_router
    )
    if behind_router:
        application = ProxyFix(application, x_for=1, x_proto=1, x_host=1)
    server = create_server(
        application,
        map=found,
        host=host,
        port=port,
        threads=THREADS,
        ident=None,
        max_request_body_size=LONGEST_BODY + 1,  # the server refuses bodies of this length
        max_request_header_size=LONGEST_HEADER,
        connection_limit=2 * MOST_CONNECTIONS,
        clear_untrusted_proxy_headers=not behind_router,
    )
    for each in found.values():
        if isinstance(each, BaseWSGIServer):
            each.channel_class = LimitedChannel
    return server
