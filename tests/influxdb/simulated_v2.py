"""A small server that behaves as InfluxDB 2 documents it, as far as the sink uses it: write, delete, query by InfluxQL."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs

from tests.support.loopback_server import serving

ORG, BUCKET, TOKEN = "home", "pump", "a-token-for-tests-only"
_TAG = re.compile(r"((?:[^,=\\]|\\.)+)=((?:[^,=\\]|\\.)*)")
_FIELD = re.compile(r'((?:[^,=\\]|\\.)+)=("(?:[^"\\]|\\.)*"|[^,]+)')
_LINE = re.compile(r'((?:[^ \\]|\\.)+) ((?:[^ "]|"(?:[^"\\]|\\.)*")+) (\d+)')
_CONDITION = re.compile(r""""(\w+)" ?= ?(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")""")
_Place = tuple[str, tuple[tuple[str, str], ...], int]


@attrs.define(kw_only=True)
class Bucket:
    """The points: fields by measurement, tags and time. ``answers``: what the next requests get instead, by path."""

    url: str = ""
    points: dict[_Place, dict[str, float | str]] = attrs.field(factory=dict)
    answers: dict[str, tuple[int, Mapping[str, Any]]] = attrs.field(factory=dict)
    deletions: list[Mapping[str, Any]] = attrs.field(factory=list)
    lock: threading.Lock = attrs.field(factory=threading.Lock)

    def write(self, body: str) -> tuple[int, Mapping[str, Any]]:
        """Every line or none."""
        found = []
        for line in (line for line in body.split("\n") if line and not line.startswith("#")):
            match = _LINE.fullmatch(line)
            if match is None:
                return 400, {"code": "invalid", "message": f"unable to parse '{line}'"}
            series, fields, time_ns = match.groups()
            measurement, _, tags = series.partition(",")
            named = tuple(sorted((_plain(name), _plain(value)) for name, value in _TAG.findall(tags)))
            found.append(
                ((measurement, named, int(time_ns)), {_plain(n): _value(v) for n, v in _FIELD.findall(fields)})
            )
        if not found:
            return 400, {"code": "invalid", "message": "writing requires points"}
        for place, values in found:
            self.points.setdefault(place, {}).update(values)
        return 204, {}

    def delete(self, body: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        """All points of the range (both ends included) with this measurement and these tags."""
        self.deletions.append(body)
        start, stop = _nanoseconds(body["start"]), _nanoseconds(body["stop"])
        measurement, *tags = re.findall(r'"?(\w+)"?="((?:[^"\\]|\\.)*)"', body["predicate"])
        wanted = {(name, _plain(value)) for name, value in tags}
        for name, named, time_ns in list(self.points):
            if name == measurement[1] and start <= time_ns <= stop and wanted <= set(named):
                del self.points[name, named, time_ns]
        return 204, {}

    def query(self, statements: str) -> tuple[int, Mapping[str, Any]]:
        """``SELECT * FROM … [WHERE a span of time, or one of some texts] GROUP BY *``."""
        return 200, {"results": [{"series": list(self._series(each))} for each in statements.split("; ")]}

    def _series(self, statement: str) -> Iterator[Mapping[str, Any]]:
        match = re.match(r'SELECT \* FROM "(\w+)"', statement)
        assert match, statement
        span = [int(number) for number in re.findall(r"time >?<?=? ?(\d+)", statement)] or [0, 1 << 63]
        texts = {text for _, text, _ in _CONDITION.findall(statement)}
        for (name, named, time_ns), values in sorted(self.points.items()):
            shown = not texts or values.get("id") in texts
            if name == match[1] and span[0] <= time_ns < span[1] and shown:
                yield {
                    "name": name,
                    "tags": dict(named),
                    "columns": ["time", *values],
                    "values": [[time_ns, *values.values()]],
                }


@contextmanager
def influxdb_2() -> Iterator[Bucket]:
    """Serve an empty bucket."""
    bucket = Bucket()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # headers and body in one packet

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            parts = urlsplit(self.path)
            given = {name: values[0] for name, values in parse_qs(parts.query).items()}
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with bucket.lock:
                status, content = self._found(parts.path, given, body)
            text = b"" if status == 204 else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("X-Influxdb-Version", "v2.7.1")
            self.send_header("Content-Length", str(len(text)))
            if status in (429, 503):
                self.send_header("Retry-After", "30")
            self.end_headers()
            self.wfile.write(text)

        def _found(self, path: str, given: Mapping[str, str], body: bytes) -> tuple[int, Mapping[str, Any]]:
            if path in bucket.answers:
                return bucket.answers[path]
            if path == "/ping":
                return 204, {}
            if self.headers.get("Authorization") != f"Token {TOKEN}":
                return 401, {"code": "unauthorized", "message": "unauthorized access"}
            if path == "/query":
                known = given.get("db") == BUCKET
                missing = {"results": [{"error": f"database not found: {given.get('db')}"}]}
                return bucket.query(given["q"]) if known else (200, missing)
            if given.get("org") != ORG or given.get("bucket") != BUCKET:
                return 404, {"code": "not found", "message": f'bucket "{given.get("bucket")}" not found'}
            return bucket.write(body.decode()) if path == "/api/v2/write" else bucket.delete(json.loads(body))

        def log_message(self, *_: Any) -> None:
            """Silence."""

    with serving(Handler) as url:
        bucket.url = url
        yield bucket


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _value(text: str) -> float | str:
    return _plain(text[1:-1]) if text.startswith('"') else float(text)


def _nanoseconds(text: str) -> int:
    seconds, _, fraction = text.rstrip("Z").partition(".")
    whole = datetime.fromisoformat(seconds).replace(tzinfo=timezone.utc)
    return int(whole.timestamp()) * 1_000_000_000 + int(fraction.ljust(9, "0"))
