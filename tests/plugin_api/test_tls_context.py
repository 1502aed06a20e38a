"""The certificates of the authorities are read once, and again when their file has changed."""

from __future__ import annotations

import contextlib
import ssl
import threading
from pathlib import Path

import pytest
from urllib3.connection import HTTPSConnection

from tconnectsync.clock import SystemClock
from tconnectsync.plugin import tls_context
from tconnectsync.plugin.http import HttpClient
from tconnectsync.plugin.http_failures import HttpFailed, HttpFailure
from tests.support.raw_server import certificate, saying, serving

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files of authorities that were read, each time anew. The test begins without a context."""
    files: list[str] = []
    really = ssl.SSLContext.load_verify_locations

    def load(self: ssl.SSLContext, cafile: str | None = None, *others: object) -> None:
        files.append(str(cafile))
        really(self, cafile, *others)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", load)
    monkeypatch.setattr(tls_context, "_free", [])
    for name in ("HTTPS_PROXY", "ALL_PROXY", "CURL_CA_BUNDLE", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return files


def ask(port: int, *, host: str = "127.0.0.1", verify_tls: bool = True) -> int:
    """Ask with a new client and a new connection."""
    client = HttpClient(clock=SystemClock(), verify_tls=verify_tls)
    try:
        return client.request("GET", f"https://{host}:{port}/", what="page", headers={}).status
    finally:
        client.close()


def test_authorities_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: list[str]) -> None:
    """Also by several clients, and for one that connects again."""
    server, trusted = certificate(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
    client = HttpClient(clock=SystemClock())
    with serving(saying(GOOD), server) as port:
        url = f"https://127.0.0.1:{port}/"
        assert [client.request("GET", url, what="page", headers={}).status for _ in range(3)] == [200] * 3
        assert ask(port) == 200
    client.close()
    assert read == [str(trusted)]


def test_changed_authorities_count_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: list[str]) -> None:
    """Somebody replaces the file while a daemon runs: the old authority is no longer trusted, the new one is."""
    server, trusted = certificate(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    changed_server, changed = certificate(other)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
    with serving(saying(GOOD), server) as port, serving(saying(GOOD), changed_server) as changed_port:
        assert ask(port) == 200
        with pytest.raises(HttpFailed) as before:
            ask(changed_port)
        trusted.write_bytes(changed.read_bytes())
        assert ask(changed_port) == 200
        with pytest.raises(HttpFailed) as after:
            ask(port)
    assert {before.value.reason, after.value.reason} == {HttpFailure.CERTIFICATE_UNKNOWN_AUTHORITY}
    assert read == [str(trusted)] * 2


def test_host_is_checked_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: list[str]) -> None:
    """A context that was used before still refuses a server whose certificate has another name."""
    server, trusted = certificate(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
    with serving(saying(GOOD), server) as port:
        for _ in range(2):
            assert ask(port) == 200
            with pytest.raises(HttpFailed) as refused:
                ask(port, host="localhost")
            assert refused.value.reason is HttpFailure.CERTIFICATE_OTHER_HOST
    assert read == [str(trusted)]


def test_threads_do_not_share_a_context_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: list[str]
) -> None:
    """A context serves one connection after the other, of any thread, and never two that are being opened."""
    server, trusted = certificate(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
    one, other = (HTTPSConnection("127.0.0.1", cert_reqs="CERT_REQUIRED", ca_certs=str(trusted)) for _ in range(2))
    with tls_context.known_authorities(one), tls_context.known_authorities(other):
        assert None not in (one.ssl_context, other.ssl_context)
        assert one.ssl_context is not other.ssl_context
    assert one.ssl_context is None
    assert one.ca_certs == str(trusted)
    with serving(saying(GOOD), server) as port:
        for _ in range(3):
            thread = threading.Thread(target=ask, args=(port,))
            thread.start()
            thread.join()
    assert read == [str(trusted)] * 2


def test_few_contexts_are_kept(tmp_path: Path, read: list[str]) -> None:
    """If many connections were being opened at once, because sites hang, their contexts are not kept."""
    file = str(certificate(tmp_path)[1])
    with contextlib.ExitStack() as stack:
        for _ in range(tls_context.MOST_KEPT + 3):
            connection = HTTPSConnection("127.0.0.1", cert_reqs="CERT_REQUIRED", ca_certs=file)
            stack.enter_context(tls_context.known_authorities(connection))
    assert len(read) == tls_context.MOST_KEPT + 3
    assert len(tls_context._free) == tls_context.MOST_KEPT


def test_unchecked_connection_has_no_shared_context(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: list[str]
) -> None:
    """``verify_tls=False`` accepts any certificate, and clients that check certificates go on checking them."""
    server, _ = certificate(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate(elsewhere)[1]))
    with serving(saying(GOOD), server) as port:
        for _ in range(2):
            with pytest.raises(HttpFailed) as caught:
                ask(port)
            assert caught.value.reason is HttpFailure.CERTIFICATE_UNKNOWN_AUTHORITY
            assert ask(port, verify_tls=False) == 200
    assert len(read) == 1
