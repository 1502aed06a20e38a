"""A small Nightscout 15.0.7 in memory for the demo: what the Nightscout sinks use of API version 1, over HTTP on the loopback."""

from __future__ import annotations

import gzip
import itertools
import json
import operator
import re
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from hashlib import sha1
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from tconnectsync_simulator.loopback_server import LoopbackHandler, LoopbackServer

Body: TypeAlias = dict[str, Any]
"""One JSON object."""

COLLECTIONS = ("treatments", "entries", "profile", "activity", "devicestatus")
_CONDITION = re.compile(r"find\[(\w+)\](?:\[\$(\w+)\])?")
_OPERATORS: Mapping[str | None, Callable[[Any, Any], bool]] = {
    None: operator.eq,
    "gte": operator.ge,
    "lte": operator.le,
    "regex": lambda value, pattern: re.search(pattern, value) is not None,
}
_STATUS: Body = {
    "status": "ok",
    "name": "nightscout",
    "version": "15.0.7",
    "apiEnabled": True,
    "careportalEnabled": True,
    "settings": {"units": "mg/dl", "enable": ["careportal", "iob", "pump", "basal", "bolus", "cage", "sage"]},
}


class DemoSite:
    """A running site; use it as a context manager. Thread-safe. Everybody may read, a write needs the secret."""

    def __init__(self) -> None:
        self.secret = "a simulated secret"  # noqa: S105 - it protects nothing
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self._stored: dict[str, dict[object, Body]] = {name: {} for name in COLLECTIONS}
        self._server = _Server(self)

    def __enter__(self) -> DemoSite:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    @property
    def url(self) -> str:
        """The site's address, with a slash at the end."""
        return f"http://127.0.0.1:{self._server.port}/"

    def documents(self, collection: str) -> list[Body]:
        """Return the documents of a collection, newest first."""
        with self._lock:
            return self._newest_first(collection)

    def permits(self, method: str, given: str) -> bool:
        """Whether a request with this ``api-secret`` header is allowed."""
        return given == sha1(self.secret.encode()).hexdigest() or (method == "GET" and not given)

    def respond(self, method: str, path: str, query: Mapping[str, str], body: Any) -> tuple[int, Any]:
        """Return the status and the JSON value of the response to a permitted request."""
        with self._lock:
            match method, path.strip("/").split("/")[2:]:
                case "GET", ["status.json"]:
                    return 200, _STATUS
                case "GET", ["profile", "current"]:
                    return 200, next(iter(self._newest_first("profile")), None)
                case "GET", [collection] if collection in COLLECTIONS:
                    return 200, self._find(collection, query)
                case "POST", [collection] if collection in COLLECTIONS:
                    return 200, [self._store(collection, each) for each in (body if isinstance(body, list) else [body])]
                case "PUT", [collection] if collection in COLLECTIONS:
                    return 200, self._store(collection, body)
                case "DELETE", [collection, mongo_id] if collection in COLLECTIONS:
                    return 200, {"acknowledged": True, "deletedCount": self._delete(collection, mongo_id)}
        return 404, {"status": 404, "message": f"Cannot {method} {path}"}

    def _newest_first(self, collection: str) -> list[Body]:
        field = "startDate" if collection == "profile" else "created_at"
        return sorted(self._stored[collection].values(), key=lambda document: str(document.get(field)), reverse=True)

    def _find(self, collection: str, query: Mapping[str, str]) -> list[Body]:
        found = (document for document in self._newest_first(collection) if _meets(document, query))
        return list(itertools.islice(found, int(query.get("count", 1000))))

    def _store(self, collection: str, body: Body) -> Body:
        """Store a document in the place of the one with its key, if there is one; return it with its ``_id``."""
        key = _key(collection, body)
        earlier = self._stored[collection].get(key, {})
        document = {
            "created_at": datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            **body,
            "_id": earlier.get("_id") or body.get("_id") or f"{next(self._ids):024x}",
        }
        self._stored[collection][key or document["_id"]] = document
        return document

    def _delete(self, collection: str, mongo_id: str) -> int:
        gone = [key for key, document in self._stored[collection].items() if document["_id"] == mongo_id]
        for key in gone:
            del self._stored[collection][key]
        return len(gone)


def _key(collection: str, body: Body) -> object:
    """What makes two documents the same: the identifier of a treatment, time and type of an entry; None: nothing."""
    if collection == "treatments":
        return body.get("identifier") or (body.get("created_at"), body.get("eventType"))
    return (body.get("date"), body.get("type")) if collection == "entries" else None


def _meets(document: Body, query: Mapping[str, str]) -> bool:
    """Whether a document meets all conditions of a query, such as ``find[date][$gte]=1763489560000``."""
    conditions = ((_CONDITION.fullmatch(name), wanted) for name, wanted in query.items())
    return all(_compares(document.get(found[1]), _OPERATORS[found[2]], wanted) for found, wanted in conditions if found)


def _compares(value: object, compare: Callable[[Any, Any], bool], wanted: str) -> bool:
    if isinstance(value, str):
        return compare(value, wanted)
    return isinstance(value, (int, float)) and compare(value, float(wanted))


class _Server(LoopbackServer):
    def __init__(self, site: DemoSite) -> None:
        self.site = site
        super().__init__(_Handler, name="demo-nightscout")


class _Handler(LoopbackHandler):
    server: _Server

    def _handle(self) -> None:
        raw = self.read_all()
        parts = urlsplit(self.path)
        if self.server.site.permits(self.command, self.headers.get("api-secret", "")):
            body = gzip.decompress(raw) if self.headers.get("content-encoding") == "gzip" else raw
            parsed = json.loads(body) if body else None
            status, answer = self.server.site.respond(self.command, parts.path, dict(parse_qsl(parts.query)), parsed)
        else:
            status, answer = 401, {"status": 401, "message": "Unauthorized"}
        self.respond(status, "application/json; charset=utf-8", (), json.dumps(answer).encode())

    do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815 - the names that the base class calls
