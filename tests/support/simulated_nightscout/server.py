"""HTTP requests and responses of the simulated Nightscout."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import attrs

from tconnectsync_simulator.loopback_server import ConnectionBreaks, LoopbackHandler, LoopbackServer
from tests.support.simulated_nightscout import values

LARGEST_BODY = 50 << 20


@attrs.frozen(kw_only=True)
class SiteRequest:
    """A received request. ``documents``: how many a POST has; ``connection``: the number of the TCP connection, from 1."""

    method: str
    path: str
    query: str
    documents: int
    body_bytes: int
    connection: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    """Names in lower case."""

    body: Any = attrs.field(repr=False, default=None)
    """The parsed JSON, or None."""


@attrs.frozen(kw_only=True)
class SiteResponse:
    """A response."""

    status: int
    body: bytes
    content_type: str = "application/json; charset=utf-8"
    headers: Mapping[str, str] = attrs.field(factory=dict)


def as_json(value: object, status: int = 200) -> SiteResponse:
    """A JSON response."""
    return SiteResponse(status=status, body=json.dumps(value, separators=(",", ":")).encode())


def failure(request: SiteRequest, status: int, message: str) -> SiteResponse:
    """An unexpected error of the server: as JSON if the client accepts JSON, else as an HTML page."""
    if "json" in request.headers.get("accept", ""):
        return as_json({"error": {"message": message, "name": "Error"}}, status=status)
    return page(status, f"Error: {message}")


def page(status: int, title: str) -> SiteResponse:
    """An HTML page."""
    text = f"<html><head><title>{title}</title></head></html>"
    return SiteResponse(status=status, body=text.encode(), content_type="text/html; charset=utf-8")


def read_body(headers: Mapping[str, str], raw: bytes) -> tuple[Any, str]:
    """Return the parsed body (or None), and what is wrong with it (or "")."""
    if not raw:
        return None, ""
    try:
        match headers.get("content-encoding", "").lower():
            case "gzip":
                raw = gzip.decompress(raw)
            case "deflate":
                raw = zlib.decompress(raw)
        body = json.loads(raw, parse_float=values.without_point, parse_constant=_no_constant)
    except (ValueError, OSError, EOFError, zlib.error) as error:
        return None, str(error)
    if not isinstance(body, (dict, list)):
        return None, "Unexpected token in JSON at position 0"
    return body, ""


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


class SiteServer(LoopbackServer):
    """Passes requests to ``serve``, with what is wrong with the body."""

    def __init__(
        self,
        port: int,
        serve: Callable[[SiteRequest, str], SiteResponse],
        *,
        now: Callable[[], datetime],
        idle_s: float,
    ) -> None:
        self.serve, self.now, self.idle_s = serve, now, idle_s
        super().__init__(_SiteHandler, name="simulated-nightscout", port=port)


class _SiteHandler(LoopbackHandler):
    server: SiteServer

    def setup(self) -> None:
        self.request.settimeout(self.server.idle_s)
        super().setup()

    def _handle(self) -> None:
        raw = self.read_all()
        headers = {name.lower(): value for name, value in self.headers.items()}
        parts = urlsplit(self.path)
        body, problem = read_body(headers, raw)
        request = SiteRequest(
            method=self.command,
            path=unquote(parts.path),
            query=parts.query,
            documents=len(body) if isinstance(body, list) else int(isinstance(body, dict)),
            body_bytes=len(raw),
            connection=self.number,
            headers=headers,
            body=body,
        )
        try:
            answer = self.server.serve(request, problem)
        except ConnectionBreaks:
            self.hang_up()
            return
        self.respond(answer.status, answer.content_type, answer.headers.items(), answer.body)

    do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815 - the names that the base class calls

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(self.server.now().timestamp() if timestamp is None else timestamp)
