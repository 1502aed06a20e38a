"""What the HTTP client does with its connections."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tconnectsync import around_waits, waiting
from tconnectsync.clock import SystemClock
from tconnectsync.plugin.http import HttpClient
from tests.plugin_api.raw_server import certificate, request, saying, serving

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def _answering_all(connection: socket.socket, over: threading.Event) -> None:
    while request(connection):
        connection.sendall(ANSWER)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such option")
@pytest.mark.parametrize("secure", [False, True])
def test_answers_are_acknowledged_at_once(tmp_path: Path, secure: bool) -> None:
    """Else Linux would wait for 40 ms on a connection that has sent before, and the server with it."""
    context, _ = certificate(tmp_path) if secure else (None, None)
    client = HttpClient(clock=SystemClock(), verify_tls=False)
    with serving(_answering_all, context) as port, contextlib.closing(client):
        for _ in range(5):
            client.request("GET", f"http{'s' * secure}://127.0.0.1:{port}/", what="events", headers={})
            at_once = {sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK) for sock in client._wire._sockets}
            assert at_once == {1}


def test_request_is_a_wait() -> None:
    """A worker of a fleet begins something else during a request, also while its body arrives. The wait for a permit is a wait of its own."""
    steps = list[str]()

    @contextlib.contextmanager
    def noted() -> Iterator[None]:
        steps.append("begins")
        yield
        steps.append("ends")

    def answer(connection: socket.socket, over: threading.Event) -> None:
        steps.append("is asked")
        saying(ANSWER)(connection, over)

    client = HttpClient(clock=SystemClock(), pace=lambda: steps.append("pace"))
    with contextlib.closing(client), serving(answer) as port, around_waits(noted):
        assert client.request("GET", f"http://127.0.0.1:{port}", what="events", headers={}).body == b"{}"
    assert steps == ["pace", "begins", "is asked", "ends"]
    assert isinstance(waiting(), contextlib.nullcontext)
