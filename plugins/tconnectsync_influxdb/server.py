"""The three requests to a server: write lines, delete points, query. InfluxDB 1 and 2 differ in their addresses and logins.

A client library would add a dependency of some megabytes for these three, and its own retries beneath those of the outbox.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from tconnectsync import Clock, HttpClient, HttpLimits, HttpResponse, Secret, host_of
from tconnectsync_influxdb.options import InfluxOptions
from tconnectsync_influxdb.points import PointKey, iso_ns, quoted_name, quoted_text
from tconnectsync_influxdb.responses import Place, raise_for_change, raise_for_query, raise_for_write

LIMITS = HttpLimits(connect_s=10.0, silence_s=60.0, whole_s=120.0, most_bytes=64 << 20)
_DELETED_AT_ONCE = 50


@attrs.frozen(kw_only=True)
class Series:
    """A part of a query's result: rows of one measurement with the same tags. ``rows`` are by column name."""

    measurement: str
    tags: Mapping[str, str]
    rows: Sequence[Mapping[str, Any]]


class InfluxServer(ABC):
    """A server with one database or bucket. Every method raises Retryable or CredentialsRefused; ``write`` also Rejected."""

    batch_size: int
    """If all documents of a batch are withdrawn, it must still end within some seconds: others wait meanwhile."""

    def __init__(self, options: InfluxOptions, clock: Clock) -> None:
        self.url = options.base_url
        self.shown_url = host_of(self.url) + (f":{options.port}" if options.port else "")
        self.http = HttpClient(clock=clock, limits=LIMITS, verify_tls=options.verify_tls)

    @property
    @abstractmethod
    def place(self) -> Place:
        """The database or bucket, for messages."""

    @abstractmethod
    def write(self, lines: Iterable[str]) -> None:
        """Write these lines. Points that are older than the database keeps data are dropped by the server, without an error."""

    @abstractmethod
    def delete(self, points: Sequence[PointKey]) -> None:
        """Delete exactly these points. A missing one is no error."""

    @abstractmethod
    def query(self, *statements: str) -> Iterator[Series]:
        """Run InfluxQL statements that read."""

    def version(self) -> str:
        """The server's version; "" if it does not say."""
        answer = self._request("GET", "/ping", what="its version")
        return answer.headers.get("X-Influxdb-Version", "")

    def _write(self, lines: Iterable[str], path: str, params: Mapping[str, str]) -> None:
        body = "\n".join(lines).encode()
        answer = self._request("POST", path, what="a write", params=params, body=body)
        raise_for_write(answer, self.place)

    def _query(self, statements: Sequence[str], method: str = "GET") -> Iterator[Series]:
        params = {"db": self.place.name, "epoch": "ns"}
        query = "; ".join(statements)
        if method == "GET":
            answer = self._request("GET", "/query", what="a query", params={**params, "q": query})
        else:
            answer = self._request("POST", "/query", what="a deletion", params=params, form={"q": query})
        if len(statements) > 1 and b'"not executed"' in answer.body:
            yield from self._query(statements[:1], method)  # alone, it says why
        results = raise_for_query(answer, self.place)
        for series in (series for result in results for series in result.get("series", ())):
            columns = series["columns"]
            yield Series(
                measurement=series["name"],
                tags=series.get("tags", {}),
                rows=[dict(zip(columns, row, strict=True)) for row in series.get("values", ())],
            )

    def _request(self, method: str, path: str, **arguments: Any) -> HttpResponse:
        return self.http.request(method, self.url + path, headers=self._headers(), **self._login(), **arguments)

    def _headers(self) -> Mapping[str, str]:
        return {"Accept": "application/json"}

    def _login(self) -> Mapping[str, Any]:
        return {}


class InfluxV1(InfluxServer):
    """InfluxDB 1.x: a database, and a user if the server requires one."""

    batch_size = 50  # over a year of data, InfluxDB 1 takes a tenth of a second for each deletion on a slow computer

    def __init__(self, options: InfluxOptions, clock: Clock) -> None:
        super().__init__(options, clock)
        self._database, self._username = options.database or "", options.username
        self._password = options.password or Secret("")

    @property
    def place(self) -> Place:
        """The database."""
        return Place(url=self.shown_url, name=self._database, is_v2=False)

    def write(self, lines: Iterable[str]) -> None:
        """``/write``."""
        self._write(lines, "/write", {"db": self._database, "precision": "ns"})

    def delete(self, points: Sequence[PointKey]) -> None:
        """``DELETE``, which can select by tags and time, and not by fields."""
        statements = [_delete_statement(point) for point in points]
        for start in range(0, len(statements), _DELETED_AT_ONCE):
            list(self._query(statements[start : start + _DELETED_AT_ONCE], "POST"))

    def query(self, *statements: str) -> Iterator[Series]:
        """``/query``."""
        return self._query(statements)

    def _login(self) -> Mapping[str, Any]:
        return {} if self._username is None else {"basic": (self._username, self._password.reveal())}


class InfluxV2(InfluxServer):
    """InfluxDB 2.x: organization, bucket and token. Queries use its ``/query``, which knows every bucket by its name."""

    batch_size = 50

    def __init__(self, options: InfluxOptions, clock: Clock) -> None:
        super().__init__(options, clock)
        self._org, self._bucket, self._token = options.org or "", options.bucket or "", options.token or Secret("")

    @property
    def place(self) -> Place:
        """The bucket."""
        return Place(url=self.shown_url, name=self._bucket, is_v2=True)

    def write(self, lines: Iterable[str]) -> None:
        """``/api/v2/write``."""
        self._write(lines, "/api/v2/write", {"org": self._org, "bucket": self._bucket, "precision": "ns"})

    def delete(self, points: Sequence[PointKey]) -> None:
        """``/api/v2/delete``: one request for each point, because a predicate has no times and no "or"."""
        for point in points:
            body = {
                "start": iso_ns(point.time_ns),
                # whether the end belongs to the range or not: no point has an odd time
                "stop": iso_ns(point.time_ns + 1),
                "predicate": _predicate(point),
            }
            params = {"org": self._org, "bucket": self._bucket}
            answer = self._request(
                "POST", "/api/v2/delete", what="a deletion", params=params, body=json.dumps(body).encode()
            )
            raise_for_change(answer, self.place)

    def query(self, *statements: str) -> Iterator[Series]:
        """``/query``."""
        return self._query(statements)

    def _headers(self) -> Mapping[str, str]:
        return {"Accept": "application/json", "Authorization": f"Token {self._token.reveal()}"}


def connect(options: InfluxOptions, clock: Clock) -> InfluxServer:
    """Return the server of the configuration. Makes no request."""
    return InfluxV2(options, clock) if options.is_v2 else InfluxV1(options, clock)


def _delete_statement(point: PointKey) -> str:
    tags = "".join(f" AND {quoted_name(name)} = {quoted_text(value)}" for name, value in point.tags.items())
    return f"DELETE FROM {quoted_name(point.measurement)} WHERE time = {point.time_ns}{tags}"


def _predicate(point: PointKey) -> str:
    tags = "".join(f" AND {quoted_name(name)}={quoted_name(value)}" for name, value in point.tags.items())
    return f"_measurement={quoted_name(point.measurement)}{tags}"
