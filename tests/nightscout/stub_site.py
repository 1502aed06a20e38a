"""A small Nightscout of the tests' own: real HTTP on 127.0.0.1, both generations of rules, and scripted trouble."""

from __future__ import annotations

import gzip
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import attrs

from tests.support.loopback_server import serving

SECRET = "a secret of the tests"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)


@attrs.frozen(kw_only=True)
class StubFault:
    """What happens to a request: an answer of its own, or a connection that breaks ``before`` or ``after`` it is served."""

    status: int = 0
    body: bytes = b"{}"
    headers: Mapping[str, str] = attrs.Factory(dict)
    broken: str = ""
    hangs_until: threading.Event | None = None


@attrs.frozen(kw_only=True)
class StubRequest:
    method: str
    target: str
    headers: Mapping[str, str]
    raw: bytes
    connection: tuple[str, int]

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))


class StubSite:
    """``stored`` holds the documents; ``faults`` are used up one per request that their (method, path part) matches."""

    def __init__(self, version: str = "15.0.7") -> None:
        self.version = version
        self.units = "mg/dl"
        self.enabled = ["careportal", "iob", "pump"]
        self.accepts: Callable[[str], bool] = lambda key: True
        self.allows: Callable[[str, str], bool] = lambda method, collection: True
        self.old_copies_are_unkeyed = False
        self.culprit: Callable[[Mapping[str, Any]], bool] = lambda document: False
        self.forgets: Callable[[Mapping[str, Any]], bool] = lambda document: False
        self.judge: Callable[[StubRequest], StubFault | None] = lambda request: None
        self.date: str | None = None
        self.receiver_key: dict[str, list[dict[str, Any]]] = {"treatments": [], "activity": [], "devicestatus": []}
        self.requests: list[StubRequest] = []
        self.faults: list[tuple[str, str, StubFault]] = []
        self._numbers = count(1)
        self._lock = threading.Lock()
        self.url = ""

    def fail(self, method: str, part: str, fault: StubFault, *, times: int = 1) -> None:
        self.faults += [(method, part, fault)] * times

    def requests_of(self, method: str, part: str = "") -> list[StubRequest]:
        return [request for request in self.requests if request.method == method and part in request.path]

    def add(self, collection: str, **document: Any) -> dict[str, Any]:
        document.setdefault("_id", self._new_id())
        self.receiver_key[collection].append(document)
        return document

    def _new_id(self) -> str:
        return f"{next(self._numbers):024x}"

    def post(self, collection: str, documents: list[dict[str, Any]]) -> tuple[int, Any]:
        answer = []
        for document in documents:
            if self.culprit(document):
                return 500, {"status": 500, "message": "Mongo Error"}
            if self.forgets(document):
                continue
            answer.append(self._store(collection, dict(document)))
        return 200, answer

    def _store(self, collection: str, document: dict[str, Any]) -> dict[str, Any]:
        old = self._same(document) if collection == "treatments" else None
        by_identifier = self.version == "15.0.7"
        mark = {"_era": "new"} if by_identifier else {}
        if old is not None:
            kept = old["_id"]
            old.clear()
            old |= {**document, "_id": kept, **mark}
            return dict(old)
        document |= {"_id": self._new_id(), **mark}
        self.receiver_key[collection].append(document)
        return dict(document)

    def _same(self, document: Mapping[str, Any]) -> dict[str, Any] | None:
        for old in self.receiver_key["treatments"]:
            if self.version == "15.0.7" and "identifier" in document:
                keyed = old.get("_era") == "new" or not self.old_copies_are_unkeyed
                same = keyed and old.get("identifier") == document["identifier"]
            else:
                same = (old["created_at"], old.get("eventType")) == (document["created_at"], document.get("eventType"))
            if same:
                return old
        return None

    def find(self, collection: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
        found = [
            document
            for document in self.receiver_key[collection]
            if all(self._meets(document, *item) for item in query.items())
        ]
        found.sort(key=lambda document: document["created_at"], reverse=True)
        return found[: int(query.get("count", "100"))]

    def _meets(self, document: Mapping[str, Any], name: str, value: str) -> bool:
        condition = re.fullmatch(r"find\[(\w+)\](?:\[\$(\w+)\])?", name)
        if condition is None:
            return True
        held = document.get(condition[1])
        tests: dict[str | None, Callable[[], bool]] = {
            None: lambda: held == value,
            "gte": lambda: held is not None and held >= value,
            "lte": lambda: held is not None and held <= value,
            "regex": lambda: isinstance(held, str) and re.search(value, held) is not None,
        }
        return tests[condition[2]]()

    def serve(self, request: StubRequest) -> tuple[int, Any]:
        if not self.accepts(request.headers.get("api-secret", "")):
            return 401, {"status": 401, "message": "Unauthorized"}
        collection, _, document_id = request.path.removeprefix("/api/v1/").partition("/")
        if collection == "status.json":
            return 200, {"version": self.version, "settings": {"units": self.units, "enable": self.enabled}}
        if collection not in self.receiver_key:
            return 404, {"status": 404}
        if not self.allows(request.method, collection):
            return 401, {"status": 401, "message": "Unauthorized"}
        if request.method == "GET":
            return 200, self.find(collection, request.query)
        if request.method == "DELETE":
            self.receiver_key[collection] = [
                item for item in self.receiver_key[collection] if item["_id"] != document_id
            ]
            return 200, {"n": 1}
        documents = json.loads(request.raw)
        return self.post(collection, documents if isinstance(documents, list) else [documents])

    def next_fault(self, request: StubRequest) -> StubFault:
        judged = self.judge(request)
        if judged is not None:
            return judged
        for index, (method, part, fault) in enumerate(self.faults):
            if method == request.method and part in request.path:
                del self.faults[index]
                return fault
        return StubFault()


class _StubHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    site: StubSite

    def _do(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.headers.get("Content-Encoding") == "gzip":
            raw = gzip.decompress(raw)
        request = StubRequest(
            method=self.command, target=self.path, headers=dict(self.headers), raw=raw, connection=self.client_address
        )
        with self.site._lock:
            self.site.requests.append(request)
            fault = self.site.next_fault(request)
        if fault.hangs_until is not None:
            fault.hangs_until.wait(60)
        if fault.broken == "before":
            self._break()
            return
        if fault.status:
            self._answer(fault.status, fault.body, fault.headers)
            return
        with self.site._lock:
            status, value = self.site.serve(request)
        if fault.broken == "after":
            self._break()
            return
        self._answer(status, json.dumps(value).encode(), {})

    do_GET = do_POST = do_DELETE = _do  # noqa: N815 - the names that the library looks for

    def _break(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", headers.get("Content-Type", "application/json"))
        self.send_header("Content-Length", str(len(body)))
        if self.site.date is not None:
            self.send_header("Date", self.site.date)
        for name, value in headers.items():
            if name != "Content-Type":
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:  # the client closed first
            self.close_connection = True

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def running(site: StubSite, *, wrap: Callable[[socket.socket], socket.socket] | None = None) -> Iterator[StubSite]:
    """The site, listening; ``wrap`` may put TLS around its socket."""
    handler = type("Handler", (_StubHandler,), {"site": site, "timeout": 5})
    with serving(handler, wrap=wrap) as site.url:
        yield site
