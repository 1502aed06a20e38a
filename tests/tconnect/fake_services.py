"""A fake of the older t:connect services on 127.0.0.1 with scripted answers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from zoneinfo import ZoneInfo

import attrs

from tconnectsync import Context, Secret
from tconnectsync_tconnect.options import TconnectEndpointOptions, TconnectOptions
from tconnectsync_tconnect.source import TconnectSource, open_source
from tests.support import loopback_server
from tests.support.clocks import FakeClock
from tests.support.memory_log import MemoryLog
from tests.tconnect.sample_exports import export, iob

START = datetime(2021, 4, 1, 22, 0, tzinfo=timezone.utc)
PUMP, GUID = "90556643", "6aa1d3c0-0000-4444-8888-1234567890ab"
EMAIL, PASSWORD = "wearer@example.org", 'correct "horse"'
FORM = """<html><body><form method="post"><input type="hidden" name="__VIEWSTATE" value="VS==" />
<input type="hidden" name="__VIEWSTATEGENERATOR" value="GEN"><input type="hidden" name="__EVENTVALIDATION" value="EV">
{notice}</form><span id="footer_version">t:connect 7.17.2.3</span></body></html>"""
BLOCKED = "<html><h1>Web Page Blocked!</h1><p>Attack ID: 20000051</p></html>"


@attrs.define
class Services:
    """The server's answers, and the requests to it."""

    clock: FakeClock
    index: int = 1000
    with_token: bool = True
    notice: str = ""
    timeline: dict[str, Any] = attrs.field(factory=lambda: timeline())  # noqa: PLW0108 - it is defined below
    therapy: list[Any] = attrs.field(factory=list)
    csv: str = ""
    sites: list[Any] = attrs.field(factory=list)
    basal_iq: list[Any] = attrs.field(factory=list)
    since: str | None = "2020-02-10T00:00:00"
    faults: list[tuple[str, int, str]] = attrs.field(factory=list)
    """Part of a path, status and body for the next request to it."""
    asked: list[str] = attrs.field(factory=list)
    forms: list[dict[str, str]] = attrs.field(factory=list)
    refused: set[str] = attrs.field(factory=set)
    gone: set[str] = attrs.field(factory=set)
    """Pumps that the account does not have any more."""
    tokens: int = 0
    url: str = ""
    paces: int = 0
    """How many requests the source has announced to the engine."""

    def count(self) -> Counter[str]:
        names = (
            "login.aspx",
            "oauth2",
            "getlast",
            "pumpfeatures",
            "therapytimeline/",
            "TherapyEvents",
            "2csv",
            "suspension",
        )
        return Counter(name for path in self.asked for name in names if name in path)

    def fail(self, path: str, status: int, times: int = 1, body: str = "") -> None:
        self.faults += [(path, status, body)] * times

    def answer(self, method: str, path: str, headers: Any, body: str) -> tuple[int, str, dict[str, str] | list[Any]]:
        self.asked.append(f"{method} {path}")
        for fault in self.faults:
            if fault[0] in path:
                self.faults.remove(fault)
                return fault[1], fault[2], []
        if path.startswith("/login.aspx"):
            return self._form(method, body)
        if path == "/cloud/oauth2/token":
            return 200, json.dumps({"accessToken": self._token(), "accessTokenExpiresAt": self._expiry()}), []
        if path == "/":
            return 200, "welcome", []
        if "therapytimeline2csv" in path:
            return 200, self.csv, []
        if "basaliqtech" in path:
            return 200, f"cb({json.dumps({'BasalIQ': self.basal_iq})})", []
        if "basalsuspension" in path:
            return 200, f"cb({json.dumps({'BasalSuspension': self.sites})})", []
        if headers.get("Authorization", "").removeprefix("Bearer ") not in self._good():
            return 401, "", []
        if "getlasteventuploaded" in path:
            if path.rpartition("sn=")[2] in self.gone:
                return 404, "", []
            return 200, json.dumps({"maxPumpEventIndex": self.index, "processingStatus": 1}), []
        if "pumpfeatures" in path:
            control_iq = {"controlIQ": {"feature": 1, "dateTimeFirstDetected": self.since}} if self.since else {}
            return 200, json.dumps([{"serialNumber": PUMP, "features": control_iq}]), []
        if "therapytimeline/" in path:
            return 200, json.dumps(self.timeline), []
        if "TherapyEvents" in path:
            return 200, json.dumps({"event": self.therapy}), []
        return 404, "", []

    def _form(self, method: str, body: str) -> tuple[int, str, list[Any]]:
        if method == "GET":
            return 200, FORM.format(notice=""), []
        self.forms.append({key: values[0] for key, values in parse_qs(body, keep_blank_values=True).items()})
        if self.notice:
            return 200, FORM.format(notice=f'<div class="x notice_error">{self.notice}</div>'), []
        cookies = [f"UserGUID={GUID}"]
        if self.with_token:
            cookies += [f"accessToken={self._token()}", f"accessTokenExpiresAt={self._expiry()}"]
        return 302, "", [("Location", "/"), *(("Set-Cookie", f"{cookie}; Path=/") for cookie in cookies)]

    def _token(self) -> str:
        self.tokens += 1
        return f"token-{self.tokens}"

    def _good(self) -> set[str]:
        return {f"token-{number + 1}" for number in range(self.tokens)} - self.refused

    def _expiry(self) -> str:
        return (self.clock.time + timedelta(hours=8)).strftime("%Y-%m-%dT%H:%M:%S.123Z")

    def source(
        self, folder: Path, *, phone: bool = True, zone: str = "America/New_York", **options: Any
    ) -> TconnectSource:
        def pace() -> None:
            self.paces += 1

        context = Context(clock=self.clock, folder=folder, version="4", sections={}, zone_of=lambda _: zone, pace=pace)
        app = {"client_id": "app", "client_secret": Secret("app-secret")} if phone else {}
        endpoints = TconnectEndpointOptions(login=self.url, android=self.url, controliq=self.url, ws2=self.url)
        given = {"email": EMAIL, "password": Secret(PASSWORD), "pumps": (PUMP,), "history_days": 1, **app, **options}
        return open_source(TconnectOptions(endpoints=endpoints, **given), context)


@contextmanager
def serving(services: Services) -> Iterator[Services]:
    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            status, text, more = services.answer(self.command, self.path, self.headers, body)
            self.send_response(status)
            for name, value in more:
                self.send_header(name, value)
            content = text.encode()
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _serve  # noqa: N815 - the names that http.server looks for

        def log_message(self, *_: Any) -> None:
            """Do nothing: the tests look at the requests."""

    with loopback_server.serving(Handler) as services.url:
        yield services


def x_of(wall: str) -> int:
    """The timeline's seconds for a wall clock."""
    return int(datetime.fromisoformat(wall).replace(tzinfo=ZoneInfo("America/Los_Angeles")).timestamp())


def segment(wall: str, rate: float, duration: int, kind: int = 3) -> dict[str, Any]:
    return {"x": x_of(wall), "y": rate, "type": kind, "duration": duration}


def timeline(
    *segments: dict[str, Any], suspensions: Sequence[tuple[str, str]] = (), modes: Sequence[tuple[str, int, int]] = ()
) -> dict[str, Any]:
    names = {1: "profileDeliveryEvents", 2: "tempDeliveryEvents", 3: "algorithmDeliveryEvents"}
    return {
        "basal": {name: [one for one in segments if one["type"] == kind] for kind, name in names.items()},
        "suspensionDeliveryEvents": [
            {"x": x_of(at), "suspendReason": reason, "continuation": None, "type": 0} for at, reason in suspensions
        ],
        "events": [
            {
                "x": x_of(at),
                "eventType": kind,
                "duration": duration,
                "continuation": None,
                "timeZoneId": "America/Los_Angeles",
            }
            for at, kind, duration in modes
        ],
    }


def bolus(bolus_id: int, at: str, units: float, **more: Any) -> dict[str, Any]:
    """A therapy event of a bolus as the service has it."""
    return {
        "type": "Bolus", "requestDateTime": at, "eventDateTime": at, "actualTotalBolusRequested": units, "bg": 141,
        "bolusRequestOptions": "Standard", "bolusType": "Carb", "carbSize": 75, "correctionBolusSize": 0.0,
        "foodBolusSize": units, "correctionFactor": 30, "declinedCorrection": False, "duration": 0, "iob": 0.5,
        "isQuickBolus": False, "standardPercent": 100, "targetBG": 110, "userOverride": 0, "description": "Standard",
        "sourceRecId": 812, "userId": GUID,
        "standard": {
            "insulinDelivered": {"completionDateTime": at, "value": units}, "foodDelivered": units,
            "correctionDelivered": 0.0, "insulinRequested": units, "completionStatusId": 3,
            "completionStatusDesc": "Completed", "bolusIsComplete": 1, "bolusRequestId": float(bolus_id),
            "bolusCompletionId": float(bolus_id),
        },
        **more,
    }  # fmt: skip


def site(wall: str, reason: str) -> dict[str, str]:
    return {"EventDateTime": f"/Date({x_of(wall) * 1000}-0000)/", "SuspendReason": reason}


def polled(source: TconnectSource, log: MemoryLog) -> MemoryLog:
    for batch in source.poll(log):
        log.append(batch.events)
    return log


def fill(services: Services) -> None:
    """An hour and a half of basal rates, a bolus, insulin on board and a site change."""
    services.timeline = timeline(segment("2021-04-01T08:00", 1.0, 3600), segment("2021-04-01T09:00", 0.5, 3600))
    services.therapy = [bolus(7007, "2021-04-01T12:58:26", 13.53)]
    services.csv = export(iob(("00:00:19", "13.24"))).decode()
    services.sites = [site("2021-04-01T11:00", "site-cart")]
