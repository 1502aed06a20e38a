"""A fake Tandem cloud on 127.0.0.1 (login and JSON API), and a harness around the source that asks it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from functools import lru_cache
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs
import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from tconnectsync import Context, Secret
from tconnectsync_tandem.api.id_token import StartCheck
from tconnectsync_tandem.options import TandemEndpointOptions, TandemOptions
from tconnectsync_tandem.source import TandemSource, open_source
from tests.support.clocks import FakeClock
from tests.support.in_process_check import check_in_process
from tests.support.loopback_server import serving
from tests.support.memory_log import MemoryLog

START = datetime(2026, 11, 20, 12, 0, tzinfo=timezone.utc)
EMAIL, PASSWORD = "wearer@example.org", "correct horse"
PUMPER = "0a5b7c61-7a3f-4f7e-9d3a-2f1f6a3d9b10"
SERIAL, ASSIGNMENT = "1111111", "4ff6bebc-d4d6-4423-b123-eecfcf5a4238"


@attrs.define
class FakeCloudFault:
    """What the cloud does to the next ``times`` requests whose path contains ``path``."""

    path: str
    status: int | None = None
    body: bytes | None = None
    headers: dict[str, str] = attrs.field(factory=dict)
    times: int = 1
    change: Callable[[Any], Any] | None = None
    when: Callable[[dict[str, str]], bool] = lambda query: True
    cut: bool = False
    reset: bool = False


@lru_cache(maxsize=1)
def _signing_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def entry(code: int, seq: int, time: str, properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A record as the API has it."""
    return {
        "deviceAssignmentId": ASSIGNMENT,
        "eventCode": code,
        "sequenceGroup": 0,
        "sequenceNumber": seq,
        "pumpDateTime": time,
        "eventProperties": properties,
        "estimatedDateTime": f"{time}Z",
        **more,
    }


def basal(seq: int, time: str, rate_mu: int = 1000) -> dict[str, Any]:
    """A record 279."""
    return entry(
        279,
        seq,
        time,
        {
            "commandedRateSource": 3,
            "reservedA2": 3,
            "spareA3": 0,
            "commandedRate": rate_mu,
            "profileBasalRate": 1000,
            "algorithmRate": rate_mu,
            "tempRate": 65535,
        },
    )


def holding(day: str) -> Callable[[dict[str, str]], bool]:
    """Whether a request's window holds this day."""
    return lambda query: query["startDate"][:10] <= day <= query["endDate"][:10]


def hourly(first: datetime, hours: int, seq: int = 1000) -> list[dict[str, Any]]:
    """One basal record per hour."""
    return [basal(seq + i, (first + timedelta(hours=i)).isoformat()) for i in range(hours)]


@attrs.define
class CloudPump:
    """A pump of the account; ``records`` are what its phone has uploaded."""

    serial: str = SERIAL
    assignment: str = ASSIGNMENT
    records: list[dict[str, Any]] = attrs.field(factory=list)
    changes: list[dict[str, Any]] = attrs.field(factory=list)
    uploaded: str | None = "2026-11-20T11:55:00Z"
    newest: str | None = "2026-11-20T06:50:00"
    settings: dict[str, Any] | None = None

    def listed(self) -> dict[str, Any]:
        return {
            "assignmentId": self.assignment,
            "serialNumber": self.serial,
            "modelNumber": "1004000",
            "modelName": "Tandem Mobi™ System",
            "softwareVersion": "7.9.0.2",
            "algorithm": "Control-IQ+",
            "availableDataRange": {"start": "2020-01-02T00:00:00", "end": self.newest},
            "maxDateOfEvents": self.newest,
            "lastUploadDate": self.uploaded,
            "lastUploadClientType": "mobile_tconnect",
            "settings": self.settings,
        }


@attrs.define
class FakeCloud:
    """The cloud. ``asked`` lists what was requested: path and query."""

    clock: FakeClock
    pumps: list[CloudPump]
    faults: list[FakeCloudFault] = attrs.field(factory=list)
    asked: list[tuple[str, dict[str, str]]] = attrs.field(factory=list)
    headers_seen: list[dict[str, str]] = attrs.field(factory=list)
    tokens: set[str] = attrs.field(factory=set)
    audience: str = "0oa4wnbvtladeyVZX4h7"
    issuer: str = ""
    claims: dict[str, Any] = attrs.field(factory=dict)
    expires_in: Any = 28_800
    password: str = PASSWORD
    date_off_s: float = 0.0
    address: str = ""
    _challenges: dict[str, str] = attrs.field(factory=dict)

    @property
    def endpoints(self) -> TandemEndpointOptions:
        accounts = f"{self.address}/accounts/api"
        return TandemEndpointOptions(
            login_page=f"{self.address}/page",
            login_api=f"{accounts}/login",
            authorize=f"{accounts}/connect/authorize",
            token=f"{accounts}/connect/token",
            jwks=f"{accounts}/jwks",
            issuer=accounts,
            redirect_uri="https://sso.example.org/auth/callback",
            data=f"{self.address}/",
        )

    def count(self, part: str) -> int:
        return sum(part in path for path, _ in self.asked)

    def windows(self) -> list[tuple[str, str]]:
        """First and last day of each pump-logs request so far."""
        return [(query["startDate"][:10], query["endDate"][:10]) for path, query in self.asked if "pump-logs" in path]

    # --- answers ---------------------------------------------------------------------------------------------------

    def answer(self, method: str, path: str, query: dict[str, str], headers: dict[str, str], body: bytes) -> Any:
        if path == "/page":
            return 200, {}, b"<html>log in</html>"
        if path.endswith("/login"):
            found = json.loads(body)
            good = found == {"username": EMAIL, "password": self.password}
            refused = {"code": "account/invalid_credentials", "message": f"no {found['username']}"}
            return (200, {}, {"redirectUrl": "/", "status": "SUCCESS"}) if good else (401, {}, refused)
        if path.endswith("/authorize"):
            assert query["response_type"] == "code"
            assert query["code_challenge_method"] == "S256"
            code = f"code-{len(self._challenges)}"
            self._challenges[code] = query["code_challenge"]
            return 302, {"Location": f"/hop?code={code}"}, b""
        if path == "/hop":
            return 302, {"Location": f"https://sso.example.org/auth/callback?code={query['code']}"}, b""
        if path.endswith("/token"):
            return self._token({key: values[0] for key, values in parse_qs(body.decode()).items()})
        if path.endswith("/jwks"):
            key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(_signing_key().public_key()))
            return (
                200,
                {},
                {"keys": [{"kid": "other", "kty": "RSA"}, {**key, "kid": "k1", "use": "sig", "alg": "RS256"}]},
            )
        return self._data(path, query, headers)

    def _token(self, form: dict[str, str]) -> Any:
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if self._challenges.get(form["code"]) != challenge:
            return 400, {}, {"error": "invalid_grant"}
        now = self.clock.now().timestamp()
        claims = {
            "iss": self.issuer or self.endpoints.issuer,
            "aud": self.audience,
            "iat": now,
            "nbf": now,
            "exp": now + 3600,
            "pumperId": PUMPER,
            "accountId": "acc",
            "email": EMAIL,
            **self.claims,
        }
        id_token = jwt.encode(claims, _signing_key(), algorithm="RS256", headers={"kid": "k1"})
        access = f"access-{len(self.tokens)}-{len(self.asked)}"
        self.tokens.add(access)
        return 200, {}, {"access_token": access, "id_token": id_token, "expires_in": self.expires_in}

    def _data(self, path: str, query: dict[str, str], headers: dict[str, str]) -> Any:
        if headers.get("origin") != self.address or headers.get("referer") != f"{self.address}/":
            return 403, {}, b"<html>The request is blocked</html>"
        if headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            return 401, {}, {"message": "Unauthorized"}
        if path == f"/api/reports/bff/pumper/{PUMPER}":
            people = {"firstName": "Ada", "lastName": "Wearer", "dateOfBirth": "1990-01-01", "country": "US"}
            return 200, {}, {**people, "pumps": [pump.listed() for pump in self.pumps]}
        for pump in self.pumps:
            if path == f"/api/reports/bff/pump-logs/{pump.assignment}":
                if set(query) != {"pumperId", "startDate", "endDate"}:
                    return 400, {}, {"name": "ZodError", "issues": [{"code": "unrecognized_keys"}]}
                first, last = query["startDate"][:19], query["endDate"][:19]
                found = [one for one in pump.records if first <= str(one.get("pumpDateTime", first)) <= last]
                return 200, {}, {"events": list(reversed(found)), "clockChanges": pump.changes}
        return 404, {}, b"<html><head><title>404 Not Found</title></head></html>"


def _handler(cloud: FakeCloud) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one packet an answer

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            query = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            cloud.asked.append((parts.path, query))
            headers = {key.lower(): value for key, value in self.headers.items()}
            cloud.headers_seen.append(headers)
            fault = next((f for f in cloud.faults if f.times and f.path in parts.path and f.when(query)), None)
            if fault is not None:
                fault.times -= 1
            if fault is not None and fault.reset:
                self.close_connection = True
                return
            status, more, content = 200, {}, b""
            if fault is None or fault.status is None:
                status, more, content = cloud.answer(self.command, parts.path, query, headers, body)
            if fault is not None:
                status, more = fault.status or status, {**more, **fault.headers}
                content = content if fault.change is None else fault.change(content)
                content = content if fault.body is None else fault.body
            sent = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response_only(status)
            now = cloud.clock.now() + timedelta(seconds=cloud.date_off_s)
            for key, value in {"Date": format_datetime(now, usegmt=True), **more}.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            if fault is not None and fault.cut:
                sent = sent[: len(sent) // 2]
                self.close_connection = True
            self.wfile.write(sent)

        do_GET = do_POST = _serve  # noqa: N815 - the names that the standard library looks for

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its own name for it
            pass

    return Handler


@contextmanager
def running(cloud: FakeCloud) -> Iterator[FakeCloud]:
    """The cloud, answering."""
    with serving(_handler(cloud)) as url:
        cloud.address = url.rstrip("/")
        yield cloud


@attrs.define
class TandemHarness:
    """A cloud, a clock, a log, and a source that a test can restart."""

    cloud: FakeCloud
    clock: FakeClock
    folder: Path
    log: MemoryLog = attrs.field(factory=MemoryLog)
    zone: str = "America/New_York"
    start_check: StartCheck = check_in_process
    settings: dict[str, Any] = attrs.field(factory=dict)
    _source: TandemSource | None = None

    def source(self, **options: Any) -> TandemSource:
        """The source as a new process would open it."""
        context = Context(
            clock=self.clock, folder=self.folder, version="4.0.0", sections={}, zone_of=lambda day: self.zone
        )
        given = {"email": EMAIL, "password": Secret(PASSWORD), "region": "US", "endpoints": self.cloud.endpoints}
        return open_source(
            TandemOptions(**{**given, **self.settings, **options}), context, start_check=self.start_check
        )

    @property
    def running_source(self) -> TandemSource:
        """A source that stays alive between polls."""
        if self._source is None:
            self._source = self.source()
        return self._source

    def poll(self, source: TandemSource | None = None) -> None:
        """Poll once and append everything it brings; an error is raised after that."""
        for batch in (source or self.running_source).poll(self.log):
            self.log.append(batch.events)
