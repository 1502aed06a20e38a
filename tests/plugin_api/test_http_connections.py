"""What the HTTP client does with its connections."""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tconnectsync import around_waits, waiting
from tconnectsync.clock import SystemClock
from tconnectsync.plugin.http import HttpClient, HttpLimits
from tconnectsync.plugin.http_failures import HttpFailed, HttpFailure
from tests.support.raw_server import Talk, certificate, dripping, head, request, saying, serving

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def _answering_all(connection: socket.socket, over: threading.Event) -> None:
    while request(connection):
        connection.sendall(ANSWER)


def _tunnel_to(port: int) -> Talk:
    """A proxy that connects each client to the server at ``port``, whatever it asks for."""

    def talk(connection: socket.socket, over: threading.Event) -> None:
        head(connection)
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        connection.settimeout(0.01)
        with socket.create_connection(("127.0.0.1", port)) as server:
            server.settimeout(0.01)
            while not over.is_set():
                for source, target in ((connection, server), (server, connection)):
                    with contextlib.suppress(TimeoutError):
                        piece = source.recv(65536)
                        if not piece:
                            return
                        target.sendall(piece)

    return talk


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's TLS, which clients trust."""
    context, trusted = certificate(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
    return context


@contextlib.contextmanager
def behind_proxy(talk: Talk, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server with TLS. The environment names a proxy for it that also speaks TLS."""
    with serving(talk, tls) as port, serving(_tunnel_to(port), tls) as proxy, monkeypatch.context() as environment:
        for name in ("no_proxy", "NO_PROXY"):
            environment.delenv(name, raising=False)
        environment.setenv("HTTPS_PROXY", f"https://127.0.0.1:{proxy}")
        yield f"https://127.0.0.1:{port}/"


def test_tls_through_a_proxy_with_tls(tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a connection has no socket of its own."""
    client = HttpClient(clock=SystemClock())
    with behind_proxy(_answering_all, tls, monkeypatch) as url, contextlib.closing(client):
        for _ in range(2):
            assert client.request("GET", url, what="events", headers={}).body == b"{}"


def test_deadline_through_a_proxy_with_tls(tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that drips through it is cut too."""
    client = HttpClient(clock=SystemClock(), limits=HttpLimits(whole_s=0.5))
    drip = dripping(b"HTTP/1.1 200 OK\r\n", b"X: 1\r\n")
    with behind_proxy(drip, tls, monkeypatch) as url, contextlib.closing(client):
        with pytest.raises(HttpFailed) as caught:
            client.request("GET", url, what="events", headers={})
        assert caught.value.reason is HttpFailure.TOO_SLOW


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
