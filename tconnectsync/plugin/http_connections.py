"""The connections of an HTTP client: a deadline closes them, and they acknowledge answers at once."""

from __future__ import annotations

import contextlib
import socket
import threading
import weakref
from collections.abc import Iterator
from typing import Any

from urllib3.connection import HTTPConnection

from tconnectsync.plugin.http_library import requests
from tconnectsync.plugin.tls_context import known_authorities


class Deadline:
    """Shuts down the sockets of one client when the time is over."""

    def __init__(self, sockets: weakref.WeakSet[socket.socket]) -> None:
        self.passed = False
        self._sockets = sockets
        self._lock = threading.Lock()

    def watch(self, sock: socket.socket) -> None:
        """Shut this socket down as well. TimeoutError, with the socket closed, if the time is over already."""
        with self._lock:
            self._sockets.add(sock)
            if self.passed:
                sock.close()
                raise TimeoutError

    def cut(self) -> None:
        """The time is over: wake everybody who waits for one of these sockets."""
        with self._lock:
            self.passed = True
            for sock in self._sockets:
                with contextlib.suppress(OSError):  # closed already
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)  # wakes the waiting thread, with and without TLS


class DeadlineAdapter(requests.adapters.HTTPAdapter):
    """Connections that a deadline can close: direct ones, through a proxy, and through SOCKS."""

    def __init__(self) -> None:
        super().__init__()
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._current = Deadline(self._sockets)
        self.silence_s: float | None = None

    @contextlib.contextmanager
    def deadline(self, silence_s: float, whole_s: float) -> Iterator[Deadline]:
        """Cut all connections of this adapter if the block takes longer than ``whole_s``, or one is silent for ``silence_s``."""
        self._current = Deadline(self._sockets)
        self.silence_s = silence_s
        timer = threading.Timer(whole_s, self._current.cut)
        timer.daemon = True
        timer.start()
        try:
            yield self._current
        finally:
            timer.cancel()
            timer.join()

    def watch(self, sock: socket.socket) -> None:
        """See :meth:`Deadline.watch`."""
        self._current.watch(sock)

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        if not issubclass(pool.ConnectionCls, _WatchedConnection):
            # weak, because urllib3 keeps the connections of a pool as long as the pool lives, and this adapter keeps the pool
            pool.ConnectionCls = type(
                "Watched", (_WatchedConnection, pool.ConnectionCls), {"wire": weakref.proxy(self)}
            )
        return pool


class _WatchedConnection(HTTPConnection):
    """A connection that registers its sockets with the deadline."""

    wire: DeadlineAdapter

    def getresponse(self) -> Any:  # http.client and urllib3 name different types
        """Read the answer, and acknowledge each part of it at once.

        Linux waits 40 ms otherwise, and with it a server that sends the last part once it knows that the others have arrived.
        """
        if self.sock is not None and hasattr(socket, "TCP_QUICKACK"):
            with contextlib.suppress(OSError):
                _socket_of(self.sock).setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return super().getresponse()

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        self.wire.watch(sock)
        return sock

    def connect(self) -> None:
        with known_authorities(self):
            super().connect()
        if self.sock is not None:
            self.wire.watch(_socket_of(self.sock))
            # else the connect timeout would apply to the sending of a large body
            self.sock.settimeout(self.wire.silence_s)


def _socket_of(sock: Any) -> socket.socket:
    """Return the system's socket. TLS through a proxy that speaks TLS itself is an object around one."""
    found: socket.socket = getattr(sock, "socket", sock)
    return found
