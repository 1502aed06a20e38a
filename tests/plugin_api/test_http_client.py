"""The bounded HTTP client: every exchange ends, nothing secret leaks, and each failure has its own reason."""

from __future__ import annotations

import gc
import gzip
import json
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path

import pytest

from tconnectsync.clock import SystemClock
from tconnectsync.plugin.http import HttpClient, HttpLimits, HttpResponse, retry_after_s
from tconnectsync.plugin.http_failures import FAILURE_TEXTS, HttpFailed, HttpFailure
from tests.support.raw_server import Talk, certificate, dripping, head, request, saying, serving

SECRET = "pump-0123456789abcdef"
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
QUICK = HttpLimits(connect_s=2, silence_s=2, whole_s=0.2)
NOW = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the environment changes where requests go."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def client() -> Iterator[HttpClient]:
    """A client with the real clock."""
    made = HttpClient(clock=SystemClock())
    yield made
    made.close()


def ask(client: HttpClient, url: str, *, method: str = "GET", limits: HttpLimits | None = None) -> HttpResponse:
    return client.request(method, url, what="events", headers={"Authorization": f"Bearer {SECRET}"}, limits=limits)


def failure(client: HttpClient, url: str, **how: object) -> HttpFailed:
    with pytest.raises(HttpFailed) as caught:
        ask(client, url, **how)  # type: ignore[arg-type]  # passed on
    assert SECRET not in f"{caught.value} {caught.value.remedy}"
    assert caught.value.remedy
    return caught.value


# --- deadlines ------------------------------------------------------------------------------------------------------

OK = b"HTTP/1.1 200 OK\r\n"
_SLOW: dict[str, Talk] = {
    "headers": dripping(OK, b"X: 1\r\n"),
    "a header line": dripping(OK + b"X: ", b"1"),
    "the status line": dripping(b"HT", b"T"),
    "a body of known length": dripping(OK + b"Content-Length: 100000\r\n\r\n", b"1"),
    "a body until the end": dripping(OK + b"Connection: close\r\n\r\n", b"1"),
    "chunks": dripping(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n1\r\n"),
    "the length of a chunk": dripping(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    "a compressed body": dripping(
        OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"", mtime=0)[:10], b"\x00\x00\x00\xff\xff"
    ),
}


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("slow", list(_SLOW))
def test_an_answer_that_drips_is_cut_at_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: str, secure: bool
) -> None:
    """The drops never end."""
    deadlines: list[float] = []
    timer = threading.Timer
    monkeypatch.setattr(threading, "Timer", lambda after_s, *more: deadlines.append(after_s) or timer(after_s, *more))
    context, _ = certificate(tmp_path) if secure else (None, None)
    client = HttpClient(clock=SystemClock(), limits=QUICK, verify_tls=False)
    with serving(_SLOW[slow], context) as port:
        began = time.monotonic()
        caught = failure(client, f"http{'s' * secure}://127.0.0.1:{port}/", method="POST")
        assert deadlines == [QUICK.whole_s]
        assert QUICK.whole_s <= time.monotonic() - began < 60
    client.close()
    assert caught.reason is HttpFailure.TOO_SLOW
    assert caught.in_doubt
    assert caught.broke_off
    assert "in time" in caught.message
    if secure:
        collect_cut_handshakes()


def collect_cut_handshakes() -> None:
    """If a connection is cut in its TLS handshake, Python's ssl leaves the socket to the garbage collector, which warns of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def test_deadline_while_connecting(client: HttpClient) -> None:
    """No socket stays open."""
    with serving(saying(GOOD)) as port:
        caught = failure(client, f"http://127.0.0.1:{port}/", limits=HttpLimits(whole_s=0.0))
        gc.collect()  # an open socket would be warned of here
    assert caught.reason is HttpFailure.TOO_SLOW


def test_client_that_nobody_has_any_more() -> None:
    """Its connection is closed, although nobody closed it: a fleet's worker opens a client for each turn."""
    ended = threading.Event()

    def talk(connection: socket.socket, over: threading.Event) -> None:
        saying(GOOD)(connection, over)
        connection.settimeout(60)
        if connection.recv(1) == b"":
            ended.set()

    client = HttpClient(clock=SystemClock())
    with serving(talk) as port:
        ask(client, f"http://127.0.0.1:{port}/")
        del client
        collect_cut_handshakes()
        assert ended.wait(60)


def test_a_server_that_takes_a_large_body_slowly_is_cut_too() -> None:
    def talk(connection: socket.socket, over: threading.Event) -> None:
        while not over.wait(0.02):
            connection.recv(1)

    client = HttpClient(clock=SystemClock(), limits=QUICK)
    with serving(talk) as port, pytest.raises(HttpFailed) as caught:
        client.request("POST", f"http://127.0.0.1:{port}/", what="events", headers={}, body=b"x" * (8 << 20))
    client.close()
    assert caught.value.reason is HttpFailure.TOO_SLOW


def test_large_body_and_connect_timeout() -> None:
    """The time to connect does not limit sending."""

    def talk(connection: socket.socket, over: threading.Event) -> None:
        size = len(head(connection))
        over.wait(0.3)
        while size < 8 << 20:
            size += len(connection.recv(1 << 20))
        connection.sendall(GOOD)

    client = HttpClient(clock=SystemClock(), limits=HttpLimits(connect_s=0.1, silence_s=5))
    with serving(talk) as port:
        answer = client.request("POST", f"http://127.0.0.1:{port}/", what="events", headers={}, body=b"x" * (8 << 20))
    client.close()
    assert answer.status == 200


def test_request_after_a_cut_one(client: HttpClient) -> None:
    """A request after one that was cut gets its own answer, and no thread stays."""
    turns = iter([dripping(OK + b"Content-Length: 9\r\n\r\n", b""), saying(GOOD)])

    def talk(connection: socket.socket, over: threading.Event) -> None:
        next(turns)(connection, over)

    with serving(talk) as port:
        failure(client, f"http://127.0.0.1:{port}/", limits=QUICK)
        assert ask(client, f"http://127.0.0.1:{port}/").body == b"{}"
        assert not [each for each in threading.enumerate() if isinstance(each, threading.Timer)]


def test_a_silent_server_is_given_up_before_the_deadline(client: HttpClient) -> None:
    with serving(lambda connection, over: (over.wait(5) and None) or None) as port:
        limits = HttpLimits(silence_s=0.1)
        caught = failure(client, f"http://127.0.0.1:{port}/", limits=limits)
    assert caught.reason is HttpFailure.SILENT


@pytest.mark.parametrize("compressed", [False, True])
def test_answer_too_large(client: HttpClient, compressed: bool) -> None:
    """Also if it is small before decompression."""
    body = b" " * (1 << 20)
    extra = b""
    if compressed:
        body, extra = gzip.compress(body), b"Content-Encoding: gzip\r\n"
    answer = OK + extra + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with serving(saying(answer)) as port:
        caught = failure(client, f"http://127.0.0.1:{port}/", limits=HttpLimits(most_bytes=100_000))
    assert caught.reason is HttpFailure.TOO_LARGE


# --- credentials ----------------------------------------------------------------------------------------------------


LAST = GOOD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
"""The server closes the connection, and says so: else the next request may meet the closing one."""


def _heads(seen: list[bytes], answer: bytes = LAST) -> Talk:
    def talk(connection: socket.socket, over: threading.Event) -> None:
        seen.append(request(connection))
        connection.sendall(answer)

    return talk


@pytest.mark.parametrize("login", ["", "me:other@"])
def test_netrc_and_login_in_address(
    client: HttpClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, login: str
) -> None:
    """Neither replaces a header."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password other\ndefault login me password other\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    seen: list[bytes] = []
    with serving(_heads(seen)) as port:
        ask(client, f"http://{login}127.0.0.1:{port}/")
    assert seen[0].count(b"Authorization:") == 1
    assert f"Authorization: Bearer {SECRET}".encode() in seen[0]


@pytest.mark.parametrize(
    "location", ["http://[", "http://127.0.0.1:1/", "//\x00", "http://\u20ac..x/", "", "http://a..b/", "x" * 10_000]
)
def test_redirect_is_not_followed(client: HttpClient, location: str) -> None:
    """It is an answer like any other."""
    answer = b"HTTP/1.1 302 Found\r\nLocation: " + location.encode() + b"\r\nContent-Length: 0\r\n\r\n"
    with serving(saying(answer)) as port:
        assert ask(client, f"http://127.0.0.1:{port}/").status == 302


def test_cookies_stay_with_the_client(client: HttpClient) -> None:
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: UserGUID=abc\r\nContent-Length: 0\r\n\r\n"
    with serving(saying(answer)) as port:
        ask(client, f"http://127.0.0.1:{port}/")
    assert client.cookies == {"UserGUID": "abc"}


# --- reasons --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "words"),
    [("uploader–0123", "U+2013"), ("token\u200b", "U+200B"), ("a\nb", "U+000A"), ("é", "U+00E9"), (" a", "blank")],
)
def test_header_that_cannot_be_sent(client: HttpClient, value: str, words: str) -> None:
    """The message does not contain its value."""
    with pytest.raises(HttpFailed, match="api-secret") as caught:
        client.request("POST", "http://127.0.0.1:9/", what="x", headers={"api-secret": value})
    assert caught.value.reason is HttpFailure.BAD_HEADER
    assert words in caught.value.message.replace("\\", "")
    assert len(value) < 3 or value not in caught.value.message
    assert not caught.value.in_doubt


@pytest.mark.parametrize(
    "url", ["https://a..b/", f"https://{'a' * 64}.test/", "http://[", "nonsense", "https:///x", "ftp://a.test/"]
)
def test_an_address_that_is_none_is_called_so(client: HttpClient, url: str) -> None:
    assert failure(client, url, method="POST").reason is HttpFailure.BAD_ADDRESS


def test_a_name_that_no_computer_has(client: HttpClient) -> None:
    caught = failure(client, "https://site.invalid/", method="POST")
    assert caught.reason is HttpFailure.UNKNOWN_NAME
    assert not caught.in_doubt


def _broken_sockets(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def broken(*_: object, **__: object) -> socket.socket:
        raise error

    monkeypatch.setattr("urllib3.util.connection.create_connection", broken)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (socket.gaierror(socket.EAI_AGAIN, "later"), HttpFailure.LOOKUP_FAILED),
        (OSError(101, "Network is unreachable"), HttpFailure.NO_ROUTE),
        (OSError(113, "No route to host"), HttpFailure.NO_ROUTE),
        (TimeoutError("timed out"), HttpFailure.CONNECT_TIMEOUT),
        (OSError(24, "Too many open files"), HttpFailure.TOO_MANY_OPEN),
        (OSError(12, "Cannot allocate memory"), HttpFailure.NO_CONNECTION),
    ],
)
def test_why_there_is_no_connection(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: HttpFailure
) -> None:
    _broken_sockets(monkeypatch, error)
    caught = failure(client, "https://127.0.0.1/", method="POST")
    assert caught.reason is reason
    assert not caught.in_doubt


def test_a_refused_connection(client: HttpClient) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        caught = failure(client, f"http://127.0.0.1:{taken.getsockname()[1]}/", method="POST")
    assert caught.reason is HttpFailure.REFUSED
    assert not caught.in_doubt


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", b"nonsense\r\n\r\n"])
def test_half_an_answer(client: HttpClient, answer: bytes) -> None:
    with serving(saying(answer)) as port:
        caught = failure(client, f"http://127.0.0.1:{port}/", method="POST")
    assert caught.reason is HttpFailure.CUT_OFF
    assert caught.in_doubt
    assert caught.broke_off


def test_a_body_that_cannot_be_decompressed(client: HttpClient) -> None:
    with serving(saying(OK + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}")) as port:
        assert failure(client, f"http://127.0.0.1:{port}/").reason is HttpFailure.UNREADABLE


@pytest.mark.parametrize(
    ("variable", "address", "reason"),
    [
        ("ALL_PROXY", "socks5://me:{secret}@127.0.0.1:9", HttpFailure.NO_SOCKS),
        ("HTTPS_PROXY", "http://me:{secret}@127.0.0.1:9", HttpFailure.PROXY),
        ("HTTPS_PROXY", "nonsense://127.0.0.1:9", HttpFailure.PROXY),
    ],
)
def test_a_proxy_that_fails(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch, variable: str, address: str, reason: HttpFailure
) -> None:
    monkeypatch.setenv(variable, address.format(secret=SECRET))
    caught = failure(client, "https://site.example.org/", method="POST")
    assert caught.reason is reason
    assert variable in (caught.remedy or "")
    assert not caught.in_doubt


def test_a_proxy_that_refuses_the_tunnel(client: HttpClient, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(saying(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        assert failure(client, "https://site.example.org/").reason is HttpFailure.PROXY


# --- TLS ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "reason", "words"),
    [
        ({"ends": timedelta(hours=-1)}, HttpFailure.CERTIFICATE_EXPIRED, "expired"),
        ({"begins": timedelta(hours=1)}, HttpFailure.CERTIFICATE_NOT_YET_VALID, "timedatectl"),
        ({"host": "192.0.2.1"}, HttpFailure.CERTIFICATE_OTHER_HOST, "another host"),
    ],
)
def test_what_is_wrong_with_a_certificate_is_told_apart(
    client: HttpClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: dict[str, timedelta],
    reason: HttpFailure,
    words: str,
) -> None:
    context, trusted = certificate(tmp_path, **how)  # type: ignore[arg-type]  # a table of keywords
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
    with serving(saying(GOOD), context) as port:
        caught = failure(client, f"https://127.0.0.1:{port}/", method="POST")
    assert caught.reason is reason
    assert words in f"{caught.message} {caught.remedy}"
    assert not caught.in_doubt


def test_authority_from_environment(client: HttpClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown authority is trusted if the environment names it."""
    context, trusted = certificate(tmp_path)
    with serving(saying(GOOD), context) as port:
        caught = failure(client, f"https://127.0.0.1:{port}/")
        assert caught.reason is HttpFailure.CERTIFICATE_UNKNOWN_AUTHORITY
        assert "REQUESTS_CA_BUNDLE" in (caught.remedy or "")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
        assert ask(client, f"https://127.0.0.1:{port}/").status == 200


@pytest.mark.parametrize("content", [None, "nothing of use", ""])
def test_a_bundle_that_cannot_be_read(
    client: HttpClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    context, _ = certificate(tmp_path)
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_text(content)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with serving(saying(GOOD), context) as port:
        assert failure(client, f"https://127.0.0.1:{port}/").reason is HttpFailure.CA_BUNDLE


def test_https_at_a_port_without_tls(client: HttpClient) -> None:
    def talk(connection: socket.socket, over: threading.Event) -> None:
        connection.recv(10)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with serving(talk) as port:
        caught = failure(client, f"https://127.0.0.1:{port}/", method="POST")
    assert caught.reason is HttpFailure.PLAIN_PORT
    assert "http://" in (caught.remedy or "")
    assert not caught.in_doubt


def test_http_at_a_port_with_tls(client: HttpClient, tmp_path: Path) -> None:
    context, _ = certificate(tmp_path)
    with serving(saying(GOOD), context) as port:
        caught = failure(client, f"http://127.0.0.1:{port}/", method="POST")
    assert caught.reason is HttpFailure.TLS_PORT
    assert "https://" in (caught.remedy or "")
    assert not caught.in_doubt


def test_nginx_says_itself_that_its_port_has_tls(client: HttpClient) -> None:
    page = b"<center>The plain HTTP request was sent to HTTPS port</center>"
    with serving(saying(b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n" % len(page) + page)) as port:
        assert failure(client, f"http://127.0.0.1:{port}/").reason is HttpFailure.TLS_PORT


def test_known_server_is_not_tested_for_tls(client: HttpClient) -> None:
    """Because it answered before."""
    turns = iter([saying(GOOD), saying(b"")])
    connections = []

    def talk(connection: socket.socket, over: threading.Event) -> None:
        connections.append(1)
        next(turns)(connection, over)

    with serving(talk) as port:
        ask(client, f"http://127.0.0.1:{port}/")
        assert failure(client, f"http://127.0.0.1:{port}/").reason is HttpFailure.CUT_OFF
    assert len(connections) == 2


def test_every_reason_has_words_that_can_be_filled_in() -> None:
    names = {
        "host": "h",
        "what": "w",
        "now": "n",
        "detail": "d",
        "port": "1",
        "connect_s": 1,
        "silence_s": 2,
        "whole_s": 3,
    }
    assert FAILURE_TEXTS.keys() == set(HttpFailure)
    for words in FAILURE_TEXTS.values():
        assert "{" not in words.message.format(**names) + words.remedy.format(**names)


# --- waits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "date", "seconds"),
    [
        ("120", None, 120.0),
        ("86400", None, 4 * 3600.0),
        ("9" * 30, None, 4 * 3600.0),
        ("-5", None, None),
        ("²", None, None),
        ("soon", None, None),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), None, 90.0),
        (format_datetime(NOW + timedelta(days=9), usegmt=True), None, 4 * 3600.0),
        (format_datetime(NOW - timedelta(days=9), usegmt=True), None, 0.0),
        # the server's clock is a year behind ours, and only the distance counts
        (format_datetime(NOW - timedelta(days=365), usegmt=True), NOW - timedelta(days=365, seconds=60), 60.0),
    ],
)
def test_what_retry_after_asks_for_is_at_most_four_hours(
    text: str, date: datetime | None, seconds: float | None
) -> None:
    headers = {"Retry-After": text, **({} if date is None else {"Date": format_datetime(date, usegmt=True)})}
    assert retry_after_s(HttpResponse(status=503, headers=headers, body=b""), NOW) == seconds


def test_forms_and_json_travel_as_what_they_are(client: HttpClient) -> None:
    seen: list[bytes] = []
    with serving(_heads(seen)) as port:
        url = f"http://127.0.0.1:{port}/"
        client.request("POST", url, what="x", headers={}, form={"a": "1"}, basic=("me", "x"), params=[("q", "a b")])
        client.request("POST", url, what="x", headers={}, document=json.loads('{"a": 1}'))
    assert b"application/x-www-form-urlencoded" in seen[0]
    assert b"Authorization: Basic" in seen[0]
    assert b"POST /?q=a+b " in seen[0]
    assert b"application/json" in seen[1]
