"""A faulty proxy in front of a server on plain HTTP: it records requests and breaks those that a test names.

::

    with SimulatedNightscout() as site, FaultProxy(site.url) as proxy:
        proxy.faults.add("503", ProxyFault("reset_after", method="POST", skip=2))
        proxy.faults.at_random(0.1, seed=7)
        ...  # a client that is told proxy.url
        proxy.faults.injected, proxy.recorded
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import socket
import struct
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlsplit

import attrs

from tconnectsync_simulator.loopback_server import LoopbackHandler, LoopbackServer
from tests.support.proxy_faults import STATUSES, UNSERVED, ProxyFault, ProxyFaults
from tests.support.proxy_responses import (
    ProxiedRequest,
    Reply,
    claiming,
    documents_of,
    echoed,
    page,
    reordered,
    text_reply,
)

UPSTREAM_S = 120.0
_OWN_HEADERS = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host", "accept-encoding"})


class _Breaks(Exception):
    """No answer: the connection is reset."""


class FaultProxy:
    """In front of ``upstream`` (``http://host:port/``), listening at ``url``: with a slash at its end as upstream has one.

    Its own address in a request, also in the query or a form, becomes upstream's, and the other way round in redirects.
    ``late_s``: how long a late answer is held back, or until :meth:`stop`; ``away_s``: how long a refused moment is.
    ``recorded`` are the latest ``remember`` requests, oldest first; ``answers``, with ``keep_answers``, what upstream said.
    """

    def __init__(
        self,
        upstream: str,
        *,
        late_s: float = 5.0,
        away_s: float = 0.2,
        remember: int = 10_000,
        keep_answers: bool = False,
    ) -> None:
        self.upstream = upstream
        self.late_s = late_s
        self.away_s = away_s
        self.faults = ProxyFaults()
        self.recorded: deque[ProxiedRequest] = deque(maxlen=remember)
        self.answers: deque[Reply] = deque(maxlen=remember if keep_answers else 0)
        self._dice = random.Random(0)
        self._server: _ProxyServer | None = None
        self._port = 0
        self._switching = threading.RLock()
        self._stopping = threading.Event()
        self._away: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The address to give to the client. The port stays the same while this object lives."""
        return self.in_front(self.upstream)

    @property
    def injected(self) -> Mapping[str, int]:
        """How many faults of each kind happened."""
        return dict(self.faults.injected)

    def in_front(self, address: str) -> str:
        """An address of upstream's, through this proxy."""
        return address.replace(_origin(self.upstream), f"http://127.0.0.1:{self._port}")

    def endpoints(self, told: Mapping[str, str]) -> dict[str, str]:
        """The cloud's endpoints, through this proxy; the issuer is a name and stays."""
        return {name: text if name == "issuer" else self.in_front(text) for name, text in told.items()}

    def __enter__(self) -> FaultProxy:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        with self._switching:
            if self._server is None:
                self._stopping.clear()
                self._server = _ProxyServer(self._answer, self._port)
                self._port = self._server.port

    def stop(self) -> None:
        """Break every connection and listen no more."""
        self._stopping.set()
        away = self._away
        if away is not None and away is not threading.current_thread():
            away.join()
        self._close()

    def _close(self) -> None:
        with self._switching:
            server, self._server = self._server, None
        if server is not None:
            server.close()

    @contextlib.contextmanager
    def down(self) -> Iterator[None]:
        """Refuse connections while the block runs."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    # What follows runs on the server's threads.

    def _answer(self, asked: ProxiedRequest) -> Reply:
        documents = documents_of(asked)
        fault = self.faults.take(asked.method, asked.path, documents=len(documents))
        self.recorded.append(attrs.evolve(asked, fault="" if fault is None else fault.kind))
        if fault is None:
            return self._passed_on(asked)
        return self._unserved(fault) if fault.kind in UNSERVED else self._served(asked, fault.kind, documents)

    def _unserved(self, fault: ProxyFault) -> Reply:
        match fault.kind:
            case "refused":
                self._go_away()
                raise _Breaks
            case "reset_before":
                raise _Breaks
            case "html":
                return page(200, "Sign in to this network")
            case "null":
                return text_reply(b"null")
        wait = (("Retry-After", fault.retry_after),) if fault.retry_after else ()
        return page(int(fault.kind), STATUSES[fault.kind], *wait)

    def _served(self, asked: ProxiedRequest, kind: str, documents: list[Any]) -> Reply:
        if kind == "loses_one":
            return self._lost_one(asked, documents)
        reply = self._passed_on(asked)
        match kind:
            case "twice":
                return self._passed_on(asked)
            case "reset_after":
                raise _Breaks
            case "gateway":
                return page(504, STATUSES["504"])
            case "late":
                self._stopping.wait(self.late_s)
            case "half":
                return attrs.evolve(reply, half=True)
            case "truncated":
                return attrs.evolve(reply, body=reply.body[: len(reply.body) // 2])
            case "reordered":
                return reordered(reply, self._dice)
            case "echoed":
                return echoed(reply)
        return reply

    def _lost_one(self, asked: ProxiedRequest, documents: list[Any]) -> Reply:
        """The middle one is gone: with the rest passed on, and all of them in the answer."""
        at = len(documents) // 2
        rest = documents[:at] + documents[at + 1 :]
        headers = {name: value for name, value in asked.headers.items() if name != "content-encoding"}
        if not rest:
            answer = text_reply(b"[]")
        else:
            answer = self._passed_on(attrs.evolve(asked, headers=headers, body=json.dumps(rest).encode()))
        return claiming(answer, documents[at], at) if answer.status == 200 else answer

    def _passed_on(self, asked: ProxiedRequest) -> Reply:
        place = urlsplit(self.upstream)
        connection = http.client.HTTPConnection(place.hostname or "", place.port or 80, timeout=UPSTREAM_S)
        own, other = f"http://127.0.0.1:{self._port}", _origin(self.upstream)
        headers = {name: _moved(value, own, other) for name, value in asked.headers.items() if name not in _OWN_HEADERS}
        body = asked.body
        if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            body = _moved(body.decode("latin-1"), own, other).encode("latin-1")
        headers |= {"Accept-Encoding": "identity", "Connection": "close"}
        try:
            connection.request(asked.method, _moved(asked.target, own, other), body=body or None, headers=headers)
            answer = connection.getresponse()
            kept = tuple(
                (name, _moved(value, other, own) if name.lower() == "location" else value)
                for name, value in answer.getheaders()
                if name.lower() not in _OWN_HEADERS
            )
            reply = Reply(status=answer.status, headers=kept, body=answer.read())
            self.answers.append(reply)
            return reply
        except (OSError, http.client.HTTPException):
            raise _Breaks from None
        finally:
            connection.close()

    def _go_away(self) -> None:
        """Listen again after a moment; the thread that asks is one that closing waits for."""
        with self._switching:
            if self._away is None or not self._away.is_alive():
                self._away = threading.Thread(target=self._be_away, name="fault-proxy-away", daemon=True)
                self._away.start()

    def _be_away(self) -> None:
        self._close()
        if not self._stopping.wait(self.away_s):
            self.start()


_RESET_AT_ONCE = struct.pack("ii", 1, 0)


class _ProxyServer(LoopbackServer):
    def __init__(self, answer: Any, port: int) -> None:
        self.answer = answer
        super().__init__(_ProxyHandler, name="fault-proxy", port=port)


class _ProxyHandler(LoopbackHandler):
    server: _ProxyServer

    def _handle(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = ProxiedRequest(method=self.command, target=self.path, headers=headers, body=self.read_all())
        try:
            reply: Reply = self.server.answer(asked)
        except _Breaks:
            self._reset()
            return
        self.send_response_only(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body[: len(reply.body) // 2] if reply.half else reply.body)
        self.wfile.flush()
        if reply.half:
            self.hang_up()

    def _reset(self) -> None:
        """Break the connection (RST)."""
        self.close_connection = True
        self.server.leave(self.number)
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_ONCE)
            os.close(self.connection.detach())

    do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815 - the names that the base class calls


def _origin(url: str) -> str:
    place = urlsplit(url)
    return f"{place.scheme}://{place.netloc}"


def _moved(text: str, old: str, new: str) -> str:
    return text.replace(old, new).replace(quote(old, safe=""), quote(new, safe=""))
