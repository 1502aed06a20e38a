"""An HTTP client for plugins with limits for time and size. A request gives a complete answer or raises a typed failure.

- No redirect is followed, so no secret is sent to another host.
- ``~/.netrc`` and user names in addresses are ignored. Proxies and ``REQUESTS_CA_BUNDLE`` of the environment are used.
- The deadline for the whole exchange closes the connection, also if the server sends one byte per second.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import attrs
import msgspec
import urllib3

from tconnectsync.clock import Clock
from tconnectsync.plugin.connections import speaks_tls
from tconnectsync.plugin.http_connections import DeadlineAdapter
from tconnectsync.plugin.http_failures import FAILURE_TEXTS, HttpFailed, HttpFailure, reason_of
from tconnectsync.plugin.http_library import requests
from tconnectsync.retry.backoff import LONGEST_ASKED_WAIT_S
from tconnectsync.waits import waiting

Body: TypeAlias = bytes | bytearray

_PIECE = 1 << 16
_PLAIN_HTTP_REFUSED = (
    b"plain HTTP request was sent to HTTPS port",
    b"speaking plain HTTP to an SSL-enabled server port",
    b"sent an HTTP request to an HTTPS server",
)
"""Answers of nginx, Apache and Go, with status 400, to http at a TLS port."""


@attrs.frozen(kw_only=True)
class HttpLimits:
    """The maximum duration of one exchange in seconds, and the maximum size of an answer after decompression in bytes."""

    connect_s: float = 10.0
    silence_s: float = 60.0
    """Between two pieces of an answer."""
    whole_s: float = 300.0
    """From the name lookup to the last byte."""
    most_bytes: int = 128 << 20


@attrs.frozen(kw_only=True)
class HttpResponse:
    """A complete answer. The names in ``headers`` are not case-sensitive."""

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: Body = attrs.field(repr=False)


class HttpClient:
    """A client for one server. It keeps a connection and cookies. ``pace`` is called before each request. Not thread-safe."""

    def __init__(
        self,
        *,
        clock: Clock,
        limits: HttpLimits = HttpLimits(),
        verify_tls: bool = True,
        pace: Callable[[], None] = lambda: None,
    ) -> None:
        self._clock = clock
        self._pace = pace
        self._limits = limits
        self._verify_tls = verify_tls
        self._session = _Session()
        self._session.auth = _keep_headers
        self._wire = DeadlineAdapter()
        self._session.mount("https://", self._wire)
        self._session.mount("http://", self._wire)
        self._speaks_http = False
        """Whether the server answered before, or was tested for TLS already."""
        if not verify_tls:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

    def close(self) -> None:
        """Close the connections. The client can be used again."""
        self._session.close()

    @property
    def cookies(self) -> Mapping[str, str]:
        """The cookies that were set, by name."""
        return {cookie.name: cookie.value or "" for cookie in self._session.cookies}

    def request(
        self,
        method: str,
        url: str,
        *,
        what: str,
        headers: Mapping[str, str],
        params: Sequence[tuple[str, str]] | Mapping[str, str] = (),
        body: bytes | None = None,
        form: Mapping[str, str] | None = None,
        document: Mapping[str, Any] | None = None,
        basic: tuple[str, str] | None = None,
        limits: HttpLimits | None = None,
    ) -> HttpResponse:
        """Send a request and return the answer with any status. ``what`` names the request in messages.

        Give at most one of ``body``, ``form`` (URL-encoded) and ``document`` (JSON). Errors: HttpFailed.
        """
        limits = limits or self._limits
        asked = _RequestInfo(method=method, url=url, what=what, limits=limits, now=self._clock.now())
        _check_headers(headers, asked)
        arguments: dict[str, Any] = {
            "params": list(params.items()) if isinstance(params, Mapping) else list(params),
            "data": form if body is None else body,
            "json": document,
            "headers": dict(headers),
            "auth": basic,
            "timeout": (limits.connect_s, limits.silence_s),
            "verify": None if self._verify_tls else False,  # None: from the environment
            "allow_redirects": False,
            "stream": True,
        }
        self._pace()
        with waiting(), self._wire.deadline(limits.silence_s, limits.whole_s) as deadline:
            try:
                with self._session.request(method, url, **arguments) as response:
                    self._speaks_http = True
                    found = _read(response, limits)
                failure = HttpFailure.TOO_SLOW if deadline.passed else None
            except _TooLarge:
                failure = HttpFailure.TOO_LARGE
            except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError, OSError) as error:
                failure = HttpFailure.TOO_SLOW if deadline.passed else reason_of(error)
        if failure is not None:
            self._session.close()
            raise asked.failed(self._refine_failure(failure, url))
        if found.status == 400 and any(mark in found.body for mark in _PLAIN_HTTP_REFUSED):
            raise asked.failed(HttpFailure.TLS_PORT)
        return found

    def _refine_failure(self, failure: HttpFailure, url: str) -> HttpFailure:
        """Test with a TLS handshake, which sends no data, whether a server that never answered http expects TLS."""
        if failure is not HttpFailure.CUT_OFF or self._speaks_http or not url.startswith("http:"):
            return failure
        parts = urlsplit(url)
        if not parts.hostname or requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url)):
            return failure
        self._speaks_http = True
        return HttpFailure.TLS_PORT if speaks_tls(parts.hostname, parts.port or 80) else failure


def retry_after_s(response: HttpResponse, now: datetime | None = None) -> float | None:
    """Return ``Retry-After`` in seconds, from 0 to 4 hours; None if it is missing.

    A date is compared with the answer's own ``Date``, or with ``now`` if the answer has none.
    """
    text = response.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_ASKED_WAIT_S)
    until = http_date(text)
    since = http_date(response.headers.get("Date", "")) or now
    if until is None or since is None:
        return None
    return min(max((until - since).total_seconds(), 0.0), LONGEST_ASKED_WAIT_S)


def http_date(text: str) -> datetime | None:
    """Return an HTTP date as UTC; None for anything else."""
    try:
        found = parsedate_to_datetime(text)
        return found.replace(tzinfo=timezone.utc) if found.tzinfo is None else found.astimezone(timezone.utc)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def host_of(url: str) -> str:
    """Return ``https://host`` of an address, for messages; "" if it has no readable host."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.hostname}" if parts.hostname and parts.hostname.isprintable() else ""


class _TooLarge(Exception):
    """The answer is larger than the limit."""


def _read(response: requests.Response, limits: HttpLimits) -> HttpResponse:
    body = bytearray()  # not copied: a month's answer is large
    for piece in response.iter_content(_PIECE):
        body += piece
        if len(body) > limits.most_bytes:
            raise _TooLarge
    return HttpResponse(status=response.status_code, headers=response.headers, body=body)


class _RequestInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One request, for error messages."""

    method: str
    url: str
    what: str
    limits: HttpLimits
    now: datetime

    def failed(self, reason: HttpFailure, detail: str | None = None) -> HttpFailed:
        words = FAILURE_TEXTS[reason]
        host, port = _host_and_port(self.url)
        names = {
            "host": host,
            "what": self.what,
            "now": f"{self.now:%Y-%m-%d %H:%M} UTC",
            "detail": detail or f"port {port}",
            "port": port,
            **attrs.asdict(self.limits),
        }
        return HttpFailed(
            f"{host} {words.message.format(**names)}",
            reason=reason,
            in_doubt=words.in_doubt and self.method not in ("GET", "HEAD"),
            remedy=words.remedy.format(**names),
        )


def _host_and_port(url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
        return parts.hostname or "the server", str(parts.port or (443 if parts.scheme == "https" else 80))
    except ValueError:
        return "the server", "?"


def _check_headers(headers: Mapping[str, str], asked: _RequestInfo) -> None:
    """Require header values that can be sent. The message does not contain the value, which may be a secret."""
    for name, value in headers.items():
        odd = next((place for place, each in enumerate(value) if not " " <= each <= "~"), None)
        if odd is not None:
            label = unicodedata.name(value[odd], "a control character")
            detail = f"character {odd + 1} of the value for the header {name} is U+{ord(value[odd]):04X} ({label})"
            raise asked.failed(HttpFailure.BAD_HEADER, detail)
        if value != value.strip():
            raise asked.failed(HttpFailure.BAD_HEADER, f"the value for the header {name} begins or ends with a blank")


def _keep_headers(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keep our own header: without this, requests would use the login from ~/.netrc or from the address."""
    return request


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002 - the library's name
        """Do not parse redirects: a broken Location must not lose the answer."""
        return
