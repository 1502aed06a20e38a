"""A simulated Nightscout: API version 1 over real HTTP on the loopback, in memory, with the quirks of real servers.

It is the receiver of the demo and of tests, which can also add faults::

    with SimulatedNightscout(version="15.0.6") as site:
        site.fail(SiteFault(status=503, times=2))
        requests.post(site.url + "api/v1/treatments", ...)
        site.documents("treatments")
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from types import TracebackType
from typing import Any

from tconnectsync_simulator.loopback_server import ConnectionBreaks
from tests.support.fault_queue import FaultQueue
from tests.support.simulated_nightscout import values
from tests.support.simulated_nightscout.access import SiteAccess, permits, verdict
from tests.support.simulated_nightscout.faults import NONE, SiteFault
from tests.support.simulated_nightscout.query import FieldTypes, QueryFails, QueryInvalid, conditions, read_query
from tests.support.simulated_nightscout.responses import (
    mongo_error,
    page_size,
    removed,
    shown,
    status_body,
    unauthorized,
    unknown_route,
)
from tests.support.simulated_nightscout.server import (
    LARGEST_BODY,
    SiteRequest,
    SiteResponse,
    SiteServer,
    as_json,
    failure,
    page,
)
from tests.support.simulated_nightscout.store import Collection, Rules, WriteFails, write
from tests.support.simulated_nightscout.values import Body

_TYPINGS: Mapping[str, FieldTypes] = {
    "treatments": FieldTypes(
        whole_numbers=("insulin", "carbs", "glucose"), patterns=("notes", "eventType", "enteredBy")
    ),
    "activity": FieldTypes(whole_numbers=("date", "sgv")),
    "devicestatus": FieldTypes(whole_numbers=("date", "sgv")),
    "entries": FieldTypes(date_field="date", epoch=True, whole_numbers=("date", "sgv", "mbg", "rssi", "noise")),
    "profile": FieldTypes(),
}
COLLECTIONS = tuple(_TYPINGS)
__all__ = ["COLLECTIONS", "SimulatedNightscout", "SiteFault", "SiteRequest"]
_RIGHTS = {"GET": "read", "POST": "create", "PUT": "update", "DELETE": "delete"}
_REMEMBERED = 100_000


class SimulatedNightscout:
    """One site, thread-safe. ``version`` selects the rules; ``tokens`` maps access tokens to rights (:class:`SiteAccess`).

    Everybody may read a ``public`` site. Without ``careportal``, treatments and activity cannot be written. ``idle_s``:
    how long an idle connection stays open; ``refusal_wait_s``: the delay after a wrong secret (5 s on real servers).

    ``refuses`` may be set: a POST stops at a document for which it is true, with ``refusal_status``. Real servers send
    500, as if their database failed; 400 means an invalid document. While ``database_down`` is true, writes get status
    500 and reads get ``null``; the status page works. ``overlaps`` counts POSTs that arrived during another one: a
    real server may duplicate their documents.
    """

    def __init__(
        self,
        *,
        version: str = "15.0.7",
        api_secret: str = "a simulated secret",  # noqa: S107 - it protects nothing
        tokens: Mapping[str, Sequence[str]] | None = None,
        public: bool = True,
        careportal: bool = True,
        units: str = "mg/dl",
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        idle_s: float = 5.0,
        refusal_wait_s: float = 0.0,
    ) -> None:
        self.rules = Rules.of(version)
        self.secret = api_secret
        self.careportal = careportal
        self.units = units
        self.now = now
        self.idle_s = idle_s
        self.refusal_wait_s = refusal_wait_s
        self.refuses: Callable[[Body], bool] | None = None
        self.refusal_status = 500
        self.database_down = False
        self.overlaps = 0
        self._access = SiteAccess(secret=api_secret, tokens=dict(tokens or {}), public=public)
        self._requests: deque[SiteRequest] = deque(maxlen=_REMEMBERED)
        self._faults: FaultQueue[SiteFault] = FaultQueue()
        self._lock = threading.RLock()  # the documents and rules
        self._counting = (
            threading.Lock()
        )  # the list of requests and the faults, also while a request waits for the other lock
        self._ids = 0
        self._writing = 0
        self._stopping = threading.Event()
        self._collections = {
            name: Collection(name=name, new_id=self._new_id, rules=self.rules, typing=typing)
            for name, typing in _TYPINGS.items()
        }
        self._server: SiteServer | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """The site's address, with a slash at the end. The port stays the same while this object lives."""
        return f"http://127.0.0.1:{self._port}/"

    @property
    def requests(self) -> list[SiteRequest]:
        """The requests so far, oldest first (the latest 100,000)."""
        with self._counting:
            return list(self._requests)

    @property
    def refusals(self) -> int:
        """How many requests had a wrong secret or token."""
        return self._access.refusals

    def __enter__(self) -> SimulatedNightscout:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listen, on the same port as before if any."""
        if self._server is None:
            self._stopping.clear()
            self._server = SiteServer(self._port, self._serve, now=self.now, idle_s=self.idle_s)
            self._port = self._server.port

    def stop(self) -> None:
        """Stop listening and break every connection; the documents stay."""
        if self._server is not None:
            self._stopping.set()
            self._server.close()
            self._server = None

    @contextlib.contextmanager
    def down(self) -> Iterator[None]:
        """Refuse connections inside the context."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def fail(self, *faults: SiteFault) -> None:
        """Add faults; each request takes the first that fits."""
        with self._counting:
            self._faults.add(*faults)

    def mend(self) -> None:
        """Remove the remaining faults."""
        with self._counting:
            self._faults.clear()

    def change_version(self, version: str) -> None:
        """Upgrade or downgrade the site; the documents stay."""
        with self._lock:
            self.rules = Rules.of(version)
            for collection in self._collections.values():
                collection.rules = self.rules

    def documents(self, collection: str) -> list[Body]:
        """Return copies of a collection's documents as stored, newest first."""
        with self._lock:
            return self._collections[collection].all()

    def count(self, collection: str) -> int:
        """The number of documents in a collection."""
        with self._lock:
            return len(self._collections[collection])

    def put(self, collection: str, *documents: Mapping[str, Any]) -> None:
        """Store documents as if another program had posted them one by one."""
        with self._lock:
            for document in documents:
                write(self._collections[collection], dict(document), self.now(), alone=True)

    def remove(self, collection: str, created_at: str) -> None:
        """Delete the documents of this time, as a person does on the site."""
        with self._lock:
            self._collections[collection].remove({"created_at": created_at})

    def drop(self, collection: str) -> None:
        """Delete all documents of a collection, as if the database was lost."""
        with self._lock:
            self._collections[collection].clear()

    def snapshot(self) -> tuple[dict[str, Collection], int]:
        """What the site holds now, for :meth:`restore`."""
        with self._lock:
            return {name: held.copied() for name, held in self._collections.items()}, self._ids

    def restore(self, snapshot: tuple[dict[str, Collection], int]) -> None:
        """Store what it held then, and nothing else."""
        with self._lock:
            collections, self._ids = snapshot
            self._collections = {name: held.copied() for name, held in collections.items()}

    def _new_id(self) -> str:
        self._ids += 1
        return f"{int(self.now().timestamp()) & 0xFFFFFFFF:08x}{self._ids:016x}"

    # The following methods run in the server's threads.

    def _serve(self, request: SiteRequest, problem: str) -> SiteResponse:
        with self._counting:
            self._requests.append(request)
            fault = self._faults.take(request.method, request.path) or NONE
        if fault.wait_s:
            self._stopping.wait(fault.wait_s)
        if fault.reset == "before":
            raise ConnectionBreaks
        if fault.status is not None:
            text, kind = fault.body.encode(), fault.content_type
            return SiteResponse(status=fault.status, body=text, content_type=kind, headers=fault.headers)
        if request.body_bytes > LARGEST_BODY:
            return failure(request, 413, "request entity too large")
        answer = failure(request, 400, problem) if problem else self._answer(request, fault)
        if fault.reset == "after":
            raise ConnectionBreaks
        return answer

    def _answer(self, request: SiteRequest, fault: SiteFault) -> SiteResponse:
        path = request.path.strip("/").split("/")
        if path[:2] != ["api", "v1"] or len(path) not in {3, 4}:
            return unknown_route(request)
        name, item = path[2].removesuffix(".json"), path[3] if len(path) == 4 else None
        if self._access.refused_last and self.refusal_wait_s and self.rules.modern:
            self._stopping.wait(self.refusal_wait_s)
        with self._counting:
            rights = self._access.rights(request.headers.get("api-secret", ""), modern=self.rules.modern)
        if name == "verifyauth":
            return as_json(verdict(rights, modern=self.rules.modern))
        if rights is None:
            return unauthorized()
        if name == "status" and request.method == "GET":
            return (
                as_json(status_body(self.rules.version, self.now(), units=self.units, careportal=self.careportal))
                if permits(rights, "api:status:read")
                else unauthorized()
            )
        if name not in self._collections:
            return unknown_route(request)
        # Every route of a collection requires the right to read it.
        if not all(permits(rights, f"api:{name}:{right}") for right in ("read", _RIGHTS[request.method])):
            return unauthorized()
        if request.method != "GET" and name in {"treatments", "activity"} and not self.careportal:
            return unknown_route(request)
        return self._perform(self._collections[name], item, request, fault)

    def _perform(
        self, collection: Collection, item: str | None, request: SiteRequest, fault: SiteFault
    ) -> SiteResponse:
        try:
            if request.method == "POST":
                return self._create(collection, request, fault)
            with self._lock:
                if (collection.name, item, request.method) == ("profile", "current", "GET"):
                    return as_json(next(iter(collection.all()), None))
                if request.method == "PUT":
                    return self._replace(collection, request.body)
                query = read_query(request.query)
                if item not in {None, "*"} and isinstance(query.setdefault("find", {}), dict):
                    query["find"]["_id"] = item
                find = conditions(query, collection.typing, self.now(), strict_ids=not self.rules.modern)
                if request.method == "DELETE":
                    return (
                        mongo_error("the database is down")
                        if self.database_down
                        else removed(collection, find, request, modern=self.rules.modern)
                    )
                if self.database_down:
                    raise QueryInvalid("the database is down")
                if collection.name == "profile":
                    return as_json(collection.all())
                count = page_size(query, collection.name, modern=self.rules.modern)
                return as_json(shown(collection.name, collection.read(find, count)))
        except (QueryFails, WriteFails) as error:
            return failure(request, 500, str(error))
        except QueryInvalid:
            return SiteResponse(status=200, body=b"null" if self.rules.modern else b"")

    def _create(self, collection: Collection, request: SiteRequest, fault: SiteFault) -> SiteResponse:
        if self.database_down:
            return mongo_error("the database is down")
        with self._counting:
            self._writing += 1
            self.overlaps += self._writing > 1
        try:
            with self._lock:
                return self._write(collection, request.body, fault)
        finally:
            with self._counting:
                self._writing -= 1

    def _write(self, collection: Collection, body: Any, fault: SiteFault) -> SiteResponse:
        answer: list[Body] = []
        for index, document in enumerate(body if isinstance(body, list) else [body]):
            if not isinstance(document, dict):
                raise WriteFails(f"Cannot create property 'created_at' on '{document}'")
            if index == fault.stop_at or (self.refuses is not None and self.refuses(document)):
                return mongo_error("simulated refusal", status=self.refusal_status)
            if index == fault.lose:
                answer.append({**document, "_id": self._new_id()})
                continue
            try:
                answer.append(write(collection, document, self.now(), alone=not isinstance(body, list)))
                if index == fault.double:
                    collection.insert(values.treatment(document, self.now()))
            except WriteFails as error:
                return mongo_error(str(error))
        return as_json(answer)

    def _replace(self, collection: Collection, body: Any) -> SiteResponse:
        if self.database_down or not isinstance(body, dict):
            return mongo_error("cannot be replaced")
        if collection.name in {"devicestatus", "entries"}:
            return page(404, f"Cannot PUT /api/v1/{collection.name}")
        prepared = values.treatment(body, self.now()) if collection.name == "treatments" else body
        stored = collection.replace(prepared)
        tells_numbers = collection.name == "treatments" and not self.rules.modern
        return as_json({"n": 1, "nModified": 1, "ok": 1} if tells_numbers else stored)
